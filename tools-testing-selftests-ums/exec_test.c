// SPDX-License-Identifier: GPL-2.0
/* Executing workers: who may, what is refused, and what the switch keeps. */
#include <fenv.h>

#include "ums_fixture.h"

#define NR	4

FIXTURE(exec) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	struct ums_test_run run;
	pid_t got[NR];
};

FIXTURE_SETUP(exec)
{
	SETUP_CLIST(return);
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
	};
}

FIXTURE_TEARDOWN(exec)
{
	close(self->fd);
}

/* The first @count workers, started with @function, run to their end. */
#define RUN_ALL(count, function)					\
	do {								\
		int __count = (count);					\
									\
		for (int __n = 0; __n < __count; __n++)			\
			START(__n, function);				\
		self->run.nr_workers = __count;				\
		self->run.live = __count;				\
		ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));	\
		ASSERT_EQ(0, ums_schedule(&self->run));			\
		EXPECT_SETTLED(&self->run);				\
		EXPECT_NO_NOTES();					\
	} while (0)

TEST_F(exec, returns_when_worker_yields)
{
	struct ums_worker *worker = &self->workers[0];
	struct ums_event event;

	worker->granted = 2;
	worker->value = 1;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_EQ(0, ums_exec(self->fd, TID(0)));
	EXPECT_EQ(1, GET(worker->used));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(TID(0), event.yield_params.context);
	/* It stays where it yielded. */
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(1, GET(worker->used));
	EXPECT_NO_NOTES();
}

TEST_F(exec, unknown_context)
{
	struct ums_event event;
	pid_t child;

	START(0, ums_work_return);
	self->workers[0].granted = 1;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, 0));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, -1));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, INT_MIN));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, INT_MAX));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, NOT_A_WORKER));
	/* A scheduler, ourselves. */
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, gettid()));

	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	if (sizeof(long) > 4) {
		unsigned long high = 1UL << (sizeof(long) * 8 - 16);

		EXPECT_EQ(-ESRCH, ums_exec(self->fd, high | TID(0)));
	}
	/* A process of ours that is in no UMS. */
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		pause();
		_exit(0);
	}
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, child));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);

	/* A dead one. */
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, TID(0)));
}

static void leave_and_wait(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_exit(worker->fd));
	worker->stage = 1;
	while (worker->stage < 2)
		usleep(1000);
}

TEST_F(exec, plain_thread_and_scheduler_are_no_contexts)
{
	struct ums_event event;

	self->workers[0].granted = 1;
	START(0, leave_and_wait);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, TID(0)));
	self->workers[0].stage = 2;
	pthread_join(self->workers[0].thread, NULL);
	EXPECT_NO_NOTES();
}

/* A worker of another process has nothing to do with us. */
TEST_F(exec, worker_of_other_process)
{
	int pipes[2];
	pid_t child, tid = 0;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct ums_worker worker = {};
		int fd;

		close(self->fd);
		fd = ums_open();
		if (fd < 0 || ums_worker_start(&worker, fd, ums_create(fd),
					       ums_work_return))
			_exit(1);
		tid = worker.tid;
		if (write(pipes[1], &tid, sizeof(tid)) != sizeof(tid))
			_exit(2);
		pause();
		_exit(0);
	}
	ASSERT_EQ(sizeof(tid), read(pipes[0], &tid, sizeof(tid)));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, tid));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, tid));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

TEST_F(exec, queued_worker_is_busy)
{
	struct ums_event event;

	self->workers[0].granted = LOTS;
	self->workers[0].value = 1;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(0)));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	/* Queued again. */
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(0)));
	EXPECT_EQ(1, GET(self->workers[0].used));
	EXPECT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_NO_NOTES();
}

/* Invariant 2: a running worker belongs to the scheduler that runs it. */
TEST_F(exec, running_worker_is_busy)
{
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist,
		.workers = self->workers, .nr_workers = 1, .live = 1,
	};
	struct ums_sched sched = { .run = &run, .cpu = -1 };
	int other = ums_create(self->fd);

	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	ASSERT_EQ(0, ums_become_sched(self->fd, other));
	for (int i = 0; i < 100; i++)
		EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(0)));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	self->workers[0].stage = 2;
	pthread_join(sched.thread, NULL);
	EXPECT_EQ(1, GET(self->workers[0].used));
	EXPECT_NO_NOTES();
}

