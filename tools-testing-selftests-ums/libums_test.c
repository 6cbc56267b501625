// SPDX-License-Identifier: GPL-2.0
/* The library: each function, each reason, and what its header promises. */
#include "ums_lib_test.h"

#define NR	8

static long take(ums_completion_list_t list, ums_context_t *context)
{
	return ok(dequeue_ums_completion_list_items(list, context));
}

/*
 * A scheduler as programs write it: run whatever the list holds, until all
 * workers have ended.
 */
struct program {
	ums_completion_list_t list;
	atomic_int live;
	atomic_ulong startups;
	atomic_ulong yields;
	atomic_ulong ends;
	atomic_ulong sum;
	atomic_ulong eintr;
	/* Called for each event before the scheduler goes on, if set. */
	void (*on_event)(struct program *program, ums_reason_t reason,
			 ums_activation_t *activation, void *param);
};

static __thread struct program *my_program;

static void schedule(ums_reason_t reason, ums_activation_t *activation,
		     void *param)
{
	static __thread int pending;

	if (reason == UMS_SCHEDULER_STARTUP) {
		my_program = param;
		my_program->startups++;
		pending = 1;
		CHECK(!activation);
	} else if (reason == UMS_SCHEDULER_THREAD_YIELD) {
		my_program->yields++;
		my_program->sum += (uintptr_t)param;
		CHECK(activation && activation->context > 0);
	} else if (reason == UMS_SCHEDULER_THREAD_END) {
		my_program->ends++;
		CHECK(activation && activation->context > 0);
		CHECK(!param);
	} else {
		CHECK(!"known reason");
	}
	if (my_program->on_event)
		my_program->on_event(my_program, reason, activation, param);
	if (reason == UMS_SCHEDULER_THREAD_END && my_program->live-- == 1) {
		CHECK_EQ(0, delete_ums_completion_list(&my_program->list));
		CHECK_EQ(0, leave_ums_scheduling_mode());
		return;
	}
	/* One dequeue may bring several events: it is due after the last. */
	if (--pending > 0)
		return;
	pending = 0;
	for (;;) {
		ums_context_t context, next;
		int ret;

		ret = take(my_program->list, &context);
		if (ret == -EINTR) {
			my_program->eintr++;
			continue;
		}
		if (ret) {
			CHECK(ret == -EIDRM || ret == -EINVAL);
			CHECK_EQ(0, my_program->live);
			CHECK_EQ(0, leave_ums_scheduling_mode());
			return;
		}
		for (; context > 0; context = next) {
			next = get_next_ums_list_item(context);
			CHECK(next >= 0);
			CHECK_EQ(0, execute_ums_thread(context));
			pending++;
		}
		return;
	}
}

static int enter(struct program *program, ums_scheduler_entry_point_t entry)
{
	ums_scheduler_startup_info_t info = {
		.completion_list = program->list,
		.ums_scheduler_entry_point = entry,
		.scheduler_param = program,
	};

	return ok(enter_ums_scheduling_mode(&info));
}

static void *enter_in_thread(void *arg)
{
	int ret = enter(arg, schedule);

	/* The list may be gone already, when all the work is done. */
	CHECK(!ret || (ret == -EINVAL && !((struct program *)arg)->live));
	return NULL;
}

static int create_worker(ums_completion_list_t list, pthread_t *thread,
			 void *(*fn)(void *), void *arg)
{
	ums_attr_t attr = { .completion_list = list };

	return ok(ums_pthread_create(thread, &attr, fn, arg));
}

FIXTURE(libums) {
	struct program program;
	pthread_t threads[NR];
	ums_context_t got[NR];
};

FIXTURE_SETUP(libums)
{
	NEED_DEVICE(return);
	ASSERT_EQ(0, create_ums_completion_list(&self->program.list));
	ASSERT_LT(0, self->program.list);
}

FIXTURE_TEARDOWN(libums)
{
}

static void *return_arg(void *arg)
{
	return arg;
}

static void *yield_times(void *arg)
{
	for (uintptr_t i = 1; i <= (uintptr_t)arg; i++)
		CHECK_EQ(0, ums_thread_yield((void *)i));
	return arg;
}

static struct {
	int calls;
	ums_reason_t reasons[16];
	void *params[16];
	ums_context_t contexts[16];
} told;

