// SPDX-License-Identifier: GPL-2.0
/*
 * IOCTL_UMS_RUN: execution and event in one call, waits with a timeout, and
 * what a scheduler keeps.  Slices have a file of their own.
 */
#include "ums_fixture.h"

#define NR	4

FIXTURE(run) {
	int fd;
	int clist;
	struct ums_ready ready[NR];
	struct ums_event event;
	struct ums_worker workers[NR];
};

FIXTURE_SETUP(run)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(run)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* The only worker that is there. */
#define TAKE_ONLY(i)							\
	ASSERT_EQ(TID(i), ums_take_one(self->fd, self->clist,		\
				       &self->ready[0]))

TEST_F(run, gives_the_event)
{
	self->workers[0].value = 20;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 20; i++) {
		TAKE_ONLY(0);
		RUN(0, 0);
		ASSERT_EQ(THREAD_YIELD, self->event.type);
		EXPECT_EQ(TID(0), self->event.yield_params.context);
		EXPECT_EQ(i, self->event.yield_params.scheduler_params);
		EXPECT_EQ(i + 1, GET(self->workers[0].used));
		/* It is not in the queue besides. */
		EXPECT_NO_EVENT(self->fd);
	}
	TAKE_ONLY(0);
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_EQ(TID(0), self->event.end_params.context);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_EQ(-ESRCH, ums_run(self->fd, TID(0), 0, &self->event));
	EXPECT_NO_NOTES();
}