/*
 * A signal ends the call, not the execution: the worker runs on, the next
 * execution is refused, and the event comes when it stops.
 */
TEST_F(exec, interrupted)
{
	struct ums_event event;

	START(0, ums_work_spin);
	START(1, ums_work_return);
	self->workers[0].granted = LOTS;
	self->workers[1].granted = LOTS;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 2));
	EXPECT_WAITS(ums_exec(self->fd, TID(0)));
	EXPECT_EQ(1, GET(self->workers[0].stage));
	/* Another, the same, and no event yet. */
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(1)));
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(0)));
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	/* The refused one is still ours. */
	EXPECT_EQ(0, ums_next(self->fd, TID(1)));

	self->workers[0].stage = 2;
	ASSERT_EQ(0, ums_event_wait(self->fd, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(TID(0), event.end_params.context);
	ASSERT_EQ(0, ums_run_once(self->fd, TID(1), &event));
	EXPECT_EQ(TID(1), event.end_params.context);
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_NO_NOTES();
}

static void spin_then_yield(struct ums_worker *worker)
{
	ums_work_spin(worker);
	ums_worker_yield(worker, 77);
}

/* The interrupted scheduler may wait in a dequeue meanwhile. */
TEST_F(exec, interrupted_then_dequeue)
{
	struct ums_event event;

	START(0, spin_then_yield);
	self->workers[0].granted = LOTS;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_WAITS(ums_exec(self->fd, TID(0)));
	EXPECT_WAITS(ums_dequeue(self->fd, self->clist));
	self->workers[0].stage = 2;
	/* It yields, which puts it on the list. */
	EXPECT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(77, event.yield_params.scheduler_params);
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_NO_NOTES();
}

static void exec_for_other(struct ums_sched *sched)
{
	struct ums_event event;
	pid_t context = *(pid_t *)sched->arg;

	sched->ret = ums_exec(sched->fd, context);
	CHECK_EQ(0, ums_dqevent(sched->fd, &event));
	CHECK_EQ(THREAD_YIELD, event.type);
	CHECK_EQ(context, event.yield_params.context);
	CHECK_EQ(0, ums_exit(sched->fd));
}

/* Who dequeued it and who executes it may differ; the event goes to the latter. */
TEST_F(exec, by_other_than_dequeuer)
{
	struct ums_sched sched;
	struct ums_event event;

	self->workers[0].granted = LOTS;
	self->workers[0].value = 10;
	START(0, ums_work_yield);
	START(1, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 2));
	sched = (struct ums_sched) {
		.fn = exec_for_other, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = &self->got[0],
	};
	ASSERT_EQ(0, ums_sched_start(&sched));
	pthread_join(sched.thread, NULL);
	EXPECT_EQ(0, sched.ret);
	/* It left the dequeuer's hands, and no event came here. */
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	EXPECT_EQ(0, ums_next(self->fd, TID(1)));
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_NO_NOTES();
}

struct exec_race {
	int fd;
	int clist;
	unsigned long loops;
	struct ums_gate gate;
	atomic_int context;
	atomic_int wins[2];
	int result[2];
};

static int race_once(struct exec_race *race, int me)
{
	struct ums_event event;
	int ret = ums_exec(race->fd, race->context);

	if (!ret) {
		CHECK_EQ(0, ums_dqevent(race->fd, &event));
		CHECK_EQ(THREAD_YIELD, event.type);
		CHECK_EQ(race->context, event.yield_params.context);
		race->wins[me]++;
	} else {
		CHECK_EQ(-EBUSY, ret);
	}
	race->result[me] = ret;
	return ret;
}

static void race_second(struct ums_sched *sched)
{
	struct exec_race *race = sched->arg;

	for (unsigned long i = 0; i < race->loops; i++) {
		ums_gate_pass(&race->gate, 2, 2 * i);
		race_once(race, 1);
		ums_gate_pass(&race->gate, 2, 2 * i + 1);
	}
	CHECK_EQ(0, ums_exit(sched->fd));
}

