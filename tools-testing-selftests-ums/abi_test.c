// SPDX-License-Identifier: GPL-2.0
/* The interface itself: layout, numbers, callers, and every bad argument. */
#include <assert.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "ums_fixture.h"

/*
 * The same layout for 32-bit and 64-bit callers: no holes, and nothing whose
 * size depends on the caller.
 */
#define AT(type, member, offset)					\
	static_assert(offsetof(type, member) == (offset), #type "." #member)
#define SIZE(type, size)						\
	static_assert(sizeof(type) == (size), #type)

AT(struct ums_enter, mode, 0);
AT(struct ums_enter, flags, 4);
AT(struct ums_enter, clist, 8);
AT(struct ums_enter, reserved, 12);
AT(struct ums_enter, cookie, 16);
SIZE(struct ums_enter, 24);

AT(struct ums_dequeue_clist, clist, 0);
AT(struct ums_dequeue_clist, context, 4);
SIZE(struct ums_dequeue_clist, 8);

AT(struct ums_yield_params, context, 0);
AT(struct ums_yield_params, reserved, 4);
AT(struct ums_yield_params, scheduler_params, 8);
SIZE(struct ums_yield_params, 16);

AT(struct ums_end_params, context, 0);
AT(struct ums_end_params, reserved, 4);
SIZE(struct ums_end_params, 8);

AT(struct ums_blocked_params, context, 0);
AT(struct ums_blocked_params, cause, 4);
SIZE(struct ums_blocked_params, 8);

AT(struct ums_preempted_params, context, 0);
AT(struct ums_preempted_params, reserved, 4);
SIZE(struct ums_preempted_params, 8);

AT(struct ums_event, type, 0);
AT(struct ums_event, reserved, 4);
AT(struct ums_event, yield_params, 8);
AT(struct ums_event, end_params, 8);
AT(struct ums_event, blocked_params, 8);
AT(struct ums_event, preempted_params, 8);
AT(struct ums_event, pad, 8);
SIZE(struct ums_event, 56);

AT(struct ums_run, context, 0);
AT(struct ums_run, flags, 4);
AT(struct ums_run, slice_ns, 8);
AT(struct ums_run, timeout_ns, 16);
AT(struct ums_run, event, 24);
SIZE(struct ums_run, 80);

AT(struct ums_ready, context, 0);
AT(struct ums_ready, why, 4);
AT(struct ums_ready, cookie, 8);
SIZE(struct ums_ready, 16);

AT(struct ums_dequeue, clist, 0);
AT(struct ums_dequeue, flags, 4);
AT(struct ums_dequeue, nr, 8);
AT(struct ums_dequeue, reserved, 12);
AT(struct ums_dequeue, timeout_ns, 16);
AT(struct ums_dequeue, ready, 24);
SIZE(struct ums_dequeue, 32);

AT(struct ums_query, context, 0);
AT(struct ums_query, flags, 4);
AT(struct ums_query, state, 8);
AT(struct ums_query, why, 12);
AT(struct ums_query, clist, 16);
AT(struct ums_query, scheduler, 20);
AT(struct ums_query, cookie, 24);
AT(struct ums_query, switches, 32);
AT(struct ums_query, yields, 40);
AT(struct ums_query, handovers, 48);
AT(struct ums_query, preemptions, 56);
AT(struct ums_query, blocks, 64);
AT(struct ums_query, running_ns, 72);
AT(struct ums_query, ready_ns, 80);
AT(struct ums_query, blocked_ns, 88);
AT(struct ums_query, reserved, 96);
SIZE(struct ums_query, 128);

FIXTURE(abi) {
	int fd;
	int clist;
};

FIXTURE_SETUP(abi)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(abi)
{
	close(self->fd);
}

TEST_F(abi, node_is_open_to_all)
{
	struct stat st;

	ASSERT_EQ(0, stat(UMS_DEV, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0666, st.st_mode & 07777);
	EXPECT_EQ(0, st.st_uid);
}

TEST_F(abi, ioctl_numbers)
{
	static const struct {
		unsigned int request, dir, nr, size;
	} calls[] = {
		{ IOCTL_CREATE_UMS_CLIST, _IOC_READ, 1, 4 },
		{ IOCTL_DELETE_UMS_CLIST, _IOC_NONE, 2, 0 },
		{ IOCTL_ENTER_UMS, _IOC_WRITE, 3, 24 },
		{ IOCTL_UMS_SCHED_DQEVENT, _IOC_READ, 4, 56 },
		{ IOCTL_DEQUEUE_UMS_CLIST, _IOC_READ | _IOC_WRITE, 5, 8 },
		{ IOCTL_NEXT_UMS_CTX_LIST, _IOC_NONE, 6, 0 },
		{ IOCTL_EXEC_UMS_CTX, _IOC_NONE, 7, 0 },
		{ IOCTL_UMS_YIELD, _IOC_NONE, 8, 0 },
		{ IOCTL_EXIT_UMS, _IOC_NONE, 9, 0 },
		{ IOCTL_UMS_RUN, _IOC_READ | _IOC_WRITE, 10, 80 },
		{ IOCTL_UMS_DEQUEUE, _IOC_WRITE, 11, 32 },
		{ IOCTL_UMS_SWITCH, _IOC_NONE, 12, 0 },
		{ IOCTL_UMS_PREEMPT, _IOC_NONE, 13, 0 },
		{ IOCTL_UMS_QUERY, _IOC_READ | _IOC_WRITE, 14, 128 },
		{ IOCTL_UMS_CLIST_FD, _IOC_NONE, 15, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		EXPECT_EQ(0xF0, _IOC_TYPE(calls[i].request));
		EXPECT_EQ(calls[i].dir, _IOC_DIR(calls[i].request));
		EXPECT_EQ(calls[i].nr, _IOC_NR(calls[i].request));
		EXPECT_EQ(calls[i].size, _IOC_SIZE(calls[i].request));
	}
}

TEST_F(abi, open_as_another_user)
{
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		/* The library's setuid() would ask all threads. */
		if (!geteuid() && syscall(SYS_setresuid, 65534, 65534, 65534))
			_exit(1);
		close(self->fd);
		_exit(ums_open() < 0);
	}
	EXPECT_CHILD_OK(child);
}

TEST_F(abi, second_open_is_busy)
{
	int fd;

	EXPECT_EQ(-EBUSY, ums_open());
	EXPECT_EQ(-EBUSY, ums_open());
	/* The refused open has not harmed the first one. */
	EXPECT_LT(0, ums_create(self->fd));

	close(self->fd);
	self->fd = ums_open();
	ASSERT_LE(0, self->fd);
	/* A new instance: the old list is not in it. */
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, self->clist));

	fd = dup(self->fd);
	close(self->fd);
	self->fd = fd;
	EXPECT_EQ(-EBUSY, ums_open());
}

static void *open_in_thread(void *arg)
{
	*(int *)arg = ums_open();
	return NULL;
}

TEST_F(abi, second_open_by_another_thread_is_busy)
{
	pthread_t thread;
	int ret = 0;

	ASSERT_EQ(0, pthread_create(&thread, NULL, open_in_thread, &ret));
	pthread_join(thread, NULL);
	EXPECT_EQ(-EBUSY, ret);
}

#define OPENERS 3

struct open_race {
	struct ums_gate gate;
	unsigned long loops;
	int fds[OPENERS];
	int wins;
	atomic_int next;
};

static void *open_racer(void *arg)
{
	struct open_race *race = arg;
	int me = atomic_fetch_add(&race->next, 1);

	for (unsigned long i = 0; i < race->loops; i++) {
		ums_gate_pass(&race->gate, OPENERS, 3 * i);
		race->fds[me] = ums_open();
		ums_gate_pass(&race->gate, OPENERS, 3 * i + 1);
		if (!me) {
			int wins = 0;

			for (int j = 0; j < OPENERS; j++) {
				if (race->fds[j] < 0) {
					CHECK_EQ(-EBUSY, race->fds[j]);
					continue;
				}
				wins++;
				close(race->fds[j]);
			}
			CHECK_EQ(1, wins);
			race->wins += wins;
		}
		ums_gate_pass(&race->gate, OPENERS, 3 * i + 2);
	}
	return NULL;
}

/* Fault caught: the check for an open instance and its making are not one. */
TEST_F_TIMEOUT(abi, open_race_has_one_winner, LONG_TEST)
{
	struct open_race race = { .loops = RACE_LOOPS };
	pthread_t threads[OPENERS];

	close(self->fd);
	self->fd = -1;
	for (int i = 0; i < OPENERS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, open_racer,
					    &race));
	for (int i = 0; i < OPENERS; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(race.loops, race.wins);
	EXPECT_NO_NOTES();
}

TEST_F(abi, unknown_calls)
{
	char buf[4096] = {};
	unsigned long arg = (uintptr_t)buf;

	for (int nr = 0x10; nr < 0x100; nr++)
		EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IO(0xF0, nr), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IO(0xF0, 0), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IO(0xEF, 9), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, 0, arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, 0xffffffff, arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, TIOCGWINSZ, arg));
}

