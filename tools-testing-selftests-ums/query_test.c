// SPDX-License-Identifier: GPL-2.0
/* IOCTL_UMS_QUERY: where a worker is, how often it stopped, and its times. */
#include <sys/eventfd.h>

#include "ums_fixture.h"

#define NR	2

FIXTURE(query) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_query query;
	struct ums_worker workers[NR];
	struct ums_sched sched;
};

FIXTURE_SETUP(query)
{
	SETUP_CLIST(return);
	for (int i = 0; i < NR; i++) {
		self->workers[i].granted = LOTS;
		self->workers[i].cookie = 0xfedcba9876543210ULL + i;
	}
}

FIXTURE_TEARDOWN(query)
{
	close(self->fd);
}

#define QUERY(i)	ums_query(self->fd, TID(i), &self->query)

/* Where it is, and the counts of what it did, in this order. */
#define EXPECT_QUERY(i, st, reason, sched, nr, y, h, p, b)		\
	do {								\
		int __i = (i);						\
									\
		ASSERT_EQ(0, QUERY(__i));				\
		EXPECT_EQ(TID(__i), self->query.context);		\
		EXPECT_EQ(UMS_STATE_##st, self->query.state);		\
		EXPECT_EQ(reason, self->query.why);			\
		EXPECT_EQ(self->clist, self->query.clist);		\
		EXPECT_EQ(sched, self->query.scheduler);		\
		EXPECT_EQ(self->workers[__i].cookie, self->query.cookie); \
		EXPECT_EQ(nr, self->query.switches);			\
		EXPECT_EQ(y, self->query.yields);			\
		EXPECT_EQ(h, self->query.handovers);			\
		EXPECT_EQ(p, self->query.preemptions);			\
		EXPECT_EQ(b, self->query.blocks);			\
	} while (0)

static void do_it_all(struct ums_worker *worker)
{
	struct ums_worker *other = worker->arg;
	eventfd_t value;

	ums_worker_yield(worker, 1);
	CHECK_EQ(0, eventfd_read(worker->value, &value));
	CHECK_EQ(0, ums_switch(worker->fd, other->tid));
	worker->stage = 1;
	while (worker->stage == 1)
		;
}

TEST_F(query, states_and_counts)
{
	pid_t me = gettid();

	self->workers[0].arg = &self->workers[1];
	self->workers[0].value = eventfd(0, 0);
	START(0, do_it_all);
	EXPECT_QUERY(0, READY, UMS_READY_NEW, 0, 0, 0, 0, 0, 0);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	TAKE(0, UMS_READY_NEW);
	EXPECT_QUERY(0, READY, UMS_READY_NEW, me, 0, 0, 0, 0, 0);

	RUN(0, 0);
	EXPECT_EQ(THREAD_YIELD, self->event.type);
	EXPECT_QUERY(0, READY, UMS_READY_YIELDED, 0, 1, 1, 0, 0, 0);
	TAKE(0, UMS_READY_YIELDED);
	EXPECT_QUERY(0, READY, UMS_READY_YIELDED, me, 1, 1, 0, 0, 0);

	RUN(0, 0);
	EXPECT_EQ(THREAD_BLOCKED, self->event.type);
	EXPECT_QUERY(0, BLOCKED, UMS_READY_YIELDED, 0, 2, 1, 0, 0, 1);
	ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
	TAKE(0, UMS_READY_UNBLOCKED);
	EXPECT_QUERY(0, READY, UMS_READY_UNBLOCKED, me, 2, 1, 0, 0, 1);

	START(1, ums_work_yield_forever);
	TAKE(1, UMS_READY_NEW);
	RUN(0, 0);
	EXPECT_EQ(TID(1), ums_event_context(&self->event));
	EXPECT_QUERY(0, READY, UMS_READY_YIELDED, me, 3, 1, 1, 0, 1);
	EXPECT_QUERY(1, READY, UMS_READY_YIELDED, 0, 1, 1, 0, 0, 0);

	EXPECT_WAITS(ums_run(self->fd, TID(0), 0, &self->event));
	EXPECT_QUERY(0, RUNNING, UMS_READY_YIELDED, me, 4, 1, 1, 0, 1);
	EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
	ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
	EXPECT_QUERY(0, READY, UMS_READY_PREEMPTED, 0, 4, 1, 1, 1, 1);
	TAKE(1, UMS_READY_YIELDED);
	TAKE(0, UMS_READY_PREEMPTED);

	/* Given back, and run by nobody. */
	ASSERT_EQ(0, ums_exit(self->fd));
	EXPECT_QUERY(0, READY, UMS_READY_ORPHANED, 0, 4, 1, 1, 1, 1);
	EXPECT_QUERY(1, READY, UMS_READY_ORPHANED, 0, 1, 1, 0, 0, 0);
	EXPECT_NO_NOTES();
}

/* Who asks does not matter, itself included. */
static void ask_about_itself(struct ums_worker *worker)
{
	struct ums_query query;

	CHECK_EQ(0, ums_query(worker->fd, worker->tid, &query));
	CHECK_EQ(UMS_STATE_RUNNING, query.state);
	CHECK_EQ(1, query.switches);
	CHECK_EQ(worker->value, query.scheduler);
	ums_worker_yield(worker, 1);
	CHECK_EQ(0, ums_query(worker->fd, worker->tid, &query));
	CHECK_EQ(2, query.switches);
	CHECK_EQ(1, query.yields);
}

TEST_F(query, by_the_worker)
{
	self->workers[0].value = gettid();
	START(0, ask_about_itself);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 2; i++) {
		TAKE(0, i ? UMS_READY_YIELDED : UMS_READY_NEW);
		RUN(0, 0);
	}
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_EQ(-ESRCH, QUERY(0));
	EXPECT_NO_NOTES();
}