static void note_and_run_one(ums_reason_t reason, ums_activation_t *activation,
			     void *param)
{
	ums_context_t context;
	int i = told.calls++;

	told.reasons[i] = reason;
	told.params[i] = param;
	told.contexts[i] = activation ? activation->context : 0;
	if (reason == UMS_SCHEDULER_STARTUP)
		my_program = param;
	if (reason == UMS_SCHEDULER_THREAD_END) {
		CHECK_EQ(0, leave_ums_scheduling_mode());
		return;
	}
	CHECK_EQ(0, take(my_program->list, &context));
	CHECK_EQ(0, execute_ums_thread(context));
	/* What it did is told later. */
	CHECK_EQ(i + 1, told.calls);
}

TEST_F(libums, reasons_and_parameters)
{
	void *result;

	ASSERT_EQ(0, create_worker(self->program.list, &self->threads[0],
				   yield_times, (void *)2));
	ASSERT_EQ(0, enter(&self->program, note_and_run_one));
	ASSERT_EQ(4, told.calls);
	EXPECT_EQ(UMS_SCHEDULER_STARTUP, told.reasons[0]);
	EXPECT_EQ(&self->program, told.params[0]);
	EXPECT_EQ(0, told.contexts[0]);
	for (int i = 1; i <= 2; i++) {
		EXPECT_EQ(UMS_SCHEDULER_THREAD_YIELD, told.reasons[i]);
		EXPECT_EQ((void *)(uintptr_t)i, told.params[i]);
		EXPECT_EQ(told.contexts[3], told.contexts[i]);
	}
	EXPECT_EQ(UMS_SCHEDULER_THREAD_END, told.reasons[3]);
	EXPECT_EQ(NULL, told.params[3]);
	EXPECT_LT(0, told.contexts[3]);
	ASSERT_EQ(0, pthread_join(self->threads[0], &result));
	EXPECT_EQ((void *)2, result);
	EXPECT_NO_NOTES();
}

/* Left, the thread is plain and may enter again. */
TEST_F(libums, leave_and_enter_again)
{
	for (int i = 0; i < 10; i++) {
		told.calls = 0;
		ASSERT_EQ(0, create_worker(self->program.list,
					   &self->threads[0], return_arg,
					   NULL));
		ASSERT_EQ(0, enter(&self->program, note_and_run_one));
		EXPECT_EQ(2, told.calls);
		pthread_join(self->threads[0], NULL);
		EXPECT_EQ(-ESRCH, ok(leave_ums_scheduling_mode()));
		EXPECT_EQ(-ESRCH, ok(ums_thread_yield(NULL)));
	}
	EXPECT_EQ(0, delete_ums_completion_list(&self->program.list));
	EXPECT_NO_NOTES();
}

static int depth;

static void run_many(ums_reason_t reason, ums_activation_t *activation,
		     void *param)
{
	ums_context_t got[NR];
	int i = told.calls++, count = 0;

	CHECK_EQ(0, depth++);
	told.reasons[i] = reason;
	told.contexts[i] = activation ? activation->context : 0;
	if (reason == UMS_SCHEDULER_STARTUP) {
		my_program = param;
		while (count < NR) {
			ums_context_t context;

			CHECK_EQ(0, take(my_program->list, &context));
			for (; context > 0;
			     context = get_next_ums_list_item(context))
				got[count++] = context;
		}
		/* All of them before returning; each ends at once. */
		for (int j = 0; j < NR; j++) {
			CHECK_EQ(0, execute_ums_thread(got[j]));
			my_program->sum = my_program->sum * 31 + got[j];
		}
	} else if (told.calls == NR + 1) {
		CHECK_EQ(0, leave_ums_scheduling_mode());
	}
	depth--;
}

/* One call may execute several workers; their events come in order, each alone. */
TEST_F(libums, several_executions_in_one_call)
{
	unsigned long sum = 0;

	for (int i = 0; i < NR; i++)
		ASSERT_EQ(0, create_worker(self->program.list,
					   &self->threads[i], return_arg,
					   NULL));
	ASSERT_EQ(0, enter(&self->program, run_many));
	ASSERT_EQ(NR + 1, told.calls);
	for (int i = 1; i <= NR; i++) {
		EXPECT_EQ(UMS_SCHEDULER_THREAD_END, told.reasons[i]);
		sum = sum * 31 + told.contexts[i];
	}
	EXPECT_EQ(GET(self->program.sum), sum);
	EXPECT_NO_NOTES();
}