/* A known number with another size or direction is another call. */
TEST_F(abi, unknown_sizes_and_directions)
{
	char buf[64] = {};
	unsigned long arg = (uintptr_t)buf;

	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOR(0xF0, 1, __u64), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IO(0xF0, 1), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOW(0xF0, 1, __s32), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOW(0xF0, 2, __s32), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOW(0xF0, 3, __u64), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOWR(0xF0, 3, struct ums_enter),
				    arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOR(0xF0, 4, __u64), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOR(0xF0, 5,
						   struct ums_dequeue_clist),
				    arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOW(0xF0, 8, __u64), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOW(0xF0, 10, struct ums_run),
				    arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOWR(0xF0, 10, struct ums_event),
				    arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOWR(0xF0, 11,
						    struct ums_dequeue), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOW(0xF0, 11, __u64), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOW(0xF0, 12, __s32), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOW(0xF0, 13, __s32), arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOR(0xF0, 14, struct ums_query),
				    arg));
	EXPECT_EQ(-ENOTTY, ums_call(self->fd, _IOR(0xF0, 15, __s32), arg));
}

TEST_F(abi, list_ids_are_positive_and_distinct)
{
	int ids[16];

	for (int i = 0; i < 16; i++) {
		ids[i] = ums_create(self->fd);
		ASSERT_LT(0, ids[i]);
		EXPECT_NE(self->clist, ids[i]);
		for (int j = 0; j < i; j++)
			EXPECT_NE(ids[j], ids[i]);
	}
	for (int i = 0; i < 16; i++)
		EXPECT_EQ(0, ums_delete(self->fd, ids[i]));
}

TEST_F(abi, list_limit)
{
	int ids[UMS_MAX_CLISTS];

	ids[0] = self->clist;
	for (int i = 1; i < UMS_MAX_CLISTS; i++) {
		ids[i] = ums_create(self->fd);
		ASSERT_LT(0, ids[i]);
	}
	EXPECT_EQ(-ENOSPC, ums_create(self->fd));
	EXPECT_EQ(-ENOSPC, ums_create(self->fd));

	/* The refused ones have taken no room. */
	ASSERT_EQ(0, ums_delete(self->fd, ids[500]));
	ids[500] = ums_create(self->fd);
	EXPECT_LT(0, ids[500]);
	EXPECT_EQ(-ENOSPC, ums_create(self->fd));

	for (int i = 0; i < UMS_MAX_CLISTS; i++)
		EXPECT_EQ(0, ums_delete(self->fd, ids[i]));
	EXPECT_LT(0, ums_create(self->fd));
}

TEST_F(abi, delete_unknown_list)
{
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, 0));
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, -1));
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, INT_MIN));
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, INT_MAX));
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, self->clist + 1));
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, -self->clist));
	if (sizeof(long) > 4) {
		/* The low half alone names a list. */
		unsigned long high = 1UL << (sizeof(long) * 8 - 16);

		EXPECT_EQ(-EINVAL, ums_delete(self->fd, high | self->clist));
	}
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_EQ(-EINVAL, ums_delete(self->fd, self->clist));
}

TEST_F(abi, plain_thread_is_no_caller)
{
	struct ums_event event;
	struct ums_ready ready;
	struct ums_query query;

	EXPECT_EQ(-ESRCH, ums_run(self->fd, gettid(), 0, &event));
	EXPECT_EQ(-ESRCH, ums_run(self->fd, NOT_A_WORKER, 1000, &event));
	EXPECT_EQ(-ESRCH, ums_wait(self->fd, 0, 0, &event));
	EXPECT_EQ(-ESRCH, ums_wait(self->fd, UMS_NONBLOCK, 0, &event));
	EXPECT_EQ(-ESRCH, ums_take(self->fd, self->clist, 0, 0, &ready, 1));
	EXPECT_EQ(-ESRCH, ums_take(self->fd, self->clist, UMS_NONBLOCK, 0,
				   &ready, 1));
	EXPECT_EQ(-ESRCH, ums_switch(self->fd, gettid()));
	EXPECT_EQ(-ESRCH, ums_switch(self->fd, 0));
	/* Anybody may ask, but not about a plain thread. */
	EXPECT_EQ(-ESRCH, ums_preempt(self->fd, gettid()));
	EXPECT_EQ(-ESRCH, ums_query(self->fd, gettid(), &query));
	EXPECT_EQ(-ESRCH, ums_dqevent(self->fd, &event));
	EXPECT_EQ(-ESRCH, ums_dequeue(self->fd, self->clist));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, gettid()));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, 0));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, gettid()));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, 0));
	EXPECT_EQ(-ESRCH, ums_yield(self->fd, 0));
	EXPECT_EQ(-ESRCH, ums_exit(self->fd));
}

