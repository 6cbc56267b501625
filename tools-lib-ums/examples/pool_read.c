// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * pool_read: 64 workers read from pipes and compute, on one CPU.
 *
 * A plain thread feeds the pipes in bursts, for two seconds or as many as the
 * argument says; SIGINT and SIGTERM end that early.  The program fails unless
 *
 * - the CPU was never idle while a worker was ready.  Each worker notes from
 *   when to when it was ready or running for each message; the union of these
 *   spans and the idle time of the CPU, from /proc/stat, must fit into the time
 *   that the test took.
 *
 * - at most one worker ran the program's code at a time.  Each adds itself to a
 *   counter there.  A worker that finds another one counted asks for its state:
 *   one that was stopped by the end of its slice is counted and does not run.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <ums.h>
#include <ums_pool.h>

#define WORKERS		64
#define MESSAGES	4096		/* for each worker */
#define MS		1000000		/* ns */
#define SLICE		(4 * MS)
#define MEAN_WORK	(MS / 4)

/* A worker was ready or running, in ns of CLOCK_MONOTONIC. */
struct span {
	uint64_t from;
	uint64_t to;
};

struct reader {
	int in;
	int out;			/* the feeder's */
	ums_context_t context;
	atomic_bool counted;
	ums_thread_info_t info;		/* at its end */
	unsigned int messages;
	struct span spans[MESSAGES];
};

static struct reader *readers;
static unsigned int seconds = 2;
static unsigned long loops_per_ms;
static atomic_uint result;
static atomic_bool interrupted;

static atomic_int reading;
static atomic_uint computed;
static atomic_int in_user_code;
static atomic_int most_counted;
static atomic_uint violations;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void compute(unsigned long loops)
{
	unsigned int x = atomic_load(&result);

	while (loops--)
		x = x * 1664525 + 1013904223;
	atomic_store(&result, x);
}

static void calibrate(void)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t start = now();

		compute(100000);
		if (now() - start < best)
			best = now() - start;
	}
	loops_per_ms = 100000ULL * MS / best;
}

static ums_thread_info_t query(ums_context_t context)
{
	ums_thread_info_t info;

	if (query_ums_thread(context, &info))
		err(1, "query_ums_thread");
	return info;
}

/* Another worker is counted: it must not run. */
static void look_at_others(struct reader *me)
{
	for (int i = 0; i < WORKERS; i++) {
		struct reader *r = &readers[i];
		ums_thread_info_t info;

		/* It may have gone on, or to its end, meanwhile. */
		if (r == me || !atomic_load(&r->counted) ||
		    query_ums_thread(r->context, &info))
			continue;
		if (info.state == UMS_THREAD_RUNNING)
			atomic_fetch_add(&violations, 1);
	}
}

static void enter_user_code(struct reader *me)
{
	int others = atomic_fetch_add(&in_user_code, 1);

	atomic_store(&me->counted, true);
	if (others >= atomic_load(&most_counted))
		atomic_store(&most_counted, others + 1);
	if (others)
		look_at_others(me);
}

static void leave_user_code(struct reader *me)
{
	atomic_store(&me->counted, false);
	atomic_fetch_sub(&in_user_code, 1);
}

/* Return: how much to compute, 0 at the end. */
static unsigned long read_message(struct reader *me)
{
	ums_thread_info_t before, after;
	unsigned long loops = 0;
	uint64_t start, back;
	ssize_t n;

	leave_user_code(me);
	before = query(me->context);
	start = now();
	n = read(me->in, &loops, sizeof(loops));
	after = query(me->context);
	back = now();
	enter_user_code(me);

	if (n < 0)
		err(1, "read");
	if (me->messages)
		me->spans[me->messages - 1].to = start;
	if (!n)
		return 0;
	/* It was ready right up to now, unless a slice ended somewhere. */
	if (after.preemptions == before.preemptions)
		back -= after.ready_ns - before.ready_ns;
	me->spans[me->messages++].from = back;
	return loops;
}

static void *reader_main(void *arg)
{
	struct reader *me = arg;
	unsigned long loops;

	me->context = syscall(SYS_gettid);
	atomic_fetch_add(&reading, 1);
	enter_user_code(me);
	while ((loops = read_message(me))) {
		compute(loops);
		atomic_fetch_add(&computed, 1);
	}
	leave_user_code(me);
	me->info = query(me->context);
	return NULL;
}

static void on_interrupt(int sig)
{
	(void)sig;
	atomic_store(&interrupted, true);
}

static void catch(int sig)
{
	struct sigaction action = {
		.sa_handler = on_interrupt,
		.sa_flags = SA_RESTART,
	};

	sigemptyset(&action.sa_mask);
	sigaction(sig, &action, NULL);
}

static bool is_over(uint64_t end)
{
	return now() >= end || atomic_load(&interrupted);
}

/* Bursts of work, and time to idle when each is done. */
static void *feeder_main(void *unused)
{
	uint64_t end = now() + seconds * 1000ULL * MS;
	unsigned int sent[WORKERS] = { 0 };
	unsigned int total = 0, seed = 1;

	while (!is_over(end)) {
		int burst = 1 + rand_r(&seed) % WORKERS;

		for (int i = 0; i < burst; i++) {
			int to = rand_r(&seed) % WORKERS;
			unsigned long loops = loops_per_ms * MEAN_WORK / MS;

			if (rand_r(&seed) % 64 == 0)
				loops *= 32;
			if (sent[to]++ >= MESSAGES)
				continue;
			total++;
			if (write(readers[to].out, &loops, sizeof(loops)) < 0)
				err(1, "write");
		}
		while (atomic_load(&computed) < total && !is_over(end))
			usleep(500);
		usleep(5000);
	}
	return unused;
}