/*
 * Many workers, several schedulers, one list.
 */
FIXTURE(programs) {
	struct program program;
	pthread_t workers[NR];
	pthread_t scheds[4];
};

FIXTURE_VARIANT(programs) {
	int schedulers;
	int workers;
	int yields;
	bool signals;
};

FIXTURE_VARIANT_ADD(programs, one_to_one) { 1, 1, 2000, false };
FIXTURE_VARIANT_ADD(programs, one_to_many) { 1, 8, 300, false };
FIXTURE_VARIANT_ADD(programs, two_to_many) { 2, 8, 300, false };
FIXTURE_VARIANT_ADD(programs, four_to_three) { 4, 3, 700, false };
FIXTURE_VARIANT_ADD(programs, two_to_many_in_signals) { 2, 8, 300, true };

FIXTURE_SETUP(programs)
{
	NEED_DEVICE(return);
	ASSERT_EQ(0, create_ums_completion_list(&self->program.list));
}

FIXTURE_TEARDOWN(programs)
{
}

TEST_F_TIMEOUT(programs, totals_are_exact, LONG_TEST)
{
	uintptr_t yields = ums_loops(variant->yields);
	atomic_int *caught = &ums_caught[SIGUSR1];
	void *result;

	self->program.live = variant->workers;
	for (int i = 0; i < variant->workers; i++)
		ASSERT_EQ(0, create_worker(self->program.list,
					   &self->workers[i], yield_times,
					   (void *)yields));
	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	for (int i = 0; i < variant->schedulers; i++)
		ASSERT_EQ(0, pthread_create(&self->scheds[i], NULL,
					    enter_in_thread, &self->program));
	while (variant->signals && self->program.live) {
		/* To whatever thread of the process. */
		kill(getpid(), SIGUSR1);
		usleep(500);
	}
	for (int i = 0; i < variant->schedulers; i++)
		pthread_join(self->scheds[i], NULL);
	for (int i = 0; i < variant->workers; i++) {
		ASSERT_EQ(0, pthread_join(self->workers[i], &result));
		EXPECT_EQ((void *)yields, result);
	}
	EXPECT_EQ(variant->workers * yields, GET(self->program.yields));
	EXPECT_EQ(variant->workers * (yields * (yields + 1) / 2),
		  GET(self->program.sum));
	EXPECT_EQ(variant->workers, GET(self->program.ends));
	EXPECT_EQ(variant->signals, GET(*caught) > 0);
	EXPECT_NO_NOTES();
}

/*
 * How a worker may end.
 */
static pthread_key_t key;
static atomic_int cleanups, destructors;

static void clean_up(void *arg)
{
	/* Still a worker. */
	CHECK_EQ(0, ums_thread_yield((void *)1000));
	cleanups++;
}

static void destroy(void *arg)
{
	destructors++;
}

static void *end_by_pthread_exit(void *arg)
{
	pthread_exit(arg);
}

static void *end_by_cancel(void *arg)
{
	pthread_cleanup_push(clean_up, NULL);
	CHECK_EQ(0, pthread_setspecific(key, arg));
	pthread_cancel(pthread_self());
	pthread_testcancel();
	pthread_cleanup_pop(0);
	CHECK(!"cancelled");
	return NULL;
}

static void *wait_for_cancel(void *arg)
{
	for (;;) {
		CHECK_EQ(0, ums_thread_yield(NULL));
		pthread_testcancel();
	}
	return NULL;
}

static void *end_by_raw_exit(void *arg)
{
	syscall(SYS_exit, 0);
	return NULL;
}

static pthread_t to_cancel;

static void cancel_parked(struct program *program, ums_reason_t reason,
			  ums_activation_t *activation, void *param)
{
	if (program->yields == 20)
		pthread_cancel(to_cancel);
}

