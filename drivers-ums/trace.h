/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-mode scheduling: tracepoints.
 *
 * What they mean, field by field, is in
 * Documentation/userspace-api/ums/tracing.rst.
 *
 * Together they tell where every worker is and what every scheduler does.  Each
 * is called before another thread can act on what it tells: with the lock of the
 * worker's place held, or before the store that lets the worker run, or its
 * scheduler go on.  So the events about a worker, and those about a scheduler,
 * are in the order in which things happened.
 *
 * Threads go by their ids in the initial PID namespace, like everywhere in
 * tracing.  The arguments are what is at hand; they are only looked into by
 * TP_fast_assign(), that is when the event is on.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ums

#if !defined(_UMS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _UMS_TRACE_H

#include <linux/tracepoint.h>

#include "ums.h"

/**
 * ums_scheduler_enter - a thread becomes a scheduler
 * @s: the scheduler
 * @flags: ENTER_UMS_BLOCK_EVENTS and ENTER_UMS_KEEP
 */
TRACE_EVENT(ums_scheduler_enter,
	    TP_PROTO(struct ums_scheduler *s, u32 flags),
	    TP_ARGS(s, flags),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(pid_t, tgid)
			     __field(int, clist)
			     __field(u32, flags)),
	    TP_fast_assign(__entry->scheduler_pid = s->context.proc_pid;
			   __entry->tgid = pid_nr(s->context.data->tgid);
			   __entry->clist = s->complist->id;
			   __entry->flags = flags;),
	    TP_printk("scheduler_pid=%d tgid=%d clist=%d flags=%s",
		      __entry->scheduler_pid, __entry->tgid, __entry->clist,
		      __entry->flags ?
		      __print_flags(__entry->flags, "|",
				    { ENTER_UMS_BLOCK_EVENTS, "block_events" },
				    { ENTER_UMS_KEEP, "keep" }) : "none")
);

/**
 * ums_scheduler_exit - a scheduler has left UMS or is dead
 * @s: the scheduler, under its lock; its last worker goes on by itself
 */
TRACE_EVENT(ums_scheduler_exit,
	    TP_PROTO(struct ums_scheduler *s),
	    TP_ARGS(s),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(pid_t, tgid)),
	    TP_fast_assign(__entry->scheduler_pid = s->context.proc_pid;
			   __entry->tgid = pid_nr(s->context.data->tgid);),
	    TP_printk("scheduler_pid=%d tgid=%d",
		      __entry->scheduler_pid, __entry->tgid)
);

/**
 * ums_worker_enter - a thread becomes a worker
 * @w: the worker; it stops next, for the first time
 */
TRACE_EVENT(ums_worker_enter,
	    TP_PROTO(struct ums_worker *w),
	    TP_ARGS(w),
	    TP_STRUCT__entry(__field(pid_t, worker_pid)
			     __field(pid_t, tgid)
			     __field(int, clist)
			     __field(u64, cookie)),
	    TP_fast_assign(__entry->worker_pid = w->context.proc_pid;
			   __entry->tgid = pid_nr(w->context.data->tgid);
			   __entry->clist = w->complist->id;
			   __entry->cookie = w->cookie;),
	    TP_printk("worker_pid=%d tgid=%d clist=%d cookie=0x%llx",
		      __entry->worker_pid, __entry->tgid, __entry->clist,
		      __entry->cookie)
);

/**
 * ums_worker_exit - a worker has left UMS or is dead
 * @w: the worker, under ums_worker_lock()
 */
TRACE_EVENT(ums_worker_exit,
	    TP_PROTO(struct ums_worker *w),
	    TP_ARGS(w),
	    TP_STRUCT__entry(__field(pid_t, worker_pid)
			     __field(pid_t, tgid)),
	    TP_fast_assign(__entry->worker_pid = w->context.proc_pid;
			   __entry->tgid = pid_nr(w->context.data->tgid);),
	    TP_printk("worker_pid=%d tgid=%d",
		      __entry->worker_pid, __entry->tgid)
);

