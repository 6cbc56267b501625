// SPDX-License-Identifier: GPL-2.0
/*
 * What becomes of workers whose scheduler has left or that die in their sleep,
 * and of processes that end with such workers.
 */
#include <linux/seccomp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "ums_fixture.h"

#define NR	6

#define UMS_MAX_CORPSES	1024

/*
 * How a scheduler goes.
 */
static void go_by_leaving(struct ums_sched *sched)
{
	CHECK_EQ(0, ums_exit(sched->fd));
}

static void go_by_return(struct ums_sched *sched)
{
}

static void go_by_pthread_exit(struct ums_sched *sched)
{
	pthread_exit(NULL);
}

static void go_by_raw_exit(struct ums_sched *sched)
{
	syscall(SYS_exit, 0);
}

static void go_by_cancel(struct ums_sched *sched)
{
	pthread_cancel(pthread_self());
	pthread_testcancel();
}

/* A fatal signal for this thread alone, from seccomp's strictest mode. */
static void go_by_kill(struct ums_sched *sched)
{
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	syscall(SYS_getpid);
}

FIXTURE(gone) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_worker workers[NR];
	struct ums_sched sched;
};

FIXTURE_VARIANT(gone) {
	void (*go)(struct ums_sched *sched);
};

FIXTURE_VARIANT_ADD(gone, leave) { go_by_leaving };
FIXTURE_VARIANT_ADD(gone, return) { go_by_return };
FIXTURE_VARIANT_ADD(gone, pthread_exit) { go_by_pthread_exit };
FIXTURE_VARIANT_ADD(gone, raw_exit) { go_by_raw_exit };
FIXTURE_VARIANT_ADD(gone, cancel) { go_by_cancel };
FIXTURE_VARIANT_ADD(gone, killed) { go_by_kill };

static void (*go)(struct ums_sched *sched);

/* Workers that can sleep in a read, and a scheduler that will be told of it. */
#define PREPARE()							\
	do {								\
		for (int i = 0; i < NR; i++) {				\
			self->workers[i].cookie = 1000 + i;		\
			self->workers[i].value = eventfd(0, 0);		\
			ASSERT_LE(0, self->workers[i].value);		\
		}							\
		GRANT_LOTS();						\
		self->sched = (struct ums_sched) {			\
			.fd = self->fd, .clist = self->clist, .cpu = -1, \
			.flags = ENTER_UMS_BLOCK_EVENTS,		\
		};							\
	} while (0)

FIXTURE_SETUP(gone)
{
	SETUP_CLIST(return);
	PREPARE();
	go = variant->go;
}

FIXTURE_TEARDOWN(gone)
{
	close(self->fd);
}

/* Waits until the scheduler is one no more. */
#define AWAIT_END()							\
	do {								\
		pthread_join(self->sched.thread, NULL);			\
		ASSERT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC		\
						 "/%d/schedulers/%d",	\
						 getpid(),		\
						 GET(self->sched.tid))));\
	} while (0)

#define SCHEDULE(function)						\
	do {								\
		self->sched.fn = function;				\
		ASSERT_EQ(0, ums_sched_start(&self->sched));		\
		AWAIT_END();						\
	} while (0)

static atomic_long turns_before_read;

static void read_event(struct ums_worker *worker)
{
	eventfd_t value;

	worker->stage = 1;
	ums_spin_turns(turns_before_read);
	CHECK_EQ(0, eventfd_read(worker->value, &value));
	worker->stage = 2;
	ums_worker_yield(worker, 5);
	worker->stage = 3;
}

static void run_to_block_and_go(struct ums_sched *sched)
{
	struct ums_ready ready;
	struct ums_event event;
	pid_t context = ums_take_one(sched->fd, sched->clist, &ready);

	CHECK_EQ(0, ums_run(sched->fd, context, 0, &event));
	CHECK_EQ(THREAD_BLOCKED, event.type);
	CHECK_EQ(context, event.blocked_params.context);
	go(sched);
}

