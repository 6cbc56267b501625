// SPDX-License-Identifier: GPL-2.0
/* Completion lists: order, waiting, ownership, sharing and deletion. */
#include "ums_fixture.h"

#define NR	6

FIXTURE(complist) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	pid_t got[NR];
};

FIXTURE_SETUP(complist)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(complist)
{
	close(self->fd);
}

TEST_F(complist, first_in_first_out)
{
	for (int i = 0; i < NR; i++)
		START(i, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	for (int i = 0; i < NR - 1; i++)
		EXPECT_EQ(TID(i + 1), ums_next(self->fd, TID(i)));
	EXPECT_EQ(0, ums_next(self->fd, TID(NR - 1)));
	/* One call has taken them all. */
	EXPECT_WAITS(ums_dequeue(self->fd, self->clist));
}

/* Fault caught: a yielding worker is put at the head. */
TEST_F(complist, yield_goes_to_tail)
{
	struct ums_event event;

	self->workers[0].value = 3;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	START(1, ums_work_return);
	START(2, ums_work_return);
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 3));
	EXPECT_EQ(TID(1), self->got[0]);
	EXPECT_EQ(TID(2), self->got[1]);
	EXPECT_EQ(TID(0), self->got[2]);
}

/* A worker belongs to its list for good, whatever list a scheduler named. */
TEST_F(complist, yield_goes_to_own_list)
{
	int other = ums_create(self->fd);
	struct ums_event event;

	ASSERT_LT(0, other);
	self->workers[0].value = 3;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, other));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		EXPECT_EQ(THREAD_YIELD, event.type);
		EXPECT_WAITS(ums_dequeue(self->fd, other));
	}
	EXPECT_EQ(-EBUSY, ums_delete(self->fd, self->clist));
	EXPECT_EQ(0, ums_delete(self->fd, other));
}

TEST_F(complist, lists_are_separate)
{
	int lists[3];

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 3; i++) {
		lists[i] = ums_create(self->fd);
		ASSERT_LT(0, lists[i]);
		ASSERT_EQ(0, ums_worker_start(&self->workers[i], self->fd,
					      lists[i], ums_work_return));
	}
	EXPECT_WAITS(ums_dequeue(self->fd, self->clist));
	for (int i = 2; i >= 0; i--)
		EXPECT_EQ(TID(i), ums_dequeue(self->fd, lists[i]));
	/* What was taken from all of them is one chain. */
	EXPECT_EQ(TID(1), ums_next(self->fd, TID(2)));
	EXPECT_EQ(TID(0), ums_next(self->fd, TID(1)));
	EXPECT_EQ(0, ums_next(self->fd, TID(0)));
}

static void dequeue_one(struct ums_sched *sched)
{
	sched->stage = 1;
	sched->ret = ums_dequeue(sched->fd, sched->clist);
	sched->stage = 2;
	while (sched->stage != 3)
		usleep(1000);
	CHECK_EQ(0, ums_exit(sched->fd));
}

#define DEQUEUER(list)							\
	((struct ums_sched) {						\
		.fn = dequeue_one, .cpu = -1, .fd = self->fd,		\
		.clist = list,						\
	})

/* Fault caught: the wake-up of a waiting scheduler is forgotten. */
TEST_F(complist, dequeue_waits_for_worker)
{
	struct ums_sched sched = DEQUEUER(self->clist);

	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1 && ums_is_parked(sched.tid)));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(1, GET(sched.stage));
	START(0, ums_work_return);
	ASSERT_TRUE(WAIT_FOR(sched.stage == 2));
	EXPECT_EQ(TID(0), sched.ret);
	sched.stage = 3;
	pthread_join(sched.thread, NULL);
	EXPECT_NO_NOTES();
}

TEST_F(complist, dequeue_appends)
{
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	START(0, ums_work_return);
	START(1, ums_work_return);
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	START(2, ums_work_return);
	START(3, ums_work_return);
	/* The first of the new ones. */
	EXPECT_EQ(TID(2), ums_dequeue(self->fd, self->clist));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(TID(i + 1), ums_next(self->fd, TID(i)));
	EXPECT_EQ(0, ums_next(self->fd, TID(3)));
}

