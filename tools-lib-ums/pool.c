// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * A pool, as its users see it: made, given workers, waited for, shut down.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool_internal.h"

#define MAX_SCHEDULERS	4096
#define MAX_CPUS	8192
#define DEFAULT_SLICE	10000000	/* ns */

/* A cpu_set_t for big machines. */
struct cpus {
	cpu_set_t set[MAX_CPUS / CPU_SETSIZE];
};

/* The pool that the caller is, or was, a worker of. */
static __thread struct ums_pool *my_pool;

static int next_cpu(const struct cpus *cpus, int cpu)
{
	do {
		cpu = (cpu + 1) % MAX_CPUS;
	} while (!CPU_ISSET_S(cpu, sizeof(*cpus), cpus->set));
	return cpu;
}

static int start_scheduler(struct ums_pool *p, int cpu)
{
	struct scheduler *s = &p->schedulers[p->nr];
	struct cpus cpus = { 0 };
	pthread_attr_t attr;
	int error;

	s->pool = p;
	CPU_SET_S(cpu, sizeof(cpus), cpus.set);
	error = pthread_attr_init(&attr);
	if (error)
		return error;
	error = pthread_attr_setaffinity_np(&attr, sizeof(cpus), cpus.set);
	if (!error)
		error = pthread_create(&s->thread, &attr, libums_pool_scheduler,
				       s);
	if (!error)
		p->nr++;
	pthread_attr_destroy(&attr);
	return error;
}

/* Return: 0 when all have started, or an error; stop() ends those that did. */
static int start_schedulers(struct ums_pool *p, const struct cpus *cpus,
			    unsigned int nr)
{
	sigset_t all, old;
	int cpu = -1;
	int error = 0;

	/* A handler would run beside the worker, on a thread of nobody's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!error && p->nr < nr) {
		cpu = next_cpu(cpus, cpu);
		error = start_scheduler(p, cpu);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);

	pthread_mutex_lock(&p->lock);
	while (p->started < p->nr)
		pthread_cond_wait(&p->start, &p->lock);
	if (!error)
		error = p->error;
	pthread_mutex_unlock(&p->lock);
	return error;
}

/* Ends the schedulers.  There are no workers. */
static void stop(struct ums_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_mutex_unlock(&p->lock);

	/* Wakes them. */
	delete_ums_completion_list(&p->list);
	for (unsigned int i = 0; i < p->nr; i++)
		pthread_join(p->schedulers[i].thread, NULL);
}

static int init_worker_attr(struct ums_pool *p, size_t stack_size,
			    const struct cpus *cpus, unsigned int nr)
{
	struct cpus used = { 0 };
	int cpu = -1;
	int error;

	error = pthread_attr_init(&p->worker_attr);
	if (error)
		return error;
	if (stack_size)
		error = pthread_attr_setstacksize(&p->worker_attr, stack_size);
	for (unsigned int i = 0; i < nr; i++) {
		cpu = next_cpu(cpus, cpu);
		CPU_SET_S(cpu, sizeof(used), used.set);
	}
	if (!error)
		error = pthread_attr_setaffinity_np(&p->worker_attr,
						    sizeof(used), used.set);
	if (error)
		pthread_attr_destroy(&p->worker_attr);
	return error;
}

static struct ums_pool *alloc_pool(const ums_pool_attr_t *attr, unsigned int nr)
{
	struct ums_pool *p;

	p = calloc(1, sizeof(*p) + nr * sizeof(p->schedulers[0]));
	if (!p)
		return NULL;
	p->home = getpid();
	p->slice_ns = attr->slice_ns ? attr->slice_ns : DEFAULT_SLICE;
	if (attr->slice_ns == UMS_POOL_NO_SLICE)
		p->slice_ns = 0;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->start, NULL);
	pthread_mutex_init(&p->records_lock, NULL);
	libums_pool_init_queues(p);
	return p;
}