/* Invariant 2.  Fault caught: the state is looked at and set in two steps. */
TEST_F_TIMEOUT(exec, race_has_one_winner, LONG_TEST)
{
	struct exec_race race = {
		.fd = self->fd, .clist = self->clist, .loops = RACE_LOOPS,
	};
	struct ums_sched sched = {
		.fn = race_second, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = &race,
	};

	self->workers[0].granted = LOTS;
	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	race.context = ums_dequeue(self->fd, self->clist);
	ASSERT_EQ(TID(0), GET(race.context));
	ASSERT_EQ(0, ums_sched_start(&sched));
	for (unsigned long i = 0; i < race.loops; i++) {
		ums_gate_pass(&race.gate, 2, 2 * i);
		race_once(&race, 0);
		ums_gate_pass(&race.gate, 2, 2 * i + 1);
		ASSERT_EQ(i + 1, GET(race.wins[0]) + GET(race.wins[1]));
		EXPECT_EQ(-EBUSY, race.result[0] + race.result[1]);
		if (i + 1 < race.loops)
			ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	}
	pthread_join(sched.thread, NULL);
	EXPECT_EQ(race.loops, GET(self->workers[0].used));
	EXPECT_NO_NOTES();
}

/*
 * A worker held by a debugger cannot be executed; nothing changes for it.
 */
TEST_F(exec, worker_held_by_debugger)
{
	struct ums_event event;
	struct ums_hold hold;
	int ret;

	self->workers[0].granted = LOTS;
	self->workers[0].value = 10;
	START(0, ums_work_yield);
	START(1, ums_work_return);
	self->workers[1].granted = LOTS;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 2));
	ASSERT_EQ(0, ums_hold_start(&hold, TID(0)));

	EXPECT_EQ(-EAGAIN, ums_exec(self->fd, TID(0)));
	EXPECT_EQ(-EAGAIN, ums_exec(self->fd, TID(0)));
	/* It is still ours, and others can be executed. */
	EXPECT_EQ(TID(1), ums_next(self->fd, TID(0)));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(1), &event));
	EXPECT_EQ(TID(1), event.end_params.context);
	EXPECT_EQ(0, GET(self->workers[0].used));

	EXPECT_EQ(0, ums_hold_end(&hold));
	do {
		ret = ums_exec(self->fd, TID(0));
	} while (ret == -EAGAIN);
	EXPECT_EQ(0, ret);
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(1, GET(self->workers[0].used));
	EXPECT_NO_NOTES();
}

/*
 * Invariant 1: a scheduler and its worker never run user code at once.
 */
FIXTURE(exclusion) {
	int fd;
	int clist;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(exclusion) {
	int sched_cpu;
	int worker_cpu;
};

FIXTURE_VARIANT_ADD(exclusion, anywhere) { -1, -1 };
FIXTURE_VARIANT_ADD(exclusion, same_cpu) { 0, 0 };
FIXTURE_VARIANT_ADD(exclusion, two_cpus) { 0, 1 };

FIXTURE_SETUP(exclusion)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(exclusion)
{
	close(self->fd);
}

/* How many are between their calls at this moment. */
static atomic_int inside;

static void be_inside(int spins)
{
	CHECK_EQ(1, atomic_fetch_add(&inside, 1) + 1);
	for (int i = 0; i < spins; i++)
		CHECK_EQ(1, atomic_load(&inside));
	CHECK_EQ(0, atomic_fetch_sub(&inside, 1) - 1);
}

static void yield_inside(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_pin(*(int *)worker->arg));
	for (long i = 0; i < worker->value; i++) {
		be_inside(50);
		ums_worker_yield(worker, i);
	}
	be_inside(50);
}

static void *run_inside(void *arg)
{
	struct ums_test_run *run = arg;
	pid_t got[2];

	CHECK_EQ(0, ums_pin(*(int *)run->arg));
	CHECK_EQ(0, ums_become_sched(run->fd, run->clist));
	while (run->live) {
		/* Each worker is on the list whenever the scheduler is here. */
		int count = run->live;

		CHECK_EQ(0, ums_collect(run->fd, run->clist, got, count));
		for (int i = 0; i < count; i++) {
			be_inside(20);
			CHECK_EQ(0, ums_run_contexts(run, &got[i], 1));
		}
	}
	return NULL;
}

