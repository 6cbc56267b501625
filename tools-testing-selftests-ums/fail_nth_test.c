// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever a call allocates, or copies from or to the program, fails once: the
 * first, the second, and so on, until the call passes.  A call that failed gave
 * the error that is documented, changed nothing and left nothing behind.
 *
 * See fault_test.c for what must work without any memory.
 */
#include "ums_fixture.h"

#define DEBUGFS	"/sys/kernel/debug"

/* More than the driver copies at a time. */
#define MANY	18

/* Let allocations that may sleep fail too, without a report for each. */
static const char *prepare_faults(void)
{
	if (access("/proc/self/fail-nth", W_OK))
		return "needs CONFIG_FAULT_INJECTION and CONFIG_DEBUG_KERNEL";
	if (!ums_put("N", DEBUGFS "/failslab/ignore-gfp-wait"))
		return "needs root, debugfs and CONFIG_FAILSLAB";
	ums_put("0", DEBUGFS "/failslab/verbose");
	ums_put("N", DEBUGFS "/fail_page_alloc/ignore-gfp-wait");
	ums_put("0", DEBUGFS "/fail_page_alloc/verbose");
	ums_put("0", DEBUGFS "/fail_usercopy/verbose");
	return NULL;
}

static bool copies_fail(void)
{
	return !access(DEBUGFS "/fail_usercopy", X_OK);
}

/* In all processes. */
static long count_events(void)
{
	return ums_slab_objects("ums_event_node");
}

/* --- fail-nth --- */

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
 * What is left, 0 if the failure has happened.  Reading it is a copy, too, and
 * fails if 1 is left.
 */
static int get_fail_nth(int file)
{
	char text[16] = {};

	if (pread(file, text, sizeof(text) - 1, 0) < 1)
		return 0;
	return atoi(text);
}

/* --- what a worker looks like --- */

struct look {
	int ret;
	struct ums_query query;
};

static struct look look_at(int fd, pid_t context)
{
	struct look look = {};

	look.ret = ums_query(fd, context, &look.query);
	/* Time goes by. */
	look.query.running_ns = 0;
	look.query.ready_ns = 0;
	look.query.blocked_ns = 0;
	return look;
}

#define EXPECT_SAME_LOOK(before)					\
	do {								\
		const struct look *__before = (before);			\
		struct look __now = look_at(self->fd,			\
					    __before->query.context);	\
									\
		EXPECT_EQ(0, memcmp(&__now, __before, sizeof(__now)));	\
	} while (0)

FIXTURE(fail_nth) {
	int fd;
	int clist;
	int nth;
	long events;
	int failures;
	struct ums_worker workers[MANY];
};

FIXTURE_SETUP(fail_nth)
{
	const char *why;

	self->events = count_events();
	SETUP_FD(return);
	why = prepare_faults();
	if (why) {
		close(self->fd);
		SKIP(return, "%s", why);
	}
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	self->nth = open_fail_nth();
	ASSERT_LE(0, self->nth);
}

FIXTURE_TEARDOWN(fail_nth)
{
	set_fail_nth(self->nth, 0);
	close(self->nth);
	if (self->fd >= 0)
		close(self->fd);
	/* The workers that are left end with the process. */
	if (self->events >= 0 && !self->workers[0].tid)
		EXPECT_TRUE(WAIT_FOR(count_events() <= self->events));
}

static bool is_either(int ret)
{
	return ret == -ENOMEM || ret == -EFAULT;
}

/*
 * Runs @call with its first, second, ... allocation or copy failing.  @good
 * says whether it passed in spite of it (some failures are made up for), and
 * @undo takes it back then.  @bad says whether an error is a right one, and
 * @check looks at what a call that failed has left.
 */
#define SWEEP(call, good, undo, bad, check)				\
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
			self->failures++;				\
			EXPECT_TRUE(bad(__ret)) {			\
				TH_LOG("failure %d: %s", __n,		\
				       strerror(-__ret));		\
			}						\
			EXPECT_TRUE(__more) {				\
				TH_LOG("%d: nothing was made to fail", __n); \
			}						\
			check;						\
		}							\
	} while (0)

