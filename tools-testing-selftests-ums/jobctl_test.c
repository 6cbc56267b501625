// SPDX-License-Identifier: GPL-2.0
/*
 * Job control, debuggers and the freezer, which stop threads whatever they do:
 * workers that are parked stay so, and nothing is lost, doubled or run early.
 */
#include <dirent.h>
#include <sys/prctl.h>

#include "ums_fixture.h"

#define NR	4

FIXTURE(jobctl) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	struct ums_test_run run;
	struct ums_storm storm;
};

FIXTURE_SETUP(jobctl)
{
	SETUP_CLIST(return);
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = NR, .live = NR,
	};
}

FIXTURE_TEARDOWN(jobctl)
{
	close(self->fd);
}

TEST_F(jobctl, stop_does_not_wake_parked_workers)
{
	pid_t child;

	for (int i = 0; i < NR; i++)
		START(i, ums_work_return);
	child = ums_stop_and_continue(20, 10000);
	ASSERT_LT(0, child);
	EXPECT_CHILD_OK(child);
	ums_sleep_ms(QUIET_MS);
	for (int i = 0; i < NR; i++) {
		EXPECT_EQ(1, GET(self->workers[i].entered));
		EXPECT_TRUE(WAIT_FOR(ums_is_parked(TID(i))));
	}
	/* All of them work. */
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

/*
 * A storm on switching workers.  Faults caught: a yield is lost or made twice,
 * a worker goes on without being executed, a scheduler is never woken.
 */
TEST_F_TIMEOUT(jobctl, stop_and_continue_storm, LONG_TEST)
{
	pid_t child;

	ASSERT_EQ(0, ums_storm_start(&self->storm, self->fd, self->clist));
	child = ums_stop_and_continue(RACE_LOOPS, 1500);
	ASSERT_LT(0, child);
	EXPECT_CHILD_OK(child);
	EXPECT_CALM(&self->storm);
}

/*
 * Debuggers.
 */
static int list_threads(pid_t pid, pid_t *tids, int max)
{
	char path[64];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) && count < max)
		if (atoi(entry->d_name))
			tids[count++] = atoi(entry->d_name);
	if (dir)
		closedir(dir);
	return count;
}

static void attach_and_detach(const pid_t *tids, int count, int round)
{
	for (int i = 0; i < count; i++)
		TRACE(ptrace(PTRACE_ATTACH, tids[i], 0, 0));
	for (int i = 0; i < count; i++)
		ums_wait_for_stop(tids[i]);
	if (round % 2)
		usleep(round % 7 * 100);
	for (int i = 0; i < count; i++)
		TRACE(ptrace(PTRACE_DETACH, tids[i], 0, 0));
}

static void seize_and_interrupt(const pid_t *tids, int count, int round)
{
	for (int i = 0; i < count; i++) {
		TRACE(ptrace(PTRACE_SEIZE, tids[i], 0, 0));
		TRACE(ptrace(PTRACE_INTERRUPT, tids[i], 0, 0));
		ums_wait_for_stop(tids[i]);
		if (round % 3 == 0) {
			/* Let it go and hold it once more. */
			TRACE(ptrace(PTRACE_CONT, tids[i], 0, 0));
			TRACE(ptrace(PTRACE_INTERRUPT, tids[i], 0, 0));
			ums_wait_for_stop(tids[i]);
		}
		if (round % 2)
			usleep(round % 7 * 50);
		TRACE(ptrace(PTRACE_DETACH, tids[i], 0, 0));
	}
}

/* As strace -f does it: every system call of every thread, for a while. */
static void trace_calls(const pid_t *tids, int count, int round)
{
	int status, stops = 400;

	for (int i = 0; i < count; i++) {
		TRACE(ptrace(PTRACE_SEIZE, tids[i], 0,
			     PTRACE_O_TRACESYSGOOD));
		TRACE(ptrace(PTRACE_INTERRUPT, tids[i], 0, 0));
	}
	while (stops--) {
		pid_t tid = waitpid(-1, &status, __WALL);

		TRACE(tid);
		if (!WIFSTOPPED(status))
			_exit(202);
		TRACE(ptrace(PTRACE_SYSCALL, tid, 0, 0));
	}
	for (int i = 0; i < count; i++) {
		TRACE(ptrace(PTRACE_INTERRUPT, tids[i], 0, 0));
		ums_wait_for_stop(tids[i]);
		TRACE(ptrace(PTRACE_DETACH, tids[i], 0, 0));
	}
}

