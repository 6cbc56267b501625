// SPDX-License-Identifier: GPL-2.0
/*
 * Where workers are switched and stopped, nothing is allocated, so nothing can
 * fail: it goes on when each allocation of the threads that take part fails.
 *
 * See fail_nth_test.c for the calls that allocate.
 */
#include "ums_fixture.h"

#define DEBUGFS	"/sys/kernel/debug"

/* Whether allocations fail for the threads that are marked for it. */
static bool let_fail(bool on)
{
	static const char * const kinds[] = { "failslab", "fail_page_alloc" };
	static const char * const values[][2] = {
		{ "task-filter", "Y" }, { "ignore-gfp-wait", "N" },
		{ "verbose", "0" }, { "interval", "1" }, { "times", "-1" },
	};
	int kind, i;

	if (access("/proc/self/make-it-fail", W_OK))
		return false;
	for (kind = 0; kind < 2; kind++) {
		for (i = 0; i < (int)ARRAY_SIZE(values); i++) {
			/* Page allocations are the lesser part. */
			if (!ums_put(values[i][1], DEBUGFS "/%s/%s",
				     kinds[kind], values[i][0]) && !kind)
				return false;
		}
		ums_put(on ? "100" : "0", DEBUGFS "/%s/probability",
			kinds[kind]);
	}
	return true;
}

/* The file with the calling thread's mark.  It works without memory. */
static int open_mark(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/make-it-fail",
		 gettid());
	return open(path, O_RDWR | O_CLOEXEC);
}

static void set_mark(int file, bool on)
{
	CHECK_EQ(1, pwrite(file, on ? "1" : "0", 1, 0));
}

FIXTURE(fault) {
	int fd;
	int clist;
	int mark;
	struct ums_worker worker;
};

FIXTURE_SETUP(fault)
{
	SETUP_FD(return);
	if (!let_fail(true)) {
		close(self->fd);
		SKIP(return, "needs root, CONFIG_FAILSLAB and debugfs");
	}
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	self->mark = open_mark();
	ASSERT_LE(0, self->mark);
	/* It does something. */
	set_mark(self->mark, true);
	EXPECT_EQ(-ENOMEM, ums_create(self->fd));
	set_mark(self->mark, false);
}

FIXTURE_TEARDOWN(fault)
{
	set_mark(self->mark, false);
	close(self->mark);
	let_fail(false);
	if (self->fd >= 0)
		close(self->fd);
}

/*
 * Invariant 3: nothing is lost for lack of memory, for nothing is allocated.
 */
static void yield_without_memory(struct ums_worker *worker)
{
	int mark = open_mark();

	set_mark(mark, true);
	for (long i = 0; i < worker->value; i++)
		ums_worker_yield(worker, i);
	CHECK_EQ(0, ums_exit(worker->fd));
	set_mark(mark, false);
	close(mark);
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

		set_mark(self->mark, true);
		context = ums_dequeue(self->fd, self->clist);
		ASSERT_EQ(0, ums_next(self->fd, context));
		ASSERT_EQ(0, ums_exec(self->fd, context));
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		set_mark(self->mark, false);
	}
	EXPECT_EQ(101, GET(self->worker.used));
	EXPECT_NO_NOTES();
}

/* All that can stop a worker, and all that takes it back. */
static void stop_without_memory(struct ums_worker *worker)
{
	int mark = open_mark();

	set_mark(mark, true);
	for (long i = 0; i < worker->value; i++) {
		CHECK_EQ(0, ums_nap_us(100));
		CHECK_EQ(0, ums_preempt(worker->fd, worker->tid));
		worker->stage = 1;
		while (worker->stage == 1)
			;
	}
	set_mark(mark, false);
	close(mark);
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
		set_mark(self->mark, true);
		ASSERT_EQ(1, ums_take(self->fd, self->clist, 0, SOON_NS,
				      &ready, 1));
		/* It spins until a slice has ended. */
		ASSERT_EQ(0, ums_run(self->fd, ready.context,
				     spun ? 0 : 2000000, &event));
		set_mark(self->mark, false);
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

static void die_without_memory(struct ums_worker *worker)
{
	/* Never taken back: the thread's exit has none either. */
	set_mark(open_mark(), true);
	if (worker->value & 1)
		syscall(SYS_exit, 0);
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
