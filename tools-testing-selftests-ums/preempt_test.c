// SPDX-License-Identifier: GPL-2.0
/*
 * IOCTL_UMS_PREEMPT: whoever asks for it, a running worker stops at its next
 * return to user mode, with one event whatever else stops it.
 */
#include <sys/prctl.h>

#include "ums_fixture.h"

#define NR	3

FIXTURE(preempt) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_worker workers[NR];
	struct ums_sched sched;
	pid_t tid;
};

FIXTURE_SETUP(preempt)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
	self->sched = (struct ums_sched) {
		.fd = self->fd, .clist = self->clist, .cpu = -1,
		.arg = &self->tid,
	};
}

FIXTURE_TEARDOWN(preempt)
{
	close(self->fd);
}

/* Runs the worker whose id is its argument once, and tells what came of it. */
static void run_one(struct ums_sched *sched)
{
	struct ums_event event;
	pid_t context = *(pid_t *)sched->arg;

	CHECK_EQ(0, ums_run(sched->fd, context, 0, &event));
	CHECK_EQ(context, ums_event_context(&event));
	sched->stage = event.type;
	CHECK_EQ(-EAGAIN, ums_wait(sched->fd, UMS_NONBLOCK, 0, &event));
	CHECK_EQ(0, ums_exit(sched->fd));
}

/*
 * The test owns the worker and another scheduler runs it.
 */
#define RUN_ELSEWHERE(i)						\
	do {								\
		self->tid = TID(i);					\
		self->sched.fn = run_one;				\
		self->sched.stage = 0;					\
		ASSERT_EQ(0, ums_sched_start(&self->sched));		\
	} while (0)

#define EXPECT_ELSEWHERE(type)						\
	do {								\
		pthread_join(self->sched.thread, NULL);			\
		EXPECT_EQ(type, GET(self->sched.stage));		\
	} while (0)

static void *preempt_thread(void *arg)
{
	struct ums_worker *worker = arg;

	worker->value = ums_preempt(worker->fd, worker->tid);
	return NULL;
}

/* By a plain thread, by a scheduler. */
TEST_F(preempt, running_worker)
{
	pthread_t thread;

	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 2; i++) {
		TAKE(0, i ? UMS_READY_PREEMPTED : UMS_READY_NEW);
		self->workers[0].stage = 0;
		RUN_ELSEWHERE(0);
		/* The second time it is in the loop and does not say so. */
		if (!i)
			ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
		ASSERT_TRUE(WAIT_FOR(ums_state(self->fd, TID(0)) ==
				     UMS_STATE_RUNNING));
		if (i) {
			ASSERT_EQ(0, pthread_create(&thread, NULL,
						    preempt_thread,
						    &self->workers[0]));
			pthread_join(thread, NULL);
			EXPECT_EQ(0, self->workers[0].value);
		} else {
			EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
		}
		EXPECT_ELSEWHERE(THREAD_PREEMPTED);
		EXPECT_NO_EVENT(self->fd);
	}
	TAKE(0, UMS_READY_PREEMPTED);
	self->workers[0].stage = 2;
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_NO_NOTES();
}

/* One worker stops another one, which runs under another scheduler. */
static void preempt_other(struct ums_worker *worker)
{
	struct ums_worker *other = worker->arg;

	CHECK_EQ(0, ums_preempt(worker->fd, other->tid));
	CHECK_EQ(-EAGAIN, ums_preempt(worker->fd, worker->value));
	ums_worker_yield(worker, 4);
}

TEST_F(preempt, by_worker)
{
	START(0, ums_work_spin);
	START(1, preempt_other);
	START(2, ums_work_return);
	self->workers[1].arg = &self->workers[0];
	self->workers[1].value = TID(2);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 3; i++)
		TAKE(i, UMS_READY_NEW);
	RUN_ELSEWHERE(0);
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	RUN(1, 0);
	EXPECT_EQ(THREAD_YIELD, self->event.type);
	EXPECT_ELSEWHERE(THREAD_PREEMPTED);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/* Wherever a worker is that does not run: EAGAIN, and nothing happens. */
static void yield_then_sleep(struct ums_worker *worker)
{
	char byte;

	ums_worker_yield(worker, 1);
	CHECK_EQ(1, read(worker->value, &byte, 1));
	ums_worker_yield(worker, 2);
}