#define IS_ZERO(ret)		((ret) == 0)
#define IS_POSITIVE(ret)	((ret) > 0)
#define IS_FD(ret)		((ret) >= 0)

#define NO_MEMORY(ret)		((ret) == -ENOMEM)
#define BAD_COPY(ret)		((ret) == -EFAULT)
#define EITHER			is_either

/* open() itself copies the path. */
TEST_F(fail_nth, open)
{
	close(self->fd);
	SWEEP(ums_open(), IS_FD, close(__ret), EITHER,
	      EXPECT_FALSE(ums_exists(UMS_PROC "/%d", getpid())));
	EXPECT_LT(2, self->failures);
	self->fd = ums_open();
	EXPECT_LE(0, self->fd);
}

/* The id goes to the program by put_user(), which is not made to fail. */
TEST_F(fail_nth, create)
{
	int next = self->clist + 1;

	SWEEP(ums_create(self->fd), IS_POSITIVE, {
			EXPECT_EQ(next, __ret);
			EXPECT_EQ(0, ums_delete(self->fd, __ret));
	      }, NO_MEMORY, EXPECT_EQ(-EINVAL, ums_delete(self->fd, next)));
	EXPECT_LT(0, self->failures);
	/* None of the failed ones is there. */
	while (ums_create(self->fd) == next)
		next++;
	EXPECT_EQ(UMS_MAX_CLISTS, next - 1);
}

TEST_F(fail_nth, clist_fd)
{
	int fds = ums_count_entries("/proc/self/fd");

	SWEEP(ums_clist_fd(self->fd, self->clist), IS_FD, close(__ret), NO_MEMORY,
	      EXPECT_EQ(fds, ums_count_entries("/proc/self/fd")));
	EXPECT_LT(0, self->failures);
	EXPECT_EQ(fds, ums_count_entries("/proc/self/fd"));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
}

TEST_F(fail_nth, enter_as_scheduler)
{
	SWEEP(ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0), IS_ZERO,
	      EXPECT_EQ(0, ums_exit(self->fd)), EITHER, {
			EXPECT_EQ(-ESRCH, ums_exit(self->fd));
			EXPECT_FALSE(ums_exists(UMS_PROC "/%d/schedulers/%d",
						getpid(), gettid()));
	      });
	EXPECT_LT(2, self->failures);
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

TEST_F(fail_nth, enter_as_worker)
{
	struct ums_worker other = { .fd = self->fd, .clist = self->clist };
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, run_main_thread, &other));
	ASSERT_TRUE(WAIT_FOR(other.stage == 1));
	SWEEP(ums_enter(self->fd, ENTER_UMS_WORK, self->clist, 0), IS_ZERO,
	      EXPECT_EQ(0, ums_exit(self->fd)), EITHER, {
			EXPECT_EQ(-ESRCH, ums_exit(self->fd));
			EXPECT_EQ(-ESRCH, ums_state(self->fd, gettid()));
			EXPECT_FALSE(ums_exists(UMS_PROC "/%d/workers/%d",
						getpid(), gettid()));
	      });
	EXPECT_LT(2, self->failures);
	/* No failed entry keeps the list. */
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	pthread_join(thread, NULL);
	EXPECT_NO_NOTES();
}

/* Makes the test thread a scheduler with a worker that it has dequeued. */
static int own_a_worker(struct ums_worker *worker, int fd, int clist,
			__u32 flags)
{
	int ret;

	worker->granted = LOTS;
	ret = ums_worker_start(worker, fd, clist, ums_work_yield_forever);
	if (!ret)
		ret = ums_become_sched_with(fd, clist, flags);
	return ret ? ret : ums_dequeue(fd, clist);
}

/*
 * The events pile up, so each execution needs memory for one.  Fault caught: a
 * failed one has taken the worker, or its event is lost.
 */
