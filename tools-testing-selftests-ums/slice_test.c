// SPDX-License-Identifier: GPL-2.0
/*
 * Slices: a worker that runs for too long is stopped, intact, with one event,
 * whatever else stops it at that moment.
 */
#include <assert.h>

#include "ums_fixture.h"

#define NR	3

FIXTURE(slice) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_worker workers[NR];
	struct ums_storm storm;
};

FIXTURE_SETUP(slice)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(slice)
{
	close(self->fd);
}

/* Counts for as long as it runs. */
static void count_up(struct ums_worker *worker)
{
	atomic_ulong *count = worker->arg;

	while (worker->stage < 2) {
		ums_worker_may_run(worker);
		++*count;
	}
}

#define ROUNDS		5

/* Not early, not late, and it goes on where it was. */
TEST_F(slice, ends_run)
{
	static const __u64 slices[] = {
		1000 * 1000, 1, 10 * 1000, 20 * 1000 * 1000, 999, QUIET_NS,
	};
	unsigned long overshoot[ARRAY_SIZE(slices)] = {};
	unsigned long start, before;
	struct ums_query query;
	atomic_ulong count = 0;

	self->workers[0].arg = (void *)&count;
	START(0, count_up);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	for (size_t i = 0; i < ROUNDS * ARRAY_SIZE(slices); i++) {
		__u64 slice = slices[i % ARRAY_SIZE(slices)];
		unsigned long *least = &overshoot[i % ARRAY_SIZE(slices)];
		unsigned long took;

		start = ums_now_ns();
		RUN(0, slice);
		took = ums_now_ns() - start;
		EXPECT_LE(slice, took);
		if (!*least || took - slice < *least)
			*least = took - slice + 1;
		EXPECT_PREEMPTED(0);
		/* It has stopped. */
		before = count;
		ums_sleep_ms(5);
		EXPECT_EQ(before, GET(count));
		TAKE(0, UMS_READY_PREEMPTED);
		ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
		EXPECT_EQ(i + 1, query.preemptions);
		EXPECT_EQ(i + 1, query.switches);
		EXPECT_EQ(0, query.yields);
		EXPECT_EQ(UMS_READY_PREEMPTED, query.why);
	}
	/* How soon it ends is measured by ums_bench, ums_slice_end. */
	for (size_t i = 0; i < ARRAY_SIZE(slices); i++)
		TH_LOG("%llu ns, at least %lu more", slices[i], overshoot[i]);
	/* On a busy machine one slice may not be enough. */
	for (before = count; count == before; ) {
		RUN(0, QUIET_NS);
		EXPECT_PREEMPTED(0);
		TAKE(0, UMS_READY_PREEMPTED);
	}
	self->workers[0].stage = 2;
	RUN(0, SOON_NS);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_NO_NOTES();
}

/* The shortest may let it get nowhere, but nothing else is the matter. */
TEST_F_TIMEOUT(slice, shortest, LONG_TEST)
{
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		RUN(0, 1 + i % 10);
		EXPECT_PREEMPTED(0);
	}
	RUN(0, QUIET_NS);
	EXPECT_PREEMPTED(0);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

/* Fault caught: a sum with the clock overflows, and the slice ends at once. */
TEST_F(slice, longest)
{
	static const __u64 slices[] = {
		0, LLONG_MAX - 1, LLONG_MAX, 1ULL << 63, ULLONG_MAX,
	};

	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	for (size_t i = 0; i < ARRAY_SIZE(slices); i++) {
		EXPECT_WAITS(ums_run(self->fd, TID(0), slices[i],
				     &self->event));
		EXPECT_NO_EVENT(self->fd);
		EXPECT_EQ(0, ums_preempt(self->fd, TID(0)));
		ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
		EXPECT_PREEMPTED(0);
	}
}

