// SPDX-License-Identifier: GPL-2.0
/* /proc/ums: the tree, who may look, what is shown, and when it goes. */
#include <dirent.h>
#include <stdarg.h>

#include "ums_fixture.h"

#define NR	4

FIXTURE(procfs) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	pid_t got[NR];
	char root[64];
	char info[128];
	char links[128];
};

FIXTURE_SETUP(procfs)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
	snprintf(self->root, sizeof(self->root), UMS_PROC "/%d", getpid());
	snprintf(self->links, sizeof(self->links), "%s/schedulers/%d/workers",
		 self->root, gettid());
}

FIXTURE_TEARDOWN(procfs)
{
	close(self->fd);
}

static bool is_dir(const char *fmt, ...)
{
	char path[PATH_MAX];
	struct stat st;
	va_list args;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* Nothing else in a directory than what is named, each with a blank. */
static bool holds_only(const char *path, const char *names)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	bool ok = dir;
	char name[300];
	size_t len = 0;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s ", entry->d_name);
		len += strlen(name);
		ok = ok && strstr(names, name);
	}
	if (dir)
		closedir(dir);
	return ok && len == strlen(names);
}

TEST_F(procfs, tree_of_process)
{
	char path[PATH_MAX];

	EXPECT_TRUE(is_dir(UMS_PROC));
	EXPECT_TRUE(holds_only(self->root, "schedulers workers "));
	EXPECT_TRUE(is_dir("%s/schedulers", self->root));
	EXPECT_TRUE(is_dir("%s/workers", self->root));
	snprintf(path, sizeof(path), "%s/schedulers", self->root);
	EXPECT_EQ(0, ums_count_entries(path));
	snprintf(path, sizeof(path), "%s/workers", self->root);
	EXPECT_EQ(0, ums_count_entries(path));

	close(self->fd);
	self->fd = -1;
	EXPECT_FALSE(ums_exists("%s", self->root));
	EXPECT_TRUE(is_dir(UMS_PROC));
}

TEST_F(procfs, tree_of_threads)
{
	char path[PATH_MAX], name[32];

	START(0, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));

	snprintf(path, sizeof(path), "%s/workers", self->root);
	snprintf(name, sizeof(name), "%d ", TID(0));
	EXPECT_TRUE(holds_only(path, name));
	snprintf(path, sizeof(path), "%s/workers/%d", self->root, TID(0));
	EXPECT_TRUE(holds_only(path, "info "));

	snprintf(path, sizeof(path), "%s/schedulers", self->root);
	snprintf(name, sizeof(name), "%d ", gettid());
	EXPECT_TRUE(holds_only(path, name));
	snprintf(path, sizeof(path), "%s/schedulers/%d", self->root, gettid());
	EXPECT_TRUE(holds_only(path, "info workers "));
	EXPECT_EQ(0, ums_count_entries(self->links));
}

TEST_F(procfs, entries_go_with_their_threads)
{
	struct ums_event event;

	START(0, ums_work_return);
	EXPECT_TRUE(is_dir("%s/workers/%d", self->root, TID(0)));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_TRUE(is_dir("%s/schedulers/%d", self->root, gettid()));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_FALSE(ums_exists("%s/workers/%d", self->root, TID(0)));
	ASSERT_EQ(0, ums_exit(self->fd));
	EXPECT_FALSE(ums_exists("%s/schedulers/%d", self->root, gettid()));
}

/*
 * Owner and mode of every entry, for the user that opened the device.
 */
static bool belongs(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	if (lstat(path, &st))
		return false;
	return st.st_mode == mode && st.st_uid == uid && st.st_gid == gid;
}

