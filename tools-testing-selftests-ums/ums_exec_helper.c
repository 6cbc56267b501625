// SPDX-License-Identifier: GPL-2.0
/*
 * What the lifetime and fork tests execve() into.
 *
 *	ums_exec_helper none		no descriptor was inherited
 *	ums_exec_helper FD		descriptor FD was, and is of no use here
 *
 * Either way this is a new program: it can open the device and schedule.  The
 * exit status says what went wrong, 0 for nothing.
 */
#include "ums_test.h"

static int inherited(int fd)
{
	struct ums_event event;

	if (ums_create(fd) != -EIO || ums_delete(fd, 1) != -EIO ||
	    ums_enter(fd, ENTER_UMS_SCHED, 1, 0) != -EIO ||
	    ums_enter(fd, ENTER_UMS_WORK, 1, 0) != -EIO ||
	    ums_dqevent(fd, &event) != -EIO || ums_dequeue(fd, 1) != -EIO ||
	    ums_next(fd, 1) != -EIO || ums_exec(fd, 1) != -EIO ||
	    ums_yield(fd, 0) != -EIO || ums_exit(fd) != -EIO)
		return 10;
	return 0;
}

static int schedule(void)
{
	struct ums_worker worker = { .value = 20 };
	struct ums_test_run run = {
		.workers = &worker, .nr_workers = 1, .live = 1,
	};
	int fd = ums_open();

	if (fd < 0)
		return 20;
	/* The thread has kept nothing of its life before. */
	if (ums_exit(fd) != -ESRCH || ums_yield(fd, 0) != -ESRCH)
		return 21;
	run.fd = fd;
	run.clist = ums_create(fd);
	if (ums_worker_start(&worker, fd, run.clist, ums_work_yield) ||
	    ums_become_sched(fd, run.clist) || ums_schedule(&run))
		return 22;
	if (run.yields != 20 || worker.used != 21 || *ums_notes())
		return 23;
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	int ret = 0;

	if (argc != 2)
		return 1;
	if (strcmp(argv[1], "none"))
		ret = inherited(atoi(argv[1]));
	/* Twice: the first one is closed again. */
	if (!ret)
		ret = schedule();
	if (!ret)
		ret = schedule();
	if (!ret && strcmp(argv[1], "none"))
		close(atoi(argv[1]));
	if (!ret && ums_exists(UMS_PROC "/%d", getpid()))
		ret = 30;
	return ret;
}
