#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
"""Check the manual pages against mandoc, the headers and the documentation.

usage: check-pages.py UAPI-HEADER DOCS-FOLDER MANDIR

Says nothing and ends with 0 when

  - mandoc -Tlint has nothing to say, and references lead to pages that exist;
  - each function of libums.map is in the NAME section of one page, and nothing
    else is, and in MANDIR, where the pages were installed, "man" finds it;
  - the prototypes of a SYNOPSIS are those of the header, word by word, and
    compile with what the SYNOPSIS includes;
  - structures are those of the headers, listings those of examples/, and
    programs compile;
  - each call of the device has its section, with argument, caller and result;
  - a page, the header's comments and the documentation name the same errors.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.dirname(HERE)

# Pages of section 3 that describe more than functions.
OVERVIEWS = {"libums", "ums_pool"}

failures = 0


def complain(page, text):
    global failures
    failures += 1
    print(f"{page}: {text}", file=sys.stderr)


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def squeeze(text):
    """C without comments and with one blank where there is white space."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"\s+", " ", text).strip()


def errors_in(pattern, text):
    """All E... on the lines that match."""
    found = set()
    for line in re.findall(pattern, text, re.M):
        found.update(re.findall(r"\bE[A-Z0-9]+\b", line))
    return found


class Page:
    """One page: its file, its text, and what the macros in it say."""

    def __init__(self, file):
        self.file = file
        self.name, self.section = file.rsplit(".", 1)
        self.text = read(HERE, file)
        self.sections = {}
        for part in re.split(r"^\.Sh ", self.text, flags=re.M)[1:]:
            title, _, body = part.partition("\n")
            self.sections[title.strip('"')] = body
        self.names = re.findall(r"^\.Nm (\S+)", self.sections.get("NAME", ""), re.M)

    def literals(self):
        """(the line before, the text) of each literal block."""
        pattern = r"^([^\n]*)\n\.Bd -literal[^\n]*\n(.*?)^\.Ed"
        for before, text in re.findall(pattern, self.text, re.M | re.S):
            yield before, text.replace("\\&", "").replace("\\e", "\\")

    def prototypes(self):
        """{function: prototype} of the SYNOPSIS."""
        found = {}
        synopsis = self.sections.get("SYNOPSIS", "")
        pattern = r"^\.Ft (.*)\n\.Fo (\w+)\n((?:\.Fa .*\n)*)\.Fc"
        for kind, name, args in re.findall(pattern, synopsis, re.M):
            args = [shlex.split(line[4:]) for line in args.splitlines()]
            args = ", ".join(" ".join(words) for words in args)
            found[name] = squeeze(f"{kind} {name}({args});").replace("* ", "*")
        return found

    def errors(self):
        return errors_in(r"^\.It B[oq] Er .*", self.text)

    def subsection(self, title):
        pattern = rf"^\.Ss {title}\n(.*?)(?=^\.S[sh] |\Z)"
        found = re.search(pattern, self.text, re.M | re.S)
        return found.group(1) if found else None


class Header:
    """A header of the library: prototypes, and the errors in their comments."""

    def __init__(self, *path):
        self.text = read(*path)
        self.plain = squeeze(self.text)
        self.prototypes = {}
        self.errors = {}
        pattern = r"/\*\*\n((?: \*[^\n]*\n)*?) \*/\n(\w[^;{}]*?\b(\w+)\([^;{}]*\);)"
        for comment, prototype, name in re.findall(pattern, self.text):
            if prototype.startswith("typedef"):
                continue
            self.prototypes[name] = squeeze(prototype).replace("* ", "*")
            self.errors[name] = errors_in(r"^ \* \* (E[A-Z0-9, ]+) - ", comment)


def rst_errors(text):
    return errors_in(r"^ *``E[A-Z0-9]+``(?:, ``E[A-Z0-9]+``)*$", text)