TEST_F(preempt, worker_that_does_not_run)
{
	struct ums_query query;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	self->workers[0].value = pipes[0];
	START(0, yield_then_sleep);
#define EXPECT_NOT_RUNNING()						\
	do {								\
		for (int __i = 0; __i < 3; __i++)			\
			EXPECT_EQ(-EAGAIN, ums_preempt(self->fd, TID(0))); \
	} while (0)
	/* Queued, dequeued, after a stop, blocked, unblocked. */
	EXPECT_NOT_RUNNING();
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	EXPECT_NOT_RUNNING();
	TAKE(0, UMS_READY_NEW);
	EXPECT_NOT_RUNNING();
	RUN(0, 0);
	ASSERT_EQ(THREAD_YIELD, self->event.type);
	EXPECT_NOT_RUNNING();
	TAKE(0, UMS_READY_YIELDED);
	RUN(0, 0);
	ASSERT_EQ(THREAD_BLOCKED, self->event.type);
	EXPECT_NOT_RUNNING();
	ASSERT_EQ(1, write(pipes[1], "x", 1));
	TAKE(0, UMS_READY_UNBLOCKED);
	EXPECT_NOT_RUNNING();
	/* None of them was kept for later. */
	RUN(0, 0);
	ASSERT_EQ(THREAD_YIELD, self->event.type);
	EXPECT_EQ(2, self->event.yield_params.scheduler_params);
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(0, query.preemptions);
	EXPECT_NO_EVENT(self->fd);
	TAKE(0, UMS_READY_YIELDED);
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_EQ(-ESRCH, ums_preempt(self->fd, TID(0)));
	EXPECT_NO_NOTES();
}

/* A yield of another kind, and it returns where it was called. */
static void stop_myself(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		CHECK_EQ(0, ums_preempt(worker->fd, worker->tid));
		worker->stage = i + 1;
	}
	ums_worker_yield(worker, 3);
}

TEST_F(preempt, itself)
{
	struct ums_query query;

	self->workers[0].value = 50;
	START(0, stop_myself);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 50; i++) {
		TAKE(0, i ? UMS_READY_PREEMPTED : UMS_READY_NEW);
		RUN(0, 0);
		EXPECT_PREEMPTED(0);
		EXPECT_EQ(i, GET(self->workers[0].stage));
	}
	TAKE(0, UMS_READY_PREEMPTED);
	RUN(0, 0);
	EXPECT_EQ(THREAD_YIELD, self->event.type);
	EXPECT_EQ(50, GET(self->workers[0].stage));
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(50, query.preemptions);
	EXPECT_EQ(1, query.yields);
	EXPECT_NO_NOTES();
}

/* Its scheduler has been interrupted, and asks itself. */
TEST_F(preempt, by_own_scheduler)
{
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 5; i++) {
		int ret;

		TAKE(0, i ? UMS_READY_PREEMPTED : UMS_READY_NEW);
		EXPECT_WAITS(ums_run(self->fd, TID(0), 0, &self->event));
		EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
		/* Twice is once, if it has not stopped yet. */
		ret = ums_preempt(self->fd, TID(0));
		EXPECT_TRUE(!ret || ret == -EAGAIN);
		ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
		EXPECT_PREEMPTED(0);
	}
}

/*
 * In a long system call.
 */
static void read_then_tell(struct ums_worker *worker)
{
	char byte;

	worker->stage = 1;
	CHECK_EQ(1, read(worker->value, &byte, 1));
	worker->stage = 2;
}

FIXTURE(call) {
	int fd;
	int clist;
	int pipe[2];
	struct ums_ready ready;
	struct ums_event event;
	struct ums_worker workers[2];
	struct ums_sched sched;
	pid_t tid;
};

FIXTURE_VARIANT(call) {
	__u32 flags;
};

FIXTURE_VARIANT_ADD(call, classic) { 0 };
FIXTURE_VARIANT_ADD(call, block_events) { ENTER_UMS_BLOCK_EVENTS };

