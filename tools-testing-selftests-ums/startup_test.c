// SPDX-License-Identifier: GPL-2.0
/* Entering UMS: the first event, the first run, and who may not enter. */
#include "ums_fixture.h"

FIXTURE(startup) {
	int fd;
	int clist;
};

FIXTURE_SETUP(startup)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(startup)
{
	close(self->fd);
}

TEST_F(startup, one_startup_event)
{
	struct ums_event event = {};

	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(SCHEDULER_STARTUP, event.type);
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_EQ(0, ums_exit(self->fd));
}

/* Fault caught: an event that overtakes SCHEDULER_STARTUP. */
TEST_F(startup, startup_comes_first)
{
	static struct ums_worker worker = { .value = 1, .granted = 2 };
	struct ums_event event = {};

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_return));
	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	ASSERT_EQ(GET(worker.tid), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_exec(self->fd, worker.tid));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(SCHEDULER_STARTUP, event.type);
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(GET(worker.tid), event.end_params.context);
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
}

TEST_F(startup, startup_again_after_exit)
{
	struct ums_event event = {};

	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist,
				       0));
		/* Now and then it leaves with the event unread. */
		if (i % 3) {
			ASSERT_EQ(0, ums_dqevent(self->fd, &event));
			EXPECT_EQ(SCHEDULER_STARTUP, event.type);
		}
		ASSERT_EQ(0, ums_exit(self->fd));
		EXPECT_EQ(-ESRCH, ums_dqevent(self->fd, &event));
	}
}

TEST_F(startup, scheduler_enters_twice)
{
	struct ums_event event = {};

	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	EXPECT_EQ(-EEXIST, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist,
				     0));
	EXPECT_EQ(-EEXIST, ums_enter(self->fd, ENTER_UMS_WORK, self->clist,
				     0));
	/* One entry, one event. */
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(SCHEDULER_STARTUP, event.type);
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	/* The refused worker is on no list. */
	EXPECT_WAITS(ums_dequeue(self->fd, self->clist));
	EXPECT_EQ(0, ums_exit(self->fd));
	EXPECT_EQ(-ESRCH, ums_exit(self->fd));
}

static void enter_as_worker(struct ums_worker *worker)
{
	CHECK_EQ(-EEXIST, ums_enter(worker->fd, ENTER_UMS_WORK, worker->clist,
				    0));
	CHECK_EQ(-EEXIST, ums_enter(worker->fd, ENTER_UMS_SCHED, worker->clist,
				    0));
	ums_worker_yield(worker, 1);
	CHECK_EQ(-EEXIST, ums_enter(worker->fd, ENTER_UMS_WORK, worker->clist,
				    0));
}

/* Fault caught: a refused entry parks the worker or queues it once more. */
TEST_F(startup, worker_enters_twice)
{
	static struct ums_worker worker;
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist,
		.workers = &worker, .nr_workers = 1, .live = 1,
	};

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      enter_as_worker));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&run));
	EXPECT_EQ(1, GET(run.yields));
	EXPECT_EQ(1, GET(run.ends));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

TEST_F(startup, worker_waits_to_be_executed)
{
	static struct ums_worker worker = { .granted = 1 };
	struct ums_event event;

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_return));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(1, GET(worker.entered));
	EXPECT_EQ(0, GET(worker.stage));

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(GET(worker.tid), ums_dequeue(self->fd, self->clist));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(1, GET(worker.entered));

	ASSERT_EQ(0, ums_run_once(self->fd, worker.tid, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_EQ(0, GET(worker.entered));
	EXPECT_EQ(1, GET(worker.stage));
	EXPECT_NO_NOTES();
}

static void change_roles(struct ums_worker *worker)
{
	struct ums_event event;
	int fd = worker->fd, clist = worker->clist;

	CHECK_EQ(0, ums_exit(fd));
	CHECK_EQ(0, ums_enter(fd, ENTER_UMS_SCHED, clist, 0));
	CHECK_EQ(0, ums_dqevent(fd, &event));
	CHECK_EQ(SCHEDULER_STARTUP, event.type);
	CHECK_EQ(-ESRCH, ums_yield(fd, 0));
	CHECK_EQ(0, ums_exit(fd));
	CHECK_EQ(0, ums_enter(fd, ENTER_UMS_WORK, clist, 0));
	ums_worker_went_on(worker);
	CHECK_EQ(-ESRCH, ums_dqevent(fd, &event));
	worker->stage = 1;
}

/* A thread can be worker, scheduler and worker again. */
TEST_F(startup, roles_change)
{
	static struct ums_worker worker;
	struct ums_event event;

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      change_roles));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(GET(worker.tid), ums_dequeue(self->fd, self->clist));
		worker.granted++;
		ASSERT_EQ(0, ums_run_once(self->fd, worker.tid, &event));
		EXPECT_EQ(THREAD_TERMINATED, event.type);
		EXPECT_EQ(GET(worker.tid), event.end_params.context);
	}
	EXPECT_EQ(1, GET(worker.stage));
	EXPECT_NO_NOTES();
}

