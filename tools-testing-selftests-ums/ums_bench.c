// SPDX-License-Identifier: GPL-2.0
/*
 * What a scheduling decision costs, beside what programs use instead.
 *
 * Prints "name<TAB>value<TAB>unit" for each measurement.  In a virtual machine
 * that advances its clock by one nanosecond an instruction (QEMU's -icount
 * shift=0) nanoseconds are guest instructions, and repeat.
 *
 * Each benchmark has a process of its own, so none leaves threads or a warm
 * pool to the next one.  With --cpus 1, the default, all its threads run on one
 * CPU; --cpus 2 runs those which need a second one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ums_bench.h"

/* Small, as there may be a hundred thousand of them. */
#define STACK_SIZE	PTHREAD_STACK_MIN

long rounds = 20000;
double clock_cost;

void report(const char *name, double value, const char *unit)
{
	printf("%s\t%.*f\t%s\n", name, strcmp(unit, "ratio") ? 0 : 2, value,
	       unit);
	fflush(stdout);
}

void die(const char *what)
{
	fprintf(stderr, "ums_bench: %s: %s\n", what, strerror(errno));
	_exit(1);
}

uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

void unpin(void)
{
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	must(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

double measure_after(long warm_up, void (*step)(void))
{
	uint64_t start;
	long i;

	for (i = 0; i < warm_up; i++)
		step();
	start = now();
	for (i = 0; i < rounds; i++)
		step();
	return (double)(now() - start) / rounds;
}

void start_peer(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	errno = pthread_create(&thread, &attr, fn, arg);
	must(!errno, "pthread_create");
	pthread_attr_destroy(&attr);
}

double in_child(double (*fn)(bool arg), bool arg)
{
	double value;
	int fds[2];
	pid_t pid;

	must(!pipe(fds), "pipe");
	pid = fork();
	must(pid >= 0, "fork");
	if (!pid) {
		value = fn(arg);
		must(write(fds[1], &value, sizeof(value)) == sizeof(value),
		     "write");
		_exit(0);
	}
	close(fds[1]);
	must(read(fds[0], &value, sizeof(value)) == sizeof(value), "child");
	close(fds[0]);
	must(waitpid(pid, NULL, 0) == pid, "waitpid");
	return value;
}

/* --- what programs use instead --- */

static void getppid_step(void)
{
	syscall(SYS_getppid);
}

static void bench_getppid(void)
{
	report("getppid", measure(getppid_step), "ns");
}

static void *yield_peer(void *arg)
{
	for (;;)
		sched_yield();
	return arg;
}

static void yield_step(void)
{
	sched_yield();
}

static void bench_yield_pair(void)
{
	start_peer(yield_peer, NULL);
	report("yield_pair", measure(yield_step), "ns");
}

static int futex_word[2];

static void futex_post(int *word)
{
	__atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void futex_pend(int *word)
{
	while (!__atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void *futex_peer(void *arg)
{
	for (;;) {
		futex_pend(&futex_word[0]);
		futex_post(&futex_word[1]);
	}
	return arg;
}

static void futex_step(void)
{
	futex_post(&futex_word[0]);
	futex_pend(&futex_word[1]);
}

static double futex_pair(bool pinned)
{
	if (!pinned)
		unpin();
	start_peer(futex_peer, NULL);
	return measure(futex_step);
}

static void bench_futex_pair(void)
{
	report("futex_pair", futex_pair(true), "ns");
}

static int there[2], back[2];

static void *pipe_peer(void *arg)
{
	char c;

	while (read(there[0], &c, 1) == 1 && write(back[1], &c, 1) == 1)
		;
	return arg;
}

static void pipe_step(void)
{
	char c = 0;

	must(write(there[1], &c, 1) == 1 && read(back[0], &c, 1) == 1, "pipe");
}

static void bench_pipe_pair(void)
{
	must(!pipe(there) && !pipe(back), "pipe");
	start_peer(pipe_peer, NULL);
	report("pipe_pair", measure(pipe_step), "ns");
}

static void *eventfd_peer(void *arg)
{
	eventfd_t value;

	while (!eventfd_read(there[0], &value) && !eventfd_write(back[0], 1))
		;
	return arg;
}

static void eventfd_step(void)
{
	eventfd_t value;

	must(!eventfd_write(there[0], 1) && !eventfd_read(back[0], &value),
	     "eventfd");
}

static void bench_eventfd_pair(void)
{
	there[0] = eventfd(0, 0);
	back[0] = eventfd(0, 0);
	must(there[0] >= 0 && back[0] >= 0, "eventfd");
	start_peer(eventfd_peer, NULL);
	report("eventfd_pair", measure(eventfd_step), "ns");
}

static void bench_unpinned_futex(void)
{
	double pinned = in_child(futex_pair, true);

	report("unpinned_futex", in_child(futex_pair, false) / pinned, "ratio");
}

static const struct bench {
	const char *name;
	int cpus;	/* negative: only if named, as limits must be raised */
	void (*run)(void);
} benches[] = {
	{ "getppid",		1, bench_getppid },
	{ "yield_pair",		1, bench_yield_pair },
	{ "futex_pair",		1, bench_futex_pair },
	{ "pipe_pair",		1, bench_pipe_pair },
	{ "eventfd_pair",	1, bench_eventfd_pair },
	{ "ums_classic",	1, bench_ums_classic },
	{ "ums_round_trip",	1, bench_ums_round_trip },
	{ "ums_switch",		1, bench_ums_switch },
	{ "ums_block",		1, bench_ums_block },	/* and _cycle */
	{ "ums_slice_end",	1, bench_ums_slice_end },
	{ "pthread_create_join", 1, bench_pthread_create_join },
	{ "ums_create",		1, bench_ums_create },
	{ "ums_round_trip_10",	1, bench_ums_round_trip_10 },
	{ "ums_round_trip_1000", 1, bench_ums_round_trip_1000 },
	{ "ums_round_trip_10000", 1, bench_ums_round_trip_10000 },
	{ "ums_round_trip_100000", -1, bench_ums_round_trip_100000 },
	{ "mem_worker",		1, bench_mem_worker },
	{ "futex_pair",		2, bench_futex_pair },
	{ "ums_preempt",	2, bench_ums_preempt },
	{ "unpinned_futex",	2, bench_unpinned_futex },
	{ "unpinned_ums",	2, bench_unpinned_ums },
	{ "two_schedulers",	2, bench_two_schedulers },	/* and fairness */
};

static void run_bench(const struct bench *bench)
{
	uint64_t start;
	int status;
	pid_t pid;
	int i;

	pid = fork();
	must(pid >= 0, "fork");
	if (!pid) {
		pin(0);
		start = now();
		for (i = 0; i < WARM_UP; i++)
			now();
		clock_cost = (double)(now() - start) / WARM_UP;
		bench->run();
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	if (status) {
		fprintf(stderr, "ums_bench: %s failed\n", bench->name);
		exit(1);
	}
}

static bool wanted(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

static int bad_usage(void)
{
	fprintf(stderr,
		"usage: ums_bench [--rounds N] [--cpus 1|2] [NAME...]\n");
	return 2;
}

int main(int argc, char **argv)
{
	int cpus = 1;
	bool any = false;
	unsigned int i;

	for (argv++; *argv && **argv == '-'; argv += 2) {
		if (argv[1] && !strcmp(argv[0], "--rounds"))
			rounds = strtol(argv[1], NULL, 10);
		else if (argv[1] && !strcmp(argv[0], "--cpus"))
			cpus = strtol(argv[1], NULL, 10);
		else
			return bad_usage();
	}
	if (rounds <= 0 || cpus < 1 || cpus > 2)
		return bad_usage();
	if (sysconf(_SC_NPROCESSORS_ONLN) < cpus) {
		fprintf(stderr, "ums_bench: --cpus %d: there are not so many\n",
			cpus);
		return 1;
	}

	for (i = 0; i < sizeof(benches) / sizeof(*benches); i++) {
		if (abs(benches[i].cpus) != cpus ||
		    !wanted(benches[i].name, argv) ||
		    (benches[i].cpus < 0 && !*argv))
			continue;
		run_bench(&benches[i]);
		any = true;
	}
	if (!any) {
		fprintf(stderr, "ums_bench: no benchmark of that name\n");
		return 2;
	}
	return 0;
}
