// SPDX-License-Identifier: GPL-2.0
/* The module stays while it is in use and goes right after the last close. */
#include <sys/utsname.h>

#include "ums_fixture.h"

#ifndef MODULE_INIT_COMPRESSED_FILE
#define MODULE_INIT_COMPRESSED_FILE 4
#endif

#define NR	4

FIXTURE(module) {
	int fd;
	int clist;
	int image;
	bool compressed;
	struct ums_worker workers[NR];
};

static int open_module(bool *compressed)
{
	static const char *const places[] = {
		"/lib/modules/%s/kernel/drivers/misc/ums/ums.ko%s",
		"/lib/modules/%s/updates/ums.ko%s",
		"/lib/modules/%s/updates/dkms/ums.ko%s",
		"/lib/modules/%s/extra/ums.ko%s",
		"/lib/modules/%s/ums.ko%s",
	};
	static const char *const ends[] = { "", ".xz", ".zst", ".gz" };
	const char *given = getenv("UMS_MODULE");
	struct utsname name;
	char path[PATH_MAX];
	int fd = -1;

	*compressed = false;
	uname(&name);
	if (given)
		fd = open(given, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(places); i++) {
		for (size_t j = 0; fd < 0 && j < ARRAY_SIZE(ends); j++) {
			snprintf(path, sizeof(path), places[i], name.release,
				 ends[j]);
			fd = open(path, O_RDONLY | O_CLOEXEC);
			*compressed = j > 0;
		}
	}
	if (fd < 0) {
		fd = open("/lib/modules/ums.ko", O_RDONLY | O_CLOEXEC);
		*compressed = false;
	}
	return fd;
}

FIXTURE_SETUP(module)
{
	SETUP_FD(return);
	self->image = -1;
	if (geteuid()) {
		close(self->fd);
		SKIP(return, NO_ROOT);
	}
	if (!ums_exists("/sys/module/ums/refcnt")) {
		close(self->fd);
		SKIP(return, "the driver is built in");
	}
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	self->image = open_module(&self->compressed);
	GRANT_LOTS();
}

static int unload(void)
{
	return syscall(SYS_delete_module, "ums", O_NONBLOCK) ? -errno : 0;
}

static int load(int image, bool compressed)
{
	if (syscall(SYS_finit_module, image, "",
		    compressed ? MODULE_INIT_COMPRESSED_FILE : 0))
		return -errno;
	/* The node may come a little later. */
	return WAIT_FOR(!access(UMS_DEV, R_OK | W_OK)) ? 0 : -ENOENT;
}

FIXTURE_TEARDOWN(module)
{
	if (self->fd >= 0)
		close(self->fd);
	/* The tests that follow need it. */
	if (self->image >= 0 && !ums_exists("/sys/module/ums"))
		EXPECT_EQ(0, load(self->image, self->compressed));
	if (self->image >= 0)
		close(self->image);
}

TEST_F(module, is_kept_by_open_descriptor)
{
	EXPECT_EQ(-EAGAIN, unload());
}

TEST_F(module, is_kept_by_parked_workers)
{
	struct ums_event event;

	START(0, ums_work_return);
	EXPECT_EQ(-EAGAIN, unload());
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(-EAGAIN, unload());
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
}

static void *open_info(void *arg)
{
	char path[PATH_MAX], buf[16];
	int fd, *stop = arg;

	ums_sched_info(path, getpid(), getpid());
	fd = open(path, O_RDONLY);
	while (fd >= 0 && !__atomic_load_n(stop, __ATOMIC_RELAXED))
		usleep(1000);
	/* Whoever reads it later must not find freed code. */
	if (fd >= 0)
		(void)!read(fd, buf, sizeof(buf));
	return NULL;
}

TEST_F(module, unloads_after_last_close)
{
	pthread_t thread;
	int stop = 0;

	if (self->image < 0)
		SKIP(return, "no module file found; name it in UMS_MODULE");
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, pthread_create(&thread, NULL, open_info, &stop));
	ums_sleep_ms(QUIET_MS);
	close(self->fd);
	EXPECT_TRUE(WAIT_FOR(!unload()));
	EXPECT_FALSE(ums_exists(UMS_DEV));
	EXPECT_FALSE(ums_exists(UMS_PROC));
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	ASSERT_EQ(0, load(self->image, self->compressed));
	self->fd = ums_open();
	EXPECT_LE(0, self->fd);
}

static void wait_and_go_on(struct ums_sched *sched)
{
	struct ums_event event;

	sched->stage = 1;
	CHECK_EQ(-ENODEV, ums_dqevent(sched->fd, &event));
	sched->stage = 2;
}

static void count_and_end(struct ums_worker *worker)
{
	worker->stage = 1;
}

/*
 * Threads leave the driver while it is unloaded.  Fault caught: one of them is
 * still in the module's code when that goes, which is a crash.
 */
TEST_F_TIMEOUT(module, unloads_while_threads_leave, LONG_TEST)
{
	if (self->image < 0)
		SKIP(return, "no module file found; name it in UMS_MODULE");
	for (unsigned long i = 0; i < ums_loops(50); i++) {
		struct ums_sched sched = {
			.fn = wait_and_go_on, .cpu = -1, .fd = self->fd,
			.clist = self->clist,
		};

		for (int j = 0; j < NR; j++)
			START(j, count_and_end);
		ASSERT_EQ(0, ums_sched_start(&sched));
		ASSERT_TRUE(WAIT_FOR(sched.stage == 1 &&
				     ums_is_parked(sched.tid)));
		close(self->fd);
		ASSERT_TRUE(WAIT_FOR(!unload()));
		for (int j = 0; j < NR; j++) {
			pthread_join(self->workers[j].thread, NULL);
			ASSERT_EQ(1, GET(self->workers[j].stage));
		}
		pthread_join(sched.thread, NULL);
		ASSERT_EQ(2, GET(sched.stage));
		ASSERT_EQ(0, load(self->image, self->compressed));
		self->fd = ums_open();
		ASSERT_LE(0, self->fd);
		self->clist = ums_create(self->fd);
	}
	EXPECT_NO_NOTES();
}

static void schedule_for_ever(void)
{
	struct ums_worker worker = { .granted = LOTS };
	struct ums_event event;
	int fd = ums_open(), clist = ums_create(fd);

	if (ums_worker_create(&worker, fd, clist, ums_work_yield_forever) ||
	    ums_become_sched(fd, clist))
		_exit(1);
	while (!ums_run_once(fd, ums_dequeue(fd, clist), &event))
		;
	_exit(2);
}

/* And while whole processes die. */
TEST_F_TIMEOUT(module, unloads_after_kill, LONG_TEST)
{
	int status;

	if (self->image < 0)
		SKIP(return, "no module file found; name it in UMS_MODULE");
	close(self->fd);
	self->fd = -1;
	for (unsigned long i = 0; i < ums_loops(50); i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child)
			schedule_for_ever();
		usleep(i % 10 * 1000);
		kill(child, SIGKILL);
		status = ums_wait_child(child);
		ASSERT_TRUE(WIFSIGNALED(status));
		ASSERT_TRUE(WAIT_FOR(!unload()));
		ASSERT_EQ(0, load(self->image, self->compressed));
	}
}

TEST_HARNESS_MAIN
