// SPDX-License-Identifier: GPL-2.0
/*
 * The library's functions for schedulers that get their CPU back: block events,
 * slices, kept workers, hand-over, preemption, queries and descriptors.
 */
#include <poll.h>
#include <sys/resource.h>

#include "ums_lib_test.h"

#define NR		4
#define NR_TOLD		1100
#define COOKIE		1000
/* As the library's header has it. */
#define MAX_UNDELIVERED	1024

#define BLOCK		UMS_SCHEDULER_BLOCK_EVENTS
#define KEEP		UMS_SCHEDULER_KEEP

/*
 * A scheduler that writes down what it is told, and calls the test's function
 * with the number of the call.
 */
static struct {
	ums_reason_t reason;
	ums_context_t context;
	int32_t cause;
	void *param;
} told[NR_TOLD];

static int calls;
static void (*step)(int call);

static ums_completion_list_t list;
static pthread_t threads[NR];
static ums_context_t ctx[NR];
static ums_why_t why[NR];
static atomic_int stage[NR];
static int pipes[2];
static atomic_int sched_tid;

static void note(ums_reason_t reason, ums_activation_t *activation, void *param)
{
	int call = calls;

	if (!CHECK(call < NR_TOLD)) {
		leave_ums_scheduling_mode();
		return;
	}
	calls++;
	CHECK_EQ(call == 0, reason == UMS_SCHEDULER_STARTUP);
	CHECK_EQ(call == 0, !activation);
	told[call].reason = reason;
	told[call].param = param;
	if (activation) {
		told[call].context = activation->context;
		if (reason == UMS_SCHEDULER_THREAD_BLOCKED)
			told[call].cause = activation->blocked.cause;
		else
			CHECK_EQ(0, activation->blocked.cause);
		CHECK_EQ(activation->context, activation->blocked.context);
		for (size_t i = 1; i < ARRAY_SIZE(activation->reserved); i++)
			CHECK_EQ(0, activation->reserved[i]);
	}
	if (!call)
		sched_tid = gettid();
	step(call);
	/* After a failure it might wait for ever. */
	if (*ums_notes())
		leave_ums_scheduling_mode();
}

static int enter(unsigned int flags, void (*fn)(int call))
{
	ums_scheduler_startup_info_t info = {
		.completion_list = list,
		.ums_scheduler_entry_point = note,
	};

	calls = 0;
	step = fn;
	return ok(enter_ums_scheduling_mode_flags(&info, flags));
}

static void leave(void)
{
	CHECK_EQ(0, leave_ums_scheduling_mode());
}

/* Worker @i is known by its cookie, before its context is. */
static int create(int i, void *(*fn)(void *))
{
	ums_attr_t attr = { .completion_list = list };

	return ok(ums_pthread_create_cookie(&threads[i], &attr, fn,
					    (void *)(long)i, COOKIE + i));
}

/* Takes @count workers that are on the list or must come soon. */
static void take(int count)
{
	while (count--) {
		ums_ready_item_t item = { .cookie = COOKIE };
		long ret = ok(dequeue_ums_ready(list, &item, 1, SOON_NS));
		int i = item.cookie - COOKIE;

		CHECK_EQ(1, ret);
		if (ret != 1 || !CHECK(i >= 0 && i < NR))
			return;
		ctx[i] = item.context;
		why[i] = item.why;
	}
}

static bool list_is_empty(void)
{
	ums_ready_item_t item;

	return ok(dequeue_ums_ready(list, &item, 1, 0)) == -EAGAIN;
}

static ums_thread_info_t query(ums_context_t context)
{
	ums_thread_info_t info;

	memset(&info, 0xff, sizeof(info));
	CHECK_EQ(0, ok(query_ums_thread(context, &info)));
	return info;
}

#define EXPECT_TOLD(i, expected, worker)				\
	do {								\
		int __i = (i);						\
									\
		EXPECT_EQ(expected, told[__i].reason);			\
		EXPECT_EQ(ctx[worker], told[__i].context);		\
	} while (0)

static void *work_return(void *arg)
{
	return arg;
}

static void *work_yield(void *arg)
{
	long i = (long)arg;

	stage[i]++;
	CHECK_EQ(0, ums_thread_yield((void *)(i + 7)));
	stage[i]++;
	return arg;
}

static void *work_yield_for_ever(void *arg)
{
	for (;;)
		CHECK_EQ(0, ums_thread_yield(NULL));
	return arg;
}

static void *work_read(void *arg)
{
	long i = (long)arg;
	char byte;

	stage[i] = 1;
	CHECK_EQ(1, read(pipes[0], &byte, 1));
	stage[i] = 2;
	return arg;
}

/* Until stage is 2 or more, which it may be before a first short slice begins. */
static void *work_spin(void *arg)
{
	long i = (long)arg;
	int none = 0;

	atomic_compare_exchange_strong(&stage[i], &none, 1);
	while (stage[i] < 2)
		;
	return arg;
}

static void tell_reader(void)
{
	CHECK_EQ(1, write(pipes[1], "", 1));
}

FIXTURE(block) {
};

FIXTURE_SETUP(block)
{
	NEED_DEVICE(return);
	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	ASSERT_EQ(0, create_ums_completion_list(&list));
}

FIXTURE_TEARDOWN(block)
{
}

/*
 * Block events.
 */
static void run_reader(int call)
{
	switch (call) {
	case 0:
		take(1);
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		CHECK_EQ(1, stage[0]);
		break;
	case 1:
		/* It belongs to nobody. */
		CHECK_EQ(UMS_THREAD_BLOCKED, query(ctx[0]).state);
		CHECK(list_is_empty());
		CHECK_EQ(-EBUSY, ok(execute_ums_thread(ctx[0])));
		CHECK_EQ(-EBUSY, ok(execute_ums_thread_for(ctx[0], 1000000)));
		CHECK_EQ(-ESRCH, ok(get_next_ums_list_item(ctx[0])));
		CHECK_EQ(-EAGAIN, ok(preempt_ums_thread(ctx[0])));
		tell_reader();
		take(1);
		/* No instruction in user mode before it is executed. */
		ums_sleep_ms(QUIET_MS);
		CHECK_EQ(1, stage[0]);
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		CHECK_EQ(2, stage[0]);
		break;
	default:
		leave();
	}
}

TEST_F(block, is_told)
{
	ASSERT_EQ(0, create(0, work_read));
	ASSERT_EQ(0, enter(BLOCK, run_reader));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_BLOCKED, 0);
	EXPECT_EQ(SYS_read, told[1].cause);
	EXPECT_EQ(NULL, told[1].param);
	EXPECT_EQ(UMS_WHY_UNBLOCKED, why[0]);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_EQ(NULL, told[2].param);
	EXPECT_NO_NOTES();
}

