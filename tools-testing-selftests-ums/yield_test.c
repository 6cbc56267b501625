// SPDX-License-Identifier: GPL-2.0
/* Yielding: the value that goes across, one event each, and fair turns. */
#include "ums_fixture.h"

#define NR	8

FIXTURE(yield) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	struct ums_test_run run;
};

FIXTURE_SETUP(yield)
{
	SETUP_CLIST(return);
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
	};
}

FIXTURE_TEARDOWN(yield)
{
	close(self->fd);
}

static const unsigned long values[] = {
	0, 1, 42, INT_MAX, 0x80000000UL, UINT_MAX, LONG_MAX,
	(unsigned long)LONG_MIN, ULONG_MAX, ULONG_MAX / 3,
};

static void yield_values(struct ums_worker *worker)
{
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		ums_worker_yield(worker, values[i]);
}

/* Fault caught: the upper half or the sign is lost on the way. */
TEST_F(yield, value_goes_across)
{
	struct ums_event event;

	self->workers[0].granted = LOTS;
	START(0, yield_values);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		ASSERT_EQ(THREAD_YIELD, event.type);
		EXPECT_EQ(TID(0), event.yield_params.context);
		EXPECT_EQ(values[i], event.yield_params.scheduler_params);
	}
	EXPECT_NO_NOTES();
}

static void count_values(struct ums_test_run *run, struct ums_worker *worker,
			 const struct ums_event *event)
{
	/* Each worker yields 0, 1, 2 and so on. */
	if (event->type == THREAD_YIELD)
		CHECK_EQ(worker->stage++, event->yield_params.scheduler_params);
}

/* Invariant 3. */
TEST_F(yield, one_event_each)
{
	struct ums_event event;

	self->workers[0].value = 200;
	START(0, ums_work_yield);
	self->run.nr_workers = 1;
	self->run.live = 1;
	self->run.on_event = count_values;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_EQ(200, GET(self->run.yields));
	EXPECT_EQ(1, GET(self->run.ends));
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

TEST_F(yield, returns_only_when_executed)
{
	struct ums_event event;

	self->workers[0].granted = 1;
	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (unsigned long i = 1; i <= 10; i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		usleep(2000);
		EXPECT_EQ(i, GET(self->workers[0].used));
		self->workers[0].granted++;
	}
	EXPECT_NO_NOTES();
}

TEST_F(yield, wrong_descriptor)
{
	int other = open("/dev/null", O_RDWR);

	ASSERT_LE(0, other);
	EXPECT_EQ(-ENOTTY, ums_yield(other, 0));
	close(other);
	EXPECT_EQ(-EBADF, ums_yield(other, 0));
	EXPECT_EQ(-EBADF, ums_yield(-1, 0));
}

#define TURNS 50

static pid_t order[NR * TURNS];
static atomic_int nr_order;

static void note_turn(struct ums_test_run *run, struct ums_worker *worker,
		      const struct ums_event *event)
{
	if (event->type == THREAD_YIELD)
		order[nr_order++] = worker->tid;
}

/* First in, first out: nobody is overtaken. */
TEST_F(yield, turns_are_fair)
{
	for (int i = 0; i < NR; i++) {
		self->workers[i].value = TURNS;
		START(i, ums_work_yield);
	}
	self->run.nr_workers = NR;
	self->run.live = NR;
	self->run.on_event = note_turn;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&self->run));
	ASSERT_EQ(NR * TURNS, GET(nr_order));
	for (int i = 0; i < NR * TURNS; i++)
		ASSERT_EQ(TID(i % NR), order[i]);
	EXPECT_NO_NOTES();
}

/*
 * Many yields by several workers under several schedulers: the totals and each
 * worker's values are what they must be.
 */
FIXTURE(totals) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
};

FIXTURE_VARIANT(totals) {
	int schedulers;
	int workers;
	int yields;
	bool pinned;
};