/* Returns the number of the first entry that is wrong. */
static int check_modes(int fd, uid_t uid, gid_t gid)
{
	static struct ums_worker worker;
	char root[64], path[PATH_MAX];
	int clist = ums_create(fd);

	if (clist <= 0 ||
	    ums_worker_start(&worker, fd, clist, ums_work_return) ||
	    ums_become_sched(fd, clist) ||
	    ums_dequeue(fd, clist) != worker.tid)
		return 100;
	snprintf(root, sizeof(root), UMS_PROC "/%d", getpid());
	if (!belongs(root, S_IFDIR | 0500, uid, gid))
		return 1;
	snprintf(path, sizeof(path), "%s/schedulers", root);
	if (!belongs(path, S_IFDIR | 0500, uid, gid))
		return 2;
	snprintf(path, sizeof(path), "%s/workers", root);
	if (!belongs(path, S_IFDIR | 0500, uid, gid))
		return 3;
	snprintf(path, sizeof(path), "%s/workers/%d", root, worker.tid);
	if (!belongs(path, S_IFDIR | 0500, uid, gid))
		return 4;
	ums_worker_info(path, getpid(), worker.tid);
	if (!belongs(path, S_IFREG | 0400, uid, gid))
		return 5;
	snprintf(path, sizeof(path), "%s/schedulers/%d", root, gettid());
	if (!belongs(path, S_IFDIR | 0500, uid, gid))
		return 6;
	snprintf(path, sizeof(path), "%s/schedulers/%d/workers", root,
		 gettid());
	if (!belongs(path, S_IFDIR | 0500, uid, gid))
		return 7;
	ums_sched_info(path, getpid(), gettid());
	if (!belongs(path, S_IFREG | 0400, uid, gid))
		return 8;
	/* The owner can use all of it; the link leads to the worker. */
	if (ums_info_number(path, "pid") != gettid())
		return 9;
	snprintf(path, sizeof(path), "%s/schedulers/%d/workers/%d/info", root,
		 gettid(), worker.tid);
	if (ums_info_number(path, "pid") != worker.tid)
		return 10;
	return 0;
}

TEST_F(procfs, modes)
{
	EXPECT_EQ(0, check_modes(self->fd, getuid(), getgid()));
}

TEST_F(procfs, modes_for_other_user)
{
	pid_t child;

	if (geteuid())
		SKIP(return, NO_ROOT);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd;

		ums_become_nobody();
		close(self->fd);
		fd = ums_open();
		_exit(fd < 0 ? 102 : check_modes(fd, NOBODY, NOBODY));
	}
	EXPECT_CHILD_OK(child);
}

TEST_F(procfs, closed_to_others)
{
	pid_t child, parent = getpid();

	if (geteuid())
		SKIP(return, NO_ROOT);
	START(0, ums_work_return);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char path[PATH_MAX];

		ums_become_nobody();
		if (opendir(self->root) || errno != EACCES)
			_exit(1);
		snprintf(path, sizeof(path), "%s/workers", self->root);
		if (opendir(path) || errno != EACCES)
			_exit(2);
		ums_worker_info(path, parent, self->workers[0].tid);
		if (open(path, O_RDONLY) >= 0 || errno != EACCES)
			_exit(3);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
}

/* It is there to look at, even for root. */
TEST_F(procfs, nothing_can_be_changed)
{
	char path[PATH_MAX], other[PATH_MAX];
	int fd;

	START(0, ums_work_return);
	ums_worker_info(self->info, getpid(), TID(0));
	fd = open(self->info, O_WRONLY);
	if (fd >= 0) {
		EXPECT_EQ(-1, write(fd, "x", 1));
		close(fd);
	}
	EXPECT_EQ(-1, unlink(self->info));
	snprintf(path, sizeof(path), "%s/workers/%d", self->root, TID(0));
	EXPECT_EQ(-1, rmdir(path));
	snprintf(other, sizeof(other), "%s/workers/1", self->root);
	EXPECT_EQ(-1, rename(path, other));
	EXPECT_EQ(-1, mkdir(other, 0700));
	EXPECT_EQ(-1, symlink(path, other));
	EXPECT_EQ(-1, open(other, O_CREAT | O_RDWR, 0600));
	EXPECT_TRUE(is_dir("%s", path));
	EXPECT_EQ(TID(0), ums_info_number(self->info, "pid"));
}

