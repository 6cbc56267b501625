# SPDX-License-Identifier: GPL-2.0
# Count the test cases in what guest/run-tests, guest/examples, guest/debuggers,
# guest/ums-top-test and guest/after-tests print.
#
# Each test's TAP stands between "# begin NAME" and "# end NAME STATUS SECONDS".
# A test that crashes, times out, runs fewer cases than it planned, or never
# ends counts as one more failed case. Prints a line for each test and each
# failed case, and "total PASSED FAILED SKIPPED" at the end.

function start(name) {
	test = name
	ran = 0; planned = -1
	ok = bad = skip = 0
	nr_failures = 0
	whole_skip = ""
}

function failure(text) {
	bad++
	failures[++nr_failures] = text
}

function finish(status, seconds,    i, state) {
	if (status == "timeout")
		failure("timed out")
	else if (status == "none")
		failure("never ended")
	else if (whole_skip != "" && !ran && (status == 4 || status == 0))
		skip++
	else if (status == 4 && !ran && planned < 0) {
		whole_skip = "exit status 4"
		skip++
	} else if (status > 128)
		failure("killed by signal " status - 128)
	else if (status != 0 && status != 4 && !bad)
		failure("exit status " status)
	else if (planned < 0 && !ran && status == 0)
		ok++	# no TAP: the status says it all
	if (planned >= 0 && planned != ran && !bad)
		failure("planned " planned " cases, ran " ran)
	if (planned == 0 && whole_skip == "" && !bad)
		failure("has no case")
	state = bad ? "FAILED" : (skip && !ok ? "skipped" : "ok")
	printf "  %-8s %-24s %4d passed, %d failed, %d skipped%s%s\n", state, test, ok,
		bad, skip, seconds == "" ? "" : ", " seconds " s",
		whole_skip == "" ? "" : " (" whole_skip ")"
	for (i = 1; i <= nr_failures; i++)
		printf "           %s: %s\n", test, failures[i]
	passed += ok; failed += bad; skipped += skip
	test = ""
}

{ sub(/\r$/, "") }

/^# begin / {
	if (test != "")
		finish("none", "")
	start($3)
	next
}

test == "" { next }

/^# end / && $3 == test { finish($4, $5); next }

/^1\.\.[0-9]+/ {
	planned = substr($1, 4) + 0
	if (match($0, /# SKIP/))
		whole_skip = substr($0, RSTART + 7)
	next
}

/^ok [0-9]+/ {
	ran++
	if (/# SKIP/)
		skip++
	else
		ok++
	next
}

/^not ok [0-9]+/ {
	ran++
	sub(/^not ok [0-9]+ (- )?/, "")
	failure($0)
}

END {
	if (test != "")
		finish("none", "")
	printf "total %d %d %d\n", passed, failed, skipped
}
