// SPDX-License-Identifier: GPL-2.0
/*
 * Who may do what: other users, namespaces, holders of a descriptor, processes
 * that change who they are.  None of them reaches the threads of another process,
 * or learns of it what procfs does not tell about every process.
 */
#include <dirent.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "ums_fixture.h"

#define COOKIE		0x7fedcba987654321
#define OVERFLOW_ID	65534
#define NR_CLISTS	3

#define NO_PID_NS	"needs CONFIG_PID_NS"
#define NO_USER_NS	"needs CONFIG_USER_NS, for everybody"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open	434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd	438
#endif

/* The exit status of one that cannot do what the test is about. */
#define SKIPPED	4

static bool skipped(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
}

/* --- the process that is not to notice anything --- */

/* Three lists, a worker that is parked and one that runs. */
struct victim {
	int fd;
	pid_t pid;
	int clists[NR_CLISTS];
	struct ums_worker parked;
	struct ums_worker running;
	struct ums_sched sched;
	struct ums_query before[2];
	pid_t ids[2];
	int clist;		/* its last one, an id that no other has */
	char root[64];
	char info[128];
};

static void run_one(struct ums_sched *sched)
{
	struct ums_event event;
	int context = ums_dequeue(sched->fd, sched->clist);

	sched->ret = ums_run_once(sched->fd, context, &event);
}

/* Return: 0, or the line where it failed. */
static int victim_start(struct victim *v, int fd)
{
	v->fd = fd;
	v->pid = getpid();
	for (int i = 0; i < NR_CLISTS; i++) {
		v->clists[i] = ums_create(fd);
		if (v->clists[i] <= 0)
			return __LINE__;
	}
	v->clist = v->clists[NR_CLISTS - 1];
	v->running.granted = LOTS;
	if (ums_worker_start(&v->running, fd, v->clists[1], ums_work_spin))
		return __LINE__;
	v->sched = (struct ums_sched) {
		.fn = run_one, .fd = fd, .clist = v->clists[1], .cpu = -1,
	};
	if (ums_sched_start(&v->sched) || !WAIT_FOR(v->running.stage == 1))
		return __LINE__;
	v->parked.granted = LOTS;
	v->parked.cookie = COOKIE;
	if (ums_worker_start(&v->parked, fd, v->clists[0], ums_work_return))
		return __LINE__;
	v->ids[0] = v->parked.tid;
	v->ids[1] = v->running.tid;
	for (int i = 0; i < 2; i++)
		if (ums_query(fd, v->ids[i], &v->before[i]))
			return __LINE__;
	snprintf(v->root, sizeof(v->root), UMS_PROC "/%d", v->pid);
	ums_worker_info(v->info, v->pid, v->ids[0]);
	return v->before[0].state == UMS_STATE_READY &&
	       v->before[1].state == UMS_STATE_RUNNING ? 0 : __LINE__;
}

/* Lets the running worker end, and waits for its scheduler. */
static void victim_stop(struct victim *v)
{
	v->running.stage = 2;
	if (v->sched.thread)
		pthread_join(v->sched.thread, NULL);
	v->sched.thread = 0;
}

static void victim_end(struct victim *v)
{
	victim_stop(v);
	close(v->fd);
}

/* Is all as it was, but for the times? */
static bool unchanged(struct victim *v, int i)
{
	struct ums_query *before = &v->before[i];
	struct ums_query now;

	return !ums_query(v->fd, v->ids[i], &now) &&
	       now.state == before->state && now.why == before->why &&
	       now.clist == before->clist &&
	       now.scheduler == before->scheduler &&
	       now.cookie == before->cookie &&
	       now.switches == before->switches &&
	       now.yields == before->yields &&
	       now.handovers == before->handovers &&
	       now.preemptions == before->preemptions &&
	       now.blocks == before->blocks;
}

#define EXPECT_UNHARMED(who)						\
	do {								\
		typeof(who) __v = (who);				\
									\
		EXPECT_TRUE(unchanged(__v, 0));				\
		EXPECT_TRUE(unchanged(__v, 1));				\
		EXPECT_EQ(1, GET(__v->running.stage));			\
		EXPECT_EQ(0, GET(__v->parked.stage));			\
		EXPECT_EQ(-EBUSY, ums_open());				\
		EXPECT_EQ(-EBUSY, ums_delete(__v->fd, __v->clists[0]));	\
		EXPECT_EQ(-EBUSY, ums_delete(__v->fd, __v->clists[1]));	\
		EXPECT_EQ(0, ums_delete(__v->fd, __v->clists[2]));	\
		EXPECT_TRUE(ums_exists("%s", __v->info));		\
		EXPECT_NO_NOTES();					\
	} while (0)

/* --- what others try --- */

