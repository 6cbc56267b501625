// SPDX-License-Identifier: GPL-2.0
/* The last close, with everything in flight, and what is left of memory. */
#include <linux/futex.h>

#include "ums_fixture.h"

#define NR	4

FIXTURE(lifetime) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	pid_t got[NR];
};

FIXTURE_SETUP(lifetime)
{
	SETUP_CLIST(return);
	GRANT_LOTS();
}

FIXTURE_TEARDOWN(lifetime)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* A worker that the close sets free: its call ends well, and it is plain. */
static void go_on_as_plain(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++)
		CHECK_EQ(0, ums_yield(worker->fd, i));
	worker->stage = 1;
	while (worker->stage < 2)
		usleep(1000);
	CHECK_EQ(-EBADF, ums_exit(worker->fd));
	worker->stage = 3;
}

TEST_F(lifetime, close_frees_parked_workers)
{
	struct ums_event event;

	/* One queued at its entry, one at a yield, two dequeued likewise. */
	for (int i = 0; i < NR; i++)
		self->workers[i].value = i % 2;
	START(0, go_on_as_plain);
	START(1, go_on_as_plain);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 2));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(1), &event));
	ASSERT_EQ(TID(1), ums_dequeue(self->fd, self->clist));
	START(2, go_on_as_plain);
	START(3, go_on_as_plain);
	ASSERT_EQ(TID(2), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(3), &event));
	ASSERT_EQ(THREAD_YIELD, event.type);

	close(self->fd);
	for (int i = 0; i < NR; i++)
		EXPECT_TRUE(WAIT_FOR(self->workers[i].stage == 1));
	EXPECT_FALSE(ums_exists(UMS_PROC "/%d", getpid()));
	for (int i = 0; i < NR; i++) {
		EXPECT_EQ(0, GET(self->workers[i].entered));
		self->workers[i].stage = 2;
		EXPECT_EQ(0, pthread_join(self->workers[i].thread, NULL));
		EXPECT_EQ(3, GET(self->workers[i].stage));
	}
	/* This thread is plain too. */
	self->fd = ums_open();
	ASSERT_LE(0, self->fd);
	self->clist = ums_create(self->fd);
	EXPECT_EQ(-ESRCH, ums_exit(self->fd));
	EXPECT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_NO_NOTES();
}

/*
 * Invariant 7: schedulers that wait.
 */
FIXTURE(closed) {
	int fd;
	int clist;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(closed) {
	enum ums_wait_kind kind;
	bool dup;
};

FIXTURE_VARIANT_ADD(closed, during_dqevent) { WAIT_EVENT, false };
FIXTURE_VARIANT_ADD(closed, during_dequeue) { WAIT_LIST, false };
FIXTURE_VARIANT_ADD(closed, during_exec) { WAIT_WORKER, false };
FIXTURE_VARIANT_ADD(closed, during_dqevent_dup) { WAIT_EVENT, true };
FIXTURE_VARIANT_ADD(closed, during_dequeue_dup) { WAIT_LIST, true };
FIXTURE_VARIANT_ADD(closed, during_exec_dup) { WAIT_WORKER, true };

FIXTURE_SETUP(closed)
{
	SETUP_CLIST(return);
	self->workers[0].granted = LOTS;
}

FIXTURE_TEARDOWN(closed)
{
	if (self->fd >= 0)
		close(self->fd);
}

static void wait_for_close(struct ums_sched *sched)
{
	ums_wait_once(sched, *(enum ums_wait_kind *)sched->arg);
	CHECK_EQ(-EBADF, ums_exit(sched->fd));
}

TEST_F(closed, ends_wait)
{
	enum ums_wait_kind kind = variant->kind;
	struct ums_sched sched = {
		.fn = wait_for_close, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = &kind,
	};
	int copy = -1;

	if (kind == WAIT_WORKER)
		START(0, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1 && ums_is_parked(sched.tid)));
	if (kind == WAIT_WORKER)
		ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	if (variant->dup) {
		/* The first of two: nothing ends. */
		copy = dup(self->fd);
		ASSERT_LE(0, copy);
		close(self->fd);
		self->fd = copy;
		ums_sleep_ms(QUIET_MS);
		EXPECT_EQ(1, GET(sched.stage));
		EXPECT_LT(0, ums_create(copy));
		EXPECT_EQ(-EBUSY, ums_open());
	}
	close(self->fd);
	self->fd = -1;
	ASSERT_TRUE(WAIT_FOR(sched.stage == 2));
	EXPECT_EQ(-ENODEV, sched.ret);
	pthread_join(sched.thread, NULL);
	if (kind == WAIT_WORKER) {
		/* The worker runs on. */
		EXPECT_EQ(1, GET(self->workers[0].stage));
		self->workers[0].stage = 2;
		pthread_join(self->workers[0].thread, NULL);
	}
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", getpid())));
	EXPECT_NO_NOTES();
}

