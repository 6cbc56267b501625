// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: schedulers, what they dequeue and execute.
 */

#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ums.h"

/**
 * enter_ums_scheduler_mode - IOCTL_ENTER_UMS with ENTER_UMS_SCHED
 * @data: the caller's device
 * @args: checked by the caller, except for the list
 *
 * Return: 0, -EINVAL for the list, -ENOMEM, -ENODEV.
 */
int enter_ums_scheduler_mode(struct ums_data *data,
			     const struct ums_enter *args)
{
	struct ums_event_node *startup;
	struct ums_scheduler *s;
	int ret;

	s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	if (!s)
		return -ENOMEM;
	s->context.kind = UMS_SCHEDULER;
	spin_lock_init(&s->lock);
	INIT_LIST_HEAD(&s->event_q);
	INIT_LIST_HEAD(&s->owned);
	s->id = atomic64_inc_return(&data->sched_ids);

	s->complist = ums_complist_get(data, args->clist);
	if (!s->complist) {
		ret = -EINVAL;
		goto err_free;
	}
	ret = -ENOMEM;
	startup = alloc_ums_event();
	if (!startup)
		goto err_complist;
	startup->event.type = SCHEDULER_STARTUP;
	s->spare = alloc_ums_event();
	if (!s->spare)
		goto err_startup;

	ret = ums_context_init(&s->context, data, &s->sched_wait_q);
	if (ret)
		goto err_spare;
	ret = ums_context_pool_insert(&s->context);
	if (ret)
		goto err_deinit;
	ret = ums_proc_scheduler_create(s);
	if (ret)
		goto err_pool;

	spin_lock(&s->lock);
	enqueue_ums_sched_event(s, startup, EVENT_ADD_TAIL);
	spin_unlock(&s->lock);
	ums_context_attach(&s->context);
	return 0;

err_pool:
	ums_context_pool_remove(&s->context);
err_deinit:
	ums_context_deinit(&s->context);
err_spare:
	free_ums_event(s->spare);
err_startup:
	free_ums_event(startup);
err_complist:
	ums_complist_put(s->complist);
err_free:
	ums_context_free(&s->context);
	return ret;
}

/*
 * Put the workers of one list back at its head, last one first, so that their
 * order is kept.  Return: how many there were.
 */
static int ums_scheduler_return_to(struct ums_complist *cl,
				   struct list_head *from)
{
	struct ums_worker *w, *prev;
	int count = 0;

	spin_lock(&cl->lock);
	list_for_each_entry_safe_reverse(w, prev, from, context.list) {
		if (w->complist != cl)
			continue;
		list_move(&w->context.list, &cl->queue);
		ums_worker_set_parent(w, NULL);
		count++;
	}
	spin_unlock(&cl->lock);
	return count;
}

/* Put dequeued workers back on the lists that they came from. */
static void ums_scheduler_return(struct ums_scheduler *s,
				 struct list_head *from)
{
	struct ums_complist *cl;
	int count;

	spin_lock(&s->lock);
	while (!list_empty(from)) {
		cl = list_first_entry(from, struct ums_worker,
				      context.list)->complist;
		kref_get(&cl->ref);
		count = ums_scheduler_return_to(cl, from);
		spin_unlock(&s->lock);

		ums_complist_wake(cl, count);
		ums_complist_put(cl);
		spin_lock(&s->lock);
	}
	spin_unlock(&s->lock);
}

/* The running worker goes on without a scheduler. */
static void ums_scheduler_disown_running(struct ums_scheduler *s)
{
	struct ums_worker *w;

	spin_lock(&s->lock);
	w = s->running;
	if (w) {
		/* Pairs with smp_load_acquire() in exec_ums_context(). */
		smp_store_release(&s->running, NULL);
		spin_lock(&w->complist->lock);
		ums_worker_set_parent(w, NULL);
		spin_unlock(&w->complist->lock);
	}
	s->dead = true;
	spin_unlock(&s->lock);
}

/* Move all that a list holds to @batch, owned by @s.  Return: the first one. */
static pid_t ums_scheduler_take(struct ums_scheduler *s,
				struct ums_complist *cl,
				struct list_head *batch)
{
	struct ums_worker *w;
	pid_t first = 0;

	spin_lock(&s->lock);
	spin_lock(&cl->lock);
	list_for_each_entry(w, &cl->queue, context.list) {
		if (!first)
			first = w->context.pid;
		ums_worker_set_parent(w, s);
	}
	list_splice_init(&cl->queue, batch);
	spin_unlock(&cl->lock);
	spin_unlock(&s->lock);
	return first;
}

/* Wait for a list to hold a worker, without taking it. */
static int ums_scheduler_await(struct ums_scheduler *s,
			       struct ums_complist *cl)
{
	struct ums_data *data = s->context.data;
	int ret;

	prepare_suspend_context(&s->context);
	ret = wait_event_interruptible_exclusive(cl->wait_q,
						 !list_empty(&cl->queue) ||
						 READ_ONCE(cl->deleted) ||
						 READ_ONCE(data->closed));
	set_context_state(&s->context, CONTEXT_RUNNING);
	if (ret)
		return -ERESTARTNOHAND;
	if (READ_ONCE(data->closed))
		return -ENODEV;
	return READ_ONCE(cl->deleted) ? -EIDRM : 0;
}

/**
 * dequeue_ums_complist - IOCTL_DEQUEUE_UMS_CLIST
 * @s: the calling scheduler
 * @uargs: which list, and where the first context goes
 *
 * Return: 0, -EINVAL for the list, -EIDRM, -ENODEV, -EFAULT with all put back,
 * -ERESTARTNOHAND, which is EINTR for a program with a handler.
 */