FIXTURE_SETUP(call)
{
	SETUP_CLIST(return);
	ASSERT_EQ(0, pipe(self->pipe));
	self->workers[0].granted = LOTS;
	self->workers[0].value = self->pipe[0];
	self->sched = (struct ums_sched) {
		.fd = self->fd, .clist = self->clist, .cpu = -1,
		.arg = &self->tid, .flags = variant->flags,
	};
}

FIXTURE_TEARDOWN(call)
{
	close(self->fd);
}

/*
 * Without block events the worker counts as running, so the call ends first and
 * then the worker stops, before it sees the result.  With them it is blocked.
 */
TEST_F(call, that_sleeps)
{
	START(0, read_then_tell);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	RUN_ELSEWHERE(0);
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1 &&
			     ums_is_parked(TID(0))));
	if (variant->flags) {
		EXPECT_ELSEWHERE(THREAD_BLOCKED);
		EXPECT_EQ(-EAGAIN, ums_preempt(self->fd, TID(0)));
		ASSERT_EQ(1, write(self->pipe[1], "x", 1));
		TAKE(0, UMS_READY_UNBLOCKED);
	} else {
		EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
		EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
		/* It is not interrupted. */
		ums_sleep_ms(QUIET_MS);
		EXPECT_EQ(0, GET(self->sched.stage));
		ASSERT_EQ(1, write(self->pipe[1], "x", 1));
		EXPECT_ELSEWHERE(THREAD_PREEMPTED);
		TAKE(0, UMS_READY_PREEMPTED);
	}
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_NO_EVENT(self->fd);
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_EQ(2, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

/*
 * Races: a thread asks all the time, while the worker stops by itself.  Each
 * run has one event, and each preemption has been asked for.
 */
enum rival { RIVAL_YIELD, RIVAL_BLOCK, RIVAL_LEAVE, RIVAL_SELF };

FIXTURE(against) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(against) {
	enum rival rival;
	__u32 flags;
	bool pinned;		/* all on one CPU */
};

FIXTURE_VARIANT_ADD(against, yield) { RIVAL_YIELD, 0, false };
FIXTURE_VARIANT_ADD(against, yield_one_cpu) { RIVAL_YIELD, 0, true };
FIXTURE_VARIANT_ADD(against, yield_keep) { RIVAL_YIELD, ENTER_UMS_KEEP, false };

FIXTURE_VARIANT_ADD(against, block) {
	RIVAL_BLOCK, ENTER_UMS_BLOCK_EVENTS, false,
};

FIXTURE_VARIANT_ADD(against, block_unnoticed) { RIVAL_BLOCK, 0, false };
FIXTURE_VARIANT_ADD(against, leave) { RIVAL_LEAVE, 0, false };
FIXTURE_VARIANT_ADD(against, itself) { RIVAL_SELF, 0, false };

FIXTURE_SETUP(against)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
}

FIXTURE_TEARDOWN(against)
{
	close(self->fd);
}

struct preempter {
	int fd;
	atomic_int *tid;
	atomic_ulong done;	/* asked with success */
	atomic_ulong refused;
	atomic_int stop;
	int cpu;		/* if there is one */
	long max_us;
	pthread_t thread;
};

static void *preempt_often(void *arg)
{
	struct preempter *me = arg;
	unsigned int seed = 1;

	/* On the worker's CPU it would have to wait for its turn. */
	if (me->cpu)
		ums_pin(me->cpu);
	while (!me->stop) {
		int ret = ums_preempt(me->fd, *me->tid);

		if (!ret)
			me->done++;
		else
			me->refused++;
		CHECK(!ret || ret == -EAGAIN || ret == -ESRCH);
		/* Let it get somewhere, and others have the CPU. */
		if (me->max_us)
			ums_nap_us(rand_r(&seed) % me->max_us);
	}
	return NULL;
}

static void stop_by_itself(struct ums_worker *worker)
{
	enum rival rival = *(const enum rival *)worker->arg;

	for (long i = 0;; i++) {
		ums_spin_turns(worker->value);
		switch (rival) {
		case RIVAL_YIELD:
			CHECK_EQ(0, ums_yield(worker->fd, i));
			break;
		case RIVAL_BLOCK:
			CHECK_EQ(0, ums_nap_us(20));
			if (i % 8 == 0)
				CHECK_EQ(0, ums_yield(worker->fd, i / 8));
			break;
		case RIVAL_LEAVE:
			CHECK_EQ(0, ums_exit(worker->fd));
			CHECK_EQ(0, ums_enter(worker->fd, ENTER_UMS_WORK,
					      worker->clist, 0));
			break;
		case RIVAL_SELF:
			CHECK_EQ(0, ums_preempt(worker->fd, worker->tid));
			break;
		}
	}
}