/* The oldest event, which need not be that of this run. */
TEST_F(run, gives_the_oldest_event)
{
	for (int i = 0; i < 3; i++) {
		self->workers[i].value = 1;
		START(i, ums_work_yield);
	}
	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	ASSERT_EQ(3, ums_take(self->fd, self->clist, 0, 0, self->ready, NR));
	RUN(0, 0);
	EXPECT_EQ(SCHEDULER_STARTUP, self->event.type);
	ASSERT_EQ(0, ums_exec(self->fd, TID(1)));
	RUN(2, 0);
	EXPECT_EQ(TID(0), ums_event_context(&self->event));
	ASSERT_EQ(0, ums_wait(self->fd, 0, 0, &self->event));
	EXPECT_EQ(TID(1), ums_event_context(&self->event));
	ASSERT_EQ(0, ums_wait(self->fd, UMS_NONBLOCK, 0, &self->event));
	EXPECT_EQ(TID(2), ums_event_context(&self->event));
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

static void run_spinner(struct ums_sched *sched)
{
	struct ums_event event;

	CHECK_EQ(0, ums_run(sched->fd, *(pid_t *)sched->arg, 0, &event));
	CHECK_EQ(THREAD_TERMINATED, event.type);
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F(run, busy_workers)
{
	struct ums_sched sched = {
		.fn = run_spinner, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	pid_t tid;

	START(0, ums_work_spin);
	tid = TID(0);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	/* Queued. */
	EXPECT_EQ(-EBUSY, ums_run(self->fd, tid, 0, &self->event));
	EXPECT_EQ(-EBUSY, ums_run(self->fd, tid, 1000, &self->event));
	/* Owned here, running there. */
	TAKE_ONLY(0);
	sched.arg = &tid;
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	EXPECT_EQ(-EBUSY, ums_run(self->fd, tid, 0, &self->event));
	EXPECT_EQ(-EBUSY, ums_run(self->fd, tid, 1, &self->event));
	self->workers[0].stage = 2;
	pthread_join(sched.thread, NULL);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/*
 * Interrupted: the worker runs on, another cannot be run, and the event comes
 * to whoever waits for it.
 */
TEST_F(run, interrupted)
{
	START(0, ums_work_spin);
	START(1, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(2, ums_take(self->fd, self->clist, 0, 0, self->ready, NR));
	EXPECT_WAITS(ums_run(self->fd, TID(0), 0, &self->event));
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_EQ(-EBUSY, ums_run(self->fd, TID(0), 0, &self->event));
	EXPECT_EQ(-EBUSY, ums_run(self->fd, TID(1), 0, &self->event));
	EXPECT_EQ(0, ums_next(self->fd, TID(1)));
	EXPECT_NO_EVENT(self->fd);
	EXPECT_EQ(-ETIMEDOUT, ums_wait(self->fd, 0, 1000000, &self->event));
	EXPECT_WAITS(ums_wait(self->fd, 0, 0, &self->event));
	self->workers[0].stage = 2;
	ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_EQ(TID(0), self->event.end_params.context);
	RUN(1, 0);
	EXPECT_EQ(TID(1), self->event.end_params.context);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/* Fault caught: an interrupted call loses its event, or gives it twice. */
TEST_F_TIMEOUT(run, interrupted_at_any_moment, LONG_TEST)
{
	unsigned long interrupted = 0, in_run = 0;
	struct ums_tick tick;

	ASSERT_EQ(0, ums_catch(SIGUSR1, SA_RESTART));
	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR1, 100, 137));
	/* A fast machine may need more rounds until it was hit often enough. */
	for (unsigned long i = 0;
	     i < 3 * RACE_LOOPS || in_run <= RACE_LOOPS / 50; i++) {
		int ret;

		do {
			ret = ums_take(self->fd, self->clist, 0, SOON_NS,
				       self->ready, 1);
			interrupted += ret == -EINTR;
		} while (ret == -EINTR);
		ASSERT_EQ(1, ret);
		ret = ums_run(self->fd, TID(0), 0, &self->event);
		in_run += ret == -EINTR;
		while (ret == -EINTR) {
			interrupted++;
			ret = ums_wait(self->fd, 0, SOON_NS, &self->event);
		}
		ASSERT_EQ(0, ret);
		ASSERT_EQ(THREAD_YIELD, self->event.type);
		ASSERT_EQ(i, self->event.yield_params.scheduler_params);
	}
	ums_tick_stop(&tick);
	TH_LOG("interrupted %lu times, %lu runs among them", interrupted,
	       in_run);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

TEST_F(run, held_by_debugger)
{
	struct ums_hold hold;
	int ret;

	START(0, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE_ONLY(0);
	ASSERT_EQ(0, ums_hold_start(&hold, TID(0)));
	EXPECT_EQ(-EAGAIN, ums_run(self->fd, TID(0), 0, &self->event));
	EXPECT_EQ(-EAGAIN, ums_run(self->fd, TID(0), 1000, &self->event));
	EXPECT_EQ(0, ums_next(self->fd, TID(0)));
	EXPECT_NO_EVENT(self->fd);
	EXPECT_EQ(0, ums_hold_end(&hold));
	do {
		ret = ums_run(self->fd, TID(0), 0, &self->event);
	} while (ret == -EAGAIN);
	EXPECT_EQ(0, ret);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_NO_NOTES();
}

/* With 1024 unread events there is room for no more. */
TEST_F_TIMEOUT(run, too_many_events, LONG_TEST)
{
	int count, ret;

	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE_ONLY(0);
	for (count = 0; count < 1100; count++) {
		ret = ums_exec(self->fd, TID(0));
		if (ret)
			break;
	}
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_EQ(-ENOMEM, ums_run(self->fd, TID(0), 0, &self->event));
	EXPECT_EQ(count, GET(self->workers[0].used));
	/* One is read, one is made, and so on. */
	ASSERT_EQ(0, ums_wait(self->fd, 0, 0, &self->event));
	EXPECT_EQ(0, self->event.yield_params.scheduler_params);
	for (int i = 1; i < count + 10; i++) {
		RUN(0, 0);
		ASSERT_EQ(i, self->event.yield_params.scheduler_params);
	}
	EXPECT_NO_NOTES();
}

/*
 * The pointer turns bad while the worker runs: the event stays.
 */
static void spoil_and_yield(struct ums_worker *worker)
{
	CHECK_EQ(0, mprotect(worker->arg, 4096, PROT_READ));
	ums_worker_yield(worker, 11);
	CHECK_EQ(0, mprotect(worker->arg, 4096, PROT_READ | PROT_WRITE));
}

TEST_F(run, pointer_turns_bad)
{
	struct ums_run *arg = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, arg);
	self->workers[0].arg = arg;
	START(0, spoil_and_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE_ONLY(0);
	arg->context = TID(0);
	EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_UMS_RUN, (uintptr_t)arg));
	/* The worker has run once, and is where it belongs. */
	TAKE_ONLY(0);
	EXPECT_EQ(UMS_READY_YIELDED, self->ready[0].why);
	ASSERT_EQ(0, ums_wait(self->fd, UMS_NONBLOCK, 0, &self->event));
	EXPECT_EQ(THREAD_YIELD, self->event.type);
	EXPECT_EQ(11, self->event.yield_params.scheduler_params);
	EXPECT_NO_EVENT(self->fd);
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_NO_NOTES();
}

/*
 * Waiting for an event.
 */
TEST_F(run, timeout)
{
	static const __u64 timeouts[] = {
		1, 999, 1000 * 1000, QUIET_NS, QUIET_NS + 1,
	};

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++) {
		unsigned long start = ums_now_ns();

		EXPECT_EQ(-ETIMEDOUT, ums_wait(self->fd, 0, timeouts[i],
					       &self->event));
		EXPECT_LE(timeouts[i], ums_now_ns() - start);
		EXPECT_GT(SOON_NS, ums_now_ns() - start);
	}
	/* What is there is no matter of time. */
	START(0, ums_work_return);
	TAKE_ONLY(0);
	ASSERT_EQ(0, ums_exec(self->fd, TID(0)));
	EXPECT_EQ(0, ums_wait(self->fd, 0, 1, &self->event));
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
}

/* Fault caught: a sum with the clock overflows, and the wait ends at once. */
TEST_F(run, longest_timeouts)
{
	static const __u64 timeouts[] = {
		0, LLONG_MAX - 1, LLONG_MAX, 1ULL << 63, ULLONG_MAX,
	};

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++)
		EXPECT_WAITS(ums_wait(self->fd, 0, timeouts[i], &self->event));
}

/* Both ends at once: the event is there for the next call, or in this one. */
static void yield_when_told(struct ums_worker *worker)
{
	for (long i = 0;; i++) {
		while (worker->stage <= i)
			;
		ums_spin_turns(2000);
		ums_worker_yield(worker, i);
	}
}

TEST_F_TIMEOUT(run, timeout_against_event, LONG_TEST)
{
	/* In nanoseconds here: how long the wait may take. */
	struct ums_aim aim = { .turns = 20000, .seed = 1 };
	struct ums_tick tick;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	START(0, yield_when_told);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE_ONLY(0);
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		long ns = ums_aim_turns(&aim);
		int ret;

		ASSERT_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR1, 50, 50));
		ASSERT_EQ(-EINTR, ums_run(self->fd, TID(0), 0, &self->event));
		ums_tick_stop(&tick);
		self->workers[0].stage = i + 1;
		ret = ums_wait(self->fd, 0, ns > 0 ? ns : 1, &self->event);
		if (ret)
			ASSERT_EQ(-ETIMEDOUT, ret);
		ums_aim_correct(&aim, ret);
		if (ret)
			ret = ums_wait(self->fd, 0, SOON_NS, &self->event);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(THREAD_YIELD, self->event.type);
		ASSERT_EQ(i, self->event.yield_params.scheduler_params);
		EXPECT_NO_EVENT(self->fd);
	}
	EXPECT_BOTH(&aim, RACE_LOOPS);
	EXPECT_NO_NOTES();
}

