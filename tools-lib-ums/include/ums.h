/* SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause */
/*
 * libums: user-mode scheduling.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#ifndef __LIBUMS_UMS_H
#define __LIBUMS_UMS_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is declared here is all that the shared library shows. */
#pragma GCC visibility push(default)

/**
 * DOC: libums
 *
 * **Model.** A *worker* is a thread whose turns to run a *scheduler* decides.
 * A worker is born parked on a *completion list*.  A scheduler is a thread
 * that called enter_ums_scheduling_mode(): its *entry point* is called once
 * for every event, takes workers off a list with
 * dequeue_ums_completion_list_items() and runs them with
 * execute_ums_thread().  A worker that yields goes to the tail of its list.
 *
 * **Errors.** Every function returns -1 and sets errno on failure, and has
 * then changed nothing unless its text says otherwise.  errno is meaningless
 * after success.
 *
 * **Device.** create_ums_completion_list(), delete_ums_completion_list(),
 * ums_pthread_create() and enter_ums_scheduling_mode() open ``/dev/ums`` if
 * the process has not done so yet, and pass on what open() reports, each
 * time, so that a later call can succeed: ENOENT (the module is not loaded),
 * EACCES, EMFILE, ENFILE, ENOMEM, and EBUSY when the process opened the
 * device itself, past the library.  The device stays open, close-on-exec,
 * until the process ends or executes another program.  A program that closes
 * descriptors it did not open takes the device away from under the library
 * (EBADF from then on).
 *
 * **Threads.** Every function may be called by any number of threads at
 * once.  ums_thread_yield() is async-signal-safe, the others are not.  None
 * is a cancellation point by itself, except execute_ums_thread() while it
 * waits for a stopped worker.
 *
 * **Fork.** A child made by fork() has nothing of its parent's UMS: no lists,
 * no schedulers, no workers, and the inherited descriptor is closed in it.
 * The thread that called fork() is a plain thread in the child, even inside
 * an entry point or a worker's function.  The child opens a device of its own
 * as any process does.  A child made in a way that skips pthread_atfork()
 * handlers (_Fork(), the clone() system call) keeps the inherited descriptor
 * until its first call that opens the device; the other calls give EIO before.
 *
 * **Locks.** A scheduler sleeps while its worker runs, and a parked worker
 * does not run at all.  A worker that yields while it holds a lock which its
 * scheduler, or whatever the scheduler calls, needs in order to run it again
 * has locked up both.  The same is true of what waits for every thread of
 * the process: setuid() and its kin, which the C library carries to each
 * thread by a signal, do not return before every parked worker was executed.
 */

/**
 * typedef ums_context_t - names a worker
 *
 * The worker's thread id, as gettid() gives it.  0 is no worker.  Valid until
 * UMS_SCHEDULER_THREAD_END was reported for it.
 */
typedef pid_t ums_context_t;

/**
 * typedef ums_completion_list_t - names a completion list
 *
 * Positive, valid in the process that created it until it is deleted.
 */
typedef int ums_completion_list_t;

/**
 * enum ums_reason - why a scheduler's entry point is called
 * @UMS_SCHEDULER_STARTUP: The thread has become a scheduler.  The first call,
 *	once.
 * @UMS_SCHEDULER_THREAD_YIELD: A worker called ums_thread_yield().  It is on
 *	its completion list again, or already with whoever took it from there.
 * @UMS_SCHEDULER_THREAD_END: A worker's function ended or its thread died.
 *	Its context names nothing any more.
 * @UMS_SCHEDULER_THREAD_BLOCKED: A worker sleeps in the kernel.  Only for a
 *	scheduler that asked for it; this version has no function to ask.
 * @UMS_SCHEDULER_THREAD_PREEMPTED: A worker was stopped from outside, as when
 *	its time is up.  Only where the program asked for it; this version has
 *	no function to ask.
 *
 * Later versions may add reasons, for schedulers that ask for them.
 */
