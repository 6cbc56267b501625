// SPDX-License-Identifier: GPL-2.0
/*
 * Block events: a worker that sleeps in the kernel gives its scheduler the CPU
 * back, is reported once, and goes on when it is executed again.
 */
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "ums_fixture.h"

#define NR	32

FIXTURE(block) {
	int fd;
	int clist;
	int pipe[2];
	struct ums_ready ready;
	struct ums_worker workers[NR];
	struct ums_test_run run;
};

FIXTURE_SETUP(block)
{
	SETUP_CLIST(return);
	ASSERT_EQ(0, pipe(self->pipe));
	for (int i = 0; i < NR; i++) {
		self->workers[i].granted = LOTS;
		self->workers[i].arg = self->pipe;
	}
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.flags = ENTER_UMS_BLOCK_EVENTS,
	};
	/* Code that comes from a disk would be one more reason to sleep. */
	mlockall(MCL_CURRENT);
}

FIXTURE_TEARDOWN(block)
{
	close(self->fd);
}

#define BECOME_SCHED()							\
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,	\
					   ENTER_UMS_BLOCK_EVENTS))

/* It runs until it blocks, and nothing else happens. */
#define RUN_TO_BLOCK(i, expected_cause)					\
	do {								\
		pid_t __tid = TID(i);					\
		struct ums_event __ev;					\
									\
		ASSERT_EQ(0, ums_run(self->fd, __tid, 0, &__ev));	\
		ASSERT_EQ(THREAD_BLOCKED, __ev.type);			\
		ASSERT_EQ(__tid, __ev.blocked_params.context);		\
		ASSERT_EQ(expected_cause, __ev.blocked_params.cause);	\
		EXPECT_NO_EVENT(self->fd);				\
	} while (0)

/*
 * What a thread can sleep in.  The workers go to sleep, the test wakes them.
 */
static struct {
	int pipe[2];
	int event;
	int futex;
	pid_t child;
	pthread_mutex_t mutex;
	struct ums_faults faults;
	pthread_t holder;
	atomic_int holder_tid;
} in = { .mutex = PTHREAD_MUTEX_INITIALIZER };

enum need { NEED_NOTHING, NEED_FAULTS, NEED_KERNEL_FAULTS };

struct cause {
	int number;
	enum need need;
	void (*prepare)(void);
	void (*sleep)(void);
	void (*wake)(pid_t tid);
};

static void sleep_in_read(void)
{
	char byte;

	CHECK_EQ(1, read(in.pipe[0], &byte, 1));
}

static void wake_read(pid_t tid)
{
	CHECK_EQ(1, write(in.pipe[1], "x", 1));
}

static void fill_pipe(void)
{
	static char page[4096];

	CHECK_EQ(0, fcntl(in.pipe[1], F_SETFL, O_NONBLOCK));
	while (write(in.pipe[1], page, sizeof(page)) > 0)
		;
	CHECK_EQ(0, fcntl(in.pipe[1], F_SETFL, 0));
}

static void sleep_in_write(void)
{
	CHECK_EQ(1, write(in.pipe[1], "x", 1));
}

static void wake_write(pid_t tid)
{
	static char page[4096];

	CHECK_EQ(sizeof(page), read(in.pipe[0], page, sizeof(page)));
}

static void sleep_in_nanosleep(void)
{
	CHECK_EQ(-EINTR, ums_nap_us(3600 * 1000000L));
	/* Its handler has run since it was executed. */
	CHECK_EQ(1, ums_caught[SIGUSR1]);
}

static void wake_by_signal(pid_t tid)
{
	CHECK_EQ(0, ums_catch(SIGUSR1, 0));
	CHECK_EQ(0, tgkill(getpid(), tid, SIGUSR1));
}

static void sleep_in_futex(void)
{
	CHECK_EQ(0, syscall(SYS_futex, &in.futex, FUTEX_WAIT, 0, NULL, NULL,
			    0));
}

static void wake_futex(pid_t tid)
{
	CHECK_EQ(1, syscall(SYS_futex, &in.futex, FUTEX_WAKE, 1, NULL, NULL,
			    0));
}

static atomic_int let_go;

static void *hold_mutex(void *arg)
{
	CHECK_EQ(0, pthread_mutex_lock(&in.mutex));
	in.holder_tid = gettid();
	while (!let_go)
		usleep(1000);
	CHECK_EQ(0, pthread_mutex_unlock(&in.mutex));
	return NULL;
}

static void make_owner(void)
{
	CHECK_EQ(0, pthread_create(&in.holder, NULL, hold_mutex, NULL));
	CHECK(WAIT_FOR(in.holder_tid));
}

static void sleep_in_mutex(void)
{
	CHECK_EQ(0, pthread_mutex_lock(&in.mutex));
	CHECK_EQ(0, pthread_mutex_unlock(&in.mutex));
}

static void wake_mutex(pid_t tid)
{
	let_go = 1;
}

static void sleep_in_ppoll(void)
{
	struct pollfd pfd = { .fd = in.event, .events = POLLIN };

	CHECK_EQ(1, syscall(SYS_ppoll, &pfd, 1, NULL, NULL, 8));
}

static void wake_event(pid_t tid)
{
	CHECK_EQ(0, eventfd_write(in.event, 1));
}

static void make_child(void)
{
	char byte;

	in.child = fork();
	if (!in.child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(read(in.pipe[0], &byte, 1) != 1);
	}
}

static void sleep_in_wait(void)
{
	CHECK_EQ(in.child, syscall(SYS_wait4, in.child, NULL, 0, NULL));
}

static void sleep_in_fault(void)
{
	CHECK_EQ(0, atomic_load((atomic_char *)ums_fault_page(&in.faults, 0)));
}

static void wake_fault(pid_t tid)
{
	CHECK_EQ(0, ums_faults_end(&in.faults, 0));
}

/* The kernel reads the page for us. */
static void sleep_in_fault_of_call(void)
{
	CHECK_EQ(1, write(in.pipe[1], ums_fault_page(&in.faults, 0), 1));
}