/* Its sleep ends, it parks on its list, and the next scheduler runs it. */
TEST_F(gone, while_worker_is_blocked)
{
	struct ums_query query;

	START(0, read_event);
	SCHEDULE(run_to_block_and_go);
	EXPECT_EQ(UMS_STATE_BLOCKED, ums_state(self->fd, TID(0)));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_NO_WORKER(self->fd, self->clist);
	ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
	TAKE(0, UMS_READY_UNBLOCKED);
	EXPECT_EQ(1000, self->ready.cookie);
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(gettid(), query.scheduler);
	RUN_TO(0, THREAD_YIELD);
	TAKE(0, UMS_READY_YIELDED);
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_EQ(3, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

/* The end of its sleep and of its scheduler at the same time. */
static void run_once_and_go(struct ums_sched *sched)
{
	struct ums_ready ready;
	struct ums_event event;
	pid_t context = ums_take_one(sched->fd, sched->clist, &ready);

	CHECK_EQ(0, ums_run(sched->fd, context, 0, &event));
	/* Awake so early that it did not block at all? */
	CHECK(event.type == THREAD_BLOCKED || event.type == THREAD_YIELD);
	go(sched);
}

TEST_F_TIMEOUT(gone, race_with_end_of_sleep, LONG_TEST)
{
	struct ums_worker *worker = &self->workers[0];
	struct ums_aim aim = { .turns = -100000, .seed = 1 };

	self->sched.fn = run_once_and_go;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		long turns = ums_aim_turns(&aim);
		bool first;

		turns_before_read = -turns;
		START(0, read_event);
		ASSERT_EQ(0, ums_sched_start(&self->sched));
		while (worker->stage != 1)
			sched_yield();
		ums_spin_turns(turns);
		ASSERT_EQ(0, eventfd_write(worker->value, 1));
		ASSERT_EQ(TID(0), ums_take_one(self->fd, self->clist,
					       &self->ready));
		/* Awake before it slept. */
		first = self->ready.why != UMS_READY_UNBLOCKED;
		ums_aim_correct(&aim, first);
		if (self->ready.why == UMS_READY_UNBLOCKED) {
			RUN_TO(0, THREAD_YIELD);
			TAKE(0, UMS_READY_YIELDED);
		}
		ASSERT_EQ(UMS_READY_YIELDED, self->ready.why);
		RUN_TO(0, THREAD_TERMINATED);
		pthread_join(worker->thread, NULL);
		pthread_join(self->sched.thread, NULL);
	}
	EXPECT_BOTH(&aim, RACE_LOOPS);
	EXPECT_NO_NOTES();
}

/* Executes the second of three, is interrupted, and goes. */
static void own_run_and_go(struct ums_sched *sched)
{
	struct ums_ready ready[3];

	CHECK_EQ(3, ums_take(sched->fd, sched->clist, 0, SOON_NS, ready, 3));
	ums_run_interrupted(sched->fd, ready[1].context, 0);
	sched->stage = 1;
	while (sched->stage < 2)
		usleep(1000);
	go(sched);
}

/* What it owned is given back in front of the others, and says so. */
TEST_F(gone, owned_workers_are_orphans)
{
	struct ums_ready ready[NR];

	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	self->sched.fn = own_run_and_go;
	for (int i = 0; i < 3; i++)
		START(i, i == 1 ? ums_work_spin : ums_work_return);
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	ASSERT_TRUE(WAIT_FOR(self->sched.stage == 1));
	START(3, ums_work_return);
	self->sched.stage = 2;
	AWAIT_END();
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(3, ums_take(self->fd, self->clist, 0, SOON_NS, ready, NR));
	EXPECT_EQ(TID(0), ready[0].context);
	EXPECT_EQ(UMS_READY_ORPHANED, ready[0].why);
	EXPECT_EQ(1000, ready[0].cookie);
	EXPECT_EQ(TID(2), ready[1].context);
	EXPECT_EQ(UMS_READY_ORPHANED, ready[1].why);
	EXPECT_EQ(1002, ready[1].cookie);
	EXPECT_EQ(TID(3), ready[2].context);
	EXPECT_EQ(UMS_READY_NEW, ready[2].why);

	/* The running one runs on, and its end is on the list. */
	EXPECT_EQ(UMS_STATE_RUNNING, ums_state(self->fd, TID(1)));
	self->workers[1].stage = 2;
	TAKE(1, UMS_READY_TERMINATED);
	EXPECT_EQ(1001, self->ready.cookie);
	EXPECT_NO_NOTES();
}

static void spin_block_and_yield(struct ums_worker *worker)
{
	ums_work_spin(worker);
	ums_nap_us(1000);
	worker->stage = 3;
	ums_worker_yield(worker, 5);
	worker->stage = 4;
}

static void run_and_go(struct ums_sched *sched)
{
	struct ums_ready ready;
	pid_t context = ums_take_one(sched->fd, sched->clist, &ready);

	ums_run_interrupted(sched->fd, context, 0);
	go(sched);
}

/* Nobody wants to know of the sleep of a worker whose scheduler has left. */
TEST_F(gone, orphan_blocks_unnoticed)
{
	struct ums_query query;

	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	START(0, spin_block_and_yield);
	SCHEDULE(run_and_go);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	self->workers[0].stage = 2;
	TAKE(0, UMS_READY_YIELDED);
	EXPECT_EQ(3, GET(self->workers[0].stage));
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(0, query.blocks);
	EXPECT_EQ(1, query.yields);
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_NOTES();
}

/* It is preempted onto its list, and nobody gets an event. */
TEST_F(gone, orphan_is_preempted)
{
	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	START(0, ums_work_spin);
	SCHEDULE(run_and_go);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(UMS_STATE_RUNNING, ums_state(self->fd, TID(0)));
	EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
	TAKE(0, UMS_READY_PREEMPTED);
	EXPECT_NO_EVENT(self->fd);
	self->workers[0].stage = 2;
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_NOTES();
}

/* The slice was the scheduler's. */
static void run_with_slice_and_go(struct ums_sched *sched)
{
	struct ums_ready ready;
	pid_t context = ums_take_one(sched->fd, sched->clist, &ready);

	ums_run_interrupted(sched->fd, context, 2 * QUIET_NS);
	go(sched);
}

TEST_F(gone, slice_ends_with_scheduler)
{
	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	START(0, ums_work_spin);
	SCHEDULE(run_with_slice_and_go);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	/* On a slow machine it was over before the scheduler had gone. */
	if (ums_take(self->fd, self->clist, 0, 4 * QUIET_NS, &self->ready,
		     1) != 1) {
		EXPECT_EQ(UMS_STATE_RUNNING, ums_state(self->fd, TID(0)));
		EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
		TAKE(0, UMS_READY_PREEMPTED);
	}
	EXPECT_EQ(UMS_READY_PREEMPTED, self->ready.why);
	self->workers[0].stage = 2;
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/*
 * Death in a sleep.  A debugger that wants to see the exit holds the thread in
 * the middle of it, so it blocks there and never comes back.
 */
struct dying {
	pid_t child;
	int hold;		/* until closed */
};

static int trace_exit(struct dying *dying, pid_t tid)
{
	int up[2], down[2];
	char byte = 0;

	if (pipe(up) || pipe(down))
		return -errno;
	dying->child = ums_fork_tracer();
	if (!dying->child) {
		int status;

		close(up[0]);
		close(down[1]);
		TRACE(ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACEEXIT));
		if (write(up[1], &byte, 1) != 1)
			_exit(202);
		status = ums_wait_for_stop(tid);
		if (status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8))
			_exit(203);
		if (read(down[0], &byte, 1))
			_exit(204);
		TRACE(ptrace(PTRACE_CONT, tid, 0, 0));
		TRACE(waitpid(tid, &status, __WALL));
		_exit(WIFEXITED(status) ? 0 : 205);
	}
	close(up[1]);
	close(down[0]);
	dying->hold = down[1];
	return read(up[0], &byte, 1) == 1 ? 0 : -EIO;
}