/* One that blocked goes to its list whatever the scheduler keeps. */
TEST_F(block, is_told_with_keep)
{
	ASSERT_EQ(0, create(0, work_read));
	ASSERT_EQ(0, enter(BLOCK | KEEP, run_reader));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_BLOCKED, 0);
	EXPECT_EQ(UMS_WHY_UNBLOCKED, why[0]);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

static struct ums_faults faults;

static void *work_fault(void *arg)
{
	atomic_char *page = (atomic_char *)ums_fault_page(&faults, 0);

	CHECK_EQ(0, atomic_load(page));
	return arg;
}

static void run_fault(int call)
{
	switch (call) {
	case 1:
		CHECK_EQ(0, ums_faults_end(&faults, 0));
		take(1);
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		break;
	case 0:
		take(1);
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		break;
	default:
		leave();
	}
}

TEST_F(block, by_trap_is_told)
{
	if (!ums_faults_start(&faults, false))
		SKIP(return, NO_UFFD);
	ASSERT_EQ(0, create(0, work_fault));
	ASSERT_EQ(0, enter(BLOCK, run_fault));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_BLOCKED, 0);
	EXPECT_EQ(UMS_BLOCKED_BY_TRAP, told[1].cause);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

static void *work_nap_and_yield(void *arg)
{
	CHECK_EQ(0, ums_nap_us(QUIET_MS * 1000));
	CHECK_EQ(0, ums_thread_yield((void *)7));
	ums_spin_us(QUIET_MS * 1000);
	return arg;
}

static void run_to_the_end(int call)
{
	long start = ums_now_ms();

	if (call == 2) {
		leave();
		return;
	}
	take(1);
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
	/* Slept, or computed, and the scheduler slept as long. */
	CHECK(ums_now_ms() - start >= QUIET_MS - 2);
}

/* A program that does not ask never sees the newer reasons. */
TEST_F(block, is_not_told_unasked)
{
	ums_scheduler_startup_info_t info = {
		.completion_list = list,
		.ums_scheduler_entry_point = note,
	};

	step = run_to_the_end;
	ASSERT_EQ(0, create(0, work_nap_and_yield));
	ASSERT_EQ(0, enter_ums_scheduling_mode(&info));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_YIELD, 0);
	EXPECT_EQ((void *)7, told[1].param);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

/* Left where the worker is blocked, which is for others to run. */
static void run_and_leave(int call)
{
	if (call == 0) {
		take(1);
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
	} else {
		leave();
	}
}

TEST_F(block, leave_when_told)
{
	ASSERT_EQ(0, create(0, work_read));
	ASSERT_EQ(0, enter(BLOCK, run_and_leave));
	ASSERT_EQ(2, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_BLOCKED, 0);
	EXPECT_EQ(-ESRCH, ok(leave_ums_scheduling_mode()));
	EXPECT_EQ(-EBUSY, ok(delete_ums_completion_list(&list)));
	tell_reader();
	ASSERT_EQ(0, enter(BLOCK, run_and_leave));
	ASSERT_EQ(2, calls);
	EXPECT_EQ(UMS_WHY_UNBLOCKED, why[0]);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_EQ(0, pthread_join(threads[0], NULL));
	EXPECT_EQ(0, ok(delete_ums_completion_list(&list)));
	EXPECT_NO_NOTES();
}

/* Several executions in one call: each is told, in order. */
static void run_four(int call)
{
	if (call == 4) {
		leave();
		return;
	}
	if (call)
		return;
	take(4);
	CHECK_EQ(0, ok(execute_ums_thread(ctx[1])));
	CHECK_EQ(0, ok(execute_ums_thread_for(ctx[2], 1000000)));
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
	CHECK_EQ(0, ok(execute_ums_thread(ctx[3])));
	CHECK_EQ(1, calls);
}

TEST_F(block, events_in_order)
{
	ASSERT_EQ(0, create(0, work_yield));
	ASSERT_EQ(0, create(1, work_read));
	ASSERT_EQ(0, create(2, work_spin));
	ASSERT_EQ(0, create(3, work_return));
	ASSERT_EQ(0, enter(BLOCK, run_four));
	ASSERT_EQ(5, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_BLOCKED, 1);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_PREEMPTED, 2);
	EXPECT_TOLD(3, UMS_SCHEDULER_THREAD_YIELD, 0);
	EXPECT_TOLD(4, UMS_SCHEDULER_THREAD_END, 3);
	EXPECT_NO_NOTES();
}

TEST_F(block, unknown_flags)
{
	EXPECT_EQ(-EINVAL, enter(4, run_four));
	EXPECT_EQ(-EINVAL, enter(1U << 31 | BLOCK, run_four));
	EXPECT_EQ(0, calls);
	EXPECT_EQ(-EFAULT, ok(enter_ums_scheduling_mode_flags(NULL, BLOCK)));
	/* Nothing of it has made a scheduler of the thread. */
	EXPECT_EQ(-ESRCH, ok(leave_ums_scheduling_mode()));
}

/*
 * Slices.
 */
static unsigned long slice_took;

static void run_slices(int call)
{
	unsigned long start = ums_now_ns();

	if (call == 4) {
		leave();
		return;
	}
	if (call == 3)
		stage[0] = 2;
	take(1);
	CHECK_EQ(call ? UMS_WHY_PREEMPTED : UMS_WHY_NEW, why[0]);
	CHECK_EQ(0, ok(execute_ums_thread_for(ctx[0], call == 3 ? 0 :
							  20000000)));
	slice_took = ums_now_ns() - start;
	if (call < 3)
		CHECK(slice_took >= 20000000 && slice_took < SOON_NS);
}