/* Faults caught: a child's close counts, or its copy keeps the parent's alive. */
TEST_F(lifetime, copies_of_other_processes_do_not_count)
{
	enum ums_wait_kind kind = WAIT_EVENT;
	struct ums_sched sched = {
		.fn = wait_for_close, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = &kind,
	};
	int pipes[2], old = self->fd;
	pid_t child;

	START(0, go_on_as_plain);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1 && ums_is_parked(sched.tid)));

	/* One closes its copy, one exits with it. */
	for (int i = 0; i < 2; i++) {
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			if (i)
				close(old);
			_exit(0);
		}
		EXPECT_CHILD_OK(child);
		ums_sleep_ms(QUIET_MS);
		EXPECT_EQ(1, GET(sched.stage));
		EXPECT_EQ(0, GET(self->workers[0].stage));
		EXPECT_EQ(-EBUSY, ums_open());
	}

	/* One keeps its copy while the parent closes. */
	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char byte;

		close(pipes[1]);
		(void)!read(pipes[0], &byte, 1);
		_exit(ums_create(old) != -EIO);
	}
	close(pipes[0]);
	close(old);
	ASSERT_TRUE(WAIT_FOR(sched.stage == 2));
	EXPECT_EQ(-ENODEV, sched.ret);
	pthread_join(sched.thread, NULL);
	EXPECT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	self->workers[0].stage = 2;
	pthread_join(self->workers[0].thread, NULL);
	self->fd = ums_open();
	ASSERT_LE(0, self->fd);
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	close(pipes[1]);
	EXPECT_CHILD_OK(child);
	/* The child's exit has not harmed the new instance. */
	EXPECT_EQ(0, ums_become_sched(self->fd, self->clist));
	EXPECT_TRUE(ums_exists(UMS_PROC "/%d/schedulers/%d", getpid(),
			       gettid()));
	EXPECT_NO_NOTES();
}

/*
 * The opener's own close counts, though the closing thread is itself in UMS and
 * a child has the descriptor still.
 */
TEST_F(lifetime, tree_goes_although_child_has_copy)
{
	int pipes[2], up[2], status;
	pid_t opener, pids[2];
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, pipe(up));
	opener = fork();
	ASSERT_LE(0, opener);
	if (!opener) {
		int fd;

		close(self->fd);
		close(pipes[1]);
		fd = ums_open();
		if (fd < 0 || ums_become_sched(fd, ums_create(fd)))
			_exit(1);
		pids[0] = getpid();
		pids[1] = fork();
		if (!pids[1]) {
			/* Holds the copy until the test is over. */
			(void)!read(pipes[0], &byte, 1);
			_exit(0);
		}
		if (write(up[1], pids, sizeof(pids)) != sizeof(pids))
			_exit(2);
		/* Once closed by its thread, once by its death. */
		close(fd);
		if (ums_exists(UMS_PROC "/%d", getpid()))
			_exit(3);
		fd = ums_open();
		if (fd < 0 || ums_become_sched(fd, ums_create(fd)))
			_exit(4);
		if (!fork()) {
			(void)!read(pipes[0], &byte, 1);
			_exit(0);
		}
		_exit(0);
	}
	close(pipes[0]);
	ASSERT_EQ(sizeof(pids), read(up[0], pids, sizeof(pids)));
	status = ums_wait_child(opener);
	EXPECT_EQ(0, status);
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", opener)));
	close(pipes[1]);
}

/*
 * A thread on its way out when the rest of its process is killed, and which is
 * the last to let go of the descriptors.  As many robust futexes as the kernel
 * looks at, and the lowest priority, make its way long.
 */
#define SLOW_EXIT_ROBUST	2048

static struct {
	struct robust_list_head head;
	struct robust_list futexes[SLOW_EXIT_ROBUST];
	int leaving[2];
} slow_exit;

static void *exit_slowly(void *arg)
{
	struct sched_param lowest = {};
	int i;

	for (i = 0; i < SLOW_EXIT_ROBUST - 1; i++)
		slow_exit.futexes[i].next = &slow_exit.futexes[i + 1];
	slow_exit.futexes[i].next = &slow_exit.head.list;
	slow_exit.head.list.next = &slow_exit.futexes[0];
	sched_setscheduler(0, SCHED_IDLE, &lowest);
	syscall(SYS_set_robust_list, &slow_exit.head, sizeof(slow_exit.head));
	/* The reader preempts it. */
	(void)!write(slow_exit.leaving[1], "", 1);
	syscall(SYS_exit, 0);
	return arg;
}