TEST_F(abi, scheduler_is_no_worker)
{
	struct ums_event event;

	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	EXPECT_EQ(-ESRCH, ums_yield(self->fd, 0));
	EXPECT_EQ(-ESRCH, ums_switch(self->fd, gettid()));
	EXPECT_EQ(-ESRCH, ums_preempt(self->fd, gettid()));
	EXPECT_EQ(-ESRCH, ums_run(self->fd, gettid(), 0, &event));
	EXPECT_EQ(-ESRCH, ums_exec(self->fd, gettid()));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, gettid()));
	/* Still a scheduler. */
	EXPECT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(0, ums_exit(self->fd));
	EXPECT_EQ(-ESRCH, ums_exit(self->fd));
}

static void calls_of_worker(struct ums_worker *worker)
{
	struct ums_event event;
	struct ums_ready ready;
	int fd = worker->fd;

	CHECK_EQ(-ESRCH, ums_run(fd, worker->tid, 0, &event));
	CHECK_EQ(-ESRCH, ums_wait(fd, 0, 0, &event));
	CHECK_EQ(-ESRCH, ums_take(fd, worker->clist, 0, 0, &ready, 1));
	/* The scheduler is none to switch to or to preempt. */
	CHECK_EQ(-ESRCH, ums_switch(fd, getpid()));
	CHECK_EQ(-ESRCH, ums_preempt(fd, getpid()));
	CHECK_EQ(-ESRCH, ums_dqevent(fd, &event));
	CHECK_EQ(-ESRCH, ums_dequeue(fd, worker->clist));
	CHECK_EQ(-ESRCH, ums_next(fd, worker->tid));
	CHECK_EQ(-ESRCH, ums_exec(fd, worker->tid));
	CHECK_EQ(-ESRCH, ums_exec(fd, getpid()));
	/* Still a worker. */
	ums_worker_yield(worker, 7);
	CHECK_EQ(0, ums_exit(fd));
	CHECK_EQ(-ESRCH, ums_yield(fd, 0));
	CHECK_EQ(-ESRCH, ums_switch(fd, worker->tid));
	CHECK_EQ(-ESRCH, ums_exit(fd));
}

TEST_F(abi, worker_is_no_scheduler)
{
	static struct ums_worker worker;
	struct ums_test_run run = {
		.fd = self->fd, .clist = self->clist,
		.workers = &worker, .nr_workers = 1, .live = 1,
	};

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      calls_of_worker));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&run));
	EXPECT_EQ(1, GET(run.yields));
	pthread_join(worker.thread, NULL);
	EXPECT_NO_NOTES();
}

TEST_F(abi, dequeue_unknown_list)
{
	int gone = ums_create(self->fd);

	ASSERT_EQ(0, ums_delete(self->fd, gone));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(-EINVAL, ums_dequeue(self->fd, gone));
	EXPECT_EQ(-EINVAL, ums_dequeue(self->fd, 0));
	EXPECT_EQ(-EINVAL, ums_dequeue(self->fd, -1));
	EXPECT_EQ(-EINVAL, ums_dequeue(self->fd, INT_MAX));
}

/* What an event does not use is 0, and nothing behind it is written. */
TEST_F(abi, events_are_clean)
{
	struct {
		struct ums_event event;
		unsigned char behind[16];
	} buf;
	struct ums_event expected;
	static struct ums_worker worker = { .value = 1 };

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_yield));
	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));

	memset(&buf, 0xa5, sizeof(buf));
	memset(&expected, 0, sizeof(expected));
	expected.type = SCHEDULER_STARTUP;
	ASSERT_EQ(0, ums_dqevent(self->fd, &buf.event));
	EXPECT_EQ(0, memcmp(&expected, &buf.event, sizeof(expected)));

	ASSERT_EQ(GET(worker.tid), ums_dequeue(self->fd, self->clist));
	worker.granted = 2;
	ASSERT_EQ(0, ums_exec(self->fd, GET(worker.tid)));
	memset(&buf, 0xa5, sizeof(buf));
	memset(&expected, 0, sizeof(expected));
	expected.type = THREAD_YIELD;
	expected.yield_params.context = GET(worker.tid);
	ASSERT_EQ(0, ums_dqevent(self->fd, &buf.event));
	EXPECT_EQ(0, memcmp(&expected, &buf.event, sizeof(expected)));

	ASSERT_EQ(GET(worker.tid), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_exec(self->fd, GET(worker.tid)));
	memset(&buf, 0xa5, sizeof(buf));
	memset(&expected, 0, sizeof(expected));
	expected.type = THREAD_TERMINATED;
	expected.end_params.context = GET(worker.tid);
	ASSERT_EQ(0, ums_dqevent(self->fd, &buf.event));
	EXPECT_EQ(0, memcmp(&expected, &buf.event, sizeof(expected)));
	for (size_t i = 0; i < sizeof(buf.behind); i++)
		EXPECT_EQ(0xa5, buf.behind[i]);
	EXPECT_NO_NOTES();
}

static void block_and_spin(struct ums_worker *worker)
{
	ums_nap_us(1000);
	ums_work_spin(worker);
}

/* The same for the other call that gives events, and the other events. */
TEST_F(abi, events_of_run_are_clean)
{
	struct {
		struct ums_run run;
		unsigned char behind[16];
	} buf;
	struct ums_event expected;
	struct ums_ready ready;
	static struct ums_worker worker;

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      block_and_spin));
	worker.granted = ULONG_MAX / 2;
	ASSERT_EQ(0, ums_enter_sched(self->fd, self->clist,
				     ENTER_UMS_BLOCK_EVENTS));
	for (int i = 0; i < 3; i++) {
		memset(&buf, 0xa5, sizeof(buf));
		memset(&expected, 0, sizeof(expected));
		buf.run.context = 0;
		buf.run.flags = 0;
		buf.run.slice_ns = 0;
		buf.run.timeout_ns = 0;
		switch (i) {
		case 0:
			expected.type = SCHEDULER_STARTUP;
			break;
		case 1:
			expected.type = THREAD_BLOCKED;
			expected.blocked_params.context = worker.tid;
			expected.blocked_params.cause = SYS_nanosleep;
			break;
		case 2:
			buf.run.slice_ns = 1000000;
			expected.type = THREAD_PREEMPTED;
			expected.preempted_params.context = worker.tid;
			break;
		}
		if (i) {
			buf.run.context = worker.tid;
			ASSERT_EQ(GET(worker.tid),
				  ums_take_one(self->fd, self->clist, &ready));
		}
		ASSERT_EQ(0, ums_call(self->fd, IOCTL_UMS_RUN,
				      (uintptr_t)&buf.run));
		EXPECT_EQ(0, memcmp(&expected, &buf.run.event,
				    sizeof(expected)));
		/* What is in, is not touched. */
		EXPECT_EQ(i ? GET(worker.tid) : 0, buf.run.context);
		EXPECT_EQ(i == 2 ? 1000000 : 0, buf.run.slice_ns);
		for (size_t j = 0; j < sizeof(buf.behind); j++)
			EXPECT_EQ(0xa5, buf.behind[j]);
	}
	EXPECT_NO_NOTES();
}

/*
 * Every bad argument of IOCTL_ENTER_UMS.
 */