/* An orphan that runs has no scheduler. */
static void run_and_leave(struct ums_sched *sched)
{
	struct ums_ready ready;
	pid_t context = ums_take_one(sched->fd, sched->clist, &ready);

	ums_run_interrupted(sched->fd, context, 0);
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F(query, orphan)
{
	self->sched = (struct ums_sched) {
		.fn = run_and_leave, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	pthread_join(self->sched.thread, NULL);
	EXPECT_QUERY(0, RUNNING, UMS_READY_NEW, 0, 1, 0, 0, 0, 0);
	self->workers[0].stage = 2;
	ASSERT_TRUE(WAIT_FOR(QUERY(0) == -ESRCH));
}

/* A second life begins with nothing. */
static void leave_and_enter(struct ums_worker *worker)
{
	ums_worker_yield(worker, 1);
	CHECK_EQ(0, ums_exit(worker->fd));
	CHECK_EQ(0, ums_enter(worker->fd, ENTER_UMS_WORK, worker->clist,
			      worker->cookie));
}

TEST_F(query, second_life)
{
	unsigned long start;

	START(0, leave_and_enter);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	RUN(0, 0);
	TAKE(0, UMS_READY_YIELDED);
	ums_sleep_ms(QUIET_MS);
	start = ums_now_ns();
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	TAKE(0, UMS_READY_NEW);
	EXPECT_QUERY(0, READY, UMS_READY_NEW, gettid(), 0, 0, 0, 0, 0);
	EXPECT_GE(ums_now_ns() - start,
		  self->query.running_ns + self->query.ready_ns);
	EXPECT_EQ(0, self->query.blocked_ns);
	EXPECT_NO_NOTES();
}

/*
 * Times.  A worker's life is known to lie between two moments before and after
 * its entry and between two around a query; so is the sum of its times.
 */
struct life {
	unsigned long before_entry;
	unsigned long after_entry;
};

static struct life life;

static void *live(void *arg)
{
	struct ums_worker *worker = arg;

	worker->tid = gettid();
	life.before_entry = ums_now_ns();
	worker->entered = ums_enter(worker->fd, ENTER_UMS_WORK, worker->clist,
				    worker->cookie);
	CHECK_EQ(0, worker->entered);
	worker->fn(worker);
	return NULL;
}

/* The sum, and whether it can be true. */
#define EXPECT_SUM(i)							\
	({								\
		unsigned long __a = ums_now_ns(), __b, __sum;		\
									\
		ASSERT_EQ(0, QUERY(i));					\
		__b = ums_now_ns();					\
		__sum = self->query.running_ns + self->query.ready_ns +	\
			self->query.blocked_ns;				\
		EXPECT_LE(__a - life.after_entry, __sum);		\
		EXPECT_GE(__b - life.before_entry, __sum);		\
		__sum;							\
	})

#define LIVE(i, function)						\
	do {								\
		struct ums_worker *__w = &self->workers[i];		\
									\
		__w->fd = self->fd;					\
		__w->clist = self->clist;				\
		__w->fn = function;					\
		__w->entered = 1;					\
		ASSERT_EQ(0, pthread_create(&__w->thread, NULL, live,	\
					    __w));			\
		ASSERT_TRUE(WAIT_FOR(__w->tid &&			\
				     ums_state(self->fd, __w->tid) ==	\
				     UMS_STATE_READY));			\
		life.after_entry = ums_now_ns();			\
	} while (0)

#define SPIN_NS		(30 * 1000000UL)
#define SLEEP_NS	(50 * 1000000UL)
#define REST_NS		(40 * 1000000UL)

static void spin_and_sleep(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		ums_spin_us(SPIN_NS / 1000);
		CHECK_EQ(0, ums_nap_us(SLEEP_NS / 1000));
		ums_spin_us(SPIN_NS / 1000);
		ums_worker_yield(worker, i);
	}
}

FIXTURE(times) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_query query;
	struct ums_worker workers[NR];
};

