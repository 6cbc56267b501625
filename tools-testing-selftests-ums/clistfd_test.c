// SPDX-License-Identifier: GPL-2.0
/*
 * IOCTL_UMS_CLIST_FD: a descriptor that is readable while the list holds a
 * worker, for poll(), select() and epoll.
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "ums_fixture.h"

#define NR	4

FIXTURE(clistfd) {
	int fd;
	int clist;
	int list_fd;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_worker workers[NR];
	struct ums_sched sched;
};

FIXTURE_SETUP(clistfd)
{
	SETUP_CLIST(return);
	self->list_fd = ums_clist_fd(self->fd, self->clist);
	ASSERT_LE(0, self->list_fd);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(clistfd)
{
	close(self->list_fd);
	if (self->fd >= 0)
		close(self->fd);
}

/* What poll() says within @ms; 0: nothing. */
static int poll_for(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI };
	int ret = poll(&pfd, 1, ms);

	return ret < 0 ? -errno : ret ? pfd.revents : 0;
}

#define EXPECT_READABLE(ms)						\
	EXPECT_EQ(POLLIN, poll_for(self->list_fd, ms) & ~POLLRDNORM)

#define EXPECT_NOT_READABLE()						\
	EXPECT_EQ(0, poll_for(self->list_fd, 0))

TEST_F(clistfd, is_close_on_exec)
{
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->list_fd, F_GETFD));
	EXPECT_NE(self->fd, self->list_fd);
}

/* It is good for nothing but to wait. */
TEST_F(clistfd, is_not_for_reading)
{
	char buf[64] = {};

	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(-1, read(self->list_fd, buf, sizeof(buf)));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, write(self->list_fd, buf, sizeof(buf)));
		EXPECT_TRUE(errno == EINVAL || errno == EBADF);
		/* No way to get at the device. */
		EXPECT_EQ(-ENOTTY, ums_call(self->list_fd, IOCTL_EXIT_UMS, 0));
		EXPECT_EQ(-ENOTTY, ums_create(self->list_fd));
		START(i, ums_work_return);
	}
}

/* Readable while there is something, no longer and no shorter. */
TEST_F(clistfd, tells_of_workers)
{
	EXPECT_NOT_READABLE();
	START(0, ums_work_yield_forever);
	EXPECT_READABLE(0);
	EXPECT_READABLE(0);
	START(1, ums_work_return);
	EXPECT_READABLE(0);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	EXPECT_READABLE(0);
	TAKE(1, UMS_READY_NEW);
	EXPECT_NOT_READABLE();
	RUN(0, 0);
	EXPECT_READABLE(0);
	/* The classic call takes it too. */
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	EXPECT_NOT_READABLE();
	RUN(1, 0);
	EXPECT_EQ(THREAD_TERMINATED, self->event.type);
	EXPECT_NOT_READABLE();
	/* What is given back is there again. */
	ASSERT_EQ(0, ums_exit(self->fd));
	EXPECT_READABLE(0);
	EXPECT_NO_NOTES();
}

/* A dequeue that fails leaves it as it was. */
TEST_F(clistfd, survives_bad_pointer)
{
	START(0, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(-EFAULT, ums_take(self->fd, self->clist, 0, 0, NULL, 1));
	EXPECT_READABLE(0);
	TAKE(0, UMS_READY_NEW);
	EXPECT_NOT_READABLE();
}

TEST_F(clistfd, is_for_one_list)
{
	int other = ums_create(self->fd);

	ASSERT_EQ(0, ums_worker_start(&self->workers[0], self->fd, other,
				      ums_work_return));
	EXPECT_NOT_READABLE();
	START(1, ums_work_return);
	EXPECT_READABLE(0);
	EXPECT_EQ(-EBUSY, ums_delete(self->fd, self->clist));
}

TEST_F(clistfd, made_late_and_many)
{
	int fds[20];

	START(0, ums_work_return);
	for (int i = 0; i < 20; i++) {
		fds[i] = ums_clist_fd(self->fd, self->clist);
		ASSERT_LE(0, fds[i]);
		EXPECT_EQ(POLLIN, poll_for(fds[i], 0) & ~POLLRDNORM);
	}
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(0, poll_for(fds[i], 0));
		close(fds[i]);
	}
	EXPECT_NOT_READABLE();
}

/*
 * Waiting, with each of the calls there are.
 */
enum poll_kind { BY_POLL, BY_SELECT, BY_EPOLL, BY_EPOLL_EDGE };

FIXTURE(polled) {
	int fd;
	int clist;
	int list_fd;
	struct ums_ready ready;
	struct ums_event event;
	struct ums_worker workers[NR];
};

FIXTURE_VARIANT(polled) {
	enum poll_kind kind;
};