/* It is the scheduler's time that counts, not its presence in the call. */
TEST_F(slice, goes_on_when_interrupted)
{
	unsigned long start;

	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	start = ums_now_ns();
	EXPECT_WAITS(ums_run(self->fd, TID(0), 3 * QUIET_NS, &self->event));
	ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
	EXPECT_PREEMPTED(0);
	EXPECT_LE(3 * QUIET_NS, ums_now_ns() - start);
	TAKE(0, UMS_READY_PREEMPTED);
}

/* Fault caught: what is left of a slice ends the next run. */
TEST_F(slice, is_for_one_run)
{
	unsigned long start;

	START(0, ums_work_yield_forever);
	START(1, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	TAKE(1, UMS_READY_NEW);
	RUN(0, QUIET_NS / 3);
	ASSERT_EQ(THREAD_YIELD, self->event.type);
	start = ums_now_ns();
	RUN(1, 2 * QUIET_NS);
	EXPECT_PREEMPTED(1);
	EXPECT_LE(2 * QUIET_NS, ums_now_ns() - start);
	RUN(0, QUIET_NS / 3);
	ASSERT_EQ(THREAD_YIELD, self->event.type);
	EXPECT_WAITS(ums_run(self->fd, TID(1), 0, &self->event));
	EXPECT_NO_EVENT(self->fd);
	EXPECT_EQ(0, ums_preempt(self->fd, TID(1)));
	ASSERT_EQ(0, ums_wait(self->fd, 0, SOON_NS, &self->event));
	EXPECT_PREEMPTED(1);
	EXPECT_NO_NOTES();
}

/*
 * It ends in a system call: the call goes on to its end, and the worker stops
 * before it sees the result.
 */
static void nap_then_tell(struct ums_worker *worker)
{
	worker->stage = 1;
	CHECK_EQ(0, ums_nap_us(2 * QUIET_MS * 1000));
	worker->stage = 2;
}

TEST_F(slice, ends_in_call)
{
	unsigned long start;

	START(0, nap_then_tell);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	/* On a busy machine the first slice may end before the call. */
	do {
		start = ums_now_ns();
		RUN(0, QUIET_NS / 6);
		start = ums_now_ns() - start;
		EXPECT_PREEMPTED(0);
		TAKE(0, UMS_READY_PREEMPTED);
	} while (start < QUIET_NS && GET(self->workers[0].stage) < 2);
	EXPECT_LE(2 * QUIET_NS, start);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_EQ(2, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

/* It ends while the worker is blocked: there is nothing to stop. */
TEST_F(slice, ends_while_blocked)
{
	START(0, nap_then_tell);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	TAKE(0, UMS_READY_NEW);
	RUN(0, QUIET_NS);
	ASSERT_EQ(THREAD_BLOCKED, self->event.type);
	EXPECT_EQ(-ETIMEDOUT, ums_wait(self->fd, 0, 2 * QUIET_NS,
				       &self->event));
	TAKE(0, UMS_READY_UNBLOCKED);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_NO_EVENT(self->fd);
	RUN(0, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_NO_NOTES();
}

static void spin_on_cpu(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_pin(worker->value));
	ums_work_spin(worker);
}

/* The worker runs elsewhere than its scheduler and the timer. */
TEST_F(slice, worker_on_other_cpu)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, NO_TWO_CPUS);
	ASSERT_EQ(0, ums_pin(0));
	self->workers[0].value = 1;
	START(0, spin_on_cpu);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	for (int i = 0; i < 100; i++) {
		RUN(0, 100000 + i * 1000);
		EXPECT_PREEMPTED(0);
	}
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

/* Others want the CPU too: the slice ends all the same. */
TEST_F(slice, on_busy_cpu)
{
	struct ums_hog hogs[2];

	ASSERT_EQ(0, ums_pin(0));
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, ums_hog_start(&hogs[i], 0));
	for (int i = 0; i < 20; i++) {
		RUN(0, 500000);
		EXPECT_PREEMPTED(0);
	}
	for (int i = 0; i < 2; i++)
		ums_hog_stop(&hogs[i]);
}

/*
 * Races.  Each round lets a worker run towards a stop of its own, with a slice
 * that is meant to end in the same moment.  If it came too early the worker is
 * run once more, without a slice, which nothing but its own stop may end.
 */
struct aim {
	__u64 slice_ns;
	unsigned int seed;
	unsigned long early;
	unsigned long late;
	unsigned int streak;	/* of the same in a row */
	bool last;
};

/* How long a worker works; more where slices cannot be that short. */
static atomic_long work_turns = 1000;

#define AIM	{ .slice_ns = 20000, .seed = 1 }

/* A slice that is no longer cut: a timer of a busy host may be late by more. */
#define SHORTEST_NS	500

/* Longer when it came too early, else shorter; and not always the same. */
static __u64 take_aim(struct aim *aim)
{
	__u64 spread = aim->slice_ns / 4 + 1;

	return 1 + aim->slice_ns - spread / 2 + rand_r(&aim->seed) % spread;
}

static void correct_aim(struct aim *aim, bool early)
{
	__u64 step;

	aim->streak = early == aim->last ? aim->streak + 1 : 0;
	aim->last = early;
	/* In large steps while it is far off. */
	step = aim->slice_ns / (aim->streak < 4 ? 16 : 2) + 1;
	if (early) {
		aim->early++;
		aim->slice_ns += step;
		return;
	}
	aim->late++;
	if (aim->slice_ns > SHORTEST_NS)
		aim->slice_ns -= step;
	else if (aim->streak >= 4 && work_turns < 1 << 24)
		work_turns *= 2;
}

#define EXPECT_AIMED(a)							\
	do {								\
		struct aim *__aim = (a);				\
									\
		TH_LOG("%lu slices came first, %lu last, %llu ns, %ld turns", \
		       __aim->early, __aim->late, __aim->slice_ns,	\
		       work_turns);					\
		if (RACE_LOOPS < ENOUGH_ROUNDS)				\
			break;						\
		EXPECT_LT(RACE_LOOPS / 50, __aim->early);		\
		EXPECT_LT(RACE_LOOPS / 50, __aim->late);		\
	} while (0)

enum rival { RIVAL_YIELD, RIVAL_BLOCK, RIVAL_LEAVE };

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
	bool exec_cpu_1;	/* the worker has a CPU of its own */
};

