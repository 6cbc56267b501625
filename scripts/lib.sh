# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Helpers shared by the scripts of this folder; sourced, never run.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scripts=$top/scripts
build=$top/build
log=$build/log
jobs=$(($(nproc) + 1))	# one may wait for the disk

# What goes where: "<folder here>:<folder or file in the kernel tree>". The
# header is named before the folder that it lies in.
ums_map=(
	drivers-ums/uapi/linux/ums.h:include/uapi/linux/ums.h
	drivers-ums:drivers/misc/ums
	tools-testing-selftests-ums:tools/testing/selftests/ums
	tools-lib-ums:tools/lib/ums
	tools-ums:tools/ums
	Documentation-ums:Documentation/userspace-api/ums
)

# A tree that belongs to another user is as good as one's own here: it is only
# read, or it lies in build/. Nothing of the caller's git set-up may change what
# "git am" and "git diff" do.
export GIT_CONFIG_COUNT=3
export GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_CONFIG_KEY_1=commit.gpgsign GIT_CONFIG_VALUE_1=false
export GIT_CONFIG_KEY_2=core.autocrlf GIT_CONFIG_VALUE_2=false
export LC_ALL=C.UTF-8
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE CDPATH MAKEFLAGS MFLAGS MAKELEVEL

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

note() {
	printf '%s\n' "$*" >&2
}

# The text between "# usage:" and the first line that is no comment.
usage() {
	sed -n '/^# usage:/,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
}

# For scripts without arguments of their own.
no_arguments() {
	case ${1-} in
	'') ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
}

step_pid=
stop_step() {
	# The step has a process group of its own, so nothing of it is left.
	[ -z "$step_pid" ] || kill -TERM -- "-$step_pid" 2>/dev/null || true
	exit 130
}
trap stop_step INT TERM HUP

# step WHAT LOG COMMAND...: run the command with its output in build/log/LOG.log
# and show one line with the time it took. A failure shows the end of the log.
step() {
	local what=$1 file=$log/$2.log start=$SECONDS rc=0
	shift 2
	mkdir -p "$log"
	[ ! -t 2 ] || printf '%-56s' "$what" >&2
	set -m
	(set -e; "$@") </dev/null >"$file" 2>&1 &
	step_pid=$!
	set +m
	if [ -t 2 ]; then
		while kill -0 "$step_pid" 2>/dev/null; do
			printf '\r%-56s %4d s ' "$what" $((SECONDS - start)) >&2
			sleep 0.5
		done
		printf '\r' >&2
	fi
	wait "$step_pid" || rc=$?
	step_pid=
	printf '%-56s %4d s%s\n' "$what" $((SECONDS - start)) \
		"$([ "$rc" = 0 ] || echo "  failed")" >&2
	if [ "$rc" != 0 ]; then
		# A step that ended with one clear line has said it all.
		if tail -n 1 "$file" | grep "^${0##*/}: " >&2; then
			return "$rc"
		fi
		tail -n 25 "$file" | sed 's/^/    /' >&2
		note "log: $file"
	fi
	return "$rc"
}

# Stop two scripts from working on one folder at a time; the second one waits.
lock() {
	mkdir -p "$build"
	exec 9>"$build/.lock-$1"
	flock -n 9 || { note "waiting for another script that uses $1"; flock 9; }
}

unlock() {
	exec 9>&-
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root or sudo to run: $*"
	fi
}

# The first line of the input. Reads all of it: a reader that stops early (head,
# grep -q) kills the writer, which pipefail then reports as a failure.
first_line() {
	sed -n 1p
}

# True when the folder is the top of a git tree (a work tree has a .git file).
is_git_tree() {
	[ -e "$1/.git" ] && git -C "$1" rev-parse -q --verify 'HEAD^{commit}' >/dev/null
}

# Quote arguments for any POSIX shell.
shell_quote() {
	local arg
	for arg; do
		printf "'%s' " "${arg//\'/\'\\\'\'}"
	done
}

