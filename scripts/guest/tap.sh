# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# For the guest's tests in shell: their results as TAP, between the lines by which
# scripts/tap.awk knows them. Sourced.

# shellcheck disable=SC2034  # for who sources this
factor=${TIMEOUT_FACTOR:-1}
# What a failure shows, if no other file is named.
tap_files=
tap_number=0 tap_failed=0

# tap_begin SUITE
tap_begin() {
	tap_suite=$1 tap_begun=$(cut -d. -f1 /proc/uptime)
	echo "# begin $1"
	echo "TAP version 13"
}

# result STATUS NAME [FILE...]
result() {
	tap_status=$1 tap_name=$2
	shift 2
	tap_number=$((tap_number + 1))
	if [ "$tap_status" = 0 ]; then
		echo "ok $tap_number $tap_name"
		return
	fi
	# shellcheck disable=SC2086  # several files
	[ $# -gt 0 ] || set -- $tap_files
	for tap_file; do
		tail -n 60 "$tap_file" | sed 's/^/# /'
	done
	echo "not ok $tap_number $tap_name"
	tap_failed=1
}

# skip NAME REASON
skip() {
	tap_number=$((tap_number + 1))
	echo "ok $tap_number $1 # SKIP $2"
}

# The end of the program, too.
tap_end() {
	echo "1..$tap_number"
	echo "# end $tap_suite $tap_failed $(($(cut -d. -f1 /proc/uptime) - tap_begun))"
	exit "$tap_failed"
}

# eventually SECONDS COMMAND...: wait until it succeeds, five tries a second
eventually() {
	tap_tries=$((5 * $1))
	shift
	until "$@"; do
		tap_tries=$((tap_tries - 1))
		[ $tap_tries -gt 0 ] || return 1
		sleep 0.2
	done
}