FIXTURE_VARIANT_ADD(against, yield) { RIVAL_YIELD, 0, false };
FIXTURE_VARIANT_ADD(against, yield_keep) { RIVAL_YIELD, ENTER_UMS_KEEP, false };
FIXTURE_VARIANT_ADD(against, yield_elsewhere) { RIVAL_YIELD, 0, true };

FIXTURE_VARIANT_ADD(against, block) {
	RIVAL_BLOCK, ENTER_UMS_BLOCK_EVENTS, false,
};

FIXTURE_VARIANT_ADD(against, block_keep) {
	RIVAL_BLOCK, ENTER_UMS_BLOCK_EVENTS | ENTER_UMS_KEEP, false,
};

FIXTURE_VARIANT_ADD(against, block_elsewhere) {
	RIVAL_BLOCK, ENTER_UMS_BLOCK_EVENTS, true,
};

FIXTURE_VARIANT_ADD(against, leave) { RIVAL_LEAVE, 0, false };
FIXTURE_VARIANT_ADD(against, leave_elsewhere) { RIVAL_LEAVE, 0, true };

FIXTURE_SETUP(against)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
}

FIXTURE_TEARDOWN(against)
{
	close(self->fd);
}

static void spin_some(void)
{
	ums_spin_turns(work_turns);
}

