// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: workers, where they are, how they stop and end.
 */

#include <linux/rcupdate.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>

#include "ums.h"

static int ums_worker_join(struct ums_worker *w, struct ums_data *data, int id)
{
	struct ums_complist *cl = ums_complist_get(data, id);
	int ret = 0;

	if (!cl)
		return -EINVAL;
	spin_lock(&cl->lock);
	if (cl->deleted) {
		ret = -EINVAL;
	} else {
		cl->members++;
		w->member = true;
		w->complist = cl;
	}
	spin_unlock(&cl->lock);
	if (ret)
		ums_complist_put(cl);
	return ret;
}

/* Under the list's lock. */
static void ums_worker_drop_member(struct ums_worker *w)
{
	if (w->member)
		w->complist->members--;
	w->member = false;
}

static void ums_worker_unjoin(struct ums_worker *w)
{
	spin_lock(&w->complist->lock);
	ums_worker_drop_member(w);
	spin_unlock(&w->complist->lock);
	ums_complist_put(w->complist);
}

/**
 * enter_ums_worker_mode - IOCTL_ENTER_UMS with ENTER_UMS_WORK
 * @data: the caller's device
 * @args: checked by the caller, except for the list
 *
 * The thread parks on its way back to user mode.
 *
 * Return: 0, -EINVAL for the list, -ENOMEM, -ENODEV.
 */
int enter_ums_worker_mode(struct ums_data *data, const struct ums_enter *args)
{
	struct ums_worker *w;
	int ret;

	w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	if (!w)
		return -ENOMEM;
	w->context.kind = UMS_WORKER;
	INIT_LIST_HEAD(&w->link_node);
	w->cookie = args->cookie;
	ums_park_init(w);

	ret = -ENOMEM;
	w->end_event = alloc_ums_event();
	if (!w->end_event)
		goto err_free;
	ret = ums_worker_join(w, data, args->clist);
	if (ret)
		goto err_event;
	ret = ums_context_init(&w->context, data, &w->wait_q);
	if (ret)
		goto err_join;
	ret = ums_context_pool_insert(&w->context);
	if (ret)
		goto err_deinit;
	ret = ums_proc_worker_create(w);
	if (ret)
		goto err_pool;

	ums_context_attach(&w->context);
	return ums_park_call(w, UMS_STOP_NEW);

err_pool:
	ums_context_pool_remove(&w->context);
err_deinit:
	ums_context_deinit(&w->context);
err_join:
	ums_worker_unjoin(w);
err_event:
	free_ums_event(w->end_event);
err_free:
	ums_context_free(&w->context);
	return ret;
}

/**
 * ums_worker_find - look a worker up
 * @data: the device
 * @pid: its context
 *
 * Called under rcu_read_lock().
 *
 * Return: the worker or NULL.
 */
struct ums_worker *ums_worker_find(struct ums_data *data, pid_t pid)
{
	struct ums_context *ctx = ums_context_find(&data->workers, pid);

	return ctx ? to_worker(ctx) : NULL;
}

/**
 * ums_worker_lock - lock the place where a worker is
 * @w: the worker, kept from being freed by RCU or by being the caller's own
 *
 * That is its parent's lock if it has one: the worker is owned or run by it.
 * Else it is its completion list's: the worker is queued there, or runs without
 * a scheduler.  Whoever moves a worker holds the lock of the place it leaves,
 * and sets the new parent last.  So state and list are those of the place that
 * was locked.
 *
 * Return: the parent or NULL; ums_worker_unlock() wants it, since the worker
 * may have been moved by then.
 */
struct ums_scheduler *ums_worker_lock(struct ums_worker *w)
	__acquires(w)
{
	struct ums_context *parent, *now;
	struct ums_scheduler *place;

	rcu_read_lock();
	now = READ_ONCE(w->context.parent);
	while (1) {
		parent = now;
		place = parent ? to_scheduler(parent) : NULL;
		spin_lock(place ? &place->lock : &w->complist->lock);
		/* Pairs with ums_worker_set_parent(). */
		now = smp_load_acquire(&w->context.parent);
		if (now == parent)
			break;
		spin_unlock(place ? &place->lock : &w->complist->lock);
	}
	rcu_read_unlock();
	return place;
}

/**
 * ums_worker_unlock - undo ums_worker_lock()
 * @w: the worker
 * @place: what that returned
 */
void ums_worker_unlock(struct ums_worker *w, struct ums_scheduler *place)
	__releases(w)
{
	spin_unlock(place ? &place->lock : &w->complist->lock);
}

/* The worker's place and its list, for one that leaves the one for the other. */
static struct ums_scheduler *ums_worker_lock_both(struct ums_worker *w)
	__acquires(w)
	__acquires(&w->complist->lock)
{
	struct ums_scheduler *place = ums_worker_lock(w);

	if (place)
		spin_lock(&w->complist->lock);
	else
		__acquire(&w->complist->lock);
	return place;
}

static void ums_worker_unlock_both(struct ums_worker *w,
				   struct ums_scheduler *place)
	__releases(&w->complist->lock)
	__releases(w)
{
	if (place)
		spin_unlock(&w->complist->lock);
	else
		__release(&w->complist->lock);
	ums_worker_unlock(w, place);
}

