// SPDX-License-Identifier: GPL-2.0
/* New processes out of schedulers, workers and plain threads. */
#include <spawn.h>
#include <sys/prctl.h>

#include "ums_fixture.h"

#define NR	3

FIXTURE(forks) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	struct ums_test_run run;
};

FIXTURE_SETUP(forks)
{
	SETUP_CLIST(return);
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = 1, .live = 1,
	};
}

FIXTURE_TEARDOWN(forks)
{
	close(self->fd);
}

/*
 * What a child is: a plain thread of a process that has no UMS, whatever its
 * parent was.  Returns the number of the first step that fails.
 */
static int live_as_child(int inherited)
{
	struct ums_worker workers[2] = { { .value = 30 }, { .value = 30 } };
	struct ums_test_run run = {
		.workers = workers, .nr_workers = 2, .live = 2,
	};
	struct ums_event event;

	if (ums_yield(inherited, 0) != -EIO || ums_exit(inherited) != -EIO ||
	    ums_dqevent(inherited, &event) != -EIO)
		return 1;
	if (ums_exists(UMS_PROC "/%d", getpid()))
		return 2;
	run.fd = ums_open();
	if (run.fd < 0)
		return 3;
	if (ums_exit(run.fd) != -ESRCH)
		return 4;
	run.clist = ums_create(run.fd);
	for (int i = 0; i < 2; i++)
		if (ums_worker_start(&workers[i], run.fd, run.clist,
				     ums_work_yield))
			return 5;
	if (ums_become_sched(run.fd, run.clist) || ums_schedule(&run))
		return 6;
	if (run.yields != 60 || run.ends != 2 || *ums_notes())
		return 7;
	/* The parent's is still of no use. */
	if (ums_create(inherited) != -EIO)
		return 8;
	close(run.fd);
	return 0;
}

static void fork_and_yield(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		pid_t child = fork();

		CHECK(child >= 0);
		if (!child)
			_exit(live_as_child(worker->fd));
		ums_worker_yield(worker, i);
		CHECK_EQ(0, ums_wait_child(child));
	}
}

/* Fault caught: the child inherits the worker's hooks, or its end is reported. */
TEST_F_TIMEOUT(forks, worker, LONG_TEST)
{
	struct ums_event event;

	self->workers[0].value = 10;
	START(0, fork_and_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_EQ(10, GET(self->run.yields));
	EXPECT_EQ(1, GET(self->run.ends));
	EXPECT_SETTLED(&self->run);
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_NO_NOTES();
}

static pid_t children[64];
static atomic_int nr_children;

static void fork_at_event(struct ums_test_run *run, struct ums_worker *worker,
			  const struct ums_event *event)
{
	pid_t child = fork();

	if (!child)
		_exit(live_as_child(run->fd));
	children[nr_children++] = child;
}

TEST_F_TIMEOUT(forks, scheduler, LONG_TEST)
{
	self->run.on_event = fork_at_event;
	self->workers[0].value = 10;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_EQ(11, GET(nr_children));
	for (int i = 0; i < nr_children; i++)
		EXPECT_CHILD_OK(children[i]);
	EXPECT_EQ(0, ums_exit(self->fd));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

TEST_F_TIMEOUT(forks, plain_thread_beside_parked_workers, LONG_TEST)
{
	for (int i = 0; i < NR; i++) {
		self->workers[i].value = 10;
		START(i, ums_work_yield);
	}
	for (int i = 0; i < 10; i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child)
			_exit(live_as_child(self->fd));
		EXPECT_CHILD_OK(child);
	}
	/* The workers have seen nothing of it. */
	self->run.nr_workers = NR;
	self->run.live = NR;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_EQ(NR * 10, GET(self->run.yields));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

/* A child of a child, and the device in three generations. */
TEST_F_TIMEOUT(forks, generations, LONG_TEST)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		int fd = ums_open();
		pid_t grandchild;

		if (fd < 0 || ums_become_sched(fd, ums_create(fd)))
			_exit(100);
		grandchild = fork();
		if (!grandchild)
			_exit(live_as_child(fd) ?: live_as_child(self->fd));
		_exit(ums_wait_child(grandchild) || ums_exit(fd));
	}
	EXPECT_CHILD_OK(child);
	EXPECT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(-EBUSY, ums_open());
}