static int let_die(struct dying *dying)
{
	close(dying->hold);
	return ums_wait_child(dying->child);
}

static void *let_die_later(void *arg)
{
	ums_sleep_ms(QUIET_MS);
	CHECK_EQ(0, let_die(arg));
	return NULL;
}

static void raw_exit(struct ums_worker *worker)
{
	worker->stage = 1;
	syscall(SYS_exit, 0);
}

FIXTURE(orphan) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_worker workers[NR];
	struct ums_sched sched;
	struct ums_ready kept[NR];
	struct dying dying;
};

FIXTURE_SETUP(orphan)
{
	SETUP_CLIST(return);
	PREPARE();
	go = go_by_leaving;
}

FIXTURE_TEARDOWN(orphan)
{
	close(self->fd);
}

/* Invariant 5: to the scheduler that last ran it. */
TEST_F(orphan, dies_blocked)
{
	struct ums_event event;

	START(0, raw_exit);
	ASSERT_EQ(0, trace_exit(&self->dying, TID(0)));
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	TAKE(0, UMS_READY_NEW);
	ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	EXPECT_EQ(THREAD_BLOCKED, event.type);
	EXPECT_EQ(SYS_exit, event.blocked_params.cause);
	EXPECT_EQ(UMS_STATE_BLOCKED, ums_state(self->fd, TID(0)));
	EXPECT_NO_EVENT(self->fd);
	EXPECT_EQ(0, let_die(&self->dying));
	ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(TID(0), event.end_params.context);
	/* Not on the list besides. */
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_EQ(-ESRCH, ums_state(self->fd, TID(0)));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_NO_NOTES();
}

/*
 * The same again and again, while its scheduler looks for the event, waits for
 * it, waits for other workers, runs one, or leaves.  One debugger does it all.
 */
enum sched_kind { SCHED_LOOKS, SCHED_TAKES, SCHED_RUNS, SCHED_LEAVES };

FIXTURE(dying) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_worker workers[2];
	int up[2];
	int down[2];
	pid_t tracer;
};

FIXTURE_VARIANT(dying) {
	enum sched_kind kind;
};

FIXTURE_VARIANT_ADD(dying, scheduler_looks) { SCHED_LOOKS };
FIXTURE_VARIANT_ADD(dying, scheduler_takes) { SCHED_TAKES };
FIXTURE_VARIANT_ADD(dying, scheduler_runs_other) { SCHED_RUNS };
FIXTURE_VARIANT_ADD(dying, scheduler_leaves) { SCHED_LEAVES };

/* Reads a thread's id, later for how long to hold it in its exit. */
static void trace_exits(int in, int out)
{
	pid_t tid;
	long turns;
	int status;

	while (read(in, &tid, sizeof(tid)) == sizeof(tid)) {
		TRACE(ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACEEXIT));
		if (write(out, "", 1) != 1)
			_exit(202);
		status = ums_wait_for_stop(tid);
		if (status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8))
			_exit(203);
		if (read(in, &turns, sizeof(turns)) != sizeof(turns))
			_exit(204);
		ums_spin_turns(turns);
		TRACE(ptrace(PTRACE_CONT, tid, 0, 0));
		TRACE(waitpid(tid, &status, __WALL));
	}
	_exit(0);
}

