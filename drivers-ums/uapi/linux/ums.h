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

/**
 * struct ums_enter - argument of IOCTL_ENTER_UMS
 * @mode: ENTER_UMS_SCHED or ENTER_UMS_WORK
 * @flags: must be 0
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

/**
 * struct ums_event - what IOCTL_UMS_SCHED_DQEVENT gives
 * @type: SCHEDULER_STARTUP, THREAD_YIELD or THREAD_TERMINATED
 * @reserved: 0
 * @yield_params: set for THREAD_YIELD
 * @end_params: set for THREAD_TERMINATED
 * @pad: room for later events; what an event does not use is 0
 */
struct ums_event {
	__u32 type;
	__u32 reserved;
	union {
		struct ums_yield_params yield_params;
		struct ums_end_params end_params;
		__u64 pad[6];
	};
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

#endif /* _UAPI_LINUX_UMS_H */
