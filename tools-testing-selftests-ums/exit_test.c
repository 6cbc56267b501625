// SPDX-License-Identifier: GPL-2.0
/* Processes that exit, are killed or execve() at random points. */
#include <sys/prctl.h>

#include "ums_fixture.h"

/* Hundreds of processes come and go, a second each on a slow debug kernel. */
#define ENDING_TEST	(2 * LONG_TEST)

enum end_kind {
	END_EXIT, END_WORKER_EXIT, END_SCHED_EXIT, END_KILL,
	END_EXEC, END_WORKER_EXEC, END_SCHED_EXEC,
};

/*
 * The test itself keeps the device open: the kernel switches preempt notifiers
 * on for the first user and off after the last, which takes its time.
 */
FIXTURE(ending) {
	int fd;
	int trees;
};

FIXTURE_VARIANT(ending) {
	enum end_kind kind;
	bool inherit;
	int loops;
	__u32 flags;		/* of the schedulers */
};

/*
 * A round is a process of five threads, and takes 20 ms and more.  Therefore the
 * variants of a kind share a thousand rounds.
 */
FIXTURE_VARIANT_ADD(ending, exit_group) { END_EXIT, false, 500, 0 };

FIXTURE_VARIANT_ADD(ending, exit_group_by_worker) {
	END_WORKER_EXIT, false, 250, 0,
};

FIXTURE_VARIANT_ADD(ending, exit_group_by_scheduler) {
	END_SCHED_EXIT, false, 250, 0,
};

FIXTURE_VARIANT_ADD(ending, kill) { END_KILL, false, 750, 0 };

FIXTURE_VARIANT_ADD(ending, execve) { END_EXEC, false, 170, 0 };

FIXTURE_VARIANT_ADD(ending, execve_by_worker) {
	END_WORKER_EXEC, false, 170, 0,
};

FIXTURE_VARIANT_ADD(ending, execve_by_scheduler) {
	END_SCHED_EXEC, false, 170, 0,
};

FIXTURE_VARIANT_ADD(ending, execve_inherit) { END_EXEC, true, 170, 0 };

FIXTURE_VARIANT_ADD(ending, execve_inherit_by_worker) {
	END_WORKER_EXEC, true, 170, 0,
};

FIXTURE_VARIANT_ADD(ending, execve_inherit_by_scheduler) {
	END_SCHED_EXEC, true, 170, 0,
};

FIXTURE_VARIANT_ADD(ending, exit_group_block_events) {
	END_EXIT, false, 250, ENTER_UMS_BLOCK_EVENTS,
};

FIXTURE_VARIANT_ADD(ending, exit_group_by_worker_block_events) {
	END_WORKER_EXIT, false, 250, ENTER_UMS_BLOCK_EVENTS,
};

FIXTURE_VARIANT_ADD(ending, kill_block_events) {
	END_KILL, false, 250, ENTER_UMS_BLOCK_EVENTS | ENTER_UMS_KEEP,
};

FIXTURE_VARIANT_ADD(ending, execve_block_events) {
	END_EXEC, false, 100, ENTER_UMS_BLOCK_EVENTS,
};

FIXTURE_SETUP(ending)
{
	SETUP_FD(return);
	self->trees = ums_count_entries(UMS_PROC);
}

FIXTURE_TEARDOWN(ending)
{
	close(self->fd);
}

static struct {
	enum end_kind kind;
	bool inherit;
	int fd;
	__u32 flags;
	long delay_us;
	char helper[PATH_MAX];
} ending;

static void end_now(void)
{
	char number[16];

	switch (ending.kind) {
	case END_EXIT:
	case END_WORKER_EXIT:
	case END_SCHED_EXIT:
		_exit(7);
	case END_KILL:
		kill(getpid(), SIGKILL);
		break;
	default:
		snprintf(number, sizeof(number), "%d", ending.fd);
		if (ending.inherit)
			fcntl(ending.fd, F_SETFD, 0);
		execl(ending.helper, ending.helper,
		      ending.inherit ? number : "none", NULL);
		_exit(errno);
	}
}

static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool time_is_up(long start)
{
	return now_us() - start > ending.delay_us;
}

static void yield_to_the_end(struct ums_worker *worker)
{
	long start = now_us();

	for (long i = 0;; i++) {
		if (ending.flags)
			ums_nap_us(i % 50);
		ums_yield(worker->fd, 0);
		if (worker->arg && time_is_up(start))
			end_now();
	}
}