enum list_kind { LIST_GOOD, LIST_ZERO, LIST_NEGATIVE, LIST_DELETED, LIST_HUGE };

FIXTURE(enter) {
	int fd;
	int clist;
};

FIXTURE_VARIANT(enter) {
	struct ums_enter arg;
	enum list_kind list;
};

FIXTURE_VARIANT_ADD(enter, mode_0) {
	.list = LIST_GOOD, .arg = { .mode = 0 },
};

FIXTURE_VARIANT_ADD(enter, mode_3) {
	.list = LIST_GOOD, .arg = { .mode = 3 },
};

FIXTURE_VARIANT_ADD(enter, mode_high) {
	.list = LIST_GOOD, .arg = { .mode = 0x80000001 },
};

FIXTURE_VARIANT_ADD(enter, sched_flag_low) {
	.list = LIST_GOOD, .arg = { .mode = ENTER_UMS_SCHED, .flags = 4 },
};

FIXTURE_VARIANT_ADD(enter, sched_flag_among_good) {
	.list = LIST_GOOD,
	.arg = {
		.mode = ENTER_UMS_SCHED,
		.flags = ENTER_UMS_BLOCK_EVENTS | ENTER_UMS_KEEP | 0x100,
	},
};

FIXTURE_VARIANT_ADD(enter, sched_flag_high) {
	.list = LIST_GOOD,
	.arg = { .mode = ENTER_UMS_SCHED, .flags = 0x80000000 },
};

FIXTURE_VARIANT_ADD(enter, sched_reserved) {
	.list = LIST_GOOD, .arg = { .mode = ENTER_UMS_SCHED, .reserved = 1 },
};

FIXTURE_VARIANT_ADD(enter, sched_cookie) {
	.list = LIST_GOOD, .arg = { .mode = ENTER_UMS_SCHED, .cookie = 1 },
};

FIXTURE_VARIANT_ADD(enter, sched_cookie_high) {
	.list = LIST_GOOD,
	.arg = { .mode = ENTER_UMS_SCHED, .cookie = 1ULL << 63 },
};

FIXTURE_VARIANT_ADD(enter, sched_list_0) {
	.list = LIST_ZERO, .arg = { .mode = ENTER_UMS_SCHED },
};

FIXTURE_VARIANT_ADD(enter, sched_list_negative) {
	.list = LIST_NEGATIVE, .arg = { .mode = ENTER_UMS_SCHED },
};

FIXTURE_VARIANT_ADD(enter, sched_list_deleted) {
	.list = LIST_DELETED, .arg = { .mode = ENTER_UMS_SCHED },
};

FIXTURE_VARIANT_ADD(enter, sched_list_huge) {
	.list = LIST_HUGE, .arg = { .mode = ENTER_UMS_SCHED },
};

FIXTURE_VARIANT_ADD(enter, worker_flag_low) {
	.list = LIST_GOOD, .arg = { .mode = ENTER_UMS_WORK, .flags = 4 },
};

FIXTURE_VARIANT_ADD(enter, worker_block_events) {
	.list = LIST_GOOD,
	.arg = { .mode = ENTER_UMS_WORK, .flags = ENTER_UMS_BLOCK_EVENTS },
};

FIXTURE_VARIANT_ADD(enter, worker_keep) {
	.list = LIST_GOOD,
	.arg = { .mode = ENTER_UMS_WORK, .flags = ENTER_UMS_KEEP },
};

FIXTURE_VARIANT_ADD(enter, worker_flag_high) {
	.list = LIST_GOOD,
	.arg = { .mode = ENTER_UMS_WORK, .flags = 0x80000000 },
};

FIXTURE_VARIANT_ADD(enter, worker_reserved) {
	.list = LIST_GOOD,
	.arg = { .mode = ENTER_UMS_WORK, .reserved = 0x80000000 },
};

FIXTURE_VARIANT_ADD(enter, worker_list_0) {
	.list = LIST_ZERO, .arg = { .mode = ENTER_UMS_WORK },
};

FIXTURE_VARIANT_ADD(enter, worker_list_negative) {
	.list = LIST_NEGATIVE, .arg = { .mode = ENTER_UMS_WORK },
};

FIXTURE_VARIANT_ADD(enter, worker_list_deleted) {
	.list = LIST_DELETED, .arg = { .mode = ENTER_UMS_WORK },
};

FIXTURE_VARIANT_ADD(enter, worker_list_huge) {
	.list = LIST_HUGE, .arg = { .mode = ENTER_UMS_WORK },
};

FIXTURE_SETUP(enter)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(enter)
{
	close(self->fd);
}

static int make_list_kind(int fd, int clist, enum list_kind kind)
{
	int id;

	switch (kind) {
	case LIST_ZERO:
		return 0;
	case LIST_NEGATIVE:
		return -clist;
	case LIST_HUGE:
		return INT_MAX;
	case LIST_DELETED:
		id = ums_create(fd);
		return ums_delete(fd, id) ? -EBUSY : id;
	default:
		return clist;
	}
}

TEST_F(enter, is_invalid)
{
	struct ums_enter arg = variant->arg;

	arg.clist = make_list_kind(self->fd, self->clist, variant->list);
	EXPECT_EQ(-EINVAL, ums_call(self->fd, IOCTL_ENTER_UMS,
				    (uintptr_t)&arg));

	/* Still a plain thread, and nothing keeps the list. */
	EXPECT_EQ(-ESRCH, ums_exit(self->fd));
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d/schedulers/%d", getpid(),
				gettid()));
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d/workers/%d", getpid(), gettid()));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
}

TEST_F(abi, enter_with_flags)
{
	struct ums_event event;

	for (__u32 flags = 0; flags < 4; flags++) {
		ASSERT_EQ(0, ums_enter_sched(self->fd, self->clist, flags));
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		EXPECT_EQ(SCHEDULER_STARTUP, event.type);
		ASSERT_EQ(0, ums_exit(self->fd));
	}
}

/*
 * Every bad argument of IOCTL_UMS_RUN.
 */
enum context_kind { CTX_NONE, CTX_OWNED, CTX_SELF, CTX_GIVEN };

FIXTURE(run_args) {
	int fd;
	int clist;
	struct ums_worker worker;
};

FIXTURE_VARIANT(run_args) {
	enum context_kind context;
	struct ums_run arg;
	int ret;
};

