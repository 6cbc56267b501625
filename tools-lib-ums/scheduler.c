// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * Schedulers.
 *
 * Every execution of a worker leaves one event, in the order in which the
 * workers stopped.  So the library knows at any time how many events the
 * kernel holds for this thread or still owes it, and when an execution is
 * interrupted it waits for the worker by reading all of them: the worker's is
 * the last.  Looking for the worker's context instead would be fooled by an
 * unread event of an earlier turn.  What is read early is kept here and
 * delivered first.
 *
 * The room for that is made before a worker is executed, so that nothing can
 * fail between an event's reading and its keeping.  A scheduler that executes
 * one worker a call needs room for one.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/ums.h>

#include "internal.h"

/* Enough for any scheduler that does not pile up events. */
#define FIRST_ROOM	4

/**
 * struct scheduler - a thread in scheduling mode
 * @kept: events read early, an array of @room; those from @first to before
 *	@end are undelivered
 * @room: how many fit into @kept
 * @first: the next event to deliver
 * @end: one after the last
 * @owed: events that the kernel holds or will hold
 * @leaving: leave_ums_scheduling_mode() was called
 *
 * On the stack of enter_ums_scheduling_mode(), touched by that thread alone.
 */
struct scheduler {
	struct ums_event *kept;
	size_t room;
	size_t first;
	size_t end;
	size_t owed;
	bool leaving;
};

static __thread struct scheduler *self;

/**
 * libums_scheduler_forget() - the caller was forked and is no scheduler
 */
void libums_scheduler_forget(void)
{
	self = NULL;
}

/* Makes room for @more events behind those kept. */
static int make_room(struct scheduler *s, size_t more)
{
	size_t room = s->room;
	struct ums_event *kept;

	if (s->room - s->end >= more)
		return 0;

	s->end -= s->first;
	memmove(s->kept, s->kept + s->first, s->end * sizeof(*s->kept));
	s->first = 0;
	while (room - s->end < more)
		room *= 2;
	if (room == s->room)
		return 0;

	kept = realloc(s->kept, room * sizeof(*kept));
	if (!kept)
		return -1;
	s->kept = kept;
	s->room = room;
	return 0;
}

static int read_event(struct scheduler *s, struct ums_event *event)
{
	while (libums_ioctl(IOCTL_UMS_SCHED_DQEVENT, (unsigned long)event)) {
		if (errno != EINTR)
			return -1;
	}
	if (s->owed)
		s->owed--;
	return 0;
}

static int next_event(struct scheduler *s, struct ums_event *event)
{
	if (s->first == s->end)
		return read_event(s, event);

	*event = s->kept[s->first++];
	if (s->first == s->end) {
		s->first = 0;
		s->end = 0;
	}
	return 0;
}

/* Waits until the running worker has stopped; make_room() was called. */
static int keep_events(struct scheduler *s)
{
	while (s->owed) {
		if (read_event(s, &s->kept[s->end]))
			return -1;
		s->end++;
	}
	return 0;
}

int execute_ums_thread(ums_context_t context)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	struct scheduler *s = self;

	if (!s) {
		errno = ESRCH;
		return -1;
	}
	if (make_room(s, s->owed + 1))
		return -1;

	while (libums_ioctl(IOCTL_EXEC_UMS_CTX, context)) {
		switch (errno) {
		case EINTR:
			s->owed++;
			return keep_events(s);
		case EAGAIN:
			nanosleep(&ms, NULL);
			break;
		default:
			return -1;
		}
	}
	s->owed++;
	return 0;
}

static int deliver(const ums_scheduler_startup_info_t *info,
		   const struct ums_event *event)
{
	ums_activation_t activation = { .reserved = { 0 } };
	ums_scheduler_entry_point_t entry = info->ums_scheduler_entry_point;
	void *param;

	switch (event->type) {
	case SCHEDULER_STARTUP:
		entry(UMS_SCHEDULER_STARTUP, NULL, info->scheduler_param);
		return 0;
	case THREAD_YIELD:
		activation.context = event->yield_params.context;
		param = (void *)(uintptr_t)event->yield_params.scheduler_params;
		entry(UMS_SCHEDULER_THREAD_YIELD, &activation, param);
		return 0;
	case THREAD_TERMINATED:
		activation.context = event->end_params.context;
		entry(UMS_SCHEDULER_THREAD_END, &activation, NULL);
		return 0;
	default:
		errno = EPROTO;
		return -1;
	}
}

static int run(struct scheduler *s, const ums_scheduler_startup_info_t *info)
{
	struct ums_event event;

	do {
		if (next_event(s, &event) || deliver(info, &event))
			return -1;
		if (self != s) {
			errno = ESRCH;
			return -1;
		}
	} while (!s->leaving);
	return 0;
}

/* Also when the entry point is cancelled, exits or throws. */
static void leave(void *arg)
{
	struct scheduler *s = arg;
	int err = errno;

	if (self == s) {
		libums_ioctl(IOCTL_EXIT_UMS, 0);
		self = NULL;
	}
	free(s->kept);
	errno = err;
}

int enter_ums_scheduling_mode(ums_scheduler_startup_info_t *info)
{
	struct scheduler s = { .room = FIRST_ROOM, .owed = 1 };
	struct ums_enter enter = { .mode = ENTER_UMS_SCHED };
	ums_scheduler_startup_info_t copy;
	int ret;

	if (!info) {
		errno = EFAULT;
		return -1;
	}
	copy = *info;
	if (!copy.ums_scheduler_entry_point) {
		errno = EINVAL;
		return -1;
	}

	if (libums_open())
		return -1;
	s.kept = malloc(s.room * sizeof(*s.kept));
	if (!s.kept)
		return -1;
	enter.clist = copy.completion_list;
	if (libums_ioctl(IOCTL_ENTER_UMS, (unsigned long)&enter)) {
		leave(&s);
		return -1;
	}

	self = &s;
	pthread_cleanup_push(leave, &s);
	ret = run(&s, &copy);
	pthread_cleanup_pop(1);
	return ret;
}

int leave_ums_scheduling_mode(void)
{
	if (!self) {
		errno = ESRCH;
		return -1;
	}
	self->leaving = true;
	return 0;
}