/* Every line is "key:<tab>value", each key once, these among them. */
static bool well_formed(const char *path, const char *const *keys)
{
	char line[256], *tab;
	FILE *file = fopen(path, "r");
	int seen[16] = {};
	bool ok = file;

	while (ok && fgets(line, sizeof(line), file)) {
		tab = strchr(line, '\t');
		ok = tab && tab > line + 1 && tab[-1] == ':' &&
		     tab[1] != '\n' && strchr(tab, '\n') &&
		     !strchr(tab + 1, '\t');
		if (!ok)
			break;
		tab[-1] = 0;
		for (int i = 0; keys[i]; i++)
			seen[i] += !strcmp(keys[i], line);
	}
	for (int i = 0; keys[i]; i++)
		ok = ok && seen[i] == 1;
	if (file)
		fclose(file);
	return ok;
}

TEST_F(procfs, info_of_worker)
{
	static const char *const keys[] = {
		"pid", "state", "switches", "completion_list", "scheduler",
		"cookie", NULL
	};
	struct ums_event event;
	char state[16];

	self->workers[0].cookie = 0xfedcba9876543210;
	self->workers[0].value = 5;
	START(0, ums_work_yield);
	ums_worker_info(self->info, getpid(), TID(0));
	EXPECT_TRUE(well_formed(self->info, keys));
	EXPECT_EQ(TID(0), ums_info_number(self->info, "pid"));
	EXPECT_EQ(0, ums_info_number(self->info, "switches"));
	EXPECT_EQ(self->clist, ums_info_number(self->info, "completion_list"));
	EXPECT_EQ(0, ums_info_number(self->info, "scheduler"));
	ASSERT_TRUE(ums_info(self->info, "state", state, sizeof(state)));
	EXPECT_STREQ("idle", state);

	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 1; i <= 3; i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		EXPECT_EQ(i, ums_info_number(self->info, "switches"));
	}
	EXPECT_EQ(0, ums_info_number(self->info, "scheduler"));
}

TEST_F(procfs, cookie)
{
	static const __u64 cookies[] = { 0, 1, 1ULL << 63, ~0ULL };
	char value[64], *end;

	for (int i = 0; i < NR; i++) {
		self->workers[i].cookie = cookies[i];
		START(i, ums_work_return);
		ums_worker_info(self->info, getpid(), TID(i));
		ASSERT_TRUE(ums_info(self->info, "cookie", value,
				     sizeof(value)));
		EXPECT_EQ(cookies[i], strtoull(value, &end, 0));
		EXPECT_EQ(0, *end);
	}
}

static void look_at_info(struct ums_worker *worker)
{
	char path[PATH_MAX], state[16];

	ums_worker_info(path, getpid(), worker->tid);
	CHECK(ums_info(path, "state", state, sizeof(state)));
	CHECK(!strcmp(state, "running"));
	CHECK_EQ(worker->value, ums_info_number(path, "scheduler"));
	CHECK_EQ(1, ums_info_number(path, "switches"));

	ums_sched_info(path, getpid(), worker->value);
	CHECK(ums_info(path, "state", state, sizeof(state)));
	CHECK(!strcmp(state, "idle"));
	CHECK_EQ(worker->tid, ums_info_number(path, "worker"));
	CHECK_EQ(1, ums_info_number(path, "switches"));
	worker->stage = 1;
}