enum ums_reason {
	UMS_SCHEDULER_STARTUP = 0,
	UMS_SCHEDULER_THREAD_YIELD = 1,
	UMS_SCHEDULER_THREAD_END = 2,
	UMS_SCHEDULER_THREAD_BLOCKED = 3,
	UMS_SCHEDULER_THREAD_PREEMPTED = 4
};

/**
 * typedef ums_reason_t - see enum ums_reason
 */
typedef enum ums_reason ums_reason_t;

/**
 * union ums_activation - what an entry point is told about an event
 * @context: The worker that the event is about.
 * @reserved: Room for what later events carry; 0.
 *
 * The size is fixed, so that members can be added without breaking programs
 * built before.  A structure added here starts with the context.
 */
union ums_activation {
	ums_context_t context;
	uint64_t reserved[8];
};

/**
 * typedef ums_activation_t - see union ums_activation
 */
typedef union ums_activation ums_activation_t;

/**
 * typedef ums_scheduler_entry_point_t - a scheduler's entry point
 * @reason: Why it is called.
 * @activation: UMS_SCHEDULER_STARTUP: NULL.  Otherwise what happened; the
 *	library's, valid until the entry point returns.
 * @scheduler_param: UMS_SCHEDULER_STARTUP: the value that
 *	enter_ums_scheduling_mode() was given.  UMS_SCHEDULER_THREAD_YIELD: the
 *	value that the worker gave to ums_thread_yield().
 *	UMS_SCHEDULER_THREAD_END: NULL.
 *
 * Runs on the scheduler's thread and is never called again before it
 * returned: what it executes leaves events, and these are delivered one
 * call each, in the order in which they came.
 *
 * It may end in pthread_exit(), be cancelled or throw a C++ exception: the
 * thread then leaves scheduling mode on the way out.  It must not leave by
 * longjmp().
 */
typedef void (*ums_scheduler_entry_point_t)(ums_reason_t reason,
					    ums_activation_t *activation,
					    void *scheduler_param);

/**
 * struct ums_scheduler_startup_info - argument of enter_ums_scheduling_mode()
 * @completion_list: The list that the scheduler is registered with.  It may
 *	take workers from any list.
 * @ums_scheduler_entry_point: Called for every event.
 * @scheduler_param: Handed to the entry point at UMS_SCHEDULER_STARTUP.
 *
 * The structure is read before the first event and not used afterwards.
 */
struct ums_scheduler_startup_info {
	ums_completion_list_t completion_list;
	ums_scheduler_entry_point_t ums_scheduler_entry_point;
	void *scheduler_param;
};

/**
 * typedef ums_scheduler_startup_info_t - see struct ums_scheduler_startup_info
 */
typedef struct ums_scheduler_startup_info ums_scheduler_startup_info_t;

/**
 * struct ums_attr - attributes of a new worker
 * @completion_list: The list that the worker is born on and goes back to.
 * @pthread_attr: How to create its thread, or NULL for the defaults.  Stays
 *	the caller's.
 *
 * The structure is not used after ums_pthread_create() returned.
 */
struct ums_attr {
	ums_completion_list_t completion_list;
	pthread_attr_t *pthread_attr;
};

/**
 * typedef ums_attr_t - see struct ums_attr
 */
typedef struct ums_attr ums_attr_t;

/**
 * create_ums_completion_list() - create a completion list
 * @list: Where its name goes.
 *
 * The list belongs to the process and lives until delete_ums_completion_list()
 * or the end of the process.
 *
 * Context: Any thread.
 *
 * Return: 0, or -1 with errno:
 *
 * * EFAULT - @list is NULL.
 * * ENOSPC - the process has as many lists as it may have.
 * * ENOMEM - out of memory.
 * * what opening the device gives.
 */
int create_ums_completion_list(ums_completion_list_t *list);