FIXTURE_VARIANT_ADD(run_args, worker_nonblock) {
	CTX_OWNED, { .flags = UMS_NONBLOCK }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, worker_flag_unknown) {
	CTX_OWNED, { .flags = 2 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, worker_flag_high) {
	CTX_OWNED, { .flags = 0x80000000 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, worker_timeout) {
	CTX_OWNED, { .timeout_ns = 1 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, worker_timeout_high) {
	CTX_OWNED, { .timeout_ns = 1ULL << 63 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, wait_slice) {
	CTX_NONE, { .slice_ns = 1 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, wait_slice_high) {
	CTX_NONE, { .slice_ns = 1ULL << 32 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, wait_flag_unknown) {
	CTX_NONE, { .flags = 2 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, wait_flag_among_good) {
	CTX_NONE, { .flags = UMS_NONBLOCK | 0x80000000 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, wait_nonblock_with_timeout) {
	CTX_NONE, { .flags = UMS_NONBLOCK, .timeout_ns = 1 }, -EINVAL,
};

FIXTURE_VARIANT_ADD(run_args, scheduler) { CTX_SELF, {}, -ESRCH };

FIXTURE_VARIANT_ADD(run_args, unknown) {
	CTX_GIVEN, { .context = NOT_A_WORKER }, -ESRCH,
};

FIXTURE_VARIANT_ADD(run_args, negative) {
	CTX_GIVEN, { .context = -1 }, -ESRCH,
};

FIXTURE_VARIANT_ADD(run_args, most_negative) {
	CTX_GIVEN, { .context = INT_MIN }, -ESRCH,
};

FIXTURE_VARIANT_ADD(run_args, huge) {
	CTX_GIVEN, { .context = INT_MAX }, -ESRCH,
};

FIXTURE_SETUP(run_args)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(run_args)
{
	close(self->fd);
}

TEST_F(run_args, are_refused)
{
	struct ums_run arg = variant->arg;
	struct ums_event event;

	self->worker.granted = 1;
	ASSERT_EQ(0, ums_worker_start(&self->worker, self->fd, self->clist,
				      ums_work_return));
	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	ASSERT_EQ(GET(self->worker.tid), ums_dequeue(self->fd, self->clist));
	if (variant->context == CTX_OWNED)
		arg.context = self->worker.tid;
	if (variant->context == CTX_SELF)
		arg.context = gettid();
	EXPECT_EQ(variant->ret, ums_call(self->fd, IOCTL_UMS_RUN,
					 (uintptr_t)&arg));

	/* Nothing has run, and no event is gone. */
	EXPECT_EQ(0, ums_next(self->fd, GET(self->worker.tid)));
	EXPECT_EQ(1, GET(self->worker.entered));
	ASSERT_EQ(0, ums_wait(self->fd, UMS_NONBLOCK, 0, &event));
	EXPECT_EQ(SCHEDULER_STARTUP, event.type);
	EXPECT_NO_EVENT(self->fd);
	ASSERT_EQ(0, ums_run(self->fd, self->worker.tid, 0, &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_NO_NOTES();
}

/*
 * Every bad argument of IOCTL_UMS_DEQUEUE.
 */
FIXTURE(dequeue_args) {
	int fd;
	int clist;
	struct ums_worker worker;
};

FIXTURE_VARIANT(dequeue_args) {
	enum list_kind list;
	struct ums_dequeue arg;
};

FIXTURE_VARIANT_ADD(dequeue_args, no_room) {
	LIST_GOOD, { .nr = 0 },
};

FIXTURE_VARIANT_ADD(dequeue_args, reserved) {
	LIST_GOOD, { .nr = 1, .reserved = 1 },
};

FIXTURE_VARIANT_ADD(dequeue_args, reserved_high) {
	LIST_GOOD, { .nr = 1, .reserved = 0x80000000 },
};

FIXTURE_VARIANT_ADD(dequeue_args, flag_unknown) {
	LIST_GOOD, { .nr = 1, .flags = 2 },
};

FIXTURE_VARIANT_ADD(dequeue_args, flag_among_good) {
	LIST_GOOD, { .nr = 1, .flags = UMS_NONBLOCK | 0x80000000 },
};

FIXTURE_VARIANT_ADD(dequeue_args, nonblock_with_timeout) {
	LIST_GOOD, { .nr = 1, .flags = UMS_NONBLOCK, .timeout_ns = 1 },
};

FIXTURE_VARIANT_ADD(dequeue_args, list_0) {
	LIST_ZERO, { .nr = 1 },
};

FIXTURE_VARIANT_ADD(dequeue_args, list_negative) {
	LIST_NEGATIVE, { .nr = 1 },
};

FIXTURE_VARIANT_ADD(dequeue_args, list_deleted) {
	LIST_DELETED, { .nr = 1 },
};

FIXTURE_VARIANT_ADD(dequeue_args, list_huge) {
	LIST_HUGE, { .nr = 1 },
};

FIXTURE_SETUP(dequeue_args)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(dequeue_args)
{
	close(self->fd);
}

TEST_F(dequeue_args, are_invalid)
{
	struct ums_ready ready = { .context = -7 };
	struct ums_dequeue arg = variant->arg;

	ASSERT_EQ(0, ums_worker_start(&self->worker, self->fd, self->clist,
				      ums_work_return));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	arg.clist = make_list_kind(self->fd, self->clist, variant->list);
	arg.ready = (uintptr_t)&ready;
	EXPECT_EQ(-EINVAL, ums_call(self->fd, IOCTL_UMS_DEQUEUE,
				    (uintptr_t)&arg));

	/* Nothing was taken. */
	EXPECT_EQ(-7, ready.context);
	EXPECT_EQ(-ESRCH, ums_next(self->fd, GET(self->worker.tid)));
	EXPECT_EQ(GET(self->worker.tid),
		  ums_take_one(self->fd, self->clist, &ready));
}

TEST_F(abi, query_args)
{
	struct ums_query query = { .context = gettid(), .flags = 1 };
	static struct ums_worker worker;

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_return));
	query.context = worker.tid;
	EXPECT_EQ(-EINVAL, ums_call(self->fd, IOCTL_UMS_QUERY,
				    (uintptr_t)&query));
	query.flags = 0x80000000;
	EXPECT_EQ(-EINVAL, ums_call(self->fd, IOCTL_UMS_QUERY,
				    (uintptr_t)&query));
	EXPECT_EQ(-ESRCH, ums_query(self->fd, 0, &query));
	EXPECT_EQ(-ESRCH, ums_query(self->fd, -1, &query));
	EXPECT_EQ(-ESRCH, ums_query(self->fd, INT_MIN, &query));
	EXPECT_EQ(-ESRCH, ums_query(self->fd, INT_MAX, &query));
	EXPECT_EQ(-ESRCH, ums_query(self->fd, NOT_A_WORKER, &query));
	/* What is written over need not be clean; what is reserved will be. */
	memset(&query, 0xa5, sizeof(query));
	query.context = worker.tid;
	query.flags = 0;
	EXPECT_EQ(0, ums_call(self->fd, IOCTL_UMS_QUERY, (uintptr_t)&query));
	EXPECT_EQ(GET(worker.tid), query.context);
	EXPECT_EQ(0, query.flags);
	EXPECT_EQ(UMS_STATE_READY, query.state);
	EXPECT_EQ(0, query.switches);
	for (size_t i = 0; i < ARRAY_SIZE(query.reserved); i++)
		EXPECT_EQ(0, query.reserved[i]);
}

TEST_F(abi, preempt_and_switch_args)
{
	static const long bad[] = { 0, -1, INT_MIN, INT_MAX, NOT_A_WORKER };
	static struct ums_worker worker;

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_return));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-ESRCH, ums_preempt(self->fd, bad[i]));
		EXPECT_EQ(-ESRCH, ums_switch(self->fd, bad[i]));
	}
	if (sizeof(long) > 4) {
		/* The low half alone names a worker. */
		unsigned long high = 1UL << (sizeof(long) * 8 - 16);

		EXPECT_EQ(-ESRCH, ums_preempt(self->fd, high | worker.tid));
	}
	EXPECT_EQ(-EAGAIN, ums_preempt(self->fd, worker.tid));
}

TEST_F(abi, clist_fd_args)
{
	struct rlimit old, none;
	int gone = ums_create(self->fd), fd;

	ASSERT_EQ(0, ums_delete(self->fd, gone));
	EXPECT_EQ(-EINVAL, ums_clist_fd(self->fd, gone));
	EXPECT_EQ(-EINVAL, ums_clist_fd(self->fd, 0));
	EXPECT_EQ(-EINVAL, ums_clist_fd(self->fd, -1));
	EXPECT_EQ(-EINVAL, ums_clist_fd(self->fd, INT_MAX));
	if (sizeof(long) > 4) {
		unsigned long high = 1UL << (sizeof(long) * 8 - 16);

		EXPECT_EQ(-EINVAL, ums_clist_fd(self->fd, high | self->clist));
	}
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, ums_clist_fd(self->fd, self->clist));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	/* The failed call keeps nothing. */
	fd = ums_clist_fd(self->fd, self->clist);
	EXPECT_LE(0, fd);
	close(fd);
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
}

/*
 * Every pointer that can be bad.
 */
enum pointer_kind { PTR_NULL, PTR_NONE, PTR_KERNEL, PTR_STRADDLE, PTR_READONLY };

FIXTURE(pointer) {
	int fd;
	int clist;
	long page;
	char *map;
};

FIXTURE_VARIANT(pointer) {
	enum pointer_kind kind;
};

FIXTURE_VARIANT_ADD(pointer, null) { .kind = PTR_NULL };
FIXTURE_VARIANT_ADD(pointer, prot_none) { .kind = PTR_NONE };
FIXTURE_VARIANT_ADD(pointer, kernel) { .kind = PTR_KERNEL };
FIXTURE_VARIANT_ADD(pointer, straddle) { .kind = PTR_STRADDLE };
FIXTURE_VARIANT_ADD(pointer, read_only) { .kind = PTR_READONLY };

FIXTURE_SETUP(pointer)
{
	SETUP_CLIST(return);
	self->page = sysconf(_SC_PAGESIZE);
	/* One page to use, one that is never there. */
	self->map = mmap(NULL, 2 * self->page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, mprotect(self->map + self->page, self->page, PROT_NONE));
}

FIXTURE_TEARDOWN(pointer)
{
	close(self->fd);
	munmap(self->map, 2 * self->page);
}

/* An address where @size bytes cannot be written; what can be read is @from. */
static unsigned long bad_pointer(char *map, long page, enum pointer_kind kind,
				 const void *from, size_t size)
{
	switch (kind) {
	case PTR_NONE:
		return (uintptr_t)map + page;
	case PTR_KERNEL:
		return -(unsigned long)page;
	case PTR_STRADDLE:
		memcpy(map + page - size / 2, from, size / 2);
		return (uintptr_t)map + page - size / 2;
	case PTR_READONLY:
		memcpy(map, from, size);
		mprotect(map, page, PROT_READ);
		return (uintptr_t)map;
	default:
		return 0;
	}
}

/* Fault caught: the list whose id could not be written stays. */
TEST_F(pointer, create)
{
	__s32 id = 0;
	unsigned long arg = bad_pointer(self->map, self->page, variant->kind,
					&id, sizeof(id));

	for (int i = 0; i < 2 * UMS_MAX_CLISTS; i++)
		ASSERT_EQ(-EFAULT, ums_call(self->fd, IOCTL_CREATE_UMS_CLIST,
					    arg));
	for (int i = 1; i < UMS_MAX_CLISTS; i++)
		ASSERT_LT(0, ums_create(self->fd));
	EXPECT_EQ(-ENOSPC, ums_create(self->fd));
}

TEST_F(pointer, enter)
{
	struct ums_enter enter = {
		.mode = ENTER_UMS_SCHED, .clist = self->clist,
	};
	unsigned long arg = bad_pointer(self->map, self->page, variant->kind,
					&enter, sizeof(enter));

	if (variant->kind == PTR_READONLY) {
		/* Nothing is written to it. */
		EXPECT_EQ(0, ums_call(self->fd, IOCTL_ENTER_UMS, arg));
		EXPECT_EQ(0, ums_exit(self->fd));
		return;
	}
	EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_ENTER_UMS, arg));
	EXPECT_EQ(-ESRCH, ums_exit(self->fd));
}

/* Fault caught: the event that could not be written is lost or moved. */
TEST_F(pointer, dqevent)
{
	static struct ums_worker worker = { .value = 1, .granted = 1 };
	struct ums_event event = {};
	unsigned long arg = bad_pointer(self->map, self->page, variant->kind,
					&event, sizeof(event));

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_yield));
	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	ASSERT_EQ(GET(worker.tid), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_exec(self->fd, GET(worker.tid)));

	/* Two events wait: the first one must stay the first. */
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_UMS_SCHED_DQEVENT,
					    arg));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(SCHEDULER_STARTUP, event.type);
	EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_UMS_SCHED_DQEVENT, arg));
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(GET(worker.tid), event.yield_params.context);
	EXPECT_WAITS(ums_dqevent(self->fd, &event));
	EXPECT_NO_NOTES();
}