TEST_F(procfs, info_while_running)
{
	struct ums_event event;

	self->workers[0].value = gettid();
	START(0, look_at_info);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

TEST_F(procfs, info_of_scheduler)
{
	static const char *const keys[] = {
		"pid", "state", "switches", "completion_list", "worker",
		"events", NULL
	};
	struct ums_event event;
	char state[16];

	self->workers[0].value = 5;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist, 0));
	ums_sched_info(self->info, getpid(), gettid());
	EXPECT_TRUE(well_formed(self->info, keys));
	EXPECT_EQ(gettid(), ums_info_number(self->info, "pid"));
	EXPECT_EQ(0, ums_info_number(self->info, "switches"));
	EXPECT_EQ(self->clist, ums_info_number(self->info, "completion_list"));
	EXPECT_EQ(0, ums_info_number(self->info, "worker"));
	EXPECT_EQ(1, ums_info_number(self->info, "events"));
	ASSERT_TRUE(ums_info(self->info, "state", state, sizeof(state)));
	EXPECT_STREQ("running", state);

	for (int i = 1; i <= 3; i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_exec(self->fd, TID(0)));
		EXPECT_EQ(1 + i, ums_info_number(self->info, "events"));
		EXPECT_EQ(i, ums_info_number(self->info, "switches"));
	}
	for (int i = 3; i >= 0; i--) {
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		EXPECT_EQ(i, ums_info_number(self->info, "events"));
	}
	EXPECT_EQ(0, ums_info_number(self->info, "worker"));
}

static void wait_for_event(struct ums_sched *sched)
{
	struct ums_event event;

	sched->stage = 1;
	CHECK_EQ(-ENODEV, ums_dqevent(sched->fd, &event));
}

TEST_F(procfs, waiting_scheduler_is_idle)
{
	struct ums_sched sched = {
		.fn = wait_for_event, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	char state[16];

	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1 && ums_is_parked(sched.tid)));
	ums_sched_info(self->info, getpid(), sched.tid);
	ASSERT_TRUE(ums_info(self->info, "state", state, sizeof(state)));
	EXPECT_STREQ("idle", state);
	close(self->fd);
	self->fd = -1;
	pthread_join(sched.thread, NULL);
	EXPECT_NO_NOTES();
}

/*
 * Links.
 */
static bool has_link(const char *links, pid_t worker)
{
	return ums_exists("%s/%d", links, worker);
}

