// SPDX-License-Identifier: GPL-2.0
/*
 * What a scheduling decision costs: the benchmarks of /dev/ums.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/ums.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ums_bench.h"

static int ums_fd;
static __s32 ums_clist;

/* --- calls --- */

static void ums_call(unsigned long request, unsigned long arg, const char *what)
{
	must(ioctl(ums_fd, request, arg) >= 0, what);
}

static void open_ums(void)
{
	ums_fd = open("/dev/ums", O_RDWR | O_CLOEXEC);
	must(ums_fd >= 0, "/dev/ums");
	ums_call(IOCTL_CREATE_UMS_CLIST, (uintptr_t)&ums_clist,
		 "IOCTL_CREATE_UMS_CLIST");
}

static void enter(__u32 mode, __u32 flags)
{
	struct ums_enter args = {
		.mode = mode,
		.flags = flags,
		.clist = ums_clist,
	};

	ums_call(IOCTL_ENTER_UMS, (uintptr_t)&args, "IOCTL_ENTER_UMS");
}

/* The calling thread becomes a scheduler. */
static void enter_scheduler(__u32 flags)
{
	struct ums_event event;

	enter(ENTER_UMS_SCHED, flags);
	ums_call(IOCTL_UMS_SCHED_DQEVENT, (uintptr_t)&event,
		 "IOCTL_UMS_SCHED_DQEVENT");
}

/* Run a worker until the event of type @type. */
static void run(__s32 context, __u32 type)
{
	struct ums_run args = { .context = context };

	ums_call(IOCTL_UMS_RUN, (uintptr_t)&args, "IOCTL_UMS_RUN");
	if (args.event.type != type) {
		errno = EPROTO;
		die("event");
	}
}

/* Take up to @nr workers, waiting for one.  Returns how many. */
static unsigned int dequeue(struct ums_ready *ready, unsigned int nr)
{
	struct ums_dequeue args = {
		.clist = ums_clist,
		.nr = nr,
		.ready = (uintptr_t)ready,
	};
	int ret = ioctl(ums_fd, IOCTL_UMS_DEQUEUE, &args);

	must(ret > 0, "IOCTL_UMS_DEQUEUE");
	return ret;
}

static __s32 dequeue_one(void)
{
	struct ums_ready ready;

	dequeue(&ready, 1);
	return ready.context;
}

static void give_way(void)
{
	ums_call(IOCTL_UMS_YIELD, 0, "IOCTL_UMS_YIELD");
}

static void *yielding_worker(void *arg)
{
	enter(ENTER_UMS_WORK, 0);
	for (;;)
		give_way();
	return arg;
}

/* --- round trips --- */

/* The classic cycle: dequeue until empty, execute, read the event. */
static void classic_step(void)
{
	struct ums_dequeue_clist args = { .clist = ums_clist };
	struct ums_event event;

	if (ioctl(ums_fd, IOCTL_DEQUEUE_UMS_CLIST, &args) ||
	    ioctl(ums_fd, IOCTL_NEXT_UMS_CTX_LIST, (long)args.context) ||
	    ioctl(ums_fd, IOCTL_EXEC_UMS_CTX, (long)args.context) ||
	    ioctl(ums_fd, IOCTL_UMS_SCHED_DQEVENT, &event))
		die("scheduler cycle");
	if (event.type != THREAD_YIELD) {
		errno = EPROTO;
		die("event");
	}
}

void bench_ums_classic(void)
{
	open_ums();
	start_peer(yielding_worker, NULL);
	enter_scheduler(0);
	report("ums_classic", measure(classic_step), "ns");
}

static __s32 the_worker;

static void round_trip_step(void)
{
	run(the_worker, THREAD_YIELD);
}

static double round_trip(bool pinned)
{
	if (!pinned)
		unpin();
	open_ums();
	start_peer(yielding_worker, NULL);
	enter_scheduler(ENTER_UMS_KEEP);
	the_worker = dequeue_one();
	return measure(round_trip_step);
}

void bench_ums_round_trip(void)
{
	report("ums_round_trip", round_trip(true), "ns");
}

