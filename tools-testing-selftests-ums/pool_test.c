// SPDX-License-Identifier: GPL-2.0
/* ums_pool: what its header promises. */
#include <dirent.h>
#include <sys/resource.h>

#include <ums_pool.h>

#include "ums_lib_test.h"

#define NR		16
#define NORMAL		UMS_POOL_NORMAL

static ums_pool_t *pool;
static pthread_t threads[NR];
static int pipes[2];

/* What the workers write down, in the order in which they come. */
static atomic_int nr_logged;
static atomic_int logged[1024];

static void log_it(int what)
{
	int i = atomic_fetch_add(&nr_logged, 1);

	if (CHECK(i < (int)ARRAY_SIZE(logged)))
		logged[i] = what;
}

static int create_pool(unsigned int schedulers, uint64_t slice_ns)
{
	ums_pool_attr_t attr = {
		.schedulers = schedulers, .slice_ns = slice_ns,
	};

	return ok(ums_pool_create(&pool, &attr));
}

static int spawn(int i, int priority, void *(*fn)(void *), void *arg)
{
	return ok(ums_pool_spawn(pool, &threads[i], priority, fn, arg));
}

static void *join(int i)
{
	void *result = (void *)-1;

	CHECK_EQ(0, pthread_join(threads[i], &result));
	return result;
}

/* How many contexts of a kind procfs has, in the state, if that is not NULL. */
static int count_in_proc(const char *kind, const char *state, pid_t *tids)
{
	char path[PATH_MAX], value[32];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), UMS_PROC "/%d/%s", getpid(), kind);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), UMS_PROC "/%d/%s/%s/info",
			 getpid(), kind, entry->d_name);
		if (state && (!ums_info(path, "state", value, sizeof(value)) ||
			      strcmp(value, state)))
			continue;
		if (tids && count < NR)
			tids[count] = atoi(entry->d_name);
		count++;
	}
	closedir(dir);
	return count;
}

static int count_ready(void)
{
	return count_in_proc("workers", "idle", NULL);
}

/* One that was joined may be there a moment longer. */
static int count_threads(void)
{
	return ums_count_entries("/proc/self/task");
}

/* Runs, and nobody else does on this scheduler, until it is opened. */
static atomic_int gate_runs, gate_open;

static void *gate(void *arg)
{
	gate_runs = 1;
	while (!gate_open)
		;
	return arg;
}

#define CLOSE_GATE()							\
	do {								\
		gate_runs = 0;						\
		gate_open = 0;						\
		ASSERT_EQ(0, ok(ums_pool_spawn(pool, NULL, 0, gate,	\
					       NULL)));			\
		ASSERT_TRUE(WAIT_FOR(gate_runs));			\
	} while (0)

/* Spawns a worker behind the gate, and waits until it is ready. */
#define QUEUE(i, priority, fn, arg)					\
	do {								\
		int __ready = count_ready();				\
									\
		ASSERT_EQ(0, spawn(i, priority, fn, arg));		\
		ASSERT_TRUE(WAIT_FOR(count_ready() == __ready + 1));	\
	} while (0)

FIXTURE(pool) {
};

FIXTURE_SETUP(pool)
{
	NEED_DEVICE(return);
	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
}

FIXTURE_TEARDOWN(pool)
{
}

static bool two_cpus(void)
{
	cpu_set_t cpus;

	return !sched_getaffinity(0, sizeof(cpus), &cpus) &&
	       CPU_COUNT(&cpus) >= 2;
}

/*
 * Order.
 */
static void *work_log(void *arg)
{
	log_it((long)arg);
	return arg;
}