#define NR_ORDER 5

/* Fault caught: contexts are lost, change place or stay owned. */
TEST_F(pointer, dequeue)
{
	static struct ums_worker workers[NR_ORDER];
	struct ums_dequeue_clist dq = { .clist = self->clist };
	unsigned long arg = bad_pointer(self->map, self->page, variant->kind,
					&dq, sizeof(dq));
	pid_t got[NR_ORDER];

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < NR_ORDER - 1; i++)
		ASSERT_EQ(0, ums_worker_start(&workers[i], self->fd,
					      self->clist, ums_work_return));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_DEQUEUE_UMS_CLIST,
					    arg));
	/* They are queued, not owned. */
	EXPECT_EQ(-ESRCH, ums_next(self->fd, GET(workers[0].tid)));
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, GET(workers[0].tid)));

	/* One that comes later goes behind them. */
	ASSERT_EQ(0, ums_worker_start(&workers[NR_ORDER - 1], self->fd,
				      self->clist, ums_work_return));
	EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_DEQUEUE_UMS_CLIST, arg));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, got, NR_ORDER));
	for (int i = 0; i < NR_ORDER; i++)
		EXPECT_EQ(GET(workers[i].tid), got[i]);
}

/*
 * A bad pointer is no reason to wait: the list is empty.
 */
