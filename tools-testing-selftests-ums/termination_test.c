// SPDX-License-Identifier: GPL-2.0
/* How workers and schedulers end, and what is left to the others. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "ums_fixture.h"

#define NR	6

/*
 * Invariant 3: a worker may end in any way, and each is one THREAD_TERMINATED.
 */
static void end_by_return(struct ums_worker *worker)
{
	worker->stage = 1;
}

static void end_by_pthread_exit(struct ums_worker *worker)
{
	worker->stage = 1;
	pthread_exit(NULL);
}

static void end_by_cancelling_itself(struct ums_worker *worker)
{
	worker->stage = 1;
	pthread_cancel(pthread_self());
	pthread_testcancel();
	CHECK(!"cancelled");
}

/* No library and no kernel exit path of a polite program. */
static void end_by_raw_exit(struct ums_worker *worker)
{
	worker->stage = 1;
	syscall(SYS_exit, 0);
}

static void end_by_leaving(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_exit(worker->fd));
	worker->stage = 1;
}

static void end_by_leaving_and_raw_exit(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_exit(worker->fd));
	worker->stage = 1;
	syscall(SYS_exit, 0);
}

/* A signal that ends this thread and no other. */
static void die_by_signal(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(filter), filter };

	CHECK_EQ(0, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK_EQ(0, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0));
	syscall(SYS_getppid);
	CHECK(!"killed");
}

static void end_by_signal(struct ums_worker *worker)
{
	worker->stage = 1;
	die_by_signal();
}

FIXTURE(ways) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
};

FIXTURE_VARIANT(ways) {
	void (*end)(struct ums_worker *worker);
	bool seccomp;
};

FIXTURE_VARIANT_ADD(ways, return) { .end = end_by_return };

FIXTURE_VARIANT_ADD(ways, pthread_exit) { .end = end_by_pthread_exit };

FIXTURE_VARIANT_ADD(ways, pthread_cancel) { .end = end_by_cancelling_itself };

FIXTURE_VARIANT_ADD(ways, raw_exit) { .end = end_by_raw_exit };

FIXTURE_VARIANT_ADD(ways, leave) { .end = end_by_leaving };

FIXTURE_VARIANT_ADD(ways, leave_and_raw_exit) {
	.end = end_by_leaving_and_raw_exit,
};

FIXTURE_VARIANT_ADD(ways, signal) { .end = end_by_signal, .seccomp = true };

FIXTURE_SETUP(ways)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(ways)
{
	close(self->fd);
}

static bool have_seccomp(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) &&
	       errno == EFAULT;
}

TEST_F(ways, one_event)
{
	struct ums_event event;

	if (variant->seccomp && !have_seccomp())
		SKIP(return, "needs CONFIG_SECCOMP_FILTER");
	START(0, variant->end);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_EQ(0, ums_exec(self->fd, TID(0)));
	/* One that has left is beside us by now. */
	EXPECT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(TID(0), event.end_params.context);

	/* Nothing is left of it, nothing more comes. */
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d/workers/%d", getpid(), TID(0)));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, TID(0)));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_NO_NOTES();
}

/* The same after some yields, with others beside it. */
static void (*end_later)(struct ums_worker *worker);

static void yield_then_end(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++)
		ums_worker_yield(worker, i);
	end_later(worker);
}

TEST_F(ways, after_yields)
{
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = NR, .live = NR,
	};

	if (variant->seccomp && !have_seccomp())
		SKIP(return, "needs CONFIG_SECCOMP_FILTER");
	end_later = variant->end;
	for (int i = 0; i < NR; i++) {
		self->workers[i].granted = 0;
		self->workers[i].value = i * 3;
		START(i, yield_then_end);
	}
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&run));
	EXPECT_EQ(NR * (NR - 1) / 2 * 3, GET(run.yields));
	EXPECT_EQ(NR, GET(run.ends));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

/* It ends while its scheduler is out on a signal, or in another wait. */
static void spin_then_end(struct ums_worker *worker)
{
	ums_work_spin(worker);
	end_later(worker);
}