TEST_F(pool, first_come_first_served)
{
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	CLOSE_GATE();
	for (long i = 0; i < NR; i++)
		QUEUE(i, NORMAL, work_log, (void *)i);
	EXPECT_EQ(0, GET(nr_logged));
	gate_open = 1;
	ASSERT_EQ(0, ok(ums_pool_wait(pool)));
	ASSERT_EQ(NR, GET(nr_logged));
	for (int i = 0; i < NR; i++)
		EXPECT_EQ(i, GET(logged[i]));
	EXPECT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

static void *work_log_and_yield(void *arg)
{
	for (int i = 0; i < 20; i++) {
		log_it((long)arg);
		CHECK_EQ(0, ums_thread_yield(NULL));
	}
	return arg;
}

TEST_F(pool, yielding_lets_the_others_run)
{
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	CLOSE_GATE();
	for (long i = 0; i < 5; i++)
		QUEUE(i, NORMAL, work_log_and_yield, (void *)i);
	gate_open = 1;
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	ASSERT_EQ(100, GET(nr_logged));
	for (int i = 0; i < 100; i++)
		EXPECT_EQ(i % 5, GET(logged[i]));
	EXPECT_NO_NOTES();
}

static void expect_strict(struct __test_metadata *_metadata)
{
	CLOSE_GATE();
	for (long i = 0; i < 2 * UMS_POOL_PRIORITIES; i++)
		QUEUE(i, (i * 3) % UMS_POOL_PRIORITIES, work_log,
		      (void *)(i * 3 % UMS_POOL_PRIORITIES * 100 + i));
	gate_open = 1;
	ASSERT_TRUE(WAIT_FOR(nr_logged == 2 * UMS_POOL_PRIORITIES));
	for (int i = 0; i < 2 * UMS_POOL_PRIORITIES; i++) {
		EXPECT_EQ(i / 2, GET(logged[i]) / 100);
		if (i)
			EXPECT_LT(GET(logged[i - 1]), GET(logged[i]));
	}
}

TEST_F(pool, priorities_are_strict)
{
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	expect_strict(_metadata);
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

static atomic_int spins, stop;

static void *work_until_stopped(void *arg)
{
	spins = 1;
	while (!stop)
		;
	return arg;
}

/* The other scheduler is busy all the time. */
TEST_F(pool, priorities_are_strict_beside_another)
{
	ASSERT_EQ(0, create_pool(2, UMS_POOL_NO_SLICE));
	ASSERT_EQ(0, ok(ums_pool_spawn(pool, NULL, 0, work_until_stopped,
				       NULL)));
	ASSERT_TRUE(WAIT_FOR(spins));
	expect_strict(_metadata);
	stop = 1;
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/*
 * One scheduler runs the gate, the other one sleeps and is kept from waking up.
 */
static pid_t gate_tid;

static void *gate_with_tid(void *arg)
{
	gate_tid = gettid();
	return gate(arg);
}

static void hold_idle_scheduler(struct __test_metadata *_metadata,
				struct ums_hold *hold)
{
	ums_thread_info_t info;
	pid_t tids[NR], tid;

	ASSERT_EQ(0, ums_hold_fork(hold));
	ASSERT_EQ(0, create_pool(2, UMS_POOL_NO_SLICE));
	ASSERT_EQ(0, ok(ums_pool_spawn(pool, NULL, 0, gate_with_tid, NULL)));
	ASSERT_TRUE(WAIT_FOR(gate_runs));
	ASSERT_EQ(0, ok(query_ums_thread(gate_tid, &info)));
	ASSERT_EQ(2, count_in_proc("schedulers", NULL, tids));
	tid = tids[tids[0] == info.scheduler];
	ASSERT_TRUE(WAIT_FOR(ums_is_parked(tid)));
	ASSERT_EQ(0, ums_hold_stop(hold, tid));
}

/* Fault caught: it runs the one that it was woken for, or the first. */
TEST_F(pool, priorities_are_strict_after_waking)
{
	struct ums_hold hold;

	hold_idle_scheduler(_metadata, &hold);
	QUEUE(0, 6, work_log, (void *)6);
	QUEUE(1, 7, work_log, (void *)7);
	QUEUE(2, 1, work_log, (void *)1);
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(0, GET(nr_logged));
	EXPECT_EQ(0, ums_hold_end(&hold));
	ASSERT_TRUE(WAIT_FOR(nr_logged == 3));
	EXPECT_EQ(1, GET(logged[0]));
	EXPECT_EQ(6, GET(logged[1]));
	EXPECT_EQ(7, GET(logged[2]));
	gate_open = 1;
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/* Nobody waits for it, whatever the priorities, and nobody is left to it. */
TEST_F(pool, waking_scheduler_is_not_waited_for)
{
	struct ums_hold hold;

	hold_idle_scheduler(_metadata, &hold);
	QUEUE(0, 7, work_log_and_yield, (void *)7);
	QUEUE(1, 6, work_log, (void *)6);
	QUEUE(2, 1, work_log, (void *)1);
	gate_open = 1;
	EXPECT_TRUE(WAIT_FOR(nr_logged == 22));
	EXPECT_EQ(0, ums_hold_end(&hold));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ(22, GET(nr_logged));
	EXPECT_NO_NOTES();
}

/* One that yields goes before a worse one. */
TEST_F(pool, yielding_does_not_help_the_worse)
{
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	CLOSE_GATE();
	QUEUE(0, 5, work_log, (void *)5);
	QUEUE(1, 3, work_log_and_yield, (void *)3);
	gate_open = 1;
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	ASSERT_EQ(21, GET(nr_logged));
	for (int i = 0; i < 20; i++)
		EXPECT_EQ(3, GET(logged[i]));
	EXPECT_EQ(5, GET(logged[20]));
	EXPECT_NO_NOTES();
}

/* Before a scheduler has seen them: in the order in which they came. */
TEST_F(pool, priority_of_ready_worker_changes)
{
	static const int expected[] = { 2, 1, 3, 0, 4 };

	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	CLOSE_GATE();
	for (long i = 0; i < 4; i++)
		QUEUE(i, NORMAL, work_log, (void *)i);
	QUEUE(4, UMS_POOL_PRIORITIES - 1, work_log, (void *)4);
	EXPECT_EQ(0, ok(ums_pool_set_priority(pool, threads[2], 0)));
	EXPECT_EQ(0, ok(ums_pool_set_priority(pool, threads[0],
					      UMS_POOL_PRIORITIES - 1)));
	/* As before: it keeps its place. */
	EXPECT_EQ(0, ok(ums_pool_set_priority(pool, threads[1], NORMAL)));
	EXPECT_EQ(0, GET(nr_logged));
	gate_open = 1;
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	ASSERT_EQ(5, GET(nr_logged));
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(expected[i], GET(logged[i]));
	EXPECT_NO_NOTES();
}

/*
 * With all of them in the queues, where a change has to find them: to the end of
 * the new queue.
 */
static atomic_int let_go;

static void *work_yield_until(void *arg)
{
	while (!let_go)
		CHECK_EQ(0, ums_thread_yield(NULL));
	log_it((long)arg);
	return arg;
}

static void *work_set_others(void *arg)
{
	/* All have run, so they are in their queue. */
	CHECK_EQ(0, ok(ums_pool_set_priority(pool, threads[1], 7)));
	CHECK_EQ(0, ok(ums_pool_set_priority(pool, threads[2], 1)));
	/* Itself, which runs on. */
	CHECK_EQ(0, ok(ums_pool_set_priority(pool, pthread_self(), 6)));
	log_it(90);
	let_go = 1;
	CHECK_EQ(0, ums_thread_yield(NULL));
	log_it(91);
	return arg;
}

static void *work_wait_a_turn(void *arg)
{
	for (int i = 0; i < 10; i++)
		CHECK_EQ(0, ums_thread_yield(NULL));
	return work_set_others(arg);
}

TEST_F(pool, priority_of_queued_and_running_worker_changes)
{
	static const int expected[] = { 90, 2, 0, 3, 91, 1 };

	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	CLOSE_GATE();
	for (long i = 0; i < 4; i++)
		QUEUE(i, NORMAL, work_yield_until, (void *)i);
	QUEUE(4, NORMAL, work_wait_a_turn, NULL);
	gate_open = 1;
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	ASSERT_EQ(6, GET(nr_logged));
	for (int i = 0; i < 6; i++)
		EXPECT_EQ(expected[i], GET(logged[i]));
	EXPECT_NO_NOTES();
}

/*
 * Slices.
 */
static ums_thread_info_t infos[NR];

static void *work_spin(void *arg)
{
	long i = (long)arg;

	work_until_stopped(NULL);
	CHECK_EQ(0, ok(query_ums_thread(gettid(), &infos[i])));
	return arg;
}

static void *work_stop_others(void *arg)
{
	stop = 1;
	return arg;
}

FIXTURE(slice) {
};

FIXTURE_VARIANT(slice) {
	uint64_t given;
	uint64_t expected;
};

FIXTURE_VARIANT_ADD(slice, one_ms) { 1000000, 1000000 };
FIXTURE_VARIANT_ADD(slice, default) { 0, 10000000 };

FIXTURE_SETUP(slice)
{
	NEED_DEVICE(return);
}

FIXTURE_TEARDOWN(slice)
{
}

TEST_F(slice, stops_spinners)
{
	ASSERT_EQ(0, create_pool(1, variant->given));
	for (long i = 0; i < 3; i++)
		ASSERT_EQ(0, spawn(i, NORMAL, work_spin, (void *)i));
	ums_sleep_ms(20 * variant->expected / 1000000);
	/* Its turn comes. */
	ASSERT_EQ(0, spawn(3, NORMAL, work_stop_others, NULL));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	for (int i = 0; i < 3; i++) {
		EXPECT_LT(0, infos[i].preemptions);
		/* None of them was early. */
		EXPECT_LE(infos[i].preemptions * variant->expected,
			  infos[i].running_ns);
	}
	EXPECT_NO_NOTES();
}

/* Without slices a worker runs on, whoever waits. */
TEST_F(pool, no_slice)
{
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	CLOSE_GATE();
	QUEUE(0, 0, work_log, NULL);
	ums_sleep_ms(2 * QUIET_MS);
	EXPECT_EQ(0, GET(nr_logged));
	EXPECT_EQ(1, count_ready());
	gate_open = 1;
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ(1, GET(nr_logged));
	EXPECT_NO_NOTES();
}

/* Somebody else may stop it. */
TEST_F(pool, worker_is_preempted)
{
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	ASSERT_EQ(0, spawn(1, NORMAL, gate_with_tid, NULL));
	ASSERT_TRUE(WAIT_FOR(gate_runs));
	QUEUE(0, NORMAL, work_log, NULL);
	EXPECT_EQ(0, GET(nr_logged));
	EXPECT_EQ(0, ok(preempt_ums_thread(gate_tid)));
	EXPECT_TRUE(WAIT_FOR(nr_logged == 1));
	gate_open = 1;
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/*
 * Blocking.
 */
static void *work_read(void *arg)
{
	char byte;

	CHECK_EQ(1, read(pipes[0], &byte, 1));
	log_it((long)arg);
	return arg;
}

static void *work_write(void *arg)
{
	log_it((long)arg);
	CHECK_EQ(1, write(pipes[1], "", 1));
	return arg;
}

TEST_F(pool, blocked_worker_does_not_stop_others)
{
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	for (long i = 0; i < 4; i++)
		ASSERT_EQ(0, spawn(i, 0, work_read, (void *)1));
	ASSERT_TRUE(WAIT_FOR(count_in_proc("workers", "blocked", NULL) == 4));
	for (long i = 4; i < 8; i++) {
		ASSERT_EQ(0, spawn(i, 7, work_write, (void *)2));
		ASSERT_EQ((void *)2, join(i));
	}
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ(8, GET(nr_logged));
	EXPECT_EQ(2, GET(logged[0]));
	EXPECT_NO_NOTES();
}

/*
 * No scheduler sleeps while a worker is ready.  Every other worker that comes
 * waits in user mode for the next one, which the other scheduler must run.
 * Fault caught: a wake-up that is lost, which nothing makes up for.
 */
static atomic_ulong arrived;
static unsigned long last_arrival;

static void *work_meet(void *arg)
{
	unsigned int seed = (long)arg;

	for (;;) {
		unsigned long n = atomic_fetch_add(&arrived, 1);

		if (n >= last_arrival)
			return arg;
		if (n % 2 == 0)
			while (arrived <= n + 1)
				;
		switch (rand_r(&seed) % 4) {
		case 0:
			break;
		case 1:
			CHECK_EQ(0, ums_thread_yield(NULL));
			break;
		default:
			CHECK_EQ(0, ums_nap_us(rand_r(&seed) % 100));
		}
	}
}

TEST_F_TIMEOUT(pool, no_scheduler_sleeps_while_worker_is_ready, LONG_TEST)
{
	if (!two_cpus())
		SKIP(return, NO_TWO_CPUS);
	for (int workers = 2; workers <= 4; workers++) {
		arrived = 0;
		last_arrival = RACE_LOOPS;
		ASSERT_EQ(0, create_pool(2, UMS_POOL_NO_SLICE));
		for (long i = 0; i < workers; i++)
			ASSERT_EQ(0, spawn(i, NORMAL, work_meet, (void *)i));
		for (int i = 0; i < workers; i++)
			join(i);
		ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	}
	EXPECT_NO_NOTES();
}

/* The same where a worker wakes the other and computes on. */
static int hand[2][2];

static void *work_serve(void *arg)
{
	char byte;

	while (read(hand[0][0], &byte, 1) == 1) {
		atomic_fetch_add(&arrived, 1);
		CHECK_EQ(1, write(hand[1][1], "", 1));
	}
	return arg;
}

static void *work_ask(void *arg)
{
	char byte;

	for (unsigned long i = 0; i < last_arrival; i++) {
		CHECK_EQ(1, write(hand[0][1], "", 1));
		/* Not asleep: the other scheduler has to run the server. */
		while (arrived == i)
			;
		CHECK_EQ(1, read(hand[1][0], &byte, 1));
	}
	close(hand[0][1]);
	return arg;
}

TEST_F_TIMEOUT(pool, woken_worker_runs_beside, LONG_TEST)
{
	if (!two_cpus())
		SKIP(return, NO_TWO_CPUS);
	last_arrival = RACE_LOOPS;
	ASSERT_EQ(0, pipe(hand[0]));
	ASSERT_EQ(0, pipe(hand[1]));
	ASSERT_EQ(0, create_pool(2, UMS_POOL_NO_SLICE));
	ASSERT_EQ(0, spawn(0, NORMAL, work_serve, NULL));
	ASSERT_EQ(0, spawn(1, NORMAL, work_ask, NULL));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ(last_arrival, GET(arrived));
	EXPECT_NO_NOTES();
}

/* Those that find nothing to do sleep for good. */
static void expect_asleep(struct __test_metadata *_metadata)
{
	static const char key[] = "voluntary_ctxt_switches";
	pid_t tids[NR];
	long before[NR], now;

	ASSERT_EQ(3, count_in_proc("schedulers", NULL, tids));
	for (int i = 0; i < 3; i++) {
		ASSERT_TRUE(WAIT_FOR(ums_is_parked(tids[i])));
		/* Until there is nothing to do. */
		do {
			before[i] = ums_task_status(tids[i], key, 10);
			ums_sleep_ms(20);
			now = ums_task_status(tids[i], key, 10);
		} while (now != before[i]);
		ASSERT_LT(0, now);
	}
	ums_sleep_ms(5 * QUIET_MS);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(before[i], ums_task_status(tids[i], key, 10));
		EXPECT_TRUE(ums_is_parked(tids[i]));
	}
}

TEST_F(pool, idle_schedulers_sleep)
{
	ASSERT_EQ(0, create_pool(3, 0));
	expect_asleep(_metadata);
	for (long i = 0; i < 8; i++)
		ASSERT_EQ(0, spawn(i, i, work_read, (void *)i));
	ASSERT_TRUE(WAIT_FOR(count_in_proc("workers", "blocked", NULL) == 8));
	expect_asleep(_metadata);
	ASSERT_EQ(8, write(pipes[1], "12345678", 8));
	ASSERT_EQ(0, ok(ums_pool_wait(pool)));
	expect_asleep(_metadata);
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/*
 * CPUs, signals and stacks.
 */
static cpu_set_t worker_cpus;
static size_t worker_stack;
static sigset_t worker_mask;

static void *work_look_at_itself(void *arg)
{
	pthread_attr_t attr;
	void *stack;

	CHECK_EQ(0, sched_getaffinity(0, sizeof(worker_cpus), &worker_cpus));
	CHECK_EQ(0, pthread_sigmask(SIG_BLOCK, NULL, &worker_mask));
	CHECK_EQ(0, pthread_getattr_np(pthread_self(), &attr));
	CHECK_EQ(0, pthread_attr_getstack(&attr, &stack, &worker_stack));
	pthread_attr_destroy(&attr);
	return arg;
}

TEST_F(pool, schedulers_are_bound)
{
	cpu_set_t mine, cpus, all;
	pid_t tids[NR];
	int nr;

	ASSERT_EQ(0, sched_getaffinity(0, sizeof(mine), &mine));
	ASSERT_EQ(0, ok(ums_pool_create(&pool, NULL)));
	nr = count_in_proc("schedulers", NULL, tids);
	ASSERT_EQ(CPU_COUNT(&mine), nr);
	CPU_ZERO(&all);
	for (int i = 0; i < nr; i++) {
		ASSERT_EQ(0, sched_getaffinity(tids[i], sizeof(cpus), &cpus));
		EXPECT_EQ(1, CPU_COUNT(&cpus));
		CPU_OR(&all, &all, &cpus);
	}
	EXPECT_TRUE(CPU_EQUAL(&all, &mine));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));

	/* More than there are CPUs: in turn. */
	ASSERT_EQ(0, create_pool(nr + 1, 0));
	EXPECT_EQ(nr + 1, count_in_proc("schedulers", NULL, NULL));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
}

TEST_F(pool, one_scheduler_on_one_cpu)
{
	unsigned long mask, usual = ~0UL;
	sigset_t old, blocked;
	cpu_set_t mine, cpus;
	pid_t tid;

	ASSERT_EQ(0, sched_getaffinity(0, sizeof(mine), &mine));
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	ASSERT_EQ(0, pthread_sigmask(SIG_BLOCK, &blocked, &old));
	ASSERT_EQ(0, ok(ums_pool_create(&pool, &(ums_pool_attr_t) {
		.schedulers = 1, .stack_size = 1 << 20,
	})));
	ASSERT_EQ(1, count_in_proc("schedulers", NULL, &tid));
	ASSERT_EQ(0, sched_getaffinity(tid, sizeof(cpus), &cpus));

	/* KILL and STOP cannot be blocked, the C library keeps two. */
	for (int sig = 32; sig < 34; sig++)
		usual &= ~(1UL << (sig - 1));
	usual &= ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1));
	mask = ums_task_status(tid, "SigBlk", 16);
	EXPECT_EQ(usual, mask & usual);

	ASSERT_EQ(0, spawn(0, NORMAL, work_look_at_itself, (void *)7));
	EXPECT_EQ((void *)7, join(0));
	EXPECT_TRUE(CPU_EQUAL(&cpus, &worker_cpus));
	EXPECT_EQ(1, CPU_COUNT(&worker_cpus));
	EXPECT_EQ(1, sigismember(&worker_mask, SIGUSR1));
	EXPECT_EQ(0, sigismember(&worker_mask, SIGUSR2));
	EXPECT_LE(1 << 20, worker_stack);
	EXPECT_GT(2 << 20, worker_stack);
	/* The creator is as it was. */
	EXPECT_EQ(0, sched_getaffinity(0, sizeof(cpus), &cpus));
	EXPECT_TRUE(CPU_EQUAL(&mine, &cpus));
	EXPECT_EQ(0, pthread_sigmask(SIG_SETMASK, &old, &blocked));
	EXPECT_EQ(1, sigismember(&blocked, SIGUSR1));
	EXPECT_EQ(0, sigismember(&blocked, SIGUSR2));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/*
 * Workers that make workers.
 */
static atomic_int spawned;

static void *work_spawn(void *arg)
{
	long depth = (long)arg;

	atomic_fetch_add(&spawned, 1);
	if (!depth)
		return arg;
	for (int i = 0; i < 2; i++)
		CHECK_EQ(0, ok(ums_pool_spawn(pool, NULL, depth, work_spawn,
					      (void *)(depth - 1))));
	return arg;
}

static void *work_spawn_and_join(void *arg)
{
	long depth = (long)arg;
	pthread_t children[2];
	void *result;

	atomic_fetch_add(&spawned, 1);
	for (int i = 0; depth && i < 2; i++)
		CHECK_EQ(0, ok(ums_pool_spawn(pool, &children[i], depth,
					      work_spawn_and_join,
					      (void *)(depth - 1))));
	for (int i = 0; depth && i < 2; i++) {
		CHECK_EQ(0, pthread_join(children[i], &result));
		CHECK_EQ(depth - 1, (long)result);
	}
	return arg;
}

/* With short slices, which end in the middle of a spawn. */
TEST_F(pool, spawn_by_workers)
{
	int before = count_threads();

	ASSERT_EQ(0, create_pool(2, 200000));
	ASSERT_EQ(0, ok(ums_pool_spawn(pool, NULL, 6, work_spawn, (void *)6)));
	/* Those that come meanwhile are waited for. */
	ASSERT_EQ(0, ok(ums_pool_wait(pool)));
	EXPECT_EQ(127, GET(spawned));

	/* The pool can be used on. */
	ASSERT_EQ(0, spawn(0, 5, work_spawn_and_join, (void *)5));
	EXPECT_EQ((void *)5, join(0));
	EXPECT_EQ(127 + 63, GET(spawned));

	ASSERT_EQ(0, ok(ums_pool_spawn(pool, NULL, 6, work_spawn, (void *)6)));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ(2 * 127 + 63, GET(spawned));
	/* All threads are gone, schedulers and workers. */
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	EXPECT_EQ(0, count_in_proc("schedulers", NULL, NULL));
	EXPECT_EQ(0, count_in_proc("workers", NULL, NULL));
	EXPECT_NO_NOTES();
}

/*
 * How a worker may end.
 */
static pthread_key_t key;
static atomic_int destructors, cleanups;

static void destroy(void *arg)
{
	/* A plain thread by now. */
	CHECK_EQ(-ESRCH, ok(ums_thread_yield(NULL)));
	destructors++;
}

static void clean_up(void *arg)
{
	CHECK_EQ(0, ums_thread_yield(NULL));
	cleanups++;
}

static void *end_by_return(void *arg)
{
	CHECK_EQ(0, pthread_setspecific(key, arg));
	return arg;
}

static void exit_deeply(void *arg)
{
	pthread_exit(arg);
}

static void *end_by_pthread_exit(void *arg)
{
	CHECK_EQ(0, pthread_setspecific(key, arg));
	pthread_cleanup_push(clean_up, NULL);
	exit_deeply(arg);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *end_blocked(void *arg)
{
	char byte;

	CHECK_EQ(0, pthread_setspecific(key, arg));
	pthread_cleanup_push(clean_up, NULL);
	CHECK(!read(pipes[0], &byte, 1));
	CHECK(!"cancelled");
	pthread_cleanup_pop(0);
	return arg;
}

static void *end_spinning(void *arg)
{
	CHECK_EQ(0, pthread_setspecific(key, arg));
	pthread_cleanup_push(clean_up, NULL);
	for (;;)
		pthread_testcancel();
	pthread_cleanup_pop(0);
	return arg;
}

static void *end_yielding(void *arg)
{
	CHECK_EQ(0, pthread_setspecific(key, arg));
	pthread_cleanup_push(clean_up, NULL);
	for (;;) {
		CHECK_EQ(0, ums_thread_yield(NULL));
		pthread_testcancel();
	}
	pthread_cleanup_pop(0);
	return arg;
}

static void *end_by_raw_exit(void *arg)
{
	syscall(SYS_exit, 0);
	return arg;
}

TEST_F(pool, ways_to_end)
{
	static void *(*const ways[])(void *) = {
		end_by_return, end_by_pthread_exit, end_blocked, end_spinning,
		end_yielding,
	};

	ASSERT_EQ(0, pthread_key_create(&key, destroy));
	ASSERT_EQ(0, create_pool(1, 1000000));
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(0, spawn(i, NORMAL, ways[i], (void *)7));
	ASSERT_EQ(0, spawn(5, NORMAL, end_by_raw_exit, (void *)7));
	ASSERT_TRUE(WAIT_FOR(count_in_proc("workers", "blocked", NULL) == 1));
	for (int i = 2; i < 5; i++)
		EXPECT_EQ(0, pthread_cancel(threads[i]));
	ASSERT_EQ(0, ok(ums_pool_wait(pool)));
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(i < 2 ? (void *)7 : PTHREAD_CANCELED, join(i));
	EXPECT_EQ(0, pthread_join(threads[5], NULL));
	EXPECT_EQ(5, GET(destructors));
	EXPECT_EQ(4, GET(cleanups));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/* Cancelled before its first turn, it ends at its first cancellation point. */
static void *end_at_first_point(void *arg)
{
	log_it(1);
	pthread_testcancel();
	log_it(2);
	return arg;
}

TEST_F(pool, cancelled_while_ready)
{
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	CLOSE_GATE();
	QUEUE(0, NORMAL, end_at_first_point, NULL);
	EXPECT_EQ(0, pthread_cancel(threads[0]));
	gate_open = 1;
	EXPECT_EQ(PTHREAD_CANCELED, join(0));
	EXPECT_GE(1, GET(nr_logged));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/* Dies while blocked: a debugger holds it in the middle of its exit. */
static atomic_int die_now;
static pid_t dying_tid;

static void *die_blocked(void *arg)
{
	dying_tid = gettid();
	while (!die_now)
		CHECK_EQ(0, ums_nap_us(1000));
	syscall(SYS_exit, 0);
	return arg;
}

static void die_under_tracer(struct __test_metadata *_metadata, bool joined)
{
	int up[2], down[2];
	pid_t tracer;
	char byte;

	die_now = 0;
	dying_tid = 0;
	ASSERT_EQ(0, pipe(up));
	ASSERT_EQ(0, pipe(down));
	ASSERT_EQ(0, ok(ums_pool_spawn(pool, joined ? &threads[0] : NULL, 0,
				       die_blocked, NULL)));
	ASSERT_TRUE(WAIT_FOR(dying_tid));
	tracer = ums_fork_tracer();
	if (!tracer) {
		close(down[1]);
		TRACE(ptrace(PTRACE_SEIZE, dying_tid, 0, PTRACE_O_TRACEEXIT));
		if (write(up[1], "", 1) != 1)
			_exit(202);
		ums_wait_for_stop(dying_tid);
		if (write(up[1], "", 1) != 1 || read(down[0], &byte, 1))
			_exit(203);
		TRACE(ptrace(PTRACE_CONT, dying_tid, 0, 0));
		TRACE(waitpid(dying_tid, NULL, __WALL));
		_exit(0);
	}
	ASSERT_EQ(1, read(up[0], &byte, 1));
	die_now = 1;
	ASSERT_EQ(1, read(up[0], &byte, 1));

	/* Dying, it keeps nobody from running. */
	ASSERT_EQ(0, spawn(1, 7, work_log, (void *)5));
	EXPECT_EQ((void *)5, join(1));
	EXPECT_EQ(0, GET(gate_runs));
	close(down[1]);
	EXPECT_EQ(0, ums_wait_child(tracer));
	close(up[0]);
	close(up[1]);
	close(down[0]);
	if (joined)
		EXPECT_EQ(0, pthread_join(threads[0], NULL));
	EXPECT_EQ(0, ok(ums_pool_wait(pool)));
}

TEST_F(pool, death_while_blocked)
{
	int before = count_threads();

	ASSERT_EQ(0, create_pool(2, 0));
	for (int i = 0; i < 5; i++)
		die_under_tracer(_metadata, i % 2);
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	EXPECT_NO_NOTES();
}

/* A debugger holds a ready worker: the others go on, and it when it may. */
TEST_F(pool, held_worker_waits)
{
	struct ums_hold hold;
	pid_t tids[NR];

	ASSERT_EQ(0, ums_hold_fork(&hold));
	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	CLOSE_GATE();
	QUEUE(0, 0, work_log, (void *)1);
	ASSERT_EQ(1, count_in_proc("workers", "idle", tids));
	ASSERT_EQ(0, ums_hold_stop(&hold, tids[0]));
	gate_open = 1;
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, spawn(1, 7, work_log, (void *)2));
		EXPECT_EQ((void *)2, join(1));
	}
	EXPECT_EQ(3, GET(nr_logged));
	EXPECT_EQ(0, ums_hold_end(&hold));
	EXPECT_EQ((void *)1, join(0));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/*
 * Threads.
 */
static void *work_join(void *arg)
{
	return join((long)arg);
}

TEST_F(pool, joined_by_plain_thread_and_by_worker)
{
	ASSERT_EQ(0, create_pool(1, 0));
	ASSERT_EQ(0, spawn(0, NORMAL, work_read, (void *)7));
	ASSERT_EQ(0, spawn(1, 0, work_join, (void *)0));
	ASSERT_TRUE(WAIT_FOR(count_in_proc("workers", "blocked", NULL) == 2));
	ASSERT_EQ(1, write(pipes[1], "", 1));
	EXPECT_EQ((void *)7, join(1));
	/* It may be joined after the pool is gone. */
	ASSERT_EQ(0, spawn(2, NORMAL, work_log, (void *)8));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ((void *)8, join(2));
	EXPECT_NO_NOTES();
}

TEST_F(pool, detached)
{
	int before = count_threads();

	ASSERT_EQ(0, create_pool(2, 0));
	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(0, spawn(0, NORMAL, work_log, NULL));
		ASSERT_EQ(0, pthread_detach(threads[0]));
	}
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ(50, GET(nr_logged));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	EXPECT_NO_NOTES();
}

/*
 * Waiting and the end.
 */
static void *wait_for_pool(void *arg)
{
	CHECK_EQ(0, ok(ums_pool_wait(arg)));
	return NULL;
}

TEST_F(pool, waits_for_all)
{
	pthread_t waiters[3];

	ASSERT_EQ(0, create_pool(2, 0));
	/* Without workers there is nothing to wait for. */
	EXPECT_EQ(0, ok(ums_pool_wait(pool)));
	for (long i = 0; i < 3; i++)
		ASSERT_EQ(0, spawn(i, NORMAL, work_read, (void *)i));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&waiters[i], NULL, wait_for_pool,
					    pool));
	ums_sleep_ms(QUIET_MS);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(EBUSY, pthread_tryjoin_np(waiters[i], NULL));
		ASSERT_EQ(1, write(pipes[1], "", 1));
	}
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, pthread_join(waiters[i], NULL));
	EXPECT_EQ(3, GET(nr_logged));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