FIXTURE_SETUP(dying)
{
	SETUP_CLIST(return);
	for (int i = 0; i < 2; i++)
		self->workers[i].granted = LOTS;
	ASSERT_EQ(0, pipe(self->up));
	ASSERT_EQ(0, pipe(self->down));
	self->tracer = ums_fork_tracer();
	ASSERT_LE(0, self->tracer);
	if (!self->tracer) {
		close(self->down[1]);
		trace_exits(self->down[0], self->up[1]);
	}
}

FIXTURE_TEARDOWN(dying)
{
	close(self->fd);
}

/* Waits for the end of the one that dies, the only thing that may come. */
#define EXPECT_END(tid)							\
	do {								\
		struct ums_event __ev;					\
									\
		ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &__ev));	\
		ASSERT_EQ(THREAD_TERMINATED, __ev.type);		\
		ASSERT_EQ(tid, ums_event_context(&__ev));		\
	} while (0)

TEST_F_TIMEOUT(dying, against_its_scheduler, LONG_TEST)
{
	struct ums_aim aim = { .turns = 100000, .seed = 1 };
	struct ums_ready ready;
	struct ums_event event;
	pid_t untold = 0;
	char byte;

	if (variant->kind == SCHED_RUNS) {
		START(1, ums_work_yield_forever);
		ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
						   ENTER_UMS_BLOCK_EVENTS |
						   ENTER_UMS_KEEP));
		TAKE(1, UMS_READY_NEW);
	} else {
		ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
						   ENTER_UMS_BLOCK_EVENTS));
	}
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		long turns = ums_aim_turns(&aim);
		int ret = 0;
		pid_t tid;

		/* Its death against the scheduler's next step. */
		START(0, raw_exit);
		tid = TID(0);
		ASSERT_EQ(sizeof(tid), write(self->down[1], &tid, sizeof(tid)));
		ASSERT_EQ(1, read(self->up[0], &byte, 1));
		ret = ums_take_one(self->fd, self->clist, &self->ready);
		if (ret == untold) {
			/* The list was told a little after the death. */
			ASSERT_EQ(UMS_READY_TERMINATED, self->ready.why);
			ret = ums_take_one(self->fd, self->clist, &self->ready);
		}
		ASSERT_EQ(tid, ret);
		ASSERT_EQ(0, ums_run(self->fd, tid, 0, &event));
		ASSERT_EQ(THREAD_BLOCKED, event.type);
		ASSERT_EQ(SYS_exit, event.blocked_params.cause);
		EXPECT_NO_EVENT(self->fd);
		turns = -turns;
		ASSERT_EQ(sizeof(turns), write(self->down[1], &turns,
					       sizeof(turns)));
		ums_spin_turns(-turns);
		switch (variant->kind) {
		case SCHED_LOOKS:
			ret = ums_wait(self->fd, UMS_NONBLOCK, 0, &event);
			if (ret == -EAGAIN)
				EXPECT_END(tid);
			break;
		case SCHED_TAKES:
			ret = ums_take(self->fd, self->clist, UMS_NONBLOCK, 0,
				       &ready, 1);
			/* An event was there, or ends the wait. */
			if (ret == -EAGAIN)
				ASSERT_EQ(0, ums_take(self->fd, self->clist, 0,
						      SOON_NS, &ready, 1));
			EXPECT_END(tid);
			break;
		case SCHED_RUNS:
			ASSERT_EQ(0, ums_run(self->fd, TID(1), 0, &event));
			ret = ums_event_context(&event) == tid ? 0 : -EAGAIN;
			ASSERT_EQ(ret ? THREAD_YIELD : THREAD_TERMINATED,
				  event.type);
			ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &event));
			ASSERT_EQ(ret ? tid : TID(1),
				  ums_event_context(&event));
			break;
		case SCHED_LEAVES:
			ASSERT_EQ(0, ums_exit(self->fd));
			ASSERT_TRUE(WAIT_FOR(ums_state(self->fd, tid) ==
					     -ESRCH));
			ret = ums_become_sched_with(self->fd, self->clist,
						    ENTER_UMS_BLOCK_EVENTS);
			ASSERT_EQ(0, ret);
			/* Told to the one that left, or lies on the list. */
			untold = tid;
			ret = ums_take(self->fd, self->clist, 0, 2000000,
				       &ready, 1) == 1 ? -EAGAIN : 0;
			if (ret) {
				ASSERT_EQ(tid, ready.context);
				ASSERT_EQ(UMS_READY_TERMINATED, ready.why);
				untold = 0;
			}
			break;
		}
		if (ret)
			ASSERT_EQ(-EAGAIN, ret);
		/* First: the scheduler, which waits longer then. */
		ums_aim_correct(&aim, ret);
		EXPECT_NO_EVENT(self->fd);
		if (!untold)
			EXPECT_NO_WORKER(self->fd, self->clist);
		EXPECT_EQ(-ESRCH, ums_state(self->fd, tid));
		pthread_join(self->workers[0].thread, NULL);
	}
	close(self->down[1]);
	EXPECT_CHILD_OK(self->tracer);
	EXPECT_BOTH(&aim, RACE_LOOPS);
	EXPECT_NO_NOTES();
}