TEST_F_TIMEOUT(exclusion, never_both, LONG_TEST)
{
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = 2, .live = 2, .arg = (void *)&variant->sched_cpu,
	};
	pthread_t thread;

	if (variant->worker_cpu > 0 && sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, NO_TWO_CPUS);
	for (int i = 0; i < 2; i++) {
		self->workers[i].value = RACE_LOOPS;
		self->workers[i].arg = (void *)&variant->worker_cpu;
		ASSERT_EQ(0, ums_worker_start(&self->workers[i], self->fd,
					      self->clist, yield_inside));
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_inside, &run));
	pthread_join(thread, NULL);
	EXPECT_EQ(2 * RACE_LOOPS, GET(run.yields));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

/*
 * What a switch keeps.
 */
static __thread long own_number;

static void keep_thread_state(struct ums_worker *worker)
{
	static const int modes[] = {
		FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO,
	};
	double value = worker->tid;
	int mode = modes[worker->tid % 4];

	own_number = worker->tid;
	CHECK_EQ(0, fesetround(mode));
	for (long i = 0; i < worker->value; i++) {
		errno = 1000 + worker->tid % 1000;
		value = value * 1.5;
		CHECK_EQ(0, ioctl(worker->fd, IOCTL_UMS_YIELD, i));
		CHECK_EQ(1000 + worker->tid % 1000, errno);
		ums_worker_went_on(worker);
		value = value / 1.5;
		CHECK_EQ(worker->tid, own_number);
		CHECK_EQ(worker->tid, gettid());
		CHECK(pthread_equal(worker->thread, pthread_self()));
		CHECK(value > worker->tid - 0.5 && value < worker->tid + 0.5);
		CHECK_EQ(mode, fegetround());
	}
}

TEST_F(exec, keeps_thread_local_state)
{
	for (int i = 0; i < NR; i++)
		self->workers[i].value = 100;
	RUN_ALL(NR, keep_thread_state);
}

#if defined(__x86_64__)
#define NR_GPR 5
#define NR_VEC 16

struct registers {
	__u64 gpr[NR_GPR + 1];
	__u64 vec[NR_VEC][2];
};

static long yield_registers(int fd, struct registers *in, struct registers *out)
{
	register struct registers *r8 asm("r8") = in;
	register struct registers *r9 asm("r9") = out;
	long ret;

	asm volatile("mov 0(%%r8), %%rbx\n\t"
		     "mov 8(%%r8), %%r12\n\t"
		     "mov 16(%%r8), %%r13\n\t"
		     "mov 24(%%r8), %%r14\n\t"
		     "mov 32(%%r8), %%r15\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "movdqu 48 + 16 * \\i(%%r8), %%xmm\\i\n\t"
		     ".endr\n\t"
		     "syscall\n\t"
		     "mov %%rbx, 0(%%r9)\n\t"
		     "mov %%r12, 8(%%r9)\n\t"
		     "mov %%r13, 16(%%r9)\n\t"
		     "mov %%r14, 24(%%r9)\n\t"
		     "mov %%r15, 32(%%r9)\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "movdqu %%xmm\\i, 48 + 16 * \\i(%%r9)\n\t"
		     ".endr\n\t"
		     : "=a" (ret)
		     : "0" ((long)SYS_ioctl), "D" ((long)fd),
		       "S" ((long)IOCTL_UMS_YIELD), "d" (0L), "r" (r8), "r" (r9)
		     : "memory", "rcx", "r11", "rbx", "r12", "r13", "r14", "r15",
		       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
		       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
		       "xmm13", "xmm14", "xmm15");
	return ret;
}
#elif defined(__aarch64__)
#define NR_GPR 10
#define NR_VEC 32

struct registers {
	__u64 gpr[NR_GPR];
	__u64 vec[NR_VEC][2];
};