# pack FOLDER ARCHIVE: an uncompressed initramfs part, owned by root.
pack() {
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort |
		cpio --quiet -o -H newc -R 0:0 --reproducible) >"$2.new"
	mv "$2.new" "$2"
}

# Sets kname (a short name), ksrc (the worked-on tree) from KERNEL; arch, target
# (kname, with the architecture unless it is x86_64), system (the guest's own
# part of the initramfs) from ARCH; and config (a name), out (the kernel's build
# folder), image (the kernel in it), user_out (what does not depend on the
# configuration) from CONFIG.
#
# KERNEL=stock is Debian's own kernel, which is not built: see stock.sh. It is for
# scripts that say takes_stock=y.
choose_kernel() {
	local kernel=${KERNEL:-6.12} file
	case $kernel in
	stock)
		[ "${takes_stock:-}" = y ] ||
			die "KERNEL=stock: that is not for this script, which needs a kernel's source"
		[ "${ARCH:-x86_64}${CONFIG:-base}" = x86_64base ] ||
			die "KERNEL=stock: there is no choice of ARCH or CONFIG"
		[[ ${STOCK:-cloud-amd64} =~ ^[a-z0-9-]+$ ]] ||
			die "STOCK=$STOCK: give the last part of a package's name, such as rt-amd64"
		kname=stock${STOCK:+-$STOCK}
		;;
	latest)
		file=$build/apt/latest
		if [ ! -s "$file" ] || [ -n "$(find "$file" -mtime +0)" ]; then
			"$scripts/kernel" --find-latest ||
				die "KERNEL=latest: no kernel source found in the backports suite"
		fi
		kname=$(cat "$file")
		;;
	/*)
		[ -d "$kernel" ] || die "KERNEL=$kernel: no such folder"
		[ -f "$kernel/kernel/fork.c" ] ||
			die "KERNEL=$kernel: not a kernel source tree"
		kname=$(basename "$kernel" | tr -c 'A-Za-z0-9._\n' _)
		kname=tree-$kname-$(realpath "$kernel" | cksum | cut -d' ' -f1)
		;;
	[0-9]*.[0-9]*)
		[[ $kernel =~ ^[0-9]+\.[0-9]+$ ]] ||
			die "KERNEL=$kernel: give a version such as 6.12, \"latest\" or a folder"
		kname=$kernel
		;;
	*)
		die "KERNEL=$kernel: give a version such as 6.12, \"latest\" or a folder"
		;;
	esac
	ksrc=$build/linux-$kname
	choose_arch
	config=${CONFIG:-base}
	[[ $config =~ ^[a-z0-9_]+(\+[a-z0-9_]+)*$ ]] ||
		die "CONFIG=$config: give names of scripts/config/ joined by +"
	for file in ${config//+/ }; do
		[ -f "$scripts/config/$file" ] ||
			die "CONFIG=$config: there is no scripts/config/$file"
	done
	out=$build/$target-$config
	image=$out/$image
	user_out=$build/$target-user
}

# Scripts that boot nothing set this: they know more architectures.
compile_only=

choose_arch() {
	local cross=
	arch=${ARCH:-x86_64}
	case $arch$compile_only in
	x86_64*)
		target=$kname system=$build/guest-system.cpio
		image=arch/x86/boot/bzImage
		return
		;;
	arm64*)
		system=$build/guest-system-$arch.cpio image=arch/arm64/boot/Image
		cross=aarch64-linux-gnu-
		export ARCH
		;;
	riscv64y) cross=riscv64-linux-gnu- image=vmlinux ARCH=riscv ;;
	i386y) image=vmlinux ;;			# 32 bits
	s390y) cross=s390x-linux-gnu- image=vmlinux ;;	# big-endian
	*) die "ARCH=$arch: give x86_64 or arm64${compile_only:+, riscv64, i386 or s390}" ;;
	esac
	target=$kname-$arch
	export ARCH CROSS_COMPILE=${CROSS_COMPILE:-$cross}
	command -v "${CROSS_COMPILE}gcc" >/dev/null ||
		die "${CROSS_COMPILE}gcc is missing: run" \
			"$([ -z "$compile_only" ] && echo "ARCH=$arch scripts/setup" || echo "scripts/setup --full")"
}

# The fragments that make up the configuration; a later one overrules an
# earlier one.
config_files() {
	local name
	echo "$scripts/config/base"
	[ ! -e "$scripts/config/$arch" ] || echo "$scripts/config/$arch"
	for name in ${config//+/ }; do
		[ "$name" = base ] || echo "$scripts/config/$name"
	done
}

# Their lines as the kernel's configuration reads them.
config_lines() {
	local -a files
	mapfile -t files < <(config_files)
	sed -n 's/[[:space:]]*# optional$//
		/^CONFIG_\|^# CONFIG_.* is not set$/p' "${files[@]}"
}

# Debian 12 calls its newer compilers by their versions. Sets clang and llvm (as
# the kernel's Makefile wants it); fails when none is new enough.
find_clang() {
	local suffix srcarch=${ARCH:-x86}
	for suffix in '' -19 -16 -15; do
		clang=clang$suffix llvm=LLVM=${suffix:-1}
		command -v "$clang" >/dev/null || continue
		! SRCARCH=${srcarch/#*86*/x86} "$ksrc/scripts/cc-version.sh" "$clang" \
			>/dev/null 2>&1 || return 0
	done
	return 1
}