static void free_pool(struct ums_pool *p)
{
	pthread_mutex_destroy(&p->records_lock);
	pthread_cond_destroy(&p->start);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static struct ums_pool *create(const ums_pool_attr_t *attr,
			       const struct cpus *cpus, unsigned int nr)
{
	struct ums_pool *p = alloc_pool(attr, nr);
	int error = ENOMEM;

	if (!p)
		goto err;
	error = init_worker_attr(p, attr->stack_size, cpus, nr);
	if (error)
		goto err_free;
	if (create_ums_completion_list(&p->list)) {
		error = errno;
		goto err_attr;
	}
	error = start_schedulers(p, cpus, nr);
	if (error)
		goto err_stop;
	return p;

err_stop:
	stop(p);
err_attr:
	pthread_attr_destroy(&p->worker_attr);
err_free:
	free_pool(p);
err:
	errno = error;
	return NULL;
}

static bool valid(const ums_pool_attr_t *attr)
{
	for (size_t i = 0; i < sizeof(attr->reserved) / sizeof(uint64_t); i++)
		if (attr->reserved[i])
			return false;
	return attr->schedulers <= MAX_SCHEDULERS;
}

int ums_pool_create(ums_pool_t **pool, const ums_pool_attr_t *attr)
{
	const ums_pool_attr_t defaults = { 0 };
	struct cpus cpus = { 0 };
	struct ums_pool *p;
	unsigned int nr;
	int state;

	if (!pool) {
		errno = EFAULT;
		return -1;
	}
	if (!attr)
		attr = &defaults;
	if (!valid(attr)) {
		errno = EINVAL;
		return -1;
	}
	if (sched_getaffinity(0, sizeof(cpus), cpus.set))
		return -1;
	nr = attr->schedulers;
	if (!nr)
		nr = CPU_COUNT_S(sizeof(cpus), cpus.set);

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	p = create(attr, &cpus, nr);
	pthread_setcancelstate(state, NULL);
	if (!p)
		return -1;
	*pool = p;
	return 0;
}

static int check(struct ums_pool *p)
{
	if (!p)
		errno = EFAULT;
	else if (p->home != getpid())
		errno = ESRCH;
	else if (atomic_load(&p->live) & POOL_LOST)
		errno = p->error;
	else
		return 0;
	return -1;
}

static int check_priority(struct ums_pool *p, int priority)
{
	if (check(p))
		return -1;
	if (priority >= 0 && priority < UMS_POOL_PRIORITIES)
		return 0;
	errno = EINVAL;
	return -1;
}

static void link_record(struct ums_pool *p, struct worker *w)
{
	w->next_record = p->records;
	if (w->next_record)
		w->next_record->link = &w->next_record;
	w->link = &p->records;
	p->records = w;
}

static void unlink_record(struct worker *w)
{
	*w->link = w->next_record;
	if (w->next_record)
		w->next_record->link = w->link;
}

/* Frees records of workers that have ended, but waits for none. */
static void reap(struct ums_pool *p)
{
	struct worker *w, *next;

	w = (struct worker *)atomic_exchange(&p->ended, 0);
	for (; w; w = next) {
		next = w->next;
		if (w->pool_joins && pthread_tryjoin_np(w->thread, NULL)) {
			libums_pool_push_ended(p, w);
			continue;
		}
		unlink_record(w);
		free(w);
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	my_pool = w->pool;
	return w->start_routine(w->arg);
}

/* Under records_lock, so that whoever finds the record finds it complete. */
static int spawn(struct ums_pool *p, struct worker *w)
{
	ums_attr_t attr = {
		.completion_list = p->list,
		.pthread_attr = &p->worker_attr,
	};

	reap(p);
	atomic_fetch_add(&p->live, 1);
	if (ums_pthread_create_cookie(&w->thread, &attr, worker_main, w,
				      (uintptr_t)w)) {
		libums_pool_drop_live(p);
		return -1;
	}
	link_record(p, w);
	return 0;
}

int ums_pool_spawn(ums_pool_t *pool, pthread_t *thread, int priority,
		   void *(*start_routine)(void *), void *arg)
{
	struct worker *w;
	int ret, error;

	if (check_priority(pool, priority))
		return -1;
	if (!start_routine) {
		errno = EINVAL;
		return -1;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -1;
	atomic_init(&w->priority, priority);
	w->pool = pool;
	w->start_routine = start_routine;
	w->arg = arg;
	w->pool_joins = !thread;

	pthread_mutex_lock(&pool->records_lock);
	ret = spawn(pool, w);
	error = errno;
	if (!ret && thread)
		*thread = w->thread;
	pthread_mutex_unlock(&pool->records_lock);
	if (ret) {
		free(w);
		errno = error;
	}
	return ret;
}

int ums_pool_set_priority(ums_pool_t *pool, pthread_t thread, int priority)
{
	struct worker *w;

	if (check_priority(pool, priority))
		return -1;
	pthread_mutex_lock(&pool->records_lock);
	/* The newest are first: an old one may have had the same id. */
	for (w = pool->records; w; w = w->next_record)
		if (pthread_equal(w->thread, thread))
			break;
	if (w) {
		atomic_store(&w->priority, priority);
		atomic_store(&pool->reorder, true);
	}
	pthread_mutex_unlock(&pool->records_lock);
	if (w)
		return 0;
	errno = ESRCH;
	return -1;
}

int ums_pool_wait(ums_pool_t *pool)
{
	unsigned int live;

	if (check(pool))
		return -1;
	if (my_pool == pool) {
		errno = EDEADLK;
		return -1;
	}
	while ((live = atomic_load(&pool->live))) {
		if (live & POOL_LOST)
			return check(pool);
		libums_pool_futex(&pool->live, FUTEX_WAIT, live);
	}
	return 0;
}

int ums_pool_destroy(ums_pool_t *pool)
{
	struct worker *w, *next;
	int state;

	if (ums_pool_wait(pool))
		return -1;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	stop(pool);
	for (w = pool->records; w; w = next) {
		next = w->next_record;
		if (w->pool_joins)
			pthread_join(w->thread, NULL);
		free(w);
	}
	pthread_setcancelstate(state, NULL);
	pthread_attr_destroy(&pool->worker_attr);
	free_pool(pool);
	return 0;
}