TEST_F(block, slice_stops_worker)
{
	ASSERT_EQ(0, create(0, work_spin));
	ASSERT_EQ(0, enter(0, run_slices));
	ASSERT_EQ(5, calls);
	for (int i = 1; i < 4; i++) {
		EXPECT_TOLD(i, UMS_SCHEDULER_THREAD_PREEMPTED, 0);
		EXPECT_EQ(NULL, told[i].param);
	}
	EXPECT_TOLD(4, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

/* Without a slice it runs as long as it likes. */
static void *set_stage_later(void *arg)
{
	ums_sleep_ms(2 * QUIET_MS);
	stage[(long)arg] = 2;
	return NULL;
}

static void run_without_slice(int call)
{
	if (call) {
		leave();
		return;
	}
	take(1);
	CHECK_EQ(0, ok(execute_ums_thread_for(ctx[0], 0)));
	CHECK_EQ(2, stage[0]);
}

TEST_F(block, slice_of_zero_is_none)
{
	pthread_t thread;

	ASSERT_EQ(0, create(0, work_spin));
	ASSERT_EQ(0, pthread_create(&thread, NULL, set_stage_later, NULL));
	ASSERT_EQ(0, enter(0, run_without_slice));
	ASSERT_EQ(2, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

/* A signal runs its handler, and the call goes on until the slice ends. */
static void run_interrupted(int call)
{
	unsigned long start = ums_now_ns();
	struct ums_tick tick;

	if (call) {
		leave();
		return;
	}
	take(1);
	CHECK_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR1, 5000, 5000));
	CHECK_EQ(0, ok(execute_ums_thread_for(ctx[0], 2 * QUIET_NS)));
	ums_tick_stop(&tick);
	CHECK(ums_now_ns() - start >= 2 * QUIET_NS);
	CHECK_EQ(UMS_THREAD_READY, query(ctx[0]).state);
}

TEST_F(block, slice_is_not_interrupted)
{
	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	ASSERT_EQ(0, create(0, work_spin));
	ASSERT_EQ(0, enter(0, run_interrupted));
	ASSERT_EQ(2, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_PREEMPTED, 0);
	EXPECT_LT(0, GET(ums_caught[SIGUSR1]));
	EXPECT_NO_NOTES();
}

/*
 * Kept workers.
 */
static void run_kept(int call)
{
	switch (call) {
	case 0:
		take(2);
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		break;
	case 1:
		/* The last of what is owned, and on no list. */
		CHECK(list_is_empty());
		CHECK_EQ(ctx[0], ok(get_next_ums_list_item(ctx[1])));
		CHECK_EQ(0, ok(get_next_ums_list_item(ctx[0])));
		CHECK_EQ(sched_tid, query(ctx[0]).scheduler);
		CHECK_EQ(0, ok(execute_ums_thread_for(ctx[1], 1000000)));
		break;
	case 2:
		CHECK(list_is_empty());
		CHECK_EQ(ctx[1], ok(get_next_ums_list_item(ctx[0])));
		stage[1] = 2;
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		break;
	case 3:
		CHECK_EQ(0, ok(execute_ums_thread(ctx[1])));
		break;
	default:
		leave();
	}
}

TEST_F(block, kept_workers_are_owned)
{
	ASSERT_EQ(0, create(0, work_yield));
	ASSERT_EQ(0, create(1, work_spin));
	ASSERT_EQ(0, enter(KEEP, run_kept));
	ASSERT_EQ(5, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_YIELD, 0);
	EXPECT_EQ((void *)7, told[1].param);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_PREEMPTED, 1);
	EXPECT_TOLD(3, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_TOLD(4, UMS_SCHEDULER_THREAD_END, 1);
	EXPECT_NO_NOTES();
}

static void run_not_kept(int call)
{
	if (call == 2) {
		leave();
		return;
	}
	if (call)
		CHECK_EQ(-EBUSY, ok(execute_ums_thread(ctx[0])));
	take(1);
	CHECK_EQ(call ? UMS_WHY_YIELDED : UMS_WHY_NEW, why[0]);
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
}

TEST_F(block, others_are_on_the_list)
{
	ASSERT_EQ(0, create(0, work_yield));
	ASSERT_EQ(0, enter(BLOCK, run_not_kept));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_YIELD, 0);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

/*
 * Undelivered events.
 */
static void pile_up(int call)
{
	if (call == MAX_UNDELIVERED)
		leave();
	if (call)
		return;
	take(1);
	for (int i = 0; i < MAX_UNDELIVERED; i++)
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
	CHECK_EQ(-ENOMEM, ok(execute_ums_thread(ctx[0])));
	CHECK_EQ(-ENOMEM, ok(execute_ums_thread_for(ctx[0], 1000000)));
	/* It did not run. */
	CHECK_EQ(MAX_UNDELIVERED, query(ctx[0]).yields);
	CHECK_EQ(UMS_THREAD_READY, query(ctx[0]).state);
}

TEST_F(block, undelivered_events_are_limited)
{
	ASSERT_EQ(0, create(0, work_yield_for_ever));
	ASSERT_EQ(0, enter(KEEP, pile_up));
	ASSERT_EQ(MAX_UNDELIVERED + 1, calls);
	for (int i = 1; i <= MAX_UNDELIVERED; i++)
		EXPECT_TOLD(i, UMS_SCHEDULER_THREAD_YIELD, 0);
	EXPECT_NO_NOTES();
}

/*
 * A worker that dies blocked: a debugger that wants to see its exit holds it in
 * the middle of that.
 */
static int let_die;		/* until closed */
static pid_t tracer;

static int trace_exit(pid_t tid)
{
	int up[2], down[2];
	char byte = 0;

	if (pipe(up) || pipe(down))
		return -errno;
	tracer = ums_fork_tracer();
	if (!tracer) {
		close(up[0]);
		close(down[1]);
		TRACE(ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACEEXIT));
		if (write(up[1], &byte, 1) != 1)
			_exit(202);
		ums_wait_for_stop(tid);
		if (read(down[0], &byte, 1))
			_exit(204);
		TRACE(ptrace(PTRACE_CONT, tid, 0, 0));
		TRACE(waitpid(tid, NULL, __WALL));
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	let_die = down[1];
	return read(up[0], &byte, 1) == 1 ? 0 : -EIO;
}

static void *work_raw_exit(void *arg)
{
	syscall(SYS_exit, 0);
	return arg;
}

/*
 * There is an interrupted execution, room for one more event, and then that of
 * another worker's death.
 */
static void *disturb(void *arg)
{
	CHECK(WAIT_FOR(stage[1] == 1));
	CHECK_EQ(0, tgkill(getpid(), sched_tid, SIGUSR1));
	CHECK(WAIT_FOR(ums_caught[SIGUSR1] == 1));
	ums_sleep_ms(QUIET_MS);
	close(let_die);
	CHECK_EQ(0, ums_wait_child(tracer));
	CHECK(WAIT_FOR(ok(query_ums_thread(ctx[0], &(ums_thread_info_t) {}))
		       == -ESRCH));
	ums_sleep_ms(QUIET_MS);
	stage[1] = 2;
	return NULL;
}

static void run_without_room(int call)
{
	pthread_t thread;

	if (call == MAX_UNDELIVERED + 1)
		leave();
	if (call)
		return;
	take(3);
	CHECK_EQ(0, trace_exit(ctx[0]));
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
	for (int i = 0; i < MAX_UNDELIVERED - 2; i++)
		CHECK_EQ(0, ok(execute_ums_thread(ctx[2])));
	CHECK_EQ(0, pthread_create(&thread, NULL, disturb, NULL));
	CHECK_EQ(0, ok(execute_ums_thread(ctx[1])));
	/* Fault caught: it returns although the worker runs. */
	CHECK_EQ(2, stage[1]);
	CHECK_EQ(-ENOMEM, ok(execute_ums_thread(ctx[2])));
	pthread_join(thread, NULL);
}

TEST_F(block, no_room_for_events)
{
	const int last = MAX_UNDELIVERED + 1;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	ASSERT_EQ(0, create(0, work_raw_exit));
	ASSERT_EQ(0, create(1, work_spin));
	ASSERT_EQ(0, create(2, work_yield_for_ever));
	ASSERT_EQ(0, enter(BLOCK | KEEP, run_without_room));
	ASSERT_EQ(last + 1, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_BLOCKED, 0);
	EXPECT_EQ(SYS_exit, told[1].cause);
	for (int i = 2; i < last - 1; i++)
		EXPECT_TOLD(i, UMS_SCHEDULER_THREAD_YIELD, 2);
	EXPECT_TOLD(last - 1, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_TOLD(last, UMS_SCHEDULER_THREAD_END, 1);
	EXPECT_NO_NOTES();
}

/* The death is told to the scheduler that ran it, and ends a wait. */
static void *let_die_later(void *arg)
{
	ums_sleep_ms(QUIET_MS);
	close(let_die);
	CHECK_EQ(0, ums_wait_child(tracer));
	return NULL;
}

static void run_and_wait(int call)
{
	static pthread_t thread;
	ums_ready_item_t item;

	switch (call) {
	case 0:
		take(1);
		CHECK_EQ(0, trace_exit(ctx[0]));
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		break;
	case 1:
		CHECK_EQ(0, pthread_create(&thread, NULL, let_die_later, NULL));
		/* No worker, but an event. */
		CHECK_EQ(0, ok(dequeue_ums_ready(list, &item, 1, -1)));
		break;
	default:
		pthread_join(thread, NULL);
		leave();
	}
}

TEST_F(block, death_is_told)
{
	ASSERT_EQ(0, create(0, work_raw_exit));
	ASSERT_EQ(0, enter(BLOCK, run_and_wait));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_BLOCKED, 0);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_EQ(0, ok(delete_ums_completion_list(&list)));
	EXPECT_NO_NOTES();
}

/* With that scheduler gone, the list tells of it. */
static void run_traced_and_leave(int call)
{
	if (call) {
		leave();
		return;
	}
	take(1);
	CHECK_EQ(0, trace_exit(ctx[0]));
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
}

static void take_corpse(int call)
{
	take(1);
	CHECK_EQ(UMS_WHY_TERMINATED, why[0]);
	CHECK_EQ(-ESRCH, ok(execute_ums_thread(ctx[0])));
	CHECK_EQ(-ESRCH, ok(get_next_ums_list_item(ctx[0])));
	CHECK(list_is_empty());
	leave();
}

TEST_F(block, death_without_scheduler)
{
	ASSERT_EQ(0, create(0, work_raw_exit));
	ASSERT_EQ(0, enter(BLOCK, run_traced_and_leave));
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_BLOCKED, 0);
	close(let_die);
	EXPECT_EQ(0, ums_wait_child(tracer));
	ASSERT_EQ(0, enter(BLOCK, take_corpse));
	EXPECT_EQ(1, calls);
	EXPECT_NO_NOTES();
}

/*
 * Taking some.
 */
static void *create_later(void *arg)
{
	ums_sleep_ms(QUIET_MS);
	CHECK_EQ(0, create((long)arg, work_return));
	return NULL;
}

static void *delete_later(void *arg)
{
	ums_sleep_ms(QUIET_MS);
	CHECK_EQ(0, ok(delete_ums_completion_list(arg)));
	return NULL;
}

static void take_in_time(int call)
{
	ums_ready_item_t item = { .context = 77 };
	struct ums_tick tick;
	pthread_t thread;
	unsigned long start;

	/* 0: not at all.  The rest are nanoseconds. */
	CHECK_EQ(-EAGAIN, ok(dequeue_ums_ready(list, &item, 1, 0)));
	CHECK_EQ(-ETIMEDOUT, ok(dequeue_ums_ready(list, &item, 1, 1)));
	start = ums_now_ns();
	CHECK_EQ(-ETIMEDOUT, ok(dequeue_ums_ready(list, &item, 1, QUIET_NS)));
	CHECK(ums_now_ns() - start >= QUIET_NS);
	CHECK(ums_now_ns() - start < SOON_NS);

	/* Signals end every wait. */
	CHECK_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR1, 20000, 20000));
	CHECK_EQ(-EINTR, ok(dequeue_ums_ready(list, &item, 1, -1)));
	CHECK_EQ(-EINTR, ok(dequeue_ums_ready(list, &item, 1, SOON_NS)));
	CHECK_EQ(-EINTR, ok(dequeue_ums_ready(list, &item, 1, INT64_MAX)));
	ums_tick_stop(&tick);
	CHECK_EQ(77, item.context);

	/* A worker, too, and at once. */
	CHECK_EQ(0, pthread_create(&thread, NULL, create_later, (void *)1));
	CHECK_EQ(1, ok(dequeue_ums_ready(list, &item, 1, -1)));
	CHECK_EQ(COOKIE + 1, item.cookie);
	pthread_join(thread, NULL);
	CHECK_EQ(0, pthread_create(&thread, NULL, create_later, (void *)2));
	start = ums_now_ns();
	CHECK_EQ(1, ok(dequeue_ums_ready(list, &item, 1, INT64_MAX)));
	CHECK(ums_now_ns() - start < SOON_NS);
	CHECK_EQ(COOKIE + 2, item.cookie);
	pthread_join(thread, NULL);
	leave();
}