TEST_F_TIMEOUT(against, exactly_one_event, LONG_TEST)
{
	unsigned long runs = 0, yields = 0, blocks = 0, ends = 0, preempts = 0;
	struct preempter preempter = {
		.fd = self->fd, .tid = &self->workers[0].tid, .max_us = 50,
		.cpu = !variant->pinned,
	};
	enum rival rival = variant->rival;
	bool kept = variant->flags & ENTER_UMS_KEEP;
	struct ums_query query;

	ASSERT_EQ(0, ums_pin(0));
	self->workers[0].arg = &rival;
	/* One that is blocked most of the time is rarely hit. */
	self->workers[0].value = rival == RIVAL_BLOCK ? 15000 : 1000;
	START(0, stop_by_itself);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->flags));
	ASSERT_EQ(0, pthread_create(&preempter.thread, NULL, preempt_often,
				    &preempter));
	TAKE(0, UMS_READY_NEW);
	while (runs < 3 * RACE_LOOPS || (!preempts && runs < 9 * RACE_LOOPS)) {
		__u32 why = 0;

		RUN(0, 0);
		EXPECT_NO_EVENT(self->fd);
		ASSERT_EQ(TID(0), ums_event_context(&self->event));
		runs++;
		switch (self->event.type) {
		case THREAD_YIELD:
			/* None is lost, none is made twice. */
			ASSERT_EQ(yields,
				  self->event.yield_params.scheduler_params);
			yields++;
			why = UMS_READY_YIELDED;
			break;
		case THREAD_PREEMPTED:
			preempts++;
			why = UMS_READY_PREEMPTED;
			break;
		case THREAD_BLOCKED:
			blocks++;
			why = UMS_READY_UNBLOCKED;
			break;
		case THREAD_TERMINATED:
			ends++;
			why = UMS_READY_NEW;
			break;
		}
		if (!kept)
			TAKE(0, why);
		EXPECT_NO_WORKER(self->fd, self->clist);
	}
	preempter.stop = 1;
	pthread_join(preempter.thread, NULL);
	TH_LOG("%lu runs: %lu preempted, %lu yields, %lu blocks, %lu ends",
	       runs, preempts, yields, blocks, ends);
	TH_LOG("%lu asked for, %lu refused", GET(preempter.done),
	       GET(preempter.refused));
	EXPECT_SOME(preempts);
	if (rival != RIVAL_SELF)
		EXPECT_LE(preempts, GET(preempter.done));
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	if (rival != RIVAL_LEAVE) {
		EXPECT_EQ(runs, query.switches);
		EXPECT_EQ(yields, query.yields);
		EXPECT_EQ(blocks, query.blocks);
		EXPECT_EQ(preempts, query.preemptions);
	}
	EXPECT_NO_NOTES();
}

/* A worker that is dying: a new thread each time. */
static void end_soon(struct ums_worker *worker)
{
	ums_spin_turns(3 * worker->value);
	if (worker->value % 2)
		syscall(SYS_exit, 0);
}