struct wait {
	__u64 timeout_ns;
	pid_t context;
};

static void wait_once(struct ums_sched *sched)
{
	struct wait *wait = sched->arg;
	struct ums_event event;
	struct ums_ready ready;

	if (wait->context)
		CHECK_EQ(wait->context, ums_take_one(sched->fd, sched->clist,
						     &ready));
	sched->stage = 1;
	sched->ret = wait->context ?
		     ums_run(sched->fd, wait->context, 0, &event) :
		     ums_wait(sched->fd, 0, wait->timeout_ns, &event);
	sched->stage = 2;
}

FIXTURE(waits) {
	int fd;
	int clist;
	struct wait wait;
	struct ums_sched sched;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(waits) {
	__u64 timeout_ns;
	bool worker;
};

FIXTURE_VARIANT_ADD(waits, for_ever) { 0, false };
FIXTURE_VARIANT_ADD(waits, with_timeout) { 6 * SOON_NS, false };
FIXTURE_VARIANT_ADD(waits, for_worker) { 0, true };

FIXTURE_SETUP(waits)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
	if (variant->worker) {
		START(0, ums_work_spin);
		self->wait.context = TID(0);
	}
	self->wait.timeout_ns = variant->timeout_ns;
	self->sched = (struct ums_sched) {
		.fn = wait_once, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = &self->wait,
	};
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	ASSERT_TRUE(WAIT_FOR(self->sched.stage == 1 &&
			     ums_is_parked(self->sched.tid)));
	ums_sleep_ms(QUIET_MS);
	ASSERT_EQ(1, GET(self->sched.stage));
}