/* What a scheduler owns already is no reason to return. */
TEST_F(complist, dequeue_waits_beside_owned)
{
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	START(0, ums_work_return);
	START(1, ums_work_return);
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_WAITS(ums_dequeue(self->fd, self->clist));
	/* The interrupted call has not touched them. */
	EXPECT_EQ(TID(1), ums_next(self->fd, TID(0)));
	EXPECT_EQ(0, ums_next(self->fd, TID(1)));
}

TEST_F(complist, next_after_exec)
{
	struct ums_event event;

	for (int i = 0; i < 4; i++)
		START(i, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 4));

	/* Out of the middle, from the head, from the tail. */
	ASSERT_EQ(0, ums_run_once(self->fd, TID(1), &event));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(1)));
	EXPECT_EQ(TID(2), ums_next(self->fd, TID(0)));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	EXPECT_EQ(TID(3), ums_next(self->fd, TID(2)));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(3), &event));
	EXPECT_EQ(0, ums_next(self->fd, TID(2)));
}

TEST_F(complist, next_of_unowned)
{
	struct ums_event event;

	self->workers[0].value = 1;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	/* Queued. */
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, 0));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, -1));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, INT_MAX));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, NOT_A_WORKER));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, gettid()));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	if (sizeof(long) > 4) {
		unsigned long high = 1UL << (sizeof(long) * 8 - 16);

		EXPECT_EQ(-ESRCH, ums_next(self->fd, high | TID(0)));
	}
	EXPECT_EQ(0, ums_next(self->fd, TID(0)));
	/* Queued again, then dead. */
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
}

/* Fault caught: any scheduler walks what another one owns. */
TEST_F(complist, next_of_other_scheduler)
{
	struct ums_sched sched = DEQUEUER(self->clist);

	START(0, ums_work_return);
	START(1, ums_work_return);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 2));
	ASSERT_EQ(TID(0), sched.ret);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(1)));
	sched.stage = 3;
	pthread_join(sched.thread, NULL);
	EXPECT_NO_NOTES();
}

TEST_F(complist, delete_with_workers_is_busy)
{
	struct ums_worker *worker = &self->workers[0];
	struct ums_event event;

	/* Queued. */
	START(0, ums_work_spin);
	EXPECT_EQ(-EBUSY, ums_delete(self->fd, self->clist));
	/* Dequeued. */
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_EQ(-EBUSY, ums_delete(self->fd, self->clist));
	/* Running. */
	EXPECT_WAITS(ums_exec(self->fd, TID(0)));
	EXPECT_EQ(1, GET(worker->stage));
	EXPECT_EQ(-EBUSY, ums_delete(self->fd, self->clist));
	worker->stage = 2;
	ASSERT_EQ(0, ums_event_wait(self->fd, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, self->clist));
}

static void leave_and_wait(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_exit(worker->fd));
	while (worker->stage != 2)
		usleep(1000);
}

/* A thread that has left keeps nothing. */
TEST_F(complist, delete_after_worker_left)
{
	struct ums_event event;

	START(0, leave_and_wait);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	self->workers[0].stage = 2;
	pthread_join(self->workers[0].thread, NULL);
	EXPECT_NO_NOTES();
}

TEST_F(complist, delete_ignores_schedulers)
{
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_EQ(-EINVAL, ums_dequeue(self->fd, self->clist));
	/* It goes on with other lists. */
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	START(0, ums_work_return);
	EXPECT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
}

#define WAITERS 8

