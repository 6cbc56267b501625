/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * User-mode scheduling: the interface of /dev/ums.
 *
 * See Documentation/userspace-api/ums/ for what each call does, who may make
 * it and every error it can return.
 */
#ifndef _UAPI_LINUX_UMS_H
#define _UAPI_LINUX_UMS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * A context names a thread that is in UMS: its thread id as its own process
 * sees it.  A completion list is named by the id that IOCTL_CREATE_UMS_CLIST
 * gave; ids are positive.
 */

/* struct ums_enter.mode */
#define ENTER_UMS_SCHED		1
#define ENTER_UMS_WORK		2

/* struct ums_enter.flags, for a scheduler; a worker's are 0 */
#define ENTER_UMS_BLOCK_EVENTS	0x1	/* THREAD_BLOCKED when its worker blocks */
#define ENTER_UMS_KEEP		0x2	/* its worker stays dequeued when it stops */

/**
 * struct ums_enter - argument of IOCTL_ENTER_UMS
 * @mode: ENTER_UMS_SCHED or ENTER_UMS_WORK
 * @flags: for a scheduler ENTER_UMS_BLOCK_EVENTS and ENTER_UMS_KEEP, or 0
 * @clist: the completion list of the new scheduler or worker
 * @reserved: must be 0
 * @cookie: a worker's own value, shown beside its context; 0 for a scheduler
 */
struct ums_enter {
	__u32 mode;
	__u32 flags;
	__s32 clist;
	__u32 reserved;
	__u64 cookie;
};

/**
 * struct ums_dequeue_clist - argument of IOCTL_DEQUEUE_UMS_CLIST
 * @clist: in: the completion list to take from
 * @context: out: the first of the contexts taken
 */
struct ums_dequeue_clist {
	__s32 clist;
	__s32 context;
};

/* struct ums_event.type */
#define SCHEDULER_STARTUP	1	/* the first event of every scheduler */
#define THREAD_YIELD		2	/* a worker yielded: yield_params */
#define THREAD_TERMINATED	3	/* a worker left UMS or died: end_params */
#define THREAD_BLOCKED		4	/* a worker sleeps: blocked_params */
#define THREAD_PREEMPTED	5	/* a worker was stopped: preempted_params */

/**
 * struct ums_yield_params - what THREAD_YIELD carries
 * @context: the worker
 * @reserved: 0
 * @scheduler_params: the value that the worker gave to IOCTL_UMS_YIELD
 */
struct ums_yield_params {
	__s32 context;
	__u32 reserved;
	__u64 scheduler_params;
};

/**
 * struct ums_end_params - what THREAD_TERMINATED carries
 * @context: the worker
 * @reserved: 0
 */
struct ums_end_params {
	__s32 context;
	__u32 reserved;
};

/* struct ums_blocked_params.cause, when it is not a system call's number */
#define UMS_CAUSE_TRAP		(-1)

/**
 * struct ums_blocked_params - what THREAD_BLOCKED carries
 * @context: the worker
 * @cause: the number of the system call that it sleeps in, or UMS_CAUSE_TRAP
 *	for a page fault, another trap, or a stop in user mode
 */
struct ums_blocked_params {
	__s32 context;
	__s32 cause;
};

/**
 * struct ums_preempted_params - what THREAD_PREEMPTED carries
 * @context: the worker
 * @reserved: 0
 */
struct ums_preempted_params {
	__s32 context;
	__u32 reserved;
};

/**
 * struct ums_event - what IOCTL_UMS_SCHED_DQEVENT and IOCTL_UMS_RUN give
 * @type: SCHEDULER_STARTUP or one of THREAD_*
 * @reserved: 0
 * @yield_params: set for THREAD_YIELD
 * @end_params: set for THREAD_TERMINATED
 * @blocked_params: set for THREAD_BLOCKED
 * @preempted_params: set for THREAD_PREEMPTED
 * @pad: room for later events; what an event does not use is 0
 */
struct ums_event {
	__u32 type;
	__u32 reserved;
	union {
		struct ums_yield_params yield_params;
		struct ums_end_params end_params;
		struct ums_blocked_params blocked_params;
		struct ums_preempted_params preempted_params;
		__u64 pad[6];
	};
};

/* Flag of struct ums_run and struct ums_dequeue: EAGAIN rather than wait. */
#define UMS_NONBLOCK		0x1

/**
 * struct ums_run - argument of IOCTL_UMS_RUN
 * @context: in: the worker to run, or 0 to wait for an event only
 * @flags: in: 0, or without a context UMS_NONBLOCK
 * @slice_ns: in: how long it may run before it is stopped, in nanoseconds;
 *	0: as long as it likes, and without a context
 * @timeout_ns: in: how long to wait without a context, in nanoseconds;
 *	0: for ever, and with a context
 * @event: out: the oldest event
 */
struct ums_run {
	__s32 context;
	__u32 flags;
	__u64 slice_ns;
	__u64 timeout_ns;
	struct ums_event event;
};

/* struct ums_ready.why and struct ums_query.why */
#define UMS_READY_NEW		1	/* has entered, and never run */
#define UMS_READY_YIELDED	2	/* has yielded or switched */
#define UMS_READY_UNBLOCKED	3	/* its sleep in the kernel is over */
#define UMS_READY_PREEMPTED	4	/* its slice ended, or IOCTL_UMS_PREEMPT */
#define UMS_READY_ORPHANED	5	/* the scheduler that owned it has left */
#define UMS_READY_TERMINATED	6	/* is dead, and its scheduler has left */