/* A worker between its list and a scheduler. */
DECLARE_EVENT_CLASS(ums_owner,
		    TP_PROTO(struct ums_scheduler *s, struct ums_worker *w),
		    TP_ARGS(s, w),
		    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
				     __field(pid_t, worker_pid)
				     __field(int, clist)),
		    TP_fast_assign(__entry->scheduler_pid = s->context.proc_pid;
				   __entry->worker_pid = w->context.proc_pid;
				   __entry->clist = w->complist->id;),
		    TP_printk("scheduler_pid=%d worker_pid=%d clist=%d",
			      __entry->scheduler_pid, __entry->worker_pid, __entry->clist)
);

/**
 * ums_dequeue - a scheduler takes a worker from its completion list
 * @s: the scheduler, the owner from now on
 * @w: the worker
 */
DEFINE_EVENT(ums_owner, ums_dequeue,
	     TP_PROTO(struct ums_scheduler *s, struct ums_worker *w),
	     TP_ARGS(s, w)
);

/**
 * ums_requeue - a worker that was dequeued and not run goes back to its list
 * @s: the scheduler that has left, or could not be told
 * @w: the worker
 */
DEFINE_EVENT(ums_owner, ums_requeue,
	     TP_PROTO(struct ums_scheduler *s, struct ums_worker *w),
	     TP_ARGS(s, w)
);

/**
 * ums_exec - a scheduler runs a worker
 * @s: the scheduler, which waits until that stops
 * @w: the worker, under ums_worker_lock()
 * @slice_ns: how long the worker may run, in ns; 0: as long as it likes
 */
TRACE_EVENT(ums_exec,
	    TP_PROTO(struct ums_scheduler *s, struct ums_worker *w, u64 slice_ns),
	    TP_ARGS(s, w, slice_ns),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(pid_t, worker_pid)
			     __field(u64, slice_ns)),
	    TP_fast_assign(__entry->scheduler_pid = s->context.proc_pid;
			   __entry->worker_pid = w->context.proc_pid;
			   __entry->slice_ns = slice_ns;),
	    TP_printk("scheduler_pid=%d worker_pid=%d slice_ns=%llu",
		      __entry->scheduler_pid, __entry->worker_pid,
		      __entry->slice_ns)
);

/**
 * ums_switch - a worker stops and has another one run in its place
 * @s: their scheduler, under its lock; it waits on
 * @prev: the worker that stops, owned by @s from now on
 * @next: the one that runs
 */
TRACE_EVENT(ums_switch,
	    TP_PROTO(struct ums_scheduler *s, struct ums_worker *prev,
		     struct ums_worker *next),
	    TP_ARGS(s, prev, next),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(pid_t, prev_pid)
			     __field(pid_t, next_pid)),
	    TP_fast_assign(__entry->scheduler_pid = s->context.proc_pid;
			   __entry->prev_pid = prev->context.proc_pid;
			   __entry->next_pid = next->context.proc_pid;),
	    TP_printk("scheduler_pid=%d prev_pid=%d next_pid=%d",
		      __entry->scheduler_pid, __entry->prev_pid, __entry->next_pid)
);

/**
 * ums_stop - a running worker stops
 * @s: the scheduler that is told, or NULL
 * @w: the worker, under ums_worker_lock()
 * @cause: UMS_READY_NEW, _YIELDED, _PREEMPTED or _TERMINATED
 */
TRACE_EVENT(ums_stop,
	    TP_PROTO(struct ums_scheduler *s, struct ums_worker *w, u32 cause),
	    TP_ARGS(s, w, cause),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(pid_t, worker_pid)
			     __field(u32, cause)
			     __field(int, clist)),
	    TP_fast_assign(__entry->scheduler_pid = s ? s->context.proc_pid : 0;
			   __entry->worker_pid = w->context.proc_pid;
			   __entry->cause = cause;
			   __entry->clist = cause == UMS_READY_TERMINATED ||
					    (s && s->keep) ? 0 : w->complist->id;),
	    TP_printk("scheduler_pid=%d worker_pid=%d cause=%s clist=%d",
		      __entry->scheduler_pid, __entry->worker_pid,
		      __print_symbolic(__entry->cause,
				       { UMS_READY_NEW, "new" },
				       { UMS_READY_YIELDED, "yielded" },
				       { UMS_READY_PREEMPTED, "preempted" },
				       { UMS_READY_TERMINATED, "terminated" }),
		      __entry->clist)
);