TEST_F(block, ready_timeouts)
{
	ASSERT_EQ(0, ums_catch(SIGUSR1, SA_RESTART));
	ASSERT_EQ(0, enter(BLOCK, take_in_time));
	EXPECT_NO_NOTES();
}

static void take_with_errors(int call)
{
	ums_completion_list_t other;
	ums_ready_item_t items[NR];
	pthread_t thread;

	CHECK_EQ(-EINVAL, ok(dequeue_ums_ready(list, items, 0, -1)));
	CHECK_EQ(-EINVAL, ok(dequeue_ums_ready(list + 1000, items, 1, -1)));
	CHECK_EQ(-EINVAL, ok(dequeue_ums_ready(0, items, 1, -1)));
	CHECK_EQ(-EFAULT, ok(dequeue_ums_ready(list, NULL, 1, 0)));
	CHECK_EQ(-EFAULT, ok(dequeue_ums_ready(list, NULL, 1, -1)));

	CHECK_EQ(0, ok(create_ums_completion_list(&other)));
	CHECK_EQ(0, pthread_create(&thread, NULL, delete_later, &other));
	CHECK_EQ(-EIDRM, ok(dequeue_ums_ready(other, items, 1, -1)));
	pthread_join(thread, NULL);
	CHECK_EQ(-EINVAL, ok(dequeue_ums_ready(other, items, 1, 0)));

	leave();
}