static atomic_int destroyed;

static void *destroy_pool(void *arg)
{
	CHECK_EQ(0, ok(ums_pool_destroy(arg)));
	destroyed = 1;
	return NULL;
}

static void *work_last(void *arg)
{
	long left = (long)arg;

	CHECK_EQ(0, ums_nap_us(10000));
	CHECK_EQ(0, destroyed);
	log_it(left);
	/* To the last. */
	if (left)
		CHECK_EQ(0, ok(ums_pool_spawn(pool, NULL, NORMAL, work_last,
					      (void *)(left - 1))));
	return NULL;
}

TEST_F(pool, destroy_waits_for_late_workers)
{
	int before = count_threads();
	pthread_t thread;

	ASSERT_EQ(0, create_pool(2, 0));
	ASSERT_EQ(0, ok(ums_pool_spawn(pool, NULL, NORMAL, work_last,
				       (void *)10)));
	ASSERT_EQ(0, pthread_create(&thread, NULL, destroy_pool, pool));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(11, GET(nr_logged));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	EXPECT_NO_NOTES();
}

/* No function is a cancellation point. */
static void *create_cancelled(void *arg)
{
	ums_pool_t *mine;

	pthread_cancel(pthread_self());
	CHECK_EQ(0, ok(ums_pool_create(&mine, NULL)));
	CHECK_EQ(0, ok(ums_pool_spawn(mine, NULL, 0, work_log, NULL)));
	CHECK_EQ(0, ok(ums_pool_wait(mine)));
	CHECK_EQ(0, ok(ums_pool_destroy(mine)));
	log_it(1);
	pthread_testcancel();
	return NULL;
}