TEST_F(ways, while_scheduler_is_interrupted)
{
	struct ums_event event;

	if (variant->seccomp && !have_seccomp())
		SKIP(return, "needs CONFIG_SECCOMP_FILTER");
	end_later = variant->end;
	START(0, spin_then_end);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_WAITS(ums_exec(self->fd, TID(0)));
	self->workers[0].stage = 2;
	ASSERT_EQ(0, ums_event_wait(self->fd, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(TID(0), event.end_params.context);
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_NO_NOTES();
}

FIXTURE(termination) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	pid_t got[NR];
};

FIXTURE_SETUP(termination)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(termination)
{
	close(self->fd);
}

static atomic_int go_on;

static void leave_and_go_on(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_exit(worker->fd));
	CHECK_EQ(-ESRCH, ums_yield(worker->fd, 0));
	/* Beside the scheduler now. */
	worker->stage = 1;
	while (!go_on)
		usleep(1000);
	worker->stage = 2;
}

TEST_F(termination, left_worker_runs_beside_scheduler)
{
	struct ums_event event;

	START(0, leave_and_go_on);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	go_on = 1;
	EXPECT_TRUE(WAIT_FOR(self->workers[0].stage == 2));
	pthread_join(self->workers[0].thread, NULL);
	/* Its end is not reported once more. */
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_NO_NOTES();
}

static void leave_and_reenter(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		ums_worker_yield(worker, i);
		CHECK_EQ(0, ums_exit(worker->fd));
		CHECK_EQ(0, ums_enter(worker->fd, ENTER_UMS_WORK,
				      worker->clist, 0));
	}
}

/* Fault caught: something of the first life stays and harms the second. */
TEST_F_TIMEOUT(termination, leave_and_reenter, LONG_TEST)
{
	struct ums_event event;

	self->workers[0].value = RACE_LOOPS;
	START(0, leave_and_reenter);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (long i = 0; i < self->workers[0].value; i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		ASSERT_EQ(THREAD_YIELD, event.type);
		ASSERT_EQ(i, event.yield_params.scheduler_params);
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		ASSERT_EQ(THREAD_TERMINATED, event.type);
	}
	EXPECT_NO_NOTES();
}

/* Threads that are born, run once and die: their ids come again and again. */
TEST_F_TIMEOUT(termination, short_lives, LONG_TEST)
{
	struct ums_worker *worker = &self->workers[0];
	struct ums_event event;
	unsigned long loops = RACE_LOOPS;

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (unsigned long i = 0; i < loops; i++) {
		pid_t tid;

		ASSERT_EQ(0, ums_worker_create(worker, self->fd, self->clist,
					       i & 1 ? end_by_return :
						       end_by_raw_exit));
		tid = ums_dequeue(self->fd, self->clist);
		ASSERT_EQ(TID(0), tid);
		ASSERT_EQ(0, ums_exec(self->fd, tid));
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		ASSERT_EQ(THREAD_TERMINATED, event.type);
		ASSERT_EQ(tid, event.end_params.context);
		ASSERT_EQ(1, GET(worker->stage));
		pthread_join(worker->thread, NULL);
	}
	EXPECT_NO_NOTES();
}

static void wait_for_cancel(struct ums_worker *worker)
{
	int old;

	pthread_setcanceltype((long)worker->arg, &old);
	worker->stage = 1;
	ums_worker_yield(worker, 1);
	pthread_testcancel();
	CHECK(!"cancelled");
}

/*
 * A parked worker is cancelled: it ends when it is executed next, and not
 * before.  With asynchronous cancellation a signal waits for it.
 */