FIXTURE_TEARDOWN(waits)
{
	self->workers[0].stage = 2;
	if (self->fd >= 0)
		close(self->fd);
}

TEST_F(waits, device_is_closed)
{
	close(self->fd);
	self->fd = -1;
	pthread_join(self->sched.thread, NULL);
	EXPECT_EQ(-ENODEV, self->sched.ret);
	EXPECT_NO_NOTES();
}

TEST_F(waits, handler_runs)
{
	ASSERT_EQ(0, ums_catch(SIGUSR1, SA_RESTART));
	ASSERT_EQ(0, tgkill(getpid(), GET(self->sched.tid), SIGUSR1));
	pthread_join(self->sched.thread, NULL);
	EXPECT_EQ(-EINTR, self->sched.ret);
	EXPECT_EQ(1, GET(ums_caught[SIGUSR1]));
	EXPECT_NO_NOTES();
}

/* Without handler, worker and end in sight it goes on. */
TEST_F(waits, process_is_stopped)
{
	pid_t child = ums_stop_until_stopped(self->sched.tid);

	ASSERT_LT(0, child);
	EXPECT_CHILD_OK(child);
	ums_sleep_ms(QUIET_MS);
	if (!variant->timeout_ns && !variant->worker)
		EXPECT_EQ(1, GET(self->sched.stage));
	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	tgkill(getpid(), GET(self->sched.tid), SIGUSR1);
	pthread_join(self->sched.thread, NULL);
	EXPECT_EQ(-EINTR, self->sched.ret);
	EXPECT_NO_NOTES();
}

/*
 * A scheduler that keeps its workers.
 */
TEST_F(run, kept_after_yield)
{
	struct ums_query query;

	for (int i = 0; i < 3; i++) {
		self->workers[i].value = 2;
		START(i, ums_work_yield);
	}
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	ASSERT_EQ(3, ums_take(self->fd, self->clist, 0, 0, self->ready, NR));
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 3; i++) {
			RUN(i, 0);
			EXPECT_EQ(THREAD_YIELD, self->event.type);
			/* Last in what is owned, and on no list. */
			EXPECT_EQ(0, ums_next(self->fd, TID(i)));
			EXPECT_EQ(TID(i), ums_next(self->fd,
						   TID((i + 2) % 3)));
			EXPECT_NO_WORKER(self->fd, self->clist);
			ASSERT_EQ(0, ums_query(self->fd, TID(i), &query));
			EXPECT_EQ(gettid(), query.scheduler);
			EXPECT_EQ(UMS_STATE_READY, query.state);
			EXPECT_EQ(UMS_READY_YIELDED, query.why);
		}
	}
	for (int i = 0; i < 3; i++) {
		RUN(i, 0);
		EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	}
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_NO_NOTES();
}

TEST_F(run, kept_after_preemption)
{
	struct ums_query query;

	START(0, ums_work_spin);
	START(1, ums_work_return);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	ASSERT_EQ(2, ums_take(self->fd, self->clist, 0, 0, self->ready, NR));
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, ums_run(self->fd, TID(0), 200000, &self->event));
		ASSERT_EQ(THREAD_PREEMPTED, self->event.type);
		EXPECT_EQ(0, ums_next(self->fd, TID(0)));
		EXPECT_EQ(TID(0), ums_next(self->fd, TID(1)));
		EXPECT_NO_WORKER(self->fd, self->clist);
		ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
		EXPECT_EQ(UMS_READY_PREEMPTED, query.why);
	}
	self->workers[0].stage = 2;
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_NO_NOTES();
}