/**
 * ums_block - a worker goes to sleep in the kernel, and its scheduler goes on
 * @s: the scheduler, with ENTER_UMS_BLOCK_EVENTS
 * @w: the worker, the calling thread's own
 *
 * Called under the run queue's lock, with interrupts off.
 */
TRACE_EVENT(ums_block,
	    TP_PROTO(struct ums_scheduler *s, struct ums_worker *w),
	    TP_ARGS(s, w),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(pid_t, worker_pid)
			     __field(int, syscall)),
	    TP_fast_assign(__entry->scheduler_pid = s->context.proc_pid;
			   __entry->worker_pid = w->context.proc_pid;
			   __entry->syscall = w->cause;),
	    TP_printk("scheduler_pid=%d worker_pid=%d syscall=%d",
		      __entry->scheduler_pid, __entry->worker_pid,
		      __entry->syscall)
);

/**
 * ums_unblock - a worker that has blocked is ready again
 * @w: the worker, under ums_worker_lock(); it is about to be queued
 */
TRACE_EVENT(ums_unblock,
	    TP_PROTO(struct ums_worker *w),
	    TP_ARGS(w),
	    TP_STRUCT__entry(__field(pid_t, worker_pid)
			     __field(int, clist)),
	    TP_fast_assign(__entry->worker_pid = w->context.proc_pid;
			   __entry->clist = w->complist->id;),
	    TP_printk("worker_pid=%d clist=%d",
		      __entry->worker_pid, __entry->clist)
);

/**
 * ums_preempt - a running worker is asked to stop
 * @s: the scheduler that runs it, or NULL
 * @w: the worker; it stops at its next return to user mode
 * @slice: its slice is over; otherwise the caller asks
 *
 * At the end of a slice there is no lock: the worker may just have stopped.
 */
TRACE_EVENT(ums_preempt,
	    TP_PROTO(struct ums_scheduler *s, struct ums_worker *w, bool slice),
	    TP_ARGS(s, w, slice),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(pid_t, worker_pid)
			     __field(bool, slice)),
	    TP_fast_assign(__entry->scheduler_pid = s ? s->context.proc_pid : 0;
			   __entry->worker_pid = w->context.proc_pid;
			   __entry->slice = slice;),
	    TP_printk("scheduler_pid=%d worker_pid=%d slice=%d",
		      __entry->scheduler_pid, __entry->worker_pid, __entry->slice)
);

/**
 * ums_wait_begin - a scheduler waits, and not for a worker to stop
 * @s: the scheduler
 * @clist: the completion list that it waits for, or 0: for an event
 */
TRACE_EVENT(ums_wait_begin,
	    TP_PROTO(struct ums_scheduler *s, int clist),
	    TP_ARGS(s, clist),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(int, clist)),
	    TP_fast_assign(__entry->scheduler_pid = s->context.proc_pid;
			   __entry->clist = clist;),
	    TP_printk("scheduler_pid=%d clist=%d",
		      __entry->scheduler_pid, __entry->clist)
);

/**
 * ums_wait_end - a scheduler's wait is over
 * @s: the scheduler
 * @ret: 0 or a negative errno
 */
TRACE_EVENT(ums_wait_end,
	    TP_PROTO(struct ums_scheduler *s, int ret),
	    TP_ARGS(s, ret),
	    TP_STRUCT__entry(__field(pid_t, scheduler_pid)
			     __field(int, ret)),
	    TP_fast_assign(__entry->scheduler_pid = s->context.proc_pid;
			   __entry->ret = ret;),
	    TP_printk("scheduler_pid=%d ret=%d",
		      __entry->scheduler_pid, __entry->ret)
);

#endif /* _UMS_TRACE_H */

/* Read once more by define_trace.h, which trace.c's flags let find it. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