#define MANY		100000

static struct ums_ready many_ready[MANY];
static unsigned int nr_workers;

static void round_trips_step(void)
{
	unsigned int i, n, left;

	for (left = nr_workers; left; left -= n) {
		n = dequeue(many_ready, left);
		for (i = 0; i < n; i++)
			run(many_ready[i].context, THREAD_YIELD);
	}
}

/* With @nr workers, each run in turn, which go back to their list. */
static void round_trips(const char *name, unsigned int nr)
{
	open_ums();
	nr_workers = nr;
	for (; nr; nr--)
		start_peer(yielding_worker, NULL);
	enter_scheduler(0);
	rounds = (rounds + nr_workers - 1) / nr_workers;
	report(name, measure_after(2, round_trips_step) / nr_workers, "ns");
}

void bench_ums_round_trip_10(void)
{
	round_trips("ums_round_trip_10", 10);
}

void bench_ums_round_trip_1000(void)
{
	round_trips("ums_round_trip_1000", 1000);
}

void bench_ums_round_trip_10000(void)
{
	round_trips("ums_round_trip_10000", 10000);
}

void bench_ums_round_trip_100000(void)
{
	round_trips("ums_round_trip_100000", MANY);
}

/* --- worker to worker --- */

static double switch_ns;

/* Hands over to @arg, another context, for ever. */
static __s32 switch_pair[2];

static void *switching_worker(void *arg)
{
	long self = (long)arg;

	enter(ENTER_UMS_WORK, 0);
	for (;;)
		ums_call(IOCTL_UMS_SWITCH, switch_pair[!self],
			 "IOCTL_UMS_SWITCH");
	return arg;
}

static void switch_step(void)
{
	ums_call(IOCTL_UMS_SWITCH, switch_pair[1], "IOCTL_UMS_SWITCH");
}

/* Measures from the inside: each step is there and back. */
static void *measuring_worker(void *arg)
{
	enter(ENTER_UMS_WORK, 0);
	switch_ns = measure(switch_step) / 2;
	give_way();
	return arg;
}

void bench_ums_switch(void)
{
	open_ums();
	enter_scheduler(ENTER_UMS_KEEP);
	start_peer(measuring_worker, NULL);
	switch_pair[0] = dequeue_one();
	start_peer(switching_worker, (void *)1L);
	switch_pair[1] = dequeue_one();
	run(switch_pair[0], THREAD_YIELD);
	report("ums_switch", switch_ns, "ns");
}

/* --- blocking --- */

static int block_pipe[2];

static void *blocking_worker(void *arg)
{
	char c;

	enter(ENTER_UMS_WORK, 0);
	for (;;) {
		must(read(block_pipe[0], &c, 1) == 1, "read");
		give_way();
	}
	return arg;
}