static void cancel_while_parked(struct __test_metadata *_metadata, int fd,
				int clist, struct ums_worker *worker)
{
	struct ums_event event;
	void *result;

	ASSERT_EQ(0, ums_worker_start(worker, fd, clist, wait_for_cancel));
	ASSERT_EQ(0, ums_become_sched(fd, clist));
	ASSERT_EQ(GET(worker->tid), ums_dequeue(fd, clist));
	ASSERT_EQ(0, ums_run_once(fd, worker->tid, &event));
	ASSERT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(0, pthread_cancel(worker->thread));
	EXPECT_WAITS(ums_dqevent(fd, &event));
	ASSERT_EQ(GET(worker->tid), ums_dequeue(fd, clist));
	ASSERT_EQ(0, ums_run_once(fd, worker->tid, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(0, pthread_join(worker->thread, &result));
	EXPECT_EQ(PTHREAD_CANCELED, result);
	EXPECT_NO_NOTES();
}

TEST_F(termination, cancelled_while_parked)
{
	self->workers[0].arg = (void *)(long)PTHREAD_CANCEL_DEFERRED;
	cancel_while_parked(_metadata, self->fd, self->clist,
			    &self->workers[0]);
}

TEST_F(termination, cancelled_while_parked_asynchronously)
{
	self->workers[0].arg = (void *)(long)PTHREAD_CANCEL_ASYNCHRONOUS;
	cancel_while_parked(_metadata, self->fd, self->clist,
			    &self->workers[0]);
}

/*
 * Invariant 6: a scheduler ends.
 */
static void sched_ends_by_leaving(struct ums_sched *sched)
{
	CHECK_EQ(0, ums_exit(sched->fd));
	sched->stage = 10;
	/* A plain thread now, to which nothing comes. */
	CHECK_EQ(-ESRCH, ums_dequeue(sched->fd, sched->clist));
}

static void sched_ends_by_return(struct ums_sched *sched)
{
}

static void sched_ends_by_pthread_exit(struct ums_sched *sched)
{
	pthread_exit(NULL);
}

static void sched_ends_by_raw_exit(struct ums_sched *sched)
{
	syscall(SYS_exit, 0);
}

static void sched_ends_by_signal(struct ums_sched *sched)
{
	die_by_signal();
}

FIXTURE(sched_ends) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	pid_t got[NR];
};

FIXTURE_VARIANT(sched_ends) {
	void (*end)(struct ums_sched *sched);
};

FIXTURE_VARIANT_ADD(sched_ends, leave) { sched_ends_by_leaving };

FIXTURE_VARIANT_ADD(sched_ends, return) { sched_ends_by_return };

FIXTURE_VARIANT_ADD(sched_ends, pthread_exit) { sched_ends_by_pthread_exit };

FIXTURE_VARIANT_ADD(sched_ends, raw_exit) { sched_ends_by_raw_exit };

FIXTURE_VARIANT_ADD(sched_ends, killed) { sched_ends_by_signal };

FIXTURE_SETUP(sched_ends)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(sched_ends)
{
	close(self->fd);
}

static void (*sched_end)(struct ums_sched *sched);

/* Takes what is there, executes the second of them, is interrupted, and ends. */
static void own_run_and_end(struct ums_sched *sched)
{
	struct ums_tick tick;
	pid_t got[4];

	CHECK_EQ(0, ums_collect(sched->fd, sched->clist, got, 4));
	CHECK_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR2, 20000, 20000));
	CHECK_EQ(-EINTR, ums_exec(sched->fd, got[1]));
	ums_tick_stop(&tick);
	sched->stage = 1;
	while (sched->stage < 2)
		usleep(1000);
	sched_end(sched);
}

