// SPDX-License-Identifier: GPL-2.0
/*
 * IOCTL_UMS_DEQUEUE: what it takes and says of it, how it waits, and that
 * nothing is lost whatever ends the wait.
 */
#include "ums_fixture.h"

#define NR	6

FIXTURE(dequeue) {
	int fd;
	int clist;
	struct ums_ready ready[NR + 2];
	struct ums_event event;
	struct ums_worker workers[NR];
};

FIXTURE_SETUP(dequeue)
{
	SETUP_CLIST(return);
	for (int i = 0; i < NR; i++) {
		self->workers[i].granted = LOTS;
		self->workers[i].cookie = 100 + i;
	}
}

FIXTURE_TEARDOWN(dequeue)
{
	if (self->fd >= 0)
		close(self->fd);
}

#define TAKE_SOME(nr)							\
	ums_take(self->fd, self->clist, 0, SOON_NS, self->ready, nr)

#define EXPECT_READY(entry, i, reason)					\
	do {								\
		struct ums_ready *__r = &self->ready[entry];		\
		int __i = (i);						\
									\
		EXPECT_EQ(TID(__i), __r->context);			\
		EXPECT_EQ(reason, __r->why);				\
		EXPECT_EQ(100 + __i, __r->cookie);			\
	} while (0)

TEST_F(dequeue, oldest_first)
{
	for (int i = 0; i < NR; i++)
		START(i, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	memset(self->ready, 0xa5, sizeof(self->ready));
	ASSERT_EQ(NR, TAKE_SOME(NR + 2));
	for (int i = 0; i < NR; i++)
		EXPECT_READY(i, i, UMS_READY_NEW);
	/* What is not used is not written. */
	EXPECT_EQ(0xa5a5a5a5, self->ready[NR].why);
	/* All of them are owned, in this order. */
	for (int i = 0; i < NR - 1; i++)
		EXPECT_EQ(TID(i + 1), ums_next(self->fd, TID(i)));
	EXPECT_EQ(0, ums_next(self->fd, TID(NR - 1)));
	EXPECT_NO_WORKER(self->fd, self->clist);
}

/* Fault caught: what there is no room for is taken all the same. */
TEST_F(dequeue, no_more_than_room)
{
	for (int i = 0; i < NR; i++)
		START(i, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	memset(self->ready, 0xa5, sizeof(self->ready));
	ASSERT_EQ(2, TAKE_SOME(2));
	EXPECT_READY(0, 0, UMS_READY_NEW);
	EXPECT_READY(1, 1, UMS_READY_NEW);
	EXPECT_EQ(0xa5a5a5a5, self->ready[2].why);
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(2)));
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(2)));
	ASSERT_EQ(1, TAKE_SOME(1));
	EXPECT_READY(0, 2, UMS_READY_NEW);
	/* The classic call takes the rest, and appends it. */
	ASSERT_EQ(TID(3), ums_dequeue(self->fd, self->clist));
	for (int i = 0; i < NR - 1; i++)
		EXPECT_EQ(TID(i + 1), ums_next(self->fd, TID(i)));
	EXPECT_EQ(0, ums_next(self->fd, TID(NR - 1)));
}