int dequeue_ums_complist(struct ums_scheduler *s,
			 struct ums_dequeue_clist __user *uargs)
{
	struct ums_dequeue_clist args;
	struct ums_complist *cl;
	LIST_HEAD(batch);
	pid_t first;
	int ret;

	/* All of it: a bad pointer is better found before waiting. */
	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	cl = ums_complist_get(s->context.data, args.clist);
	if (!cl)
		return -EINVAL;

	do {
		ret = ums_scheduler_await(s, cl);
		if (ret)
			goto out;
		/* 0 if another scheduler was faster. */
		first = ums_scheduler_take(s, cl, &batch);
	} while (!first);

	if (put_user(first, &uargs->context)) {
		ums_scheduler_return(s, &batch);
		ret = -EFAULT;
		goto out;
	}

	spin_lock(&s->lock);
	list_splice_tail(&batch, &s->owned);
	spin_unlock(&s->lock);
	ums_proc_links_changed(s);
out:
	ums_complist_put(cl);
	return ret;
}

/**
 * next_ums_context - IOCTL_NEXT_UMS_CTX_LIST
 * @s: the calling scheduler
 * @pid: a context that it has dequeued
 *
 * Return: the context dequeued after that one, 0 at the end, -ESRCH.
 */
int next_ums_context(struct ums_scheduler *s, pid_t pid)
{
	struct ums_worker *w;
	int ret = -ESRCH;

	rcu_read_lock();
	w = ums_worker_find(s->context.data, pid);
	if (w) {
		spin_lock(&s->lock);
		if (w->context.parent == &s->context &&
		    w->context.state == CONTEXT_IDLE) {
			if (list_is_last(&w->context.list, &s->owned))
				ret = 0;
			else
				ret = list_next_entry(w, context.list)->context.pid;
		}
		spin_unlock(&s->lock);
	}
	rcu_read_unlock();
	return ret;
}

/* Can @w be executed?  Under ums_worker_lock(). */
static int ums_worker_ready(struct ums_worker *w)
{
	if (w->dead)
		return -ESRCH;
	if (!w->context.parent || w->context.state != CONTEXT_IDLE)
		return -EBUSY;
	/* It would not run, and its scheduler not go on, until continued. */
	if (READ_ONCE(w->away) && task_is_stopped_or_traced(w->context.task))
		return -EAGAIN;
	return 0;
}

/*
 * Take a worker, dequeued by @s or another scheduler, and let it run.  Once its
 * parent is @s it can stop at any moment, so all else is ready before.
 */
static int ums_scheduler_run(struct ums_scheduler *s, struct ums_worker *w)
{
	struct ums_scheduler *owner;
	int ret;

	owner = ums_worker_lock(w);
	ret = ums_worker_ready(w);
	if (ret) {
		ums_worker_unlock(w, owner);
		return ret;
	}
	list_del_init(&w->context.list);
	ums_proc_links_changed(owner);
	w->last_sched = s->context.pid;
	w->last_sched_id = s->id;
	WRITE_ONCE(s->running, w);
	prepare_switch_context(&s->context, &w->context);
	ums_worker_set_parent(w, s);
	ums_worker_unlock(w, owner);

	wake_up_context(&w->context);
	return 0;
}

static bool ums_worker_stopped(struct ums_context *ctx)
{
	/* Pairs with smp_store_release() in ums_worker_report(). */
	return !smp_load_acquire(&to_scheduler(ctx)->running);
}

/**
 * exec_ums_context - IOCTL_EXEC_UMS_CTX
 * @s: the calling scheduler
 * @pid: the worker to run
 *
 * Return: 0 when the worker has stopped and its event is queued; -ESRCH for no
 * such worker, -EBUSY if it is not dequeued or the scheduler's last worker
 * still runs, -EAGAIN if it is held in a stop, -ENOMEM if no event can be had;
 * -EINTR and -ENODEV if the worker runs on.
 */
int exec_ums_context(struct ums_scheduler *s, pid_t pid)
{
	struct ums_worker *w;
	int ret = -ESRCH;

	/*
	 * Only set by this thread.  Pairs with smp_store_release() where it is
	 * cleared: the spare node is gone by then.
	 */
	if (smp_load_acquire(&s->running))
		return -EBUSY;
	/* Missing only if the event of the last stop has not been read. */
	if (!s->spare) {
		if (READ_ONCE(s->nr_events) >= UMS_MAX_EVENTS)
			return -ENOMEM;
		s->spare = alloc_ums_event();
		if (!s->spare)
			return -ENOMEM;
	}

	rcu_read_lock();
	w = ums_worker_find(s->context.data, pid);
	if (w)
		ret = ums_scheduler_run(s, w);
	rcu_read_unlock();
	if (ret)
		return ret;
	return ums_context_wait(&s->context, ums_worker_stopped);
}

/**
 * ums_scheduler_end - a scheduler leaves UMS or is dead
 * @s: its context; the thread is the caller's own or gone
 *
 * Its running worker goes on and will stop on its list; what it owned goes
 * back to the lists.
 */
void ums_scheduler_end(struct ums_scheduler *s)
{
	ums_scheduler_disown_running(s);
	ums_scheduler_return(s, &s->owned);

	ums_proc_scheduler_remove(s);
	ums_context_pool_remove(&s->context);
}

/**
 * ums_scheduler_destroy - free a scheduler that has ended
 * @s: the scheduler; the device may be gone afterwards
 */
void ums_scheduler_destroy(struct ums_scheduler *s)
{
	struct ums_event_node *node, *next;

	list_for_each_entry_safe(node, next, &s->event_q, list)
		free_ums_event(node);
	free_ums_event(s->spare);
	ums_complist_put(s->complist);
	ums_context_deinit(&s->context);
	ums_context_free(&s->context);
}
