// SPDX-License-Identifier: GPL-2.0
/*
 * How much a process may have: lists, workers, events, memory.  Whoever wants too
 * much is refused or killed, and nobody else notices.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "ums_fixture.h"

FIXTURE(limits) {
	int fd;
	int clist;
};

FIXTURE_SETUP(limits)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(limits)
{
	close(self->fd);
}

/* One process has all the lists that it may, another one has as many. */
TEST_F(limits, lists_of_each_process)
{
	pid_t child;

	for (int i = 1; i < UMS_MAX_CLISTS; i++)
		ASSERT_LT(0, ums_create(self->fd));
	EXPECT_EQ(-ENOSPC, ums_create(self->fd));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd;

		close(self->fd);
		fd = ums_open();
		for (int i = 0; i < UMS_MAX_CLISTS; i++)
			MUST(ums_create(fd) > 0);
		MUST(ums_create(fd) == -ENOSPC);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	EXPECT_EQ(-ENOSPC, ums_create(self->fd));
	EXPECT_EQ(0, ums_delete(self->fd, self->clist));
	EXPECT_LT(0, ums_create(self->fd));
}

/*
 * Unread events are counted for each scheduler: one that has as many as it may is
 * refused another run, which its worker survives, and another scheduler is not.
 */
TEST_F(limits, events_of_each_scheduler)
{
	static struct ums_worker worker = { .granted = LOTS };
	struct ums_event event;
	int count = 0, ret;

	ASSERT_EQ(0, ums_worker_start(&worker, self->fd, self->clist,
				      ums_work_yield_forever));
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   ENTER_UMS_KEEP));
	ASSERT_EQ(worker.tid, ums_dequeue(self->fd, self->clist));
	while (!(ret = ums_exec(self->fd, worker.tid)))
		count++;
	EXPECT_EQ(-ENOMEM, ret);
	TH_LOG("%d unread events", count);
	EXPECT_EQ(-ENOMEM, ums_exec(self->fd, worker.tid));
	EXPECT_EQ(UMS_STATE_READY, ums_state(self->fd, worker.tid));
	/* One read makes room for one more. */
	ASSERT_EQ(0, ums_dqevent(self->fd, &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(0, ums_exec(self->fd, worker.tid));
	EXPECT_EQ(-ENOMEM, ums_exec(self->fd, worker.tid));
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(0, ums_dqevent(self->fd, &event));
		ASSERT_EQ(THREAD_YIELD, event.type);
		ASSERT_EQ(i + 1, event.yield_params.scheduler_params);
	}
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_NOTES();
}

/* Workers are threads, of which the user may have so many. */
TEST_F(limits, workers_by_rlimit_nproc)
{
	const struct rlimit limit = { 20, 20 };
	pid_t child;

	if (geteuid())
		SKIP(return, NO_ROOT);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		static struct ums_worker workers[40];
		struct ums_test_run run = { .workers = workers };
		struct ums_worker late = { .granted = LOTS };
		int ret, i;

		close(self->fd);
		ums_become_nobody();
		MUST(!setrlimit(RLIMIT_NPROC, &limit));
		run.fd = ums_open();
		MUST(run.fd >= 0);
		run.clist = ums_create(run.fd);
		for (i = 0; i < 40; i++) {
			workers[i].value = 3;
			ret = ums_worker_start(&workers[i], run.fd, run.clist,
					       ums_work_yield);
			if (ret)
				break;
		}
		MUST(ret == -EAGAIN);
		MUST(i > 0 && i < 20);
		run.nr_workers = i;
		run.live = i;
		MUST(!ums_become_sched(run.fd, run.clist));
		MUST(!ums_schedule(&run));
		MUST(run.yields == i * 3 && run.ends == i);
		for (int j = 0; j < i; j++)
			pthread_join(workers[j].thread, NULL);
		/* Those that have ended make room. */
		MUST(!ums_worker_start(&late, run.fd, ums_create(run.fd),
				       ums_work_return));
		MUST(!*ums_notes());
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
}

/* --- open files that others hold --- */

#define NR_HOARDED	100

