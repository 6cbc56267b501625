/* SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause */
/*
 * ums_pool: a ready-made scheduler for libums.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#ifndef __LIBUMS_UMS_POOL_H
#define __LIBUMS_UMS_POOL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/**
 * DOC: ums_pool
 *
 * **Model.** A pool runs any number of workers on a few schedulers, one for
 * each CPU.  Of the workers only as many run at a time as there are schedulers.
 * When one blocks, in whatever system call or page fault, its scheduler runs
 * another; when its sleep is over it queues up again.  When its slice of time
 * is over it goes behind the others of its priority.  A scheduler that finds no
 * worker ready sleeps, and none sleeps while a worker is ready.
 *
 * **Workers** are threads made by ums_pool_spawn().  They may do what any
 * thread may: block, take locks, spawn workers, end by returning, pthread_exit()
 * or cancellation, and be joined with pthread_join(), which gives the result.
 * ums_thread_yield() lets the others of the same priority go first.
 * preempt_ums_thread() and query_ums_thread() work as on any worker.  A worker
 * must not call switch_to_ums_thread(), and not close descriptors that it did
 * not open.
 *
 * **Priorities** are from 0, which goes first, to UMS_POOL_PRIORITIES - 1.
 * While all schedulers are busy they are strict: no worker is picked while one
 * of a smaller number is ready; within a priority it is first come, first
 * served.  A scheduler that sleeps is woken for a worker that becomes ready,
 * and nobody waits until it is awake: meanwhile the others go on with the
 * worker that yielded or whose slice is over, or, without one, take the one
 * that came first.  So a worker can be passed over by one of a greater number
 * until every scheduler that it and others have woken is awake, and for the
 * rest of the slice that was begun by then.
 * A running worker is not stopped for another one before its slice is over.  A
 * worker waits for ever if there is always one before it, and no worker
 * inherits the priority of one that waits for it.
 *
 * **CPUs.** A scheduler thread is bound to its CPU, has all signals blocked and
 * otherwise the scheduling policy of the thread that created the pool.  Workers
 * may use the CPUs of all schedulers; each runs where the scheduler that picked
 * it runs.  A worker that confines itself to other CPUs runs there, while its
 * scheduler's CPU may idle.
 *
 * **Errors.** As in <ums.h>: -1 and errno, and nothing has changed.  What a
 * failed call has made, it has undone.
 *
 * **Cancellation.** No function is a cancellation point.  A cancelled worker
 * acts upon it at its next cancellation point, woken if it is blocked in one,
 * and ends as any other.
 *
 * **Fork.** The pool stays with the parent.  In a child every function fails
 * with ESRCH; the memory of the copy is lost.  A worker that forks is a plain
 * thread in the child, and the only one.  The child may create pools of its own.
 *
 * **Exit.** A process may end with a pool alive.
 */

/* How many priorities there are. */
#define UMS_POOL_PRIORITIES	8

/* The one in the middle. */
#define UMS_POOL_NORMAL		4

/* struct ums_pool_attr.slice_ns: workers run until they block, yield or end. */
#define UMS_POOL_NO_SLICE	UINT64_MAX

/**
 * typedef ums_pool_t - a pool
 */
typedef struct ums_pool ums_pool_t;

/**
 * struct ums_pool_attr - attributes of a new pool
 * @schedulers: How many schedulers; 0: one for each CPU in the affinity mask of
 *	the caller.  They are bound to the CPUs of that mask in turn.
 * @slice_ns: How long a worker runs before others of its priority have a turn,
 *	in nanoseconds; 0: 10 milliseconds; UMS_POOL_NO_SLICE: as it likes.
 * @stack_size: Of each worker, in bytes; 0: what pthread_create() gives.
 * @reserved: Must be 0.
 *
 * Set the whole structure to 0 before filling it in.
 */
struct ums_pool_attr {
	unsigned int schedulers;
	uint64_t slice_ns;
	size_t stack_size;
	uint64_t reserved[5];
};

/**
 * typedef ums_pool_attr_t - see struct ums_pool_attr
 */
typedef struct ums_pool_attr ums_pool_attr_t;