static int compare_ns(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* What a tenth of the rounds takes at most. */
static double cheap_tenth(uint64_t *ns)
{
	qsort(ns, rounds, sizeof(*ns), compare_ns);
	return ns[rounds / 10];
}

/*
 * A round takes one of two ways, and which one is the kernel's to choose: a woken
 * worker has the CPU at once, or the scheduler goes to sleep first, and must be
 * woken, too, when the worker blocks.  That is half as much again.  How often it
 * comes hangs on who has used how much of the CPU, to the instruction, so a mean
 * would not repeat from one build to the next.
 */
void bench_ums_block(void)
{
	uint64_t *block = calloc(rounds, sizeof(*block));
	uint64_t *cycle = calloc(rounds, sizeof(*cycle));
	uint64_t start, blocked;
	__s32 context;
	char c = 0;
	long i;

	must(block && cycle, "calloc");
	must(!pipe(block_pipe), "pipe");
	open_ums();
	start_peer(blocking_worker, NULL);
	enter_scheduler(ENTER_UMS_BLOCK_EVENTS | ENTER_UMS_KEEP);
	context = dequeue_one();
	for (i = -WARM_UP; i < rounds; i++) {
		start = now();
		run(context, THREAD_BLOCKED);
		blocked = now();
		must(write(block_pipe[1], &c, 1) == 1, "write");
		context = dequeue_one();
		run(context, THREAD_YIELD);
		if (i >= 0) {
			block[i] = blocked - start;
			cycle[i] = now() - start;
		}
	}
	report("ums_block", cheap_tenth(block) - clock_cost, "ns");
	report("ums_block_cycle", cheap_tenth(cycle) - 2 * clock_cost, "ns");
	free(block);
	free(cycle);
}

/* --- slices --- */

#define SLICE_NS	100000

static void *spinning_worker(void *arg)
{
	enter(ENTER_UMS_WORK, 0);
	for (;;)
		__asm__ volatile("" : : : "memory");
	return arg;
}

/*
 * From the end of a slice until the scheduler has the event.  The slice is
 * counted from before the call, so this is more than it takes.
 */
void bench_ums_slice_end(void)
{
	struct ums_run args;
	uint64_t start, late = 0;
	long count = rounds / 10 + 1;
	long i;

	open_ums();
	start_peer(spinning_worker, NULL);
	enter_scheduler(ENTER_UMS_KEEP);
	the_worker = dequeue_one();
	for (i = 0; i < count; i++) {
		args = (struct ums_run) {
			.context = the_worker,
			.slice_ns = SLICE_NS,
		};
		start = now();
		ums_call(IOCTL_UMS_RUN, (uintptr_t)&args, "IOCTL_UMS_RUN");
		late += now() - start - SLICE_NS;
		if (args.event.type != THREAD_PREEMPTED) {
			errno = EPROTO;
			die("event");
		}
	}
	report("ums_slice_end", (double)late / count - clock_cost, "ns");
}

/* --- from birth to death --- */

static pthread_t create(void *(*fn)(void *))
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, fn, NULL);
	must(!errno, "pthread_create");
	return thread;
}

static void join(pthread_t thread)
{
	errno = pthread_join(thread, NULL);
	must(!errno, "pthread_join");
}

static void *short_thread(void *arg)
{
	return arg;
}

static void create_join_step(void)
{
	join(create(short_thread));
}

void bench_pthread_create_join(void)
{
	report("pthread_create_join", measure(create_join_step), "ns");
}

static void *short_worker(void *arg)
{
	enter(ENTER_UMS_WORK, 0);
	return arg;
}

static void create_worker_step(void)
{
	pthread_t thread = create(short_worker);

	run(dequeue_one(), THREAD_TERMINATED);
	join(thread);
}

void bench_ums_create(void)
{
	open_ums();
	enter_scheduler(0);
	report("ums_create", measure(create_worker_step), "ns");
}

/* --- memory --- */

#define MEM_THREADS	4000

/* All of the kernel's slabs, in bytes. */
static double slab_bytes(void)
{
	char line[256];
	double bytes = -1;
	unsigned long kb;
	FILE *file;

	file = fopen("/proc/meminfo", "r");
	must(file, "/proc/meminfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Slab: %lu kB", &kb) == 1)
			bytes = kb * 1024.0;
	fclose(file);
	must(bytes >= 0, "Slab in /proc/meminfo");
	return bytes;
}

static void *waiting_thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* Slab bytes for each of many threads. */
static double thread_bytes(bool workers)
{
	double before;
	int i;

	open_ums();
	before = slab_bytes();
	for (i = 0; i < MEM_THREADS; i++)
		start_peer(workers ? yielding_worker : waiting_thread, NULL);
	/* Until the last of them has come to rest. */
	sleep(1);
	return (slab_bytes() - before) / MEM_THREADS;
}

void bench_mem_worker(void)
{
	double plain;

	/* The first time, caches fill that stay. */
	in_child(thread_bytes, false);
	in_child(thread_bytes, true);
	plain = in_child(thread_bytes, false);
	report("mem_worker", in_child(thread_bytes, true) - plain, "bytes");
}

/* --- two CPUs --- */

static int preempt_turn;
static uint64_t preempted_at;