/* A writer keeps the pipe's mutex while it sleeps in a fault. */
static void *hold_pipe(void *arg)
{
	in.holder_tid = gettid();
	CHECK_EQ(1, write(in.pipe[1], ums_fault_page(&in.faults, 0), 1));
	return NULL;
}

static void make_holder(void)
{
	CHECK_EQ(0, pthread_create(&in.holder, NULL, hold_pipe, NULL));
	CHECK(WAIT_FOR(in.holder_tid && ums_is_parked(in.holder_tid)));
}

FIXTURE(causes) {
	int fd;
	int clist;
	struct ums_ready ready;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(causes) {
	struct cause cause;
};

FIXTURE_VARIANT_ADD(causes, read) {
	{ SYS_read, .sleep = sleep_in_read, .wake = wake_read },
};

FIXTURE_VARIANT_ADD(causes, write) {
	{
		SYS_write, .prepare = fill_pipe, .sleep = sleep_in_write,
		.wake = wake_write,
	},
};

FIXTURE_VARIANT_ADD(causes, nanosleep) {
	{ SYS_nanosleep, .sleep = sleep_in_nanosleep, .wake = wake_by_signal },
};

FIXTURE_VARIANT_ADD(causes, futex) {
	{ SYS_futex, .sleep = sleep_in_futex, .wake = wake_futex },
};

FIXTURE_VARIANT_ADD(causes, pthread_mutex) {
	{
		SYS_futex, .prepare = make_owner, .sleep = sleep_in_mutex,
		.wake = wake_mutex,
	},
};

FIXTURE_VARIANT_ADD(causes, ppoll) {
	{ SYS_ppoll, .sleep = sleep_in_ppoll, .wake = wake_event },
};

FIXTURE_VARIANT_ADD(causes, wait4) {
	{
		SYS_wait4, .prepare = make_child, .sleep = sleep_in_wait,
		.wake = wake_read,
	},
};

FIXTURE_VARIANT_ADD(causes, page_fault) {
	{
		UMS_CAUSE_TRAP, NEED_FAULTS, .sleep = sleep_in_fault,
		.wake = wake_fault,
	},
};

FIXTURE_VARIANT_ADD(causes, page_fault_in_call) {
	{
		SYS_write, NEED_KERNEL_FAULTS, .sleep = sleep_in_fault_of_call,
		.wake = wake_fault,
	},
};

FIXTURE_VARIANT_ADD(causes, kernel_mutex) {
	{
		SYS_write, NEED_KERNEL_FAULTS, make_holder, sleep_in_write,
		wake_fault,
	},
};

FIXTURE_SETUP(causes)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
	ASSERT_EQ(0, pipe(in.pipe));
	in.event = eventfd(0, 0);
	ASSERT_LE(0, in.event);
	mlockall(MCL_CURRENT);
	if (variant->cause.need == NEED_FAULTS &&
	    !ums_faults_start(&in.faults, false))
		SKIP(return, NO_UFFD);
	if (variant->cause.need == NEED_KERNEL_FAULTS &&
	    !ums_faults_start(&in.faults, true))
		SKIP(return, NO_KERNEL_UFFD);
	if (variant->cause.prepare)
		variant->cause.prepare();
}

FIXTURE_TEARDOWN(causes)
{
	close(self->fd);
}

static void sleep_once(struct ums_worker *worker)
{
	const struct cause *cause = worker->arg;

	worker->stage = 1;
	cause->sleep();
	worker->stage = 2;
	ums_worker_yield(worker, 9);
}

/*
 * Faults caught: no event, two, the wrong cause; the worker can be executed in
 * its sleep, or goes on by itself when that is over.
 */
TEST_F(causes, one_event_and_back)
{
	const struct cause *cause = &variant->cause;
	char path[PATH_MAX], state[16];
	struct ums_event event;
	struct ums_query query;

	self->workers[0].arg = (void *)cause;
	START(0, sleep_once);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	RUN_TO_BLOCK(0, cause->number);

	/* It belongs to nobody. */
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(0)));
	EXPECT_EQ(-EBUSY, ums_run(self->fd, TID(0), 0, &event));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	EXPECT_EQ(-EAGAIN, ums_preempt(self->fd, TID(0)));
	EXPECT_EQ(-EBUSY, ums_delete(self->fd, self->clist));
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(UMS_STATE_BLOCKED, query.state);
	EXPECT_EQ(0, query.scheduler);
	EXPECT_EQ(1, query.blocks);
	ums_worker_info(path, getpid(), TID(0));
	EXPECT_TRUE(ums_info(path, "state", state, sizeof(state)));
	EXPECT_STREQ("blocked", state);
	ums_sleep_ms(QUIET_MS);
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_NO_EVENT(self->fd);

	/* Its sleep is over, but it does not run. */
	cause->wake(TID(0));
	TAKE(0, UMS_READY_UNBLOCKED);
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_EQ(0, GET(ums_caught[SIGUSR1]));
	EXPECT_EQ(UMS_STATE_READY, ums_state(self->fd, TID(0)));
	EXPECT_NO_EVENT(self->fd);

	ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	ASSERT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(9, event.yield_params.scheduler_params);
	EXPECT_EQ(2, GET(self->workers[0].stage));
	TAKE(0, UMS_READY_YIELDED);
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_NOTES();
}

/* The same with the calls that there were before. */
TEST_F(causes, one_event_for_exec)
{
	const struct cause *cause = &variant->cause;
	struct ums_event event;

	self->workers[0].arg = (void *)cause;
	START(0, sleep_once);
	BECOME_SCHED();
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_exec(self->fd, TID(0)));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_BLOCKED, event.type);
	EXPECT_EQ(TID(0), event.blocked_params.context);
	EXPECT_EQ(cause->number, event.blocked_params.cause);
	EXPECT_WAITS(ums_dequeue(self->fd, self->clist));
	cause->wake(TID(0));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_exec(self->fd, TID(0)));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