static long yield_registers(int fd, struct registers *in, struct registers *out)
{
	register long x0 asm("x0") = fd;
	register long x1 asm("x1") = IOCTL_UMS_YIELD;
	register long x2 asm("x2") = 0;
	register long x8 asm("x8") = SYS_ioctl;
	register struct registers *x9 asm("x9") = in;
	register struct registers *x10 asm("x10") = out;

	asm volatile(".irp i,19,20,21,22,23,24,25,26,27,28\n\t"
		     "ldr x\\i, [x9, #(8 * (\\i - 19))]\n\t"
		     ".endr\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "ldr q\\i, [x9, #(80 + 16 * \\i)]\n\t"
		     ".endr\n\t"
		     ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
		     "ldr q\\i, [x9, #(80 + 16 * \\i)]\n\t"
		     ".endr\n\t"
		     "svc #0\n\t"
		     ".irp i,19,20,21,22,23,24,25,26,27,28\n\t"
		     "str x\\i, [x10, #(8 * (\\i - 19))]\n\t"
		     ".endr\n\t"
		     ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
		     "str q\\i, [x10, #(80 + 16 * \\i)]\n\t"
		     ".endr\n\t"
		     ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
		     "str q\\i, [x10, #(80 + 16 * \\i)]\n\t"
		     ".endr\n\t"
		     : "+r" (x0)
		     : "r" (x1), "r" (x2), "r" (x8), "r" (x9), "r" (x10)
		     : "memory", "x19", "x20", "x21", "x22", "x23", "x24",
		       "x25", "x26", "x27", "x28", "v0", "v1", "v2", "v3", "v4",
		       "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13",
		       "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21",
		       "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
		       "v30", "v31");
	return x0;
}
#endif

#ifdef NR_GPR
static void keep_registers(struct ums_worker *worker)
{
	struct registers in, out;
	unsigned char *byte = (unsigned char *)&in;

	for (long i = 0; i < worker->value; i++) {
		for (size_t j = 0; j < sizeof(in); j++)
			byte[j] = worker->tid * 31 + i * 7 + j;
		memcpy(&out, &in, sizeof(out));
		memset(&out, 0, sizeof(out.gpr[0]) * NR_GPR);
		memset(out.vec, 0, sizeof(out.vec));
		CHECK_EQ(0, yield_registers(worker->fd, &in, &out));
		CHECK_EQ(0, memcmp(&in, &out, sizeof(in)));
		ums_worker_went_on(worker);
	}
}

TEST_F(exec, keeps_registers)
{
	for (int i = 0; i < NR; i++)
		self->workers[i].value = 200;
	RUN_ALL(NR, keep_registers);
}
#endif

static long deep(struct ums_worker *worker, int depth)
{
	long here[32];

	for (int i = 0; i < 32; i++)
		here[i] = worker->tid + depth + i;
	/* Not a matter of registers: all of it must be in memory. */
	asm volatile("" : : "r" (here) : "memory");
	ums_worker_yield(worker, depth);
	if (depth)
		CHECK_EQ(worker->tid + depth - 1, deep(worker, depth - 1));
	for (int i = 0; i < 32; i++)
		CHECK_EQ(worker->tid + depth + i, here[i]);
	return here[0];
}

static void go_deep(struct ums_worker *worker)
{
	CHECK_EQ(worker->tid + 50, deep(worker, 50));
}

TEST_F(exec, keeps_stack)
{
	RUN_ALL(NR, go_deep);
	EXPECT_EQ(NR * 51, GET(self->run.yields));
}

/*
 * Placement.
 */
static void note_cpu(struct ums_worker *worker)
{
	cpu_set_t before, after;
	int *cpus = worker->arg;

	CHECK_EQ(0, sched_getaffinity(0, sizeof(before), &before));
	for (long i = 0; i < worker->value; i++) {
		cpus[i] = sched_getcpu();
		ums_worker_yield(worker, i);
	}
	CHECK_EQ(0, sched_getaffinity(0, sizeof(after), &after));
	CHECK(CPU_EQUAL(&before, &after));
}

#define PLACED 400

/*
 * A worker runs where its scheduler is; its mask stays its own.  Other load can
 * move a few, a switch that wakes elsewhere moves nearly all.
 */
TEST_F_TIMEOUT(exec, runs_on_this_cpu, LONG_TEST)
{
	struct ums_event event;
	int cpus[PLACED], elsewhere = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, NO_TWO_CPUS);
	self->workers[0].granted = LOTS;
	self->workers[0].value = PLACED;
	self->workers[0].arg = cpus;
	START(0, note_cpu);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < PLACED; i++) {
		if (i % 20 == 0)
			ASSERT_EQ(0, ums_pin(i / 20 % 2));
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		ASSERT_EQ(THREAD_YIELD, event.type);
		elsewhere += cpus[i] != i / 20 % 2;
	}
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	TH_LOG("%d of %d executions on the other CPU", elsewhere, PLACED);
	EXPECT_GT(PLACED / 4, elsewhere);
	EXPECT_NO_NOTES();
}