FIXTURE_VARIANT_ADD(polled, poll) { BY_POLL };
FIXTURE_VARIANT_ADD(polled, select) { BY_SELECT };
FIXTURE_VARIANT_ADD(polled, epoll) { BY_EPOLL };
FIXTURE_VARIANT_ADD(polled, epoll_edge) { BY_EPOLL_EDGE };

FIXTURE_SETUP(polled)
{
	SETUP_CLIST(return);
	self->list_fd = ums_clist_fd(self->fd, self->clist);
	ASSERT_LE(0, self->list_fd);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(polled)
{
	close(self->list_fd);
	if (self->fd >= 0)
		close(self->fd);
}

struct poller {
	enum poll_kind kind;
	int fd;
	int epoll;
	int seen;		/* POLLIN, POLLHUP */
	unsigned long took_ms;
	atomic_int stage;
	atomic_int tid;
	pthread_t thread;
};

static int poller_open(struct poller *poller)
{
	struct epoll_event event = {
		.events = EPOLLIN |
			  (poller->kind == BY_EPOLL_EDGE ? EPOLLET : 0),
	};

	poller->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (poller->epoll < 0)
		return -errno;
	return epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->fd, &event) ?
	       -errno : 0;
}

static int poller_wait(struct poller *poller, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	struct epoll_event event;
	fd_set set;
	int ret;

	switch (poller->kind) {
	case BY_POLL:
		return poll_for(poller->fd, ms) & (POLLIN | POLLHUP);
	case BY_SELECT:
		FD_ZERO(&set);
		FD_SET(poller->fd, &set);
		ret = select(poller->fd + 1, &set, NULL, NULL,
			     ms < 0 ? NULL : &tv);
		/* It cannot tell the two apart. */
		return ret == 1 ? POLLIN : ret;
	default:
		ret = epoll_wait(poller->epoll, &event, 1, ms);
		return ret == 1 ? (int)event.events & (POLLIN | POLLHUP) : ret;
	}
}

static void *poll_once(void *arg)
{
	struct poller *poller = arg;

	poller->tid = gettid();
	poller->stage = 1;
	poller->seen = poller_wait(poller, -1);
	poller->stage = 2;
	return NULL;
}

#define START_POLLER(p)							\
	do {								\
		struct poller *__p = (p);				\
									\
		__p->kind = variant->kind;				\
		__p->fd = self->list_fd;				\
		ASSERT_EQ(0, poller_open(__p));				\
		ASSERT_EQ(0, pthread_create(&__p->thread, NULL,		\
					    poll_once, __p));		\
		ASSERT_TRUE(WAIT_FOR(__p->stage == 1 &&			\
				     ums_is_parked(__p->tid)));		\
		ums_sleep_ms(QUIET_MS);					\
		ASSERT_EQ(1, GET(__p->stage));				\
	} while (0)

TEST_F(polled, worker_comes)
{
	struct poller poller = {};

	START_POLLER(&poller);
	START(0, ums_work_return);
	pthread_join(poller.thread, NULL);
	EXPECT_EQ(POLLIN, poller.seen);
}

TEST_F(polled, worker_yields)
{
	struct poller poller = {};

	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	START_POLLER(&poller);
	RUN(0, 0);
	pthread_join(poller.thread, NULL);
	EXPECT_EQ(POLLIN, poller.seen);
}

static void read_pipe(struct ums_worker *worker)
{
	char byte;

	CHECK_EQ(1, read(worker->value, &byte, 1));
}

TEST_F(polled, worker_unblocks)
{
	struct poller poller = {};
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	self->workers[0].value = pipes[0];
	START(0, read_pipe);
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_BLOCK_EVENTS));
	TAKE(0, UMS_READY_NEW);
	RUN(0, 0);
	ASSERT_EQ(THREAD_BLOCKED, self->event.type);
	START_POLLER(&poller);
	ASSERT_EQ(1, write(pipes[1], "x", 1));
	pthread_join(poller.thread, NULL);
	EXPECT_EQ(POLLIN, poller.seen);
	TAKE(0, UMS_READY_UNBLOCKED);
	EXPECT_NO_NOTES();
}

TEST_F(polled, scheduler_leaves)
{
	struct poller poller = {};

	START(0, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_NEW);
	START_POLLER(&poller);
	ASSERT_EQ(0, ums_exit(self->fd));
	pthread_join(poller.thread, NULL);
	EXPECT_EQ(POLLIN, poller.seen);
}

TEST_F(polled, list_is_deleted)
{
	struct poller poller = {};

	START_POLLER(&poller);
	/* The descriptor does not keep it. */
	ASSERT_EQ(0, ums_delete(self->fd, self->clist));
	pthread_join(poller.thread, NULL);
	if (variant->kind != BY_SELECT)
		EXPECT_EQ(POLLHUP, poller.seen & POLLHUP);
	EXPECT_EQ(POLLHUP, poll_for(self->list_fd, 0) & POLLHUP);
	/* It does not come back with a list of the same id. */
	self->clist = ums_create(self->fd);
	START(0, ums_work_return);
	EXPECT_EQ(POLLHUP, poll_for(self->list_fd, 0) & POLLHUP);
}