static void *preempted_scheduler(void *arg)
{
	pin(0);
	enter_scheduler(ENTER_UMS_KEEP);
	the_worker = dequeue_one();
	for (;;) {
		__atomic_store_n(&preempt_turn, 1, __ATOMIC_RELEASE);
		run(the_worker, THREAD_PREEMPTED);
		preempted_at = now();
		__atomic_store_n(&preempt_turn, 2, __ATOMIC_RELEASE);
		while (__atomic_load_n(&preempt_turn, __ATOMIC_ACQUIRE))
			;
	}
	return arg;
}

void bench_ums_preempt(void)
{
	uint64_t start, sum = 0;
	long count = rounds / 10 + 1;
	long i;

	open_ums();
	start_peer(spinning_worker, NULL);
	start_peer(preempted_scheduler, NULL);
	pin(1);
	for (i = 0; i < count; i++) {
		while (__atomic_load_n(&preempt_turn, __ATOMIC_ACQUIRE) != 1)
			;
		/* The worker may not be running yet: EAGAIN. */
		do {
			start = now();
		} while (ioctl(ums_fd, IOCTL_UMS_PREEMPT, (long)the_worker) &&
			 errno == EAGAIN);
		while (__atomic_load_n(&preempt_turn, __ATOMIC_ACQUIRE) != 2)
			;
		sum += preempted_at - start;
		__atomic_store_n(&preempt_turn, 0, __ATOMIC_RELEASE);
	}
	report("ums_preempt", (double)sum / count, "ns");
}

void bench_unpinned_ums(void)
{
	double pinned = in_child(round_trip, true);

	report("ums_round_trip", pinned, "ns");
	report("unpinned_ums", in_child(round_trip, false) / pinned, "ratio");
}

#define SHARED_WORKERS	1000
#define SHARED_NS	3000000000ULL
#define SHARED_BATCH	16

static struct shared_worker {
	unsigned long runs;
} shared_workers[SHARED_WORKERS];

static uint64_t shared_end;

static void *counting_worker(void *arg)
{
	struct shared_worker *me = arg;

	enter(ENTER_UMS_WORK, 0);
	for (;;) {
		me->runs++;
		give_way();
	}
	return arg;
}

static void *sharing_scheduler(void *arg)
{
	struct ums_ready ready[SHARED_BATCH];
	unsigned int i, n;

	pin((long)arg);
	enter_scheduler(0);
	while (now() < shared_end) {
		n = dequeue(ready, SHARED_BATCH);
		for (i = 0; i < n; i++)
			run(ready[i].context, THREAD_YIELD);
	}
	return arg;
}

/* How often @nr schedulers run workers of one list in SHARED_NS. */
static unsigned long shared_runs(long nr)
{
	unsigned long before = 0, after = 0;
	pthread_t thread[2];
	long i;

	for (i = 0; i < SHARED_WORKERS; i++)
		before += shared_workers[i].runs;
	shared_end = now() + SHARED_NS;
	for (i = 0; i < nr; i++) {
		errno = pthread_create(&thread[i], NULL, sharing_scheduler,
				       (void *)i);
		must(!errno, "pthread_create");
	}
	for (i = 0; i < nr; i++)
		join(thread[i]);
	for (i = 0; i < SHARED_WORKERS; i++)
		after += shared_workers[i].runs;
	return after - before;
}

void bench_two_schedulers(void)
{
	unsigned long min = ULONG_MAX, max = 0, runs, before[SHARED_WORKERS];
	unsigned long one, two;
	long i;

	open_ums();
	unpin();
	for (i = 0; i < SHARED_WORKERS; i++)
		start_peer(counting_worker, &shared_workers[i]);
	shared_runs(1);
	one = shared_runs(1);
	for (i = 0; i < SHARED_WORKERS; i++)
		before[i] = shared_workers[i].runs;
	two = shared_runs(2);
	for (i = 0; i < SHARED_WORKERS; i++) {
		runs = shared_workers[i].runs - before[i];
		min = runs < min ? runs : min;
		max = runs > max ? runs : max;
	}
	report("two_schedulers", (double)two / one, "ratio");
	report("two_schedulers_max_min", min ? (double)max / min : 1e9, "ratio");
}