static void pinned(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_pin(1));
	for (long i = 0; i < worker->value; i++) {
		CHECK_EQ(1, sched_getcpu());
		ums_worker_yield(worker, i);
	}
}

/* A worker that may not run here runs where it may. */
TEST_F_TIMEOUT(exec, respects_affinity, LONG_TEST)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, NO_TWO_CPUS);
	ASSERT_EQ(0, ums_pin(0));
	self->workers[0].value = 300;
	self->workers[1].value = 300;
	RUN_ALL(2, pinned);
}

/*
 * A worker that sleeps, or that the kernel preempts, has not stopped.
 */
static void sleep_then_yield(struct ums_worker *worker)
{
	ums_sleep_ms(QUIET_MS);
	worker->stage = 1;
	ums_worker_yield(worker, 0);
	worker->stage = 2;
}

TEST_F(exec, sleeping_worker_has_not_stopped)
{
	struct ums_event event;
	long start;

	self->workers[0].granted = LOTS;
	START(0, sleep_then_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	start = ums_now_ms();
	ASSERT_EQ(0, ums_exec(self->fd, TID(0)));
	EXPECT_LE(QUIET_MS - 2, ums_now_ms() - start);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_NO_NOTES();
}

struct echo {
	int to[2];
	int back[2];
	unsigned long loops;
};

static void *echo_bytes(void *arg)
{
	struct echo *echo = arg;
	char byte;

	while (read(echo->to[0], &byte, 1) == 1)
		if (write(echo->back[1], &byte, 1) != 1)
			break;
	return NULL;
}

static void talk_to_echo(struct ums_worker *worker)
{
	struct echo *echo = worker->arg;
	char byte = 0;

	for (unsigned long i = 0; i < echo->loops; i++) {
		CHECK_EQ(1, write(echo->to[1], &byte, 1));
		CHECK_EQ(1, read(echo->back[0], &byte, 1));
	}
	close(echo->to[1]);
}

/* Fault caught: a wake-up from a system call is taken for a stop. */
TEST_F_TIMEOUT(exec, blocking_makes_no_events, LONG_TEST)
{
	struct echo echo = { .loops = RACE_LOOPS };
	pthread_t thread;

	ASSERT_EQ(0, pipe(echo.to));
	ASSERT_EQ(0, pipe(echo.back));
	ASSERT_EQ(0, pthread_create(&thread, NULL, echo_bytes, &echo));
	self->workers[0].arg = &echo;
	RUN_ALL(1, talk_to_echo);
	EXPECT_EQ(0, GET(self->run.yields));
	EXPECT_EQ(1, GET(self->run.ends));
	pthread_join(thread, NULL);
}

static void spin_for_a_while(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		ums_spin_us(30000);
		ums_worker_yield(worker, i);
	}
}

/* Fault caught: the kernel's own preemption is taken for a stop. */
TEST_F_TIMEOUT(exec, preemption_makes_no_events, LONG_TEST)
{
	struct ums_hog hogs[2];

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, ums_hog_start(&hogs[i], 0));
	ASSERT_EQ(0, ums_pin(0));
	self->workers[0].value = 5;
	self->workers[1].value = 5;
	RUN_ALL(2, spin_for_a_while);
	EXPECT_EQ(10, GET(self->run.yields));
	for (int i = 0; i < 2; i++)
		ums_hog_stop(&hogs[i]);
}

/*
 * Events that nobody reads pile up and come out in order.  1024 of them a
 * scheduler may leave, and not for ever more: invariant 10.
 */
TEST_F_TIMEOUT(exec, unread_events_are_kept, LONG_TEST)
{
	struct ums_event event;
	int count, ret;

	self->workers[0].granted = LOTS;
	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (count = 0; count < 1100; count++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ret = ums_exec(self->fd, TID(0));
		if (ret)
			break;
	}
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_LE(1024, count);
	/* The refused execution has changed nothing. */
	EXPECT_EQ(count, GET(self->workers[0].used));
	EXPECT_EQ(0, ums_next(self->fd, TID(0)));
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		ASSERT_EQ(THREAD_YIELD, event.type);
		ASSERT_EQ(i, event.yield_params.scheduler_params);
	}
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(count, event.yield_params.scheduler_params);
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