/* Every call is refused to a process that has but the descriptor. */
static void find_descriptor_useless(int fd, const struct victim *v)
{
	struct ums_query query;
	struct ums_event event;
	struct ums_ready ready;
	char byte;

	MUST(ums_create(fd) == -EIO);
	MUST(ums_delete(fd, v->clist) == -EIO);
	MUST(ums_enter(fd, ENTER_UMS_WORK, v->clist, 0) == -EIO);
	MUST(ums_enter_sched(fd, v->clist, 0) == -EIO);
	MUST(ums_dqevent(fd, &event) == -EIO);
	MUST(ums_dequeue(fd, v->clist) == -EIO);
	MUST(ums_take(fd, v->clist, UMS_NONBLOCK, 0, &ready, 1) == -EIO);
	MUST(ums_clist_fd(fd, v->clist) == -EIO);
	MUST(ums_yield(fd, 0) == -EIO);
	MUST(ums_exit(fd) == -EIO);
	for (int i = 0; i < 2; i++) {
		MUST(ums_next(fd, v->ids[i]) == -EIO);
		MUST(ums_exec(fd, v->ids[i]) == -EIO);
		MUST(ums_run(fd, v->ids[i], 0, &event) == -EIO);
		MUST(ums_switch(fd, v->ids[i]) == -EIO);
		MUST(ums_preempt(fd, v->ids[i]) == -EIO);
		MUST(ums_query(fd, v->ids[i], &query) == -EIO);
	}
	/* And nothing can be had from it but by calls. */
	MUST(read(fd, &byte, 1) == -1 && errno == EINVAL);
	MUST(write(fd, &byte, 1) == -1 && errno == EINVAL);
	MUST(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED &&
	     errno == ENODEV);
}

static void switch_to_victim(struct ums_worker *worker)
{
	const struct victim *v = worker->arg;

	for (int i = 0; i < 2; i++)
		CHECK_EQ(-ESRCH, ums_switch(worker->fd, v->ids[i]));
	worker->stage = 1;
}

/*
 * With a device of its own, which works, by the ids of the victim, which it does
 * not know: two that are right, and all that could be.
 */
static void find_ids_unknown(int fd, const struct victim *v)
{
	struct ums_worker worker = { .arg = (void *)v, .granted = LOTS };
	int clist = ums_create(fd);
	struct ums_query query;
	struct ums_event event;
	struct ums_ready ready;

	MUST(clist > 0 && clist != v->clist);
	MUST(!ums_worker_create(&worker, fd, clist, switch_to_victim));
	MUST(!ums_become_sched(fd, clist));
	/* Its context is its id as the process itself sees it. */
	MUST(ums_dequeue(fd, clist) == worker.tid);

	for (int i = 0; i < 2; i++) {
		MUST(ums_exec(fd, v->ids[i]) == -ESRCH);
		MUST(ums_exec(fd, v->ids[i] | 1L << 32) == -ESRCH);
		MUST(ums_run(fd, v->ids[i], 0, &event) == -ESRCH);
		MUST(ums_next(fd, v->ids[i]) == -ESRCH);
		MUST(ums_preempt(fd, v->ids[i] | 1L << 32) == -ESRCH);
		MUST(ums_preempt(fd, -(long)v->ids[i]) == -ESRCH);
	}
	for (long id = -2; id < v->ids[0] + 1000; id++) {
		if (id == worker.tid)
			continue;
		MUST(ums_query(fd, id, &query) == -ESRCH);
		MUST(ums_preempt(fd, id) == -ESRCH);
	}
	MUST(ums_take(fd, v->clist, UMS_NONBLOCK, 0, &ready, 1) == -EINVAL);
	MUST(ums_dequeue(fd, v->clist) == -EINVAL);
	MUST(ums_clist_fd(fd, v->clist) == -EINVAL);
	MUST(ums_delete(fd, v->clist) == -EINVAL);

	/* Its own threads do as they are told. */
	MUST(!ums_query(fd, worker.tid, &query));
	MUST(query.context == worker.tid && query.scheduler == gettid() &&
	     query.state == UMS_STATE_READY);
	MUST(!ums_run_once(fd, worker.tid, &event));
	MUST(worker.stage == 1 && event.type == THREAD_TERMINATED &&
	     event.end_params.context == worker.tid);
	MUST(!*ums_notes());
}