struct waker {
	const struct cause *cause;
	struct ums_worker *worker;
	int fd;
	pthread_t thread;
	int state;
};

/* Waits until the worker sleeps, and wakes it a little later. */
static void *wake_later(void *arg)
{
	struct waker *waker = arg;
	pid_t tid = waker->worker->tid;

	CHECK(WAIT_FOR(waker->worker->stage == 1 &&
		       strchr("SD", ums_task_state(tid))));
	ums_sleep_ms(QUIET_MS);
	waker->state = ums_state(waker->fd, tid);
	waker->cause->wake(tid);
	return NULL;
}

/* Fault caught: a scheduler that did not ask is told all the same. */
TEST_F(causes, nothing_without_flag)
{
	struct waker waker = {
		.cause = &variant->cause, .worker = &self->workers[0],
		.fd = self->fd,
	};
	struct ums_query query;
	struct ums_event event;

	self->workers[0].arg = (void *)waker.cause;
	START(0, sleep_once);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	ASSERT_EQ(0, pthread_create(&waker.thread, NULL, wake_later, &waker));
	ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(2, GET(self->workers[0].stage));
	pthread_join(waker.thread, NULL);
	EXPECT_EQ(UMS_STATE_RUNNING, waker.state);
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(0, query.blocks);
	EXPECT_EQ(0, query.blocked_ns);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/* A scheduler that waits for the list is woken by the end of the sleep. */
TEST_F(causes, end_of_sleep_wakes_scheduler)
{
	struct waker waker = {
		.cause = &variant->cause, .worker = &self->workers[0],
		.fd = self->fd,
	};

	self->workers[0].arg = (void *)waker.cause;
	START(0, sleep_once);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	RUN_TO_BLOCK(0, waker.cause->number);
	ASSERT_EQ(0, pthread_create(&waker.thread, NULL, wake_later, &waker));
	ASSERT_EQ(1, ums_take(self->fd, self->clist, 0, 0, &self->ready, 1));
	EXPECT_EQ(TID(0), self->ready.context);
	EXPECT_EQ(UMS_READY_UNBLOCKED, self->ready.why);
	pthread_join(waker.thread, NULL);
	EXPECT_EQ(UMS_STATE_BLOCKED, waker.state);
	EXPECT_NO_NOTES();
}

/*
 * One call may sleep many times: one event.
 */
#define BIG	(64 * 4096 + 65536)

static void *drain_slowly(void *arg)
{
	static char page[4096];
	long *total = arg, n;

	while (*total < BIG) {
		ums_nap_us(500);
		n = read(in.pipe[0], page, sizeof(page));
		CHECK(n > 0);
		*total += n;
	}
	return NULL;
}

static void write_big(struct ums_worker *worker)
{
	static char buf[BIG];

	worker->stage = 1;
	CHECK_EQ(BIG, write(in.pipe[1], buf, BIG));
	worker->stage = 2;
}

TEST_F(block, many_sleeps_in_one_call)
{
	struct ums_query query;
	pthread_t thread;
	long total = 0, sleeps;

	ASSERT_EQ(0, pipe(in.pipe));
	START(0, write_big);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	RUN_TO_BLOCK(0, SYS_write);
	sleeps = ums_task_status(TID(0), "voluntary_ctxt_switches", 10);
	ASSERT_EQ(0, pthread_create(&thread, NULL, drain_slowly, &total));
	TAKE(0, UMS_READY_UNBLOCKED);
	/* It comes back when all is written, and not with every page. */
	sleeps = ums_task_status(TID(0), "voluntary_ctxt_switches", 10) -
		 sleeps;
	EXPECT_LT(5, sleeps);
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_NO_EVENT(self->fd);
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(1, query.blocks);
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_EQ(2, GET(self->workers[0].stage));
	pthread_join(thread, NULL);
	EXPECT_NO_NOTES();
}

/*
 * A short nap may be over before the thread sleeps.  Every other one is long, so
 * that a slow machine sleeps, too.
 */
static int nap_short_or_long(long i, long us)
{
	return ums_nap_us(i % 2 ? 1000 : us);
}

/* Sleeps one after the other are one event each. */
static void nap_often(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		ums_worker_may_run(worker);
		CHECK_EQ(0, nap_short_or_long(i, 1 + i % 50));
	}
}

TEST_F_TIMEOUT(block, one_event_per_call, LONG_TEST)
{
	unsigned long blocks = 0;
	struct ums_query query;
	struct ums_event event;

	self->workers[0].value = RACE_LOOPS;
	START(0, nap_often);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	while (1) {
		ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
		EXPECT_NO_EVENT(self->fd);
		if (event.type == THREAD_TERMINATED)
			break;
		ASSERT_EQ(THREAD_BLOCKED, event.type);
		ASSERT_EQ(SYS_nanosleep, event.blocked_params.cause);
		blocks++;
		TAKE(0, UMS_READY_UNBLOCKED);
		ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
		ASSERT_EQ(blocks, query.blocks);
		ASSERT_EQ(blocks, query.switches);
	}
	EXPECT_GE(RACE_LOOPS, blocks);
	EXPECT_LT(RACE_LOOPS / 4, blocks);
	EXPECT_NO_NOTES();
}

/*
 * The kernel's own preemption is no block.
 */
static void spin_and_give_way(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		ums_spin_us(20000);
		/* It gives way to others, ready to run all the while. */
		for (int j = 0; j < 20; j++)
			sched_yield();
		ums_worker_yield(worker, i);
	}
}

