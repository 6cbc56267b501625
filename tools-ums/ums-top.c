// SPDX-License-Identifier: GPL-2.0
/*
 * ums-top: what the schedulers and workers of user-mode scheduling are doing.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ums-top.h"

#define MIN_DELAY	0.1
#define MAX_DELAY	3600.0

/* A terminal shows the first rates soon. */
#define FIRST_DELAY	0.5

/* What the options say. */
static double delay = 2.0;
static bool delay_given;
static int iterations;		/* 0: for ever */
static enum sort_key key = SORT_RATE;
static bool once;
static int *pids;
static size_t nr_pids;

static const char usage_text[] =
	"usage: ums-top [-d SECONDS] [-n COUNT] [-s KEY] [--once] [PID...]\n"
	"\n"
	"Shows the schedulers and workers of all processes, or of those named.\n"
	"\n"
	"  -d, --delay SECONDS  between two samples, from 0.1 to 3600 (2)\n"
	"  -n, --count COUNT    end after so many reports\n"
	"  -s, --sort KEY       rate, cpu, switches, since, state, scheduler,\n"
	"                       list or pid (rate)\n"
	"      --once           one report as plain text; with -d, rates over\n"
	"                       that time\n"
	"  -h, --help           this text\n"
	"\n"
	"On a terminal: q quits, s and S change the order, space looks at once.\n";

/* ---- options ------------------------------------------------------------- */

static void parse_delay(const char *arg)
{
	char *end;

	delay = strtod(arg, &end);
	if (end == arg || *end || !(delay >= MIN_DELAY && delay <= MAX_DELAY))
		errx(2, "-d %s: not a number of seconds from 0.1 to 3600", arg);
	delay_given = true;
}

/* Digits alone: strtol() would take a sign, and blanks. */
static int parse_number(const char *arg, const char *what)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno || n < 1 || n > INT_MAX)
		errx(2, "%s%s: not a number from 1 to %d", what, arg, INT_MAX);
	return n;
}

static void parse_key(const char *arg)
{
	for (key = 0; key < SORT_KEYS; key++)
		if (!strcmp(arg, sort_names[key]))
			return;
	errx(2, "-s %s: not one of rate, cpu, switches, since, state, scheduler, list, pid",
	     arg);
}

static void add_pid(int pid)
{
	size_t i;

	for (i = 0; i < nr_pids; i++)
		if (pids[i] == pid)
			return;
	pids[nr_pids++] = pid;
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "delay", required_argument, NULL, 'd' },
		{ "count", required_argument, NULL, 'n' },
		{ "sort", required_argument, NULL, 's' },
		{ "once", no_argument, NULL, '1' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	int opt;

	argv[0] = program_invocation_short_name;	/* as err() has it */
	while ((opt = getopt_long(argc, argv, "d:n:s:h", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			parse_delay(optarg);
			break;
		case 'n':
			iterations = parse_number(optarg, "-n ");
			break;
		case 's':
			parse_key(optarg);
			break;
		case '1':
			once = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(0);
		default:
			exit(2);
		}
	}
	if (once && iterations)
		errx(2, "--once and -n do not go together");
	pids = calloc(argc, sizeof(*pids));
	if (!pids)
		err(1, NULL);
	for (; optind < argc; optind++)
		add_pid(parse_number(argv[optind], ""));
}

/* ---- samples ------------------------------------------------------------- */

static struct sample samples[2];
static struct sample *current = &samples[0], *last = &samples[1];

/* Those asked for must be there, at first; later those that are gone are gone. */
static void check_pids(void)
{
	const struct process *p;
	size_t i, j;

	for (i = 0; i < nr_pids; i++) {
		p = current->processes.data;
		for (j = 0; j < current->processes.nr; j++, p++)
			if (p->thread.pid == pids[i])
				break;
		if (j == current->processes.nr)
			errx(1, "%d: no process that has /dev/ums open", pids[i]);
		if (p->hidden)
			errx(1, "%d: Permission denied", pids[i]);
	}
}

/* Return: whether there may be anything to see the next time. */
static bool take_sample(void)
{
	struct sample *s = last;

	last = current;
	current = s;
	if (sample_take(current, last, pids, nr_pids)) {
		if (errno == ENOENT)
			errx(1, "no /proc/ums: the ums driver is not loaded");
		err(1, "/proc/ums");
	}
	return !nr_pids || current->processes.nr;
}

static void check_output(void)
{
	if (fflush(stdout) || ferror(stdout))
		err(1, "standard output");
}

/* ---- plain text ---------------------------------------------------------- */

static void pause_for(double seconds)
{
	struct timespec ts = {
		.tv_sec = seconds,
		.tv_nsec = (seconds - (time_t)seconds) * 1e9,
	};

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static void run_plain(void)
{
	int reports = once ? 1 : iterations;
	int i;

	if (once && !delay_given) {
		view_plain(stdout, current, key);
		check_output();
		return;
	}
	for (i = 0; !reports || i < reports; i++) {
		pause_for(delay);
		if (!take_sample())
			return;
		if (i)
			putchar('\n');
		view_plain(stdout, current, key);
		check_output();
	}
}

/* ---- terminal ------------------------------------------------------------ */

#define CLEAR_SCREEN	"\033[H\033[2J"
#define HIDE_CURSOR	"\033[?25l"
#define SHOW_CURSOR	"\033[?25h"

static struct termios saved_termios;
static bool keyboard;

static atomic_int ended_by;
static atomic_int stopped;
static atomic_int resized;

static void on_signal(int sig)
{
	if (sig == SIGTSTP)
		stopped = 1;
	else if (sig == SIGWINCH)
		resized = 1;
	else
		ended_by = sig;
}

static void terminal_begin(void)
{
	struct termios raw;

	keyboard = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &saved_termios);
	if (keyboard) {
		raw = saved_termios;
		raw.c_lflag &= ~(ICANON | ECHO);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	}
	fputs(HIDE_CURSOR CLEAR_SCREEN, stdout);
}

/* The last view stays, with the cursor below it. */
static void terminal_end(void)
{
	fputs(SHOW_CURSOR, stdout);
	fflush(stdout);
	if (keyboard)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_termios);
}

