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
 * **Blocking, slices, preemption.**  A scheduler gets its CPU back whatever its
 * worker does, if it asks for that: with UMS_SCHEDULER_BLOCK_EVENTS when the
 * worker sleeps in the kernel, with execute_ums_thread_for() when the worker's
 * time is up, and anybody can stop a running worker with preempt_ums_thread().
 * A program that uses none of them sees only what workers do of their own
 * accord.  <ums_pool.h> has a complete scheduler that uses all of them.
 *
 * **Errors.** Every function returns -1 and sets errno on failure, and has
 * then changed nothing unless its text says otherwise.  errno is meaningless
 * after success.
 *
 * **Device.** create_ums_completion_list(), delete_ums_completion_list(),
 * get_ums_completion_list_fd(), ums_pthread_create(),
 * ums_pthread_create_cookie(), enter_ums_scheduling_mode() and
 * enter_ums_scheduling_mode_flags() open ``/dev/ums`` if the process has not
 * done so yet, and pass on what open() reports, each time, so that a later
 * call can succeed: ENOENT (the module is not loaded), EACCES, EMFILE, ENFILE,
 * ENOMEM, and EBUSY when the process opened the device itself, past the
 * library.  The device stays open, close-on-exec, until the process ends or
 * executes another program.  A program that closes descriptors it did not open
 * takes the device away from under the library.  Schedulers that wait in a call
 * get ENODEV, and every later call fails with EBADF, or with ENODEV while a copy
 * of the descriptor is open in another process.  Workers run on as plain
 * threads.
 *
 * **Threads.** Every function may be called by any number of threads at
 * once.  ums_thread_yield(), switch_to_ums_thread(), preempt_ums_thread() and
 * query_ums_thread() are async-signal-safe, the others are not.  None is a
 * cancellation point by itself, except execute_ums_thread() while it waits for
 * a stopped worker.
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
 *
 * A worker that blocks, or is stopped by a slice or by preempt_ums_thread(),
 * did not choose the moment: it may hold any lock, that of malloc() or stdout
 * too.  The entry point of a scheduler that lets this happen must not wait for
 * a lock that a worker may hold, hence not allocate and not print.
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
 * @UMS_SCHEDULER_THREAD_BLOCKED: A worker sleeps in the kernel: in a system
 *	call, a page fault or a stop.  It comes to its completion list by
 *	itself when it is about to return to its program, and may be there
 *	already, or with whoever took it from there.  Only for a scheduler that
 *	entered with UMS_SCHEDULER_BLOCK_EVENTS.
 * @UMS_SCHEDULER_THREAD_PREEMPTED: A worker was stopped from outside: its time
 *	was up, or somebody called preempt_ums_thread().  It is where a worker
 *	that yielded would be.  Only where the program uses
 *	execute_ums_thread_for() or preempt_ums_thread().
 *
 * Under a scheduler that entered with UMS_SCHEDULER_KEEP, a worker that yielded
 * or was preempted is not on its list: the scheduler owns it.
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

/* struct ums_blocked.cause: a page fault, another trap, a stop in user mode */
#define UMS_BLOCKED_BY_TRAP	(-1)

/**
 * struct ums_blocked - what UMS_SCHEDULER_THREAD_BLOCKED carries
 * @context: The worker.
 * @cause: The number of the system call that it sleeps in, a SYS_* of
 *	<sys/syscall.h>, or UMS_BLOCKED_BY_TRAP.
 */
struct ums_blocked {
	ums_context_t context;
	int32_t cause;
};

/**
 * union ums_activation - what an entry point is told about an event
 * @context: The worker that the event is about.
 * @blocked: UMS_SCHEDULER_THREAD_BLOCKED: the worker, and what it sleeps in.
 * @reserved: Room for what later events carry; 0.
 *
 * The size is fixed, so that members can be added without breaking programs
 * built before.  A structure added here starts with the context.
 */