/*
 * The running worker of @s stops for good or for now.  Under the scheduler's
 * lock; the caller fills the node before it unlocks, and wakes the scheduler.
 */
static struct ums_event_node *ums_worker_report(struct ums_scheduler *s)
{
	struct ums_event_node *node = s->spare;

	s->spare = NULL;
	memset(&node->event, 0, sizeof(node->event));
	enqueue_ums_sched_event(s, node, EVENT_ADD_TAIL);
	/* Pairs with smp_load_acquire() in exec_ums_context(). */
	smp_store_release(&s->running, NULL);
	return node;
}

/**
 * ums_worker_stop - stop: an event to the scheduler, and onto the list
 * @w: the calling thread's own worker, running and marked to stop
 *
 * Without a scheduler there is no event.  The caller parks.
 */
void ums_worker_stop(struct ums_worker *w)
{
	struct ums_complist *cl = w->complist;
	struct ums_context *ctx = &w->context;
	struct ums_event_node *node;
	struct ums_scheduler *s;

	rcu_read_lock();
	s = ums_worker_lock_both(w);
	if (s) {
		node = ums_worker_report(s);
		node->event.type = THREAD_YIELD;
		node->event.yield_params.context = ctx->pid;
		node->event.yield_params.scheduler_params = w->stop_param;
	}
	prepare_suspend_context(ctx);
	list_add_tail(&ctx->list, &cl->queue);
	ums_worker_set_parent(w, NULL);
	ums_worker_unlock_both(w, s);

	/* From here on it may be executed: it is not asleep, but will look. */
	w->stop = UMS_STOP_NONE;
	ums_complist_wake(cl, 1);
	if (s)
		ums_context_notify(&s->context);
	rcu_read_unlock();
}

/*
 * Report the end of a worker that nobody runs to the scheduler that ran it
 * last.  Return: that one, to be woken, or NULL.
 */
static struct ums_scheduler *ums_worker_report_last(struct ums_worker *w)
{
	struct ums_scheduler *s;
	struct ums_context *ctx;

	ctx = ums_context_find(&w->context.data->schedulers, w->last_sched);
	if (!ctx)
		return NULL;
	s = to_scheduler(ctx);
	if (s->id != w->last_sched_id)
		return NULL;

	spin_lock(&s->lock);
	if (s->dead) {
		spin_unlock(&s->lock);
		return NULL;
	}
	ums_event_terminated(w->end_event, w->context.pid);
	enqueue_ums_sched_event(s, w->end_event, EVENT_ADD_TAIL);
	w->end_event = NULL;
	spin_unlock(&s->lock);
	return s;
}

/**
 * ums_worker_end - a worker leaves UMS or is dead
 * @w: the worker; its thread is the caller's own or gone
 *
 * When the scheduler reads THREAD_TERMINATED, the context is unknown and its
 * procfs entries are gone.
 */
void ums_worker_end(struct ums_worker *w)
{
	struct ums_context *ctx = &w->context;
	struct ums_scheduler *s = NULL;
	struct ums_scheduler *parent;

	hrtimer_cancel(&w->return_timer);
	ums_proc_worker_remove(w);
	ums_context_pool_remove(ctx);

	rcu_read_lock();
	parent = ums_worker_lock_both(w);
	w->dead = true;
	ums_worker_drop_member(w);
	if (ctx->state == CONTEXT_IDLE) {
		list_del_init(&ctx->list);
	} else if (parent) {
		s = parent;
		ums_event_terminated(ums_worker_report(s), ctx->pid);
	}
	ums_worker_set_parent(w, NULL);
	ums_worker_unlock_both(w, parent);

	if (!s)
		s = ums_worker_report_last(w);
	if (s)
		ums_context_notify(&s->context);
	rcu_read_unlock();
}

/**
 * ums_worker_destroy - free a worker that has ended
 * @w: the worker; the device may be gone afterwards
 */
void ums_worker_destroy(struct ums_worker *w)
{
	free_ums_event(w->end_event);
	ums_complist_put(w->complist);
	ums_context_deinit(&w->context);
	ums_context_free(&w->context);
}

/**
 * ums_worker_disown_exiting - do not count exiting workers as members
 * @data: the device
 * @cl: a list that is to be deleted
 */
void ums_worker_disown_exiting(struct ums_data *data, struct ums_complist *cl)
{
	struct rhashtable_iter iter;
	struct ums_context *ctx;

	rhashtable_walk_enter(&data->workers, &iter);
	rhashtable_walk_start(&iter);
	while ((ctx = rhashtable_walk_next(&iter))) {
		struct ums_worker *w;

		if (IS_ERR(ctx))	/* resized: it starts over */
			continue;
		w = to_worker(ctx);
		if (w->complist != cl ||
		    !(READ_ONCE(ctx->task->flags) & PF_EXITING))
			continue;
		spin_lock(&cl->lock);
		ums_worker_drop_member(w);
		spin_unlock(&cl->lock);
	}
	rhashtable_walk_stop(&iter);
	rhashtable_walk_exit(&iter);
}