static void become_nobody(void)
{
	ums_become_nobody();
	/* As for a process that this user has started. */
	MUST(!prctl(PR_SET_DUMPABLE, 1));
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	MUST(fd >= 0);
	MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* To a user namespace of its own, as its root if @map. */
static void unshare_user(bool map)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char text[64];

	if (unshare(CLONE_NEWUSER))
		_exit(SKIPPED);
	if (!map)
		return;
	write_file("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %d 1", uid);
	write_file("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "0 %d 1", gid);
	write_file("/proc/self/gid_map", text);
	MUST(!geteuid());
}

/* Goes on as process 1 of a PID namespace; the caller waits for it and exits. */
static void unshare_pid(void)
{
	int status;
	pid_t child;

	if (unshare(CLONE_NEWPID))
		_exit(SKIPPED);
	child = fork();
	MUST(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		MUST(getpid() == 1);
		return;
	}
	status = ums_wait_child(child);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

/* --- by who they are --- */

enum who {
	A_CHILD,
	ANOTHER_USER,
	A_PID_NAMESPACE,
	A_USER_NAMESPACE,
	A_USER_NAMESPACE_ROOT,
};

FIXTURE(stranger) {
	struct victim v;
};

FIXTURE_VARIANT(stranger) {
	enum who who;
	bool root;
	const char *skip;
};

FIXTURE_VARIANT_ADD(stranger, child) { A_CHILD, false, NULL };
FIXTURE_VARIANT_ADD(stranger, another_user) { ANOTHER_USER, true, NULL };

FIXTURE_VARIANT_ADD(stranger, pid_namespace) {
	A_PID_NAMESPACE, true, NO_PID_NS
};

FIXTURE_VARIANT_ADD(stranger, user_namespace) {
	A_USER_NAMESPACE, false, NO_USER_NS
};

FIXTURE_VARIANT_ADD(stranger, root_of_user_namespace) {
	A_USER_NAMESPACE_ROOT, true, NO_USER_NS
};

FIXTURE_SETUP(stranger)
{
	int fd = ums_open();

	if (ums_no_device(fd))
		SKIP(return, NO_DEVICE);
	if (variant->root && geteuid())
		SKIP(return, NO_ROOT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, victim_start(&self->v, fd));
}

FIXTURE_TEARDOWN(stranger)
{
	victim_end(&self->v);
}

static void become(enum who who)
{
	switch (who) {
	case A_CHILD:
		break;
	case ANOTHER_USER:
		become_nobody();
		break;
	case A_PID_NAMESPACE:
		unshare_pid();
		break;
	case A_USER_NAMESPACE:
		unshare_user(false);
		break;
	case A_USER_NAMESPACE_ROOT:
		become_nobody();
		unshare_user(true);
		break;
	}
}

TEST_F(stranger, has_no_use_for_descriptor)
{
	struct victim *v = &self->v;
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		become(variant->who);
		find_descriptor_useless(v->fd, v);
		/* It is another process that opens the device. */
		MUST(ums_open() >= 0);
		find_descriptor_useless(v->fd, v);
		close(v->fd);
		_exit(0);
	}
	status = ums_wait_child(child);
	if (skipped(status))
		SKIP(return, variant->skip);
	EXPECT_EQ(0, status);
	EXPECT_UNHARMED(v);
}

TEST_F(stranger, reaches_nobody_by_id)
{
	struct victim *v = &self->v;
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		int fd;

		close(v->fd);
		become(variant->who);
		fd = ums_open();
		MUST(fd >= 0);
		find_ids_unknown(fd, v);
		_exit(0);
	}
	status = ums_wait_child(child);
	if (skipped(status))
		SKIP(return, variant->skip);
	EXPECT_EQ(0, status);
	EXPECT_UNHARMED(v);
}

/* Contexts of a namespace mean nothing to a process outside, or the other way. */
TEST_F(stranger, is_not_reached_by_id)
{
	struct victim *v = &self->v;
	struct ums_query query;
	int down[2], up[2];
	struct {
		pid_t inside;
		pid_t clist;
	} ids;
	pid_t child;
	int status;
	char byte;

	ASSERT_EQ(0, pipe(down));
	ASSERT_EQ(0, pipe(up));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct ums_worker worker = { .granted = LOTS };
		int fd;

		close(v->fd);
		close(down[1]);
		close(up[0]);
		become(variant->who);
		fd = ums_open();
		MUST(fd >= 0);
		for (int i = 0; i <= NR_CLISTS; i++)
			ids.clist = ums_create(fd);
		MUST(!ums_worker_create(&worker, fd, ids.clist,
					ums_work_yield_forever));
		MUST(!ums_become_sched(fd, ids.clist));
		ids.inside = ums_dequeue(fd, ids.clist);
		MUST(ids.inside == worker.tid);
		MUST(write(up[1], &ids, sizeof(ids)) == sizeof(ids));
		/* Until the victim has tried. */
		MUST(!read(down[0], &byte, 1));
		MUST(!ums_query(fd, ids.inside, &query));
		MUST(query.state == UMS_STATE_READY && !query.switches &&
		     query.scheduler == gettid());
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	if (read(up[0], &ids, sizeof(ids)) == sizeof(ids)) {
		EXPECT_EQ(-ESRCH, ums_query(v->fd, ids.inside, &query));
		EXPECT_EQ(-ESRCH, ums_preempt(v->fd, ids.inside));
		EXPECT_EQ(-EINVAL, ums_delete(v->fd, ids.clist));
		EXPECT_EQ(-EINVAL, ums_enter(v->fd, ENTER_UMS_WORK, ids.clist,
					     0));
		ASSERT_EQ(0, ums_become_sched(v->fd, v->clist));
		EXPECT_EQ(-ESRCH, ums_exec(v->fd, ids.inside));
	}
	close(down[1]);
	status = ums_wait_child(child);
	if (skipped(status))
		SKIP(return, variant->skip);
	EXPECT_EQ(0, status);
	EXPECT_UNHARMED(v);
}

/* --- by how they come to a descriptor --- */