static void schedule_to_the_end(int fd, int clist, bool end)
{
	struct ums_event event;
	long start = now_us();
	int context, next;

	for (;;) {
		context = ums_dequeue(fd, clist);
		while (context > 0) {
			next = ums_next(fd, context);
			/* With a slice now and then, where there are flags. */
			if (ending.flags)
				ums_run(fd, context, context % 2 * 30000,
					&event);
			else
				ums_run_once(fd, context, &event);
			context = next;
			if (end && time_is_up(start))
				end_now();
		}
	}
}

static void schedule_in_thread(struct ums_sched *sched)
{
	schedule_to_the_end(sched->fd, sched->clist,
			    ending.kind == END_SCHED_EXEC ||
			    ending.kind == END_SCHED_EXIT);
}

/* Two workers and two schedulers at full speed, and one worker on the side. */
static void live_and_end(unsigned int seed)
{
	static struct ums_worker workers[3];
	static struct ums_sched sched;
	int fd = ums_open(), clist, other;
	long start = now_us();

	if (fd < 0)
		_exit(100);
	clist = ums_create(fd);
	other = ums_create(fd);
	ending.fd = fd;
	ending.delay_us = rand_r(&seed) % 3000;
	sched = (struct ums_sched) {
		.fn = schedule_in_thread, .cpu = -1, .fd = fd, .clist = clist,
		.flags = ending.flags,
	};
	for (int i = 0; i < 2; i++) {
		if (ending.kind == END_WORKER_EXEC ||
		    ending.kind == END_WORKER_EXIT)
			workers[i].arg = &workers[i];
		if (ums_worker_create(&workers[i], fd, clist, yield_to_the_end))
			_exit(101);
	}
	if (ums_worker_create(&workers[2], fd, other, yield_to_the_end) ||
	    ums_sched_start(&sched))
		_exit(102);
	if (ending.kind == END_EXIT || ending.kind == END_KILL ||
	    ending.kind == END_EXEC) {
		while (!time_is_up(start))
			usleep(50);
		end_now();
	}
	if (ums_become_sched_with(fd, clist, ending.flags))
		_exit(103);
	schedule_to_the_end(fd, clist, false);
}

/* Fault caught: anything at all that stays, blocks the end or crashes. */
TEST_F_TIMEOUT(ending, at_random_points, ENDING_TEST)
{
	unsigned long loops = ums_loops(variant->loops);
	int status;

	ending.kind = variant->kind;
	ending.inherit = variant->inherit;
	ending.flags = variant->flags;
	ums_helper(ending.helper, "ums_exec_helper");
	ASSERT_EQ(0, access(ending.helper, X_OK));
	for (unsigned long i = 0; i < loops; i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			live_and_end(i + 1);
		}
		status = ums_wait_child(child);
		if (variant->kind == END_KILL) {
			ASSERT_TRUE(WIFSIGNALED(status));
			ASSERT_EQ(SIGKILL, WTERMSIG(status));
		} else {
			ASSERT_TRUE(WIFEXITED(status));
			ASSERT_EQ(variant->kind < END_KILL ? 7 : 0,
				  WEXITSTATUS(status));
		}
	}
	EXPECT_TRUE(WAIT_FOR(ums_count_entries(UMS_PROC) <= self->trees));
}

static void *keep_going(void *arg)
{
	struct ums_test_run *run = arg;
	int ret = ums_become_sched(run->fd, run->clist);

	ums_sleep_ms(QUIET_MS);
	if (!ret)
		ret = ums_schedule(run);
	/* The whole process ends with this. */
	_exit(ret || run->yields != 100);
}

/* The thread that opened the device ends; the process has it still. */
TEST(main_thread_ends_first)
{
	pid_t child;

	NEED_DEVICE(return);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		static struct ums_worker worker = { .value = 100 };
		static struct ums_test_run run = {
			.workers = &worker, .nr_workers = 1, .live = 1,
		};
		pthread_t thread;

		run.fd = ums_open();
		run.clist = ums_create(run.fd);
		if (ums_worker_start(&worker, run.fd, run.clist,
				     ums_work_yield) ||
		    pthread_create(&thread, NULL, keep_going, &run))
			_exit(100);
		syscall(SYS_exit, 0);
	}
	EXPECT_CHILD_OK(child);
}

TEST_HARNESS_MAIN