/**
 * delete_ums_completion_list() - delete a completion list
 * @list: Points to its name.  The variable is not written to, as other
 *	threads may be reading it.
 *
 * Threads that wait for a worker on it in dequeue_ums_completion_list_items()
 * wake up with EIDRM.  Schedulers registered with it stay schedulers.  The
 * name may be given to a new list later.
 *
 * This ends a program whose schedulers share a list: whoever gets the
 * UMS_SCHEDULER_THREAD_END of the last worker deletes it, and that sends the
 * others home.
 *
 * Context: Any thread.
 *
 * Return: 0, or -1 with errno:
 *
 * * EFAULT - @list is NULL.
 * * EINVAL - there is no such list.
 * * EBUSY - a worker belongs to it: one that ums_pthread_create() made for it
 *   and that has not ended yet, whatever it does at the moment.
 * * what opening the device gives.
 */
int delete_ums_completion_list(ums_completion_list_t *list);

/**
 * ums_pthread_create() - create a worker
 * @thread: Where the new thread's id goes.
 * @attr: The worker's completion list and its thread's attributes.
 * @start_routine: What the worker runs.
 * @arg: Handed to @start_routine.
 *
 * The new thread becomes a worker before @start_routine is called, and waits
 * on the list until a scheduler executes it.  It is an ordinary thread
 * otherwise: joined or detached as with pthread_create().  It is a worker
 * until @start_routine returns, it calls pthread_exit() or is cancelled, and
 * the handlers pushed with pthread_cleanup_push() have run;
 * UMS_SCHEDULER_THREAD_END is reported then.  Destructors of thread-specific
 * data run after that, on a plain thread.  A cancellation request takes
 * effect when the worker is executed and comes to a cancellation point.
 *
 * Unlike pthread_create() this returns -1 and sets errno, as every function
 * of this library does, so that a check for "< 0", "== -1" or "!= 0" finds the
 * failure.
 *
 * The call does not wait for the worker to arrive on the list, which a
 * scheduler cannot tell from a late creation anyway, since dequeueing waits.
 * Success is a promise nevertheless: there will be exactly one worker, which
 * arrives by itself, and exactly one UMS_SCHEDULER_THREAD_END once it was
 * executed to its end.  From the return on it belongs to the list, which
 * cannot be deleted before.  Should the kernel be out of memory when the
 * thread becomes a worker, the thread tries again every millisecond.  If the
 * program has closed the library's descriptor, the promise is void: the thread
 * ends without a call of @start_routine, and its pthread_join() gives
 * PTHREAD_CANCELED.
 *
 * Context: Any thread, also a scheduler or a worker.
 *
 * Return: 0, or -1 with errno; there is no new thread then:
 *
 * * EFAULT - @thread or @attr is NULL.
 * * EINVAL - @start_routine is NULL, there is no such completion list, or
 *   pthread_create() refuses the thread attributes.
 * * EAGAIN - too many threads, or not enough memory for one.
 * * EPERM - no permission for the scheduling that the attributes ask for.
 * * ENOMEM - out of memory.
 * * what opening the device gives.
 */
int ums_pthread_create(pthread_t *thread, ums_attr_t *attr,
		       void *(*start_routine)(void *), void *arg);

/**
 * enter_ums_scheduling_mode() - become a scheduler
 * @info: The completion list, the entry point and its parameter.
 *
 * Waits for events and calls the entry point for each, beginning with
 * UMS_SCHEDULER_STARTUP, until the entry point has called
 * leave_ums_scheduling_mode() and returned.  The calling thread is then a
 * plain thread again and may enter anew.
 *
 * Signal handlers run as on any thread; the wait for an event goes on after
 * them.
 *
 * Context: A plain thread.
 *
 * Return: 0 after leave_ums_scheduling_mode(), or -1 with errno:
 *
 * * EFAULT - @info is NULL.
 * * EINVAL - the entry point is NULL, or there is no such completion list.
 * * EEXIST - the caller is a scheduler or a worker already.
 * * ENOMEM - out of memory.
 * * ESRCH - this is a child that the entry point forked, where the thread is
 *   no scheduler.  Reported when the entry point returns in the child.
 * * EPROTO - the kernel reported an event that this version does not know.
 *   The thread has left scheduling mode, with what this means for its
 *   workers; see leave_ums_scheduling_mode().
 * * what opening the device gives.
 */