TEST_F(sched_ends, with_running_and_owned_workers)
{
	struct ums_sched sched = {
		.fn = own_run_and_end, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	struct ums_event event;
	pid_t tid;

	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	sched_end = variant->end;
	for (int i = 0; i < 4; i++)
		START(i, i == 1 ? ums_work_spin : end_by_return);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1));
	tid = sched.tid;
	/* One that waits on the list already. */
	START(4, end_by_return);
	sched.stage = 2;
	pthread_join(sched.thread, NULL);
	ASSERT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d/schedulers/%d", getpid(),
					 tid)));

	/* What it owned is at the head of the list, in order. */
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 4));
	EXPECT_EQ(TID(0), self->got[0]);
	EXPECT_EQ(TID(2), self->got[1]);
	EXPECT_EQ(TID(3), self->got[2]);
	EXPECT_EQ(TID(4), self->got[3]);

	/* Its running worker runs on, and ends without an event to anybody. */
	EXPECT_EQ(1, GET(self->workers[1].stage));
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(1)));
	self->workers[1].stage = 2;
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d/workers/%d", getpid(),
					 TID(1))));
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, ums_run_once(self->fd, self->got[i], &event));
		EXPECT_EQ(self->got[i], event.end_params.context);
	}
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_NO_NOTES();
}

static void spin_then_yields(struct ums_worker *worker)
{
	ums_work_spin(worker);
	for (long i = 0; i < 3; i++)
		ums_worker_yield(worker, 100 + i);
}

/* Executes one, is interrupted, and ends. */
static void run_and_end(struct ums_sched *sched)
{
	struct ums_tick tick;
	pid_t context = ums_dequeue(sched->fd, sched->clist);

	CHECK_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR2, 20000, 20000));
	CHECK_EQ(-EINTR, ums_exec(sched->fd, context));
	ums_tick_stop(&tick);
	sched_end(sched);
}

/* The orphan yields to nobody, goes to its list, and another one takes it. */
TEST_F(sched_ends, running_worker_goes_to_list)
{
	struct ums_sched sched = {
		.fn = run_and_end, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	struct ums_event event;

	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	sched_end = variant->end;
	START(0, spin_then_yields);
	ASSERT_EQ(0, ums_sched_start(&sched));
	pthread_join(sched.thread, NULL);
	ASSERT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d/schedulers/%d", getpid(),
					 GET(sched.tid))));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_WAITS(ums_dequeue(self->fd, self->clist));
	self->workers[0].stage = 2;
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	/* The first yield is gone with the scheduler; these are ours. */
	for (int i = 1; i < 3; i++) {
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		EXPECT_EQ(THREAD_YIELD, event.type);
		EXPECT_EQ(100 + i, event.yield_params.scheduler_params);
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	}
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_NO_NOTES();
}

static void leave_events_unread(struct ums_sched *sched)
{
	pid_t context;

	for (int i = 0; i < 5; i++) {
		context = ums_dequeue(sched->fd, sched->clist);
		CHECK_EQ(0, ums_exec(sched->fd, context));
	}
	sched_end(sched);
}

/* Unread events go with the scheduler; the worker is well. */
TEST_F(sched_ends, with_unread_events)
{
	struct ums_sched sched = {
		.fn = leave_events_unread, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	struct ums_event event;

	sched_end = variant->end;
	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_sched_start(&sched));
	pthread_join(sched.thread, NULL);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(5, event.yield_params.scheduler_params);
	EXPECT_NO_NOTES();
}

/* Takes what is there, and ends once the main thread waits for the list. */
static void own_wait_and_end(struct ums_sched *sched)
{
	CHECK(ums_dequeue(sched->fd, sched->clist) > 0);
	sched->stage = 1;
	CHECK(WAIT_FOR(sched->stage == 2 && ums_is_parked(getpid())));
	ums_sleep_ms(QUIET_MS);
	sched_end(sched);
}

/* Fault caught: workers come back to a list, and nobody is told. */
TEST_F(sched_ends, wakes_who_waits_for_the_list)
{
	struct ums_sched sched = {
		.fn = own_wait_and_end, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};

	sched_end = variant->end;
	for (int i = 0; i < 3; i++)
		START(i, end_by_return);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	sched.stage = 2;
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 3));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(TID(i), self->got[i]);
	EXPECT_NO_NOTES();
}

/*
 * Schedulers take, execute and leave at random, three at a time; nothing is
 * lost: every yield of the workers happens, and all of them end.
 */
struct churn {
	int fd;
	int clist;
	atomic_int live;
	atomic_ulong runs;
};

