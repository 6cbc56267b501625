// SPDX-License-Identifier: GPL-2.0
/*
 * IOCTL_UMS_SWITCH: one worker hands over to another, and their scheduler
 * sleeps on.
 */
#include <sys/eventfd.h>

#include "ums_fixture.h"

#define NR	5

/* The workers of a test, for one another. */
static struct ums_worker *all;

FIXTURE(switch) {
	int fd;
	int clist;
	struct ums_ready ready[NR];
	struct ums_event event;
	struct ums_worker workers[NR];
	struct ums_sched sched;
};

FIXTURE_SETUP(switch)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
	all = self->workers;
	self->sched = (struct ums_sched) {
		.fd = self->fd, .clist = self->clist, .cpu = -1,
	};
}

FIXTURE_TEARDOWN(switch)
{
	close(self->fd);
}

#define BECOME_SCHED(flags)						\
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist, flags))

/* The first @count workers are dequeued, in order. */
#define TAKE_ALL(count)							\
	ASSERT_EQ(count, ums_take(self->fd, self->clist, 0, SOON_NS,	\
				  self->ready, NR))

#define RUN_TO_EVENT(i, expected_type, j)				\
	do {								\
		RUN(i, 0);						\
		ASSERT_EQ(expected_type, self->event.type);		\
		ASSERT_EQ(TID(j), ums_event_context(&self->event));	\
		EXPECT_NO_EVENT(self->fd);				\
	} while (0)

static int switch_to(struct ums_worker *from, struct ums_worker *to)
{
	int ret = ums_switch(from->fd, to->tid);

	CHECK_EQ(from->tid, gettid());
	return ret;
}

/* Hands over to the next one, as often as it is told, and yields. */
static void hand_over(struct ums_worker *worker)
{
	struct ums_worker *to = worker->arg;

	for (long i = 0; i < worker->value; i++) {
		worker->stage = i + 1;
		CHECK_EQ(0, switch_to(worker, to));
	}
	worker->stage = -1;
	ums_worker_yield(worker, 100 + worker->value);
}

TEST_F(switch, hands_over)
{
	struct ums_query query;

	self->workers[0].value = 1;
	self->workers[0].arg = &self->workers[1];
	START(0, hand_over);
	START(1, hand_over);
	BECOME_SCHED(0);
	TAKE_ALL(2);
	/* The first one switches, the second one yields. */
	RUN_TO_EVENT(0, THREAD_YIELD, 1);
	EXPECT_EQ(100, self->event.yield_params.scheduler_params);
	EXPECT_EQ(1, GET(self->workers[0].stage));

	/* The first one is where it was: parked, owned, on no list. */
	EXPECT_EQ(0, ums_next(self->fd, TID(0)));
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(UMS_STATE_READY, query.state);
	EXPECT_EQ(UMS_READY_YIELDED, query.why);
	EXPECT_EQ(gettid(), query.scheduler);
	EXPECT_EQ(1, query.switches);
	EXPECT_EQ(1, query.handovers);
	EXPECT_EQ(0, query.yields);
	TAKE(1, UMS_READY_YIELDED);
	ASSERT_EQ(0, ums_query(self->fd, TID(1), &query));
	EXPECT_EQ(1, query.switches);
	EXPECT_EQ(0, query.handovers);
	EXPECT_EQ(1, query.yields);

	/* Its call returns when it is executed. */
	RUN_TO_EVENT(0, THREAD_YIELD, 0);
	EXPECT_EQ(101, self->event.yield_params.scheduler_params);
	EXPECT_EQ(-1, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

/* Who switches is last in what its scheduler owns. */
TEST_F(switch, caller_is_last)
{
	self->workers[0].value = 1;
	self->workers[0].arg = &self->workers[2];
	for (int i = 0; i < 4; i++)
		START(i, hand_over);
	BECOME_SCHED(0);
	TAKE_ALL(4);
	RUN_TO_EVENT(0, THREAD_YIELD, 2);
	EXPECT_EQ(TID(3), ums_next(self->fd, TID(1)));
	EXPECT_EQ(TID(0), ums_next(self->fd, TID(3)));
	EXPECT_EQ(0, ums_next(self->fd, TID(0)));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(2)));
	EXPECT_NO_NOTES();
}