TEST_F(block, ready_errors)
{
	ASSERT_EQ(0, enter(BLOCK, take_with_errors));
	EXPECT_NO_NOTES();
}

static void take_some(int call)
{
	ums_ready_item_t items[NR] = {};

	if (call) {
		leave();
		return;
	}
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(0, create(i, work_yield));
		take(1);
	}
	/* Back to the list, in order. */
	for (int i = 0; i < 3; i++)
		CHECK_EQ(0, ok(execute_ums_thread(ctx[i])));
	/* A bad address: they stay where they are, in order. */
	CHECK_EQ(-EFAULT, ok(dequeue_ums_ready(list, (void *)8, NR, -1)));
	CHECK_EQ(2, ok(dequeue_ums_ready(list, items, 2, -1)));
	CHECK_EQ(ctx[0], items[0].context);
	CHECK_EQ(ctx[1], items[1].context);
	CHECK_EQ(0, items[2].context);
	CHECK_EQ(1, ok(dequeue_ums_ready(list, items + 2, NR - 2, -1)));
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(ctx[i], items[i].context);
		CHECK_EQ(COOKIE + i, items[i].cookie);
		CHECK_EQ(UMS_WHY_YIELDED, items[i].why);
		CHECK_EQ(i < 2 ? ctx[i + 1] : 0,
			 ok(get_next_ums_list_item(ctx[i])));
	}
	/* No wait while there is an event that was not told. */
	CHECK_EQ(0, ok(dequeue_ums_ready(list, items, 1, -1)));
	CHECK_EQ(0, ok(dequeue_ums_ready(list, items, 1, SOON_NS)));
	CHECK_EQ(0, ok(dequeue_ums_ready(list, items, 1, 0)));
}

TEST_F(block, ready_takes_some)
{
	ASSERT_EQ(0, enter(BLOCK, take_some));
	EXPECT_EQ(2, calls);
	EXPECT_NO_NOTES();
}

/* What a worker was created with, 0 without. */
static void take_cookies(int call)
{
	ums_attr_t attr = { .completion_list = list };
	ums_ready_item_t item = { .cookie = 5 };

	CHECK_EQ(0, ok(ums_pthread_create(&threads[0], &attr, work_return,
					  NULL)));
	CHECK_EQ(1, ok(dequeue_ums_ready(list, &item, 1, SOON_NS)));
	CHECK_EQ(0, item.cookie);
	CHECK_EQ(0, query(item.context).cookie);
	CHECK_EQ(0, ok(ums_pthread_create_cookie(&threads[1], &attr,
						 work_return, NULL,
						 UINT64_MAX - 1)));
	CHECK_EQ(1, ok(dequeue_ums_ready(list, &item, 1, SOON_NS)));
	CHECK(item.cookie == UINT64_MAX - 1);
	CHECK(query(item.context).cookie == UINT64_MAX - 1);
	CHECK_EQ(UMS_WHY_NEW, item.why);
	leave();
}

TEST_F(block, cookies)
{
	ASSERT_EQ(0, enter(0, take_cookies));
	EXPECT_NO_NOTES();
}

TEST_F(block, cookie_errors)
{
	ums_attr_t attr = { .completion_list = list + 1000 };
	pthread_attr_t pattr;

	EXPECT_EQ(-EINVAL, ok(ums_pthread_create_cookie(&threads[0], &attr,
							work_return, NULL, 1)));
	attr.completion_list = list;
	EXPECT_EQ(-EFAULT, ok(ums_pthread_create_cookie(NULL, &attr,
							work_return, NULL, 1)));
	EXPECT_EQ(-EFAULT, ok(ums_pthread_create_cookie(&threads[0], NULL,
							work_return, NULL, 1)));
	EXPECT_EQ(-EINVAL, ok(ums_pthread_create_cookie(&threads[0], &attr,
							NULL, NULL, 1)));
	ASSERT_EQ(0, pthread_attr_init(&pattr));
	ASSERT_EQ(0, pthread_attr_setstacksize(&pattr, 1UL << 60));
	attr.pthread_attr = &pattr;
	EXPECT_EQ(-EAGAIN, ok(ums_pthread_create_cookie(&threads[0], &attr,
							work_return, NULL, 1)));
	/* There is no worker. */
	EXPECT_EQ(0, ok(delete_ums_completion_list(&list)));
}

/*
 * A worker that a debugger holds.
 */
static struct ums_hold hold;
static atomic_int released;

static void *release_later(void *arg)
{
	ums_sleep_ms(QUIET_MS);
	released = 1;
	CHECK_EQ(0, ums_hold_end(&hold));
	return NULL;
}

static void *work_switch_to_held(void *arg)
{
	CHECK_EQ(-EAGAIN, ok(switch_to_ums_thread(ctx[0])));
	CHECK_EQ(0, ums_thread_yield(NULL));
	return arg;
}

static void run_held(int call)
{
	static pthread_t thread;

	switch (call) {
	case 0:
		take(2);
		CHECK_EQ(0, ums_hold_start(&hold, ctx[0]));
		CHECK_EQ(-EAGAIN, ok(execute_ums_thread_for(ctx[0], 0)));
		CHECK_EQ(-EAGAIN, ok(execute_ums_thread_for(ctx[0], 1000)));
		/* It is owned all the same, and did not run. */
		CHECK(ok(get_next_ums_list_item(ctx[0])) >= 0);
		CHECK_EQ(0, stage[0]);
		CHECK_EQ(0, query(ctx[0]).switches);
		CHECK_EQ(0, ok(execute_ums_thread(ctx[1])));
		break;
	case 1:
		CHECK_EQ(0, pthread_create(&thread, NULL, release_later, NULL));
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		CHECK_EQ(1, released);
		break;
	default:
		pthread_join(thread, NULL);
		leave();
	}
}