/* The last one is not the one that dequeued it, nor one that waits. */
static void run_and_wait_for_end(struct ums_sched *sched)
{
	struct ums_event event;

	CHECK_EQ(0, ums_run(sched->fd, *(pid_t *)sched->arg, 0, &event));
	CHECK_EQ(THREAD_BLOCKED, event.type);
	sched->stage = 1;
	CHECK_EQ(0, ums_wait(sched->fd, 0, SOON_NS, &event));
	CHECK_EQ(THREAD_TERMINATED, event.type);
	CHECK_EQ(*(pid_t *)sched->arg, event.end_params.context);
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F(orphan, dies_blocked_under_other_scheduler)
{
	pid_t tid;

	START(0, raw_exit);
	tid = TID(0);
	ASSERT_EQ(0, trace_exit(&self->dying, tid));
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	TAKE(0, UMS_READY_NEW);
	self->sched.fn = run_and_wait_for_end;
	self->sched.arg = &tid;
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	ASSERT_TRUE(WAIT_FOR(self->sched.stage == 1));
	EXPECT_EQ(0, let_die(&self->dying));
	pthread_join(self->sched.thread, NULL);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_NOTES();
}

/* A scheduler that waits for other workers hears of it. */
TEST_F(orphan, death_ends_wait_for_list)
{
	struct ums_event event;
	pthread_t thread;

	START(0, raw_exit);
	ASSERT_EQ(0, trace_exit(&self->dying, TID(0)));
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	TAKE(0, UMS_READY_NEW);
	RUN_TO(0, THREAD_BLOCKED);
	ASSERT_EQ(0, pthread_create(&thread, NULL, let_die_later,
				    &self->dying));
	/* No context, but an event. */
	EXPECT_EQ(0, ums_take(self->fd, self->clist, 0, 0, &self->ready, 1));
	ASSERT_EQ(0, ums_wait(self->fd, UMS_NONBLOCK, 0, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	pthread_join(thread, NULL);
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_NOTES();
}

/* Both are gone: the list tells the next one who asks. */
TEST_F(orphan, dies_blocked_without_scheduler)
{
	struct ums_event event;

	START(0, raw_exit);
	ASSERT_EQ(0, trace_exit(&self->dying, TID(0)));
	SCHEDULE(run_to_block_and_go);
	EXPECT_EQ(UMS_STATE_BLOCKED, ums_state(self->fd, TID(0)));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, let_die(&self->dying));
	/* One that waits is woken. */
	TAKE(0, UMS_READY_TERMINATED);
	EXPECT_EQ(1000, self->ready.cookie);
	/* It is not owned, and told once. */
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, TID(0)));
	EXPECT_EQ(-ESRCH, ums_run(self->fd, TID(0), 0, &event));
	EXPECT_EQ(-ESRCH, ums_state(self->fd, TID(0)));
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/* The scheduler that ran it has left and entered anew: it is another one. */
TEST_F(orphan, dies_blocked_and_scheduler_is_back)
{
	struct ums_event event;

	START(0, raw_exit);
	ASSERT_EQ(0, trace_exit(&self->dying, TID(0)));
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	TAKE(0, UMS_READY_NEW);
	ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	ASSERT_EQ(THREAD_BLOCKED, event.type);
	ASSERT_EQ(0, ums_exit(self->fd));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, let_die(&self->dying));
	TAKE(0, UMS_READY_TERMINATED);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/*
 * Corpses.  A worker that one scheduler owns is run by another one, which it
 * signals out of the call.  That one leaves, and the worker ends by itself.
 */
static atomic_int sched_left;

static void outlive_scheduler(struct ums_worker *worker)
{
	CHECK_EQ(0, tgkill(getpid(), worker->value, SIGUSR1));
	while (!sched_left)
		sched_yield();
}

/* Takes as many as the test wants, and keeps them. */
static void keep_workers(struct ums_sched *sched)
{
	struct ums_ready *ready = sched->arg;
	int got = 0, count = sched->stage;

	while (got < count) {
		int ret = ums_take(sched->fd, sched->clist, 0, SOON_NS,
				   ready + got, count - got);

		if (!CHECK(ret > 0))
			break;
		got += ret;
	}
	sched->stage = -1;
	while (sched->stage == -1)
		usleep(1000);
	CHECK_EQ(0, ums_exit(sched->fd));
}

static int make_corpse(struct ums_worker *worker)
{
	int ret = ums_become_sched(worker->fd, worker->clist);
	struct ums_event event;
	pid_t tid = worker->tid;

	if (ret)
		return ret;
	sched_left = 0;
	worker->value = gettid();
	ret = ums_run(worker->fd, tid, 0, &event);
	if (ret != -EINTR)
		return ret ?: -EPROTO;
	ret = ums_exit(worker->fd);
	sched_left = 1;
	pthread_join(worker->thread, NULL);
	if (!WAIT_FOR(ums_state(worker->fd, tid) == -ESRCH))
		return -ETIMEDOUT;
	return ret;
}

/* The first @count workers, owned by another scheduler. */
#define KEEP_WORKERS(count)						\
	do {								\
		int __count = (count);					\
									\
		ASSERT_EQ(0, ums_catch(SIGUSR1, 0));			\
		for (int __i = 0; __i < __count; __i++)			\
			START(__i, outlive_scheduler);			\
		self->sched.fn = keep_workers;				\
		self->sched.arg = self->kept;				\
		self->sched.stage = __count;				\
		ASSERT_EQ(0, ums_sched_start(&self->sched));		\
		ASSERT_TRUE(WAIT_FOR(self->sched.stage == -1));		\
	} while (0)

/* They come before the living, in the order of their deaths. */
TEST_F(orphan, corpses_come_first)
{
	struct ums_ready ready[NR] = {};

	KEEP_WORKERS(3);
	START(3, ums_work_return);
	ASSERT_EQ(0, make_corpse(&self->workers[1]));
	ASSERT_EQ(0, make_corpse(&self->workers[0]));
	ASSERT_EQ(0, make_corpse(&self->workers[2]));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(2, ums_take(self->fd, self->clist, 0, SOON_NS, ready, 2));
	ASSERT_EQ(2, ums_take(self->fd, self->clist, 0, SOON_NS, ready + 2,
			      NR - 2));
	EXPECT_EQ(TID(1), ready[0].context);
	EXPECT_EQ(1001, ready[0].cookie);
	EXPECT_EQ(TID(0), ready[1].context);
	EXPECT_EQ(1000, ready[1].cookie);
	EXPECT_EQ(TID(2), ready[2].context);
	EXPECT_EQ(1002, ready[2].cookie);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(UMS_READY_TERMINATED, ready[i].why);
	EXPECT_EQ(TID(3), ready[3].context);
	EXPECT_EQ(UMS_READY_NEW, ready[3].why);
	/* The living one is owned, the dead are not. */
	EXPECT_EQ(0, ums_next(self->fd, TID(3)));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(2)));
	/* All of them are told once. */
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_NOTES();
}