FIXTURE(debugger) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	struct ums_test_run run;
	struct ums_storm storm;
};

FIXTURE_VARIANT(debugger) {
	void (*look)(const pid_t *tids, int count, int round);
	int rounds;
	__u32 flags;
};

/*
 * A round stops seven threads, each once at least, and takes 20 to 100 ms with
 * block events and hundreds of stops: the variants share a thousand of them.
 */
FIXTURE_VARIANT_ADD(debugger, attach) { attach_and_detach, 300, 0 };
FIXTURE_VARIANT_ADD(debugger, seize) { seize_and_interrupt, 300, 0 };
FIXTURE_VARIANT_ADD(debugger, system_calls) { trace_calls, 30, 0 };

FIXTURE_VARIANT_ADD(debugger, attach_block_events) {
	attach_and_detach, 100, ENTER_UMS_BLOCK_EVENTS,
};

FIXTURE_VARIANT_ADD(debugger, seize_block_events) {
	seize_and_interrupt, 100, ENTER_UMS_BLOCK_EVENTS,
};

FIXTURE_VARIANT_ADD(debugger, system_calls_block_events) {
	trace_calls, 20, ENTER_UMS_BLOCK_EVENTS,
};

FIXTURE_SETUP(debugger)
{
	SETUP_CLIST(return);
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = NR, .live = NR,
	};
}

FIXTURE_TEARDOWN(debugger)
{
	close(self->fd);
}

TEST_F_TIMEOUT(debugger, storm, LONG_TEST)
{
	pid_t child, parent = getpid(), tids[32];
	int rounds = ums_loops(variant->rounds);

	ASSERT_EQ(0, ums_storm_start_with(&self->storm, self->fd, self->clist,
					  variant->flags, 0));
	child = ums_fork_tracer();
	ASSERT_LE(0, child);
	if (!child) {
		/* Seven threads, main among them. */
		int count = list_threads(parent, tids, 32);

		if (count != UMS_STORM_THREADS + 1)
			_exit(203);
		for (int i = 0; i < rounds; i++)
			variant->look(tids, count, i);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	EXPECT_CALM(&self->storm);
}

/* On workers that are all parked and stay so. */
TEST_F(debugger, parked_workers)
{
	pid_t child, tids[NR];

	if (variant->look == trace_calls)
		SKIP(return, "parked workers make no system calls");
	for (int i = 0; i < NR; i++) {
		START(i, ums_work_return);
		tids[i] = self->workers[i].tid;
	}
	child = ums_fork_tracer();
	ASSERT_LE(0, child);
	if (!child) {
		for (int i = 0; i < 50; i++)
			variant->look(tids, NR, i);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	ums_sleep_ms(QUIET_MS);
	for (int i = 0; i < NR; i++)
		EXPECT_EQ(1, GET(self->workers[i].entered));
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist,
					   variant->flags));
	EXPECT_EQ(0, ums_schedule(&self->run));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

/*
 * A debugger steps a parked worker: no instruction runs before the worker is
 * executed, and then one at a time.
 */
static void step(pid_t tid, int tell)
{
	int status;

	TRACE(ptrace(PTRACE_SEIZE, tid, 0, 0));
	TRACE(ptrace(PTRACE_INTERRUPT, tid, 0, 0));
	ums_wait_for_stop(tid);
	TRACE(ptrace(PTRACE_SINGLESTEP, tid, 0, 0));
	ums_sleep_ms(QUIET_MS);
	if (waitpid(tid, &status, __WALL | WNOHANG))
		_exit(204);
	if (write(tell, "x", 1) != 1)
		_exit(205);
	for (int i = 0; i < 50; i++) {
		TRACE(waitpid(tid, &status, __WALL));
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
			_exit(206);
		TRACE(ptrace(PTRACE_SINGLESTEP, tid, 0, 0));
	}
	ums_wait_for_stop(tid);
	TRACE(ptrace(PTRACE_DETACH, tid, 0, 0));
	_exit(0);
}

static void spin_a_little(struct ums_worker *worker)
{
	ums_spin_us(100);
	ums_worker_yield(worker, 5);
}

TEST_F(jobctl, single_steps_of_parked_worker)
{
	struct ums_event event;
	int pipes[2];
	pid_t child;
	char byte;

	self->workers[0].granted = LOTS;
	START(0, spin_a_little);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, pipe(pipes));
	child = ums_fork_tracer();
	ASSERT_LE(0, child);
	if (!child)
		step(self->workers[0].tid, pipes[1]);
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	EXPECT_EQ(1, GET(self->workers[0].entered));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(5, event.yield_params.scheduler_params);
	EXPECT_CHILD_OK(child);
	EXPECT_NO_NOTES();
}