/* Fault caught: some of the waiting schedulers sleep on for ever. */
TEST_F(complist, delete_ends_waiting)
{
	struct ums_sched scheds[WAITERS];
	struct ums_sched other;
	int list = ums_create(self->fd);

	ASSERT_LT(0, list);
	other = DEQUEUER(list);
	ASSERT_EQ(0, ums_sched_start(&other));
	for (int i = 0; i < WAITERS; i++) {
		scheds[i] = DEQUEUER(self->clist);
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
	}
	for (int i = 0; i < WAITERS; i++)
		ASSERT_TRUE(WAIT_FOR(scheds[i].stage == 1 &&
				     ums_is_parked(scheds[i].tid)));
	ASSERT_TRUE(WAIT_FOR(other.stage == 1 && ums_is_parked(other.tid)));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	for (int i = 0; i < WAITERS; i++) {
		ASSERT_TRUE(WAIT_FOR(scheds[i].stage == 2));
		EXPECT_EQ(-EIDRM, scheds[i].ret);
		scheds[i].stage = 3;
		pthread_join(scheds[i].thread, NULL);
	}
	/* Those of another list wait on. */
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(1, GET(other.stage));
	EXPECT_EQ(0, ums_delete(self->fd, list));
	ASSERT_TRUE(WAIT_FOR(other.stage == 2));
	EXPECT_EQ(-EIDRM, other.ret);
	other.stage = 3;
	pthread_join(other.thread, NULL);
	EXPECT_NO_NOTES();
}

/*
 * Invariant 8: a worker that comes wakes one of the waiting schedulers, and
 * the others do not even look.
 */
TEST_F_TIMEOUT(complist, one_wakeup_per_worker, LONG_TEST)
{
	struct ums_sched scheds[WAITERS];
	long switches[WAITERS];
	bool done[WAITERS] = {};

	for (int i = 0; i < WAITERS; i++) {
		scheds[i] = DEQUEUER(self->clist);
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
	}
	for (int i = 0; i < WAITERS; i++)
		ASSERT_TRUE(WAIT_FOR(scheds[i].stage == 1 &&
				     ums_is_parked(scheds[i].tid)));
	ums_sleep_ms(QUIET_MS);
	for (int i = 0; i < WAITERS; i++)
		switches[i] = ums_task_status(scheds[i].tid,
					      "voluntary_ctxt_switches", 10);

	for (int round = 0; round < NR; round++) {
		int returned = 0;

		START(round, ums_work_return);
		ums_sleep_ms(QUIET_MS);
		for (int i = 0; i < WAITERS; i++) {
			if (done[i])
				continue;
			if (scheds[i].stage == 2) {
				done[i] = true;
				returned++;
				EXPECT_EQ(TID(round), scheds[i].ret);
				continue;
			}
			EXPECT_EQ(switches[i],
				  ums_task_status(scheds[i].tid,
						  "voluntary_ctxt_switches",
						  10));
		}
		EXPECT_EQ(1, returned);
	}
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < WAITERS; i++)
		scheds[i].stage = 3;
	/* Two schedulers still wait; the other six have left their workers. */
	EXPECT_NO_NOTES();
}

#define SHARERS 3
#define SHARED_YIELDS 400

/* Each worker is in one place: no two schedulers ever get it at once. */
TEST_F_TIMEOUT(complist, shared_by_schedulers, LONG_TEST)
{
	struct ums_sched scheds[SHARERS];
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist,
		.workers = self->workers, .nr_workers = NR, .live = NR,
	};

	for (int i = 0; i < NR; i++) {
		self->workers[i].granted = 0;
		self->workers[i].value = ums_loops(SHARED_YIELDS);
		START(i, ums_work_yield);
	}
	for (int i = 0; i < SHARERS; i++) {
		scheds[i] = (struct ums_sched) { .run = &run, .cpu = -1 };
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
	}
	for (int i = 0; i < SHARERS; i++)
		pthread_join(scheds[i].thread, NULL);
	EXPECT_EQ(NR * ums_loops(SHARED_YIELDS), GET(run.yields));
	EXPECT_EQ(NR, GET(run.ends));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

struct storm {
	struct ums_sched *scheds;
	atomic_int stop;
};