/* It is the list that sets the limit, not the memory for so large a number. */
TEST_F(dequeue, more_room_than_there_can_be)
{
	for (int i = 0; i < 4; i++)
		START(i, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(1, TAKE_SOME(1));
	ASSERT_EQ(3, TAKE_SOME(1 << 20));
	EXPECT_READY(2, 3, UMS_READY_NEW);
	START(4, ums_work_return);
	ASSERT_EQ(1, TAKE_SOME(INT_MAX));
	EXPECT_READY(0, 4, UMS_READY_NEW);
	START(5, ums_work_return);
	ASSERT_EQ(1, TAKE_SOME(UINT_MAX));
	EXPECT_READY(0, 5, UMS_READY_NEW);
}

static void be_of_all_kinds(struct ums_worker *worker)
{
	ums_worker_yield(worker, 1);
	/* So long that it sleeps, however slow the machine is. */
	ums_nap_us(QUIET_MS * 1000);
	worker->stage = 1;
	while (worker->stage == 1)
		;
}

/* Each reason, and the cookie with each. */
TEST_F(dequeue, reasons)
{
	START(0, be_of_all_kinds);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	ASSERT_EQ(1, TAKE_SOME(NR));
	EXPECT_READY(0, 0, UMS_READY_NEW);
	RUN(0, 0);
	ASSERT_EQ(THREAD_YIELD, self->event.type);
	ASSERT_EQ(1, TAKE_SOME(NR));
	EXPECT_READY(0, 0, UMS_READY_YIELDED);
	RUN(0, 0);
	ASSERT_EQ(THREAD_BLOCKED, self->event.type);
	ASSERT_EQ(1, TAKE_SOME(NR));
	EXPECT_READY(0, 0, UMS_READY_UNBLOCKED);
	RUN(0, 1000000);
	ASSERT_EQ(THREAD_PREEMPTED, self->event.type);
	ASSERT_EQ(1, TAKE_SOME(NR));
	EXPECT_READY(0, 0, UMS_READY_PREEMPTED);
	/* Given back by a scheduler that leaves. */
	ASSERT_EQ(0, ums_exit(self->fd));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(1, TAKE_SOME(NR));
	EXPECT_READY(0, 0, UMS_READY_ORPHANED);
	RUN(0, 1000000);
	ASSERT_EQ(1, TAKE_SOME(NR));
	EXPECT_READY(0, 0, UMS_READY_PREEMPTED);
	EXPECT_NO_NOTES();
}

static void stop_when_told(struct ums_worker *worker)
{
	char byte;

	ums_worker_yield(worker, 1);
	CHECK_EQ(1, read(worker->value, &byte, 1));
	worker->stage = 1;
	while (worker->stage == 1)
		;
}

/* What comes back goes behind those that wait, whatever stopped it. */
TEST_F(dequeue, stopped_go_to_tail)
{
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	self->workers[0].value = pipes[0];
	START(0, stop_when_told);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	ASSERT_EQ(1, TAKE_SOME(1));
	for (int i = 1; i < 4; i++) {
		static const int whys[] = {
			UMS_READY_NEW, UMS_READY_YIELDED, UMS_READY_UNBLOCKED,
			UMS_READY_PREEMPTED,
		};

		START(i, ums_work_return);
		RUN(0, i == 3 ? 1000000 : 0);
		if (i == 2)
			ASSERT_EQ(1, write(pipes[1], "x", 1));
		ASSERT_TRUE(WAIT_FOR(ums_state(self->fd, TID(0)) ==
				     UMS_STATE_READY));
		ASSERT_EQ(2, TAKE_SOME(NR));
		EXPECT_READY(0, i, UMS_READY_NEW);
		EXPECT_READY(1, 0, whys[i]);
	}
	EXPECT_NO_NOTES();
}

/*
 * A bad pointer gives back all that was taken, in order and with its reason.
 */
TEST_F(dequeue, given_back_as_it_was)
{
	long page = sysconf(_SC_PAGESIZE);
	struct ums_ready *bad;
	char *map;

	START(0, be_of_all_kinds);
	START(1, be_of_all_kinds);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	ASSERT_EQ(2, TAKE_SOME(2));
	RUN(0, 0);
	RUN(1, 0);
	ASSERT_EQ(2, TAKE_SOME(2));
	RUN(1, 0);
	ASSERT_TRUE(WAIT_FOR(ums_state(self->fd, TID(1)) == UMS_STATE_READY));
	START(2, ums_work_return);
	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mprotect(map + page, page, PROT_NONE));
	/* Room for all but the last, for half of it, for none. */
	for (int i = 0; i < 4; i++) {
		bad = (struct ums_ready *)(map + page) - i / 2;
		bad = (struct ums_ready *)((char *)bad - i % 2 * 8);
		EXPECT_EQ(-EFAULT, ums_take(self->fd, self->clist, 0, 0, bad,
					    NR));
		EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(1)));
	}
	/* What is in order is no reason for a fault. */
	bad = (struct ums_ready *)(map + page) - 1;
	START(3, ums_work_return);
	ASSERT_EQ(1, ums_take(self->fd, self->clist, 0, 0, bad, 1));
	EXPECT_EQ(TID(1), bad->context);
	EXPECT_EQ(UMS_READY_UNBLOCKED, bad->why);
	ASSERT_EQ(2, TAKE_SOME(NR));
	EXPECT_READY(0, 2, UMS_READY_NEW);
	EXPECT_READY(1, 3, UMS_READY_NEW);
}

/*
 * Waiting.
 */