static void *take_and_leave(void *arg)
{
	struct churn *churn = arg;
	unsigned int seed = gettid();
	struct ums_event event;

	while (churn->live > 0) {
		int context, run, ret;

		ret = ums_become_sched(churn->fd, churn->clist);
		/* The list is gone with the last worker. */
		if (ret == -EINVAL && !churn->live)
			break;
		CHECK_EQ(0, ret);
		context = ums_dequeue(churn->fd, churn->clist);
		run = rand_r(&seed) % 4;
		while (context > 0 && run--) {
			int next = ums_next(churn->fd, context);

			CHECK_EQ(0, ums_run_once(churn->fd, context, &event));
			churn->runs++;
			if (event.type == THREAD_TERMINATED &&
			    churn->live-- == 1)
				CHECK_EQ(0, ums_delete(churn->fd,
						       churn->clist));
			context = next;
		}
		if (context < 0)
			CHECK(!churn->live);
		CHECK_EQ(0, ums_exit(churn->fd));
		if (context == -EINVAL || context == -EIDRM)
			break;
	}
	return NULL;
}

static void yield_unaccounted(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++)
		CHECK_EQ(0, ums_yield(worker->fd, i));
}

TEST_F_TIMEOUT(termination, schedulers_come_and_go, LONG_TEST)
{
	struct churn churn = { self->fd, self->clist, .live = NR };
	pthread_t threads[3];

	for (int i = 0; i < NR; i++) {
		self->workers[i].value = RACE_LOOPS / 4;
		START(i, yield_unaccounted);
	}
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, take_and_leave,
					    &churn));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(0, GET(churn.live));
	EXPECT_EQ(NR * (RACE_LOOPS / 4 + 1), GET(churn.runs));
	EXPECT_NO_NOTES();
}

struct exit_race {
	struct ums_gate gate;
	unsigned long loops;
	atomic_int context;
	atomic_ulong wins;
	atomic_long turns;	/* how long the one that executes waits */
};

static void exec_what_the_other_owns(struct ums_sched *sched)
{
	struct exit_race *race = sched->arg;
	struct ums_event event;

	for (unsigned long i = 0; i < race->loops; i++) {
		int ret;

		ums_gate_pass(&race->gate, 2, 2 * i);
		ums_spin_turns(race->turns);
		ret = ums_exec(sched->fd, race->context);
		if (!ret) {
			CHECK_EQ(0, ums_dqevent(sched->fd, &event));
			CHECK_EQ(race->context, ums_event_context(&event));
			race->wins++;
		} else {
			CHECK_EQ(-EBUSY, ret);
		}
		ums_gate_pass(&race->gate, 2, 2 * i + 1);
	}
	CHECK_EQ(0, ums_exit(sched->fd));
}

/* The owner leaves while another one executes what it owns. */
TEST_F_TIMEOUT(termination, owner_leaves_during_exec, LONG_TEST)
{
	struct exit_race race = { .loops = RACE_LOOPS };
	struct ums_sched sched = {
		.fn = exec_what_the_other_owns, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = &race,
	};
	struct ums_aim aim = { .seed = 1 };

	START(0, ums_work_yield_forever);
	race.context = self->workers[0].tid;
	ASSERT_EQ(0, ums_sched_start(&sched));
	for (unsigned long i = 0; i < race.loops; i++) {
		unsigned long wins;
		long turns;

		ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		wins = race.wins;
		turns = ums_aim_turns(&aim);
		race.turns = -turns;
		ums_gate_pass(&race.gate, 2, 2 * i);
		ums_spin_turns(turns);
		ASSERT_EQ(0, ums_exit(self->fd));
		ums_gate_pass(&race.gate, 2, 2 * i + 1);
		ums_aim_correct(&aim, race.wins == wins);
	}
	pthread_join(sched.thread, NULL);
	EXPECT_BOTH(&aim, race.loops);
	EXPECT_EQ(aim.last, GET(race.wins));
	EXPECT_EQ(GET(race.wins), GET(self->workers[0].used));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