static void *signal_schedulers(void *arg)
{
	struct storm *storm = arg;

	while (!storm->stop) {
		for (int i = 0; i < 2; i++)
			tgkill(getpid(), storm->scheds[i].tid, SIGUSR1);
		usleep(300);
	}
	return NULL;
}

/* One that looks for no work after a signal until another one has found it. */
static void schedule_and_pause(struct ums_sched *sched)
{
	struct ums_test_run *run = sched->run;

	while (run->live) {
		unsigned long seen = run->yields;
		pid_t context = ums_dequeue(run->fd, run->clist);

		if (context == -EINTR)
			CHECK(WAIT_FOR(run->yields != seen || !run->live));
		else if (context > 0)
			CHECK_EQ(0, ums_run_contexts(run, &context, 1));
		else if (!CHECK(!run->live))
			return;
	}
}

/*
 * A scheduler that is woken for a worker and interrupted at the same time must
 * pass the wake-up on.  Fault caught: the worker waits although another
 * scheduler does too.
 */
TEST_F_TIMEOUT(complist, interrupted_wakeup_is_passed_on, LONG_TEST)
{
	struct ums_sched scheds[3];
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist,
		.workers = self->workers, .nr_workers = 1, .live = 1,
	};
	struct storm storm = { .scheds = scheds };
	pthread_t thread;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	for (int i = 0; i < 3; i++) {
		/* The last one gets no signals, so one always can take it. */
		scheds[i] = (struct ums_sched) {
			.run = &run, .cpu = -1,
			.fn = i < 2 ? schedule_and_pause : NULL,
		};
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
	}
	for (int i = 0; i < 3; i++)
		ASSERT_TRUE(WAIT_FOR(scheds[i].tid));
	/* Now: it may soon be over, and the list gone. */
	self->workers[0].granted = 0;
	self->workers[0].value = RACE_LOOPS;
	START(0, ums_work_yield);
	ASSERT_EQ(0, pthread_create(&thread, NULL, signal_schedulers, &storm));
	pthread_join(scheds[2].thread, NULL);
	storm.stop = 1;
	pthread_join(thread, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(scheds[i].thread, NULL);
	EXPECT_EQ(RACE_LOOPS, GET(run.yields));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

static void run_until_told(struct ums_sched *sched)
{
	struct ums_event event;
	int context;

	while ((context = ums_dequeue(sched->fd, sched->clist)) > 0)
		CHECK_EQ(0, ums_run_once(sched->fd, context, &event));
	/* The list is deleted when the worker is joined. */
	CHECK(context == -EIDRM || context == -EINVAL);
	CHECK_EQ(0, ums_exit(sched->fd));
}

/* Fault caught: a worker that has been joined still keeps its list. */
TEST_F_TIMEOUT(complist, delete_after_join, LONG_TEST)
{
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		struct ums_sched sched = {
			.fn = run_until_told, .cpu = -1, .fd = self->fd,
			.clist = self->clist,
		};

		ASSERT_EQ(0, ums_worker_create(&self->workers[0], self->fd,
					       self->clist, ums_work_return));
		ASSERT_EQ(0, ums_sched_start(&sched));
		pthread_join(self->workers[0].thread, NULL);
		ASSERT_EQ(0, ums_delete(self->fd, self->clist));
		pthread_join(sched.thread, NULL);
		self->clist = ums_create(self->fd);
		ASSERT_LT(0, self->clist);
	}
	EXPECT_NO_NOTES();
}

struct give_back {
	int fd;
	int clist;
	atomic_ulong faults;
};

/* Dequeues to where nothing can be written, all the time. */
static void *take_and_give_back(void *arg)
{
	struct give_back *give = arg;
	struct ums_dequeue_clist *dq;
	int ret;

	dq = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(dq != MAP_FAILED);
	dq->clist = give->clist;
	CHECK_EQ(0, mprotect(dq, 4096, PROT_READ));
	CHECK_EQ(0, ums_become_sched(give->fd, give->clist));
	do {
		ret = ums_call(give->fd, IOCTL_DEQUEUE_UMS_CLIST,
			       (uintptr_t)dq);
		give->faults += ret == -EFAULT;
	} while (ret == -EFAULT);
	CHECK(ret == -EIDRM || ret == -EINVAL);
	return NULL;
}