TEST_F(pool, cancellation_of_callers)
{
	int before = count_threads();
	pthread_t thread;
	void *result;

	ASSERT_EQ(0, pthread_create(&thread, NULL, create_cancelled, NULL));
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(PTHREAD_CANCELED, result);
	EXPECT_EQ(2, GET(nr_logged));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	EXPECT_NO_NOTES();
}

/* The process may end with a pool alive. */
TEST_F(pool, process_ends_with_pool)
{
	for (int i = 0; i < 10; i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			if (create_pool(2, 100000))
				_exit(1);
			for (int j = 0; j < 8; j++)
				if (spawn(j, j, j % 2 ? work_read : gate, NULL))
					_exit(2);
			ums_spin_us(i * 1000);
			exit(*ums_notes() ? 3 : 0);
		}
		ASSERT_EQ(0, ums_wait_child(child));
		EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", child)));
	}
}

/* Made and ended again and again, with all kinds of workers. */
static void *work_a_little(void *arg)
{
	switch ((long)arg % 4) {
	case 0:
		CHECK_EQ(0, ums_nap_us((long)arg));
		break;
	case 1:
		CHECK_EQ(0, ums_thread_yield(NULL));
		break;
	case 2:
		ums_spin_us((long)arg);
		break;
	}
	atomic_fetch_add(&spawned, 1);
	return arg;
}