# How much slower a kernel of configuration $1 is than the plain one.
slowness() {
	case +$1+ in
	*+debug+* | *+kcsan+* | *+rt+*) echo 5 ;;
	*) echo 1 ;;
	esac
}

# What the kernel says when something is wrong.
fault='WARNING: |BUG: |^(\[[^]]*\] *)?BUG|Oops|Kernel panic|general protection fault'
fault+='|KASAN|KCSAN|UBSAN|KMSAN|kmemleak: [0-9]|ODEBUG|self-detected stall|detected stalls'
fault+='|rcu: INFO|INFO: task .* blocked|soft lockup|hard LOCKUP|lockdep|possible .*lock'
fault+='|suspicious RCU|inconsistent lock state|list_(add|del) corruption|refcount_t:'
fault+='|bad unlock balance|held lock freed|still has locks held|INFO: trying to register'
fault+='|Invalid wait context|scheduling while atomic|sleeping function called'
fault+='|stack guard page|unable to handle|double fault|Call Trace:|workqueue lockup'
# Said at boot by a healthy kernel with lockdep.
harmless='Lock dependency validator|lockdep debugging is|lockdep is turned on'
harmless+='|RCU lockdep checking is enabled|MAX_LOCKDEP_|lockdep_|Freeing .*memory'

# ---- packages that the machine's apt does not offer ------------------------

# private_apt NAME TOOL...: apt with a sources list and a state of its own, in
# build/NAME, so that the machine's set-up is neither used up nor changed.
private_apt() {
	local dir=$build/$1 tool=$2
	shift 2
	APT_CONFIG=$dir/apt.conf "$tool" "$@"
}

# The Debian mirror that the machine uses, as "<address> <code name>".
machine_mirror() {
	# shellcheck disable=SC2016  # apt expands these
	local targets='$(REPO_URI) $(CODENAME) $(ORIGIN) $(LABEL)' mirror
	mirror=$(apt-get indextargets --format "$targets" 'Created-By: Packages' |
		sed -n 's/ Debian Debian$//p' | first_line)
	# Without lists apt does not know whose a mirror is.
	[ -n "$mirror" ] ||
		mirror=$(apt-get indextargets --format "$targets" 'Created-By: Packages' |
			sed -n 's,^\([^ ]*/debian/*\) \([^ ]*\) .*,\1 \2,p' | first_line)
	[ -n "$mirror" ] ||
		die "no Debian mirror in this machine's apt sources: run apt-get update, or add one"
	echo "$mirror"
}