static void run_towards(struct ums_worker *worker)
{
	enum rival rival = *(const enum rival *)worker->arg;

	CHECK_EQ(0, ums_pin(worker->value));
	for (long i = 0;; i++) {
		spin_some();
		switch (rival) {
		case RIVAL_YIELD:
			CHECK_EQ(0, ums_yield(worker->fd, i));
			break;
		case RIVAL_BLOCK:
			CHECK_EQ(0, ums_nap_us(50));
			break;
		case RIVAL_LEAVE:
			CHECK_EQ(0, ums_exit(worker->fd));
			CHECK_EQ(0, ums_enter(worker->fd, ENTER_UMS_WORK,
					      worker->clist, 0));
			break;
		}
	}
}

/*
 * Faults caught: both are reported, or neither; a yield's value is lost or
 * comes twice; the slice hits the next run; a worker is on the list twice.
 */
TEST_F_TIMEOUT(against, exactly_one_event, LONG_TEST)
{
	static const __u32 types[] = {
		[RIVAL_YIELD] = THREAD_YIELD,
		[RIVAL_BLOCK] = THREAD_BLOCKED,
		[RIVAL_LEAVE] = THREAD_TERMINATED,
	};
	static const __u32 whys[] = {
		[RIVAL_YIELD] = UMS_READY_YIELDED,
		[RIVAL_BLOCK] = UMS_READY_UNBLOCKED,
		[RIVAL_LEAVE] = UMS_READY_NEW,
	};
	enum rival rival = variant->rival;
	bool kept = variant->flags & ENTER_UMS_KEEP;
	unsigned long runs = 0;
	struct ums_query query;
	struct aim aim = AIM;

	if (variant->exec_cpu_1 && sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, NO_TWO_CPUS);
	ASSERT_EQ(0, ums_pin(0));
	self->workers[0].value = variant->exec_cpu_1;
	self->workers[0].arg = &rival;
	START(0, run_towards);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->flags));
	TAKE(0, UMS_READY_NEW);
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		bool early;

		RUN(0, take_aim(&aim));
		EXPECT_NO_EVENT(self->fd);
		runs++;
		early = self->event.type == THREAD_PREEMPTED;
		if (early) {
			if (!kept)
				TAKE(0, UMS_READY_PREEMPTED);
			RUN(0, 0);
			EXPECT_NO_EVENT(self->fd);
			runs++;
		}
		correct_aim(&aim, early);
		ASSERT_EQ(types[rival], self->event.type);
		ASSERT_EQ(TID(0), ums_event_context(&self->event));
		if (rival == RIVAL_YIELD)
			ASSERT_EQ(i, self->event.yield_params.scheduler_params);
		if (!kept || rival != RIVAL_YIELD)
			TAKE(0, whys[rival]);
		EXPECT_NO_WORKER(self->fd, self->clist);
	}
	EXPECT_AIMED(&aim);
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	if (rival != RIVAL_LEAVE) {
		EXPECT_EQ(runs, query.switches);
		EXPECT_EQ(runs, query.yields + query.blocks +
				query.preemptions);
		EXPECT_EQ(aim.early, query.preemptions);
	}
	EXPECT_NO_NOTES();
}

/*
 * Against death, in two ways, each time with a new thread.
 */
FIXTURE(death) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(death) {
	bool raw;
	__u32 flags;
};

FIXTURE_VARIANT_ADD(death, raw_exit) { true, 0 };
FIXTURE_VARIANT_ADD(death, raw_exit_block_events) {
	true, ENTER_UMS_BLOCK_EVENTS,
};

FIXTURE_VARIANT_ADD(death, return) { false, 0 };

FIXTURE_SETUP(death)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
}

FIXTURE_TEARDOWN(death)
{
	close(self->fd);
}

static void run_towards_end(struct ums_worker *worker)
{
	spin_some();
	if (worker->value)
		syscall(SYS_exit, 0);
}