TEST_F_TIMEOUT(pool, create_and_destroy_race, LONG_TEST)
{
	int before = count_threads(), expected = 0;

	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		ASSERT_EQ(0, create_pool(1 + i % 2, 100000));
		for (unsigned long j = 0; j < i % 5; j++, expected++)
			ASSERT_EQ(0, ok(ums_pool_spawn(pool, NULL, j,
						       work_a_little,
						       (void *)(i + j))));
		if (i % 2)
			ASSERT_EQ(0, ok(ums_pool_wait(pool)));
		ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
		ASSERT_EQ(expected, GET(spawned));
	}
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	EXPECT_EQ(0, count_in_proc("schedulers", NULL, NULL));
	EXPECT_NO_NOTES();
}

/*
 * All at once: slices that end anywhere, sleeps, memory, spawns, changes of
 * priority and cancellation.
 */
static void *storm_child(void *arg)
{
	atomic_fetch_add(&spawned, 1);
	CHECK_EQ(0, ums_nap_us((long)arg % 50));
	pthread_testcancel();
	return arg;
}

static void *storm_worker(void *arg)
{
	unsigned int seed = (long)arg;
	void *result, *memory;
	pthread_t child;

	for (unsigned long i = 0; i < last_arrival; i++) {
		switch (rand_r(&seed) % 8) {
		case 0:
			CHECK_EQ(0, ok(ums_pool_spawn(pool, &child,
						      rand_r(&seed) % 8,
						      storm_child,
						      (void *)i)));
			pthread_cancel(child);
			CHECK_EQ(0, pthread_join(child, &result));
			CHECK(result == (void *)i ||
			      result == PTHREAD_CANCELED);
			break;
		case 1:
			CHECK_EQ(0, ok(ums_pool_set_priority(pool,
							     pthread_self(),
							     rand_r(&seed) %
							     8)));
			break;
		case 2:
			CHECK_EQ(0, ums_thread_yield(NULL));
			break;
		case 3:
			CHECK_EQ(0, ums_nap_us(rand_r(&seed) % 50));
			break;
		case 4:
			CHECK_EQ(0, ok(ums_pool_spawn(pool, NULL,
						      rand_r(&seed) % 8,
						      storm_child,
						      (void *)i)));
			break;
		default:
			memory = malloc(rand_r(&seed) % 5000);
			ums_spin_turns(rand_r(&seed) % 5000);
			free(memory);
		}
	}
	return arg;
}