TEST_F_TIMEOUT(preempt, dying_worker, LONG_TEST)
{
	struct preempter preempter = {
		.fd = self->fd, .tid = &self->workers[0].tid, .max_us = 20,
		.cpu = 1,
	};
	unsigned long preempts = 0;

	ASSERT_EQ(0, ums_pin(0));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, pthread_create(&preempter.thread, NULL, preempt_often,
				    &preempter));
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		self->workers[0].value = i % 300;
		ASSERT_EQ(0, ums_worker_create(&self->workers[0], self->fd,
					       self->clist, end_soon));
		do {
			ASSERT_LT(0, ums_take_one(self->fd, self->clist,
						  &self->ready));
			ASSERT_EQ(TID(0), self->ready.context);
			RUN(0, 0);
			EXPECT_NO_EVENT(self->fd);
			preempts += self->event.type == THREAD_PREEMPTED;
		} while (self->event.type == THREAD_PREEMPTED);
		ASSERT_EQ(THREAD_TERMINATED, self->event.type);
		ASSERT_EQ(TID(0), self->event.end_params.context);
		EXPECT_NO_WORKER(self->fd, self->clist);
		pthread_join(self->workers[0].thread, NULL);
	}
	preempter.stop = 1;
	pthread_join(preempter.thread, NULL);
	TH_LOG("%lu preempted, %lu asked for, %lu refused", preempts,
	       GET(preempter.done), GET(preempter.refused));
	EXPECT_LE(preempts, GET(preempter.done));
	EXPECT_SOME(GET(preempter.done));
	EXPECT_NO_NOTES();
}

/*
 * Signals and preemptions at once: each signal is handled once, by the worker,
 * while it may run.
 */
TEST_F_TIMEOUT(preempt, against_signals, LONG_TEST)
{
	union sigval value = { .sival_int = 1 };
	struct preempter preempter = {
		.fd = self->fd, .tid = &self->workers[0].tid, .max_us = 60,
		.cpu = 1,
	};
	unsigned long sent = 0;
	bool more = true;

	ASSERT_EQ(0, ums_pin(0));
	ASSERT_EQ(0, ums_catch(SIGRTMIN, SA_RESTART));
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	ASSERT_EQ(0, pthread_create(&preempter.thread, NULL, preempt_often,
				    &preempter));
	while (more) {
		more = ums_caught[SIGRTMIN] < (int)RACE_LOOPS;
		if (sent < RACE_LOOPS) {
			ASSERT_EQ(0, pthread_sigqueue(self->workers[0].thread,
						      SIGRTMIN, value));
			sent++;
		}
		RUN(0, 0);
		ASSERT_EQ(THREAD_PREEMPTED, self->event.type);
		EXPECT_NO_EVENT(self->fd);
	}
	preempter.stop = 1;
	pthread_join(preempter.thread, NULL);
	EXPECT_EQ(RACE_LOOPS, GET(ums_caught[SIGRTMIN]));
	EXPECT_EQ(TID(0), GET(ums_caught_by[SIGRTMIN]));
	EXPECT_NO_NOTES();
}

/*
 * Everything at once: two schedulers with slices and block events, four
 * workers, threads that preempt them all, and stops of the process.
 */
struct harasser {
	struct ums_storm *storm;
	int fd;
	atomic_int stop;
};

static void *preempt_all(void *arg)
{
	struct harasser *me = arg;
	unsigned int seed = gettid();

	for (int i = 0; !me->stop; i++) {
		int ret = ums_preempt(me->fd, me->storm->workers[i %
					      UMS_STORM_WORKERS].tid);

		CHECK(!ret || ret == -EAGAIN);
		ums_nap_us(rand_r(&seed) % 100);
	}
	return NULL;
}

FIXTURE(storm) {
	int fd;
	int clist;
	struct ums_storm storm;
};

FIXTURE_VARIANT(storm) {
	bool stops;
};

FIXTURE_VARIANT_ADD(storm, running) { false };
FIXTURE_VARIANT_ADD(storm, stopped_and_continued) { true };

FIXTURE_SETUP(storm)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(storm)
{
	close(self->fd);
}

TEST_F_TIMEOUT(storm, is_weathered, LONG_TEST)
{
	struct harasser harasser = { .storm = &self->storm, .fd = self->fd };
	pthread_t threads[2];
	pid_t child;

	self->storm.lenient = variant->stops;
	ASSERT_EQ(0, ums_storm_start_with(&self->storm, self->fd, self->clist,
					  ENTER_UMS_BLOCK_EVENTS, 100000));
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, preempt_all,
					    &harasser));
	if (variant->stops) {
		child = ums_stop_and_continue(RACE_LOOPS, 1500);
		ASSERT_LT(0, child);
		EXPECT_CHILD_OK(child);
	} else {
		ums_sleep_ms(2000);
	}
	harasser.stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	EXPECT_CALM(&self->storm);
	EXPECT_SOME(GET(self->storm.run.preempts));
}

TEST_HARNESS_MAIN
