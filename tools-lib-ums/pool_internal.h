/* SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause */
/*
 * What the two sides of a pool share: its schedulers (pool_scheduler.c) and its
 * callers (pool.c), which are workers and plain threads.  Neither side waits
 * for the other.
 *
 * A worker can be stopped at any instruction, with any lock held.  A scheduler
 * that waited for the lock would wait for a worker which it alone may run.  So
 * schedulers take no lock that a worker can hold: not ums_pool.records_lock, not
 * malloc()'s, not stdio's.  They allocate, free and print nothing while there
 * are workers.  What they share among themselves is under ums_pool.lock, which
 * no caller takes while there are workers.
 *
 * The callers share ums_pool.records_lock.  A worker that is stopped while it
 * holds it keeps other callers waiting until its next turn; schedulers go on.
 *
 * What goes from one side to the other does so without locks: a new worker
 * through the kernel's completion list, with its record as the cookie; a record
 * that is done with through ums_pool.ended; a new priority through the record;
 * the number of workers by a futex.
 */
#ifndef __LIBUMS_POOL_INTERNAL_H
#define __LIBUMS_POOL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "ums.h"
#include "ums_pool.h"

/* In ums_pool.live: the pool has lost its schedulers. */
#define POOL_LOST	0x80000000U

/**
 * struct worker - the pool's record of a worker
 * @next: the next in a run queue (ums_pool.lock) or in ums_pool.ended
 * @context: its context, known when it comes off the list; the schedulers'
 * @priority: the callers write it, the schedulers go by it
 * @pool: its pool; constant, as the next three
 * @start_routine: what it runs
 * @arg: the argument of that
 * @pool_joins: nobody else can join its thread
 * @thread: its thread; records_lock
 * @next_record: the next in ums_pool.records; records_lock
 * @link: what points to this one there; records_lock
 *
 * Allocated by ums_pool_spawn(), used by the schedulers until they are told of
 * its end and put it into ums_pool.ended, freed by a later ums_pool_spawn() or
 * with the pool.
 */
struct worker {
	struct worker *next;
	ums_context_t context;
	atomic_int priority;
	struct ums_pool *pool;
	void *(*start_routine)(void *arg);
	void *arg;
	bool pool_joins;
	pthread_t thread;
	struct worker *next_record;
	struct worker **link;
};

/* The workers of one priority that are ready. */
struct run_queue {
	struct worker *first;
	struct worker **last;
};

/**
 * struct scheduler - a scheduler
 * @thread: its thread; the creator's
 * @pool: its pool; constant
 * @current: the worker that it executed last, until it is told of the event; or
 *	NULL; its own
 * @context: the context of that, which may be gone sooner than told; its own
 */
struct scheduler {
	pthread_t thread;
	struct ums_pool *pool;
	struct worker *current;
	ums_context_t context;
};

/**
 * struct ums_pool - a pool
 * @list: the completion list of all workers; constant, as the next three
 * @slice_ns: how long a worker runs, 0: as it likes
 * @home: the process that it belongs to
 * @worker_attr: attributes of the workers' threads
 * @live: workers whose end was not reported, and POOL_LOST.  A futex, woken
 *	when no worker is left or the pool is lost
 * @reorder: priorities were changed since the run queues were put right
 * @ended: a stack of records that the schedulers are done with: the first one
 * @lock: the schedulers' lock, protects the fields from here to @started
 * @queues: the run queues
 * @idle: schedulers that wait on the list, or are on their way there or back
 * @stopping: the schedulers are to leave
 * @error: why the pool is lost
 * @start: signalled when @started changes, for ums_pool_create()
 * @started: schedulers that have entered scheduling mode, or failed to
 * @records_lock: the callers' lock
 * @records: all records; records_lock
 * @nr: how many of @schedulers have a thread; the creator's
 * @schedulers: array of them
 */
struct ums_pool {
	ums_completion_list_t list;
	uint64_t slice_ns;
	pid_t home;
	pthread_attr_t worker_attr;

	atomic_uint live;
	atomic_bool reorder;
	atomic_uintptr_t ended;

	pthread_mutex_t lock;
	struct run_queue queues[UMS_POOL_PRIORITIES];
	unsigned int idle;
	bool stopping;
	int error;
	pthread_cond_t start;
	unsigned int started;

	pthread_mutex_t records_lock;
	struct worker *records;

	unsigned int nr;
	struct scheduler schedulers[];
};

void libums_pool_init_queues(struct ums_pool *p);
void *libums_pool_scheduler(void *scheduler);
void libums_pool_futex(atomic_uint *word, int op, unsigned int value);
void libums_pool_push_ended(struct ums_pool *p, struct worker *w);
void libums_pool_drop_live(struct ums_pool *p);

#endif /* __LIBUMS_POOL_INTERNAL_H */