FIXTURE(storm) {
};

FIXTURE_VARIANT(storm) {
	unsigned int schedulers;
	uint64_t slice_ns;
};

FIXTURE_VARIANT_ADD(storm, one_scheduler) { 1, 100000 };
FIXTURE_VARIANT_ADD(storm, two_schedulers) { 2, 100000 };
FIXTURE_VARIANT_ADD(storm, five_schedulers) { 5, 300000 };

FIXTURE_SETUP(storm)
{
	NEED_DEVICE(return);
}

FIXTURE_TEARDOWN(storm)
{
}

TEST_F_TIMEOUT(storm, all_at_once, LONG_TEST)
{
	int before = count_threads();

	last_arrival = ums_loops(100);
	ASSERT_EQ(0, create_pool(variant->schedulers, variant->slice_ns));
	for (long i = 0; i < NR; i++)
		ASSERT_EQ(0, spawn(i, i % 8, storm_worker, (void *)i));
	for (long i = 0; i < NR; i++)
		EXPECT_EQ((void *)i, join(i));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	EXPECT_NO_NOTES();
}

/*
 * Errors.
 */
TEST_F(pool, errors_of_create)
{
	const int nr_reserved = ARRAY_SIZE(((ums_pool_attr_t *)0)->reserved);
	int before = count_threads();
	ums_pool_attr_t attr = { 0 };

	EXPECT_EQ(-EFAULT, ok(ums_pool_create(NULL, NULL)));
	EXPECT_EQ(-EFAULT, ok(ums_pool_create(NULL, &attr)));
	EXPECT_EQ(-EINVAL, create_pool(4097, 0));
	EXPECT_EQ(-EINVAL, create_pool(UINT_MAX, 0));
	for (int i = 0; i < nr_reserved; i++) {
		attr.reserved[i] = 1;
		EXPECT_EQ(-EINVAL, ok(ums_pool_create(&pool, &attr)));
		attr.reserved[i] = 0;
	}
	attr.stack_size = 1;
	EXPECT_EQ(-EINVAL, ok(ums_pool_create(&pool, &attr)));
	EXPECT_EQ(NULL, pool);
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
}