#define NR_SCHEDS 48

static void stay_until_told(struct ums_sched *sched)
{
	sched->stage = 1;
	while (sched->stage != 2)
		usleep(1000);
	CHECK_EQ(0, ums_exit(sched->fd));
	sched->stage = 3;
}

TEST_F_TIMEOUT(startup, many_schedulers, LONG_TEST)
{
	struct ums_sched scheds[NR_SCHEDS] = {};
	char path[PATH_MAX];

	snprintf(path, sizeof(path), UMS_PROC "/%d/schedulers", getpid());
	for (int i = 0; i < NR_SCHEDS; i++) {
		scheds[i] = (struct ums_sched) {
			.fn = stay_until_told, .cpu = -1,
			.fd = self->fd, .clist = self->clist,
		};
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
	}
	for (int i = 0; i < NR_SCHEDS; i++)
		ASSERT_TRUE(WAIT_FOR(scheds[i].stage == 1));
	EXPECT_EQ(NR_SCHEDS, ums_count_entries(path));
	for (int i = 0; i < NR_SCHEDS; i++)
		scheds[i].stage = 2;
	for (int i = 0; i < NR_SCHEDS; i++)
		pthread_join(scheds[i].thread, NULL);
	EXPECT_EQ(0, ums_count_entries(path));
	EXPECT_NO_NOTES();
}

static void *main_schedules(void *arg)
{
	struct ums_test_run *run = arg;
	int ret = ums_become_sched(run->fd, run->clist);

	CHECK_EQ(0, ret);
	CHECK_EQ(0, ums_schedule(run));
	return NULL;
}

/* The first thread of a process is a thread like any other. */
TEST_F(startup, main_thread_as_worker)
{
	struct ums_worker worker = {
		.fd = self->fd, .clist = self->clist, .tid = getpid(),
	};
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist,
		.workers = &worker, .nr_workers = 1, .live = 1,
	};
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, main_schedules, &run));
	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_WORK, self->clist, 0));
	ums_worker_went_on(&worker);
	for (int i = 0; i < 100; i++)
		ums_worker_yield(&worker, i);
	ASSERT_EQ(0, ums_exit(self->fd));
	pthread_join(thread, NULL);
	EXPECT_EQ(100, GET(run.yields));
	EXPECT_EQ(1, GET(run.ends));
	EXPECT_SETTLED(&run);
	EXPECT_NO_NOTES();
}

struct enter_race {
	int fd;
	int clist;
	unsigned long loops;
	struct ums_gate gate;
};

static void *enter_and_leave(void *arg)
{
	struct enter_race *race = arg;
	struct ums_event event;

	for (unsigned long i = 0; i < race->loops; i++) {
		ums_gate_pass(&race->gate, 3, i);
		CHECK_EQ(0, ums_enter(race->fd, ENTER_UMS_SCHED, race->clist,
				      0));
		CHECK_EQ(-EEXIST, ums_enter(race->fd, ENTER_UMS_SCHED,
					    race->clist, 0));
		if (i & 1) {
			CHECK_EQ(0, ums_dqevent(race->fd, &event));
			CHECK_EQ(SCHEDULER_STARTUP, event.type);
		}
		CHECK_EQ(0, ums_exit(race->fd));
	}
	return NULL;
}

/* Schedulers come and go at the same time on the same pools and directories. */
TEST_F_TIMEOUT(startup, enter_and_leave_race, LONG_TEST)
{
	struct enter_race race = {
		.fd = self->fd, .clist = self->clist, .loops = RACE_LOOPS,
	};
	pthread_t threads[3];
	char path[PATH_MAX];

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, enter_and_leave,
					    &race));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	snprintf(path, sizeof(path), UMS_PROC "/%d/schedulers", getpid());
	EXPECT_EQ(0, ums_count_entries(path));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