# update_private_apt NAME ARCHITECTURE [SUITE]: make it and fetch its lists. The
# suite is the machine's own if not given.
update_private_apt() {
	local dir=$build/$1 debian_arch=$2 suite=${3-} mirror codename
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -e "$keyring" ] || die "no $keyring: install debian-archive-keyring"
	read -r mirror codename <<<"$(machine_mirror)"
	[ -n "$mirror" ] || exit 1
	suite=${suite:-$codename}
	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial"
	echo "deb [signed-by=$keyring] $mirror $suite main" >"$dir/sources.list"
	: >"$dir/status"
	cat >"$dir/apt.conf" <<-END
	APT::Architecture "$debian_arch";
	APT::Architectures { "$debian_arch"; };
	Dir::Etc::SourceList "$dir/sources.list";
	Dir::Etc::SourceParts "/dev/null";
	Dir::State "$dir/state";
	Dir::State::status "$dir/status";
	Dir::Cache "$dir/cache";
	APT::Sandbox::User "root";
	END
	private_apt "$1" apt-get update
	# apt-get update reports an unreachable mirror with a warning only.
	[ -n "$(private_apt "$1" apt-cache pkgnames linux-)" ] ||
		die "the mirror $mirror has no suite $suite, or cannot be reached"
}

# The patch files that "series" names, one a line, without comments.
series_files() {
	[ -f "$top/series" ] || return 0
	sed 's/[[:space:]]*#.*//; /^[[:space:]]*$/d' "$top/series"
}

# Paths that the given patches touch, below /.
touched_files() {
	local file
	for file; do
		sed -n -e 's,^diff --git a/.* b/,/,p' -e 's,^rename from ,/,p' "$file"
	done | sort -u
}

# Files that the series creates, as patterns for grep -f: never none at all.
new_files() {
	local file
	echo /
	series_files | while IFS= read -r file; do
		awk '/^diff --git / { path = substr($NF, 3) }
			/^new file mode / { print path }' "$top/$file"
	done
}

# The subject of cover letter $1, without its prefix. A long one goes on in lines
# that begin with a blank.
cover_subject() {
	awk '/^$/ { exit } /^Subject: / { on = 1; printf "%s", $0; next }
		on && /^[ \t]/ { printf "%s", $0; next } { on = 0 }' "$1" |
		sed 's/^Subject: *\(\[PATCH[^]]*\] *\)\?//'
}

# The text of it, which ends where the shortlog begins: "Name (number):", then
# titles.
cover_text() {
	awk 'head_done { line[++n] = $0 } /^$/ { head_done = 1 }
		END {
			for (i = 1; i < n; i++)
				if (line[i] ~ /^[^ ].* \([0-9]+\):$/ && line[i + 1] ~ /^  [^ ]/)
					break
			if (i == n)
				i = n + 1
			while (i > 1 && line[i - 1] == "")
				i--
			for (j = 1; j < i; j++)
				print line[j]
		}' "$1"
}