/* A dead one alone is an answer too: no waiting for the living. */
TEST_F(orphan, corpse_wakes_waiting_scheduler)
{
	pthread_t thread;

	START(0, raw_exit);
	ASSERT_EQ(0, trace_exit(&self->dying, TID(0)));
	SCHEDULE(run_to_block_and_go);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, pthread_create(&thread, NULL, let_die_later,
				    &self->dying));
	ASSERT_EQ(1, ums_take(self->fd, self->clist, 0, 0, &self->ready, 1));
	EXPECT_EQ(TID(0), self->ready.context);
	EXPECT_EQ(UMS_READY_TERMINATED, self->ready.why);
	pthread_join(thread, NULL);
	EXPECT_NO_NOTES();
}

/* A pointer that is bad leaves them there. */
TEST_F(orphan, corpses_survive_bad_pointer)
{
	KEEP_WORKERS(2);
	START(3, ums_work_return);
	ASSERT_EQ(0, make_corpse(&self->workers[1]));
	ASSERT_EQ(0, make_corpse(&self->workers[0]));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, ums_take(self->fd, self->clist, 0, 0, NULL,
					    NR));
	TAKE(1, UMS_READY_TERMINATED);
	EXPECT_EQ(1001, self->ready.cookie);
	TAKE(0, UMS_READY_TERMINATED);
	TAKE(3, UMS_READY_NEW);
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_NOTES();
}

/* The old call cannot tell the dead from the living, so it never shows them. */
TEST_F(orphan, classic_dequeue_drops_corpses)
{
	KEEP_WORKERS(2);
	ASSERT_EQ(0, make_corpse(&self->workers[0]));
	ASSERT_EQ(0, make_corpse(&self->workers[1]));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	/* Alone they are no reason for it to return. */
	EXPECT_WAITS(ums_dequeue(self->fd, self->clist));
	START(3, ums_work_return);
	EXPECT_EQ(TID(3), ums_dequeue(self->fd, self->clist));
	EXPECT_EQ(0, ums_next(self->fd, TID(3)));
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_NOTES();
}

TEST_F(orphan, corpses_do_not_keep_list)
{
	int other = ums_create(self->fd);

	KEEP_WORKERS(1);
	ASSERT_EQ(0, make_corpse(&self->workers[0]));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	ASSERT_EQ(0, ums_become_sched(self->fd, other));
	EXPECT_EQ(-EINVAL, ums_take(self->fd, self->clist, UMS_NONBLOCK, 0,
				    &self->ready, 1));
	EXPECT_NO_NOTES();
}