TEST_F(dequeue, nonblock)
{
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EAGAIN, ums_take(self->fd, self->clist,
					    UMS_NONBLOCK, 0, self->ready, NR));
	START(0, ums_work_return);
	EXPECT_EQ(1, ums_take(self->fd, self->clist, UMS_NONBLOCK, 0,
			      self->ready, NR));
	EXPECT_READY(0, 0, UMS_READY_NEW);
	EXPECT_EQ(-EAGAIN, ums_take(self->fd, self->clist, UMS_NONBLOCK, 0,
				    self->ready, NR));
}

TEST_F(dequeue, timeout)
{
	static const __u64 timeouts[] = {
		1, 999, 1000 * 1000, QUIET_NS, QUIET_NS + 1,
	};

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++) {
		unsigned long start = ums_now_ns();

		EXPECT_EQ(-ETIMEDOUT, ums_take(self->fd, self->clist, 0,
					       timeouts[i], self->ready, NR));
		EXPECT_LE(timeouts[i], ums_now_ns() - start);
		/* Nanoseconds, and not something longer. */
		EXPECT_GT(SOON_NS, ums_now_ns() - start);
	}
	/* It is no time but a limit. */
	START(0, ums_work_return);
	EXPECT_EQ(1, ums_take(self->fd, self->clist, 0, 1, self->ready, NR));
}

/* Fault caught: a sum with the clock overflows, and the wait ends at once. */
TEST_F(dequeue, longest_timeouts)
{
	static const __u64 timeouts[] = {
		0, LLONG_MAX - 1, LLONG_MAX, 1ULL << 63, ULLONG_MAX,
	};

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++)
		EXPECT_WAITS(ums_take(self->fd, self->clist, 0, timeouts[i],
				      self->ready, NR));
}

struct wait {
	__u64 timeout_ns;
	struct ums_ready ready;
};

static void take_once(struct ums_sched *sched)
{
	struct wait *wait = sched->arg;

	sched->stage = 1;
	sched->ret = ums_take(sched->fd, sched->clist, 0, wait->timeout_ns,
			      &wait->ready, 1);
	sched->stage = 2;
	while (sched->stage != 3)
		usleep(1000);
	/* When the device is closed it has left UMS already. */
	if (sched->ret != -ENODEV)
		CHECK_EQ(0, ums_exit(sched->fd));
}

#define TAKER(wait)							\
	((struct ums_sched) {						\
		.fn = take_once, .cpu = -1, .fd = self->fd,		\
		.clist = self->clist, .arg = wait,			\
	})

#define START_TAKER(sched)						\
	do {								\
		struct ums_sched *__s = (sched);			\
									\
		ASSERT_EQ(0, ums_sched_start(__s));			\
		ASSERT_TRUE(WAIT_FOR(__s->stage == 1 &&			\
				     ums_is_parked(__s->tid)));		\
	} while (0)

#define JOIN_TAKER(sched)						\
	do {								\
		struct ums_sched *__s = (sched);			\
									\
		ASSERT_TRUE(WAIT_FOR(__s->stage == 2));			\
		__s->stage = 3;						\
		pthread_join(__s->thread, NULL);			\
	} while (0)