TEST_F_TIMEOUT(block, preemption_is_no_block, LONG_TEST)
{
	struct ums_hog hogs[2];
	struct ums_query query;
	long before, after;

	ASSERT_EQ(0, ums_pin(0));
	self->workers[0].value = 10;
	START(0, spin_and_give_way);
	BECOME_SCHED();
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, ums_hog_start(&hogs[i], 0));
	before = ums_task_status(TID(0), "nonvoluntary_ctxt_switches", 10);
	for (int i = 0; i < 10; i++) {
		TAKE(0, i ? UMS_READY_YIELDED : UMS_READY_NEW);
		RUN_TO(0, THREAD_YIELD);
	}
	after = ums_task_status(TID(0), "nonvoluntary_ctxt_switches", 10);
	ASSERT_EQ(0, ums_query(self->fd, TID(0), &query));
	EXPECT_EQ(0, query.blocks);
	/* It was preempted indeed. */
	EXPECT_LT(before, after);
	for (int i = 0; i < 2; i++)
		ums_hog_stop(&hogs[i]);
	EXPECT_NO_NOTES();
}

/*
 * The worker is back before its scheduler has been told.
 */
static void signal_and_nap(struct ums_worker *worker)
{
	pid_t sched = getpid();

	for (long i = 0;; i++) {
		int caught = ums_caught[SIGUSR1];

		ums_worker_may_run(worker);
		/* The scheduler is out on the signal when this one blocks. */
		CHECK_EQ(0, tgkill(sched, sched, SIGUSR1));
		while (ums_caught[SIGUSR1] == caught)
			;
		CHECK_EQ(0, ums_nap_us(20 + i % 3 * 20));
	}
}

/*
 * Fault caught: a context is on the list before its event is in the queue, or
 * the event is lost when the worker is back that early.
 */
TEST_F_TIMEOUT(block, event_comes_before_context, LONG_TEST)
{
	struct ums_aim aim = { .turns = 20000, .seed = 1 };
	struct ums_event event;
	bool unread = false;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	START(0, signal_and_nap);
	BECOME_SCHED();
	for (unsigned long i = 0; i <= RACE_LOOPS; i++) {
		int ret;

		if (unread)
			ums_spin_turns(ums_aim_turns(&aim));
		do {
			ret = ums_take(self->fd, self->clist, 0, SOON_NS,
				       &self->ready, 1);
			if (!ret) {
				/* Not yet back; there is an event instead. */
				ASSERT_TRUE(unread);
				unread = false;
				ums_aim_correct(&aim, true);
				ASSERT_EQ(0, ums_wait(self->fd, UMS_NONBLOCK,
						      0, &event));
				ASSERT_EQ(THREAD_BLOCKED, event.type);
			}
		} while (!ret || ret == -EINTR);
		ASSERT_EQ(1, ret);
		if (unread) {
			ums_aim_correct(&aim, false);
			ASSERT_EQ(0, ums_wait(self->fd, UMS_NONBLOCK, 0,
					      &event));
			ASSERT_EQ(THREAD_BLOCKED, event.type);
		}
		EXPECT_NO_EVENT(self->fd);
		ASSERT_EQ(i ? UMS_READY_UNBLOCKED : UMS_READY_NEW,
			  self->ready.why);
		if (i == RACE_LOOPS)
			break;
		/* The handler may have been early, too. */
		ret = ums_run(self->fd, TID(0), 0, &event);
		unread = ret == -EINTR;
		if (!unread) {
			ASSERT_EQ(0, ret);
			ASSERT_EQ(THREAD_BLOCKED, event.type);
		}
	}
	/* The scheduler looked before the worker was back, and after. */
	EXPECT_BOTH(&aim, aim.first + aim.last);
	EXPECT_LT(RACE_LOOPS / 2, aim.first + aim.last);
	EXPECT_NO_NOTES();
}

/*
 * The notice of a block may be late: the worker is back, runs and blocks under
 * another scheduler on another CPU already.  First with workers that wake each
 * other, each mostly under one scheduler.
 */
FIXTURE(late) {
	int fd;
	int clist;
	struct ums_worker workers[4];
	struct ums_test_run run;
	struct ums_sched scheds[2];
};

FIXTURE_VARIANT(late) {
	bool two_cpus;
	bool event;		/* sleep in eventfd reads, else in futexes */
	int pairs;		/* of workers that wake each other */
	int blocks;
};

FIXTURE_VARIANT_ADD(late, eventfd) { false, true, 1, 2000 };
FIXTURE_VARIANT_ADD(late, eventfd_two_cpus) { true, true, 1, 4000 };
FIXTURE_VARIANT_ADD(late, futex_two_cpus) { true, false, 1, 4000 };
FIXTURE_VARIANT_ADD(late, two_pairs_two_cpus) { true, true, 2, 4000 };

FIXTURE_SETUP(late)
{
	SETUP_CLIST(return);
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.flags = ENTER_UMS_BLOCK_EVENTS,
		.nr_workers = 2 * variant->pairs, .live = 2 * variant->pairs,
	};
	mlockall(MCL_CURRENT);
}

FIXTURE_TEARDOWN(late)
{
	close(self->fd);
}

struct ping_pong {
	bool event;
	int fd;
	atomic_int futex;
	struct ping_pong *other;
};