/* Thousands, without the scheduler. */
TEST_F_TIMEOUT(switch, ping_pong, LONG_TEST)
{
	unsigned long loops = 5 * RACE_LOOPS;
	struct ums_query query;
	char path[PATH_MAX];
	long switches;

	for (int i = 0; i < 2; i++) {
		self->workers[i].value = loops;
		self->workers[i].arg = &self->workers[!i];
		START(i, hand_over);
	}
	BECOME_SCHED(0);
	TAKE_ALL(2);
	switches = ums_task_status(gettid(), "voluntary_ctxt_switches", 10);
	RUN_TO_EVENT(0, THREAD_YIELD, 0);
	switches = ums_task_status(gettid(), "voluntary_ctxt_switches", 10) -
		   switches;
	/* It slept once, and what a busy machine may add. */
	EXPECT_GT(20, switches);
	EXPECT_EQ(loops, GET(self->workers[1].stage));
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(loops, query.handovers);
	EXPECT_EQ(loops + 1, query.switches);
	ASSERT_EQ(0, ums_query(self->fd, TID(1), &query));
	EXPECT_EQ(loops, query.handovers);
	EXPECT_EQ(loops, query.switches);
	/* Each of them was one that this scheduler ran. */
	ums_sched_info(path, getpid(), gettid());
	EXPECT_EQ(2 * loops + 1, ums_info_number(path, "switches"));
	RUN_TO_EVENT(1, THREAD_YIELD, 1);
	EXPECT_NO_NOTES();
}

/* Round and round, with three. */
static int turns[3000];
static atomic_int nr_turns;

static void take_turns(struct ums_worker *worker)
{
	struct ums_worker *next = worker->arg;

	for (long i = 0; i < worker->value; i++) {
		turns[nr_turns++] = worker->tid;
		CHECK_EQ(0, switch_to(worker, next));
	}
}

TEST_F(switch, chain)
{
	for (int i = 0; i < 3; i++) {
		self->workers[i].value = 1000;
		self->workers[i].arg = &self->workers[(i + 1) % 3];
		START(i, take_turns);
	}
	BECOME_SCHED(0);
	TAKE_ALL(3);
	RUN_TO_EVENT(0, THREAD_TERMINATED, 0);
	RUN_TO_EVENT(1, THREAD_TERMINATED, 1);
	RUN_TO_EVENT(2, THREAD_TERMINATED, 2);
	ASSERT_EQ(3000, GET(nr_turns));
	for (int i = 0; i < 3000; i++)
		ASSERT_EQ(TID(i % 3), turns[i]);
	EXPECT_NO_NOTES();
}

/*
 * To whom one cannot switch.
 */
static void try_all(struct ums_worker *worker)
{
	static const long bad[] = { 0, -1, INT_MIN, INT_MAX, NOT_A_WORKER };
	int fd = worker->fd;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(-ESRCH, ums_switch(fd, bad[i]));
	if (sizeof(long) > 4)
		CHECK_EQ(-ESRCH, ums_switch(fd, all[1].tid |
					    1UL << (sizeof(long) * 8 - 16)));
	/* The scheduler and the process. */
	CHECK_EQ(-ESRCH, ums_switch(fd, worker->value));
	CHECK_EQ(-ESRCH, ums_switch(fd, getpid()));
	/* Itself; one that is queued, blocked, run or owned by another one. */
	CHECK_EQ(-EBUSY, ums_switch(fd, worker->tid));
	for (int i = 1; i < NR; i++)
		CHECK_EQ(-EBUSY, ums_switch(fd, all[i].tid));
	worker->stage = 1;
	ums_worker_yield(worker, 1);
}

static void block_for_good(struct ums_worker *worker)
{
	eventfd_t value;

	CHECK_EQ(0, eventfd_read(worker->value, &value));
}