TEST_F_TIMEOUT(death, exactly_one_event, LONG_TEST)
{
	struct aim aim = AIM;

	self->workers[0].value = variant->raw;
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->flags));
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		bool early;

		ASSERT_EQ(0, ums_worker_create(&self->workers[0], self->fd,
					       self->clist, run_towards_end));
		/* It knows its id when it is there. */
		ASSERT_LT(0, ums_take_one(self->fd, self->clist,
					  &self->ready));
		ASSERT_EQ(TID(0), self->ready.context);
		ASSERT_EQ(UMS_READY_NEW, self->ready.why);
		RUN(0, take_aim(&aim));
		EXPECT_NO_EVENT(self->fd);
		early = self->event.type == THREAD_PREEMPTED;
		if (early) {
			TAKE(0, UMS_READY_PREEMPTED);
			RUN(0, 0);
		}
		correct_aim(&aim, early);
		/* Its way out may lead through a sleep in the library's calls. */
		while (variant->flags && self->event.type == THREAD_BLOCKED) {
			TAKE(0, UMS_READY_UNBLOCKED);
			RUN(0, 0);
		}
		ASSERT_EQ(THREAD_TERMINATED, self->event.type);
		ASSERT_EQ(TID(0), self->event.end_params.context);
		EXPECT_NO_EVENT(self->fd);
		EXPECT_NO_WORKER(self->fd, self->clist);
		pthread_join(self->workers[0].thread, NULL);
	}
	EXPECT_AIMED(&aim);
	EXPECT_NO_NOTES();
}

/*
 * Against signals to the worker: its handler runs once, sooner or later.
 */
FIXTURE(signal) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(signal) {
	bool queued;		/* before the run, else during it */
	int flags;
};

FIXTURE_VARIANT_ADD(signal, before_run) { true, 0 };
FIXTURE_VARIANT_ADD(signal, during_run) { false, 0 };
FIXTURE_VARIANT_ADD(signal, during_run_altstack) { false, SA_ONSTACK };

FIXTURE_SETUP(signal)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
}

FIXTURE_TEARDOWN(signal)
{
	close(self->fd);
}

static void spin_with_altstack(struct ums_worker *worker)
{
	static char stack[64 * 1024];
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };

	CHECK_EQ(0, sigaltstack(&alt, NULL));
	ums_work_spin(worker);
}

TEST_F_TIMEOUT(signal, is_handled_once, LONG_TEST)
{
	union sigval value = { .sival_int = 1 };
	struct ums_tick tick;

	ASSERT_EQ(0, ums_catch(SIGRTMIN, variant->flags));
	START(0, spin_with_altstack);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	RUN(0, QUIET_NS);
	EXPECT_PREEMPTED(0);
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		__u64 slice = 1 + i * 97 % 50000;

		ASSERT_EQ(0, variant->queued ?
			     pthread_sigqueue(self->workers[0].thread,
					      SIGRTMIN, value) :
			     ums_tick_start(&tick, TID(0), SIGRTMIN,
					    1 + i % 40, 0));
		for (long end = ums_now_ms() + SOON_MS; ; slice *= 2) {
			RUN(0, slice);
			ASSERT_EQ(THREAD_PREEMPTED, self->event.type);
			EXPECT_NO_EVENT(self->fd);
			if (ums_caught[SIGRTMIN] == (int)i + 1)
				break;
			ASSERT_GT(end, ums_now_ms());
			if (slice > QUIET_NS)
				slice = QUIET_NS;
		}
		if (!variant->queued)
			ums_tick_stop(&tick);
	}
	EXPECT_EQ(RACE_LOOPS, GET(ums_caught[SIGRTMIN]));
	EXPECT_EQ(TID(0), GET(ums_caught_by[SIGRTMIN]));
	EXPECT_NO_NOTES();
}