static void pass_the_ball(struct ping_pong *to)
{
	if (to->event) {
		CHECK_EQ(0, eventfd_write(to->fd, 1));
		return;
	}
	atomic_fetch_add(&to->futex, 1);
	syscall(SYS_futex, &to->futex, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void wait_for_ball(struct ping_pong *me)
{
	eventfd_t value;

	if (me->event) {
		CHECK_EQ(0, eventfd_read(me->fd, &value));
		return;
	}
	while (!me->futex)
		syscall(SYS_futex, &me->futex, FUTEX_WAIT, 0, NULL, NULL, 0);
	atomic_fetch_sub(&me->futex, 1);
}

static atomic_int stop_playing;

static void play_ping_pong(struct ums_worker *worker)
{
	struct ping_pong *me = worker->arg;

	while (!stop_playing) {
		pass_the_ball(me->other);
		wait_for_ball(me);
		ums_worker_may_run(worker);
	}
	pass_the_ball(me->other);
}

static void play_until_enough(struct ums_test_run *run,
			      struct ums_worker *worker,
			      const struct ums_event *event)
{
	if (run->blocks >= (unsigned long)run->arg)
		stop_playing = 1;
}

/*
 * Faults caught: an event is lost (an execution never
 * ends), doubled or given to the wrong scheduler (it is of another worker), or
 * a worker runs beside its scheduler.
 */
TEST_F_TIMEOUT(late, notices, LONG_TEST)
{
	struct ping_pong players[4] = {};
	unsigned long granted = 0;

	if (variant->two_cpus && sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, NO_TWO_CPUS);
	self->run.on_event = play_until_enough;
	self->run.arg = (void *)ums_loops(variant->blocks);
	for (int i = 0; i < self->run.nr_workers; i++) {
		players[i].event = variant->event;
		players[i].fd = eventfd(0, EFD_SEMAPHORE);
		players[i].other = &players[i ^ 1];
		self->workers[i].arg = &players[i];
		START(i, play_ping_pong);
	}
	for (int i = 0; i < 2; i++) {
		self->scheds[i].run = &self->run;
		self->scheds[i].cpu = variant->two_cpus ? i : -1;
		ASSERT_EQ(0, ums_sched_start(&self->scheds[i]));
	}
	for (int i = 0; i < 2; i++)
		pthread_join(self->scheds[i].thread, NULL);
	for (int i = 0; i < self->run.nr_workers; i++)
		granted += self->workers[i].granted;
	TH_LOG("%lu runs, %lu blocks", granted, GET(self->run.blocks));
	EXPECT_EQ(granted, GET(self->run.blocks) + self->run.nr_workers);
	EXPECT_LE(ums_loops(variant->blocks), GET(self->run.blocks));
	EXPECT_EQ(self->run.nr_workers, GET(self->run.ends));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

/*
 * Then one worker that never blocks twice in a row under the same scheduler.
 * Each has a CPU of its own.  The one that does not run the worker is told when
 * it is about to nap, wakes it from that, takes it, and runs it into its next
 * nap.
 */
struct moves {
	unsigned long goal;
	int ball;		/* ends a nap */
	int begun[2];		/* tells a scheduler of a nap under the other */
	atomic_int runner;	/* the scheduler that runs the worker */
	atomic_ulong naps;	/* begun */
	atomic_ulong woken;	/* of these */
	atomic_long turns;	/* how long the worker waits before it naps */
	atomic_ulong moved;
	atomic_ulong late;
	atomic_int last_told;
	struct ums_aim aim;
	atomic_int over;
};

static void nap_until_woken(struct ums_worker *worker)
{
	struct moves *moves = worker->arg;
	eventfd_t value;

	while (moves->moved < moves->goal) {
		moves->naps++;
		CHECK_EQ(0, eventfd_write(moves->begun[!moves->runner], 1));
		ums_spin_turns(moves->turns);
		CHECK_EQ(0, eventfd_read(moves->ball, &value));
	}
}

/* False: there will be no more. */
static bool wake_and_take(struct ums_sched *sched, struct moves *moves,
			  struct ums_ready *ready)
{
	bool first = !moves->naps, wake = !first;
	eventfd_t value;
	int ret;

	while (!moves->over) {
		if (wake) {
			CHECK_EQ(0, eventfd_read(moves->begun[sched->cpu],
						 &value));
			if (moves->over)
				break;
			ums_spin_turns(-moves->turns);
			moves->woken++;
			CHECK_EQ(0, eventfd_write(moves->ball, 1));
		}
		ret = ums_take(sched->fd, sched->clist, 0, 1000000, ready, 1);
		if (ret == 1)
			break;
		if (!CHECK(ret == -ETIMEDOUT))
			return false;
		/* Woken before it slept, it has gone on to the next nap. */
		wake = moves->naps > moves->woken;
		if (wake)
			ums_aim_correct(&moves->aim, true);
	}
	if (moves->over)
		return false;
	if (!first)
		ums_aim_correct(&moves->aim, false);
	/* Waiting is the side that wakes. */
	moves->turns = -ums_aim_turns(&moves->aim);
	return true;
}

static void take_turns(struct ums_sched *sched)
{
	struct moves *moves = sched->arg;
	struct ums_event event = {};
	struct ums_ready ready;

	while (wake_and_take(sched, moves, &ready)) {
		moves->runner = sched->cpu;
		CHECK_EQ(0, ums_run(sched->fd, ready.context, 0, &event));
		CHECK_EQ(ready.context, ums_event_context(&event));
		if (event.type == THREAD_TERMINATED)
			break;
		CHECK_EQ(THREAD_BLOCKED, event.type);
		CHECK_EQ(SYS_read, event.blocked_params.cause);
		if (atomic_exchange(&moves->last_told, sched->tid) !=
		    sched->tid)
			moves->moved++;
		/* It runs under the other scheduler already. */
		if (moves->runner != sched->cpu)
			moves->late++;
	}
	moves->over = 1;
	CHECK_EQ(0, eventfd_write(moves->begun[!sched->cpu], 1));
	CHECK_EQ(-EAGAIN, ums_wait(sched->fd, UMS_NONBLOCK, 0, &event));
	CHECK_EQ(0, ums_exit(sched->fd));
}

/*
 * Faults caught: a notice that comes late is taken for one of the next block,
 * is lost, or goes to the wrong scheduler.
 */
TEST_F_TIMEOUT(block, under_another_scheduler_each_time, 2 * LONG_TEST)
{
	struct moves moves = {
		.goal = ums_loops(10000), .ball = eventfd(0, EFD_SEMAPHORE),
		.begun = { eventfd(0, EFD_SEMAPHORE), eventfd(0, EFD_SEMAPHORE) },
		.aim = { .seed = 1 },
	};
	struct ums_sched scheds[2];
	struct ums_query query;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, NO_TWO_CPUS);
	ASSERT_LE(0, moves.ball);
	mlockall(MCL_CURRENT);
	self->workers[0].arg = &moves;
	START(0, nap_until_woken);
	for (int i = 0; i < 2; i++) {
		scheds[i] = (struct ums_sched) {
			.fn = take_turns, .arg = &moves, .cpu = i,
			.fd = self->fd, .clist = self->clist,
			.flags = ENTER_UMS_BLOCK_EVENTS,
		};
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
		/* The first one begins. */
		ASSERT_TRUE(WAIT_FOR(moves.naps));
	}
	for (int i = 0; i < 2; i++)
		pthread_join(scheds[i].thread, NULL);
	pthread_join(self->workers[0].thread, NULL);
	TH_LOG("%lu naps, %lu blocks under another scheduler, %lu told late",
	       GET(moves.naps), GET(moves.moved), GET(moves.late));
	EXPECT_LE(moves.goal, GET(moves.moved));
	/* Before its nap as well as in it, so about when that began. */
	TH_LOG("%lu woken before the nap, %lu in it", moves.aim.first,
	       moves.aim.last);
	EXPECT_SOME(moves.aim.first);
	EXPECT_EQ(-ESRCH, ums_query(self->fd, TID(0), &query));
	EXPECT_NO_NOTES();
}

/*
 * Many at once.
 */
static void read_own_event(struct ums_worker *worker)
{
	eventfd_t value;

	CHECK_EQ(0, eventfd_read(worker->value, &value));
	worker->stage = 2;
}

TEST_F(block, many_blocked_at_once)
{
	struct ums_ready ready[NR];
	bool seen[NR] = {};
	int got = 0;

	for (int i = 0; i < NR; i++) {
		self->workers[i].value = eventfd(0, 0);
		START(i, read_own_event);
	}
	BECOME_SCHED();
	for (int i = 0; i < NR; i++) {
		TAKE(i, UMS_READY_NEW);
		RUN_TO_BLOCK(i, SYS_read);
	}
	EXPECT_NO_WORKER(self->fd, self->clist);
	for (int i = NR - 1; i >= 0; i--)
		ASSERT_EQ(0, eventfd_write(self->workers[i].value, 1));
	while (got < NR) {
		int ret = ums_take(self->fd, self->clist, 0, SOON_NS,
				   ready + got, NR - got);

		ASSERT_LT(0, ret);
		got += ret;
	}
	EXPECT_NO_EVENT(self->fd);
	self->run.nr_workers = NR;
	for (int i = 0; i < NR; i++) {
		for (int j = 0; j < NR; j++)
			if (TID(j) == ready[i].context)
				seen[j] = true;
		EXPECT_EQ(UMS_READY_UNBLOCKED, ready[i].why);
		EXPECT_NE(2, GET(ums_find_worker(&self->run,
						 ready[i].context)->stage));
	}
	for (int i = 0; i < NR; i++) {
		EXPECT_TRUE(seen[i]);
		RUN_TO(i, THREAD_TERMINATED);
	}
	EXPECT_NO_NOTES();
}

/* A worker that unblocks goes to its list also where others stay owned. */
TEST_F(block, keep_does_not_keep_blocked)
{
	self->workers[0].value = eventfd(0, 0);
	START(0, read_own_event);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS |
					   ENTER_UMS_KEEP));
	TAKE(0, UMS_READY_NEW);
	RUN_TO_BLOCK(0, SYS_read);
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
	ASSERT_TRUE(WAIT_FOR(ums_state(self->fd, TID(0)) == UMS_STATE_READY));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, TID(0)));
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, TID(0)));
	TAKE(0, UMS_READY_UNBLOCKED);
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_NOTES();
}