/* Takes two, and runs the second one until it ends. */
static void own_and_run(struct ums_sched *sched)
{
	struct ums_ready ready[2];
	struct ums_event event;

	CHECK_EQ(2, ums_take(sched->fd, sched->clist, 0, SOON_NS, ready, 2));
	sched->stage = 1;
	CHECK_EQ(0, ums_run(sched->fd, ready[1].context, 0, &event));
	CHECK_EQ(THREAD_TERMINATED, event.type);
	sched->stage = 2;
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F(switch, busy_and_unknown)
{
	/* 3 is owned by another scheduler, 4 run by it. */
	self->sched.fn = own_and_run;
	START(3, ums_work_return);
	START(4, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	ASSERT_TRUE(WAIT_FOR(self->workers[4].stage == 1));

	/* 2 is blocked, 1 queued, and 0 tries them all. */
	BECOME_SCHED(ENTER_UMS_BLOCK_EVENTS);
	self->workers[2].value = eventfd(0, 0);
	START(2, block_for_good);
	TAKE(2, UMS_READY_NEW);
	RUN_TO_EVENT(2, THREAD_BLOCKED, 2);
	self->workers[0].value = gettid();
	START(0, try_all);
	TAKE(0, UMS_READY_NEW);
	START(1, ums_work_return);
	RUN_TO_EVENT(0, THREAD_YIELD, 0);
	EXPECT_EQ(1, GET(self->workers[0].stage));

	/* None of them has noticed. */
	EXPECT_EQ(UMS_STATE_BLOCKED, ums_state(self->fd, TID(2)));
	TAKE(1, UMS_READY_NEW);
	self->workers[4].stage = 2;
	pthread_join(self->sched.thread, NULL);
	EXPECT_EQ(2, GET(self->sched.stage));
	EXPECT_NO_NOTES();
}

static void try_until_free(struct ums_worker *worker)
{
	int ret;

	worker->stage = 1;
	do {
		ret = ums_switch(worker->fd, all[1].tid);
		if (ret)
			worker->value = ret;
	} while (ret == -EAGAIN);
	CHECK_EQ(0, ret);
	worker->stage = 2;
}

static void *release_later(void *arg)
{
	CHECK(WAIT_FOR(all[0].value == -EAGAIN));
	CHECK_EQ(0, ums_hold_end(arg));
	return NULL;
}

TEST_F(switch, held_by_debugger)
{
	struct ums_hold hold;
	pthread_t thread;

	START(0, try_until_free);
	START(1, ums_work_return);
	BECOME_SCHED(0);
	TAKE_ALL(2);
	ASSERT_EQ(0, ums_hold_start(&hold, TID(1)));
	ASSERT_EQ(0, pthread_create(&thread, NULL, release_later, &hold));
	RUN_TO_EVENT(0, THREAD_TERMINATED, 1);
	pthread_join(thread, NULL);
	EXPECT_EQ(-EAGAIN, self->workers[0].value);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	RUN_TO_EVENT(0, THREAD_TERMINATED, 0);
	EXPECT_NO_NOTES();
}

/*
 * What the target does, is told of the target.
 */
static void switch_once(struct ums_worker *worker)
{
	CHECK_EQ(0, switch_to(worker, worker->arg));
	worker->stage = 1;
}

TEST_F(switch, target_dies_at_once)
{
	self->workers[0].arg = &self->workers[1];
	START(0, switch_once);
	START(1, ums_work_return);
	BECOME_SCHED(0);
	TAKE_ALL(2);
	RUN_TO_EVENT(0, THREAD_TERMINATED, 1);
	EXPECT_EQ(0, ums_next(self->fd, TID(0)));
	EXPECT_EQ(0, GET(self->workers[0].stage));
	RUN_TO_EVENT(0, THREAD_TERMINATED, 0);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

TEST_F(switch, target_blocks)
{
	self->workers[0].arg = &self->workers[1];
	self->workers[1].value = eventfd(0, 0);
	START(0, switch_once);
	START(1, block_for_good);
	BECOME_SCHED(ENTER_UMS_BLOCK_EVENTS);
	TAKE_ALL(2);
	RUN_TO_EVENT(0, THREAD_BLOCKED, 1);
	EXPECT_EQ(SYS_read, self->event.blocked_params.cause);
	RUN_TO_EVENT(0, THREAD_TERMINATED, 0);
	ASSERT_EQ(0, eventfd_write(self->workers[1].value, 1));
	TAKE(1, UMS_READY_UNBLOCKED);
	RUN_TO_EVENT(1, THREAD_TERMINATED, 1);
	EXPECT_NO_NOTES();
}

/* An event-less sleep of the target is one of the chain. */
static void nap_and_switch(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_nap_us(1000));
	CHECK_EQ(0, switch_to(worker, worker->arg));
}

TEST_F(switch, target_sleeps_unnoticed)
{
	self->workers[0].arg = &self->workers[1];
	self->workers[1].arg = &self->workers[0];
	START(0, switch_once);
	START(1, nap_and_switch);
	BECOME_SCHED(0);
	TAKE_ALL(2);
	RUN_TO_EVENT(0, THREAD_TERMINATED, 0);
	RUN_TO_EVENT(1, THREAD_TERMINATED, 1);
	EXPECT_NO_NOTES();
}

TEST_F(switch, target_is_preempted)
{
	self->workers[0].arg = &self->workers[1];
	START(0, switch_once);
	START(1, ums_work_spin);
	BECOME_SCHED(0);
	TAKE_ALL(2);
	EXPECT_WAITS(ums_run(self->fd, TID(0), 0, &self->event));
	/* The one runs, the other one does not. */
	EXPECT_EQ(-EAGAIN, ums_preempt(self->fd, TID(0)));
	EXPECT_EQ(0, ums_preempt(self->fd, TID(1)));
	ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
	EXPECT_EQ(THREAD_PREEMPTED, self->event.type);
	EXPECT_EQ(TID(1), self->event.preempted_params.context);
	TAKE(1, UMS_READY_PREEMPTED);
	RUN_TO_EVENT(0, THREAD_TERMINATED, 0);
	EXPECT_NO_NOTES();
}

/*
 * The slice is the scheduler's, and goes on across switches.
 */
static void ping_pong_for_ever(struct ums_worker *worker)
{
	struct ums_worker *to = worker->arg;

	while (worker->stage < 2) {
		CHECK_EQ(0, switch_to(worker, to));
		to->value++;
	}
}

TEST_F_TIMEOUT(switch, slice_goes_on, LONG_TEST)
{
	static const __u64 slices[] = { QUIET_NS, 1000000, 100000, 10000 };

	for (int i = 0; i < 2; i++) {
		self->workers[i].arg = &self->workers[!i];
		START(i, ping_pong_for_ever);
	}
	BECOME_SCHED(ENTER_UMS_KEEP);
	TAKE_ALL(2);
	for (unsigned long i = 0; i < 4 + RACE_LOOPS; i++) {
		__u64 slice = i < 4 ? slices[i] : 10000 + i * 137 % 50000;
		unsigned long start = ums_now_ns();
		struct ums_query query;
		int sum = 0;

		ASSERT_EQ(0, ums_run(self->fd, TID(i % 2), slice,
				     &self->event));
		EXPECT_LE(slice, ums_now_ns() - start);
		ASSERT_EQ(THREAD_PREEMPTED, self->event.type);
		EXPECT_NO_EVENT(self->fd);
		/* One of the two was stopped, and both are here. */
		for (int j = 0; j < 2; j++) {
			ASSERT_EQ(0, ums_query(self->fd, TID(j), &query));
			EXPECT_EQ(UMS_STATE_READY, query.state);
			EXPECT_EQ(gettid(), query.scheduler);
			sum += query.preemptions;
		}
		EXPECT_EQ(i + 1, sum);
	}
	EXPECT_LT(10, self->workers[0].value);
	EXPECT_LT(10, self->workers[1].value);
	EXPECT_NO_NOTES();
}

/* Preempters and signals at every moment of a ping-pong. */
struct pest {
	int fd;
	atomic_int stop;
	unsigned long signals;
};

static void *pester(void *arg)
{
	union sigval value = { .sival_int = 1 };
	struct pest *pest = arg;
	unsigned int seed = 3;

	/* If there is one, where it need not wait for its turn. */
	ums_pin(1);
	for (int i = 0; !pest->stop; i++) {
		int ret = ums_preempt(pest->fd, all[i % 2].tid);

		CHECK(!ret || ret == -EAGAIN);
		if (i % 3 == 0) {
			CHECK_EQ(0, pthread_sigqueue(all[i % 2].thread,
						     SIGRTMIN, value));
			pest->signals++;
		}
		ums_nap_us(rand_r(&seed) % 200);
	}
	return NULL;
}

static void ping_pong_counted(struct ums_worker *worker)
{
	struct ums_worker *to = worker->arg;

	while (worker->stage < 2) {
		CHECK_EQ(0, switch_to(worker, to));
		worker->value++;
	}
}

TEST_F_TIMEOUT(switch, pestered, LONG_TEST)
{
	struct pest pest = { .fd = self->fd };
	unsigned long preempts = 0, handovers = 0;
	struct ums_query query;
	pthread_t thread;
	int next = 0;

	ASSERT_EQ(0, ums_catch(SIGRTMIN, SA_RESTART));
	ASSERT_EQ(0, ums_pin(0));
	for (int i = 0; i < 2; i++) {
		self->workers[i].arg = &self->workers[!i];
		START(i, ping_pong_counted);
	}
	BECOME_SCHED(ENTER_UMS_KEEP);
	TAKE_ALL(2);
	ASSERT_EQ(0, pthread_create(&thread, NULL, pester, &pest));
	while (preempts < RACE_LOOPS) {
		/* Either can be run: the other one waits in its call. */
		ASSERT_EQ(0, ums_run(self->fd, TID(next), 0, &self->event));
		ASSERT_EQ(THREAD_PREEMPTED, self->event.type);
		EXPECT_NO_EVENT(self->fd);
		preempts++;
		next = !next;
	}
	pest.stop = 1;
	pthread_join(thread, NULL);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, ums_query(self->fd, TID(i), &query));
		handovers += query.handovers;
		preempts -= query.preemptions;
		/* A call that was made is one that returned, but the last. */
		EXPECT_LE(self->workers[i].value, query.handovers);
		EXPECT_GE(self->workers[i].value + 1, query.handovers);
	}
	EXPECT_EQ(0, preempts);
	/* Let the signals that still wait be handled. */
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, ums_run(self->fd, TID(i), QUIET_NS,
				     &self->event));
	EXPECT_EQ(pest.signals, GET(ums_caught[SIGRTMIN]));
	TH_LOG("%lu switches, %lu signals", handovers, pest.signals);
	EXPECT_NO_NOTES();
}