TEST_F(procfs, links_after_opening_info)
{
	char path[PATH_MAX], target[PATH_MAX], expected[PATH_MAX];
	struct ums_event event;
	ssize_t len;

	self->workers[1].value = 1;
	START(0, ums_work_return);
	START(1, ums_work_yield);
	START(2, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ums_sched_info(self->info, getpid(), gettid());
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 3));

	ASSERT_EQ(gettid(), ums_info_number(self->info, "pid"));
	EXPECT_EQ(3, ums_count_entries(self->links));
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%d", self->links, TID(i));
		len = readlink(path, target, sizeof(target) - 1);
		ASSERT_LT(0, len);
		target[len] = 0;
		snprintf(expected, sizeof(expected), UMS_PROC "/%d/workers/%d",
			 getpid(), TID(i));
		EXPECT_STREQ(expected, target);
		strcat(path, "/info");
		EXPECT_EQ(TID(i), ums_info_number(path, "pid"));
	}

	/* Executed, so no link; back on the list is not dequeued. */
	ASSERT_EQ(0, ums_run_once(self->fd, TID(1), &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	ASSERT_EQ(gettid(), ums_info_number(self->info, "pid"));
	EXPECT_EQ(2, ums_count_entries(self->links));
	EXPECT_FALSE(has_link(self->links, TID(1)));
	ASSERT_EQ(TID(1), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(gettid(), ums_info_number(self->info, "pid"));
	EXPECT_TRUE(has_link(self->links, TID(1)));

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, ums_run_once(self->fd, TID(i), &event));
	ASSERT_EQ(gettid(), ums_info_number(self->info, "pid"));
	EXPECT_EQ(0, ums_count_entries(self->links));
}

static void show_own_link(struct ums_worker *worker)
{
	char links[PATH_MAX], info[PATH_MAX];

	snprintf(links, sizeof(links), UMS_PROC "/%d/schedulers/%ld/workers",
		 getpid(), worker->value);
	ums_sched_info(info, getpid(), worker->value);
	CHECK_EQ(worker->value, ums_info_number(info, "pid"));
	CHECK(!has_link(links, worker->tid));
	worker->stage = 1;
}

TEST_F(procfs, running_worker_has_no_link)
{
	struct ums_event event;

	self->workers[0].value = gettid();
	START(0, show_own_link);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(1, GET(self->workers[0].stage));
	EXPECT_NO_NOTES();
}

/*
 * Without anybody opening info: within 10 ms where the CPU has time for it.  The
 * fastest has no excuse.
 */
#define LINK_NS		10000000UL

TEST_F(procfs, links_by_themselves)
{
	unsigned long comes = ULONG_MAX, goes = ULONG_MAX;
	struct ums_event event;

	self->workers[0].value = 1000;
	START(0, ums_work_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 20 || (i < 500 && (comes > LINK_NS ||
					       goes > LINK_NS)); i++) {
		unsigned long start = ums_now_ns(), took;

		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		EXPECT_TRUE(WAIT_FOR(has_link(self->links, TID(0))));
		took = ums_now_ns() - start;
		if (took < comes)
			comes = took;
		start = ums_now_ns();
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		EXPECT_TRUE(WAIT_FOR(!has_link(self->links, TID(0))));
		took = ums_now_ns() - start;
		if (took < goes)
			goes = took;
	}
	TH_LOG("at best it came after %lu us and went after %lu", comes / 1000,
	       goes / 1000);
	EXPECT_GE(LINK_NS, comes);
	EXPECT_GE(LINK_NS, goes);
	EXPECT_NO_NOTES();
}

static void exec_other(struct ums_sched *sched)
{
	struct ums_event event;

	CHECK_EQ(0, ums_run_once(sched->fd, *(pid_t *)sched->arg, &event));
	CHECK_EQ(0, ums_exit(sched->fd));
}

/* A link goes too when somebody else executes the worker. */
TEST_F(procfs, link_goes_when_other_executes)
{
	struct ums_sched sched = {
		.fn = exec_other, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = self->got,
	};

	self->workers[0].value = 100;
	START(0, ums_work_yield);
	START(1, ums_work_return);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 2));
	EXPECT_TRUE(WAIT_FOR(has_link(self->links, TID(0))));
	ASSERT_EQ(0, ums_sched_start(&sched));
	pthread_join(sched.thread, NULL);
	EXPECT_TRUE(WAIT_FOR(!has_link(self->links, TID(0))));
	EXPECT_TRUE(has_link(self->links, TID(1)));
	EXPECT_NO_NOTES();
}

static void own_until_told(struct ums_sched *sched)
{
	CHECK(ums_dequeue(sched->fd, sched->clist) > 0);
	sched->stage = 1;
	while (sched->stage != 2)
		usleep(1000);
	CHECK_EQ(0, ums_exit(sched->fd));
}

/* The links of a scheduler go with it, and its workers' entries do not. */
TEST_F(procfs, links_go_with_scheduler)
{
	struct ums_sched sched = {
		.fn = own_until_told, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};

	START(0, ums_work_return);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1));
	snprintf(self->links, sizeof(self->links), "%s/schedulers/%d/workers",
		 self->root, GET(sched.tid));
	ASSERT_TRUE(WAIT_FOR(has_link(self->links, TID(0))));
	sched.stage = 2;
	pthread_join(sched.thread, NULL);
	EXPECT_FALSE(ums_exists("%s/schedulers/%d", self->root,
				GET(sched.tid)));
	EXPECT_TRUE(is_dir("%s/workers/%d", self->root, TID(0)));
	EXPECT_NO_NOTES();
}

struct link_race {
	struct ums_gate gate;
	struct ums_worker *worker;
	unsigned long loops;
	char info[128];
	char link[160];
};