def rst_functions(text):
    """{function: the text of its directive}"""
    found = {}
    for part in re.split(r"^\.\. c:function:: ", text, flags=re.M)[1:]:
        body = re.split(r"^(?=\S)", part.partition("\n\n")[2], maxsplit=1, flags=re.M)
        found[re.search(r"(\w+)\(", part).group(1)] = body[0]
    return found


def rst_sections(text):
    """{title: text up to the next title}"""
    parts = re.split(r"^(.+)\n[-=]{3,}\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def check_lint(pages):
    mandoc = os.environ.get("MANDOC", "mandoc")
    for page in pages:
        result = subprocess.run([mandoc, "-Tlint", "-Wstyle", page.file], cwd=HERE,
                                capture_output=True, text=True, check=False)
        said = (result.stdout + result.stderr).splitlines()
        # It looks for others on this machine, where these are not yet.
        about_others = re.compile("referenced manual not found|outdated mandoc.db lacks")
        for line in said:
            if not about_others.search(line):
                complain(page.file, line)


def check_references(pages):
    known = {(name, page.section) for page in pages for name in page.names}
    for page in pages:
        for name, section in re.findall(r"\bXr (\S+) (\d)", page.text):
            ours = section in "347" and re.search(r"(^|_|lib)ums(_|$)", name)
            if ours and (name, section) not in known:
                complain(page.file, f"refers to {name}({section}), which does not exist")
            if name in page.names and section == page.section:
                complain(page.file, f"refers to itself as {name}({section})")


def check_names(pages, functions):
    where = {}
    for page in pages:
        if not page.names or page.name not in page.names:
            complain(page.file, "its NAME section does not name it")
        if page.section != "3" or page.name in OVERVIEWS:
            continue
        for name in page.names:
            if name in where:
                complain(page.file, f"{name} is in {where[name]}, too")
            where[name] = page.file
    for name in sorted(functions - set(where)):
        complain("libums.map", f"no page for {name}")
    for name in sorted(set(where) - functions):
        complain(where[name], f"{name} is not in libums.map")


def check_installed(pages, mandir):
    for page in pages:
        for name in page.names:
            file = os.path.join(mandir, f"man{page.section}", f"{name}.{page.section}")
            text = read(file) if os.path.exists(file) else None
            link = re.fullmatch(r"\.so (\S+)\n", text or "")
            if link and os.path.exists(os.path.join(mandir, link.group(1))):
                text = read(mandir, link.group(1))
            if text != page.text:
                complain(page.file, f"installed, {name}({page.section}) does not lead to it")


def compiles(text, include):
    cc = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.NamedTemporaryFile("w", suffix=".c") as file:
        file.write(text)
        file.flush()
        result = subprocess.run(
            cc + ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread", "-fsyntax-only",
                  "-I", os.path.join(LIB, "include"), "-isystem", include, file.name],
            capture_output=True, text=True, check=False)
        return result.returncode == 0, result.stderr


def check_prototypes(page, headers, include):
    found = page.prototypes()
    wanted = {}
    for header in headers:
        wanted.update(header.prototypes)
    if sorted(found) != sorted(page.names):
        complain(page.file, f"NAME has {page.names}, SYNOPSIS {list(found)}")
    for name, prototype in found.items():
        if prototype != wanted.get(name):
            complain(page.file, f"has   {prototype}\n{' ' * len(page.file)}  header "
                     f"{wanted.get(name, 'has no such function')}")
    includes = re.findall(r"^\.In (\S+)", page.sections["SYNOPSIS"], re.M)
    text = "".join(f"#include <{name}>\n" for name in includes)
    fine, said = compiles(text + "\n".join(found.values()) + "\n", include)
    if not fine:
        complain(page.file, f"its SYNOPSIS does not compile:\n{said}")