TEST_F(fail_nth, exec)
{
	struct ums_event event;
	int context, count = 0;
	struct look before;

	context = own_a_worker(&self->workers[0], self->fd, self->clist,
			       ENTER_UMS_KEEP);
	ASSERT_LT(0, context);
	for (int i = 0; i < 10; i++) {
		before = look_at(self->fd, context);
		SWEEP(ums_exec(self->fd, context), IS_ZERO, {
				count++;
				before = look_at(self->fd, context);
		      }, NO_MEMORY, {
				EXPECT_SAME_LOOK(&before);
				EXPECT_EQ(0, ums_next(self->fd, context));
		      });
	}
	EXPECT_LE(9, self->failures);
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		ASSERT_EQ(THREAD_YIELD, event.type);
		ASSERT_EQ(i, event.yield_params.scheduler_params);
	}
	EXPECT_NO_EVENT(self->fd);
	EXPECT_EQ(count, GET(self->workers[0].used));
	EXPECT_NO_NOTES();
}

/*
 * The same in one call.  If only the event could not be written, the worker has
 * run, and the event is kept.
 */
TEST_F(fail_nth, run)
{
	int context, ran = 0;
	struct ums_event event;
	struct look before;

	context = own_a_worker(&self->workers[0], self->fd, self->clist,
			       ENTER_UMS_KEEP);
	ASSERT_LT(0, context);
	for (int i = 0; i < 10; i++) {
		/* So that it needs memory for one more. */
		ASSERT_EQ(0, ums_exec(self->fd, context));
		before = look_at(self->fd, context);
		SWEEP(ums_run(self->fd, context, SOON_NS, &event), IS_ZERO, {
				EXPECT_EQ(ran++,
					  event.yield_params.scheduler_params);
				before = look_at(self->fd, context);
		      }, EITHER, {
				struct look now = look_at(self->fd, context);

				if (now.query.switches >
				    before.query.switches) {
					before.query.switches++;
					before.query.yields++;
				}
				EXPECT_SAME_LOOK(&before);
				EXPECT_EQ(0, ums_next(self->fd, context));
		      });
	}
	/* An event is copied word by word, which is not made to fail. */
	EXPECT_LE(10, self->failures);
	/* All that have not been read, in order. */
	while (!ums_wait(self->fd, UMS_NONBLOCK, 0, &event))
		ASSERT_EQ(ran++, event.yield_params.scheduler_params);
	EXPECT_EQ(ran, GET(self->workers[0].used));
	EXPECT_NO_NOTES();
}

/* An event that could not be written is the next one, again and again. */
TEST_F(fail_nth, events)
{
	struct ums_event event;
	int got = 0;

	ASSERT_EQ(0, ums_enter_sched(self->fd, self->clist, 0));
	SWEEP(ums_dqevent(self->fd, &event), IS_ZERO, {
			got++;
			EXPECT_EQ(SCHEDULER_STARTUP, event.type);
			ASSERT_EQ(0, ums_exit(self->fd));
			ASSERT_EQ(0, ums_enter_sched(self->fd, self->clist,
						     0));
	      }, BAD_COPY, {});
	SWEEP(ums_wait(self->fd, UMS_NONBLOCK, 0, &event), IS_ZERO, {
			got++;
			EXPECT_EQ(SCHEDULER_STARTUP, event.type);
			ASSERT_EQ(0, ums_exit(self->fd));
			ASSERT_EQ(0, ums_enter_sched(self->fd, self->clist,
						     0));
	      }, BAD_COPY, {});
	EXPECT_LE(2, got);
}

static bool many_workers(struct ums_worker *workers, int fd, int clist,
			 struct look *looks)
{
	for (int i = 0; i < MANY; i++) {
		workers[i].granted = LOTS;
		workers[i].cookie = 1000 + i;
		if (ums_worker_start(&workers[i], fd, clist,
				     ums_work_yield_forever))
			return false;
		looks[i] = look_at(fd, workers[i].tid);
		if (looks[i].ret)
			return false;
	}
	return true;
}

#define EXPECT_ALL_QUEUED(looks)					\
	do {								\
		for (int __i = 0; __i < MANY; __i++)			\
			EXPECT_SAME_LOOK(&(looks)[__i]);		\
		EXPECT_EQ(-ESRCH, ums_next(self->fd,			\
					   self->workers[0].tid));	\
	} while (0)