/* In a process of its own, whose child holds a copy of the descriptor. */
static void open_and_die_slowly(int hold, long delay_ns)
{
	struct timespec delay = { .tv_nsec = delay_ns };
	pthread_t thread;
	char byte;
	int fd;

	fd = ums_open();
	if (fd < 0 || ums_pin(0) || ums_become_sched(fd, ums_create(fd)))
		_exit(1);
	if (!fork()) {
		(void)!read(hold, &byte, 1);
		_exit(0);
	}
	if (pipe(slow_exit.leaving) ||
	    pthread_create(&thread, NULL, exit_slowly, NULL) ||
	    read(slow_exit.leaving[0], &byte, 1) != 1)
		_exit(2);
	nanosleep(&delay, NULL);
	_exit(0);
}

TEST_F_TIMEOUT(lifetime, tree_goes_although_killed_on_its_way_out, LONG_TEST)
{
	int loops = ums_loops(200);
	int hold[2], i;

	for (i = 0; i < loops; i++) {
		pid_t opener;

		ASSERT_EQ(0, pipe(hold));
		opener = fork();
		ASSERT_LE(0, opener);
		if (!opener) {
			close(self->fd);
			close(hold[1]);
			open_and_die_slowly(hold[0], i % 50 * 20000);
		}
		close(hold[0]);
		ASSERT_EQ(0, ums_wait_child(opener));
		ASSERT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", opener)));
		close(hold[1]);
	}
}

static void read_pipe(struct ums_worker *worker)
{
	char byte;

	worker->stage = 1;
	CHECK_EQ(1, read(worker->value, &byte, 1));
	worker->stage = 2;
}

static void exec_until_close(struct ums_sched *sched)
{
	CHECK_EQ(-ENODEV, ums_exec(sched->fd, ums_dequeue(sched->fd,
							  sched->clist)));
	sched->stage = 1;
}

/* A worker that sleeps in a call leaves when that is over, and only then. */
TEST_F(lifetime, worker_sleeps_through_close)
{
	struct ums_sched sched = {
		.fn = exec_until_close, .cpu = -1, .fd = self->fd,
		.clist = self->clist,
	};
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	self->workers[0].value = pipes[0];
	START(0, read_pipe);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1 &&
			     ums_is_parked(TID(0))));
	close(self->fd);
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1));
	pthread_join(sched.thread, NULL);
	EXPECT_EQ(-EBUSY, ums_open());
	EXPECT_EQ(1, GET(self->workers[0].stage));
	ASSERT_EQ(1, write(pipes[1], "x", 1));
	pthread_join(self->workers[0].thread, NULL);
	EXPECT_TRUE(WAIT_FOR((self->fd = ums_open()) >= 0));
	EXPECT_NO_NOTES();
}

struct own_table {
	int fd;
	int clist;
	atomic_int stage;
};

static void *keep_descriptor(void *arg)
{
	struct own_table *table = arg;

	CHECK_EQ(0, unshare(CLONE_FILES));
	table->stage = 1;
	while (table->stage != 2)
		usleep(1000);
	/* The process has it still, if only through this thread. */
	CHECK_EQ(0, ums_become_sched(table->fd, table->clist));
	CHECK_EQ(0, ums_exit(table->fd));
	CHECK_EQ(-EBUSY, ums_open());
	close(table->fd);
	table->stage = 3;
	return NULL;
}

TEST_F(lifetime, thread_with_own_descriptor_table)
{
	struct own_table table = { .fd = self->fd, .clist = self->clist };
	pthread_t thread;

	START(0, go_on_as_plain);
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_descriptor, &table));
	ASSERT_TRUE(WAIT_FOR(table.stage == 1));
	close(self->fd);
	self->fd = -1;
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(0, GET(self->workers[0].stage));
	table.stage = 2;
	pthread_join(thread, NULL);
	EXPECT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	self->workers[0].stage = 2;
	pthread_join(self->workers[0].thread, NULL);
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", getpid())));
	EXPECT_NO_NOTES();
}