/* What it keeps belongs to all the others when it leaves. */
static void yield_or_spin(struct ums_worker *worker)
{
	if (worker->value)
		ums_worker_yield(worker, 0);
	else
		ums_work_spin(worker);
}

TEST_F(run, kept_then_left)
{
	for (int i = 0; i < 3; i++) {
		self->workers[i].value = i != 1;
		START(i, yield_or_spin);
	}
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	ASSERT_EQ(3, ums_take(self->fd, self->clist, 0, 0, self->ready, NR));
	RUN(2, 0);
	ASSERT_EQ(0, ums_run(self->fd, TID(1), 200000, &self->event));
	RUN(0, 0);
	ASSERT_EQ(0, ums_exit(self->fd));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(3, ums_take(self->fd, self->clist, 0, 0, self->ready, NR));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(TID(2 - i), self->ready[i].context);
		EXPECT_EQ(UMS_READY_ORPHANED, self->ready[i].why);
	}
	EXPECT_NO_NOTES();
}

/* It is the scheduler that runs the worker which keeps it. */
static void run_for_other(struct ums_sched *sched)
{
	struct ums_event event;

	CHECK_EQ(0, ums_run(sched->fd, *(pid_t *)sched->arg, 0, &event));
	CHECK_EQ(THREAD_YIELD, event.type);
	sched->stage = 1;
	while (sched->stage == 1)
		usleep(1000);
	CHECK_EQ(0, ums_exit(sched->fd));
}

FIXTURE(keepers) {
	int fd;
	int clist;
	struct ums_ready ready[NR];
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(keepers) {
	__u32 owner_flags;
	__u32 runner_flags;
};

FIXTURE_VARIANT_ADD(keepers, owner) { ENTER_UMS_KEEP, 0 };
FIXTURE_VARIANT_ADD(keepers, runner) { 0, ENTER_UMS_KEEP };

FIXTURE_SETUP(keepers)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
	self->workers[0].value = 1;
}

FIXTURE_TEARDOWN(keepers)
{
	close(self->fd);
}

TEST_F(keepers, who_runs_it_keeps_it)
{
	struct ums_sched sched = {
		.fn = run_for_other, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .flags = variant->runner_flags,
	};
	struct ums_query query;
	pid_t tid;

	START(0, ums_work_yield);
	tid = TID(0);
	sched.arg = &tid;
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->owner_flags));
	TAKE_ONLY(0);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, tid));
	ASSERT_EQ(0, ums_query(self->fd, tid, &query));
	if (variant->runner_flags) {
		EXPECT_EQ(GET(sched.tid), query.scheduler);
		EXPECT_NO_WORKER(self->fd, self->clist);
	} else {
		EXPECT_EQ(0, query.scheduler);
		TAKE_ONLY(0);
		EXPECT_EQ(UMS_READY_YIELDED, self->ready[0].why);
	}
	sched.stage = 2;
	pthread_join(sched.thread, NULL);
	EXPECT_NO_NOTES();
}

/* Keeping saves the dequeue, and nothing else changes in a long run. */
TEST_F_TIMEOUT(run, kept_for_long, LONG_TEST)
{
	unsigned long yields = 0;
	pid_t context;

	for (int i = 0; i < NR; i++) {
		self->workers[i].value = RACE_LOOPS;
		START(i, ums_work_yield);
	}
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	ASSERT_EQ(NR, ums_take(self->fd, self->clist, 0, 0, self->ready, NR));
	context = self->ready[0].context;
	for (int live = NR; live; ) {
		/* It will be the last, so the next one is the one to run. */
		pid_t next = ums_next(self->fd, context);

		ASSERT_EQ(0, ums_run(self->fd, context, 0, &self->event));
		ASSERT_EQ(context, ums_event_context(&self->event));
		if (self->event.type == THREAD_YIELD)
			yields++;
		else
			live--;
		if (next)
			context = next;
	}
	EXPECT_EQ(NR * RACE_LOOPS, yields);
	for (int i = 0; i < NR; i++)
		EXPECT_EQ(RACE_LOOPS + 1, GET(self->workers[i].used));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