/* On another CPU than the pool's, if there is one. */
static pthread_t start_feeder(cpu_set_t cpus, int cpu)
{
	pthread_attr_t attr;
	pthread_t thread;

	CPU_CLR(cpu, &cpus);
	if (!CPU_COUNT(&cpus))
		CPU_SET(cpu, &cpus);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	errno = pthread_create(&thread, &attr, feeder_main, NULL);
	if (errno)
		err(1, "pthread_create");
	pthread_attr_destroy(&attr);
	return thread;
}

static uint64_t idle_time(int cpu)
{
	unsigned long long idle, iowait;
	char line[256], name[16];
	bool found = false;
	FILE *stat;

	snprintf(name, sizeof(name), "cpu%d ", cpu);
	stat = fopen("/proc/stat", "r");
	if (!stat)
		err(1, "/proc/stat");
	while (!found && fgets(line, sizeof(line), stat))
		found = !strncmp(line, name, strlen(name)) &&
			sscanf(line, "%*s %*u %*u %*u %llu %llu", &idle,
			       &iowait) == 2;
	fclose(stat);
	if (!found)
		errx(1, "/proc/stat has no %s", name);
	return (idle + iowait) * (1000000000ULL / sysconf(_SC_CLK_TCK));
}

static int by_start(const void *left, const void *right)
{
	const struct span *a = left, *b = right;

	return (a->from > b->from) - (a->from < b->from);
}

/* How long at least one worker was ready or running, up to @end. */
static uint64_t busy_time(uint64_t end)
{
	uint64_t busy = 0, until = 0;
	unsigned int nr = 0;
	struct span *all;

	all = calloc((size_t)WORKERS * MESSAGES, sizeof(*all));
	if (!all)
		err(1, NULL);
	for (int i = 0; i < WORKERS; i++)
		for (unsigned int j = 0; j < readers[i].messages; j++)
			all[nr++] = readers[i].spans[j];
	qsort(all, nr, sizeof(*all), by_start);
	for (unsigned int i = 0; i < nr && all[i].from < end; i++) {
		if (all[i].to > end)
			all[i].to = end;
		if (all[i].from > until)
			until = all[i].from;
		if (all[i].to > until) {
			busy += all[i].to - until;
			until = all[i].to;
		}
	}
	free(all);
	return busy;
}

static int report(uint64_t start, uint64_t end, uint64_t idle)
{
	uint64_t elapsed = end - start, busy = busy_time(end);
	/*
	 * Both readings of both of the two counters are rounded.  Besides, newer
	 * kernels count as idle what an idle CPU's interrupts and wake-ups take.
	 */
	uint64_t slack = 4 * 1000000000ULL / sysconf(_SC_CLK_TCK) + elapsed / 10;
	uint64_t ready = 0, blocked = 0;
	unsigned int messages = 0;
	bool idled, overlapped;

	for (int i = 0; i < WORKERS; i++) {
		messages += readers[i].messages;
		ready += readers[i].info.ready_ns;
		blocked += readers[i].info.blocked_ns;
	}
	idled = idle + busy > elapsed + slack;
	overlapped = atomic_load(&violations);

	printf("%d workers read %u messages in %llu ms\n", WORKERS, messages,
	       elapsed / MS + 0ULL);
	printf("at least one was ready or running: %llu ms, CPU idle: %llu ms\n",
	       busy / MS + 0ULL, idle / MS + 0ULL);
	printf("sums over all workers: ready %llu ms, blocked %llu ms\n",
	       ready / MS + 0ULL, blocked / MS + 0ULL);
	printf("most workers in user code: %d, of which at most 1 ran: %s\n",
	       atomic_load(&most_counted), overlapped ? "no, FAILED" : "yes");
	printf("the CPU idled while a worker was ready: %s\n",
	       idled ? "yes, FAILED" : "no");
	return !messages || idled || overlapped;
}

int main(int argc, char **argv)
{
	ums_pool_attr_t attr = { .schedulers = 1, .slice_ns = SLICE };
	uint64_t start, end, idle;
	ums_pool_t *pool;
	pthread_t feeder;
	cpu_set_t cpus;
	int cpu = 0;

	if (argc > 1)
		seconds = atoi(argv[1]);
	if (argc > 2 || !seconds)
		errx(2, "usage: pool_read [SECONDS]");

	catch(SIGINT);
	catch(SIGTERM);
	/* The pool takes the first CPU that the program may use. */
	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		err(1, "sched_getaffinity");
	while (!CPU_ISSET(cpu, &cpus))
		cpu++;
	calibrate();
	readers = malloc(WORKERS * sizeof(*readers));
	if (!readers)
		err(1, NULL);
	/* Touched, so that no worker faults. */
	memset(readers, 0, WORKERS * sizeof(*readers));

	if (ums_pool_create(&pool, &attr))
		err(1, "ums_pool_create");
	for (int i = 0; i < WORKERS; i++) {
		int fds[2];

		if (pipe(fds))
			err(1, "pipe");
		readers[i].in = fds[0];
		readers[i].out = fds[1];
		if (ums_pool_spawn(pool, NULL, UMS_POOL_NORMAL, reader_main,
				   &readers[i]))
			err(1, "ums_pool_spawn");
	}
	while (atomic_load(&reading) < WORKERS)
		usleep(1000);

	start = now();
	idle = idle_time(cpu);
	feeder = start_feeder(cpus, cpu);
	pthread_join(feeder, NULL);
	idle = idle_time(cpu) - idle;
	end = now();

	for (int i = 0; i < WORKERS; i++)
		close(readers[i].out);
	if (ums_pool_destroy(pool))
		err(1, "ums_pool_destroy");
	return report(start, end, idle);
}