union ums_activation {
	ums_context_t context;
	struct ums_blocked blocked;
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
 *	value that the worker gave to ums_thread_yield().  Otherwise NULL.
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
 * enum ums_scheduler_flags - flags of enter_ums_scheduling_mode_flags()
 * @UMS_SCHEDULER_BLOCK_EVENTS: When the scheduler's worker sleeps in the
 *	kernel, the scheduler goes on, and is told by
 *	UMS_SCHEDULER_THREAD_BLOCKED.  Without this flag it sleeps on until the
 *	worker yields, is stopped or ends.
 * @UMS_SCHEDULER_KEEP: A worker that yields or is preempted does not go to its
 *	list but stays dequeued, the last of what the scheduler owns: it can be
 *	executed again at once.  One that blocked goes to its list all the same.
 */
enum ums_scheduler_flags {
	UMS_SCHEDULER_BLOCK_EVENTS = 1,
	UMS_SCHEDULER_KEEP = 2
};

/**
 * enum ums_why - why a worker is ready
 * @UMS_WHY_NEW: It was created, and never executed.
 * @UMS_WHY_YIELDED: It called ums_thread_yield() or switch_to_ums_thread().
 * @UMS_WHY_UNBLOCKED: Its sleep in the kernel is over.
 * @UMS_WHY_PREEMPTED: It was stopped from outside.
 * @UMS_WHY_ORPHANED: The scheduler that had dequeued it has left.
 * @UMS_WHY_TERMINATED: It is dead, and the scheduler that executed it last has
 *	left.  Its context names nothing any more and cannot be executed.
 *
 * Later versions may add values.
 */
enum ums_why {
	UMS_WHY_NEW = 1,
	UMS_WHY_YIELDED = 2,
	UMS_WHY_UNBLOCKED = 3,
	UMS_WHY_PREEMPTED = 4,
	UMS_WHY_ORPHANED = 5,
	UMS_WHY_TERMINATED = 6
};

/**
 * typedef ums_why_t - see enum ums_why
 */
typedef enum ums_why ums_why_t;

/**
 * struct ums_ready_item - one worker that dequeue_ums_ready() gives
 * @context: The worker.
 * @why: Why it was on the list.
 * @cookie: What ums_pthread_create_cookie() was given for it, else 0.
 */
struct ums_ready_item {
	ums_context_t context;
	ums_why_t why;
	uint64_t cookie;
};

/**
 * typedef ums_ready_item_t - see struct ums_ready_item
 */
typedef struct ums_ready_item ums_ready_item_t;

/**
 * enum ums_thread_state - what a worker is doing
 * @UMS_THREAD_RUNNING: It runs under a scheduler, or on its own because its
 *	scheduler has left.
 * @UMS_THREAD_READY: It is parked: on its list, or dequeued.
 * @UMS_THREAD_BLOCKED: It sleeps in the kernel, and its scheduler was told.
 */
enum ums_thread_state {
	UMS_THREAD_RUNNING = 1,
	UMS_THREAD_READY = 2,
	UMS_THREAD_BLOCKED = 3
};

/**
 * typedef ums_thread_state_t - see enum ums_thread_state
 */
typedef enum ums_thread_state ums_thread_state_t;

/**
 * struct ums_thread_info - what query_ums_thread() tells
 * @state: What the worker is doing.
 * @why: Why it became ready last.
 * @completion_list: Its completion list.
 * @scheduler: The thread id of the scheduler that executes it or has dequeued
 *	it; 0 for none.
 * @cookie: What ums_pthread_create_cookie() was given, else 0.
 * @switches: How often it was executed or switched to.
 * @yields: How often it yielded.
 * @handovers: How often it switched to another worker.
 * @preemptions: How often it was preempted.
 * @blocks: How often it blocked.
 * @running_ns: How long it was running so far, in nanoseconds of
 *	CLOCK_MONOTONIC.  Includes sleeps that were not reported, and time
 *	for which the kernel gave the CPU to others.
 * @ready_ns: How long it was ready.
 * @blocked_ns: How long it was blocked.
 * @reserved: Room for later versions; 0.
 */
struct ums_thread_info {
	ums_thread_state_t state;
	ums_why_t why;
	ums_completion_list_t completion_list;
	ums_context_t scheduler;
	uint64_t cookie;
	uint64_t switches;
	uint64_t yields;
	uint64_t handovers;
	uint64_t preemptions;
	uint64_t blocks;
	uint64_t running_ns;
	uint64_t ready_ns;
	uint64_t blocked_ns;
	uint64_t reserved[4];
};

/**
 * typedef ums_thread_info_t - see struct ums_thread_info
 */
typedef struct ums_thread_info ums_thread_info_t;

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
 * or dequeue_ums_ready() wake up with EIDRM, and descriptors of it report
 * POLLHUP.  Schedulers registered with it stay schedulers.  The name may be
 * given to a new list later.
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
 * get_ums_completion_list_fd() - a descriptor to wait for a list with
 * @list: The completion list.
 *
 * For poll(), select() and epoll: the descriptor is readable (POLLIN) while the
 * list holds a worker, and hangs up (POLLHUP) once the list is deleted.  It
 * cannot be read from; the worker is fetched with dequeue_ums_ready(), which
 * should not wait, as another scheduler may have been faster.  It shows no
 * events: a scheduler that waits with it bounds the wait.
 *
 * The descriptor is the caller's, close-on-exec, and to be closed with close().
 * It keeps neither the list from being deleted nor the device open.
 *
 * Context: Any thread.
 *
 * Return: The descriptor, or -1 with errno:
 *
 * * EINVAL - there is no such list.
 * * EMFILE, ENFILE - too many open files.
 * * ENOMEM - out of memory.
 * * what opening the device gives.
 */
int get_ums_completion_list_fd(ums_completion_list_t list);

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
 * ums_pthread_create_cookie() - create a worker with a cookie
 * @thread: As for ums_pthread_create().
 * @attr: As for ums_pthread_create().
 * @start_routine: As for ums_pthread_create().
 * @arg: As for ums_pthread_create().
 * @cookie: The program's own value, which the kernel gives back beside the
 *	worker's context.
 *
 * The address of the scheduler's own record of the worker makes a good cookie:
 * dequeue_ums_ready() then finds the record without a table.
 *
 * Context: Any thread, also a scheduler or a worker.
 *
 * Return: As ums_pthread_create().
 */
int ums_pthread_create_cookie(pthread_t *thread, ums_attr_t *attr,
			      void *(*start_routine)(void *), void *arg,
			      uint64_t cookie);

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
 * * ENODEV, EBADF - the program closed the library's descriptor while this
 *   waited for an event, or before.
 * * what opening the device gives.
 */
int enter_ums_scheduling_mode(ums_scheduler_startup_info_t *info);

/**
 * enter_ums_scheduling_mode_flags() - become a scheduler of another kind
 * @info: As for enter_ums_scheduling_mode().
 * @flags: UMS_SCHEDULER_BLOCK_EVENTS, UMS_SCHEDULER_KEEP, both or 0.
 *
 * enter_ums_scheduling_mode() is this with no flags.
 *
 * Context: A plain thread.
 *
 * Return: As enter_ums_scheduling_mode(), or -1 with errno:
 *
 * * EINVAL - also: an unknown flag.
 */
int enter_ums_scheduling_mode_flags(ums_scheduler_startup_info_t *info,
				    unsigned int flags);

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
 * call; these stay in front of the new ones, whose first is returned.  Waits
 * also while there is an event, and one may come by itself to a scheduler with
 * UMS_SCHEDULER_BLOCK_EVENTS: that one uses dequeue_ums_ready().
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
 * * ENODEV - the program closed the library's descriptor while the call waited.
 */
int dequeue_ums_completion_list_items(ums_completion_list_t list,
				      ums_context_t *context);

/**
 * dequeue_ums_ready() - take some workers off a list
 * @list: The completion list.
 * @items: Where they go, oldest first; the caller's.
 * @nr: How many fit, at least 1.
 * @timeout_ns: How long to wait while the list is empty, in nanoseconds of
 *	CLOCK_MONOTONIC; 0: not at all; negative: for ever.
 *
 * The caller owns them as after dequeue_ums_completion_list_items().  What does
 * not fit stays on the list.  Workers with UMS_WHY_TERMINATED come first; they
 * are not owned, nor to be executed, and this is all that is ever told of their
 * end.
 *
 * Does not wait while there is an event that the entry point has not been told
 * of.  One that comes by itself is the UMS_SCHEDULER_THREAD_END of a worker that
 * dies while blocked.  An entry point that gets 0 and has nothing to execute
 * returns, and is called for the event.
 *
 * Context: A scheduler.
 *
 * Return: How many were taken; 0 if the list is empty and there is an event; or
 * -1 with errno, and nothing was taken:
 *
 * * EFAULT - @items is no memory to write to.
 * * EINVAL - @nr is 0, or there is no such completion list (any more).
 * * ESRCH - the caller is not a scheduler.
 * * EAGAIN - the list is empty, and @timeout_ns is 0.
 * * ETIMEDOUT - the list was empty all the time.
 * * EIDRM - the list was deleted while the call waited.
 * * EINTR - a signal handler ran while the call waited.
 * * ENODEV - the program closed the library's descriptor while the call waited.
 */
int dequeue_ums_ready(ums_completion_list_t list, ums_ready_item_t *items,
		      unsigned int nr, int64_t timeout_ns);

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
 * The worker runs on the caller's CPU until it yields, ends, is preempted or,
 * under a scheduler with UMS_SCHEDULER_BLOCK_EVENTS, blocks; the caller sleeps
 * so long.  What stopped it is told to the entry point in a later call, not in
 * this one.  An entry point may execute several workers before it returns:
 * their events are kept and delivered in order.
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
 * * EBUSY - the worker is not dequeued: it runs, is blocked, or is on its list.
 * * ENOMEM - the entry point has left 1024 events undelivered or more, or
 *   there is no memory to keep one more.
 * * ENODEV - the program closed the library's descriptor while the worker ran.
 *   This is the one failure after which it did: it runs on, as a plain thread.
 */
int execute_ums_thread(ums_context_t context);

/**
 * execute_ums_thread_for() - run a worker for some time
 * @context: As for execute_ums_thread().
 * @slice_ns: How long the worker may run before it is stopped, in nanoseconds;
 *	0: as long as it likes.
 *
 * As execute_ums_thread(), but a worker that still runs when the time is up is
 * stopped at its next return to user mode, and reported by
 * UMS_SCHEDULER_THREAD_PREEMPTED.  The time begins when the worker is made to
 * run and goes on when it switches to another.  A time of a few hundred
 * nanoseconds may be over before the worker has executed one instruction.
 *
 * A worker that a debugger or job control holds in a stop is refused rather
 * than waited for, so that the scheduler can run another one.
 *
 * Context: A scheduler.
 *
 * Return: 0 when the worker has stopped, or -1 with errno; it did not run
 * then:
 *
 * * EAGAIN - the worker is held in a stop.  The caller still owns it.
 * * ESRCH, EBUSY, ENOMEM, ENODEV - as execute_ums_thread().
 */
int execute_ums_thread_for(ums_context_t context, uint64_t slice_ns);

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

/**
 * switch_to_ums_thread() - run another worker in place of this one
 * @context: A worker that the caller's scheduler has dequeued.
 *
 * The caller stops and stays dequeued, the last of what its scheduler owns.
 * @context runs in its place; the scheduler sleeps on and is told nothing.
 * The next event that it gets is about the worker which stops next.
 *
 * Context: A worker.  Async-signal-safe.  Not a cancellation point.
 *
 * Return: 0 when the caller was executed or switched to again, or -1 with
 * errno:
 *
 * * ESRCH - the caller is not a worker or has no scheduler, as that has left,
 *   or there is no such worker.
 * * EBUSY - @context is not dequeued by the caller's scheduler, or is the
 *   caller.
 * * EAGAIN - @context is held in a stop by a debugger or job control.
 */
int switch_to_ums_thread(ums_context_t context);

/**
 * preempt_ums_thread() - stop a running worker
 * @context: The worker.
 *
 * It stops at its next return to user mode, and its scheduler is told by
 * UMS_SCHEDULER_THREAD_PREEMPTED.  Under a scheduler without
 * UMS_SCHEDULER_BLOCK_EVENTS a worker in a long system call stops when the call
 * is over.  A worker that yields, blocks or ends first has stopped for that
 * reason, and this request is forgotten.  On the caller itself it is like a
 * yield.  A worker whose scheduler has left stops onto its list.
 *
 * Context: Any thread.  Async-signal-safe.
 *
 * Return: 0, or -1 with errno:
 *
 * * EAGAIN - the worker does not run: it is parked or blocked.
 * * ESRCH - there is no such worker.
 */
int preempt_ums_thread(ums_context_t context);

/**
 * query_ums_thread() - what a worker is doing and has done
 * @context: The worker.
 * @info: Where the answer goes.
 *
 * The times are brought up to date by the call; a new worker's begin when it is
 * first ready.
 *
 * Context: Any thread, also the worker itself.  Async-signal-safe.
 *
 * Return: 0, or -1 with errno:
 *
 * * EFAULT - @info is NULL.
 * * ESRCH - there is no such worker.
 */
int query_ums_thread(ums_context_t context, ums_thread_info_t *info);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* __LIBUMS_UMS_H */