FIXTURE(waits) {
	int fd;
	int clist;
	struct wait wait;
	struct ums_sched sched;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(waits) {
	__u64 timeout_ns;
};

FIXTURE_VARIANT_ADD(waits, for_ever) { 0 };
FIXTURE_VARIANT_ADD(waits, with_timeout) { 6 * SOON_NS };

FIXTURE_SETUP(waits)
{
	SETUP_CLIST(return);
	self->wait.timeout_ns = variant->timeout_ns;
	self->sched = TAKER(&self->wait);
	START_TAKER(&self->sched);
	ums_sleep_ms(QUIET_MS);
	ASSERT_EQ(1, GET(self->sched.stage));
}

FIXTURE_TEARDOWN(waits)
{
	if (self->fd >= 0)
		close(self->fd);
}

TEST_F(waits, worker_comes)
{
	self->workers[0].cookie = 77;
	START(0, ums_work_return);
	JOIN_TAKER(&self->sched);
	EXPECT_EQ(1, self->sched.ret);
	EXPECT_EQ(TID(0), self->wait.ready.context);
	EXPECT_EQ(UMS_READY_NEW, self->wait.ready.why);
	EXPECT_EQ(77, self->wait.ready.cookie);
	EXPECT_NO_NOTES();
}

TEST_F(waits, list_is_deleted)
{
	ASSERT_EQ(0, ums_delete(self->fd, self->clist));
	JOIN_TAKER(&self->sched);
	EXPECT_EQ(-EIDRM, self->sched.ret);
	EXPECT_NO_NOTES();
}

TEST_F(waits, device_is_closed)
{
	close(self->fd);
	self->fd = -1;
	JOIN_TAKER(&self->sched);
	EXPECT_EQ(-ENODEV, self->sched.ret);
	EXPECT_NO_NOTES();
}

TEST_F(waits, handler_runs)
{
	struct ums_ready ready;

	ASSERT_EQ(0, ums_catch(SIGUSR1, SA_RESTART));
	ASSERT_EQ(0, tgkill(getpid(), GET(self->sched.tid), SIGUSR1));
	JOIN_TAKER(&self->sched);
	EXPECT_EQ(-EINTR, self->sched.ret);
	/* Nothing is lost by it. */
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	START(0, ums_work_return);
	EXPECT_EQ(TID(0), ums_take_one(self->fd, self->clist, &ready));
	EXPECT_NO_NOTES();
}

/* Without an end in sight it goes on as if nothing had happened. */
TEST_F(waits, process_is_stopped)
{
	pid_t child = ums_stop_until_stopped(self->sched.tid);

	ASSERT_LT(0, child);
	EXPECT_CHILD_OK(child);
	if (!variant->timeout_ns) {
		ums_sleep_ms(QUIET_MS);
		EXPECT_EQ(1, GET(self->sched.stage));
	}
	START(0, ums_work_return);
	JOIN_TAKER(&self->sched);
	if (self->sched.ret != 1) {
		EXPECT_EQ(-EINTR, self->sched.ret);
		EXPECT_NE(0, variant->timeout_ns);
	}
	EXPECT_NO_NOTES();
}

/* An event is an answer: the scheduler has something to do. */
static void take_beside_running(struct ums_sched *sched)
{
	struct ums_ready ready;
	struct ums_event event;
	pid_t context = ums_take_one(sched->fd, sched->clist, &ready);

	ums_run_interrupted(sched->fd, context, 0);
	CHECK_EQ(-EAGAIN, ums_take(sched->fd, sched->clist, UMS_NONBLOCK, 0,
				   &ready, 1));
	sched->stage = 1;
	/* Its worker ends, and comes to no list. */
	CHECK_EQ(0, ums_take(sched->fd, sched->clist, 0, SOON_NS, &ready, 1));
	CHECK_EQ(0, ums_take(sched->fd, sched->clist, UMS_NONBLOCK, 0, &ready,
			     1));
	CHECK_EQ(0, ums_take(sched->fd, sched->clist, 0, 0, &ready, 1));
	CHECK_EQ(0, ums_wait(sched->fd, UMS_NONBLOCK, 0, &event));
	CHECK_EQ(THREAD_TERMINATED, event.type);
	CHECK_EQ(-ETIMEDOUT, ums_take(sched->fd, sched->clist, 0, 1000, &ready,
				      1));
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F(dequeue, event_ends_wait)
{
	struct ums_sched sched = {
		.fn = take_beside_running, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};

	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1 && ums_is_parked(sched.tid)));
	self->workers[0].stage = 2;
	pthread_join(sched.thread, NULL);
	EXPECT_NO_NOTES();
}

/* Where there are both, the contexts come. */
TEST_F(dequeue, event_does_not_hide_workers)
{
	START(0, ums_work_return);
	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	EXPECT_EQ(1, TAKE_SOME(NR));
	EXPECT_READY(0, 0, UMS_READY_NEW);
	EXPECT_EQ(0, TAKE_SOME(NR));
	ASSERT_EQ(0, ums_wait(self->fd, UMS_NONBLOCK, 0, &self->event));
	EXPECT_EQ(SCHEDULER_STARTUP, self->event.type);
	EXPECT_NO_WORKER(self->fd, self->clist);
}

/*
 * Invariant 8: one wake-up per worker, with both calls on one list.
 */
#define WAITERS	6

static void take_classic(struct ums_sched *sched)
{
	sched->stage = 1;
	sched->ret = ums_dequeue(sched->fd, sched->clist) > 0 ? 1 : -EIO;
	sched->stage = 2;
	while (sched->stage != 3)
		usleep(1000);
}