/*
 * The scheduler leaves while its workers hand over to each other.
 */
static void ping_pong_until_alone(struct ums_worker *worker)
{
	int ret;

	do {
		ret = switch_to(worker, worker->arg);
		worker->stage = 1;
	} while (!ret);
	/* There is nobody left to switch under. */
	CHECK_EQ(-ESRCH, ret);
	worker->stage = 2;
	ums_worker_yield(worker, 8);
	worker->stage = 3;
}

static void run_and_leave(struct ums_sched *sched)
{
	struct ums_ready ready[2];

	CHECK_EQ(2, ums_take(sched->fd, sched->clist, 0, SOON_NS, ready, 2));
	ums_run_interrupted(sched->fd, ready[0].context, 0);
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F(switch, scheduler_leaves)
{
	int alone, other;

	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	for (int i = 0; i < 2; i++) {
		self->workers[i].arg = &self->workers[!i];
		START(i, ping_pong_until_alone);
	}
	self->sched.fn = run_and_leave;
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	pthread_join(self->sched.thread, NULL);
	BECOME_SCHED(0);
	/* One was owned and comes back, one ran, and yields to the list. */
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 2 ||
			     self->workers[1].stage == 2));
	alone = self->workers[1].stage == 2;
	other = !alone;
	TAKE(other, UMS_READY_ORPHANED);
	TAKE(alone, UMS_READY_YIELDED);
	/* The call of the other one is over when it runs. */
	self->workers[other].arg = &self->workers[alone];
	ASSERT_EQ(0, ums_run(self->fd, TID(other), 0, &self->event));
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_EQ(TID(alone), ums_event_context(&self->event));
	EXPECT_EQ(3, GET(self->workers[alone].stage));
	EXPECT_NO_NOTES();
}