TEST_F_TIMEOUT(lifetime, open_and_close, LONG_TEST)
{
	unsigned long loops = RACE_LOOPS;

	for (unsigned long i = 0; i < loops; i++) {
		close(self->fd);
		self->fd = ums_open();
		ASSERT_LE(0, self->fd);
		for (int j = 0; j < 3; j++)
			ASSERT_LT(0, ums_create(self->fd));
		if (i % 2)
			ASSERT_EQ(0, ums_enter(self->fd, ENTER_UMS_SCHED, 1,
					       0));
	}
}

/*
 * Close at random points of everything else, again and again.
 */
#define RACERS 3

struct close_race {
	struct ums_gate gate;
	unsigned long loops;
	int fd;
	int clist;
	__u32 flags;
	__u64 slice_ns;
	bool hand_over;
	atomic_int workers[RACERS - 1];
	/* What was under way, or had just been. */
	atomic_ulong yields;
	atomic_ulong blocks;
	atomic_ulong preempts;
	atomic_ulong switches;
};

/* What a call can give when the device goes away around it. */
static bool is_end(int ret)
{
	return ret == -EBADF || ret == -ENODEV || ret == -ESRCH;
}

static void race_as_worker(struct close_race *race, int me)
{
	int ret;

	race->workers[me] = gettid();
	ret = ums_enter(race->fd, ENTER_UMS_WORK, race->clist, 0);
	for (long i = me; !ret; i++) {
		if (race->flags)
			ums_nap_us(1);
		if (race->slice_ns)
			ums_spin_turns(i % 5000);
		if (race->hand_over && i % 3) {
			ret = ums_switch(race->fd, race->workers[!me]);
			race->switches += !ret;
			/* It is blocked, or on the list. */
			if (ret == -EBUSY)
				ret = 0;
		} else {
			ret = ums_yield(race->fd, 0);
			race->yields += !ret;
		}
	}
	CHECK_EQ(true, is_end(ret));
}

static void race_as_scheduler(struct close_race *race)
{
	struct ums_event event;
	int ret = ums_enter(race->fd, ENTER_UMS_SCHED, race->clist, 0);

	while (ret >= 0) {
		ret = ums_dqevent(race->fd, &event);
		if (!ret)
			ret = ums_dequeue(race->fd, race->clist);
		if (ret > 0)
			ret = ums_exec(race->fd, ret);
	}
	CHECK_EQ(true, is_end(ret));
}

/* The same with the newer calls: two workers, of which it owns what it can. */
static void race_as_newer_scheduler(struct close_race *race)
{
	int ret = ums_become_sched_with(race->fd, race->clist, race->flags);
	struct ums_ready ready[2];
	struct ums_event event;

	while (ret >= 0) {
		ret = ums_take(race->fd, race->clist, 0, 0, ready, 2);
		for (int i = 0, nr = ret; i < nr && ret >= 0; i++) {
			ret = ums_run(race->fd, ready[i].context,
				      race->slice_ns, &event);
			if (ret == -EBUSY) {
				/* It was handed over to, and has stopped. */
				ret = 0;
				continue;
			}
			if (ret)
				break;
			race->blocks += event.type == THREAD_BLOCKED;
			race->preempts += event.type == THREAD_PREEMPTED;
			/* Handed over: the other one has stopped already. */
			if (ums_event_context(&event) != ready[i].context)
				i--;
		}
	}
	CHECK_EQ(true, is_end(ret));
}

static void *close_racer(void *arg)
{
	struct close_race *race = arg;
	static atomic_int next;
	int me = next++;

	for (unsigned long i = 0; i < race->loops; i++) {
		ums_gate_pass(&race->gate, RACERS + 1, 2 * i);
		if (me)
			race_as_worker(race, me - 1);
		else if (race->flags || race->slice_ns || race->hand_over)
			race_as_newer_scheduler(race);
		else
			race_as_scheduler(race);
		ums_gate_pass(&race->gate, RACERS + 1, 2 * i + 1);
	}
	return NULL;
}

FIXTURE(close) {
	int fd;
};

FIXTURE_VARIANT(close) {
	__u32 flags;
	__u64 slice_ns;
	bool hand_over;
};

FIXTURE_VARIANT_ADD(close, classic) { 0, 0, false };
FIXTURE_VARIANT_ADD(close, block_events) { ENTER_UMS_BLOCK_EVENTS, 0, false };
FIXTURE_VARIANT_ADD(close, slices) { 0, 20000, false };
FIXTURE_VARIANT_ADD(close, hand_over) { 0, 0, true };
FIXTURE_VARIANT_ADD(close, everything) { ENTER_UMS_BLOCK_EVENTS, 20000, true };

FIXTURE_SETUP(close)
{
	SETUP_FD(return);
}

FIXTURE_TEARDOWN(close)
{
}