/* One whose end was told is no corpse. */
TEST_F(orphan, told_ends_leave_no_corpses)
{
	for (int i = 0; i < 3; i++)
		START(i, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 3; i++) {
		TAKE(i, UMS_READY_NEW);
		RUN_TO(i, THREAD_TERMINATED);
	}
	ums_sleep_ms(QUIET_MS);
	EXPECT_NO_WORKER(self->fd, self->clist);
}

/* Invariant 10: what nobody reads is bounded. */
static struct ums_worker many[UMS_MAX_CORPSES];
static struct ums_ready many_ready[UMS_MAX_CORPSES];

TEST_F_TIMEOUT(orphan, corpses_are_bounded, LONG_TEST)
{
	int other = ums_create(self->fd), count;
	struct ums_worker *worker = &self->workers[0];

	ASSERT_LT(0, other);
	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	self->sched.fn = keep_workers;
	self->sched.arg = many_ready;
	self->sched.stage = UMS_MAX_CORPSES;
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	for (count = 0; count < UMS_MAX_CORPSES; count++) {
		many[count].granted = LOTS;
		if (ums_worker_create(&many[count], self->fd, self->clist,
				      outlive_scheduler))
			break;
	}
	if (count < UMS_MAX_CORPSES)
		SKIP(return, "needs room for 1024 threads");
	ASSERT_TRUE(WAIT_FOR(self->sched.stage == -1));
	for (int i = 0; i < UMS_MAX_CORPSES; i++)
		ASSERT_EQ(0, make_corpse(&many[i]));

	/* No more workers here, but elsewhere. */
	ASSERT_EQ(0, ums_worker_create(worker, self->fd, self->clist,
				       ums_work_return));
	ASSERT_TRUE(WAIT_FOR(worker->entered != 1));
	EXPECT_EQ(-ENOMEM, GET(worker->entered));
	pthread_join(worker->thread, NULL);
	EXPECT_EQ(-ENOMEM, ums_enter(self->fd, ENTER_UMS_WORK, self->clist,
				     0));
	ASSERT_EQ(0, ums_worker_start(&self->workers[2], self->fd, other,
				      ums_work_return));

	/* Once one is read there is room for one. */
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(GET(many[0].tid),
		  ums_take_one(self->fd, self->clist, &self->ready));
	EXPECT_EQ(UMS_READY_TERMINATED, self->ready.why);
	START(3, ums_work_return);
	EXPECT_EQ(UMS_MAX_CORPSES, ums_take(self->fd, self->clist, 0, 0,
					    many_ready, UMS_MAX_CORPSES));
	EXPECT_EQ(TID(3), many_ready[UMS_MAX_CORPSES - 1].context);
	EXPECT_EQ(UMS_READY_NEW, many_ready[UMS_MAX_CORPSES - 1].why);
	EXPECT_NO_NOTES();
}

/*
 * A worker is cancelled in its sleep: its library makes it end, which is user
 * code, so it ends when it is executed.
 */
static void sleep_cancelled(struct ums_worker *worker)
{
	char byte;

	worker->stage = 1;
	CHECK(!read(worker->value, &byte, 1));
	CHECK(!"cancelled");
}

FIXTURE(cancel) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(cancel) {
	bool block_events;
};

FIXTURE_VARIANT_ADD(cancel, block_events) { true };
FIXTURE_VARIANT_ADD(cancel, classic) { false };

FIXTURE_SETUP(cancel)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
}

FIXTURE_TEARDOWN(cancel)
{
	close(self->fd);
}

static void *cancel_later(void *arg)
{
	struct ums_worker *worker = arg;

	CHECK(WAIT_FOR(worker->stage == 1 && ums_is_parked(worker->tid)));
	CHECK_EQ(0, pthread_cancel(worker->thread));
	return NULL;
}

TEST_F(cancel, while_blocked)
{
	struct ums_event event;
	pthread_t thread;
	void *result;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	self->workers[0].value = pipes[0];
	START(0, sleep_cancelled);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->block_events ?
					   ENTER_UMS_BLOCK_EVENTS : 0));
	TAKE(0, UMS_READY_NEW);
	ASSERT_EQ(0, pthread_create(&thread, NULL, cancel_later,
				    &self->workers[0]));
	ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	pthread_join(thread, NULL);
	if (variant->block_events) {
		ASSERT_EQ(THREAD_BLOCKED, event.type);
		EXPECT_EQ(SYS_read, event.blocked_params.cause);
		TAKE(0, UMS_READY_UNBLOCKED);
		ums_sleep_ms(QUIET_MS);
		EXPECT_TRUE(ums_is_parked(TID(0)));
		EXPECT_NO_EVENT(self->fd);
		ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	}
	/* On its way out it may sleep in a lock of the process. */
	while (event.type == THREAD_BLOCKED) {
		TAKE(0, UMS_READY_UNBLOCKED);
		ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	}
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(TID(0), event.end_params.context);
	EXPECT_EQ(0, pthread_join(self->workers[0].thread, &result));
	EXPECT_EQ(PTHREAD_CANCELED, result);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_NOTES();
}