TEST_F(pointer, dequeue_from_empty_list)
{
	struct ums_dequeue_clist dq = { .clist = self->clist };
	unsigned long arg = bad_pointer(self->map, self->page, variant->kind,
					&dq, sizeof(dq));

	/* Half of it can be read; have it be half of the id. */
	if (variant->kind == PTR_STRADDLE)
		arg += 2;
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	if (variant->kind == PTR_READONLY) {
		/* It can be read, so the fault shows after the wait. */
		EXPECT_WAITS(ums_call(self->fd, IOCTL_DEQUEUE_UMS_CLIST, arg));
		return;
	}
	EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_DEQUEUE_UMS_CLIST, arg));
}

/* Fault caught: the worker has run, or its event is gone. */
TEST_F(pointer, run)
{
	static struct ums_worker worker = { .value = 1, .granted = 1 };
	struct ums_run run = {}, wait = {};
	unsigned long arg;

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_yield));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(GET(worker.tid), ums_dequeue(self->fd, self->clist));
	run.context = worker.tid;
	arg = bad_pointer(self->map, self->page, variant->kind, &run,
			  sizeof(run));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_UMS_RUN, arg));
	EXPECT_EQ(0, GET(worker.used));
	EXPECT_EQ(0, ums_next(self->fd, GET(worker.tid)));
	EXPECT_NO_EVENT(self->fd);

	/* The same for an event that waits. */
	ASSERT_EQ(0, ums_exec(self->fd, GET(worker.tid)));
	ASSERT_EQ(0, mprotect(self->map, self->page, PROT_READ | PROT_WRITE));
	arg = bad_pointer(self->map, self->page, variant->kind, &wait,
			  sizeof(wait));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_UMS_RUN, arg));
	ASSERT_EQ(0, ums_wait(self->fd, UMS_NONBLOCK, 0, &wait.event));
	EXPECT_EQ(THREAD_YIELD, wait.event.type);
	EXPECT_EQ(GET(worker.tid), wait.event.yield_params.context);
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

TEST_F(pointer, query)
{
	static struct ums_worker worker;
	struct ums_query query = {};
	unsigned long arg;

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_return));
	query.context = worker.tid;
	arg = bad_pointer(self->map, self->page, variant->kind, &query,
			  sizeof(query));
	EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_UMS_QUERY, arg));
	EXPECT_EQ(0, ums_query(self->fd, worker.tid, &query));
}

TEST_F(pointer, batch_dequeue)
{
	struct ums_ready ready;
	struct ums_dequeue dq = {
		.clist = self->clist, .nr = 1, .ready = (uintptr_t)&ready,
	};
	static struct ums_worker worker;
	unsigned long arg;

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_return));
	arg = bad_pointer(self->map, self->page, variant->kind, &dq,
			  sizeof(dq));
	if (variant->kind == PTR_READONLY) {
		/* Nothing is written to it. */
		EXPECT_EQ(1, ums_call(self->fd, IOCTL_UMS_DEQUEUE, arg));
		EXPECT_EQ(GET(worker.tid), ready.context);
		return;
	}
	EXPECT_EQ(-EFAULT, ums_call(self->fd, IOCTL_UMS_DEQUEUE, arg));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, GET(worker.tid)));
	EXPECT_EQ(GET(worker.tid),
		  ums_take_one(self->fd, self->clist, &ready));
}

/* Fault caught: contexts are lost, change place or cookie, or stay owned. */
TEST_F(pointer, array_of_batch_dequeue)
{
	static struct ums_worker workers[NR_ORDER];
	struct ums_ready ready[NR_ORDER] = {};
	struct ums_ready *bad;

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < NR_ORDER - 1; i++) {
		workers[i].cookie = 100 + i;
		ASSERT_EQ(0, ums_worker_start(&workers[i], self->fd,
					      self->clist, ums_work_return));
	}
	bad = (void *)bad_pointer(self->map, self->page, variant->kind, ready,
				  sizeof(ready));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, ums_take(self->fd, self->clist, 0, 0, bad,
					    NR_ORDER));
	EXPECT_EQ(-ESRCH, ums_next(self->fd, GET(workers[0].tid)));
	EXPECT_EQ(-EBUSY, ums_exec(self->fd, GET(workers[0].tid)));
	workers[NR_ORDER - 1].cookie = 100 + NR_ORDER - 1;
	ASSERT_EQ(0, ums_worker_start(&workers[NR_ORDER - 1], self->fd,
				      self->clist, ums_work_return));
	EXPECT_EQ(-EFAULT, ums_take(self->fd, self->clist, 0, 0, bad,
				    NR_ORDER));
	ASSERT_EQ(NR_ORDER, ums_take(self->fd, self->clist, 0, 0, ready,
				     NR_ORDER));
	for (int i = 0; i < NR_ORDER; i++) {
		EXPECT_EQ(GET(workers[i].tid), ready[i].context);
		EXPECT_EQ(UMS_READY_NEW, ready[i].why);
		EXPECT_EQ(100 + i, ready[i].cookie);
	}
}

/*
 * Calls from any process but the opener.
 */
static int count_foreign_calls(int fd, int clist)
{
	struct ums_enter enter = { .mode = ENTER_UMS_SCHED, .clist = clist };
	struct ums_dequeue_clist dq = { .clist = clist };
	struct ums_ready ready;
	struct ums_dequeue take = {
		.clist = clist, .nr = 1, .ready = (uintptr_t)&ready,
	};
	struct ums_query query = { .context = getppid() };
	struct ums_run run = { .flags = UMS_NONBLOCK };
	struct ums_event event;
	__s32 id;
	int bad = 0;

#define FOREIGN(request, arg) \
	(bad += ums_call(fd, request, (uintptr_t)(arg)) != -EIO)
	FOREIGN(IOCTL_CREATE_UMS_CLIST, &id);
	FOREIGN(IOCTL_CREATE_UMS_CLIST, 0);
	FOREIGN(IOCTL_DELETE_UMS_CLIST, clist);
	FOREIGN(IOCTL_DELETE_UMS_CLIST, -1);
	FOREIGN(IOCTL_ENTER_UMS, &enter);
	enter.mode = ENTER_UMS_WORK;
	FOREIGN(IOCTL_ENTER_UMS, &enter);
	FOREIGN(IOCTL_UMS_SCHED_DQEVENT, &event);
	FOREIGN(IOCTL_DEQUEUE_UMS_CLIST, &dq);
	FOREIGN(IOCTL_NEXT_UMS_CTX_LIST, getpid());
	FOREIGN(IOCTL_EXEC_UMS_CTX, getppid());
	FOREIGN(IOCTL_UMS_YIELD, 0);
	FOREIGN(IOCTL_EXIT_UMS, 0);
	FOREIGN(IOCTL_UMS_RUN, &run);
	FOREIGN(IOCTL_UMS_RUN, 0);
	FOREIGN(IOCTL_UMS_DEQUEUE, &take);
	FOREIGN(IOCTL_UMS_SWITCH, getppid());
	FOREIGN(IOCTL_UMS_PREEMPT, getppid());
	FOREIGN(IOCTL_UMS_QUERY, &query);
	FOREIGN(IOCTL_UMS_CLIST_FD, clist);
#undef FOREIGN
	return bad;
}

