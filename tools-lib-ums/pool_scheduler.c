// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * The schedulers of a pool.
 *
 * Workers that are ready are in the run queues, which all schedulers share, or
 * still on the completion list.  A worker that yields or is preempted goes
 * straight to its run queue (UMS_SCHEDULER_KEEP); one that blocks is forgotten
 * until it comes back through the list.
 *
 * A scheduler with nothing to do waits on the list, where each worker that comes
 * wakes one.  It sees nothing but the list, so nothing is to be in a run queue
 * while anybody waits: a scheduler goes to wait when all queues are empty, and
 * while one waits the others take from the list no more than they run at once.
 * That is the first on the list, whatever its priority, and nothing if they have
 * a worker to go on with: who takes the list's best and leaves that one in a
 * queue has used up the wake-up of the scheduler that should come for it.  The
 * last one to wake up takes all that is on the list, and priorities count again.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pool_internal.h"

/* How many workers are dequeued by one call. */
#define BATCH	32

static __thread struct scheduler *self;

/**
 * libums_pool_futex() - the futex system call, for waiting and waking
 * @word: the futex
 * @op: FUTEX_WAIT or FUTEX_WAKE
 * @value: the value to wait on, or how many to wake
 */
void libums_pool_futex(atomic_uint *word, int op, unsigned int value)
{
	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/**
 * libums_pool_push_ended() - leave a record to be freed
 * @p: the pool
 * @w: the record, not the caller's any more
 */
void libums_pool_push_ended(struct ums_pool *p, struct worker *w)
{
	uintptr_t first = atomic_load(&p->ended);

	do {
		w->next = (struct worker *)first;
	} while (!atomic_compare_exchange_weak(&p->ended, &first,
					       (uintptr_t)w));
}

/**
 * libums_pool_drop_live() - there is one worker less
 * @p: the pool
 */
void libums_pool_drop_live(struct ums_pool *p)
{
	if (atomic_fetch_sub(&p->live, 1) == 1)
		libums_pool_futex(&p->live, FUTEX_WAKE, INT_MAX);
}

static void end_worker(struct ums_pool *p, struct worker *w)
{
	libums_pool_push_ended(p, w);
	libums_pool_drop_live(p);
}

/* There is no scheduling any more.  Under the lock. */
static void lose(struct ums_pool *p, int error)
{
	if (!p->error)
		p->error = error;
	p->stopping = true;
	atomic_fetch_or(&p->live, POOL_LOST);
	libums_pool_futex(&p->live, FUTEX_WAKE, INT_MAX);
}

static void init_queue(struct run_queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

/**
 * libums_pool_init_queues() - empty the run queues of a new pool
 * @p: the pool
 */
void libums_pool_init_queues(struct ums_pool *p)
{
	for (int i = 0; i < UMS_POOL_PRIORITIES; i++)
		init_queue(&p->queues[i]);
}

static void append(struct run_queue *queue, struct worker *w)
{
	w->next = NULL;
	*queue->last = w;
	queue->last = &w->next;
}

static void push(struct ums_pool *p, struct worker *w, int priority)
{
	append(&p->queues[priority], w);
}

static struct run_queue *best_queue(struct ums_pool *p)
{
	for (int i = 0; i < UMS_POOL_PRIORITIES; i++)
		if (p->queues[i].first)
			return &p->queues[i];
	return NULL;
}

static struct worker *pop(struct ums_pool *p)
{
	struct run_queue *queue = best_queue(p);
	struct worker *w;

	if (!queue)
		return NULL;
	w = queue->first;
	queue->first = w->next;
	if (!w->next)
		queue->last = &queue->first;
	return w;
}

/* Moves to @others those in @queue that have another priority by now. */
static void sift(struct run_queue *queue, int priority,
		 struct run_queue *others)
{
	struct worker *w, *next = queue->first;

	init_queue(queue);
	while ((w = next)) {
		next = w->next;
		append(atomic_load(&w->priority) == priority ? queue : others,
		       w);
	}
}

/* Moves those whose priority has changed to the ends of their new queues. */
static void put_right(struct ums_pool *p)
{
	struct run_queue others;
	struct worker *w, *next;

	init_queue(&others);
	for (int i = 0; i < UMS_POOL_PRIORITIES; i++)
		sift(&p->queues[i], i, &others);
	for (w = others.first; w; w = next) {
		next = w->next;
		push(p, w, atomic_load(&w->priority));
	}
}

/* Return: how many, or the error negated. */
static int dequeue(struct ums_pool *p, ums_ready_item_t *items, int room,
		   int64_t timeout_ns)
{
	int n = dequeue_ums_ready(p->list, items, room, timeout_ns);

	return n < 0 ? -errno : n;
}

/* Queues what dequeue() returned. */
static void sort_in(struct ums_pool *p, const ums_ready_item_t *items, int n)
{
	for (int i = 0; i < n; i++) {
		struct worker *w = (struct worker *)(uintptr_t)items[i].cookie;

		w->context = items[i].context;
		if (items[i].why == UMS_WHY_TERMINATED)
			end_worker(p, w);
		else
			push(p, w, atomic_load(&w->priority));
	}
	/* While stopping, the list is deleted under their feet. */
	if (n < 0 && n != -EAGAIN && n != -EINTR && !p->stopping)
		lose(p, -n);
}

/*
 * Takes from the list what may be taken, without waiting.  @full: something is
 * going to be queued right after this.
 */
static void collect(struct ums_pool *p, bool full)
{
	int room = p->idle ? !full && !best_queue(p) : BATCH;
	ums_ready_item_t items[BATCH];
	int n;

	if (!room)
		return;
	do {
		n = dequeue(p, items, room, 0);
		sort_in(p, items, n);
	} while (n == BATCH);
}

/* Waits for a worker on the list.  False: there is an event instead. */
static bool wait_for_worker(struct ums_pool *p)
{
	ums_ready_item_t item;
	int n;

	p->idle++;
	pthread_mutex_unlock(&p->lock);
	n = dequeue(p, &item, 1, -1);
	pthread_mutex_lock(&p->lock);
	p->idle--;
	sort_in(p, &item, n);
	return n;
}

/*
 * Gives @back to the run queue of @priority, if it is not NULL, and picks the
 * next worker, waiting for one.  It is NULL if there is an event instead.
 * Return: false when it is time to leave.
 */
static bool choose(struct scheduler *s, struct worker *back, int priority)
{
	struct ums_pool *p = s->pool;
	bool stopping;

	pthread_mutex_lock(&p->lock);
	s->current = NULL;
	while (!p->stopping) {
		/* What is on the list was ready before @back. */
		collect(p, back);
		if (back)
			push(p, back, priority);
		back = NULL;
		if (atomic_exchange(&p->reorder, false))
			put_right(p);
		s->current = pop(p);
		if (s->current || !wait_for_worker(p))
			break;
	}
	stopping = p->stopping;
	pthread_mutex_unlock(&p->lock);
	return !stopping;
}

/*
 * A worker was not executed.  If a debugger holds it in a stop, or memory is
 * short, it has to be tried again: after all that is ready, and not too often
 * where that is nothing.  One that is dead or not dequeued will be heard of in
 * another way.  Return: the worker to give back, or NULL.
 */
static struct worker *refused(struct ums_pool *p, struct worker *w, int error)
{
	struct timespec pause = { .tv_nsec = 100000 };

	if (error == ESRCH || error == EBUSY)
		return NULL;
	if (error == EAGAIN || error == ENOMEM) {
		nanosleep(&pause, NULL);
		return w;
	}
	pthread_mutex_lock(&p->lock);
	lose(p, error);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Executes one worker.  @back: the one that has stopped and is ready, or NULL. */
static void run_next(struct scheduler *s, struct worker *back)
{
	int priority = back ? atomic_load(&back->priority) : 0;
	struct ums_pool *p = s->pool;

	while (choose(s, back, priority)) {
		if (!s->current)
			return;
		s->context = s->current->context;
		if (!execute_ums_thread_for(s->context, p->slice_ns))
			return;
		back = refused(p, s->current, errno);
		priority = UMS_POOL_PRIORITIES - 1;
	}
	leave_ums_scheduling_mode();
}

/* The end of a worker.  Return: whether the current one has stopped. */
static bool told_of_end(struct scheduler *s, ums_context_t context)
{
	if (s->current && s->context == context) {
		end_worker(s->pool, s->current);
		return true;
	}
	/*
	 * It died while blocked, and nothing leads to its record, which is
	 * freed with the pool.  The current one's event, if any, is the next.
	 */
	libums_pool_drop_live(s->pool);
	return !s->current;
}

static void report_start(struct ums_pool *p, int error)
{
	pthread_mutex_lock(&p->lock);
	if (error)
		lose(p, error);
	p->started++;
	pthread_cond_signal(&p->start);
	pthread_mutex_unlock(&p->lock);
}

static void entry_point(ums_reason_t reason, ums_activation_t *activation,
			void *param)
{
	struct scheduler *s = self;

	switch (reason) {
	case UMS_SCHEDULER_STARTUP:
		s = param;
		self = s;
		report_start(s->pool, 0);
		run_next(s, NULL);
		break;
	case UMS_SCHEDULER_THREAD_BLOCKED:
		/* It may run under another scheduler by now. */
		run_next(s, NULL);
		break;
	case UMS_SCHEDULER_THREAD_END:
		if (told_of_end(s, activation->context))
			run_next(s, NULL);
		break;
	default:
		run_next(s, s->current);
		break;
	}
}

/**
 * libums_pool_scheduler() - a scheduler's thread
 * @scheduler: its struct scheduler
 *
 * Return: NULL, when the pool is stopped or lost.
 */
void *libums_pool_scheduler(void *scheduler)
{
	struct scheduler *s = scheduler;
	ums_scheduler_startup_info_t info = {
		.completion_list = s->pool->list,
		.ums_scheduler_entry_point = entry_point,
		.scheduler_param = s,
	};

	if (enter_ums_scheduling_mode_flags(&info, UMS_SCHEDULER_BLOCK_EVENTS |
						   UMS_SCHEDULER_KEEP))
		report_start(s->pool, errno);
	return NULL;
}