/*
 * What was taken goes back, with its order and its reasons: also if the second
 * part of many could not be written.
 */
TEST_F(fail_nth, dequeue)
{
	struct ums_ready ready[MANY + 1];
	struct look looks[MANY];
	int took = 0;

	ASSERT_TRUE(many_workers(self->workers, self->fd, self->clist, looks));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	SWEEP(ums_take(self->fd, self->clist, UMS_NONBLOCK, 0, ready, MANY + 1),
	      IS_POSITIVE, {
			took++;
			ASSERT_EQ(MANY, __ret);
			for (int i = 0; i < MANY; i++) {
				EXPECT_EQ(GET(self->workers[i].tid),
					  ready[i].context);
				EXPECT_EQ(UMS_READY_NEW, ready[i].why);
				EXPECT_EQ(1000 + i, ready[i].cookie);
			}
			/* They are orphaned, and so can be taken again. */
			ASSERT_EQ(0, ums_exit(self->fd));
			ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
			break;
	      }, BAD_COPY, EXPECT_ALL_QUEUED(looks));
	EXPECT_LE(1, took);
	if (copies_fail())
		EXPECT_LE(3, self->failures);
	EXPECT_NO_NOTES();
}

TEST_F(fail_nth, dequeue_clist)
{
	struct look looks[MANY];
	int context = 0;

	ASSERT_TRUE(many_workers(self->workers, self->fd, self->clist, looks));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	SWEEP(ums_dequeue(self->fd, self->clist), IS_POSITIVE, {
			context = __ret;
			break;
	      }, BAD_COPY, EXPECT_ALL_QUEUED(looks));
	if (copies_fail())
		EXPECT_LE(1, self->failures);
	for (int i = 0; i < MANY; i++) {
		EXPECT_EQ(GET(self->workers[i].tid), context);
		context = ums_next(self->fd, context);
	}
	EXPECT_EQ(0, context);
	EXPECT_NO_NOTES();
}

TEST_F(fail_nth, query)
{
	struct ums_query query;
	struct look before;
	pid_t context;

	self->workers[0].granted = LOTS;
	ASSERT_EQ(0, ums_worker_start(&self->workers[0], self->fd, self->clist,
				      ums_work_yield_forever));
	context = self->workers[0].tid;
	before = look_at(self->fd, context);
	SWEEP(ums_query(self->fd, context, &query), IS_ZERO,
	      EXPECT_EQ(UMS_STATE_READY, query.state), BAD_COPY,
	      EXPECT_SAME_LOOK(&before));
	if (copies_fail())
		EXPECT_LE(2, self->failures);
}

/* Calls with their argument by value have nothing that could fail. */
#define EXPECT_NOTHING_FAILS(expected, call)				\
	do {								\
		int __ret;						\
									\
		set_fail_nth(self->nth, 2);				\
		__ret = (call);						\
		EXPECT_EQ(2, get_fail_nth(self->nth));			\
		set_fail_nth(self->nth, 0);				\
		EXPECT_EQ(expected, __ret);				\
	} while (0)

TEST_F(fail_nth, nothing_fails_by_value)
{
	int context, other;

	other = ums_create(self->fd);
	ASSERT_LT(0, other);
	EXPECT_NOTHING_FAILS(0, ums_delete(self->fd, other));
	context = own_a_worker(&self->workers[0], self->fd, self->clist,
			       ENTER_UMS_KEEP);
	ASSERT_LT(0, context);
	EXPECT_NOTHING_FAILS(0, ums_next(self->fd, context));
	EXPECT_NOTHING_FAILS(-EAGAIN, ums_preempt(self->fd, context));
	EXPECT_NOTHING_FAILS(0, ums_exec(self->fd, context));
	EXPECT_NOTHING_FAILS(-ESRCH, ums_yield(self->fd, 1));
	EXPECT_NOTHING_FAILS(-ESRCH, ums_switch(self->fd, context));
	EXPECT_NOTHING_FAILS(0, ums_exit(self->fd));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