# Read paths below folder $1, print "<blob> <path>", with an x at the end of the
# blob's id when the file is executable.
blob_list() {
	local path blob
	local -a paths=()
	mapfile -t paths
	[ ${#paths[@]} -gt 0 ] || return 0
	paste -d' ' <(cd "$1" && printf '%s\n' "${paths[@]}" |
		git hash-object --no-filters --stdin-paths) <(printf '%s\n' "${paths[@]}") |
		while read -r blob path; do
			[ ! -x "$1/$path" ] || blob=${blob}x
			printf '%s %s\n' "$blob" "$path"
		done
}

# The same for a commit $2 of repository $1.
commit_blob_list() {
	local mode blob path
	git -C "$1" ls-tree -r "$2" -- "${ums_map[@]#*:}" |
		while read -r mode _ blob path; do
			[ "$mode" != 100755 ] || blob=${blob}x
			printf '%s %s\n' "$blob" "$path"
		done
}

# The files of the folders: "<path in the kernel tree> <path here>". What git
# ignores (programs built in place) is none of them.
folder_files() {
	local entry here there file
	{
		if git -C "$top" rev-parse -q --git-dir >/dev/null 2>&1; then
			git -C "$top" ls-files -c -o --exclude-standard -- "${ums_map[@]%%:*}"
		else
			(cd "$top" && for entry in "${ums_map[@]%%:*}"; do
				[ ! -e "$entry/" ] || find "$entry/" -type f
			done) | sed 's,//*,/,g'
		fi
	} | LC_ALL=C sort -u | while IFS= read -r file; do
		[ -f "$top/$file" ] || continue
		for entry in "${ums_map[@]}"; do
			here=${entry%%:*} there=${entry#*:}
			case $file in
			"$here") echo "$there $file" ;;
			"$here"/*) echo "$there/${file#"$here"/} $file" ;;
			*) continue ;;
			esac
			break
		done
	done
}

# stage_sources FOLDER: the files of the folders as they lie in the kernel tree.
# What is the same already is left alone, and what was there once goes.
stage_sources() {
	local path here list=$1/.staged
	mkdir -p "$1"
	folder_files >"$list.new"
	[ ! -e "$list" ] || cut -d' ' -f1 "$list" | sort |
		comm -23 - <(cut -d' ' -f1 "$list.new" | sort) |
		(cd "$1" && xargs -r rm -f)
	while read -r path here; do
		! cmp -s "$top/$here" "$1/$path" || continue
		mkdir -p "$(dirname "$1/$path")"
		cp -p "$top/$here" "$1/$path"
	done <"$list.new"
	mv "$list.new" "$list"
}

# The version of libums, which all packages have.
ums_version() {
	sed -n 's/^VERSION := //p' "$top/tools-lib-ums/Makefile"
}

# ---- counting test cases ---------------------------------------------------

passed=0 failed=0 skipped=0

# expect NAME COMMAND...: passes when the command does; shows its output if not.
expect() {
	local name=$1 file rc=0
	mkdir -p "$log"
	file=$log/check-$(tr -c 'A-Za-z0-9.\n' - <<<"$name").log
	shift
	"$@" >"$file" 2>&1 || rc=$?
	if [ "$rc" = 0 ]; then
		passed=$((passed + 1))
		echo "ok      $name"
	else
		failed=$((failed + 1))
		echo "not ok  $name"
		tail -n 40 "$file" | sed 's/^/    /'
		[ "$(wc -l <"$file")" -le 40 ] || echo "    the whole of it: $file"
	fi
}

skip() {
	skipped=$((skipped + 1))
	echo "skip    $1: $2"
}

# True when no line of the input matches.
nothing_like() {
	! grep -E "$1"
}

# What this series brings; the rest of the kernel may warn, this may not.
ours='drivers/misc/ums/|uapi/linux/ums\.h'

# count_tap FILE: show the tests in it and add to the totals. Fails when a case
# failed or none ran.
count_tap() {
	local result p f s
	result=$(awk -f "$scripts/tap.awk" "$1")
	read -r _ p f s < <(tail -n 1 <<<"$result")
	sed '$d' <<<"$result"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	[ "$f" = 0 ] && [ "$p" -gt 0 ]
}

# summed LOG NAME COMMAND...: run a script that ends with a summary line, with its
# output in build/log/LOG.out, too, and add to the totals. Fails when it does.
summed() {
	local file=$log/$1.out name=$2 line rc=0
	shift 2
	mkdir -p "$log"
	"$@" | tee "$file" || rc=$?
	line=$(tail -n 1 "$file")
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
	else
		echo "not ok  $name: no result"
		failed=$((failed + 1))
	fi
	return "$rc"
}

# The summary line. Fails when a case failed or none ran.
tap_summary() {
	printf '%d passed, %d failed' "$passed" "$failed"
	[ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
	printf '\n'
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