TEST_F(libums, ways_to_end)
{
	static void *(*const ways[])(void *) = {
		return_arg, end_by_pthread_exit, end_by_cancel, wait_for_cancel,
		end_by_raw_exit,
	};
	void *results[] = {
		(void *)7, (void *)7, PTHREAD_CANCELED, PTHREAD_CANCELED, NULL,
	};
	void *result;

	ASSERT_EQ(0, pthread_key_create(&key, destroy));
	self->program.live = ARRAY_SIZE(ways);
	self->program.on_event = cancel_parked;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		ASSERT_EQ(0, create_worker(self->program.list,
					   &self->threads[i], ways[i],
					   (void *)7));
	to_cancel = self->threads[3];
	ASSERT_EQ(0, enter(&self->program, schedule));
	EXPECT_EQ(ARRAY_SIZE(ways), GET(self->program.ends));
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		ASSERT_EQ(0, pthread_join(self->threads[i], &result));
		if (ways[i] != end_by_raw_exit)
			EXPECT_EQ(results[i], result);
	}
	EXPECT_EQ(1, GET(cleanups));
	EXPECT_EQ(1, GET(destructors));
	EXPECT_NO_NOTES();
}

TEST_F(libums, thread_attributes)
{
	pthread_attr_t pattr;
	ums_attr_t attr = {
		.completion_list = self->program.list, .pthread_attr = &pattr,
	};
	pthread_attr_t bad;

	ASSERT_EQ(0, pthread_attr_init(&pattr));
	ASSERT_EQ(0, pthread_attr_setdetachstate(&pattr,
						 PTHREAD_CREATE_DETACHED));
	ASSERT_EQ(0, ums_pthread_create(&self->threads[0], &attr, yield_times,
					(void *)3));
	EXPECT_EQ(0, pthread_attr_destroy(&pattr));

	/* More stack than there is address space. */
	ASSERT_EQ(0, pthread_attr_init(&bad));
	ASSERT_EQ(0, pthread_attr_setstacksize(&bad, 1UL << 60));
	attr.pthread_attr = &bad;
	EXPECT_EQ(-EAGAIN, ok(ums_pthread_create(&self->threads[1], &attr,
						 return_arg, NULL)));
	self->program.live = 1;
	ASSERT_EQ(0, enter(&self->program, schedule));
	EXPECT_EQ(3, GET(self->program.yields));
	EXPECT_NO_NOTES();
}

/*
 * Errors.
 */
TEST_F(libums, errors_of_plain_threads)
{
	ums_completion_list_t none = self->program.list + 1000;
	ums_scheduler_startup_info_t info = {
		.completion_list = none,
		.ums_scheduler_entry_point = schedule,
	};
	ums_attr_t attr = { .completion_list = none };
	ums_context_t context;

	EXPECT_EQ(-EFAULT, ok(create_ums_completion_list(NULL)));
	EXPECT_EQ(-EFAULT, ok(delete_ums_completion_list(NULL)));
	EXPECT_EQ(-EINVAL, ok(delete_ums_completion_list(&none)));

	EXPECT_EQ(-EINVAL, ok(ums_pthread_create(&self->threads[0], &attr,
						 return_arg, NULL)));
	attr.completion_list = self->program.list;
	EXPECT_EQ(-EFAULT, ok(ums_pthread_create(NULL, &attr, return_arg,
						 NULL)));
	EXPECT_EQ(-EFAULT, ok(ums_pthread_create(&self->threads[0], NULL,
						 return_arg, NULL)));
	EXPECT_EQ(-EINVAL, ok(ums_pthread_create(&self->threads[0], &attr,
						 NULL, NULL)));

	EXPECT_EQ(-EFAULT, ok(enter_ums_scheduling_mode(NULL)));
	EXPECT_EQ(-EINVAL, ok(enter_ums_scheduling_mode(&info)));
	info.completion_list = self->program.list;
	info.ums_scheduler_entry_point = NULL;
	EXPECT_EQ(-EINVAL, ok(enter_ums_scheduling_mode(&info)));

	EXPECT_EQ(-ESRCH, ok(leave_ums_scheduling_mode()));
	EXPECT_EQ(-ESRCH, take(self->program.list, &context));
	EXPECT_EQ(-ESRCH, ok(get_next_ums_list_item(gettid())));
	EXPECT_EQ(-ESRCH, ok(execute_ums_thread(gettid())));
	EXPECT_EQ(-ESRCH, ok(ums_thread_yield(NULL)));

	/* None of it has left anything on the list. */
	EXPECT_EQ(0, delete_ums_completion_list(&self->program.list));
	EXPECT_EQ(-EINVAL, ok(delete_ums_completion_list(&self->program.list)));
}