FIXTURE(access) {
	struct victim v;
};

FIXTURE_SETUP(access)
{
	int fd = ums_open();

	if (ums_no_device(fd))
		SKIP(return, NO_DEVICE);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, victim_start(&self->v, fd));
}

FIXTURE_TEARDOWN(access)
{
	victim_end(&self->v);
}

TEST_F(access, pidfd_getfd_gives_no_more)
{
	struct victim *v = &self->v;
	pid_t child;

	/* Yama lets a child do so only if it is told to. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int pidfd, fd;

		close(v->fd);
		pidfd = syscall(SYS_pidfd_open, v->pid, 0);
		MUST(pidfd >= 0);
		fd = syscall(SYS_pidfd_getfd, pidfd, v->fd, 0);
		MUST(fd >= 0);
		find_descriptor_useless(fd, v);
		/* It is not the victim who closes it. */
		close(fd);
		MUST(syscall(SYS_pidfd_getfd, pidfd, v->fd, 0) >= 0);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	EXPECT_UNHARMED(v);
}

/* What opens by way of another process's descriptor is the device, not the file. */
TEST_F(access, reopening_gives_own_device)
{
	struct victim *v = &self->v;
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		char path[64];
		int fd;

		close(v->fd);
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", v->pid, v->fd);
		fd = open(path, O_RDWR);
		MUST(fd >= 0);
		find_ids_unknown(fd, v);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	EXPECT_UNHARMED(v);
}

/*
 * A descriptor that was passed on neither works nor keeps the device open, and
 * serves its owner again when it comes back.  That of a list tells that it holds
 * a worker, and is no other way in.
 */
TEST_F(access, passed_descriptors)
{
	struct victim *v = &self->v;
	int socks[2], fds[2], back, ret;
	struct ums_query query;
	pid_t child;
	char byte;

	ret = socketpair(AF_UNIX, SOCK_STREAM, 0, socks);
	if (ret && errno == EAFNOSUPPORT)
		SKIP(return, NO_UNIX);
	ASSERT_EQ(0, ret);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(v->fd);
		close(socks[0]);
		MUST(!ums_receive_fds(socks[1], fds, 2));
		find_descriptor_useless(fds[0], v);
		MUST(ums_query(fds[1], v->ids[0], &query) == -ENOTTY);
		MUST(ums_preempt(fds[1], v->ids[1]) == -ENOTTY);
		MUST(ums_create(fds[1]) == -ENOTTY);
		MUST(read(fds[1], &byte, 1) == -1);
		MUST(!ums_send_fds(socks[1], fds, 1));
		/* Until the victim has closed all that it has. */
		MUST(!read(socks[1], &byte, 1));
		find_descriptor_useless(fds[0], v);
		_exit(0);
	}
	close(socks[1]);
	fds[0] = v->fd;
	fds[1] = ums_clist_fd(v->fd, v->clists[0]);
	ASSERT_LE(0, fds[1]);
	ASSERT_EQ(0, ums_send_fds(socks[0], fds, 2));
	ASSERT_EQ(0, ums_receive_fds(socks[0], &back, 1));
	EXPECT_EQ(0, ums_query(back, v->ids[0], &query));
	EXPECT_EQ(COOKIE, query.cookie);
	close(back);
	EXPECT_UNHARMED(v);

	victim_stop(v);
	close(v->fd);
	EXPECT_TRUE(WAIT_FOR(v->parked.stage == 1));
	EXPECT_FALSE(ums_exists("%s", v->root));
	v->fd = ums_open();
	EXPECT_LE(0, v->fd);
	close(socks[0]);
	EXPECT_CHILD_OK(child);
	EXPECT_LT(0, ums_create(v->fd));
}

struct sharer {
	struct victim *v;
	int fd;
};

static int use_shared(void *arg)
{
	struct sharer *s = arg;
	struct ums_query query;
	int clist;

	find_descriptor_useless(s->v->fd, s->v);
	s->fd = ums_open();
	MUST(s->fd >= 0);
	clist = ums_create(s->fd);
	MUST(clist > 0 && !ums_become_sched(s->fd, clist));
	for (int i = 0; i < 2; i++) {
		MUST(ums_exec(s->fd, s->v->ids[i]) == -ESRCH);
		MUST(ums_preempt(s->fd, s->v->ids[i]) == -ESRCH);
		MUST(ums_query(s->fd, s->v->ids[i], &query) == -ESRCH);
	}
	_exit(0);
}

/* One with the same memory and the same descriptors is still another process. */
TEST_F(access, process_that_shares_memory_and_descriptors)
{
	static __u64 stack[16384];
	struct sharer s = { .v = &self->v, .fd = -1 };
	struct victim *v = &self->v;
	pid_t child;

	child = clone(use_shared, &stack[16384],
		      CLONE_VM | CLONE_FILES | CLONE_VFORK | SIGCHLD, &s);
	ASSERT_LE(0, child);
	EXPECT_CHILD_OK(child);
	/* The descriptor that it leaves behind is as useless here. */
	find_descriptor_useless(s.fd, v);
	close(s.fd);
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d", child));
	EXPECT_UNHARMED(v);
}