TEST_F(block, held_worker_is_refused)
{
	ASSERT_EQ(0, create(0, work_yield));
	ASSERT_EQ(0, create(1, work_switch_to_held));
	ASSERT_EQ(0, enter(0, run_held));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_YIELD, 1);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_YIELD, 0);
	EXPECT_NO_NOTES();
}

/*
 * Hand-over.
 */
static void *work_switch(void *arg)
{
	stage[0] = 1;
	CHECK_EQ(-EBUSY, ok(switch_to_ums_thread(ctx[0])));
	CHECK_EQ(-EBUSY, ok(switch_to_ums_thread(ctx[2])));
	CHECK_EQ(-ESRCH, ok(switch_to_ums_thread(0)));
	CHECK_EQ(-ESRCH, ok(switch_to_ums_thread(-1)));
	CHECK_EQ(-ESRCH, ok(switch_to_ums_thread(sched_tid)));
	CHECK_EQ(-ESRCH, ok(switch_to_ums_thread(NOT_A_WORKER)));
	CHECK_EQ(0, ok(switch_to_ums_thread(ctx[1])));
	/* The other one has run meanwhile. */
	CHECK_EQ(1, stage[1]);
	stage[0] = 2;
	return arg;
}

static void run_switch(int call)
{
	switch (call) {
	case 0:
		take(3);
		CHECK_EQ(-ESRCH, ok(switch_to_ums_thread(ctx[1])));
		CHECK_EQ(0, ok(execute_ums_thread(ctx[2])));
		break;
	case 1:
		/* It is on the list now. */
		CHECK_EQ(0, ok(execute_ums_thread_for(ctx[0], SOON_NS)));
		break;
	case 2:
		CHECK_EQ(1, stage[0]);
		CHECK_EQ(1, stage[1]);
		/* The one that handed over stays dequeued. */
		CHECK_EQ(0, ok(get_next_ums_list_item(ctx[0])));
		CHECK_EQ(1, query(ctx[0]).handovers);
		CHECK_EQ(0, query(ctx[0]).yields);
		CHECK_EQ(1, query(ctx[1]).switches);
		CHECK_EQ(UMS_WHY_YIELDED, query(ctx[0]).why);
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		break;
	default:
		leave();
	}
}

TEST_F(block, hand_over)
{
	ASSERT_EQ(0, create(0, work_switch));
	ASSERT_EQ(0, create(1, work_yield));
	ASSERT_EQ(0, create(2, work_yield));
	ASSERT_EQ(0, enter(BLOCK, run_switch));
	ASSERT_EQ(4, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_YIELD, 2);
	/* About the worker that has stopped, not the one that was executed. */
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_YIELD, 1);
	EXPECT_EQ((void *)8, told[2].param);
	EXPECT_TOLD(3, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_EQ(2, GET(stage[0]));
	EXPECT_NO_NOTES();
}

/* On its own, as its scheduler has left. */
static void *work_outlive(void *arg)
{
	stage[0] = 1;
	while (stage[0] < 2)
		;
	CHECK_EQ(-ESRCH, ok(switch_to_ums_thread(ctx[1])));
	stage[0] = 3;
	while (stage[0] < 4)
		;
	stage[0] = 5;
	return arg;
}

static void die_in_handler(int sig)
{
	pthread_exit(NULL);
}

static void run_two(int call)
{
	take(2);
	execute_ums_thread(ctx[0]);
	CHECK(!"returned");
}

static void *schedule_two(void *arg)
{
	enter(BLOCK, run_two);
	CHECK(!"returned");
	return NULL;
}

static void take_preempted(int call)
{
	ums_ready_item_t item = {};

	if (call) {
		leave();
		return;
	}
	take(1);
	CHECK_EQ(UMS_WHY_ORPHANED, why[1]);
	CHECK_EQ(UMS_THREAD_RUNNING, query(ctx[0]).state);
	CHECK_EQ(0, query(ctx[0]).scheduler);
	CHECK_EQ(0, ok(preempt_ums_thread(ctx[0])));
	CHECK_EQ(1, ok(dequeue_ums_ready(list, &item, 1, SOON_NS)));
	CHECK_EQ(ctx[0], item.context);
	CHECK_EQ(UMS_WHY_PREEMPTED, item.why);
	stage[0] = 4;
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
}