/* Fault caught: what a failed dequeue gives back is lost, or wakes nobody. */
TEST_F_TIMEOUT(complist, give_back_race, LONG_TEST)
{
	struct give_back give = { .fd = self->fd, .clist = self->clist };
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist,
		.workers = self->workers, .nr_workers = 3, .live = 3,
	};
	pthread_t thread;

	for (int i = 0; i < 3; i++) {
		self->workers[i].granted = 0;
		self->workers[i].value = RACE_LOOPS / 2;
		START(i, ums_work_yield);
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, take_and_give_back, &give));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&run));
	pthread_join(thread, NULL);
	TH_LOG("given back %lu times", GET(give.faults));
	EXPECT_SOME(GET(give.faults));
	EXPECT_EQ(3 * (RACE_LOOPS / 2), GET(run.yields));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

struct delete_race {
	int fd;
	atomic_int clist;
	atomic_ulong round;
	atomic_ulong over;	/* rounds, counted by both */
	atomic_long turns;	/* how long the one that enters waits */
	unsigned long loops;
};

static void *enter_racer(void *arg)
{
	struct delete_race *race = arg;
	unsigned long seen = 0;

	while (seen < race->loops) {
		int ret;

		while (race->round == seen)
			sched_yield();
		seen = race->round;
		ums_spin_turns(race->turns);
		ret = ums_enter(race->fd, ENTER_UMS_WORK, race->clist, 0);
		if (!ret)
			CHECK_EQ(0, ums_exit(race->fd));
		else
			CHECK_EQ(-EINVAL, ret);
		race->over++;
	}
	return NULL;
}

static void *delete_racer(void *arg)
{
	struct delete_race *race = arg;
	unsigned long seen = 0;

	while (seen < race->loops) {
		int ret;

		while (race->round == seen)
			sched_yield();
		seen = race->round;
		ums_spin_turns(-race->turns);
		do {
			ret = ums_delete(race->fd, race->clist);
		} while (ret == -EBUSY);
		CHECK_EQ(0, ret);
		race->over++;
	}
	return NULL;
}

/*
 * A list is deleted while a worker enters it and a scheduler waits for it:
 * either the worker gets in, is run and leaves, or the list is gone for all.
 */
TEST_F_TIMEOUT(complist, delete_race, LONG_TEST)
{
	struct delete_race race = { .fd = self->fd, .loops = RACE_LOOPS };
	pthread_t enters, deletes;
	struct ums_aim aim = { .seed = 1 };
	unsigned long ran = 0;
	struct ums_event event;
	int context;

	ASSERT_EQ(0, pthread_create(&enters, NULL, enter_racer, &race));
	ASSERT_EQ(0, pthread_create(&deletes, NULL, delete_racer, &race));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (unsigned long i = 0; i < race.loops; i++) {
		unsigned long before = ran;

		race.clist = ums_create(self->fd);
		ASSERT_LT(0, GET(race.clist));
		race.turns = ums_aim_turns(&aim);
		race.round = i + 1;
		while ((context = ums_dequeue(self->fd, race.clist)) > 0) {
			ASSERT_EQ(0, ums_run_once(self->fd, context, &event));
			ASSERT_EQ(THREAD_TERMINATED, event.type);
			ran++;
		}
		if (context != -EINVAL)
			ASSERT_EQ(-EIDRM, context);
		ASSERT_TRUE(WAIT_FOR(race.over == 2 * (i + 1)));
		ums_aim_correct(&aim, ran > before);
	}
	pthread_join(enters, NULL);
	pthread_join(deletes, NULL);
	EXPECT_EQ(aim.first, ran);
	EXPECT_BOTH(&aim, race.loops);
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