/* A table of descriptors is shared for good and ill: a close is everybody's. */
static int close_shared(void *arg)
{
	struct sharer *s = arg;

	close(s->v->fd);
	_exit(0);
}

TEST_F(access, close_by_sharer_of_descriptors)
{
	static __u64 stack[16384];
	struct sharer s = { .v = &self->v };
	struct victim *v = &self->v;
	pid_t child;

	child = clone(close_shared, &stack[16384], CLONE_FILES | SIGCHLD, &s);
	ASSERT_LE(0, child);
	EXPECT_CHILD_OK(child);
	EXPECT_TRUE(WAIT_FOR(v->parked.stage == 1));
	victim_stop(v);
	EXPECT_EQ(-ENODEV, v->sched.ret);
	v->fd = ums_open();
	EXPECT_LE(0, v->fd);
	EXPECT_NO_NOTES();
}

static int open_shared(void *arg)
{
	_exit(ums_open() < 0);
}

/*
 * No close tells of the end of such an opener, and its descriptors stay: what
 * cannot be charged for must not gather.
 */
TEST_F(access, openers_that_end_before_sharer_of_descriptors)
{
	static __u64 stack[16384];
	pid_t openers[5], other;
	int i, go[2], left = 0;
	char byte;

	/* Forked before, as a close of a copy would tell, too. */
	ASSERT_EQ(0, pipe(go));
	other = fork();
	ASSERT_LE(0, other);
	if (!other) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		for (i = 0; i < 5; i++)
			if (close(ums_open()))
				_exit(2);
		_exit(0);
	}
	for (i = 0; i < 5; i++) {
		openers[i] = clone(open_shared, &stack[16384],
				   CLONE_FILES | SIGCHLD, NULL);
		ASSERT_LE(0, openers[i]);
		EXPECT_CHILD_OK(openers[i]);
	}
	EXPECT_TRUE(ums_exists(UMS_PROC "/%d", openers[4]));
	/* Whoever opens the device next sees to them. */
	ASSERT_EQ(1, write(go[1], "", 1));
	EXPECT_CHILD_OK(other);
	for (i = 0; i < 5; i++)
		left += ums_exists(UMS_PROC "/%d", openers[i]);
	EXPECT_EQ(0, left);
}

/* --- what procfs shows to whom --- */

static bool has_key(const char *path, const char *key)
{
	char value[64];

	return ums_info(path, key, value, sizeof(value));
}

static bool closed_dir(const char *path)
{
	DIR *dir = opendir(path);

	if (dir)
		closedir(dir);
	return !dir && errno == EACCES;
}

static bool closed_file(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == EACCES;
}

/* Another user sees the name, and no more. */
TEST_F(access, tree_is_closed_to_root_of_user_namespace)
{
	struct victim *v = &self->v;
	pid_t child;
	int status;

	if (geteuid())
		SKIP(return, NO_ROOT);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct stat st;

		become_nobody();
		unshare_user(true);
		MUST(!stat(v->root, &st));
		MUST((st.st_mode & 07777) == 0500);
		/* The root that it sees is one that it has no name for. */
		MUST(st.st_uid == OVERFLOW_ID && st.st_gid == OVERFLOW_ID);
		MUST(closed_dir(v->root));
		MUST(closed_file(v->info));
		MUST(chmod(v->root, 0755) == -1);
		MUST(chown(v->root, 0, 0) == -1);
		_exit(0);
	}
	status = ums_wait_child(child);
	if (skipped(status))
		SKIP(return, NO_USER_NS);
	EXPECT_EQ(0, status);
	EXPECT_TRUE(has_key(v->info, "cookie"));
	EXPECT_UNHARMED(v);
}

/* A process of another user that has the device open until it is told to end. */
struct other {
	pid_t pid;
	int tell;
	char info[128];
};

static void other_main(void (*prepare)(void), void (*after)(void), int tell,
		       int hear)
{
	struct ums_worker worker = { .granted = LOTS, .cookie = COOKIE };
	pid_t tid;
	int fd;
	char byte;

	if (prepare)
		prepare();
	fd = ums_open();
	MUST(fd >= 0);
	MUST(!ums_worker_start(&worker, fd, ums_create(fd), ums_work_return));
	if (after)
		after();
	tid = worker.tid;
	MUST(write(tell, &tid, sizeof(tid)) == sizeof(tid));
	MUST(!read(hear, &byte, 1));
	_exit(0);
}

static bool other_start(struct other *other, void (*prepare)(void),
			void (*after)(void))
{
	int down[2], up[2];
	pid_t tid;
	bool ok;

	if (pipe(down) || pipe(up))
		return false;
	other->pid = fork();
	if (!other->pid) {
		close(down[1]);
		close(up[0]);
		other_main(prepare, after, up[1], down[0]);
	}
	close(down[0]);
	close(up[1]);
	other->tell = down[1];
	ok = read(up[0], &tid, sizeof(tid)) == sizeof(tid);
	close(up[0]);
	ums_worker_info(other->info, other->pid, ok ? tid : 0);
	return ok;
}

