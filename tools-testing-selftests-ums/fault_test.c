// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation of a call fails once, the first, the second, and so on,
 * until the call passes: it gives its error and changes nothing.  And where
 * workers are switched and stopped there is no allocation that could fail.
 */
#include "../kselftest_harness.h"
#include "ums_test.h"

#define DEBUGFS	"/sys/kernel/debug"
#define LOTS	(ULONG_MAX / 2)

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

/* Let allocations that may sleep fail too, without a report for each. */
static bool have_fault_injection(void)
{
	if (access("/proc/self/fail-nth", W_OK) ||
	    !put(DEBUGFS "/failslab/ignore-gfp-wait", "N"))
		return false;
	put(DEBUGFS "/failslab/verbose", "0");
	put(DEBUGFS "/fail_page_alloc/ignore-gfp-wait", "N");
	put(DEBUGFS "/fail_page_alloc/verbose", "0");
	put(DEBUGFS "/fail_usercopy/verbose", "0");
	return true;
}

/* The file that makes allocations of this thread fail. */
static int open_fail_nth(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", gettid());
	return open(path, O_RDWR | O_CLOEXEC);
}

static void set_fail_nth(int file, int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", nth);

	/* The write may itself be the victim of an earlier setting. */
	while (pwrite(file, text, len, 0) != len)
		;
}

/*
 * What is left of the setting, 0 if the failure has happened.  The text may
 * not be readable because of it.
 */
static int get_fail_nth(int file)
{
	char text[16] = {};

	if (pread(file, text, sizeof(text) - 1, 0) < 1)
		return 0;
	return atoi(text);
}

FIXTURE(fault) {
	int fd;
	int clist;
	int nth;
	struct ums_worker worker;
};

FIXTURE_SETUP(fault)
{
	self->fd = ums_open();
	if (ums_no_device(self->fd))
		SKIP(return, NO_DEVICE);
	ASSERT_LE(0, self->fd);
	if (!have_fault_injection()) {
		close(self->fd);
		SKIP(return, "needs root, CONFIG_FAILSLAB and debugfs");
	}
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	self->nth = open_fail_nth();
	ASSERT_LE(0, self->nth);
}

FIXTURE_TEARDOWN(fault)
{
	set_fail_nth(self->nth, 0);
	close(self->nth);
	if (self->fd >= 0)
		close(self->fd);
}

/*
 * Runs @call with its first, second, ... allocation failing.  @good says
 * whether it passed in spite of it (some failures are made up for); @undo takes
 * back a call that passed; @check looks at what a failed one has left.
 */
#define SWEEP(call, good, undo, check)					\
	do {								\
		bool __more = true;					\
									\
		for (int __n = 1; __more; __n++) {			\
			int __ret;					\
									\
			ASSERT_GT(500, __n);				\
			set_fail_nth(self->nth, __n);			\
			__ret = (call);					\
			__more = !get_fail_nth(self->nth);		\
			set_fail_nth(self->nth, 0);			\
			if (good(__ret)) {				\
				undo;					\
				continue;				\
			}						\
			EXPECT_TRUE(__ret == -ENOMEM ||			\
				    __ret == -EFAULT);			\
			EXPECT_TRUE(__more);				\
			check;						\
		}							\
	} while (0)

#define IS_ZERO(ret)		((ret) == 0)
#define IS_POSITIVE(ret)	((ret) > 0)
#define IS_FD(ret)		((ret) >= 0)

TEST_F(fault, open)
{
	close(self->fd);
	SWEEP(ums_open(), IS_FD, close(__ret),
	      EXPECT_FALSE(ums_exists(UMS_PROC "/%d", getpid())));
	self->fd = ums_open();
	EXPECT_LE(0, self->fd);
}

TEST_F(fault, create)
{
	int lists = 0;

	SWEEP(ums_create(self->fd), IS_POSITIVE,
	      EXPECT_EQ(0, ums_delete(self->fd, __ret)), lists += 0);
	/* None of the failed ones is there. */
	for (lists = 1; ums_create(self->fd) > 0; lists++)
		;
	EXPECT_EQ(UMS_MAX_CLISTS, lists);
}