/*
 * The process ends while workers are blocked.
 */
enum end_kind {
	END_SIGNAL, END_EXIT, END_SCHED_EXIT, END_WORKER_EXIT, END_EXEC,
};

FIXTURE(process) {
	int fd;
};

FIXTURE_VARIANT(process) {
	enum end_kind kind;
	int sig;
	int status;		/* as waitpid() has it */
};

FIXTURE_VARIANT_ADD(process, sigkill) { END_SIGNAL, SIGKILL, SIGKILL };
FIXTURE_VARIANT_ADD(process, sigterm) { END_SIGNAL, SIGTERM, SIGTERM };
FIXTURE_VARIANT_ADD(process, sigsegv) { END_SIGNAL, SIGSEGV, SIGSEGV };
FIXTURE_VARIANT_ADD(process, exit_group) { END_EXIT, 0, 7 << 8 };
FIXTURE_VARIANT_ADD(process, exit_group_by_scheduler) {
	END_SCHED_EXIT, 0, 7 << 8,
};

FIXTURE_VARIANT_ADD(process, exit_group_by_worker) {
	END_WORKER_EXIT, 0, 7 << 8,
};

FIXTURE_VARIANT_ADD(process, execve) { END_EXEC, 0, 0 };

FIXTURE_SETUP(process)
{
	SETUP_FD(return);
}

FIXTURE_TEARDOWN(process)
{
	close(self->fd);
}

static struct {
	enum end_kind kind;
	char helper[PATH_MAX];
	atomic_int ready;
} ending;

static void end_as_worker(struct ums_worker *worker)
{
	_exit(7);
}

static void nap_for_ever(struct ums_worker *worker)
{
	for (long i = 0;; i++)
		ums_nap_us(i % 100);
}

/* Four sleep, two sleep and wake all the time, and a few wait. */
static void schedule_sleepers(struct ums_sched *sched)
{
	struct ums_event event;
	struct ums_ready ready;
	int blocks = 0;

	while (1) {
		int context = ums_take_one(sched->fd, sched->clist, &ready);

		if (context == -EINTR || context == -ETIMEDOUT)
			continue;
		if (context < 0)
			_exit(60);
		if (ums_run(sched->fd, context, 50000, &event) == -EINTR)
			ums_event_wait(sched->fd, &event);
		if (event.type == THREAD_BLOCKED && ++blocks == 40) {
			ending.ready = 1;
			if (ending.kind == END_SCHED_EXIT)
				_exit(7);
		}
	}
}

static void live_with_sleepers(void)
{
	static struct ums_worker workers[7];
	static struct ums_sched sched;
	int fd = ums_open(), clist, pipes[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	if (fd < 0 || pipe(pipes))
		_exit(50);
	clist = ums_create(fd);
	for (int i = 0; i < 6; i++) {
		workers[i].granted = LOTS;
		workers[i].value = pipes[0];
		if (ums_worker_start(&workers[i], fd, clist,
				     i < 4 ? sleep_cancelled : nap_for_ever))
			_exit(51);
	}
	sched = (struct ums_sched) {
		.fn = schedule_sleepers, .cpu = -1, .fd = fd, .clist = clist,
		.flags = ENTER_UMS_BLOCK_EVENTS,
	};
	if (ums_sched_start(&sched))
		_exit(52);
	while (!ending.ready)
		usleep(100);
	switch (ending.kind) {
	case END_EXIT:
		_exit(7);
	case END_EXEC:
		execl(ending.helper, ending.helper, "none", NULL);
		_exit(53);
	case END_WORKER_EXIT:
		workers[6].granted = LOTS;
		ums_worker_create(&workers[6], fd, clist, end_as_worker);
		break;
	default:
		break;
	}
	while (1)
		pause();
}

/*
 * A round is a process of nine threads and takes 20 ms and more, so the rounds
 * are few; together the variants make a thousand, with those of exit_test.
 * Fault caught: a sleeper that nothing can end, or what it leaves behind.
 */
TEST_F_TIMEOUT(process, ends_with_blocked_workers, LONG_TEST)
{
	unsigned long loops = ums_loops(20);

	ums_helper(ending.helper, "ums_exec_helper");
	ASSERT_EQ(0, access(ending.helper, X_OK));
	ending.kind = variant->kind;
	for (unsigned long i = 0; i < loops; i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			if (variant->sig != SIGKILL)
				signal(variant->sig ?: SIGTERM, SIG_DFL);
			close(self->fd);
			live_with_sleepers();
		}
		if (variant->kind == END_SIGNAL) {
			/* It has opened the device and is busy somewhere. */
			ASSERT_TRUE(WAIT_FOR(ums_exists(UMS_PROC "/%d/workers",
							child)));
			usleep(5000 + i * 1000);
			ASSERT_EQ(0, kill(child, variant->sig));
		}
		ASSERT_EQ(variant->status, ums_wait_child(child));
		EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", child)));
	}
}

TEST_HARNESS_MAIN