static int other_end(struct other *other)
{
	close(other->tell);
	return ums_wait_child(other->pid);
}

/*
 * Fault caught: a cookie, which may be an address, shown to every process of the
 * user, when this one may not look into the memory of the other.
 */
TEST_F(access, cookie_is_not_for_all_of_the_user)
{
	struct other other;
	pid_t child;
	int status;

	if (geteuid())
		SKIP(return, NO_ROOT);
	ASSERT_TRUE(other_start(&other, become_nobody, NULL));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		become_nobody();
		MUST(has_key(other.info, "state"));
		MUST(has_key(other.info, "switches"));
		MUST(!has_key(other.info, "cookie"));
		_exit(0);
	}
	EXPECT_CHILD_OK(child);

	/* Nor for the root of a user namespace that maps the user. */
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		become_nobody();
		unshare_user(true);
		MUST(has_key(other.info, "state"));
		MUST(!has_key(other.info, "cookie"));
		_exit(0);
	}
	status = ums_wait_child(child);
	if (skipped(status))
		SKIP(return, NO_USER_NS);
	EXPECT_EQ(0, status);
	EXPECT_TRUE(has_key(other.info, "cookie"));
	EXPECT_EQ(0, other_end(&other));
}

static void become_root_of_namespace(void)
{
	become_nobody();
	unshare_user(true);
}

/* Who made a namespace may look into what is in it, but not at all of it. */
TEST_F(access, cookie_is_not_for_a_later_namespace)
{
	struct other other;
	pid_t child;

	if (geteuid())
		SKIP(return, NO_ROOT);
	if (!other_start(&other, become_root_of_namespace, NULL))
		SKIP(return, NO_USER_NS);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		become_nobody();
		MUST(!has_key(other.info, "cookie"));
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	EXPECT_EQ(0, other_end(&other));
}

/* --- a container's procfs --- */

FIXTURE(container) {
	struct victim v;
	char dir[32];
};

FIXTURE_VARIANT(container) {
	const char *options;
	bool names;
};

FIXTURE_VARIANT_ADD(container, plain) { "", true };
FIXTURE_VARIANT_ADD(container, hidepid) { "hidepid=2", true };
FIXTURE_VARIANT_ADD(container, subset_pid) { "subset=pid", false };