FIXTURE_VARIANT(times) {
	__u32 flags;
};

FIXTURE_VARIANT_ADD(times, classic) { 0 };
FIXTURE_VARIANT_ADD(times, block_events) { ENTER_UMS_BLOCK_EVENTS };

FIXTURE_SETUP(times)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
}

FIXTURE_TEARDOWN(times)
{
	close(self->fd);
}

/*
 * They add up, and each of them has at least what the worker did and at most
 * what the scheduler saw.  Faults caught: a state's time is left out, counted
 * twice or as another state's.
 */
TEST_F(times, add_up)
{
	unsigned long inside, outside = 0, blocked_max = 0, before;
	unsigned long sum = 0, rounds = 3, lived;
	bool blocks = variant->flags;

	self->workers[0].value = rounds;
	LIVE(0, spin_and_sleep);
	EXPECT_SUM(0);
	EXPECT_EQ(0, self->query.blocked_ns);
	/* It runs until it is parked for the first time. */
	inside = life.after_entry - life.before_entry;
	EXPECT_GE(inside, self->query.running_ns);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->flags));
	for (unsigned long i = 0; i < rounds; i++) {
		unsigned long start;

		TAKE(0, i ? UMS_READY_YIELDED : UMS_READY_NEW);
		usleep(REST_NS / 1000);
		outside += REST_NS;
		start = ums_now_ns();
		RUN(0, 0);
		inside += ums_now_ns() - start;
		if (blocks) {
			ASSERT_EQ(THREAD_BLOCKED, self->event.type);
			before = start;
			EXPECT_SUM(0);
			EXPECT_EQ(UMS_STATE_BLOCKED, self->query.state);
			TAKE(0, UMS_READY_UNBLOCKED);
			blocked_max += ums_now_ns() - before;
			start = ums_now_ns();
			RUN(0, 0);
			inside += ums_now_ns() - start;
		}
		ASSERT_EQ(THREAD_YIELD, self->event.type);
		sum = EXPECT_SUM(0);
		EXPECT_EQ(UMS_STATE_READY, self->query.state);
	}
	lived = ums_now_ns() - life.before_entry;

	EXPECT_LE(rounds * 2 * SPIN_NS +
		  (blocks ? 0 : rounds * SLEEP_NS), self->query.running_ns);
	EXPECT_GE(inside, self->query.running_ns);
	EXPECT_LE(outside, self->query.ready_ns);
	if (blocks) {
		EXPECT_GE(blocked_max, self->query.blocked_ns);
		/* Asleep from before the event was read to after. */
		EXPECT_LT(rounds * SLEEP_NS / 2, self->query.blocked_ns);
	} else {
		EXPECT_EQ(0, self->query.blocked_ns);
	}
	TH_LOG("running %llu, ready %llu, blocked %llu us: %lu of %lu us",
	       self->query.running_ns / 1000, self->query.ready_ns / 1000,
	       self->query.blocked_ns / 1000, sum / 1000, lived / 1000);
	EXPECT_NO_NOTES();
}