/* It is the scheduler that runs it which decides, not an earlier one. */
static void run_without_flag(struct ums_sched *sched)
{
	struct ums_event event;
	pid_t context = ums_dequeue(sched->fd, sched->clist);

	sched->stage = 1;
	CHECK_EQ(0, ums_run(sched->fd, context, 0, &event));
	CHECK_EQ(THREAD_TERMINATED, event.type);
	CHECK_EQ(0, ums_exit(sched->fd));
}

static void read_twice(struct ums_worker *worker)
{
	eventfd_t value;

	CHECK_EQ(0, eventfd_read(worker->value, &value));
	worker->stage = 1;
	CHECK_EQ(0, eventfd_read(worker->value, &value));
	worker->stage = 2;
}

TEST_F(block, each_scheduler_decides)
{
	struct ums_sched sched = {
		.fn = run_without_flag, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};

	self->workers[0].value = eventfd(0, 0);
	START(0, read_twice);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	RUN_TO_BLOCK(0, SYS_read);
	ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
	ASSERT_TRUE(WAIT_FOR(ums_state(self->fd, TID(0)) == UMS_STATE_READY));
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1 &&
			     ums_is_parked(TID(0))));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(UMS_STATE_RUNNING, ums_state(self->fd, TID(0)));
	ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
	pthread_join(sched.thread, NULL);
	EXPECT_EQ(2, GET(self->workers[0].stage));
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/*
 * Signals to a blocked worker: its sleep ends, but the handler is user code.
 */