static void terminal_stop(void)
{
	stopped = 0;
	terminal_end();
	raise(SIGSTOP);
	terminal_begin();
}

static struct screen terminal_size(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row ||
	    !size.ws_col)
		return (struct screen) { .rows = 24, .columns = 80 };
	return (struct screen) { .rows = size.ws_row, .columns = size.ws_col };
}

/* All of it in one write, so that nothing flickers. */
static void draw(void)
{
	struct screen screen = terminal_size();
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	out = open_memstream(&text, &size);
	if (!out)
		err(1, NULL);
	view_screen(out, current, key, &screen);
	if (fclose(out))
		err(1, NULL);
	fwrite(text, 1, size, stdout);
	free(text);
	check_output();
}

/* The signals are blocked but for the waits, so that none comes too early. */
static void catch_signals(sigset_t *waiting)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH };
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		sigaddset(&set, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &set, waiting);
	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigdelset(waiting, signals[i]);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Act upon the keys that were pressed.  Return: whether to look at once. */
static bool read_keys(bool *quit)
{
	bool look = false;
	char keys[16];
	ssize_t i, n;

	n = read(STDIN_FILENO, keys, sizeof(keys));
	if (n <= 0)
		keyboard = false;	/* nobody is there any more */
	for (i = 0; i < n; i++) {
		switch (keys[i]) {
		case 'q':
			*quit = true;
			break;
		case 's':
			key = (key + 1) % SORT_KEYS;
			break;
		case 'S':
			key = (key + SORT_KEYS - 1) % SORT_KEYS;
			break;
		case ' ':
			look = true;
			break;
		}
	}
	return look;
}

/*
 * Wait until it is time to look, drawing anew meanwhile what was seen last, if
 * need be.  Return: false to quit.
 */
static bool wait_until(double when, const sigset_t *waiting)
{
	struct pollfd fd = { .fd = STDIN_FILENO, .events = POLLIN };
	struct timespec ts;
	bool quit = false;
	double left;
	int n;

	while ((left = when - now()) > 0 && !quit) {
		ts.tv_sec = left;
		ts.tv_nsec = (left - ts.tv_sec) * 1e9;
		n = ppoll(&fd, keyboard, &ts, waiting);
		if (ended_by)
			return false;
		if (n < 0 && errno != EINTR)
			err(1, "poll");
		if (stopped)
			terminal_stop();
		else if (n > 0 && read_keys(&quit))
			break;
		else if (!n)
			break;
		if (resized)
			fputs(CLEAR_SCREEN, stdout);
		resized = 0;
		draw();
	}
	return !quit;
}

static void run_terminal(void)
{
	double first = delay < FIRST_DELAY ? delay : FIRST_DELAY;
	sigset_t waiting;
	int i;

	catch_signals(&waiting);
	terminal_begin();
	atexit(terminal_end);
	draw();
	for (i = 0; !iterations || i < iterations; i++) {
		if (!wait_until(now() + (i ? delay : first), &waiting))
			break;
		if (!take_sample())
			break;
		draw();
	}
	if (ended_by) {
		/* As if it had not been caught. */
		terminal_end();
		signal(ended_by, SIG_DFL);
		sigprocmask(SIG_SETMASK, &waiting, NULL);
		raise(ended_by);
	}
}

int main(int argc, char **argv)
{
	parse_options(argc, argv);
	sample_init(current);
	sample_init(last);
	take_sample();
	check_pids();
	if (once || !isatty(STDOUT_FILENO))
		run_plain();
	else
		run_terminal();
	return 0;
}