TEST_F(fault, enter_as_scheduler)
{
	SWEEP(ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0), IS_ZERO,
	      EXPECT_EQ(0, ums_exit(self->fd)),
	      EXPECT_EQ(-ESRCH, ums_exit(self->fd)));
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d/schedulers/%d", getpid(),
				gettid()));
	EXPECT_EQ(0, ums_become_sched(self->fd, self->clist));
}

static void *run_main_thread(void *arg)
{
	struct ums_worker *worker = arg;
	struct ums_event event;
	int context;

	CHECK_EQ(0, ums_become_sched(worker->fd, worker->clist));
	worker->stage = 1;
	while ((context = ums_dequeue(worker->fd, worker->clist)) > 0)
		CHECK_EQ(0, ums_run_once(worker->fd, context, &event));
	/* Deleted while this thread waited, or before. */
	CHECK(context == -EIDRM || context == -EINVAL);
	return NULL;
}

TEST_F(fault, enter_as_worker)
{
	pthread_t thread;

	self->worker.fd = self->fd;
	self->worker.clist = self->clist;
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_main_thread,
				    &self->worker));
	ASSERT_TRUE(WAIT_FOR(self->worker.stage == 1));
	SWEEP(ums_enter(self->fd, ENTER_UMS_WORK, self->clist, 0), IS_ZERO,
	      EXPECT_EQ(0, ums_exit(self->fd)),
	      EXPECT_EQ(-ESRCH, ums_exit(self->fd)));
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d/workers/%d", getpid(),
				gettid()));
	/* No failed entry keeps the list. */
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	pthread_join(thread, NULL);
	EXPECT_NO_NOTES();
}

/*
 * The events pile up, so each execution needs memory for one.  Fault caught: a
 * failed one has taken the worker, or its event is lost.
 */
TEST_F(fault, exec)
{
	struct ums_event event;
	int context, count = 0;

	self->worker.granted = LOTS;
	ASSERT_EQ(0, ums_worker_start(&self->worker, self->fd, self->clist,
				      ums_work_yield_forever));
	context = self->worker.tid;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(context, ums_dequeue(self->fd, self->clist));
	for (int i = 0; i < 10; i++)
		SWEEP(ums_exec(self->fd, context), IS_ZERO,
		      { count++;
			ASSERT_EQ(context, ums_dequeue(self->fd,
						       self->clist)); },
		      EXPECT_EQ(0, ums_next(self->fd, context)));
	EXPECT_LE(10, count);
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		ASSERT_EQ(THREAD_YIELD, event.type);
		ASSERT_EQ(i, event.yield_params.scheduler_params);
	}
	EXPECT_EQ(count, GET(self->worker.used));
	EXPECT_NO_NOTES();
}

/* The same in one call.  It reads an event, so it makes none for long. */
TEST_F(fault, run)
{
	struct ums_event event;
	int context, count = 0;

	self->worker.granted = LOTS;
	ASSERT_EQ(0, ums_worker_start(&self->worker, self->fd, self->clist,
				      ums_work_yield_forever));
	context = self->worker.tid;
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	ASSERT_EQ(context, ums_dequeue(self->fd, self->clist));
	/* So that it needs memory for one more. */
	ASSERT_EQ(0, ums_exec(self->fd, context));
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, ums_exec(self->fd, context));
		SWEEP(ums_run(self->fd, context, SOON_NS, &event), IS_ZERO,
		      EXPECT_EQ(count++, event.yield_params.scheduler_params),
		      EXPECT_EQ(0, ums_next(self->fd, context)));
	}
	EXPECT_LE(10, count);
	EXPECT_EQ(11 + count, GET(self->worker.used));
	EXPECT_NO_NOTES();
}

TEST_F(fault, clist_fd)
{
	int fds = ums_count_entries("/proc/self/fd");

	SWEEP(ums_clist_fd(self->fd, self->clist), IS_FD, close(__ret),
	      EXPECT_EQ(fds, ums_count_entries("/proc/self/fd")));
	EXPECT_EQ(fds, ums_count_entries("/proc/self/fd"));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
}

/*
 * Invariant 3: nothing is lost for lack of memory, for nothing is allocated.
 */