int enter_ums_scheduling_mode(ums_scheduler_startup_info_t *info);

/**
 * leave_ums_scheduling_mode() - leave scheduling mode
 *
 * Takes effect when the entry point returns: the thread stops being a
 * scheduler and enter_ums_scheduling_mode() returns 0.  Until then the entry
 * point may go on executing workers.
 *
 * Nothing happens to any worker.  Those that the scheduler has dequeued and
 * not executed go back to the head of their lists, in order.  Events that it
 * has not been told about are dropped: their workers are on their lists, or
 * gone, all the same, but a program that counts UMS_SCHEDULER_THREAD_END has
 * to leave a scheduler in it until the count is complete.
 *
 * Context: A scheduler, in its entry point.
 *
 * Return: 0, or -1 with errno:
 *
 * * ESRCH - the caller is not a scheduler.
 */
int leave_ums_scheduling_mode(void);

/**
 * dequeue_ums_completion_list_items() - take all workers off a list
 * @list: The completion list.
 * @context: Where the first of the workers taken goes.
 *
 * The caller then owns them: no one else finds them until it executes them or
 * stops being a scheduler.  get_next_ums_list_item() names the others.  Waits
 * while the list is empty, even if the caller owns workers from an earlier
 * call; these stay in front of the new ones, whose first is returned.
 *
 * Context: A scheduler.
 *
 * Return: 0, or -1 with errno:
 *
 * * EFAULT - @context is NULL.
 * * ESRCH - the caller is not a scheduler.
 * * EINVAL - there is no such completion list (any more).
 * * EIDRM - the list was deleted while the call waited.
 * * EINTR - a signal handler ran while the call waited.
 */
int dequeue_ums_completion_list_items(ums_completion_list_t list,
				      ums_context_t *context);

/**
 * get_next_ums_list_item() - the worker dequeued after this one
 * @context: A worker that the caller has dequeued and not executed yet.
 *
 * Ask before executing @context: afterwards it has no successor.
 *
 * Context: A scheduler.
 *
 * Return: The next worker, 0 if there is none, or -1 with errno:
 *
 * * ESRCH - the caller is not a scheduler, or does not own @context.
 */
ums_context_t get_next_ums_list_item(ums_context_t context);

/**
 * execute_ums_thread() - run a worker
 * @context: A worker that a scheduler of this process has dequeued.
 *
 * The worker runs on the caller's CPU until it yields or ends; the caller
 * sleeps so long.  What stopped it is told to the entry point in a later
 * call, not in this one.  An entry point may execute several workers before
 * it returns: their events are kept and delivered in order.
 *
 * A signal that reaches the sleeping scheduler runs its handler while the
 * worker runs on, and the call goes on waiting for the worker.  EINTR is never
 * reported.
 *
 * A worker that a debugger or job control holds in a stop cannot run: the
 * call waits, trying again every millisecond, until the worker is released.
 *
 * Context: A scheduler.  A cancellation point while it waits for a stopped
 * worker.
 *
 * Return: 0 when the worker has stopped, or -1 with errno; it did not run
 * then:
 *
 * * ESRCH - the caller is not a scheduler, or there is no such worker.
 * * EBUSY - the worker is not dequeued: it runs, or is on its list.
 * * ENOMEM - the entry point has left 1024 events undelivered or more, or
 *   there is no memory to keep one more.
 */
int execute_ums_thread(ums_context_t context);

/**
 * ums_thread_yield() - give control back to the scheduler
 * @scheduler_param: Handed to the entry point, with
 *	UMS_SCHEDULER_THREAD_YIELD.
 *
 * The worker goes to the tail of its completion list; its scheduler is told.
 * A signal handler for a worker runs when the worker is executed.
 *
 * Context: A worker.  Async-signal-safe.  Not a cancellation point; follow
 * with pthread_testcancel() to make it one.
 *
 * Return: 0 when the worker was executed again, or -1 with errno:
 *
 * * ESRCH - the caller is not a worker.
 */
int ums_thread_yield(void *scheduler_param);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* __LIBUMS_UMS_H */