static void provoke_errors(ums_reason_t reason, ums_activation_t *activation,
			   void *param)
{
	ums_scheduler_startup_info_t info = {
		.ums_scheduler_entry_point = schedule,
	};
	ums_context_t context;

	if (reason == UMS_SCHEDULER_THREAD_END) {
		CHECK_EQ(-ESRCH, ok(execute_ums_thread(activation->context)));
		CHECK_EQ(-ESRCH,
			 ok(get_next_ums_list_item(activation->context)));
		CHECK_EQ(0, leave_ums_scheduling_mode());
		/* Once more does no harm. */
		CHECK_EQ(0, leave_ums_scheduling_mode());
		return;
	}
	if (reason == UMS_SCHEDULER_STARTUP) {
		my_program = param;
		info.completion_list = my_program->list;
		CHECK_EQ(-EEXIST, ok(enter_ums_scheduling_mode(&info)));
		CHECK_EQ(-ESRCH, ok(ums_thread_yield(NULL)));
		CHECK_EQ(-EFAULT, take(my_program->list, NULL));
		CHECK_EQ(-EINVAL, take(my_program->list + 1000, &context));
		CHECK_EQ(-ESRCH, ok(execute_ums_thread(0)));
		CHECK_EQ(-ESRCH, ok(execute_ums_thread(gettid())));
		CHECK_EQ(-ESRCH, ok(get_next_ums_list_item(0)));
		CHECK_EQ(-EBUSY,
			 ok(delete_ums_completion_list(&my_program->list)));
	} else {
		/* It is on its list. */
		CHECK_EQ(-EBUSY, ok(execute_ums_thread(activation->context)));
		CHECK_EQ(-ESRCH,
			 ok(get_next_ums_list_item(activation->context)));
	}
	CHECK_EQ(0, take(my_program->list, &context));
	CHECK_EQ(0, get_next_ums_list_item(context));
	CHECK_EQ(0, execute_ums_thread(context));
}

TEST_F(libums, errors_of_schedulers)
{
	ASSERT_EQ(0, create_worker(self->program.list, &self->threads[0],
				   yield_times, (void *)2));
	ASSERT_EQ(0, enter(&self->program, provoke_errors));
	EXPECT_NO_NOTES();
}

static void *provoke_worker_errors(void *arg)
{
	struct program *program = arg;
	ums_context_t context;

	CHECK_EQ(-EEXIST, enter(program, schedule));
	CHECK_EQ(-ESRCH, ok(leave_ums_scheduling_mode()));
	CHECK_EQ(-ESRCH, take(program->list, &context));
	CHECK_EQ(-ESRCH, ok(execute_ums_thread(gettid())));
	CHECK_EQ(0, ums_thread_yield((void *)1));
	return NULL;
}

TEST_F(libums, errors_of_workers)
{
	self->program.live = 1;
	ASSERT_EQ(0, create_worker(self->program.list, &self->threads[0],
				   provoke_worker_errors, &self->program));
	ASSERT_EQ(0, enter(&self->program, schedule));
	EXPECT_EQ(1, GET(self->program.yields));
	EXPECT_NO_NOTES();
}

TEST_F(libums, list_limit)
{
	ums_completion_list_t lists[UMS_MAX_CLISTS];

	for (int i = 1; i < UMS_MAX_CLISTS; i++)
		ASSERT_EQ(0, create_ums_completion_list(&lists[i]));
	EXPECT_EQ(-ENOSPC, ok(create_ums_completion_list(&lists[0])));
	for (int i = 1; i < UMS_MAX_CLISTS; i++)
		ASSERT_EQ(0, delete_ums_completion_list(&lists[i]));
	EXPECT_EQ(0, create_ums_completion_list(&lists[0]));
}

/* The program has opened the device past the library. */
TEST(device_in_use)
{
	ums_completion_list_t list;
	int fd;

	NEED_DEVICE(return);
	fd = ums_open();
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBUSY, ok(create_ums_completion_list(&list)));
	EXPECT_EQ(-EBUSY, ok(create_ums_completion_list(&list)));
	close(fd);
	EXPECT_EQ(0, create_ums_completion_list(&list));
}

static struct ums_gate first_use_gate;

static void *use_first(void *arg)
{
	ums_completion_list_t list;

	ums_gate_pass(&first_use_gate, 4, 0);
	CHECK_EQ(0, create_ums_completion_list(&list));
	CHECK_EQ(0, delete_ums_completion_list(&list));
	return NULL;
}