/**
 * ums_pool_create() - create a pool
 * @pool: Where the new pool goes.  Ended with ums_pool_destroy().
 * @attr: Its attributes, or NULL for the defaults.  Not used afterwards.
 *
 * Returns when all schedulers are ready.
 *
 * Context: Any thread.
 *
 * Return: 0, or -1 with errno; there is no new thread then:
 *
 * * EFAULT - @pool is NULL.
 * * EINVAL - @attr asks for more than 4096 schedulers, for a stack that
 *   pthread_create() refuses, or has something in @reserved; or the machine
 *   may have more than 8192 CPUs.
 * * EAGAIN - too many threads, or not enough memory for one.
 * * ENOMEM - out of memory.
 * * ENOSPC - the process has as many completion lists as it may have.
 * * what opening the device gives, see <ums.h>.
 */
int ums_pool_create(ums_pool_t **pool, const ums_pool_attr_t *attr);

/**
 * ums_pool_spawn() - create a worker
 * @pool: The pool.
 * @thread: Where the new thread's id goes, for the caller to pthread_join() or
 *	pthread_detach(); or NULL: nobody can join it, and the pool sees to it
 *	that the thread is gone when ums_pool_destroy() returns.
 * @priority: From 0, the first, to UMS_POOL_PRIORITIES - 1.
 * @start_routine: What the worker runs.
 * @arg: Handed to @start_routine.
 *
 * The worker counts from now on, and is queued as the last of its priority as
 * soon as its thread has started: one that was spawned a moment later may come
 * before it.  It inherits what a thread inherits, such as the signal mask, except for the
 * affinity: it may use all CPUs of the pool.
 *
 * Destructors of thread-specific data run when the thread is a worker no more.
 *
 * Context: Any thread, also a worker.
 *
 * Return: 0, or -1 with errno; there is no new thread then:
 *
 * * EFAULT - @pool is NULL.
 * * EINVAL - @start_routine is NULL, or there is no such priority.
 * * EAGAIN - too many threads, or not enough memory for one.
 * * ENOMEM - out of memory.
 * * ESRCH - the pool belongs to another process.
 * * EBADF, ENODEV - as ums_pool_wait().
 */
int ums_pool_spawn(ums_pool_t *pool, pthread_t *thread, int priority,
		   void *(*start_routine)(void *), void *arg);

/**
 * ums_pool_set_priority() - change a worker's priority
 * @pool: The pool.
 * @thread: The worker, as ums_pool_spawn() or pthread_self() names it.  Must not
 *	have been joined, nor have ended if it is detached.
 * @priority: From 0, the first, to UMS_POOL_PRIORITIES - 1.
 *
 * A worker that is ready moves to the end of its new priority's queue the next
 * time that any worker stops.  One that runs goes on running.
 *
 * Context: Any thread, also a worker.
 *
 * Return: 0, or -1 with errno:
 *
 * * EFAULT - @pool is NULL.
 * * EINVAL - there is no such priority.
 * * ESRCH - @thread is no worker of this pool, or the pool belongs to another
 *   process.
 * * EBADF, ENODEV - as ums_pool_wait().
 */
int ums_pool_set_priority(ums_pool_t *pool, pthread_t thread, int priority);

/**
 * ums_pool_wait() - wait until no worker is left
 * @pool: The pool.
 *
 * Waits for all workers to end, including those that are spawned meanwhile.
 * The pool can be used on.
 *
 * Context: Any thread but the pool's own workers.
 *
 * Return: 0, or -1 with errno:
 *
 * * EFAULT - @pool is NULL.
 * * EDEADLK - the caller is a worker of this pool.
 * * ESRCH - the pool belongs to another process.
 * * EBADF, ENODEV - the program closed the library's descriptor.  The pool has
 *   no schedulers any more, and its memory and threads are lost.
 */
int ums_pool_wait(ums_pool_t *pool);

/**
 * ums_pool_destroy() - shut a pool down
 * @pool: The pool.  It does not exist any more when this returns 0.
 *
 * Waits as ums_pool_wait() does, then ends the schedulers and frees everything.
 * The threads that the pool has made are gone then, except for workers that the
 * caller has to join or has detached.  Workers may spawn others to the last.
 * No other thread may use the pool when this is called or later.
 *
 * Context: Any thread but the pool's own workers.
 *
 * Return: 0, or -1 with errno as ums_pool_wait().
 */
int ums_pool_destroy(ums_pool_t *pool);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* __LIBUMS_UMS_POOL_H */