TEST_F(abi, calls_after_fork)
{
	pid_t child;

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(count_foreign_calls(self->fd, self->clist));
	EXPECT_CHILD_OK(child);
	/* The child has not harmed the parent's list. */
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
}

struct vm_child {
	int fd;
	int clist;
};

static int calls_of_vm_child(void *arg)
{
	struct vm_child *c = arg;

	return count_foreign_calls(c->fd, c->clist);
}

/* The same memory is not the same process. */
TEST_F(abi, calls_from_process_with_same_memory)
{
	struct vm_child arg = { self->fd, self->clist };
	static __u64 stack[8192];
	pid_t child;

	child = clone(calls_of_vm_child, &stack[8192],
		      CLONE_VM | CLONE_VFORK | SIGCHLD, &arg);
	ASSERT_LE(0, child);
	EXPECT_CHILD_OK(child);
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
}

TEST_F(abi, calls_through_passed_descriptor)
{
	int socks[2], ret;
	pid_t child;

	close(self->fd);
	ret = socketpair(AF_UNIX, SOCK_STREAM, 0, socks);
	self->fd = -1;
	if (ret && errno == EAFNOSUPPORT)
		SKIP(return, NO_UNIX);
	ASSERT_EQ(0, ret);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd;

		_exit(ums_receive_fds(socks[1], &fd, 1) ? 100 :
		      count_foreign_calls(fd, self->clist));
	}
	self->fd = ums_open();
	ASSERT_LE(0, self->fd);
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	ASSERT_EQ(0, ums_send_fds(socks[0], &self->fd, 1));
	EXPECT_CHILD_OK(child);
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
}

/*
 * A 32-bit caller: the old system call gate takes 32-bit arguments and goes
 * through the compat entry of the driver.
 */
#ifdef __x86_64__
static int compat_ioctl(int fd, unsigned int request, unsigned long arg)
{
	int ret;

	asm volatile("int $0x80"
		     : "=a" (ret)
		     : "a" (54), "b" (fd), "c" (request), "d" (arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

static bool have_compat(void)
{
	pid_t child = fork();

	/* Without 32-bit support the gate is a fault. */
	if (!child)
		_exit(compat_ioctl(-1, 0, 0) != -EBADF);
	return !ums_wait_child(child);
}

TEST_F(abi, calls_of_32_bit_program)
{
	static struct ums_worker worker = { .value = 1, .granted = 1 };
	struct ums_dequeue_clist *dq;
	struct ums_event *event;
	struct ums_enter *enter;
	struct ums_dequeue *take;
	struct ums_query *query;
	struct ums_ready *ready;
	struct ums_run *run;
	__s32 *id;
	char *low;
	int fd;

	if (!have_compat())
		SKIP(return, "needs CONFIG_IA32_EMULATION");
	low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, low);
	id = (void *)low;
	enter = (void *)(low + 64);
	dq = (void *)(low + 128);
	event = (void *)(low + 192);
	run = (void *)(low + 256);
	take = (void *)(low + 384);
	ready = (void *)(low + 448);
	query = (void *)(low + 512);

#define COMPAT(request, arg) \
	compat_ioctl(self->fd, request, (uintptr_t)(arg))
	ASSERT_EQ(0, COMPAT(IOCTL_CREATE_UMS_CLIST, id));
	ASSERT_LT(0, *id);
	EXPECT_EQ(-EFAULT, COMPAT(IOCTL_CREATE_UMS_CLIST, 0));
	EXPECT_EQ(-ENOTTY, COMPAT(_IO(0xF0, 0x30), 0));
	worker.cookie = 0x123456789abcdefULL;
	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, *id, ums_work_yield));

	enter->mode = ENTER_UMS_SCHED;
	enter->clist = *id;
	ASSERT_EQ(0, COMPAT(IOCTL_ENTER_UMS, enter));
	ASSERT_EQ(0, COMPAT(IOCTL_UMS_SCHED_DQEVENT, event));
	EXPECT_EQ(SCHEDULER_STARTUP, event->type);
	dq->clist = *id;
	ASSERT_EQ(0, COMPAT(IOCTL_DEQUEUE_UMS_CLIST, dq));
	EXPECT_EQ(GET(worker.tid), dq->context);
	EXPECT_EQ(0, COMPAT(IOCTL_NEXT_UMS_CTX_LIST, dq->context));
	EXPECT_EQ(-ESRCH, COMPAT(IOCTL_NEXT_UMS_CTX_LIST, -1));
	EXPECT_EQ(0, COMPAT(IOCTL_EXEC_UMS_CTX, dq->context));
	ASSERT_EQ(0, COMPAT(IOCTL_UMS_SCHED_DQEVENT, event));
	EXPECT_EQ(THREAD_YIELD, event->type);
	EXPECT_EQ(GET(worker.tid), event->yield_params.context);
	EXPECT_EQ(-ESRCH, COMPAT(IOCTL_UMS_YIELD, 0));

	fd = COMPAT(IOCTL_UMS_CLIST_FD, *id);
	EXPECT_LE(0, fd);
	close(fd);
	take->clist = *id;
	take->nr = 1;
	take->ready = (uintptr_t)ready;
	ASSERT_EQ(1, COMPAT(IOCTL_UMS_DEQUEUE, take));
	EXPECT_EQ(GET(worker.tid), ready->context);
	EXPECT_EQ(UMS_READY_YIELDED, ready->why);
	EXPECT_EQ(worker.cookie, ready->cookie);
	query->context = worker.tid;
	ASSERT_EQ(0, COMPAT(IOCTL_UMS_QUERY, query));
	EXPECT_EQ(1, query->yields);
	EXPECT_EQ(gettid(), query->scheduler);
	EXPECT_EQ(worker.cookie, query->cookie);
	EXPECT_EQ(-EAGAIN, COMPAT(IOCTL_UMS_PREEMPT, worker.tid));
	EXPECT_EQ(-ESRCH, COMPAT(IOCTL_UMS_SWITCH, worker.tid));
	EXPECT_EQ(-ESRCH, COMPAT(IOCTL_UMS_PREEMPT, -1));
	run->timeout_ns = 1000;
	EXPECT_EQ(-ETIMEDOUT, COMPAT(IOCTL_UMS_RUN, run));
	run->timeout_ns = 0;
	run->context = worker.tid;
	worker.granted++;
	ASSERT_EQ(0, COMPAT(IOCTL_UMS_RUN, run));
	EXPECT_EQ(THREAD_TERMINATED, run->event.type);
	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, *id, ums_work_return));
	EXPECT_EQ(0, COMPAT(IOCTL_EXIT_UMS, 0));
	EXPECT_EQ(-EBUSY, COMPAT(IOCTL_DELETE_UMS_CLIST, *id));
	EXPECT_EQ(-EINVAL, COMPAT(IOCTL_DELETE_UMS_CLIST, -1));
#undef COMPAT
	EXPECT_NO_NOTES();
}
#endif

TEST_HARNESS_MAIN