/* First use by several threads at once, in one new process after the other. */
TEST_F_TIMEOUT(libums, first_use_race, LONG_TEST)
{
	for (unsigned long i = 0; i < ums_loops(200); i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			pthread_t threads[4];

			for (int j = 0; j < 4; j++)
				pthread_create(&threads[j], NULL, use_first,
					       NULL);
			for (int j = 0; j < 4; j++)
				pthread_join(threads[j], NULL);
			_exit(*ums_notes() != 0);
		}
		ASSERT_EQ(0, ums_wait_child(child));
	}
}

/*
 * Fork.
 */
static int live_as_child(struct program *parents)
{
	struct program program = { .live = 3 };
	pthread_t threads[3];

	/* Neither scheduler nor worker, and without the parent's lists. */
	if (ums_thread_yield(NULL) != -1 || leave_ums_scheduling_mode() != -1)
		return 1;
	if (execute_ums_thread(getppid()) != -1)
		return 2;
	if (create_ums_completion_list(&program.list))
		return 3;
	for (int i = 0; i < 3; i++)
		if (create_worker(program.list, &threads[i], yield_times,
				  (void *)10))
			return 4;
	if (enter(&program, schedule) || program.yields != 30 ||
	    program.ends != 3 || *ums_notes())
		return 5;
	return 0;
}

static void *fork_in_worker(void *arg)
{
	pid_t child = fork();

	if (!child)
		_exit(live_as_child(arg));
	CHECK_EQ(0, ums_thread_yield((void *)1));
	CHECK_EQ(0, ums_wait_child(child));
	return NULL;
}

static void fork_in_entry(struct program *program, ums_reason_t reason,
			  ums_activation_t *activation, void *param)
{
	pid_t child = fork();

	if (!child)
		_exit(live_as_child(program));
	CHECK_EQ(0, ums_wait_child(child));
}

TEST_F_TIMEOUT(libums, fork_by_worker, LONG_TEST)
{
	self->program.live = 4;
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, create_worker(self->program.list,
					   &self->threads[i], fork_in_worker,
					   &self->program));
	ASSERT_EQ(0, enter(&self->program, schedule));
	EXPECT_EQ(4, GET(self->program.yields));
	EXPECT_EQ(4, GET(self->program.ends));
	EXPECT_NO_NOTES();
}

TEST_F_TIMEOUT(libums, fork_by_scheduler, LONG_TEST)
{
	self->program.live = 2;
	self->program.on_event = fork_in_entry;
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, create_worker(self->program.list,
					   &self->threads[i], yield_times,
					   (void *)3));
	ASSERT_EQ(0, enter(&self->program, schedule));
	EXPECT_EQ(6, GET(self->program.yields));
	EXPECT_EQ(2, GET(self->program.ends));
	EXPECT_NO_NOTES();
}

static void fork_and_return(ums_reason_t reason, ums_activation_t *activation,
			    void *param)
{
	struct program *program = param;

	if (reason != UMS_SCHEDULER_STARTUP)
		return;
	program->live = fork();
	if (program->live)
		CHECK_EQ(0, leave_ums_scheduling_mode());
}

/* A child that returns from its parent's entry point is sent out of there. */
TEST_F(libums, child_returns_from_entry_point)
{
	int ret = enter(&self->program, fork_and_return);

	if (!self->program.live)
		_exit(ret == -ESRCH ? 0 : 1);
	EXPECT_EQ(0, ret);
	EXPECT_CHILD_OK(self->program.live);
	EXPECT_NO_NOTES();
}

/*
 * Schedulers that end in other ways.
 */
static void own_and_exit(ums_reason_t reason, ums_activation_t *activation,
			 void *param)
{
	struct program *program = param;
	ums_context_t context;

	CHECK_EQ(0, take(program->list, &context));
	pthread_exit((void *)5);
}

static void own_and_be_cancelled(ums_reason_t reason,
				 ums_activation_t *activation, void *param)
{
	struct program *program = param;
	ums_context_t context;

	CHECK_EQ(0, take(program->list, &context));
	pthread_cancel(pthread_self());
	pthread_testcancel();
	CHECK(!"cancelled");
}

static ums_scheduler_entry_point_t entry_to_try;

static void *try_entry(void *arg)
{
	enter(arg, entry_to_try);
	CHECK(!"reached");
	return NULL;
}