/* Some schedulers have started when there is no room for another thread. */
TEST_F(pool, no_room_for_schedulers)
{
	struct rlimit limit = { 256 << 20, 256 << 20 };
	int before = count_threads();

	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	EXPECT_EQ(-EAGAIN, create_pool(4096, 0));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	EXPECT_EQ(0, count_in_proc("schedulers", NULL, NULL));
	/* Fewer are possible, and so are workers while there is room. */
	ASSERT_EQ(0, create_pool(2, 0));
	ASSERT_EQ(0, spawn(0, 0, work_log, (void *)4));
	EXPECT_EQ((void *)4, join(0));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
}

TEST_F(pool, no_room_for_worker)
{
	ums_pool_attr_t attr = { .schedulers = 1, .stack_size = 1UL << 46 };
	int before;

	ASSERT_EQ(0, ok(ums_pool_create(&pool, &attr)));
	before = count_threads();
	EXPECT_EQ(-EAGAIN, spawn(0, 0, work_log, NULL));
	EXPECT_EQ(-EAGAIN, ok(ums_pool_spawn(pool, NULL, 0, work_log, NULL)));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	/* They do not count. */
	EXPECT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ(0, GET(nr_logged));
}

TEST_F(pool, list_limit)
{
	ums_completion_list_t lists[UMS_MAX_CLISTS];

	for (int i = 0; i < UMS_MAX_CLISTS; i++)
		ASSERT_EQ(0, create_ums_completion_list(&lists[i]));
	EXPECT_EQ(-ENOSPC, create_pool(1, 0));
	ASSERT_EQ(0, delete_ums_completion_list(&lists[0]));
	EXPECT_EQ(0, create_pool(1, 0));
	EXPECT_EQ(0, ok(ums_pool_destroy(pool)));
	/* Its list was deleted. */
	EXPECT_EQ(0, create_ums_completion_list(&lists[0]));
}

TEST_F(pool, device_in_use)
{
	int before = count_threads(), fd = ums_open();

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBUSY, create_pool(1, 0));
	EXPECT_TRUE(WAIT_FOR(count_threads() == before));
	close(fd);
	EXPECT_EQ(0, create_pool(1, 0));
	EXPECT_EQ(0, ok(ums_pool_destroy(pool)));
}