FIXTURE_SETUP(container)
{
	int fd = ums_open();

	if (ums_no_device(fd))
		SKIP(return, NO_DEVICE);
	if (geteuid())
		SKIP(return, NO_ROOT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, victim_start(&self->v, fd));
	snprintf(self->dir, sizeof(self->dir), "/tmp/ums-proc.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_EQ(0, chmod(self->dir, 0755));
}

FIXTURE_TEARDOWN(container)
{
	rmdir(self->dir);
	victim_end(&self->v);
}

/* /proc/ums/<rest> as the mount on @dir has it. */
static void inside(char *path, const char *dir, const char *real)
{
	sprintf(path, "%s%s", dir, real + strlen("/proc"));
}

/* The only entry of a directory. */
static pid_t only_entry(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	pid_t found = -1;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			found = found == -1 ? atoi(entry->d_name) : 0;
	if (dir)
		closedir(dir);
	return found;
}

static void look_from_container(const char *dir, const struct victim *v,
				bool names, pid_t outer)
{
	struct ums_worker worker = { .granted = LOTS, .cookie = COOKIE };
	char path[256], own[512], info[128];
	int fd = ums_open();
	pid_t tid;

	MUST(fd >= 0);
	MUST(!ums_worker_create(&worker, fd, ums_create(fd), ums_work_return));
	MUST(WAIT_FOR(ums_state(fd, worker.tid) == UMS_STATE_READY));

	inside(path, dir, v->root);
	MUST(ums_exists("%s", path) == names);
	MUST(ums_exists("%s/ums/%d", dir, outer) == names);
	if (!names)
		return;

	/* Who is root outside, too, passes the directories, but not this. */
	inside(path, dir, v->info);
	MUST(closed_file(path));
	ums_sched_info(info, v->pid, v->sched.tid);
	inside(path, dir, info);
	MUST(closed_file(path));

	/* Its own, by the ids that are outside. */
	sprintf(path, "%s/ums/%d/workers", dir, outer);
	tid = only_entry(path);
	MUST(tid > 0 && tid != worker.tid);
	sprintf(own, "%s/%d/info", path, tid);
	MUST(ums_info_number(own, "pid") == tid);
	MUST(has_key(own, "cookie"));

	become_nobody();
	inside(path, dir, v->root);
	MUST(closed_dir(path));
	MUST(closed_file(own));
}

/*
 * Fault caught: the root of a container reads about processes outside, which its
 * own /proc does not have.  That there are such processes it does see; whoever
 * makes the container decides that by the options of the mount.
 */
TEST_F(container, sees_names_at_most)
{
	struct victim *v = &self->v;
	int pipes[2], status;
	pid_t child, outer;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(v->fd);
		MUST(!pipe(pipes));
		if (unshare(CLONE_NEWPID | CLONE_NEWNS))
			_exit(SKIPPED);
		MUST(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
		outer = fork();
		MUST(outer >= 0);
		if (outer) {
			MUST(write(pipes[1], &outer, sizeof(outer)) ==
			     sizeof(outer));
			status = ums_wait_child(outer);
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		MUST(read(pipes[0], &outer, sizeof(outer)) == sizeof(outer));
		MUST(getpid() == 1 && outer > 1);
		if (mount("proc", self->dir, "proc", 0, variant->options)) {
			MUST(errno == EINVAL && *variant->options);
			_exit(SKIPPED);
		}
		look_from_container(self->dir, v, variant->names, outer);
		_exit(0);
	}
	status = ums_wait_child(child);
	if (skipped(status))
		SKIP(return, NO_PID_NS);
	EXPECT_EQ(0, status);
	EXPECT_TRUE(has_key(v->info, "cookie"));
	EXPECT_UNHARMED(v);
}

/* --- processes that become another user --- */

static void expect_owner(const char *info, uid_t uid)
{
	struct stat st;

	MUST(!stat(info, &st));
	MUST(st.st_uid == uid && (st.st_mode & 07777) == 0400);
}

/* Drops its privileges, and is what it was to UMS. */
TEST_F(access, entries_stay_the_openers_after_setuid)
{
	pid_t child;

	if (geteuid())
		SKIP(return, NO_ROOT);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct victim *v = calloc(1, sizeof(*v));
		struct ums_event event;
		int fd, clist;
		pid_t pid;

		close(self->v.fd);
		fd = ums_open();
		MUST(fd >= 0);
		MUST(!victim_start(v, fd));
		become_nobody();

		/* As any open descriptor, it serves its process further on. */
		clist = ums_create(fd);
		MUST(clist > 0);
		MUST(!ums_become_sched(fd, v->clists[0]));
		MUST(ums_dequeue(fd, v->clists[0]) == v->ids[0]);
		/* What it may still see itself, as of /proc/<pid>/environ. */
		MUST(closed_dir(v->root));
		MUST(closed_file(v->info));

		/* And what its new fellows may. */
		pid = fork();
		if (!pid) {
			MUST(closed_dir(v->root));
			MUST(closed_file(v->info));
			find_descriptor_useless(fd, v);
			_exit(0);
		}
		MUST(!ums_wait_child(pid));
		MUST(!ums_run_once(fd, v->ids[0], &event));
		MUST(event.type == THREAD_TERMINATED);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	EXPECT_UNHARMED(&self->v);
}

/* Away and back, as a daemon does for a while. */
TEST_F(access, seteuid_and_back)
{
	pid_t child;

	if (geteuid())
		SKIP(return, NO_ROOT);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct victim *v = calloc(1, sizeof(*v));
		int fd;

		close(self->v.fd);
		fd = ums_open();
		MUST(fd >= 0);
		MUST(!victim_start(v, fd));
		MUST(!syscall(SYS_setresuid, -1, NOBODY, 0));
		MUST(closed_file(v->info));
		MUST(ums_open() == -EBUSY);
		MUST(unchanged(v, 0) && unchanged(v, 1));
		MUST(!syscall(SYS_setresuid, -1, 0, -1));
		MUST(has_key(v->info, "cookie"));
		expect_owner(v->info, 0);
		MUST(unchanged(v, 0) && unchanged(v, 1));
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	EXPECT_UNHARMED(&self->v);
}

static void borrow_nobody(void)
{
	MUST(!syscall(SYS_setresgid, NOBODY, NOBODY, 0));
	MUST(!syscall(SYS_setresuid, NOBODY, NOBODY, 0));
}

static void become_root_again(void)
{
	MUST(!syscall(SYS_setresuid, 0, 0, 0));
	MUST(!syscall(SYS_setresgid, 0, 0, 0));
}

/*
 * Opened under the name of a user, by a process that is root afterwards: the user
 * sees what every process shows of itself, but no cookies.
 */
TEST_F(access, opener_that_becomes_root)
{
	struct other other;
	pid_t child;

	if (geteuid())
		SKIP(return, NO_ROOT);
	ASSERT_TRUE(other_start(&other, borrow_nobody, become_root_again));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char path[64];

		become_nobody();
		expect_owner(other.info, NOBODY);
		MUST(!has_key(other.info, "cookie"));
		/* It may not look into it otherwise, either. */
		snprintf(path, sizeof(path), "/proc/%d/environ", other.pid);
		MUST(closed_file(path));
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	EXPECT_EQ(0, other_end(&other));
}

/* --- a set-uid program --- */

#define SETUID_MODE	"--as-setuid-program"

/*
 * What the set-uid program does: "FD WORKER TELL HEAR".  It has the descriptor
 * that an unprivileged user has left it, and UMS for itself.
 */
static void setuid_program(char **argv)
{
	struct victim v = {
		.clist = 1, .ids = { atoi(argv[1]), atoi(argv[1]) },
	};
	int old = atoi(argv[0]), tell = atoi(argv[2]), hear = atoi(argv[3]);
	struct ums_worker worker = { .granted = LOTS, .cookie = COOKIE };
	pid_t tid;
	char byte;
	int fd;

	MUST(getuid() == NOBODY && !geteuid());
	find_descriptor_useless(old, &v);
	/* Nothing of the life before is left to be obeyed, or seen. */
	fd = ums_open();
	MUST(fd >= 0);
	MUST(ums_exit(fd) == -ESRCH);
	MUST(ums_count_entries(UMS_PROC) >= 1);
	find_descriptor_useless(old, &v);
	MUST(!ums_worker_start(&worker, fd, ums_create(fd), ums_work_return));
	tid = worker.tid;
	MUST(write(tell, &tid, sizeof(tid)) == sizeof(tid));
	MUST(!read(hear, &byte, 1));
	MUST(worker.stage == 0);
	_exit(0);
}

/* The test's own program, started again under another name and user. */
static void __attribute__((constructor)) maybe_setuid_program(int argc,
							      char **argv)
{
	if (argc == 6 && !strcmp(argv[1], SETUID_MODE))
		setuid_program(argv + 2);
}

/* Return: 0, or -errno when there can be no set-uid program on /tmp. */
static int make_setuid_program(const char *path)
{
	int from = open("/proc/self/exe", O_RDONLY);
	int to = open(path, O_WRONLY | O_CREAT | O_EXCL, 0755);
	char buf[65536];
	ssize_t len;

	if (from < 0 || to < 0)
		return -errno;
	while ((len = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, len) != len)
			return -errno;
	if (len || fchmod(to, 04755))
		return -errno;
	close(from);
	close(to);
	return 0;
}

static void exec_setuid(const char *path, bool enter, int tell, int hear)
{
	struct ums_worker worker = { .granted = LOTS, .cookie = COOKIE };
	char args[4][16];
	int fd, clist;

	become_nobody();
	fd = ums_open();
	MUST(fd >= 0);
	fcntl(fd, F_SETFD, 0);
	clist = ums_create(fd);
	MUST(!ums_worker_start(&worker, fd, clist, ums_work_return));
	if (enter)
		MUST(!ums_become_sched(fd, clist));
	sprintf(args[0], "%d", fd);
	sprintf(args[1], "%d", worker.tid);
	sprintf(args[2], "%d", tell);
	sprintf(args[3], "%d", hear);
	execl(path, path, SETUID_MODE, args[0], args[1], args[2], args[3],
	      NULL);
	MUST(!"execl");
}

FIXTURE(setuid) {
	char path[32];
};

FIXTURE_VARIANT(setuid) {
	bool enter;
};

/* Started by a plain thread, and by one that is a scheduler. */
FIXTURE_VARIANT_ADD(setuid, by_plain_thread) { false };
FIXTURE_VARIANT_ADD(setuid, by_scheduler) { true };

FIXTURE_SETUP(setuid)
{
	int fd = ums_open();

	if (ums_no_device(fd))
		SKIP(return, NO_DEVICE);
	if (geteuid())
		SKIP(return, NO_ROOT);
	ASSERT_LE(0, fd);
	close(fd);
	snprintf(self->path, sizeof(self->path), "/tmp/ums-setuid-%d",
		 getpid());
	ASSERT_EQ(0, make_setuid_program(self->path));
}

FIXTURE_TEARDOWN(setuid)
{
	unlink(self->path);
}

/* A set-uid program has nothing of its caller's UMS, nor the caller of its. */
TEST_F(setuid, program_starts_anew)
{
	char root[64], info[128];
	int down[2], up[2];
	pid_t child, looker, tid = 0;

	ASSERT_EQ(0, pipe(down));
	ASSERT_EQ(0, pipe(up));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(down[1]);
		close(up[0]);
		exec_setuid(self->path, variant->enter, up[1], down[0]);
	}
	close(down[0]);
	close(up[1]);
	ASSERT_EQ(sizeof(tid), read(up[0], &tid, sizeof(tid)));
	snprintf(root, sizeof(root), UMS_PROC "/%d", child);
	ums_worker_info(info, child, tid);
	EXPECT_EQ(tid, ums_info_number(info, "pid"));
	/* Nothing is left of the workers and schedulers before. */
	snprintf(info, sizeof(info), "%s/workers", root);
	EXPECT_EQ(1, ums_count_entries(info));
	snprintf(info, sizeof(info), "%s/schedulers", root);
	EXPECT_EQ(0, ums_count_entries(info));
	ums_worker_info(info, child, tid);

	looker = fork();
	ASSERT_LE(0, looker);
	if (!looker) {
		become_nobody();
		MUST(closed_dir(root));
		MUST(closed_file(info));
		_exit(0);
	}
	EXPECT_CHILD_OK(looker);
	close(down[1]);
	EXPECT_CHILD_OK(child);
}

TEST_HARNESS_MAIN