/*
 * Within 1 % on a machine that is quiet for once: the two moments around entry
 * and query must not be far apart themselves.
 */
TEST_F(times, within_one_percent)
{
	unsigned long sum = 0, lived = 1, slack = 1;

	for (int attempt = 0; attempt < 10 && slack * 200 > lived; attempt++) {
		unsigned long start, end;

		self->workers[0].value = 2;
		LIVE(0, spin_and_sleep);
		ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
						   variant->flags));
		do {
			ASSERT_EQ(TID(0), ums_take_one(self->fd, self->clist,
						       &self->ready));
			RUN(0, 0);
			start = ums_now_ns();
			if (self->event.type == THREAD_YIELD) {
				ASSERT_EQ(0, QUERY(0));
				end = ums_now_ns();
				lived = end - life.before_entry;
				slack = end - start + life.after_entry -
					life.before_entry;
				sum = self->query.running_ns +
				      self->query.ready_ns +
				      self->query.blocked_ns;
			}
		} while (self->event.type != THREAD_TERMINATED);
		pthread_join(self->workers[0].thread, NULL);
		ASSERT_EQ(0, ums_exit(self->fd));
	}
	TH_LOG("%lu of %lu us", sum / 1000, lived / 1000);
	if (slack * 200 > lived)
		SKIP(return, "the machine is too busy");
	EXPECT_LE(lived - lived / 100, sum);
	EXPECT_GE(lived + lived / 100, sum);
}

/* A state's time grows while it lasts, and no other one does. */
enum time { RUNNING, READY, BLOCKED };

static bool only_grows(int fd, struct ums_worker *worker, enum time which)
{
	struct ums_query old, now;
	unsigned long start;
	__u64 growth[3];

	CHECK_EQ(0, ums_query(fd, worker->tid, &old));
	start = ums_now_ns();
	ums_sleep_ms(20);
	start = ums_now_ns() - start;
	CHECK_EQ(0, ums_query(fd, worker->tid, &now));
	growth[RUNNING] = now.running_ns - old.running_ns;
	growth[READY] = now.ready_ns - old.ready_ns;
	growth[BLOCKED] = now.blocked_ns - old.blocked_ns;
	for (int i = 0; i < 3; i++)
		if (i == which ? growth[i] < start : growth[i])
			return false;
	return true;
}

#define EXPECT_GROWS(which)						\
	EXPECT_TRUE(only_grows(self->fd, &self->workers[0], which))

TEST_F(times, grow_while_it_lasts)
{
	ASSERT_EQ(0, ums_worker_start(&self->workers[0], self->fd,
				      self->clist, ums_work_spin));
	EXPECT_GROWS(READY);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->flags));
	TAKE(0, UMS_READY_NEW);
	EXPECT_GROWS(READY);
	EXPECT_WAITS(ums_run(self->fd, TID(0), 0, &self->event));
	EXPECT_GROWS(RUNNING);
	EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
	ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
	EXPECT_GROWS(READY);
	TAKE(0, UMS_READY_PREEMPTED);
	self->workers[0].stage = 2;
	RUN(0, 0);
	EXPECT_NO_NOTES();
}