static void *work_deadlock(void *arg)
{
	CHECK_EQ(-EDEADLK, ok(ums_pool_wait(pool)));
	CHECK_EQ(-EDEADLK, ok(ums_pool_destroy(pool)));
	/* Another pool may be waited for. */
	CHECK_EQ(0, ok(ums_pool_wait(arg)));
	return arg;
}

TEST_F(pool, errors_of_others)
{
	ums_pool_t *other;

	EXPECT_EQ(-EFAULT, ok(ums_pool_spawn(NULL, &threads[0], 0, work_log,
					     NULL)));
	EXPECT_EQ(-EFAULT, ok(ums_pool_set_priority(NULL, pthread_self(), 0)));
	EXPECT_EQ(-EFAULT, ok(ums_pool_wait(NULL)));
	EXPECT_EQ(-EFAULT, ok(ums_pool_destroy(NULL)));

	ASSERT_EQ(0, create_pool(1, 0));
	EXPECT_EQ(-EINVAL, spawn(0, 0, NULL, NULL));
	EXPECT_EQ(-EINVAL, spawn(0, -1, work_log, NULL));
	EXPECT_EQ(-EINVAL, spawn(0, UMS_POOL_PRIORITIES, work_log, NULL));
	EXPECT_EQ(-ESRCH, ok(ums_pool_set_priority(pool, pthread_self(), 0)));

	ASSERT_EQ(0, ok(ums_pool_create(&other, NULL)));
	ASSERT_EQ(0, spawn(0, 0, work_read, NULL));
	EXPECT_EQ(-EINVAL, ok(ums_pool_set_priority(pool, threads[0], -1)));
	EXPECT_EQ(-EINVAL, ok(ums_pool_set_priority(pool, threads[0],
						    UMS_POOL_PRIORITIES)));
	EXPECT_EQ(-ESRCH, ok(ums_pool_set_priority(other, threads[0], 0)));
	EXPECT_EQ(0, ok(ums_pool_set_priority(pool, threads[0], 0)));
	ASSERT_EQ(0, spawn(1, 0, work_deadlock, other));
	EXPECT_EQ(other, join(1));
	ASSERT_EQ(1, write(pipes[1], "", 1));
	/* Nothing of this was run. */
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_EQ(1, GET(nr_logged));
	ASSERT_EQ(0, ok(ums_pool_destroy(other)));
	EXPECT_NO_NOTES();
}

/*
 * Fork.
 */
static int live_as_child(void)
{
	ums_pool_t *parents = pool;

	if (spawn(0, 0, work_log, NULL) != -ESRCH ||
	    ok(ums_pool_spawn(parents, NULL, 0, work_log, NULL)) != -ESRCH)
		return 1;
	if (ok(ums_pool_set_priority(parents, pthread_self(), 0)) != -ESRCH)
		return 2;
	if (ok(ums_pool_wait(parents)) != -ESRCH ||
	    ok(ums_pool_destroy(parents)) != -ESRCH)
		return 3;
	/* A plain thread, and the only one. */
	if (ok(ums_thread_yield(NULL)) != -ESRCH || count_threads() != 1)
		return 4;
	nr_logged = 0;
	if (create_pool(2, 0))
		return 5;
	for (long i = 0; i < 5; i++)
		if (spawn(i, i, work_log, (void *)i))
			return 6;
	for (long i = 0; i < 5; i++)
		if (join(i) != (void *)i)
			return 7;
	if (ums_pool_destroy(pool) || nr_logged != 5 || *ums_notes())
		return 8;
	return 0;
}

static void *work_fork(void *arg)
{
	pid_t child = fork();

	if (!child)
		_exit(live_as_child());
	CHECK_EQ(0, ums_wait_child(child));
	return arg;
}

TEST_F(pool, fork)
{
	pid_t child;

	ASSERT_EQ(0, create_pool(2, 0));
	ASSERT_EQ(0, spawn(10, 0, work_read, (void *)7));
	child = fork();
	if (!child)
		_exit(live_as_child());
	EXPECT_CHILD_OK(child);
	for (long i = 11; i < 14; i++)
		ASSERT_EQ(0, spawn(i, 0, work_fork, (void *)i));
	for (long i = 11; i < 14; i++)
		EXPECT_EQ((void *)i, join(i));
	ASSERT_EQ(1, write(pipes[1], "", 1));
	EXPECT_EQ((void *)7, join(10));
	ASSERT_EQ(0, ok(ums_pool_destroy(pool)));
	EXPECT_NO_NOTES();
}

/*
 * The program closes the library's descriptor.
 */
static bool is_lost(long ret)
{
	return ret == -ENODEV || ret == -EBADF;
}

static void *wait_and_fail(void *arg)
{
	CHECK(is_lost(ok(ums_pool_wait(pool))));
	return NULL;
}

/* With schedulers that sleep, or that run a worker. */
static void lose_device(struct __test_metadata *_metadata,
			void *(*fn)(void *))
{
	pthread_t waiter;

	ASSERT_EQ(0, create_pool(1, UMS_POOL_NO_SLICE));
	ASSERT_EQ(0, spawn(0, 0, fn, (void *)6));
	ASSERT_TRUE(WAIT_FOR(fn == gate ? gate_runs :
			     count_in_proc("workers", "blocked", NULL) == 1));
	ASSERT_EQ(0, pthread_create(&waiter, NULL, wait_and_fail, NULL));
	ums_sleep_ms(QUIET_MS);
	ASSERT_EQ(0, close(ums_find_fd(UMS_DEV)));
	/* The one that waits is told. */
	EXPECT_EQ(0, pthread_join(waiter, NULL));
	EXPECT_TRUE(is_lost(ok(ums_pool_wait(pool))));
	EXPECT_TRUE(is_lost(ok(ums_pool_destroy(pool))));
	EXPECT_TRUE(is_lost(spawn(1, 0, work_log, NULL)));
	EXPECT_TRUE(is_lost(ok(ums_pool_set_priority(pool, threads[0], 0))));

	/* The worker goes on as a plain thread. */
	gate_open = 1;
	ASSERT_EQ(1, write(pipes[1], "", 1));
	EXPECT_EQ((void *)6, join(0));
	EXPECT_NO_NOTES();
}

TEST_F(pool, device_is_lost_while_blocked)
{
	lose_device(_metadata, work_read);
}

TEST_F(pool, device_is_lost_while_running)
{
	lose_device(_metadata, gate);
}

TEST_HARNESS_MAIN