static void spin_and_yield(struct ums_worker *worker)
{
	for (;;) {
		while (worker->stage != 1)
			sched_yield();
		worker->stage = 0;
		ums_worker_yield(worker, 0);
	}
}

static void *open_info_at_exec(void *arg)
{
	struct link_race *race = arg;

	for (unsigned long i = 0; i < race->loops; i++) {
		ums_gate_pass(&race->gate, 2, i);
		if (i % 4)
			ums_spin_us(i % 40);
		CHECK(ums_info_number(race->info, "pid") > 0);
		/* The worker runs by now, and no other link will ever change. */
		CHECK(WAIT_FOR(!ums_exists("%s", race->link)));
		race->worker->stage = 1;
	}
	return NULL;
}

/* Fault caught: an execution during the update leaves its link for good. */
TEST_F_TIMEOUT(procfs, links_race, LONG_TEST)
{
	struct link_race race = {
		.worker = &self->workers[0], .loops = RACE_LOOPS,
	};
	struct ums_event event;
	pthread_t thread;

	START(0, spin_and_yield);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ums_sched_info(race.info, getpid(), gettid());
	snprintf(race.link, sizeof(race.link), "%s/%d", self->links, TID(0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, open_info_at_exec, &race));
	for (unsigned long i = 0; i < race.loops; i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ums_gate_pass(&race.gate, 2, i);
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	}
	pthread_join(thread, NULL);
	EXPECT_NO_NOTES();
}

/*
 * Lifetimes of open files.
 */
TEST_F(procfs, open_info_of_dead_worker)
{
	struct ums_event event;
	char buf[64];
	int info;

	START(0, ums_work_return);
	ums_worker_info(self->info, getpid(), TID(0));
	info = open(self->info, O_RDONLY);
	ASSERT_LE(0, info);
	ASSERT_LT(0, read(info, buf, 4));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	/* Whatever it gives, it is an answer. */
	(void)!read(info, buf, sizeof(buf));
	EXPECT_EQ(-1, open(self->info, O_RDONLY));
	EXPECT_EQ(ENOENT, errno);
	close(info);

	/* The same with the whole instance. */
	ums_sched_info(self->info, getpid(), gettid());
	info = open(self->info, O_RDONLY);
	ASSERT_LE(0, info);
	close(self->fd);
	(void)!read(info, buf, sizeof(buf));
	EXPECT_FALSE(ums_exists("%s", self->root));
	close(info);
	self->fd = ums_open();
	EXPECT_LE(0, self->fd);
}

static atomic_int stop_readers;
static atomic_ulong infos_read, infos_gone;

#define READ_ENOUGH	(infos_read > RACE_LOOPS / 50)
#define LOG_READ()							\
	TH_LOG("%lu files read, %lu went away", GET(infos_read),	\
	       GET(infos_gone))

static void read_tree(const char *path, int depth)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	char sub[PATH_MAX], buf[512];
	int fd;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof(sub), "%.200s/%.50s", path,
			 entry->d_name);
		if (entry->d_type == DT_DIR && depth < 6) {
			read_tree(sub, depth + 1);
		} else if (entry->d_type == DT_LNK) {
			(void)!readlink(sub, buf, sizeof(buf));
			strcat(sub, "/info");
		}
		fd = open(sub, O_RDONLY);
		if (fd >= 0) {
			if (entry->d_type == DT_REG &&
			    read(fd, buf, sizeof(buf)) > 0)
				atomic_fetch_add(&infos_read, 1);
			close(fd);
		} else {
			/* It went between the reading of its name and this. */
			atomic_fetch_add(&infos_gone, errno == ENOENT);
		}
	}
	if (dir)
		closedir(dir);
}

static void *read_all_the_time(void *arg)
{
	while (!stop_readers)
		read_tree(UMS_PROC, 0);
	return NULL;
}