/* Again and again, at any point of a switch. */
static void switch_or_yield(struct ums_worker *worker)
{
	struct ums_worker *other = worker->arg;

	for (;;) {
		int ret = ums_switch(worker->fd, other->tid);

		if (!ret) {
			worker->value++;
			continue;
		}
		CHECK_EQ(-ESRCH, ret);
		/* It is the one that ran when the scheduler left. */
		worker->stage++;
		CHECK_EQ(0, ums_yield(worker->fd, 0));
	}
}

TEST_F_TIMEOUT(switch, scheduler_leaves_at_any_moment, LONG_TEST)
{
	unsigned int seed = 1;

	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	for (int i = 0; i < 2; i++) {
		self->workers[i].arg = &self->workers[!i];
		START(i, switch_or_yield);
	}
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		struct ums_ready ready[2];
		struct ums_tick tick;
		int got = 0;

		BECOME_SCHED(0);
		while (got < 2) {
			int ret = ums_take(self->fd, self->clist, 0, SOON_NS,
					   ready + got, 2 - got);

			ASSERT_LT(0, ret);
			got += ret;
		}
		/* One was owned by the scheduler that left, one ran. */
		EXPECT_NE(ready[0].context, ready[1].context);
		if (i)
			EXPECT_EQ(1, (ready[0].why == UMS_READY_ORPHANED) +
				  (ready[1].why == UMS_READY_ORPHANED));
		ASSERT_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR2,
					    50 + rand_r(&seed) % 300, 300));
		ASSERT_EQ(-EINTR, ums_run(self->fd, ready[i % 2].context, 0,
					  &self->event));
		ums_tick_stop(&tick);
		ASSERT_EQ(0, ums_exit(self->fd));
		ASSERT_TRUE(WAIT_FOR(self->workers[0].stage +
				     self->workers[1].stage == (int)i + 1));
	}
	for (int i = 0; i < 2; i++) {
		TH_LOG("worker %d: %ld switches, %d times alone", i,
		       self->workers[i].value, GET(self->workers[i].stage));
		EXPECT_LT(RACE_LOOPS / 50, self->workers[i].value);
		EXPECT_LT(RACE_LOOPS / 50, GET(self->workers[i].stage));
	}
	EXPECT_NO_NOTES();
}