TEST_F_TIMEOUT(dequeue, one_wakeup_per_worker, LONG_TEST)
{
	struct wait waits[WAITERS] = {};
	struct ums_sched scheds[WAITERS];
	long switches[WAITERS];
	bool done[WAITERS] = {};

	for (int i = 0; i < WAITERS; i++) {
		waits[i].timeout_ns = i % 2 ? 0 : 6 * SOON_NS;
		scheds[i] = TAKER(&waits[i]);
		if (i % 3 == 2)
			scheds[i].fn = take_classic;
		START_TAKER(&scheds[i]);
	}
	ums_sleep_ms(QUIET_MS);
	for (int i = 0; i < WAITERS; i++)
		switches[i] = ums_task_status(scheds[i].tid,
					      "voluntary_ctxt_switches", 10);
	for (int round = 0; round < 4; round++) {
		int returned = 0;

		START(round, ums_work_return);
		ums_sleep_ms(QUIET_MS);
		for (int i = 0; i < WAITERS; i++) {
			if (done[i])
				continue;
			if (scheds[i].stage == 2) {
				done[i] = true;
				returned++;
				EXPECT_EQ(1, scheds[i].ret);
				continue;
			}
			EXPECT_EQ(switches[i],
				  ums_task_status(scheds[i].tid,
						  "voluntary_ctxt_switches",
						  10));
		}
		EXPECT_EQ(1, returned);
	}
	for (int i = 0; i < WAITERS; i++)
		scheds[i].stage = 3;
	EXPECT_NO_NOTES();
}

/* One that takes few of many leaves the others to those that wait. */
TEST_F(dequeue, rest_is_for_the_others)
{
	struct wait waits[3] = {};
	struct ums_sched scheds[3];

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 3; i++)
		START(i, ums_work_spin);
	ASSERT_EQ(3, TAKE_SOME(3));
	for (int i = 0; i < 3; i++) {
		waits[i].timeout_ns = 6 * SOON_NS;
		scheds[i] = TAKER(&waits[i]);
		START_TAKER(&scheds[i]);
	}
	/* Three come back at once, for three that take one each. */
	ASSERT_EQ(0, ums_exit(self->fd));
	for (int i = 0; i < 3; i++)
		ASSERT_TRUE(WAIT_FOR(scheds[i].stage == 2));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(1, scheds[i].ret);
		EXPECT_EQ(UMS_READY_ORPHANED, waits[i].ready.why);
		JOIN_TAKER(&scheds[i]);
	}
	EXPECT_NO_NOTES();
}

/*
 * A scheduler that is woken for a worker as its time is up or a signal comes.
 * It takes no notice until another one has found work, so if it keeps the
 * wake-up to itself, the worker waits.
 */
FIXTURE(passed) {
	int fd;
	int clist;
	struct ums_worker workers[2];
	struct ums_test_run run;
	struct ums_sched scheds[3];
};

FIXTURE_VARIANT(passed) {
	__u64 timeout_ns;
	int signals;
};

FIXTURE_VARIANT_ADD(passed, timeouts) { 100000, 0 };
FIXTURE_VARIANT_ADD(passed, signals) { 0, 1 };
FIXTURE_VARIANT_ADD(passed, signals_and_timeouts) { 300000, 1 };

FIXTURE_SETUP(passed)
{
	SETUP_CLIST(return);
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = 1, .live = 1,
	};
}

FIXTURE_TEARDOWN(passed)
{
	close(self->fd);
}

static atomic_ulong passed_on;
static atomic_int stop_signals;

/* Until enough waits ended as it came. */
static void yield_until_passed_on(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value || passed_on <= RACE_LOOPS / 50;
	     i++)
		ums_worker_yield(worker, i);
}

static void take_and_pause(struct ums_sched *sched)
{
	struct ums_test_run *run = sched->run;
	__u64 *timeout = sched->arg, some = 0;

	while (run->live) {
		unsigned long seen = run->yields;
		struct ums_ready ready;
		int ret;

		/* Around the moment that the other one yields. */
		if (*timeout)
			some = 1 + (some + 7001) % *timeout;
		ret = ums_take(run->fd, run->clist, 0, some, &ready, 1);
		if (ret == -EINTR || ret == -ETIMEDOUT) {
			atomic_fetch_add(&passed_on, 1);
			CHECK(WAIT_FOR(run->yields != seen || !run->live));
		} else if (ret == 1) {
			CHECK_EQ(0, ums_run_contexts(run, &ready.context, 1));
		} else if (!CHECK(!run->live)) {
			return;
		}
	}
}

