// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * Workers.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <linux/ums.h>

#include "internal.h"

ASSERT_SAME(UMS_THREAD_RUNNING, UMS_STATE_RUNNING);
ASSERT_SAME(UMS_THREAD_READY, UMS_STATE_READY);
ASSERT_SAME(UMS_THREAD_BLOCKED, UMS_STATE_BLOCKED);

/* What the creator hands to the new thread, which frees it. */
struct start {
	void *(*routine)(void *arg);
	void *arg;
	uint64_t cookie;
	struct libums_list *list;
};

/*
 * Returns when the worker was executed for the first time.
 *
 * Nobody waits for this thread to arrive: an ENTER that succeeds does not
 * return to tell of it, so all that could be waited for is failure.  What could
 * fail is settled beforehand instead.  The list exists, as libums_list_get()
 * saw to; a new thread is neither scheduler nor worker; that leaves ENOMEM,
 * which passes.
 */
static int enter(const struct start *start)
{
	struct ums_enter enter = {
		.mode = ENTER_UMS_WORK,
		.clist = start->list->id,
		.cookie = start->cookie,
	};
	struct timespec ms = { .tv_nsec = 1000000 };

	while (libums_ioctl(IOCTL_ENTER_UMS, (unsigned long)&enter)) {
		if (errno != ENOMEM)
			return -1;
		nanosleep(&ms, NULL);
	}
	return 0;
}

/*
 * Dying would do as well, but is noticed a little after pthread_join(): after
 * this, a list is free to be deleted as soon as its workers were joined.
 */
static void leave(void *unused)
{
	(void)unused;
	libums_ioctl(IOCTL_EXIT_UMS, 0);
}

static void *worker_main(void *arg)
{
	struct start start = *(struct start *)arg;
	void *ret;
	int err;

	free(arg);

	/* Cancelled or not, the worker comes to its list. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	err = enter(&start);
	libums_list_put(start.list);
	if (err)
		return PTHREAD_CANCELED;

	pthread_cleanup_push(leave, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	ret = start.routine(start.arg);
	pthread_cleanup_pop(1);
	return ret;
}

int ums_pthread_create_cookie(pthread_t *thread, ums_attr_t *attr,
			      void *(*start_routine)(void *), void *arg,
			      uint64_t cookie)
{
	struct start *start;

	if (!thread || !attr) {
		errno = EFAULT;
		return -1;
	}
	if (!start_routine) {
		errno = EINVAL;
		return -1;
	}

	start = malloc(sizeof(*start));
	if (!start)
		return -1;
	start->routine = start_routine;
	start->arg = arg;
	start->cookie = cookie;
	start->list = libums_list_get(attr->completion_list);
	if (!start->list)
		goto err_free;

	errno = pthread_create(thread, attr->pthread_attr, worker_main, start);
	if (errno)
		goto err_put;
	return 0;

err_put:
	libums_list_put(start->list);
err_free:
	free(start);
	return -1;
}

int ums_pthread_create(pthread_t *thread, ums_attr_t *attr,
		       void *(*start_routine)(void *), void *arg)
{
	return ums_pthread_create_cookie(thread, attr, start_routine, arg, 0);
}

int ums_thread_yield(void *scheduler_param)
{
	return libums_ioctl(IOCTL_UMS_YIELD, (unsigned long)scheduler_param);
}

int switch_to_ums_thread(ums_context_t context)
{
	return libums_ioctl(IOCTL_UMS_SWITCH, context);
}

int preempt_ums_thread(ums_context_t context)
{
	return libums_ioctl(IOCTL_UMS_PREEMPT, context);
}

int query_ums_thread(ums_context_t context, ums_thread_info_t *info)
{
	struct ums_query query = { .context = context };

	if (!info) {
		errno = EFAULT;
		return -1;
	}
	if (libums_ioctl(IOCTL_UMS_QUERY, (unsigned long)&query))
		return -1;
	*info = (ums_thread_info_t) {
		.state = query.state,
		.why = query.why,
		.completion_list = query.clist,
		.scheduler = query.scheduler,
		.cookie = query.cookie,
		.switches = query.switches,
		.yields = query.yields,
		.handovers = query.handovers,
		.preemptions = query.preemptions,
		.blocks = query.blocks,
		.running_ns = query.running_ns,
		.ready_ns = query.ready_ns,
		.blocked_ns = query.blocked_ns,
	};
	return 0;
}