def check_literals(page, plain, include):
    for before, text in page.literals():
        listing = re.match(r"\.\\\" This is (\S+) with its tabs expanded\.$", before)
        if listing and text != read(LIB, listing.group(1)).expandtabs():
            complain(page.file, f"does not show {listing.group(1)} as it is")
        if re.search(r"^int main\(", text, re.M):
            fine, said = compiles(text, include)
            if not fine:
                complain(page.file, f"a program in it does not compile:\n{said}")
        for kind in re.findall(r"^(?:typedef )?struct \w+ \{.*?^\}[^;]*;|^typedef .*?\);",
                               text, re.M | re.S):
            # The library's headers have the typedef by itself.
            kind = squeeze(kind)
            merged = re.match(r"typedef (struct \w+) (\{.*\}) (\w+);$", kind)
            wanted = [kind]
            if merged:
                wanted = [f"{merged[1]} {merged[2]};", f"typedef {merged[1]} {merged[3]};"]
            for part in wanted:
                if part not in plain:
                    complain(page.file, f"no header has: {part}")


def check_function_errors(page, headers, documented):
    said = page.errors()
    in_headers = set()
    for header in headers:
        for name in page.names:
            in_headers |= header.errors.get(name, set())
    in_docs = set()
    for name in page.names:
        if name not in documented:
            complain(page.file, f"libums.rst does not document {name}")
        in_docs |= rst_errors(documented.get(name, ""))
    for other, where in ((in_headers, "the header"), (in_docs, "libums.rst")):
        if said != other:
            complain(page.file, f"errors only here: {sorted(said - other)}, "
                     f"only in {where}: {sorted(other - said)}")


def check_calls(page, uapi, documented):
    calls = re.findall(r"^#define (IOCTL_\w+)", uapi, re.M)
    if not calls:
        complain(page.file, "the uapi header has no calls")
    for call in re.findall(r"^\.Ss (IOCTL_\w+)", page.text, re.M):
        if call not in calls:
            complain(page.file, f"{call} does not exist")
    for call in calls:
        text = page.subsection(call)
        if text is None:
            complain(page.file, f"{call} is not described")
            continue
        for item in ("Argument", "Caller", "Result"):
            if not re.search(rf"^\.It {item}$", text, re.M):
                complain(page.file, f"{call}: no {item}")
        said = errors_in(r"^\.It B[oq] Er .*", text)
        other = rst_errors(documented.get(call, ""))
        if not other:
            complain(page.file, f"uapi.rst has no errors of {call}")
        if said != other:
            complain(page.file, f"{call}: errors only here: {sorted(said - other)}, "
                     f"only in uapi.rst: {sorted(other - said)}")


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: check-pages.py UAPI-HEADER DOCS-FOLDER MANDIR")
    uapi_file, docs, mandir = sys.argv[1:]
    uapi = read(uapi_file)
    include = os.path.dirname(os.path.dirname(os.path.abspath(uapi_file)))
    headers = [Header(LIB, "include", name) for name in ("ums.h", "ums_pool.h")]
    functions = set(re.findall(r"^\t\t(\w+);", read(LIB, "libums.map"), re.M))
    pages = [Page(name) for name in sorted(os.listdir(HERE))
             if re.search(r"\.[1-9]$", name)]
    plain = squeeze(uapi) + "".join(header.plain for header in headers)
    documented = rst_functions(read(docs, "libums.rst"))
    calls = rst_sections(read(docs, "uapi.rst"))

    check_lint(pages)
    check_references(pages)
    check_names(pages, functions)
    check_installed(pages, mandir)
    for page in pages:
        check_literals(page, plain, include)
        if page.section == "3" and page.name not in OVERVIEWS:
            check_prototypes(page, headers, include)
            check_function_errors(page, headers, documented)
        if page.file == "ums.4":
            check_calls(page, uapi, calls)
    if "ums.4" not in [page.file for page in pages]:
        complain("ums.4", "is missing")
    sys.exit(1 if failures else 0)


try:
    main()
except OSError as error:
    sys.exit(f"{os.path.basename(sys.argv[0])}: {error.filename}: {error.strerror}")