FIXTURE_VARIANT_ADD(totals, one_to_one) { 1, 1, 4000, false };
FIXTURE_VARIANT_ADD(totals, one_to_many) { 1, 8, 500, false };
FIXTURE_VARIANT_ADD(totals, two_to_one) { 2, 1, 2000, false };
FIXTURE_VARIANT_ADD(totals, two_to_many) { 2, 8, 500, false };
FIXTURE_VARIANT_ADD(totals, pinned_two_to_many) { 2, 8, 500, true };
FIXTURE_VARIANT_ADD(totals, four_to_three) { 4, 3, 1000, false };

FIXTURE_SETUP(totals)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(totals)
{
	close(self->fd);
}

TEST_F_TIMEOUT(totals, are_exact, LONG_TEST)
{
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = variant->workers, .live = variant->workers,
		/* With several schedulers the events are read out of order. */
		.on_event = variant->schedulers == 1 ? count_values : NULL,
	};
	struct ums_sched scheds[4] = {};
	unsigned long yields = ums_loops(variant->yields);

	if (variant->pinned && sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, NO_TWO_CPUS);
	for (int i = 0; i < variant->workers; i++) {
		self->workers[i].value = yields;
		ASSERT_EQ(0, ums_worker_start(&self->workers[i], self->fd,
					      self->clist, ums_work_yield));
		self->workers[i].stage = 0;
	}
	for (int i = 0; i < variant->schedulers; i++) {
		scheds[i].run = &run;
		scheds[i].cpu = variant->pinned ? i % 2 : -1;
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
	}
	for (int i = 0; i < variant->schedulers; i++)
		pthread_join(scheds[i].thread, NULL);
	EXPECT_EQ(variant->workers * yields, GET(run.yields));
	EXPECT_EQ(variant->workers, GET(run.ends));
	for (int i = 0; i < variant->workers; i++)
		EXPECT_EQ(yields + 1, GET(self->workers[i].used));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

struct take_turns {
	struct ums_gate gate;
	unsigned long loops;
	int me;
	struct ums_sched sched;
	struct take_turns *other;
};

static void run_in_turn(struct ums_sched *sched)
{
	struct take_turns *turns = sched->arg;
	struct ums_gate *gate = turns->me ? &turns->other->gate : &turns->gate;
	struct ums_event event;
	pid_t context;

	for (unsigned long i = 0; i < turns->loops; i++) {
		ums_gate_pass(gate, 2, i);
		if ((int)(i & 1) != turns->me)
			continue;
		context = ums_dequeue(sched->fd, sched->clist);
		CHECK(context > 0);
		CHECK_EQ(0, ums_exec(sched->fd, context));
		CHECK_EQ(0, ums_dqevent(sched->fd, &event));
		/* The event of this turn, and not of an earlier one. */
		CHECK_EQ(THREAD_YIELD, event.type);
		CHECK_EQ(i, event.yield_params.scheduler_params);
	}
	CHECK_EQ(0, ums_exit(sched->fd));
}

/* Fault caught: the event goes to the scheduler that ran the worker before. */
TEST_F_TIMEOUT(yield, event_goes_to_who_ran_it, LONG_TEST)
{
	struct take_turns turns[2] = {};

	self->workers[0].granted = LOTS;
	START(0, ums_work_yield_forever);
	for (int i = 0; i < 2; i++) {
		turns[i].me = i;
		turns[i].other = &turns[!i];
		turns[i].loops = RACE_LOOPS;
		turns[i].sched = (struct ums_sched) {
			.fn = run_in_turn, .cpu = -1, .fd = self->fd,
			.clist = self->clist, .arg = &turns[i],
		};
		ASSERT_EQ(0, ums_sched_start(&turns[i].sched));
	}
	for (int i = 0; i < 2; i++)
		pthread_join(turns[i].sched.thread, NULL);
	EXPECT_EQ(RACE_LOOPS, GET(self->workers[0].used));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