static void *send_signals(void *arg)
{
	struct ums_sched *scheds = arg;

	while (!stop_signals) {
		for (int i = 0; i < 2; i++)
			tgkill(getpid(), scheds[i].tid, SIGUSR1);
		usleep(300);
	}
	return NULL;
}

TEST_F_TIMEOUT(passed, on_to_another, LONG_TEST)
{
	__u64 timeout = variant->timeout_ns;
	pthread_t thread;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	self->workers[0].value = RACE_LOOPS;
	START(0, yield_until_passed_on);
	for (int i = 0; i < 3; i++) {
		/* The last one waits for ever and gets no signals. */
		self->scheds[i] = (struct ums_sched) {
			.run = &self->run, .cpu = -1, .arg = &timeout,
			.fn = i < 2 ? take_and_pause : NULL,
		};
		ASSERT_EQ(0, ums_sched_start(&self->scheds[i]));
	}
	for (int i = 0; i < 3; i++)
		ASSERT_TRUE(WAIT_FOR(self->scheds[i].tid));
	if (variant->signals)
		ASSERT_EQ(0, pthread_create(&thread, NULL, send_signals,
					    self->scheds));
	for (int i = 0; i < 3; i++)
		pthread_join(self->scheds[2 - i].thread, NULL);
	stop_signals = 1;
	if (variant->signals)
		pthread_join(thread, NULL);
	TH_LOG("%lu waits ended otherwise", GET(passed_on));
	EXPECT_LE(RACE_LOOPS, GET(self->run.yields));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

/*
 * Workers are shared by schedulers that take one or a few at a time, with and
 * without waiting, and one whose array is bad.
 */
#define SHARERS	4

struct sharer {
	struct ums_test_run *run;
	int nr;
	__u32 flags;
	__u64 timeout_ns;
};

static atomic_ulong given_back;

/* Until the one whose array is bad has been there often enough. */
static void yield_until_given_back(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value || given_back <= RACE_LOOPS / 50;
	     i++)
		ums_worker_yield(worker, i);
}

static void share(struct ums_sched *sched)
{
	struct sharer *me = sched->arg;
	struct ums_test_run *run = sched->run;
	struct ums_ready ready[NR];
	pid_t contexts[NR];

	while (run->live) {
		int ret = ums_take(run->fd, run->clist, me->flags,
				   me->timeout_ns, me->nr ? ready : NULL,
				   me->nr ?: NR);

		if (ret == -EFAULT) {
			given_back++;
			usleep(50);
			continue;
		}
		if (ret == -EAGAIN || ret == -ETIMEDOUT) {
			sched_yield();
			continue;
		}
		if (ret <= 0) {
			CHECK(!run->live);
			break;
		}
		for (int i = 0; i < ret; i++) {
			struct ums_worker *w = ums_find_worker(run,
							ready[i].context);

			CHECK(w && w->cookie == ready[i].cookie);
			contexts[i] = ready[i].context;
		}
		CHECK_EQ(0, ums_run_contexts(run, contexts, ret));
	}
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F_TIMEOUT(dequeue, shared_by_schedulers, LONG_TEST)
{
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = NR, .live = NR,
	};
	struct sharer sharers[SHARERS] = {
		{ .nr = 1 },
		{ .nr = 3, .flags = UMS_NONBLOCK },
		{ .nr = 2, .timeout_ns = 50000 },
		{ .nr = 0, .timeout_ns = 1000000 },
	};
	struct ums_sched scheds[SHARERS];

	for (int i = 0; i < NR; i++) {
		self->workers[i].granted = 0;
		self->workers[i].value = RACE_LOOPS / 2;
		START(i, yield_until_given_back);
	}
	for (int i = 0; i < SHARERS; i++) {
		sharers[i].run = &run;
		scheds[i] = (struct ums_sched) {
			.run = &run, .cpu = -1, .fn = share,
			.arg = &sharers[i],
		};
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
	}
	for (int i = 0; i < SHARERS; i++)
		pthread_join(scheds[i].thread, NULL);
	TH_LOG("%lu times given back", GET(given_back));
	EXPECT_LE(NR * (RACE_LOOPS / 2), GET(run.yields));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