TEST_F(block, worker_without_scheduler)
{
	pthread_t sched;

	ASSERT_TRUE(signal(SIGUSR1, die_in_handler) != SIG_ERR);
	ASSERT_EQ(0, create(0, work_outlive));
	ASSERT_EQ(0, create(1, work_return));
	ASSERT_EQ(0, pthread_create(&sched, NULL, schedule_two, NULL));
	ASSERT_TRUE(WAIT_FOR(stage[0] == 1));
	ASSERT_EQ(0, tgkill(getpid(), GET(sched_tid), SIGUSR1));
	pthread_join(sched, NULL);
	stage[0] = 2;
	ASSERT_TRUE(WAIT_FOR(stage[0] == 3));
	ASSERT_EQ(0, enter(0, take_preempted));
	EXPECT_EQ(5, GET(stage[0]));
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

/*
 * Preemption from outside.
 */
static void *preempt_spinner(void *arg)
{
	CHECK(WAIT_FOR(stage[0] == 1));
	CHECK_EQ(0, ok(preempt_ums_thread(ctx[0])));
	return NULL;
}

static void run_preempted(int call)
{
	static pthread_t thread;

	switch (call) {
	case 0:
		take(1);
		CHECK_EQ(-EAGAIN, ok(preempt_ums_thread(ctx[0])));
		CHECK_EQ(0, pthread_create(&thread, NULL, preempt_spinner,
					   NULL));
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		CHECK_EQ(1, stage[0]);
		pthread_join(thread, NULL);
		break;
	case 1:
		/* On the list, parked: no second stop. */
		CHECK_EQ(-EAGAIN, ok(preempt_ums_thread(ctx[0])));
		CHECK_EQ(1, query(ctx[0]).preemptions);
		take(1);
		CHECK_EQ(UMS_WHY_PREEMPTED, why[0]);
		stage[0] = 2;
		CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
		break;
	default:
		CHECK_EQ(-ESRCH, ok(preempt_ums_thread(ctx[0])));
		CHECK_EQ(-ESRCH, ok(preempt_ums_thread(0)));
		CHECK_EQ(-ESRCH, ok(preempt_ums_thread(-1)));
		CHECK_EQ(-ESRCH, ok(preempt_ums_thread(gettid())));
		leave();
	}
}

TEST_F(block, preempted_by_other)
{
	ASSERT_EQ(0, create(0, work_spin));
	ASSERT_EQ(0, enter(0, run_preempted));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_PREEMPTED, 0);
	EXPECT_EQ(NULL, told[1].param);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

static void *work_preempt_itself(void *arg)
{
	stage[0] = 1;
	CHECK_EQ(0, ok(preempt_ums_thread(gettid())));
	stage[0] = 2;
	return arg;
}

static void run_itself(int call)
{
	if (call == 2) {
		leave();
		return;
	}
	take(1);
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
	CHECK_EQ(call + 1, stage[0]);
}

TEST_F(block, preempted_by_itself)
{
	ASSERT_EQ(0, create(0, work_preempt_itself));
	ASSERT_EQ(0, enter(0, run_itself));
	ASSERT_EQ(3, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_PREEMPTED, 0);
	EXPECT_TOLD(2, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

/*
 * Queries.
 */
static void *work_of_all_kinds(void *arg)
{
	ums_thread_info_t info = query(gettid());

	CHECK_EQ(UMS_THREAD_RUNNING, info.state);
	CHECK_EQ(sched_tid, info.scheduler);
	CHECK_EQ(0, ums_thread_yield(NULL));
	ums_spin_us(20000);
	CHECK_EQ(0, ok(preempt_ums_thread(gettid())));
	return work_read(arg);
}

static void run_and_query(int call)
{
	ums_thread_info_t info;
	unsigned long start;

	switch (call) {
	case 0:
		start = ums_now_ns();
		take(1);
		ums_sleep_ms(20);
		info = query(ctx[0]);
		CHECK_EQ(UMS_THREAD_READY, info.state);
		CHECK_EQ(UMS_WHY_NEW, info.why);
		CHECK_EQ(list, info.completion_list);
		CHECK_EQ(gettid(), info.scheduler);
		CHECK_EQ(COOKIE, info.cookie);
		CHECK_EQ(0, info.switches + info.yields + info.handovers +
			 info.preemptions + info.blocks);
		CHECK_EQ(0, info.blocked_ns);
		CHECK(info.ready_ns >= 20000000);
		for (size_t i = 0; i < ARRAY_SIZE(info.reserved); i++)
			CHECK_EQ(0, info.reserved[i]);
		/* It came before it was taken. */
		CHECK(ums_now_ns() - start >= 20000000);
		break;
	case 1:
		info = query(ctx[0]);
		CHECK_EQ(UMS_WHY_YIELDED, info.why);
		CHECK_EQ(0, info.scheduler);
		CHECK_EQ(1, info.yields);
		take(1);
		break;
	case 2:
		info = query(ctx[0]);
		CHECK_EQ(UMS_WHY_PREEMPTED, info.why);
		CHECK_EQ(1, info.preemptions);
		CHECK(info.running_ns >= 20000000);
		take(1);
		break;
	case 3:
		ums_sleep_ms(20);
		info = query(ctx[0]);
		CHECK_EQ(UMS_THREAD_BLOCKED, info.state);
		CHECK_EQ(0, info.scheduler);
		CHECK_EQ(3, info.switches);
		CHECK_EQ(1, info.blocks);
		CHECK(info.blocked_ns >= 20000000);
		tell_reader();
		take(1);
		CHECK_EQ(UMS_WHY_UNBLOCKED, query(ctx[0]).why);
		CHECK_EQ(gettid(), query(ctx[0]).scheduler);
		break;
	default:
		CHECK_EQ(-ESRCH, ok(query_ums_thread(ctx[0], &info)));
		CHECK_EQ(-ESRCH, ok(query_ums_thread(gettid(), &info)));
		leave();
		return;
	}
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
}

TEST_F(block, query_tells)
{
	ASSERT_EQ(0, create(0, work_of_all_kinds));
	ASSERT_EQ(0, enter(BLOCK, run_and_query));
	ASSERT_EQ(5, calls);
	EXPECT_TOLD(4, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

/*
 * A descriptor of the list.
 */
static short poll_now(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) < 0 ? -1 : poll_fd.revents;
}

static int list_fd;

static void run_with_descriptor(int call)
{
	struct pollfd poll_fd = { .fd = list_fd, .events = POLLIN };

	if (call == 2) {
		CHECK_EQ(0, poll_now(list_fd));
		leave();
		return;
	}
	CHECK_EQ(1, poll(&poll_fd, 1, SOON_MS));
	CHECK_EQ(POLLIN, poll_fd.revents);
	take(1);
	CHECK_EQ(0, poll_now(list_fd));
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
}

TEST_F(block, descriptor_polls)
{
	char byte;

	list_fd = get_ums_completion_list_fd(list);
	ASSERT_LE(0, list_fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(list_fd, F_GETFD));
	EXPECT_EQ(0, poll_now(list_fd));
	EXPECT_GT(0, read(list_fd, &byte, 1));
	ASSERT_EQ(0, create(0, work_yield));
	ASSERT_EQ(0, enter(0, run_with_descriptor));
	EXPECT_EQ(3, calls);

	/* It does not keep the list. */
	pthread_join(threads[0], NULL);
	EXPECT_EQ(0, ok(delete_ums_completion_list(&list)));
	EXPECT_TRUE(poll_now(list_fd) & POLLHUP);
	EXPECT_EQ(0, close(list_fd));
	EXPECT_EQ(-EINVAL, ok(get_ums_completion_list_fd(list)));
	EXPECT_EQ(-EINVAL, ok(get_ums_completion_list_fd(0)));
	EXPECT_EQ(-EINVAL, ok(get_ums_completion_list_fd(-1)));
	EXPECT_NO_NOTES();
}

TEST_F(block, descriptors_are_limited)
{
	struct rlimit limit, old;
	int fd = dup(pipes[0]);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	limit = old;
	limit.rlim_cur = fd;
	close(fd);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-EMFILE, ok(get_ums_completion_list_fd(list)));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(fd, ok(get_ums_completion_list_fd(list)));
}

/*
 * Who may not call.
 */
static void *work_with_errors(void *arg)
{
	ums_scheduler_startup_info_t again = {
		.completion_list = list,
		.ums_scheduler_entry_point = note,
	};
	ums_ready_item_t item;

	CHECK_EQ(-EEXIST, ok(enter_ums_scheduling_mode_flags(&again, BLOCK)));
	CHECK_EQ(-ESRCH, ok(execute_ums_thread_for(gettid(), 0)));
	CHECK_EQ(-ESRCH, ok(dequeue_ums_ready(list, &item, 1, 0)));
	return arg;
}

static void run_with_errors(int call)
{
	ums_scheduler_startup_info_t again = {
		.completion_list = list,
		.ums_scheduler_entry_point = note,
	};

	if (call) {
		leave();
		return;
	}
	CHECK_EQ(-EEXIST, ok(enter_ums_scheduling_mode_flags(&again, BLOCK)));
	CHECK_EQ(-ESRCH, ok(execute_ums_thread_for(0, 0)));
	CHECK_EQ(-ESRCH, ok(execute_ums_thread_for(0, 1000)));
	CHECK_EQ(-ESRCH, ok(execute_ums_thread_for(-1, 0)));
	CHECK_EQ(-ESRCH, ok(execute_ums_thread_for(gettid(), 0)));
	CHECK_EQ(-ESRCH, ok(execute_ums_thread_for(NOT_A_WORKER, 0)));
	CHECK_EQ(-ESRCH, ok(switch_to_ums_thread(gettid())));
	take(1);
	CHECK_EQ(-EFAULT, ok(query_ums_thread(ctx[0], NULL)));
	CHECK_EQ(0, ok(execute_ums_thread(ctx[0])));
}

TEST_F(block, wrong_callers)
{
	ums_thread_info_t info;
	ums_ready_item_t item;

	EXPECT_EQ(-ESRCH, ok(execute_ums_thread_for(gettid(), 0)));
	EXPECT_EQ(-ESRCH, ok(dequeue_ums_ready(list, &item, 1, -1)));
	EXPECT_EQ(-ESRCH, ok(switch_to_ums_thread(gettid())));
	EXPECT_EQ(-ESRCH, ok(preempt_ums_thread(gettid())));
	EXPECT_EQ(-ESRCH, ok(query_ums_thread(gettid(), &info)));
	EXPECT_EQ(-ESRCH, ok(query_ums_thread(0, &info)));
	EXPECT_EQ(-ESRCH, ok(query_ums_thread(-1, &info)));
	EXPECT_EQ(-EFAULT, ok(query_ums_thread(0, NULL)));
	ASSERT_EQ(0, create(0, work_with_errors));
	ASSERT_EQ(0, enter(BLOCK, run_with_errors));
	EXPECT_EQ(2, calls);
	EXPECT_TOLD(1, UMS_SCHEDULER_THREAD_END, 0);
	EXPECT_NO_NOTES();
}

/* A child has nothing of its parent's. */
static int live_as_child(void)
{
	ums_thread_info_t info;
	ums_ready_item_t item;

	if (ok(execute_ums_thread_for(ctx[0], 0)) != -ESRCH ||
	    ok(dequeue_ums_ready(list, &item, 1, -1)) != -ESRCH)
		return 1;
	if (ok(switch_to_ums_thread(ctx[0])) != -ESRCH ||
	    ok(preempt_ums_thread(ctx[0])) != -ESRCH ||
	    ok(query_ums_thread(ctx[0], &info)) != -ESRCH)
		return 2;
	if (ok(get_ums_completion_list_fd(list)) != -EINVAL)
		return 3;
	if (create_ums_completion_list(&list) || create(0, work_read))
		return 4;
	tell_reader();
	if (enter(BLOCK, run_and_leave) ||
	    told[1].reason != UMS_SCHEDULER_THREAD_END || *ums_notes())
		return 5;
	return 0;
}

static void fork_child(int call)
{
	pid_t child;

	take(1);
	child = fork();
	if (!child)
		_exit(live_as_child());
	CHECK_EQ(0, ums_wait_child(child));
	leave();
}

TEST_F(block, fork_by_scheduler)
{
	ASSERT_EQ(0, create(0, work_read));
	ASSERT_EQ(0, enter(BLOCK, fork_child));
	EXPECT_NO_NOTES();
}

/*
 * The program closes the library's descriptor.
 */
static void *close_later(void *arg)
{
	ums_sleep_ms(QUIET_MS);
	CHECK_EQ(0, close(ums_find_fd(UMS_DEV)));
	return NULL;
}

static void wait_for_list(int call)
{
	ums_ready_item_t item;

	CHECK_EQ(-ENODEV, ok(dequeue_ums_ready(list, &item, 1, -1)));
	CHECK_EQ(-EBADF, ok(dequeue_ums_ready(list, &item, 1, -1)));
	CHECK_EQ(-EBADF, ok(execute_ums_thread_for(1, 0)));
}

static void wait_for_any(int call)
{
	ums_context_t context;

	CHECK_EQ(-ENODEV, ok(dequeue_ums_completion_list_items(list,
							       &context)));
}

static void wait_for_worker(int call)
{
	take(1);
	CHECK_EQ(-ENODEV, ok(execute_ums_thread_for(ctx[0], 0)));
	/* It goes on, as a plain thread. */
	stage[0] = 2;
}

static void wait_for_event(int call)
{
}

FIXTURE(lost) {
};

FIXTURE_VARIANT(lost) {
	void (*step)(int call);
	int ret;
};

FIXTURE_VARIANT_ADD(lost, list) { wait_for_list, -EBADF };
FIXTURE_VARIANT_ADD(lost, any) { wait_for_any, -EBADF };
FIXTURE_VARIANT_ADD(lost, worker) { wait_for_worker, -EBADF };
FIXTURE_VARIANT_ADD(lost, event) { wait_for_event, -ENODEV };

FIXTURE_SETUP(lost)
{
	NEED_DEVICE(return);
	ASSERT_EQ(0, create_ums_completion_list(&list));
}

FIXTURE_TEARDOWN(lost)
{
}

TEST_F(lost, while_waiting)
{
	ums_thread_info_t info;
	pthread_t thread;

	if (variant->step == wait_for_worker)
		ASSERT_EQ(0, create(0, work_spin));
	ASSERT_EQ(0, pthread_create(&thread, NULL, close_later, NULL));
	EXPECT_EQ(variant->ret, enter(BLOCK, variant->step));
	pthread_join(thread, NULL);
	EXPECT_EQ(1, calls);
	if (variant->step == wait_for_worker)
		EXPECT_EQ(0, pthread_join(threads[0], NULL));
	EXPECT_EQ(-EBADF, ok(switch_to_ums_thread(1)));
	EXPECT_EQ(-EBADF, ok(preempt_ums_thread(1)));
	EXPECT_EQ(-EBADF, ok(query_ums_thread(1, &info)));
	EXPECT_EQ(-EBADF, ok(get_ums_completion_list_fd(list)));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