static void read_event(struct ums_worker *worker)
{
	eventfd_t value;

	worker->stage = 1;
	CHECK_EQ(0, eventfd_read(worker->value, &value));
}

TEST_F(times, of_a_sleep)
{
	self->workers[0].value = eventfd(0, 0);
	START(0, read_event);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->flags));
	TAKE(0, UMS_READY_NEW);
	if (variant->flags) {
		RUN(0, 0);
		ASSERT_EQ(THREAD_BLOCKED, self->event.type);
		EXPECT_GROWS(BLOCKED);
		ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
		TAKE(0, UMS_READY_UNBLOCKED);
		EXPECT_GROWS(READY);
	} else {
		/* Nobody was told, so it counts as running. */
		EXPECT_WAITS(ums_run(self->fd, TID(0), 0, &self->event));
		EXPECT_EQ(1, GET(self->workers[0].stage));
		EXPECT_GROWS(RUNNING);
		ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
		ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
	}
	EXPECT_NO_NOTES();
}

/*
 * Many stops of all kinds, and queries by another thread at any moment: times
 * and counts never go back, and in the end all counts are as the events were.
 */
struct asker {
	int fd;
	pid_t context;
	atomic_int stop;
	atomic_ulong asked;
};

static void *ask_often(void *arg)
{
	unsigned long sum, old_sum = 0, before, after, old_before = 0;
	unsigned long old_after = 0;
	struct ums_query now, old = {};
	struct asker *asker = arg;

	while (!asker->stop) {
		before = ums_now_ns();
		CHECK_EQ(0, ums_query(asker->fd, asker->context, &now));
		after = ums_now_ns();
		sum = now.running_ns + now.ready_ns + now.blocked_ns;
		if (asker->asked++) {
			/* As much more as the clock, whatever happens. */
			CHECK(sum - old_sum >= before - old_after);
			CHECK(sum - old_sum <= after - old_before);
			CHECK(now.running_ns >= old.running_ns);
			CHECK(now.ready_ns >= old.ready_ns);
			CHECK(now.blocked_ns >= old.blocked_ns);
			CHECK(now.switches >= old.switches);
		}
		CHECK(now.yields + now.blocks + now.preemptions +
		      now.handovers <= now.switches);
		CHECK(now.state >= UMS_STATE_RUNNING &&
		      now.state <= UMS_STATE_BLOCKED);
		old = now;
		old_sum = sum;
		old_before = before;
		old_after = after;
		ums_nap_us(10);
	}
	return NULL;
}

static void spin_nap_and_yield(struct ums_worker *worker)
{
	for (long i = 0;; i++) {
		ums_spin_turns(3000);
		if (i % 3)
			ums_nap_us(i % 30);
		else
			CHECK_EQ(0, ums_yield(worker->fd, i));
	}
}

TEST_F_TIMEOUT(times, never_go_back, LONG_TEST)
{
	struct asker asker = { .fd = self->fd };
	unsigned long counts[6] = {}, runs = RACE_LOOPS;
	pthread_t thread;

	START(0, spin_nap_and_yield);
	asker.context = TID(0);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->flags));
	ASSERT_EQ(0, pthread_create(&thread, NULL, ask_often, &asker));
	for (unsigned long i = 0; i < runs; i++) {
		ASSERT_EQ(TID(0), ums_take_one(self->fd, self->clist,
					       &self->ready));
		RUN(0, i % 4 ? 1 + i * 37 % 20000 : 0);
		counts[self->event.type]++;
	}
	asker.stop = 1;
	pthread_join(thread, NULL);
	ASSERT_EQ(0, QUERY(0));
	EXPECT_EQ(runs, self->query.switches);
	EXPECT_EQ(counts[THREAD_YIELD], self->query.yields);
	EXPECT_EQ(counts[THREAD_BLOCKED], self->query.blocks);
	EXPECT_EQ(counts[THREAD_PREEMPTED], self->query.preemptions);
	EXPECT_SOME(GET(asker.asked));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