/* Readers walk the tree while threads come, switch and go. */
TEST_F_TIMEOUT(procfs, readers_race, LONG_TEST)
{
	struct ums_event event;
	pthread_t readers[2];

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&readers[i], NULL,
					    read_all_the_time, NULL));
	for (unsigned long i = 0; i < RACE_LOOPS || !READ_ENOUGH; i++) {
		struct ums_worker *worker = &self->workers[0];
		int context;

		worker->value = i % 3;
		ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
		ASSERT_EQ(0, ums_worker_create(worker, self->fd, self->clist,
					       ums_work_yield));
		do {
			context = ums_dequeue(self->fd, self->clist);
			ASSERT_EQ(TID(0), context);
			ASSERT_EQ(0, ums_run_once(self->fd, context, &event));
		} while (event.type == THREAD_YIELD);
		ASSERT_FALSE(ums_exists("%s/workers/%d", self->root, context));
		pthread_join(worker->thread, NULL);
		ASSERT_EQ(0, ums_exit(self->fd));
	}
	stop_readers = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	LOG_READ();
	EXPECT_NO_NOTES();
}

/* And while whole instances do. */
TEST_F_TIMEOUT(procfs, readers_race_open, LONG_TEST)
{
	pthread_t reader;

	ASSERT_EQ(0, pthread_create(&reader, NULL, read_all_the_time, NULL));
	for (unsigned long i = 0; i < RACE_LOOPS || !READ_ENOUGH; i++) {
		close(self->fd);
		ASSERT_FALSE(ums_exists("%s", self->root));
		self->fd = ums_open();
		ASSERT_LE(0, self->fd);
		self->clist = ums_create(self->fd);
		ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, self->clist,
				       0));
		ASSERT_TRUE(ums_exists("%s", self->root));
	}
	stop_readers = 1;
	pthread_join(reader, NULL);
	LOG_READ();
}

/*
 * A process in a PID namespace of its own: contexts are its own ids, names in
 * the tree are those of the initial namespace.
 */
TEST_F(procfs, names_of_initial_namespace)
{
	char path[PATH_MAX], tasks[64];
	struct dirent *entry;
	int pipes[2], status, seen = 0;
	pid_t child;
	char byte;
	DIR *dir;

	if (geteuid())
		SKIP(return, NO_ROOT);
	if (access("/proc/self/ns/pid", F_OK))
		SKIP(return, "needs CONFIG_PID_NS");
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(self->fd);
		close(pipes[0]);
		_exit(ums_schedule_in_namespace(pipes[1]));
	}
	close(pipes[1]);
	if (read(pipes[0], &byte, 1) != 1) {
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_EQ(0, status);
	}

	/* Its two threads, by the ids that we see. */
	snprintf(tasks, sizeof(tasks), "/proc/%d/task", child);
	dir = opendir(tasks);
	ASSERT_NE(NULL, dir);
	while ((entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (!tid)
			continue;
		if (tid == child)
			ums_sched_info(path, child, tid);
		else
			ums_worker_info(path, child, tid);
		EXPECT_EQ(tid, ums_info_number(path, "pid"));
		EXPECT_EQ(1, ums_info_number(path, "switches"));
		seen++;
	}
	closedir(dir);
	EXPECT_EQ(2, seen);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", child)));
}

/* After a process has died, however, its tree is gone. */
TEST_F(procfs, tree_goes_with_process)
{
	int pipes[2];
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct ums_worker worker = { .granted = LOTS };
		int fd, clist;

		close(self->fd);
		fd = ums_open();
		clist = ums_create(fd);
		ums_worker_start(&worker, fd, clist, ums_work_spin);
		ums_become_sched(fd, clist);
		ums_dequeue(fd, clist);
		(void)!write(pipes[1], "x", 1);
		ums_exec(fd, worker.tid);
		_exit(1);
	}
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	EXPECT_TRUE(ums_exists(UMS_PROC "/%d", child));
	ums_sleep_ms(QUIET_MS);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", child)));
}

TEST_HARNESS_MAIN