/* A handler that waits for the target runs when it is switched to. */
static void check_handler(struct ums_worker *worker)
{
	CHECK_EQ(1, ums_caught[SIGUSR1]);
}

TEST_F(switch, handler_of_target)
{
	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	self->workers[0].arg = &self->workers[1];
	START(0, switch_once);
	START(1, check_handler);
	BECOME_SCHED(0);
	TAKE_ALL(2);
	ASSERT_EQ(0, tgkill(getpid(), TID(1), SIGUSR1));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(0, GET(ums_caught[SIGUSR1]));
	RUN_TO_EVENT(0, THREAD_TERMINATED, 1);
	EXPECT_EQ(1, GET(ums_caught[SIGUSR1]));
	EXPECT_EQ(TID(1), GET(ums_caught_by[SIGUSR1]));
	RUN_TO_EVENT(0, THREAD_TERMINATED, 0);
	EXPECT_NO_NOTES();
}

/* A signal to the one that has switched waits until it is switched back to. */
static void switch_back(struct ums_worker *worker)
{
	CHECK_EQ(0, tgkill(getpid(), all[0].tid, SIGUSR1));
	ums_spin_us(10000);
	CHECK_EQ(0, ums_caught[SIGUSR1]);
	CHECK_EQ(0, switch_to(worker, &all[0]));
}