static void end_of_scheduler(struct __test_metadata *_metadata,
			     struct program *program,
			     ums_scheduler_entry_point_t entry, void *expected)
{
	pthread_t sched, worker;
	void *result;

	entry_to_try = entry;
	ASSERT_EQ(0, create_worker(program->list, &worker, yield_times,
				   (void *)3));
	ASSERT_EQ(0, pthread_create(&sched, NULL, try_entry, program));
	ASSERT_EQ(0, pthread_join(sched, &result));
	EXPECT_EQ(expected, result);
	/* What it owned is for others. */
	program->live = 1;
	ASSERT_EQ(0, enter(program, schedule));
	EXPECT_EQ(3, GET(program->yields));
	EXPECT_NO_NOTES();
}

TEST_F(libums, pthread_exit_in_entry_point)
{
	end_of_scheduler(_metadata, &self->program, own_and_exit, (void *)5);
}

TEST_F(libums, cancel_in_entry_point)
{
	end_of_scheduler(_metadata, &self->program, own_and_be_cancelled,
			 PTHREAD_CANCELED);
}

/*
 * Signals.
 */
static atomic_int sched_tid, worker_runs;

static void note_tid(struct program *program, ums_reason_t reason,
		     ums_activation_t *activation, void *param)
{
	if (reason == UMS_SCHEDULER_STARTUP)
		sched_tid = gettid();
}

static void *spin_and_yield(void *arg)
{
	worker_runs = 1;
	while (ums_caught[SIGUSR1] < 3)
		;
	CHECK_EQ(0, ums_thread_yield((void *)1));
	return NULL;
}

/* Fault caught: an interrupted execution is taken for one that has ended. */
TEST_F(libums, execution_is_not_interrupted)
{
	pthread_t sched;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	self->program.live = 1;
	self->program.on_event = note_tid;
	ASSERT_EQ(0, create_worker(self->program.list, &self->threads[0],
				   spin_and_yield, NULL));
	ASSERT_EQ(0, pthread_create(&sched, NULL, enter_in_thread,
				    &self->program));
	ASSERT_TRUE(WAIT_FOR(worker_runs && ums_is_parked(sched_tid)));
	for (int i = 1; i <= 3; i++) {
		ASSERT_EQ(0, tgkill(getpid(), GET(sched_tid), SIGUSR1));
		ASSERT_TRUE(WAIT_FOR(ums_caught[SIGUSR1] == i));
	}
	pthread_join(sched, NULL);
	EXPECT_EQ(1, GET(self->program.yields));
	EXPECT_EQ(1, GET(self->program.ends));
	EXPECT_EQ(GET(sched_tid), GET(ums_caught_by[SIGUSR1]));
	EXPECT_NO_NOTES();
}

static void yield_in_handler(int sig)
{
	CHECK_EQ(0, ums_thread_yield((void *)500));
}

static void *yield_by_signal(void *arg)
{
	for (int i = 0; i < 10; i++)
		raise(SIGUSR2);
	return NULL;
}

TEST_F(libums, handler_yields)
{
	ASSERT_TRUE(signal(SIGUSR2, yield_in_handler) != SIG_ERR);
	self->program.live = 1;
	ASSERT_EQ(0, create_worker(self->program.list, &self->threads[0],
				   yield_by_signal, NULL));
	ASSERT_EQ(0, enter(&self->program, schedule));
	EXPECT_EQ(10, GET(self->program.yields));
	EXPECT_EQ(5000, GET(self->program.sum));
	EXPECT_NO_NOTES();
}

/* A waiting dequeue says so when a handler ran, and takes nothing. */
static void dequeue_interrupted(ums_reason_t reason,
				ums_activation_t *activation, void *param)
{
	struct program *program = param;
	struct ums_tick tick;
	ums_context_t context = 77;

	CHECK_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR1, 20000, 20000));
	CHECK_EQ(-EINTR, take(program->list, &context));
	ums_tick_stop(&tick);
	CHECK_EQ(77, context);
	CHECK_EQ(0, leave_ums_scheduling_mode());
}

TEST_F(libums, dequeue_is_interrupted)
{
	ASSERT_EQ(0, ums_catch(SIGUSR1, SA_RESTART));
	ASSERT_EQ(0, enter(&self->program, dequeue_interrupted));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