/* Against signals to the scheduler. */
TEST_F_TIMEOUT(slice, against_signal_to_scheduler, LONG_TEST)
{
	unsigned long interrupted = 0;
	struct ums_tick tick;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		int ret;

		ASSERT_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR1,
					    1 + i % 60, 0));
		ret = ums_run(self->fd, TID(0), 1 + i * 97 % 60000,
			      &self->event);
		while (ret == -EINTR) {
			interrupted++;
			ret = ums_wait(self->fd, 0, SOON_NS, &self->event);
		}
		ums_tick_stop(&tick);
		ASSERT_EQ(0, ret);
		ASSERT_EQ(THREAD_PREEMPTED, self->event.type);
		EXPECT_NO_EVENT(self->fd);
		TAKE(0, UMS_READY_PREEMPTED);
	}
	TH_LOG("interrupted %lu times", interrupted);
	EXPECT_SOME(interrupted);
}

/*
 * Many slices, with everything at once.
 */
TEST_F_TIMEOUT(slice, storm, LONG_TEST)
{
	ASSERT_EQ(0, ums_storm_start_with(&self->storm, self->fd, self->clist,
					  ENTER_UMS_BLOCK_EVENTS, 30000));
	ums_sleep_ms(1000);
	EXPECT_CALM(&self->storm);
	EXPECT_SOME(GET(self->storm.run.preempts));
	EXPECT_SOME(GET(self->storm.run.blocks));
}

/*
 * Registers.  A worker loads all of them, counts down in memory, and stores
 * them again; in between its slices end.
 */
#if defined(__x86_64__)
#define NR_GPR	14		/* all but rsp and rdi, which is the address */
#define NR_VEC	16

struct registers {
	__u64 count;
	__u64 avx;
	__u64 mxcsr;
	__u64 flags;		/* out; carry and direction are set */
	double st0;
	__u64 old_mxcsr;
	__u64 gpr[NR_GPR];
	__u64 vec[NR_VEC][4];
};

static_assert(offsetof(struct registers, gpr) == 48, "gpr");
static_assert(offsetof(struct registers, vec) == 160, "vec");

/* Leaves what it finds at the end where the values came from. */
static void spin_in_registers(struct registers *regs)
{
	asm volatile("lea -128(%%rsp), %%rsp\n\t"
		     "push %%rbp\n\t"
		     "stmxcsr 40(%%rdi)\n\t"
		     "ldmxcsr 16(%%rdi)\n\t"
		     "fldl 32(%%rdi)\n\t"
		     "cmpq $0, 8(%%rdi)\n\t"
		     "je 1f\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "vmovdqu 160 + 32 * \\i(%%rdi), %%ymm\\i\n\t"
		     ".endr\n\t"
		     "jmp 2f\n"
		     "1:\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "movdqu 160 + 32 * \\i(%%rdi), %%xmm\\i\n\t"
		     ".endr\n"
		     "2:\n\t"
		     ".set ums_at, 48\n\t"
		     ".irp r,rax,rbx,rcx,rdx,rsi,rbp,r8\n\t"
		     "mov ums_at(%%rdi), %%\\r\n\t"
		     ".set ums_at, ums_at + 8\n\t"
		     ".endr\n\t"
		     ".irp r,r9,r10,r11,r12,r13,r14,r15\n\t"
		     "mov ums_at(%%rdi), %%\\r\n\t"
		     ".set ums_at, ums_at + 8\n\t"
		     ".endr\n\t"
		     "stc\n\t"
		     "std\n"
		     "3:\n\t"
		     /* Leaves the carry alone. */
		     "decq (%%rdi)\n\t"
		     "jnz 3b\n\t"
		     "pushfq\n\t"
		     "popq 24(%%rdi)\n\t"
		     "cld\n\t"
		     ".set ums_at, 48\n\t"
		     ".irp r,rax,rbx,rcx,rdx,rsi,rbp,r8\n\t"
		     "mov %%\\r, ums_at(%%rdi)\n\t"
		     ".set ums_at, ums_at + 8\n\t"
		     ".endr\n\t"
		     ".irp r,r9,r10,r11,r12,r13,r14,r15\n\t"
		     "mov %%\\r, ums_at(%%rdi)\n\t"
		     ".set ums_at, ums_at + 8\n\t"
		     ".endr\n\t"
		     "cmpq $0, 8(%%rdi)\n\t"
		     "je 4f\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "vmovdqu %%ymm\\i, 160 + 32 * \\i(%%rdi)\n\t"
		     ".endr\n\t"
		     "vzeroupper\n\t"
		     "jmp 5f\n"
		     "4:\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "movdqu %%xmm\\i, 160 + 32 * \\i(%%rdi)\n\t"
		     ".endr\n"
		     "5:\n\t"
		     "fstpl 32(%%rdi)\n\t"
		     "stmxcsr 16(%%rdi)\n\t"
		     "ldmxcsr 40(%%rdi)\n\t"
		     "pop %%rbp\n\t"
		     "lea 128(%%rsp), %%rsp\n\t"
		     : "+D" (regs)
		     :
		     : "memory", "cc", "rax", "rbx", "rcx", "rdx", "rsi", "r8",
		       "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
		       "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
		       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
		       "xmm14", "xmm15");
}