/* Waits for one of what the variant is about, for a while. */
static void await_progress(struct close_race *race, unsigned int round)
{
	atomic_ulong *const counts[] = {
		race->flags ? &race->blocks : NULL,
		race->slice_ns ? &race->preempts : NULL,
		race->hand_over ? &race->switches : NULL,
	};
	atomic_ulong *count = counts[round % 3] ?: &race->yields;
	unsigned long before = *count;
	long end = ums_now_ms() + 100;

	while (*count == before && ums_now_ms() < end)
		sched_yield();
}

TEST_F_TIMEOUT(close, race, LONG_TEST)
{
	struct close_race race = {
		.loops = RACE_LOOPS, .flags = variant->flags,
		.slice_ns = variant->slice_ns, .hand_over = variant->hand_over,
	};
	pthread_t threads[RACERS];
	unsigned int seed = 1;

	for (int i = 0; i < RACERS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, close_racer,
					    &race));
	for (unsigned long i = 0; i < race.loops; i++) {
		close(self->fd);
		ASSERT_TRUE(WAIT_FOR((self->fd = ums_open()) >= 0));
		race.fd = self->fd;
		race.clist = ums_create(self->fd);
		ASSERT_LT(0, race.clist);
		ums_gate_pass(&race.gate, RACERS + 1, 2 * i);
		if (i % 4)
			await_progress(&race, i / 4);
		ums_spin_us(rand_r(&seed) % (i % 4 ? 100 : 1000));
		close(self->fd);
		ums_gate_pass(&race.gate, RACERS + 1, 2 * i + 1);
		/* close() waits for all to leave, but not for ever. */
		ASSERT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", getpid())));
	}
	for (int i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	TH_LOG("%lu yields, %lu blocks, %lu preempted, %lu switches",
	       GET(race.yields), GET(race.blocks), GET(race.preempts),
	       GET(race.switches));
	/* The calls were under way, as a rule. */
	EXPECT_LT(race.loops / 50, GET(race.yields) + GET(race.switches));
	if (variant->flags)
		EXPECT_LT(race.loops / 50, GET(race.blocks));
	if (variant->slice_ns)
		EXPECT_LT(race.loops / 50, GET(race.preempts));
	if (variant->hand_over)
		EXPECT_LT(race.loops / 50, GET(race.switches));
	EXPECT_NO_NOTES();
}

/*
 * Memory.
 */

/* Fault caught: events of schedulers that left with them are never freed. */
TEST_F(lifetime, events_are_freed)
{
	pid_t child;

	if (geteuid())
		SKIP(return, NO_ROOT);
	if (ums_slab_objects("ums_event_node") < 0)
		SKIP(return, "needs CONFIG_SLUB_DEBUG");
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct ums_worker worker = { .granted = LOTS };
		int fd, clist;

		close(self->fd);
		fd = ums_open();
		clist = ums_create(fd);
		if (ums_worker_start(&worker, fd, clist,
				     ums_work_yield_forever) ||
		    ums_enter(fd, ENTER_UMS_SCHED, clist, 0))
			_exit(1);
		for (int i = 0; i < 500; i++)
			if (ums_exec(fd, ums_dequeue(fd, clist)))
				_exit(2);
		if (ums_slab_objects("ums_event_node") < 500)
			_exit(3);
		_exit(0);
	}
	EXPECT_CHILD_OK(child);
	close(self->fd);
	self->fd = -1;
	/* Zero, if nobody else uses UMS at this time. */
	EXPECT_TRUE(WAIT_FOR(ums_slab_objects("ums_event_node") == 0));
}

/* Invariant 10: what a process makes the kernel allocate is charged to it. */
TEST_F_TIMEOUT(lifetime, memory_is_charged, LONG_TEST)
{
	struct ums_group group;
	long before, more;

	SETUP_GROUP(return, &group, true);
	ASSERT_TRUE(ums_put("0", "%s/cgroup.procs", group.path));
	/* The numbers are brought up to date every two seconds. */
	ums_sleep_ms(2500);
	before = ums_number(group.path, "memory.stat", "slab");
	for (int i = 1; i < UMS_MAX_CLISTS; i++)
		ASSERT_LT(0, ums_create(self->fd));
	EXPECT_TRUE(WAIT_FOR((more = ums_number(group.path, "memory.stat",
						"slab") - before) >=
			     UMS_MAX_CLISTS * 64));
	TH_LOG("charged %ld bytes", more);
	EXPECT_TRUE(ums_group_remove(&group));
}

TEST_HARNESS_MAIN