FIXTURE(handler) {
	int fd;
	int clist;
	int pipe[2];
	struct ums_ready ready;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(handler) {
	int flags;
	bool to_process;
};

FIXTURE_VARIANT_ADD(handler, thread) { 0, false };
FIXTURE_VARIANT_ADD(handler, thread_restart) { SA_RESTART, false };
FIXTURE_VARIANT_ADD(handler, process) { 0, true };
FIXTURE_VARIANT_ADD(handler, process_restart) { SA_RESTART, true };

FIXTURE_SETUP(handler)
{
	SETUP_CLIST(return);
	ASSERT_EQ(0, pipe(self->pipe));
	self->workers[0].granted = LOTS;
	self->workers[0].arg = self->pipe;
	mlockall(MCL_CURRENT);
}

FIXTURE_TEARDOWN(handler)
{
	close(self->fd);
}

static void read_through_signals(struct ums_worker *worker)
{
	int *fds = worker->arg;
	char byte = 0;
	long ret;

	ret = read(fds[0], &byte, 1);
	/* The value says which of the two it was. */
	ums_worker_yield(worker, ret == 1 ? byte : errno);
}

TEST_F(handler, runs_when_executed)
{
	struct ums_event event;
	sigset_t mask;

	ASSERT_EQ(0, ums_catch(SIGUSR1, variant->flags));
	START(0, read_through_signals);
	/* Nobody but the worker takes it. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	ASSERT_EQ(0, pthread_sigmask(SIG_BLOCK, &mask, NULL));
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	RUN_TO_BLOCK(0, SYS_read);

	ASSERT_EQ(0, variant->to_process ?
		     kill(getpid(), SIGUSR1) :
		     tgkill(getpid(), TID(0), SIGUSR1));
	TAKE(0, UMS_READY_UNBLOCKED);
	/* More of them change nothing. */
	ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(0, GET(ums_caught[SIGUSR1]));
	EXPECT_NO_EVENT(self->fd);

	if (variant->flags & SA_RESTART) {
		/* After the handler the read goes on, and sleeps again. */
		RUN_TO_BLOCK(0, SYS_read);
		EXPECT_LE(1, GET(ums_caught[SIGUSR1]));
		ASSERT_EQ(1, write(self->pipe[1], "r", 1));
		TAKE(0, UMS_READY_UNBLOCKED);
	}
	ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	ASSERT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(variant->flags & SA_RESTART ? 'r' : EINTR,
		  event.yield_params.scheduler_params);
	EXPECT_LE(1, GET(ums_caught[SIGUSR1]));
	EXPECT_GE(2, GET(ums_caught[SIGUSR1]));
	EXPECT_EQ(TID(0), GET(ums_caught_by[SIGUSR1]));
	TAKE(0, UMS_READY_YIELDED);
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_NOTES();
}

/* A signal at every moment of a short sleep: none is lost, no event doubled. */
static void nap_through_signals(struct ums_worker *worker)
{
	for (long i = 0; !worker->stage; i++) {
		int ret = nap_short_or_long(i, 20);

		CHECK(!ret || ret == -EINTR);
		ums_worker_may_run(worker);
	}
}

TEST_F_TIMEOUT(block, signals_race, LONG_TEST)
{
	struct ums_sched sched = { .run = &self->run, .cpu = -1 };
	union sigval value = { .sival_int = 1 };

	ASSERT_EQ(0, ums_catch(SIGRTMIN, 0));
	self->workers[0].granted = 0;
	self->run.nr_workers = 1;
	self->run.live = 1;
	START(0, nap_through_signals);
	ASSERT_EQ(0, ums_sched_start(&sched));
	for (unsigned long i = 1; i <= RACE_LOOPS; i++) {
		ASSERT_EQ(0, pthread_sigqueue(self->workers[0].thread,
					      SIGRTMIN, value));
		ums_spin_us(i % 40);
		/* Now and then two are under way. */
		if (i % 4)
			ASSERT_TRUE(WAIT_FOR(ums_caught[SIGRTMIN] == (int)i));
	}
	EXPECT_TRUE(WAIT_FOR(ums_caught[SIGRTMIN] == (int)RACE_LOOPS));
	self->workers[0].stage = 1;
	pthread_join(sched.thread, NULL);
	EXPECT_EQ(RACE_LOOPS, GET(ums_caught[SIGRTMIN]));
	EXPECT_EQ(TID(0), GET(ums_caught_by[SIGRTMIN]));
	EXPECT_LT(RACE_LOOPS / 4, GET(self->run.blocks));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

/*
 * Stops: by job control, and by a debugger.
 */
static void *stop_later(void *arg)
{
	struct ums_worker *worker = arg;

	CHECK(WAIT_FOR(worker->stage == 1));
	CHECK_EQ(0, ums_wait_child(ums_stop_until_stopped(worker->tid)));
	return NULL;
}

TEST_F(block, stopped_process)
{
	struct ums_worker *worker = &self->workers[0];
	struct ums_event event;
	pthread_t thread;
	int ret;

	START(0, ums_work_spin);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	ASSERT_EQ(0, pthread_create(&thread, NULL, stop_later, worker));
	/* The scheduler is stopped too, and told of it first. */
	ret = ums_run(self->fd, TID(0), 0, &event);
	while (ret == -EINTR)
		ret = ums_wait(self->fd, 0, SOON_NS, &event);
	ASSERT_EQ(0, ret);
	EXPECT_EQ(THREAD_BLOCKED, event.type);
	EXPECT_EQ(TID(0), event.blocked_params.context);
	EXPECT_EQ(UMS_CAUSE_TRAP, event.blocked_params.cause);
	pthread_join(thread, NULL);
	TAKE(0, UMS_READY_UNBLOCKED);
	EXPECT_NO_EVENT(self->fd);
	/* If it ran unasked it would see this and end. */
	worker->stage = 2;
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ('S', ums_task_state(TID(0)));
	EXPECT_EQ(UMS_STATE_READY, ums_state(self->fd, TID(0)));
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_NOTES();
}

/* Blocked, and stopped besides: still one event, still not run. */
TEST_F(block, stopped_while_blocked)
{
	pid_t child;

	self->workers[0].value = eventfd(0, 0);
	START(0, read_own_event);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	RUN_TO_BLOCK(0, SYS_read);
	child = ums_stop_until_stopped(TID(0));
	ASSERT_LT(0, child);
	EXPECT_CHILD_OK(child);
	/* Its call starts over, for which it has to be executed. */
	TAKE(0, UMS_READY_UNBLOCKED);
	EXPECT_NO_EVENT(self->fd);
	RUN_TO_BLOCK(0, SYS_read);
	ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
	TAKE(0, UMS_READY_UNBLOCKED);
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_NOTES();
}

/* Made before the worker runs: in a fork it might fault, and block in that. */
static int tracer_pipes[2][2];

static pid_t fork_patient_tracer(pid_t tid)
{
	pid_t child;
	char byte;

	if (pipe(tracer_pipes[0]) || pipe(tracer_pipes[1]))
		return -1;
	child = ums_fork_tracer();
	if (child)
		return child;
	if (read(tracer_pipes[0][0], &byte, 1) != 1)
		_exit(202);
	TRACE(ptrace(PTRACE_SEIZE, tid, 0, 0));
	TRACE(ptrace(PTRACE_INTERRUPT, tid, 0, 0));
	ums_wait_for_stop(tid);
	if (write(tracer_pipes[1][1], "", 1) != 1 ||
	    read(tracer_pipes[0][0], &byte, 1) != 1)
		_exit(203);
	TRACE(ptrace(PTRACE_DETACH, tid, 0, 0));
	_exit(0);
}

static void *hold_later(void *arg)
{
	struct ums_worker *worker = arg;
	char byte;

	CHECK(WAIT_FOR(worker->stage == 1));
	CHECK_EQ(1, write(tracer_pipes[0][1], "", 1));
	CHECK_EQ(1, read(tracer_pipes[1][0], &byte, 1));
	worker->stage = 10;
	while (worker->stage == 10)
		usleep(1000);
	CHECK_EQ(1, write(tracer_pipes[0][1], "", 1));
	return NULL;
}

static void spin_past_debugger(struct ums_worker *worker)
{
	worker->stage = 1;
	while (worker->stage < 12)
		;
}

TEST_F(block, held_by_debugger)
{
	struct ums_worker *worker = &self->workers[0];
	struct ums_event event;
	pthread_t thread;
	pid_t child;

	START(0, spin_past_debugger);
	child = fork_patient_tracer(TID(0));
	ASSERT_LT(0, child);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	ASSERT_EQ(0, pthread_create(&thread, NULL, hold_later, worker));
	RUN_TO_BLOCK(0, UMS_CAUSE_TRAP);
	ASSERT_TRUE(WAIT_FOR(worker->stage == 10));
	EXPECT_EQ(UMS_STATE_BLOCKED, ums_state(self->fd, TID(0)));
	EXPECT_EQ(-EBUSY, ums_run(self->fd, TID(0), 0, &event));
	EXPECT_NO_WORKER(self->fd, self->clist);
	worker->stage = 11;
	TAKE(0, UMS_READY_UNBLOCKED);
	pthread_join(thread, NULL);
	EXPECT_CHILD_OK(child);
	worker->stage = 12;
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(UMS_STATE_READY, ums_state(self->fd, TID(0)));
	RUN_TO(0, THREAD_TERMINATED);
	EXPECT_NO_NOTES();
}

/* A debugger steps a worker that runs under a scheduler with block events. */
#define STEPS	100

static void step_worker(pid_t tid)
{
	int status;

	TRACE(ptrace(PTRACE_SEIZE, tid, 0, 0));
	TRACE(ptrace(PTRACE_INTERRUPT, tid, 0, 0));
	ums_wait_for_stop(tid);
	for (int i = 0; i < STEPS; i++) {
		TRACE(ptrace(PTRACE_SINGLESTEP, tid, 0, 0));
		status = ums_wait_for_stop(tid);
		if (WSTOPSIG(status) != SIGTRAP)
			_exit(204);
	}
	TRACE(ptrace(PTRACE_DETACH, tid, 0, 0));
	_exit(0);
}

static void *step_later(void *arg)
{
	struct ums_worker *worker = arg;
	pid_t child;

	CHECK(WAIT_FOR(worker->stage == 1));
	child = ums_fork_tracer();
	if (!child)
		step_worker(worker->tid);
	CHECK_EQ(0, ums_wait_child(child));
	worker->stage = 2;
	return NULL;
}

TEST_F_TIMEOUT(block, single_steps, LONG_TEST)
{
	pthread_t thread;

	self->workers[0].granted = 0;
	self->run.nr_workers = 1;
	self->run.live = 1;
	START(0, ums_work_spin);
	BECOME_SCHED();
	ASSERT_EQ(0, pthread_create(&thread, NULL, step_later,
				    &self->workers[0]));
	EXPECT_EQ(0, ums_schedule(&self->run));
	pthread_join(thread, NULL);
	/* Each step, and the first stop. */
	EXPECT_LE(STEPS + 1, GET(self->run.blocks));
	EXPECT_GE(STEPS + 2, GET(self->run.blocks));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

/*
 * The device is closed: a blocked worker wakes up as a plain thread.
 */
TEST_F(block, closed_while_blocked)
{
	self->workers[0].value = eventfd(0, 0);
	START(0, read_own_event);
	BECOME_SCHED();
	TAKE(0, UMS_READY_NEW);
	RUN_TO_BLOCK(0, SYS_read);
	close(self->fd);
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(0, GET(self->workers[0].stage));
	ASSERT_EQ(0, eventfd_write(self->workers[0].value, 1));
	EXPECT_TRUE(WAIT_FOR(self->workers[0].stage == 2));
	EXPECT_EQ(0, pthread_join(self->workers[0].thread, NULL));
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", getpid())));
	self->fd = ums_open();
	EXPECT_LE(0, self->fd);
	EXPECT_NO_NOTES();
}

/*
 * Two workers that are each other's mutex owners: with block events the one
 * scheduler runs the owner while the other sleeps.
 */
static pthread_mutex_t shared_mutex = PTHREAD_MUTEX_INITIALIZER;
static long shared_count;

static void lock_and_nap(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		pthread_mutex_lock(&shared_mutex);
		shared_count++;
		nap_short_or_long(i, 1);
		pthread_mutex_unlock(&shared_mutex);
	}
}

TEST_F_TIMEOUT(block, mutex_shared_by_workers, LONG_TEST)
{
	int count = 4;

	for (int i = 0; i < count; i++) {
		self->workers[i].granted = 0;
		self->workers[i].value = ums_loops(250);
		START(i, lock_and_nap);
	}
	self->run.nr_workers = count;
	self->run.live = count;
	BECOME_SCHED();
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_EQ(count * ums_loops(250), shared_count);
	EXPECT_LE(count * ums_loops(250) / 4, GET(self->run.blocks));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
