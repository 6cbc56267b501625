// SPDX-License-Identifier: GPL-2.0
/* The interface itself: layout, numbers, callers, and every bad argument. */
#include <assert.h>
#include <stddef.h>
#include <sys/socket.h>

#include "../kselftest_harness.h"
#include "ums_test.h"

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

AT(struct ums_event, type, 0);
AT(struct ums_event, reserved, 4);
AT(struct ums_event, yield_params, 8);
AT(struct ums_event, end_params, 8);
AT(struct ums_event, pad, 8);
SIZE(struct ums_event, 56);

FIXTURE(abi) {
	int fd;
	int clist;
};

FIXTURE_SETUP(abi)
{
	self->fd = ums_open();
	if (ums_no_device(self->fd))
		SKIP(return, NO_DEVICE);
	ASSERT_LE(0, self->fd);
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
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

	for (int nr = 0x30; nr < 0x100; nr++)
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
	int fd = worker->fd;

	CHECK_EQ(-ESRCH, ums_dqevent(fd, &event));
	CHECK_EQ(-ESRCH, ums_dequeue(fd, worker->clist));
	CHECK_EQ(-ESRCH, ums_next(fd, worker->tid));
	CHECK_EQ(-ESRCH, ums_exec(fd, worker->tid));
	CHECK_EQ(-ESRCH, ums_exec(fd, getpid()));
	/* Still a worker. */
	ums_worker_yield(worker, 7);
	CHECK_EQ(0, ums_exit(fd));
	CHECK_EQ(-ESRCH, ums_yield(fd, 0));
	CHECK_EQ(-ESRCH, ums_exit(fd));
}

TEST_F(abi, worker_is_no_scheduler)
{
	struct ums_worker worker = {};
	struct ums_run run = {
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
	struct ums_worker worker = { .value = 1 };

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
	.list = LIST_GOOD, .arg = { .mode = ENTER_UMS_SCHED, .flags = 1 },
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
	.list = LIST_GOOD, .arg = { .mode = ENTER_UMS_WORK, .flags = 1 },
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
	self->fd = ums_open();
	if (ums_no_device(self->fd))
		SKIP(return, NO_DEVICE);
	ASSERT_LE(0, self->fd);
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
}

FIXTURE_TEARDOWN(enter)
{
	close(self->fd);
}

TEST_F(enter, is_invalid)
{
	struct ums_enter arg = variant->arg;

	switch (variant->list) {
	case LIST_GOOD:
		arg.clist = self->clist;
		break;
	case LIST_ZERO:
		arg.clist = 0;
		break;
	case LIST_NEGATIVE:
		arg.clist = -self->clist;
		break;
	case LIST_DELETED:
		arg.clist = ums_create(self->fd);
		ASSERT_EQ(0, ums_delete(self->fd, arg.clist));
		break;
	case LIST_HUGE:
		arg.clist = INT_MAX;
		break;
	}
	EXPECT_EQ(-EINVAL, ums_call(self->fd, IOCTL_ENTER_UMS,
				    (uintptr_t)&arg));

	/* Still a plain thread, and nothing keeps the list. */
	EXPECT_EQ(-ESRCH, ums_exit(self->fd));
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d/schedulers/%d", getpid(),
				gettid()));
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d/workers/%d", getpid(), gettid()));
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
	self->fd = ums_open();
	if (ums_no_device(self->fd))
		SKIP(return, NO_DEVICE);
	ASSERT_LE(0, self->fd);
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
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
	struct ums_worker worker = { .value = 1, .granted = 1 };
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
	struct ums_worker workers[NR_ORDER] = {};
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

/*
 * Calls from any process but the opener.
 */
static int count_foreign_calls(int fd, int clist)
{
	struct ums_enter enter = { .mode = ENTER_UMS_SCHED, .clist = clist };
	struct ums_dequeue_clist dq = { .clist = clist };
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

static int send_fd(int sock, int fd)
{
	char data = 0, control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { &data, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sock)
{
	char data, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &data, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

TEST_F(abi, calls_through_passed_descriptor)
{
	int socks[2], ret;
	pid_t child;

	close(self->fd);
	ret = socketpair(AF_UNIX, SOCK_STREAM, 0, socks);
	self->fd = -1;
	if (ret && errno == EAFNOSUPPORT)
		SKIP(return, "needs CONFIG_UNIX");
	ASSERT_EQ(0, ret);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd = receive_fd(socks[1]);

		_exit(fd < 0 ? 100 : count_foreign_calls(fd, self->clist));
	}
	self->fd = ums_open();
	ASSERT_LE(0, self->fd);
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	ASSERT_EQ(0, send_fd(socks[0], self->fd));
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
	struct ums_worker worker = { .value = 1, .granted = 1 };
	struct ums_dequeue_clist *dq;
	struct ums_event *event;
	struct ums_enter *enter;
	__s32 *id;
	char *low;

	if (!have_compat())
		SKIP(return, "needs CONFIG_IA32_EMULATION");
	low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, low);
	id = (void *)low;
	enter = (void *)(low + 64);
	dq = (void *)(low + 128);
	event = (void *)(low + 192);

#define COMPAT(request, arg) \
	compat_ioctl(self->fd, request, (uintptr_t)(arg))
	ASSERT_EQ(0, COMPAT(IOCTL_CREATE_UMS_CLIST, id));
	ASSERT_LT(0, *id);
	EXPECT_EQ(-EFAULT, COMPAT(IOCTL_CREATE_UMS_CLIST, 0));
	EXPECT_EQ(-ENOTTY, COMPAT(_IO(0xF0, 0x30), 0));
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
	EXPECT_EQ(0, COMPAT(IOCTL_EXIT_UMS, 0));
	EXPECT_EQ(-EBUSY, COMPAT(IOCTL_DELETE_UMS_CLIST, *id));
	EXPECT_EQ(-EINVAL, COMPAT(IOCTL_DELETE_UMS_CLIST, -1));
#undef COMPAT
	EXPECT_NO_NOTES();
}
#endif

TEST_HARNESS_MAIN