static void yield_without_memory(struct ums_worker *worker)
{
	int nth = open_fail_nth();

	CHECK(nth >= 0);
	for (long i = 0; i < worker->value; i++) {
		set_fail_nth(nth, 1);
		ums_worker_yield(worker, i);
		CHECK_EQ(1, get_fail_nth(nth));
	}
	set_fail_nth(nth, 1);
	/* What allocates here is the exit of any thread. */
	CHECK_EQ(0, ums_exit(worker->fd));
	CHECK_EQ(1, get_fail_nth(nth));
	set_fail_nth(nth, 0);
	close(nth);
}

TEST_F(fault, switching_needs_no_memory)
{
	struct ums_event event = {};

	self->worker.granted = LOTS;
	self->worker.value = 100;
	ASSERT_EQ(0, ums_worker_start(&self->worker, self->fd, self->clist,
				      yield_without_memory));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	while (event.type != THREAD_TERMINATED) {
		int context;

		set_fail_nth(self->nth, 1);
		context = ums_dequeue(self->fd, self->clist);
		ASSERT_EQ(1, get_fail_nth(self->nth));
		ASSERT_EQ(0, ums_next(self->fd, context));
		ASSERT_EQ(0, ums_exec(self->fd, context));
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		ASSERT_EQ(1, get_fail_nth(self->nth));
		set_fail_nth(self->nth, 0);
	}
	EXPECT_EQ(101, GET(self->worker.used));
	EXPECT_NO_NOTES();
}

static void die_without_memory(struct ums_worker *worker)
{
	set_fail_nth(open_fail_nth(), worker->value);
}

/* All that can stop a worker, and all that takes it back. */
static void stop_without_memory(struct ums_worker *worker)
{
	int nth = open_fail_nth();

	CHECK(nth >= 0);
	for (long i = 0; i < worker->value; i++) {
		set_fail_nth(nth, 1);
		CHECK_EQ(0, ums_nap_us(100));
		CHECK_EQ(0, ums_preempt(worker->fd, worker->tid));
		worker->stage = 1;
		while (worker->stage == 1)
			;
		CHECK_EQ(1, get_fail_nth(nth));
		set_fail_nth(nth, 0);
	}
	close(nth);
}

TEST_F(fault, stopping_needs_no_memory)
{
	int counts[6] = {}, spun = 0;
	struct ums_event event = {};
	struct ums_ready ready;

	self->worker.granted = LOTS;
	self->worker.value = 20;
	ASSERT_EQ(0, ums_worker_start(&self->worker, self->fd, self->clist,
				      stop_without_memory));
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	while (event.type != THREAD_TERMINATED) {
		set_fail_nth(self->nth, 1);
		ASSERT_EQ(1, ums_take(self->fd, self->clist, 0, SOON_NS,
				      &ready, 1));
		/* It spins until a slice has ended. */
		ASSERT_EQ(0, ums_run(self->fd, ready.context,
				     spun ? 0 : 2000000, &event));
		ASSERT_EQ(1, get_fail_nth(self->nth));
		set_fail_nth(self->nth, 0);
		counts[event.type]++;
		spun = event.type == THREAD_PREEMPTED &&
		       self->worker.stage == 1;
		if (spun)
			self->worker.stage = 2;
	}
	EXPECT_LE(10, counts[THREAD_BLOCKED]);
	EXPECT_LE(2 * self->worker.value, counts[THREAD_PREEMPTED]);
	EXPECT_NO_NOTES();
}

/* However a thread's exit goes in short memory, it is reported. */
TEST_F(fault, death_needs_no_memory)
{
	struct ums_event event;

	self->worker.granted = LOTS;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 1; i <= 20; i++) {
		pid_t tid;

		self->worker.value = i;
		ASSERT_EQ(0, ums_worker_start(&self->worker, self->fd,
					      self->clist,
					      die_without_memory));
		tid = self->worker.tid;
		ASSERT_EQ(tid, ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, tid, &event));
		EXPECT_EQ(THREAD_TERMINATED, event.type);
		pthread_join(self->worker.thread, NULL);
	}
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