TEST_F(polled, device_is_closed)
{
	struct poller poller = {};
	int fd;

	START_POLLER(&poller);
	close(self->fd);
	self->fd = -1;
	pthread_join(poller.thread, NULL);
	if (variant->kind != BY_SELECT)
		EXPECT_EQ(POLLHUP, poller.seen & POLLHUP);
	EXPECT_EQ(POLLHUP, poll_for(self->list_fd, 0) & POLLHUP);
	/* It keeps neither the process from a new start nor the tree. */
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", getpid())));
	fd = ums_open();
	EXPECT_LE(0, fd);
	close(fd);
}

/* The device is closed while the list holds workers, which leave. */
TEST_F(polled, device_is_closed_with_workers)
{
	START(0, ums_work_return);
	EXPECT_EQ(POLLIN, poll_for(self->list_fd, 0) & (POLLIN | POLLHUP));
	close(self->fd);
	self->fd = -1;
	pthread_join(self->workers[0].thread, NULL);
	EXPECT_EQ(POLLHUP, poll_for(self->list_fd, SOON_MS) & POLLHUP);
}

/* With edges there is one for each time that something comes. */
TEST_F(polled, again_and_again)
{
	struct poller poller = { .kind = variant->kind, .fd = self->list_fd };

	ASSERT_EQ(0, poller_open(&poller));
	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 200; i++) {
		ASSERT_EQ(POLLIN, poller_wait(&poller, SOON_MS));
		TAKE(0, i ? UMS_READY_YIELDED : UMS_READY_NEW);
		ASSERT_EQ(0, poller_wait(&poller, 0));
		RUN(0, 0);
	}
	close(poller.epoll);
}

/* Corpses can be dequeued, so they can be polled for. */
static void run_and_leave(struct ums_sched *sched)
{
	struct ums_ready ready;
	pid_t context = ums_take_one(sched->fd, sched->clist, &ready);

	ums_run_interrupted(sched->fd, context, 0);
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F(polled, corpse)
{
	struct ums_sched sched = {
		.fn = run_and_leave, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	struct poller poller = {};

	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&sched));
	pthread_join(sched.thread, NULL);
	START_POLLER(&poller);
	self->workers[0].stage = 2;
	pthread_join(poller.thread, NULL);
	EXPECT_EQ(POLLIN, poller.seen);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	TAKE(0, UMS_READY_TERMINATED);
	EXPECT_EQ(0, poll_for(self->list_fd, 0));
	EXPECT_NO_NOTES();
}

/*
 * A poller must not take the one wake-up that a waiting scheduler needs, and
 * the other way round.
 */
static void take_and_run(struct ums_sched *sched)
{
	struct ums_event event;
	struct ums_ready ready;

	do {
		/* A timeout would find what a lost wake-up was for. */
		if (!CHECK(ums_take(sched->fd, sched->clist, 0, 0, &ready, 1) ==
			   1))
			break;
		CHECK_EQ(0, ums_run(sched->fd, ready.context, 0, &event));
	} while (event.type == THREAD_YIELD);
	CHECK_EQ(0, ums_exit(sched->fd));
}

struct watcher {
	int fd;
	atomic_int stop;
	atomic_ulong woken;
};

static void *watch(void *arg)
{
	struct watcher *watcher = arg;

	/* For ever, unless it is woken; the end is a hang-up. */
	while (!watcher->stop) {
		int seen = poll_for(watcher->fd, -1);

		watcher->woken++;
		if (seen & POLLHUP)
			break;
		if (!CHECK(seen & POLLIN))
			break;
		ums_nap_us(50);
	}
	return NULL;
}

TEST_F_TIMEOUT(clistfd, poller_beside_schedulers, LONG_TEST)
{
	struct watcher watcher = { .fd = self->list_fd };
	pthread_t watchers[3];

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&watchers[i], NULL, watch,
					    &watcher));
	self->workers[0].value = RACE_LOOPS;
	START(0, ums_work_yield);
	self->sched = (struct ums_sched) {
		.fn = take_and_run, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	pthread_join(self->sched.thread, NULL);
	EXPECT_EQ(RACE_LOOPS + 1, GET(self->workers[0].used));
	watcher.stop = 1;
	ASSERT_EQ(0, ums_delete(self->fd, self->clist));
	for (int i = 0; i < 3; i++)
		pthread_join(watchers[i], NULL);
	EXPECT_SOME(GET(watcher.woken));
	EXPECT_NO_NOTES();
}

/*
 * Nor may one who asked epoll to be woken exclusively.  It was there first, so
 * the one wake-up of a shared queue would be its own.
 */