/*
 * Fault caught: a process that gathers the descriptors of others, which have
 * ended, makes the kernel keep workqueues for each of them, and those are not
 * charged to anybody.
 */
TEST_F(limits, no_workqueues_for_hoarded_descriptors)
{
	int socks[2], hoard[NR_HOARDED], ret;
	long before;
	pid_t child;

	if (geteuid())
		SKIP(return, NO_ROOT);
	ret = socketpair(AF_UNIX, SOCK_STREAM, 0, socks);
	if (ret && errno == EAFNOSUPPORT)
		SKIP(return, NO_UNIX);
	ASSERT_EQ(0, ret);
	/* Some are only kept for the next one, until told otherwise. */
	before = ums_slab_objects("pool_workqueue");
	if (before < 0 || !ums_exists("/sys/kernel/slab/pool_workqueue/shrink"))
		SKIP(return, "needs CONFIG_SLUB_DEBUG, and slab_nomerge");
	for (int i = 0; i < NR_HOARDED; i++) {
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			struct ums_worker worker = { .granted = LOTS };
			int fd;

			close(self->fd);
			fd = ums_open();
			MUST(fd >= 0);
			/* Half of them have a thread in UMS. */
			if (i % 2)
				MUST(!ums_worker_start(&worker, fd,
						       ums_create(fd),
						       ums_work_return));
			MUST(!ums_send_fds(socks[1], &fd, 1));
			_exit(0);
		}
		ASSERT_EQ(0, ums_receive_fds(socks[0], &hoard[i], 1));
		EXPECT_CHILD_OK(child);
	}
	/* Others may have made some meanwhile. */
	EXPECT_TRUE(WAIT_FOR(ums_slab_objects("pool_workqueue") <
			     before + NR_HOARDED / 10));
	TH_LOG("pool_workqueue: %ld, then %ld", before,
	       ums_slab_objects("pool_workqueue"));
	EXPECT_EQ(-EIO, ums_create(hoard[0]));
	for (int i = 0; i < NR_HOARDED; i++)
		close(hoard[i]);
}

/* --- memory --- */

FIXTURE(memory) {
	int fd;
	int clist;
	struct ums_group group;
};

/*
 * Of kernel objects that are charged.  Brought up to date every two seconds, by a
 * timer that waits for an idle processor to have something else to do.
 */
static long charged(const char *group)
{
	cpu_set_t mine;

	ums_sleep_ms(2100);
	MUST(!sched_getaffinity(0, sizeof(mine), &mine));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &mine))
			continue;
		MUST(!ums_pin(cpu));
		ums_spin_us(20000);
	}
	MUST(!sched_setaffinity(0, sizeof(mine), &mine));
	/* The timer only starts it. */
	ums_sleep_ms(100);
	return ums_number(group, "memory.stat", "slab");
}

FIXTURE_SETUP(memory)
{
	SETUP_CLIST(return);
	SETUP_GROUP(return, &self->group, true);
}

FIXTURE_TEARDOWN(memory)
{
	close(self->fd);
	EXPECT_TRUE(WAIT_FOR(ums_group_remove(&self->group)));
}

#define NR_CHARGED	200
/* What a worker costs at least, and an event. */
#define WORKER_BYTES	1000
#define EVENT_BYTES	64

static pthread_barrier_t threads_are_there;
static atomic_int may_enter;

static void *enter_when_told(void *arg)
{
	struct ums_worker *worker = arg;

	worker->tid = gettid();
	pthread_barrier_wait(&threads_are_there);
	while (!may_enter)
		usleep(1000);
	CHECK_EQ(0, ums_enter(worker->fd, ENTER_UMS_WORK, worker->clist, 0));
	return NULL;
}