static void set_special(struct registers *regs, unsigned int seed)
{
	regs->avx = !!__builtin_cpu_supports("avx");
	/* All exceptions masked, and one of the four rounding modes. */
	regs->mxcsr = 0x1f80 | seed % 4 << 13;
	regs->flags = 0;
	regs->st0 = seed;
}

static bool good_special(const struct registers *regs, unsigned int seed)
{
	return (regs->mxcsr & 0xffc0) == (0x1f80 | seed % 4 << 13) &&
	       (regs->flags & 0x401) == 0x401 && regs->st0 == seed;
}
#elif defined(__aarch64__)
#define NR_GPR	26		/* x3 to x28 */
#define NR_VEC	32

struct registers {
	__u64 count;
	__u64 pad;
	__u64 gpr[NR_GPR];
	__u64 vec[NR_VEC][2];
	__u64 fpcr;
	__u64 fpsr;
	__u64 old_fpcr;
};

static_assert(offsetof(struct registers, gpr) == 16, "gpr");
static_assert(offsetof(struct registers, vec) == 224, "vec");
static_assert(offsetof(struct registers, fpcr) == 736, "fpcr");

static void spin_in_registers(struct registers *regs)
{
	register struct registers *x0 asm("x0") = regs;

	asm volatile("mrs x1, fpcr\n\t"
		     "str x1, [x0, #752]\n\t"
		     "ldr x1, [x0, #736]\n\t"
		     "msr fpcr, x1\n\t"
		     "ldr x1, [x0, #744]\n\t"
		     "msr fpsr, x1\n\t"
		     "add x1, x0, #224\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "ldr q\\i, [x1, #(16 * \\i)]\n\t"
		     ".endr\n\t"
		     ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
		     "ldr q\\i, [x1, #(16 * \\i)]\n\t"
		     ".endr\n\t"
		     ".irp i,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "ldr x\\i, [x0, #(16 + 8 * (\\i - 3))]\n\t"
		     ".endr\n\t"
		     ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28\n\t"
		     "ldr x\\i, [x0, #(16 + 8 * (\\i - 3))]\n\t"
		     ".endr\n\t"
		     "ldr x1, [x0]\n"
		     "1:\n\t"
		     "sub x1, x1, #1\n\t"
		     "cbnz x1, 1b\n\t"
		     "str x1, [x0]\n\t"
		     "mrs x1, fpcr\n\t"
		     "str x1, [x0, #736]\n\t"
		     "mrs x1, fpsr\n\t"
		     "str x1, [x0, #744]\n\t"
		     "ldr x1, [x0, #752]\n\t"
		     "msr fpcr, x1\n\t"
		     "add x1, x0, #224\n\t"
		     ".irp i,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "str x\\i, [x0, #(16 + 8 * (\\i - 3))]\n\t"
		     ".endr\n\t"
		     ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28\n\t"
		     "str x\\i, [x0, #(16 + 8 * (\\i - 3))]\n\t"
		     ".endr\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "str q\\i, [x1, #(16 * \\i)]\n\t"
		     ".endr\n\t"
		     ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
		     "str q\\i, [x1, #(16 * \\i)]\n\t"
		     ".endr\n\t"
		     : "+r" (x0)
		     :
		     : "memory", "x1", "x3", "x4", "x5", "x6", "x7", "x8",
		       "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
		       "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
		       "x25", "x26", "x27", "x28", "v0", "v1", "v2", "v3", "v4",
		       "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13",
		       "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21",
		       "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
		       "v30", "v31");
}

/* The rounding mode; saturation and the exceptions that were seen. */
static void set_special(struct registers *regs, unsigned int seed)
{
	regs->fpcr = seed % 4 << 22;
	regs->fpsr = 1 << 27 | (seed & 0x1f);
}

static bool good_special(const struct registers *regs, unsigned int seed)
{
	return regs->fpcr == seed % 4 << 22 &&
	       regs->fpsr == (1 << 27 | (seed & 0x1f));
}
#endif

#ifdef NR_GPR
static __thread pid_t own_tid;

static void fill(struct registers *regs, unsigned int seed)
{
	unsigned char *byte = (unsigned char *)regs->gpr;

	for (size_t i = 0; i < sizeof(regs->gpr) + sizeof(regs->vec); i++)
		byte[i] = seed * 31 + i * 7;
}

static bool is_filled(const struct registers *regs, unsigned int seed)
{
	const unsigned char *byte = (const unsigned char *)regs->gpr;

	for (size_t i = 0; i < sizeof(regs->gpr) + sizeof(regs->vec); i++)
		if (byte[i] != (unsigned char)(seed * 31 + i * 7))
			return false;
	return true;
}

static void keep_registers(struct ums_worker *worker)
{
	struct registers regs;
	unsigned int seed = worker->tid;

	own_tid = worker->tid;
	while (worker->stage < 2) {
		seed += 3;
		fill(&regs, seed);
		set_special(&regs, seed);
		regs.count = 2000;
		spin_in_registers(&regs);
		CHECK(is_filled(&regs, seed));
		CHECK(good_special(&regs, seed));
		CHECK_EQ(0, regs.count);
		CHECK_EQ(worker->tid, own_tid);
		CHECK_EQ(worker->tid, gettid());
		worker->value++;
	}
}

static bool each_looked(const struct ums_worker *workers, long times)
{
	for (int i = 0; i < NR; i++)
		if (workers[i].value < times)
			return false;
	return true;
}

/* Several on one CPU, so that what is not kept is another one's. */
TEST_F_TIMEOUT(slice, keeps_registers, LONG_TEST)
{
	int live = NR;

	ASSERT_EQ(0, ums_pin(0));
	for (int i = 0; i < NR; i++)
		START(i, keep_registers);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (unsigned long i = 0; live; i++) {
		pid_t context = ums_take_one(self->fd, self->clist,
					     &self->ready);

		ASSERT_LT(0, context);
		ASSERT_EQ(0, ums_run(self->fd, context, 5000 + i % 97 * 1000,
				     &self->event));
		ASSERT_EQ(context, ums_event_context(&self->event));
		if (self->event.type == THREAD_TERMINATED)
			live--;
		else
			ASSERT_EQ(THREAD_PREEMPTED, self->event.type);
		/* A slice may be too short for one look. */
		if (i < 4 * RACE_LOOPS || !each_looked(self->workers, 10))
			continue;
		for (int j = 0; j < NR; j++)
			self->workers[j].stage = 2;
	}
	EXPECT_NO_NOTES();
}
#endif

TEST_HARNESS_MAIN