TEST_F(switch, handler_of_caller)
{
	ASSERT_EQ(0, ums_catch(SIGUSR1, SA_RESTART));
	self->workers[0].arg = &self->workers[1];
	START(0, switch_once);
	START(1, switch_back);
	BECOME_SCHED(0);
	TAKE_ALL(2);
	/* Its call is made once, whatever the handler's flags say. */
	RUN_TO_EVENT(0, THREAD_TERMINATED, 0);
	EXPECT_EQ(1, GET(ums_caught[SIGUSR1]));
	EXPECT_EQ(TID(0), GET(ums_caught_by[SIGUSR1]));
	RUN_TO_EVENT(1, THREAD_TERMINATED, 1);
	EXPECT_NO_NOTES();
}

/*
 * Invariant 2: a worker that one switches to and another scheduler runs at the
 * same moment is run by one of them.
 */
struct grab {
	int fd;
	atomic_int *tid;
	atomic_int stop;
	unsigned long runs;
};

/* Either side waits before it makes its move, this one if it is negative. */
static atomic_long turns_before_switch;

static void run_what_is_owned(struct ums_sched *sched)
{
	struct grab *grab = sched->arg;
	struct ums_event event;

	while (!grab->stop) {
		int ret;

		ums_spin_turns(-turns_before_switch);
		ret = ums_run(sched->fd, *grab->tid, 0, &event);
		if (ret) {
			CHECK_EQ(-EBUSY, ret);
			continue;
		}
		CHECK_EQ(THREAD_YIELD, event.type);
		CHECK_EQ(*grab->tid, ums_event_context(&event));
		grab->runs++;
		/* Back to the other scheduler, through the list. */
		sched_yield();
	}
	CHECK_EQ(-EAGAIN, ums_wait(sched->fd, UMS_NONBLOCK, 0, &event));
	CHECK_EQ(0, ums_exit(sched->fd));
}

static void switch_if_possible(struct ums_worker *worker)
{
	for (long i = 0;; i++) {
		int ret;

		ums_spin_turns(turns_before_switch);
		ret = ums_switch(worker->fd, all[1].tid);

		CHECK(!ret || ret == -EBUSY);
		if (!ret)
			worker->value++;
		CHECK_EQ(0, ums_yield(worker->fd, i));
	}
}

TEST_F_TIMEOUT(switch, race_for_target, LONG_TEST)
{
	struct grab grab = { .fd = self->fd, .tid = &self->workers[1].tid };
	struct ums_aim aim = { .seed = 1 };
	unsigned long runs = 0;

	START(0, switch_if_possible);
	START(1, ums_work_yield_forever);
	self->sched.fn = run_what_is_owned;
	self->sched.arg = &grab;
	BECOME_SCHED(0);
	TAKE_ALL(2);
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	for (unsigned long i = 0; i < 2 * RACE_LOOPS; i++) {
		pid_t context;
		int got;

		turns_before_switch = ums_aim_turns(&aim);
		/* What the first one yields or leaves comes from the list. */
		ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &self->event));
		ASSERT_EQ(THREAD_YIELD, self->event.type);
		context = ums_event_context(&self->event);
		EXPECT_NO_EVENT(self->fd);
		ums_aim_correct(&aim, context == TID(1));
		if (context == TID(1)) {
			/* Switched: the first one is owned and goes on. */
			runs++;
			ASSERT_EQ(0, ums_run(self->fd, TID(0), 0,
					     &self->event));
			ASSERT_EQ(TID(0), ums_event_context(&self->event));
		}
		got = ums_take(self->fd, self->clist, 0, SOON_NS, self->ready,
			       NR);
		ASSERT_LT(0, got);
		if (got == 1 && self->ready[0].context != TID(0)) {
			got = ums_take(self->fd, self->clist, 0, SOON_NS,
				       self->ready, NR);
			ASSERT_LT(0, got);
		}
	}
	grab.stop = 1;
	pthread_join(self->sched.thread, NULL);
	TH_LOG("%lu times switched to, %lu times grabbed", runs, grab.runs);
	EXPECT_BOTH(&aim, 2 * RACE_LOOPS);
	EXPECT_EQ(runs, self->workers[0].value);
	EXPECT_EQ(runs + grab.runs, GET(self->workers[1].used));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