/* Beyond what the same threads cost without UMS. */
TEST_F_TIMEOUT(memory, of_workers_is_charged, LONG_TEST)
{
	long before, more;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		static struct ums_worker workers[NR_CHARGED];
		int fd, clist;

		close(self->fd);
		MUST(ums_put("0", "%s/cgroup.procs", self->group.path));
		fd = ums_open();
		clist = ums_create(fd);
		MUST(!pthread_barrier_init(&threads_are_there, NULL,
					   NR_CHARGED + 1));
		for (int i = 0; i < NR_CHARGED; i++) {
			workers[i].fd = fd;
			workers[i].clist = clist;
			MUST(!pthread_create(&workers[i].thread, NULL,
					     enter_when_told, &workers[i]));
		}
		pthread_barrier_wait(&threads_are_there);
		before = charged(self->group.path);
		may_enter = 1;
		for (int i = 0; i < NR_CHARGED; i++)
			MUST(WAIT_FOR(ums_state(fd, workers[i].tid) ==
				      UMS_STATE_READY));
		MUST(WAIT_FOR((more = charged(self->group.path) - before) >=
			      NR_CHARGED * WORKER_BYTES));
		fprintf(stderr, "# %ld bytes for each worker\n",
			more / NR_CHARGED);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
}

TEST_F_TIMEOUT(memory, of_events_is_charged, LONG_TEST)
{
	long before, more;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct ums_worker worker = { .granted = LOTS };
		int fd, clist, count = 0;

		close(self->fd);
		MUST(ums_put("0", "%s/cgroup.procs", self->group.path));
		fd = ums_open();
		clist = ums_create(fd);
		MUST(!ums_worker_start(&worker, fd, clist,
				       ums_work_yield_forever));
		MUST(!ums_become_sched_with(fd, clist, ENTER_UMS_KEEP));
		MUST(ums_dequeue(fd, clist) == worker.tid);
		before = charged(self->group.path);
		while (!ums_exec(fd, worker.tid))
			count++;
		MUST(WAIT_FOR((more = charged(self->group.path) - before) >=
			      count * EVENT_BYTES));
		fprintf(stderr, "# %ld bytes for each of %d events\n",
			more / count, count);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
}

/* A process whose threads are in UMS and do what they are told. */
struct bystander {
	struct ums_test_run run;
	struct ums_worker workers[2];
};

static bool serves(struct bystander *b, int fd)
{
	b->run = (struct ums_test_run) {
		.fd = fd, .clist = ums_create(fd), .workers = b->workers,
		.nr_workers = 2, .live = 2,
	};
	memset(b->workers, 0, sizeof(b->workers));
	for (int i = 0; i < 2; i++) {
		b->workers[i].value = 100;
		if (ums_worker_start(&b->workers[i], fd, b->run.clist,
				     ums_work_yield))
			return false;
	}
	if (ums_become_sched(fd, b->run.clist) || ums_schedule(&b->run) ||
	    ums_exit(fd))
		return false;
	for (int i = 0; i < 2; i++)
		pthread_join(b->workers[i].thread, NULL);
	return b->run.yields == 200 && b->run.ends == 2;
}

/*
 * Lists and workers without end, in a group with little memory: the process is
 * refused, or killed, and nobody else.  What it had is given back.
 */
TEST_F_TIMEOUT(memory, endless_use_ends_its_process_only, LONG_TEST)
{
	long killed = ums_number("/proc", "vmstat", "oom_kill");
	struct bystander bystander;
	int status;
	pid_t child;

	ASSERT_TRUE(ums_put("16777216", "%s/memory.max", self->group.path));
	(void)ums_put("0", "%s/memory.swap.max", self->group.path);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct ums_worker *worker;
		int fd, clist, last = 0;

		close(self->fd);
		MUST(ums_put("0", "%s/cgroup.procs", self->group.path));
		fd = ums_open();
		clist = ums_create(fd);
		for (;;) {
			/* Refused is what it may be; it does not give up. */
			clist = ums_create(fd);
			last = clist > 0 ? clist : last;
			worker = calloc(1, sizeof(*worker));
			MUST(worker);
			worker->granted = LOTS;
			(void)ums_worker_create(worker, fd, last,
						ums_work_return);
			memset(malloc(4096), 1, 4096);
		}
	}
	/* Meanwhile, and after. */
	EXPECT_TRUE(serves(&bystander, self->fd));
	status = ums_wait_child(child);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	EXPECT_TRUE(serves(&bystander, self->fd));
	EXPECT_LT(0, ums_number(self->group.path, "memory.events", "oom_kill"));
	/* With CONFIG_VM_EVENT_COUNTERS: those were all. */
	if (killed >= 0)
		EXPECT_EQ(killed + ums_number(self->group.path,
					      "memory.events", "oom_kill"),
			  ums_number("/proc", "vmstat", "oom_kill"));
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", child)));
	EXPECT_TRUE(WAIT_FOR(ums_number(self->group.path, "memory.current",
					"") < 4 * 1024 * 1024));
	TH_LOG("%ld bytes left",
	       ums_number(self->group.path, "memory.current", ""));
	EXPECT_NO_NOTES();
}

