# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Helpers shared by the scripts of this folder; sourced, never run.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scripts=$top/scripts
build=$top/build
log=$build/log
jobs=$(nproc)

# What goes where: "<folder here>:<folder or file in the kernel tree>". The
# header is named before the folder that it lies in.
ums_map=(
	drivers-ums/uapi/linux/ums.h:include/uapi/linux/ums.h
	drivers-ums:drivers/misc/ums
	tools-testing-selftests-ums:tools/testing/selftests/ums
	tools-lib-ums:tools/lib/ums
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

# Quote arguments for any POSIX shell.
shell_quote() {
	local arg
	for arg; do
		printf "'%s' " "${arg//\'/\'\\\'\'}"
	done
}

# Sets kname (a short name), ksrc (the worked-on tree) from KERNEL, and config
# (a name), out (the kernel's build folder), user_out (what does not depend on
# the configuration) from CONFIG.
choose_kernel() {
	local kernel=${KERNEL:-6.12} file
	case $kernel in
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
	user_out=$build/$kname-user
	config=${CONFIG:-base}
	[[ $config =~ ^[a-z0-9_]+(\+[a-z0-9_]+)*$ ]] ||
		die "CONFIG=$config: give names of scripts/config/ joined by +"
	for file in ${config//+/ }; do
		[ -f "$scripts/config/$file" ] ||
			die "CONFIG=$config: there is no scripts/config/$file"
	done
	out=$build/$kname-$config
}

# The patch files that "series" names, one a line, without comments.
series_files() {
	[ -f "$top/series" ] || return 0
	sed 's/[[:space:]]*#.*//; /^[[:space:]]*$/d' "$top/series"
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

# ---- counting test cases ---------------------------------------------------

passed=0 failed=0 skipped=0

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

# The summary line. Fails when a case failed or none ran.
tap_summary() {
	printf '%d passed, %d failed' "$passed" "$failed"
	[ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
	printf '\n'
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