/**
 * struct ums_ready - one context that IOCTL_UMS_DEQUEUE gives
 * @context: the worker
 * @why: why it is on the list, one of UMS_READY_*
 * @cookie: what it gave as ums_enter.cookie
 */
struct ums_ready {
	__s32 context;
	__u32 why;
	__u64 cookie;
};

/**
 * struct ums_dequeue - argument of IOCTL_UMS_DEQUEUE
 * @clist: in: the completion list to take from
 * @flags: in: 0 or UMS_NONBLOCK
 * @nr: in: how many contexts @ready has room for, at least 1
 * @reserved: in: must be 0
 * @timeout_ns: in: how long to wait, in nanoseconds; 0: for ever
 * @ready: in: address of an array of struct ums_ready
 */
struct ums_dequeue {
	__s32 clist;
	__u32 flags;
	__u32 nr;
	__u32 reserved;
	__u64 timeout_ns;
	__u64 ready;
};

/* struct ums_query.state */
#define UMS_STATE_RUNNING	1	/* under a scheduler, or on its own */
#define UMS_STATE_READY		2	/* parked: queued or dequeued */
#define UMS_STATE_BLOCKED	3	/* asleep, and its scheduler goes on */

/**
 * struct ums_query - argument of IOCTL_UMS_QUERY
 * @context: in: a worker
 * @flags: in: must be 0
 * @state: out: one of UMS_STATE_*
 * @why: out: why it became ready last, one of UMS_READY_*
 * @clist: out: its completion list
 * @scheduler: out: the scheduler that runs or has dequeued it, 0: none
 * @cookie: out: what it gave as ums_enter.cookie
 * @switches: out: how often it was run
 * @yields: out: how often it yielded
 * @handovers: out: how often it switched to another worker
 * @preemptions: out: how often it was preempted
 * @blocks: out: how often its blocking was reported
 * @running_ns: out: time it was running, in nanoseconds of CLOCK_MONOTONIC,
 *	including its sleeps under a scheduler without block events
 * @ready_ns: out: time it was ready
 * @blocked_ns: out: time it was blocked, until it is ready again
 * @reserved: out: 0
 */
struct ums_query {
	__s32 context;
	__u32 flags;
	__u32 state;
	__u32 why;
	__s32 clist;
	__s32 scheduler;
	__u64 cookie;
	__u64 switches;
	__u64 yields;
	__u64 handovers;
	__u64 preemptions;
	__u64 blocks;
	__u64 running_ns;
	__u64 ready_ns;
	__u64 blocked_ns;
	__u64 reserved[4];
};

#define UMS_IOC_MAGIC		0xF0

/* Argument: where the new list's id goes. */
#define IOCTL_CREATE_UMS_CLIST	_IOR(UMS_IOC_MAGIC, 0x01, __s32)
/* Argument: the list's id, by value. */
#define IOCTL_DELETE_UMS_CLIST	_IO(UMS_IOC_MAGIC, 0x02)
#define IOCTL_ENTER_UMS		_IOW(UMS_IOC_MAGIC, 0x03, struct ums_enter)
#define IOCTL_UMS_SCHED_DQEVENT	_IOR(UMS_IOC_MAGIC, 0x04, struct ums_event)
#define IOCTL_DEQUEUE_UMS_CLIST	_IOWR(UMS_IOC_MAGIC, 0x05, \
				      struct ums_dequeue_clist)
/* Argument: a context, by value.  Returns the next context or 0. */
#define IOCTL_NEXT_UMS_CTX_LIST	_IO(UMS_IOC_MAGIC, 0x06)
/* Argument: a context, by value. */
#define IOCTL_EXEC_UMS_CTX	_IO(UMS_IOC_MAGIC, 0x07)
/* Argument: the value for ums_yield_params.scheduler_params. */
#define IOCTL_UMS_YIELD		_IO(UMS_IOC_MAGIC, 0x08)
/* No argument. */
#define IOCTL_EXIT_UMS		_IO(UMS_IOC_MAGIC, 0x09)
#define IOCTL_UMS_RUN		_IOWR(UMS_IOC_MAGIC, 0x0A, struct ums_run)
/* Returns how many contexts were dequeued, 0 if there is an event to read. */
#define IOCTL_UMS_DEQUEUE	_IOW(UMS_IOC_MAGIC, 0x0B, struct ums_dequeue)
/* Argument: a context, by value. */
#define IOCTL_UMS_SWITCH	_IO(UMS_IOC_MAGIC, 0x0C)
/* Argument: a context, by value. */
#define IOCTL_UMS_PREEMPT	_IO(UMS_IOC_MAGIC, 0x0D)
#define IOCTL_UMS_QUERY		_IOWR(UMS_IOC_MAGIC, 0x0E, struct ums_query)
/* Argument: a list's id, by value.  Returns a file descriptor. */
#define IOCTL_UMS_CLIST_FD	_IO(UMS_IOC_MAGIC, 0x0F)

#endif /* _UAPI_LINUX_UMS_H */