struct refused {
	int fd;
	int clist;
	atomic_int ret;
};

static void *enter_once(void *arg)
{
	struct refused *r = arg;

	while (r->ret != 2)
		;
	r->ret = ums_enter(r->fd, ENTER_UMS_WORK, r->clist, 0);
	/* What a thread has when it ends would be memory for others. */
	while (r->ret != 3)
		;
	return NULL;
}

static void next_stage(atomic_int *stage, int from)
{
	*stage = from;
	while (*stage == from)
		;
}

/* In a group that gets no memory between two stages. */
static void be_refused(const char *group, atomic_int *stage)
{
	int ids[UMS_MAX_CLISTS] = {}, count = 0, refusals = 0, ret;
	struct refused r = { .ret = 1 };
	struct ums_event event;
	pthread_t thread;

	MUST(ums_put("-1000", "/proc/self/oom_score_adj"));
	MUST(ums_put("0", "%s/cgroup.procs", group));
	r.fd = ums_open();
	r.clist = ums_create(r.fd);
	MUST(!pthread_create(&thread, NULL, enter_once, &r));
	MUST(!mlockall(MCL_CURRENT));
	next_stage(stage, 1);

	/* Until the crumbs of what it has are used up. */
	while (count < UMS_MAX_CLISTS && refusals < 5) {
		ret = ums_create(r.fd);
		if (ret < 0) {
			MUST(ret == -ENOMEM);
			refusals++;
			continue;
		}
		ids[count++] = ret;
		refusals = 0;
	}
	MUST(refusals == 5);
	r.ret = 2;
	while (r.ret == 2)
		;
	MUST(r.ret == -ENOMEM);
	MUST(ums_enter_sched(r.fd, r.clist, 0) == -ENOMEM);
	/* Nothing was entered, or counted. */
	MUST(ums_exit(r.fd) == -ESRCH);
	MUST(!ums_delete(r.fd, r.clist));
	for (int i = 0; i < count; i++)
		MUST(!ums_delete(r.fd, ids[i]));

	r.ret = 3;
	MUST(!pthread_join(thread, NULL));
	next_stage(stage, 3);
	r.clist = ums_create(r.fd);
	MUST(r.clist > 0);
	MUST(!ums_enter_sched(r.fd, r.clist, 0));
	MUST(!ums_dqevent(r.fd, &event));
	MUST(event.type == SCHEDULER_STARTUP);
}

/*
 * A process that must not be killed gets ENOMEM from the calls themselves, which
 * have done nothing then, and goes on when there is memory again.
 */
TEST_F_TIMEOUT(memory, refused_memory_changes_nothing, LONG_TEST)
{
	atomic_int *stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;

	ASSERT_NE(MAP_FAILED, stage);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(self->fd);
		be_refused(self->group.path, stage);
		_exit(0);
	}
	EXPECT_TRUE(WAIT_FOR(*stage == 1));
	EXPECT_TRUE(ums_put("0", "%s/memory.max", self->group.path));
	*stage = 2;
	EXPECT_TRUE(WAIT_FOR(*stage == 3));
	EXPECT_TRUE(ums_put("max", "%s/memory.max", self->group.path));
	*stage = 4;
	EXPECT_CHILD_OK(child);
	EXPECT_LT(0, ums_number(self->group.path, "memory.events", "max"));
	EXPECT_EQ(0, ums_number(self->group.path, "memory.events", "oom_kill"));
}

TEST_HARNESS_MAIN