static void *watch_exclusively(void *arg)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	struct watcher *watcher = arg;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	CHECK(epoll >= 0);
	CHECK_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, watcher->fd, &event));
	while (!watcher->stop) {
		CHECK_EQ(1, epoll_wait(epoll, &event, 1, -1));
		watcher->woken++;
		if (event.events & EPOLLHUP)
			break;
	}
	close(epoll);
	return NULL;
}

TEST_F_TIMEOUT(clistfd, exclusive_poller_leaves_the_wakeup, LONG_TEST)
{
	struct watcher watcher = { .fd = self->list_fd };
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, watch_exclusively,
				    &watcher));
	ums_sleep_ms(QUIET_MS);
	self->workers[0].value = RACE_LOOPS;
	self->sched = (struct ums_sched) {
		.fn = take_and_run, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	ASSERT_TRUE(WAIT_FOR(self->sched.tid));
	ums_sleep_ms(QUIET_MS);
	START(0, ums_work_yield);
	ASSERT_TRUE(WAIT_FOR(GET(self->workers[0].used)));
	pthread_join(self->sched.thread, NULL);
	EXPECT_EQ(RACE_LOOPS + 1, GET(self->workers[0].used));
	watcher.stop = 1;
	ASSERT_EQ(0, ums_delete(self->fd, self->clist));
	pthread_join(thread, NULL);
	EXPECT_SOME(GET(watcher.woken));
	EXPECT_NO_NOTES();
}

/* A scheduler that polls, and dequeues without waiting, as a main loop does. */
TEST_F_TIMEOUT(clistfd, main_loop, LONG_TEST)
{
	struct poller poller = { .kind = BY_EPOLL_EDGE, .fd = self->list_fd };
	unsigned long ends = 0, yields = 0;

	for (int i = 0; i < NR; i++) {
		self->workers[i].value = 200;
		START(i, ums_work_yield);
	}
	ASSERT_EQ(0, poller_open(&poller));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	while (ends < NR) {
		int ret;

		ASSERT_EQ(POLLIN, poller_wait(&poller, SOON_MS));
		/* With edges all must be taken. */
		while ((ret = ums_take(self->fd, self->clist, UMS_NONBLOCK, 0,
				       &self->ready, 1)) == 1) {
			ASSERT_EQ(0, ums_run(self->fd, self->ready.context, 0,
					     &self->event));
			if (self->event.type == THREAD_YIELD)
				yields++;
			else
				ends++;
		}
		ASSERT_EQ(-EAGAIN, ret);
	}
	EXPECT_EQ(NR * 200, yields);
	EXPECT_NO_NOTES();
}

/* Lists and their descriptors come and go while others poll them. */
struct churn {
	atomic_int fd;
	atomic_int stop;
};

static void *poll_what_is_there(void *arg)
{
	struct churn *churn = arg;

	while (!churn->stop) {
		int fd = dup(churn->fd), seen;

		if (fd < 0)
			continue;
		seen = poll_for(fd, 1);
		CHECK(!(seen & POLLNVAL));
		close(fd);
	}
	return NULL;
}

TEST_F_TIMEOUT(clistfd, come_and_go, LONG_TEST)
{
	struct churn churn = { .fd = self->list_fd };
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL,
					    poll_what_is_there, &churn));
	for (unsigned long i = 0; i < RACE_LOOPS; i++) {
		int clist = ums_create(self->fd), fd;

		ASSERT_LT(0, clist);
		fd = ums_clist_fd(self->fd, clist);
		ASSERT_LE(0, fd);
		churn.fd = fd;
		if (i % 2)
			ums_spin_us(i % 50);
		/* Either goes first. */
		if (i % 3)
			ASSERT_EQ(0, ums_delete(self->fd, clist));
		ASSERT_EQ(0, close(fd));
		if (i % 3 == 0)
			ASSERT_EQ(0, ums_delete(self->fd, clist));
	}
	churn.stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	EXPECT_NO_NOTES();
}

/* A child may poll what it has inherited, and keeps nothing with it. */
TEST_F(clistfd, in_a_child)
{
	int pipes[2];
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	START(0, ums_work_return);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(pipes[1]);
		if ((poll_for(self->list_fd, 0) & (POLLIN | POLLHUP)) != POLLIN)
			_exit(1);
		(void)!read(pipes[0], &byte, 1);
		if (!(poll_for(self->list_fd, SOON_MS) & POLLHUP))
			_exit(2);
		_exit(0);
	}
	close(pipes[0]);
	ums_sleep_ms(QUIET_MS);
	close(self->fd);
	self->fd = ums_open();
	EXPECT_LE(0, self->fd);
	close(pipes[1]);
	EXPECT_CHILD_OK(child);
}

TEST_HARNESS_MAIN