static char helper[PATH_MAX];

static void vfork_and_exec(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		pid_t child = vfork();

		if (!child) {
			execl(helper, helper, "none", NULL);
			_exit(127);
		}
		CHECK(child > 0);
		/* Its program runs beside us and our scheduler. */
		ums_worker_yield(worker, i);
		CHECK_EQ(0, ums_wait_child(child));
	}
}

/* The worker sleeps in the call until the child has its program. */
TEST_F_TIMEOUT(forks, vfork_and_exec_by_worker, LONG_TEST)
{
	ums_helper(helper, "ums_exec_helper");
	ASSERT_EQ(0, access(helper, X_OK));
	self->workers[0].value = 10;
	START(0, vfork_and_exec);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_EQ(10, GET(self->run.yields));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

static void spawn_and_yield(struct ums_worker *worker)
{
	char number[16];
	char *const args[] = { helper, number, NULL };

	snprintf(number, sizeof(number), "%d", worker->fd);
	for (long i = 0; i < worker->value; i++) {
		pid_t child;

		CHECK_EQ(0, posix_spawn(&child, helper, NULL, NULL, args,
					environ));
		CHECK_EQ(0, ums_wait_child(child));
		ums_worker_yield(worker, i);
	}
}

/* The program inherits the descriptor, which is of no use to it. */
TEST_F_TIMEOUT(forks, spawn_by_worker, LONG_TEST)
{
	ums_helper(helper, "ums_exec_helper");
	ASSERT_EQ(0, access(helper, X_OK));
	ASSERT_EQ(0, fcntl(self->fd, F_SETFD, 0));
	self->workers[0].value = 10;
	START(0, spawn_and_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_EQ(10, GET(self->run.yields));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

static void *thread_of_scheduler(void *arg)
{
	int fd = *(int *)arg;

	CHECK_EQ(-ESRCH, ums_yield(fd, 0));
	CHECK_EQ(-ESRCH, ums_exit(fd));
	return NULL;
}

static void make_thread(struct ums_worker *worker)
{
	pthread_t thread;

	CHECK_EQ(0, pthread_create(&thread, NULL, thread_of_scheduler,
				   &worker->fd));
	/* It is no worker, so it can end while this one waits. */
	CHECK_EQ(0, pthread_join(thread, NULL));
	ums_worker_yield(worker, 0);
}

/* A new thread is plain, whatever made it. */
TEST_F(forks, threads_are_plain)
{
	pthread_t thread;

	START(0, make_thread);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, pthread_create(&thread, NULL, thread_of_scheduler,
				    &self->fd));
	EXPECT_EQ(0, ums_schedule(&self->run));
	pthread_join(thread, NULL);
	EXPECT_EQ(1, GET(self->run.yields));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

static void fork_in_storm(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		pid_t child = fork();

		if (!child)
			_exit(ums_yield(worker->fd, 0) != -EIO);
		CHECK(child > 0);
		ums_worker_yield(worker, i);
		CHECK_EQ(0, ums_wait_child(child));
	}
}

/* Children come and go while others switch: 1,000 of them. */
TEST_F_TIMEOUT(forks, fork_storm, LONG_TEST)
{
	struct ums_sched scheds[2];

	for (int i = 0; i < NR; i++) {
		self->workers[i].value = i < 2 ? RACE_LOOPS / 2 : RACE_LOOPS;
		START(i, i < 2 ? fork_in_storm : ums_work_yield);
	}
	self->run.nr_workers = NR;
	self->run.live = NR;
	for (int i = 0; i < 2; i++) {
		scheds[i] = (struct ums_sched) { .run = &self->run, .cpu = -1 };
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
	}
	for (int i = 0; i < 2; i++)
		pthread_join(scheds[i].thread, NULL);
	EXPECT_EQ(2 * RACE_LOOPS, GET(self->run.yields));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