/*
 * The cgroup freezer.
 */
FIXTURE(freezer) {
	int fd;
	int clist;
	struct ums_worker workers[1];
	struct ums_storm storm;
	struct ums_group group;
};

FIXTURE_SETUP(freezer)
{
	SETUP_CLIST(return);
	SETUP_GROUP(return, &self->group, false);
	ASSERT_TRUE(ums_put("0", "%s/cgroup.procs", self->group.path));
}

FIXTURE_TEARDOWN(freezer)
{
	EXPECT_TRUE(ums_group_remove(&self->group));
	close(self->fd);
}

/* In a child, as it must not freeze itself. */
static pid_t fork_out_of(struct ums_group *g)
{
	pid_t child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!ums_put("0", "%s/cgroup.procs", g->root))
		_exit(1);
	return 0;
}

static pid_t freeze_and_thaw(struct ums_group *g, int pairs)
{
	pid_t child = fork_out_of(g);

	if (child)
		return child;
	for (int i = 0; i < pairs; i++) {
		usleep(i % 11 * 200);
		if (!ums_put("1", "%s/cgroup.freeze", g->path))
			_exit(2);
		usleep(i % 7 * 300);
		if (!ums_put("0", "%s/cgroup.freeze", g->path))
			_exit(3);
	}
	_exit(0);
}

TEST_F_TIMEOUT(freezer, storm, LONG_TEST)
{
	pid_t child;

	ASSERT_EQ(0, ums_storm_start(&self->storm, self->fd, self->clist));
	child = freeze_and_thaw(&self->group, RACE_LOOPS);
	ASSERT_LT(0, child);
	EXPECT_CHILD_OK(child);
	EXPECT_CALM(&self->storm);
	EXPECT_NO_NOTES();
}

static pid_t freeze_once(struct ums_group *g)
{
	pid_t child = fork_out_of(g);

	if (child)
		return child;
	if (!ums_put("1", "%s/cgroup.freeze", g->path))
		_exit(2);
	if (!WAIT_FOR(ums_number(g->path, "cgroup.events", "frozen") == 1))
		_exit(3);
	if (!ums_put("0", "%s/cgroup.freeze", g->path))
		_exit(4);
	_exit(0);
}

/* Dequeues the only worker and runs it until it is preempted: returns 0. */
static int run_for_slice(int fd, int clist, pid_t tid)
{
	struct ums_event event;
	int ret;

	if (ums_dequeue(fd, clist) != tid)
		return -ESRCH;
	ret = ums_run(fd, tid, 1000000, &event);
	return ret ?: event.type == THREAD_PREEMPTED ? 0 : -EPROTO;
}

/*
 * The worker parks on its way out of the freezer, where the kernel takes it for
 * one that has a signal.  Fault caught: the next signal lets it run.
 */
TEST_F_TIMEOUT(freezer, signal_after_thaw, LONG_TEST)
{
	int loops = ums_loops(200), early = 0;
	struct ums_event event;
	pid_t child;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	self->workers[0].granted = LOTS;
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < loops; i++) {
		ASSERT_EQ(0, run_for_slice(self->fd, self->clist, TID(0)));
		ASSERT_EQ(i, GET(ums_caught[SIGUSR1]));
		child = freeze_once(&self->group);
		ASSERT_LT(0, child);
		ASSERT_EQ(0, ums_wait_child(child));
		usleep(1000);
		ASSERT_TRUE(WAIT_FOR(ums_is_parked(TID(0))));
		ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
		usleep(1000);
		early += ums_caught[SIGUSR1] != i;
		for (int j = 0; j < 100 && ums_caught[SIGUSR1] == i; j++)
			ASSERT_EQ(0, run_for_slice(self->fd, self->clist,
						   TID(0)));
		ASSERT_EQ(i + 1, GET(ums_caught[SIGUSR1]));
	}
	EXPECT_EQ(0, early);

	self->workers[0].stage = 2;
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run(self->fd, TID(0), 0, &event));
	ASSERT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
