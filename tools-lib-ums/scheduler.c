// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * Schedulers.
 *
 * Every execution of a worker leaves one event, and IOCTL_UMS_RUN executes and
 * reads one event in the same call.  So the kernel holds no event of a worker
 * that was executed, unless a signal interrupts that call: the worker runs on
 * then, and the library waits for it by reading the event after all.
 *
 * One event comes by itself: the end of a worker that was reported blocked and
 * died in that.  Events are read in order, so the one that a call reads is not
 * always the one that its execution left, and after an interruption only the
 * worker's state tells whether it has stopped.
 *
 * What is read while the entry point is at work is kept and delivered when it
 * has returned.  The room for an event is made before a worker is executed, so
 * that nothing can fail between its reading and its keeping.  A scheduler that
 * executes one worker a call needs room for one.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/ums.h>

#include "internal.h"

/* Enough for any scheduler that does not pile up events. */
#define FIRST_ROOM	4

/* More undelivered ones than this mean that the entry point does not return. */
#define MAX_KEPT	1024

ASSERT_SAME(UMS_SCHEDULER_BLOCK_EVENTS, ENTER_UMS_BLOCK_EVENTS);
ASSERT_SAME(UMS_SCHEDULER_KEEP, ENTER_UMS_KEEP);
ASSERT_SAME(UMS_BLOCKED_BY_TRAP, UMS_CAUSE_TRAP);

/**
 * struct scheduler - a thread in scheduling mode
 * @kept: events read early, an array of @room; those from @first to before
 *	@end are undelivered
 * @room: how many fit into @kept
 * @first: the next event to deliver
 * @end: one after the last
 * @leaving: leave_ums_scheduling_mode() was called
 *
 * On the stack of enter_ums_scheduling_mode(), touched by that thread alone.
 */
struct scheduler {
	struct ums_event *kept;
	size_t room;
	size_t first;
	size_t end;
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

/**
 * libums_scheduler_keeps_event() - is there an event that was read early?
 *
 * Return: whether the caller is a scheduler with one.
 */
bool libums_scheduler_keeps_event(void)
{
	return self && self->first != self->end;
}

/* Makes room for one event behind those kept. */
static int make_room(struct scheduler *s)
{
	struct ums_event *kept;

	if (s->end < s->room)
		return 0;

	s->end -= s->first;
	memmove(s->kept, s->kept + s->first, s->end * sizeof(*s->kept));
	s->first = 0;
	if (s->end < s->room)
		return 0;

	if (s->room >= MAX_KEPT) {
		errno = ENOMEM;
		return -1;
	}
	kept = realloc(s->kept, 2 * s->room * sizeof(*kept));
	if (!kept)
		return -1;
	s->kept = kept;
	s->room *= 2;
	return 0;
}

static int read_event(struct ums_event *event)
{
	while (libums_ioctl(IOCTL_UMS_SCHED_DQEVENT, (unsigned long)event)) {
		if (errno != EINTR)
			return -1;
	}
	return 0;
}

static int next_event(struct scheduler *s, struct ums_event *event)
{
	if (s->first == s->end)
		return read_event(event);

	*event = s->kept[s->first++];
	if (s->first == s->end) {
		s->first = 0;
		s->end = 0;
	}
	return 0;
}

static bool runs_here(ums_context_t context)
{
	struct ums_query query = { .context = context };

	return !libums_ioctl(IOCTL_UMS_QUERY, (unsigned long)&query) &&
	       query.state == UMS_STATE_RUNNING &&
	       query.scheduler == syscall(SYS_gettid);
}

static void sleep_a_little(void)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	int state;

	/* nanosleep() is a cancellation point, and the worker runs on. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	nanosleep(&ms, NULL);
	pthread_setcancelstate(state, NULL);
}

/*
 * Waits until the worker has stopped.  Where there is no room for the ends of
 * others that come meanwhile, all events stay in the kernel, in order, and only
 * the worker's state is looked at.
 */
static int wait_for(struct scheduler *s, ums_context_t context)
{
	do {
		if (make_room(s)) {
			sleep_a_little();
			continue;
		}
		if (read_event(&s->kept[s->end]))
			return -1;
		s->end++;
	} while (runs_here(context));
	return 0;
}

int execute_ums_thread_for(ums_context_t context, uint64_t slice_ns)
{
	struct ums_run run = { .context = context, .slice_ns = slice_ns };
	struct scheduler *s = self;

	/* Without a context the call would wait for an event. */
	if (!s || !context) {
		errno = ESRCH;
		return -1;
	}
	if (make_room(s))
		return -1;

	if (!libums_ioctl(IOCTL_UMS_RUN, (unsigned long)&run)) {
		s->kept[s->end++] = run.event;
		return 0;
	}
	return errno == EINTR ? wait_for(s, context) : -1;
}

int execute_ums_thread(ums_context_t context)
{
	struct timespec ms = { .tv_nsec = 1000000 };

	while (execute_ums_thread_for(context, 0)) {
		if (errno != EAGAIN)
			return -1;
		nanosleep(&ms, NULL);
	}
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
	case THREAD_BLOCKED:
		activation.blocked.context = event->blocked_params.context;
		activation.blocked.cause = event->blocked_params.cause;
		entry(UMS_SCHEDULER_THREAD_BLOCKED, &activation, NULL);
		return 0;
	case THREAD_PREEMPTED:
		activation.context = event->preempted_params.context;
		entry(UMS_SCHEDULER_THREAD_PREEMPTED, &activation, NULL);
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

int enter_ums_scheduling_mode_flags(ums_scheduler_startup_info_t *info,
				    unsigned int flags)
{
	struct scheduler s = { .room = FIRST_ROOM };
	struct ums_enter enter = { .mode = ENTER_UMS_SCHED, .flags = flags };
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

int enter_ums_scheduling_mode(ums_scheduler_startup_info_t *info)
{
	return enter_ums_scheduling_mode_flags(info, 0);
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
