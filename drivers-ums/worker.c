// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: workers, where they are, how they stop and end.
 */

#include <linux/array_size.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/ptrace.h>
#include <linux/rhashtable.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <asm/syscall.h>

#include "trace.h"
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
	} else if (cl->nr_corpses >= UMS_MAX_CORPSES) {
		ret = -ENOMEM;
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
}

/*
 * A worker for the calling thread, known to nobody yet.  Undone by
 * ums_worker_unjoin() and ums_worker_destroy().
 */
VISIBLE_IF_KUNIT struct ums_worker *
ums_worker_create(struct ums_data *data, const struct ums_enter *args)
{
	struct ums_worker *w;
	int ret;

	w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	if (!w)
		return ERR_PTR(-ENOMEM);
	w->context.kind = UMS_WORKER;
	INIT_LIST_HEAD(&w->link_node);
	INIT_LIST_HEAD(&w->link_todo);
	w->cookie = args->cookie;
	w->since = ktime_get_ns();
	seqcount_init(&w->time_seq);
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
	return w;

err_join:
	ums_worker_unjoin(w);
	ums_complist_put(w->complist);
err_event:
	free_ums_event(w->end_event);
err_free:
	ums_context_free(&w->context);
	return ERR_PTR(ret);
}

/**
 * enter_ums_worker_mode - IOCTL_ENTER_UMS with ENTER_UMS_WORK
 * @data: the caller's device
 * @args: checked by the caller, except for the list
 *
 * The thread parks, see ums_park_call().
 *
 * Return: 0, -EINVAL for the list, -ENOMEM, -ENODEV.
 */
int enter_ums_worker_mode(struct ums_data *data, const struct ums_enter *args)
{
	struct ums_worker *w = ums_worker_create(data, args);
	int ret;

	if (IS_ERR(w))
		return PTR_ERR(w);
	ret = ums_context_pool_insert(&w->context);
	if (ret)
		goto err_destroy;
	ret = ums_proc_worker_create(w);
	if (ret)
		goto err_pool;

	trace_ums_worker_enter(w);
	ums_context_attach(&w->context);
	return ums_park_call(w, UMS_READY_NEW);

err_pool:
	ums_context_pool_remove(&w->context);
err_destroy:
	ums_worker_unjoin(w);
	ums_worker_destroy(w);
	return ret;
}

/**
 * ums_worker_find - look a worker up
 * @data: the device
 * @pid: its context
 *
 * Called between ums_find_begin() and ums_find_end(), or under rcu_read_lock().
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
 * @w: the worker, kept from being freed
 *
 * The caller is between ums_find_begin() and ums_find_end(), or in another
 * section of RCU readers: the scheduler that it finds may go away.
 *
 * The lock is its parent's if it has one: the worker is owned or run by it.
 * Else it is its completion list's: the worker is queued there, or runs without
 * a scheduler, or is blocked and reported.  Whoever moves a worker holds the
 * lock of the place it leaves, and sets the new parent last.  So all but the
 * state is as the place says.
 *
 * Return: the parent or NULL; ums_worker_unlock() wants it, since the worker
 * may have been moved by then.
 */
struct ums_scheduler *ums_worker_lock(struct ums_worker *w)
	__acquires(w)
{
	struct ums_context *parent, *now;
	struct ums_scheduler *place;

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

/* The system call that the calling thread is in, or UMS_CAUSE_TRAP. */
static int ums_current_cause(void)
{
	struct pt_regs *regs = task_pt_regs(current);

#ifdef CONFIG_RISCV
	/* There, a trap leaves the register with the number alone. */
	if (regs->cause != EXC_SYSCALL)
		return UMS_CAUSE_TRAP;
#endif
	return syscall_get_nr(current, regs);
}

/**
 * ums_worker_block - the calling thread goes to sleep
 * @w: its worker
 *
 * Called in the thread's schedule(), under the run queue's lock.  So this only
 * says so and has the scheduler woken, from an interrupt: what else there is to
 * do is done by the scheduler, or by the worker if it comes back sooner.
 *
 * The order is: state, irq_work (a full barrier, also when it is pending),
 * wake-up.  The scheduler sets its task state before it looks at the worker's.
 */
void ums_worker_block(struct ums_worker *w)
{
	struct ums_context *ctx = &w->context;
	struct ums_context *parent;
	struct ums_scheduler *s;

	/* Pairs with the release in set_context_state(): the parent. */
	if (w->parking || smp_load_acquire(&ctx->state) != CONTEXT_RUNNING)
		return;
	/* The end is near, and will be reported. */
	if (current->flags & PF_EXITING)
		return;
	/* On PREEMPT_RT, a lock of the kernel's own. */
	if (READ_ONCE(current->__state) & TASK_RTLOCK_WAIT)
		return;
	/* It cannot be freed: with interrupts off this is an RCU reader. */
	parent = READ_ONCE(ctx->parent);
	if (!parent)
		return;
	s = to_scheduler(parent);
	if (!s->block_events)
		return;

	w->cause = ums_current_cause();
	trace_ums_block(s, w);
	set_context_state(ctx, CONTEXT_BLOCKED);
	irq_work_queue(&s->block_irq_work);
}

/**
 * ums_worker_report_blocked - make a worker's blocking an event
 * @w: the worker, blocked
 * @s: the scheduler that runs it; its lock is held
 *
 * The caller sets the new parent.
 */
void ums_worker_report_blocked(struct ums_worker *w, struct ums_scheduler *s)
{
	w->blocks++;
	ums_event_blocked(ums_worker_report(s), w->context.pid, w->cause);
}

/**
 * ums_worker_account - a worker's state is about to change
 * @w: the worker; the caller may change its state
 *
 * Whoever changes the state next has seen it before, so there is one writer.
 */
void ums_worker_account(struct ums_worker *w)
{
	u64 now = ktime_get_ns();

	preempt_disable();
	raw_write_seqcount_begin(&w->time_seq);
	w->times[w->context.state] += now - w->since;
	w->since = now;
	raw_write_seqcount_end(&w->time_seq);
	preempt_enable();
}

/*
 * What @w has spent in each state.  Under its lock; all that may happen is that
 * it blocks.
 */
static void ums_worker_times(struct ums_worker *w, struct ums_query *query)
{
	u64 times[ARRAY_SIZE(w->times)];
	unsigned int seq;

	do {
		seq = read_seqcount_begin(&w->time_seq);
		memcpy(times, w->times, sizeof(times));
		times[READ_ONCE(w->context.state)] += ktime_get_ns() - w->since;
	} while (read_seqcount_retry(&w->time_seq, seq));

	query->running_ns = times[CONTEXT_RUNNING];
	query->ready_ns = times[CONTEXT_IDLE];
	query->blocked_ns = times[CONTEXT_BLOCKED];
}

static const u32 ums_query_states[] = {
	[CONTEXT_RUNNING]	= UMS_STATE_RUNNING,
	[CONTEXT_IDLE]		= UMS_STATE_READY,
	[CONTEXT_BLOCKED]	= UMS_STATE_BLOCKED,
};

/* Under the worker's lock, which returned @place. */
static void ums_worker_query(struct ums_worker *w, struct ums_scheduler *place,
			     struct ums_query *query)
{
	*query = (struct ums_query) {
		.context = w->context.pid,
		.state = ums_query_states[READ_ONCE(w->context.state)],
		.why = w->why,
		.clist = w->complist->id,
		.scheduler = place ? place->context.pid : 0,
		.cookie = w->cookie,
		.switches = w->context.switches,
		.yields = w->yields,
		.handovers = w->handovers,
		.preemptions = w->preemptions,
		.blocks = w->blocks,
	};
	ums_worker_times(w, query);
}

/**
 * query_ums_worker - IOCTL_UMS_QUERY
 * @data: the caller's device
 * @uquery: which worker, and where to put what there is to know
 *
 * Return: 0, -ESRCH for no such worker, -EINVAL, -EFAULT.
 */
int query_ums_worker(struct ums_data *data, struct ums_query __user *uquery)
{
	struct ums_scheduler *place;
	struct ums_query query;
	struct ums_worker *w;
	int ret = -ESRCH;

	if (copy_from_user(&query, uquery, sizeof(query)))
		return -EFAULT;
	if (query.flags)
		return -EINVAL;

	ums_find_begin();
	w = ums_worker_find(data, query.context);
	if (w) {
		place = ums_worker_lock(w);
		if (!w->dead) {
			ums_worker_query(w, place, &query);
			ret = 0;
		}
		ums_worker_unlock(w, place);
	}
	ums_find_end();
	if (!ret && copy_to_user(uquery, &query, sizeof(query)))
		ret = -EFAULT;
	return ret;
}

/* Why is the calling thread to stop?  0: it isn't.  Under its worker's lock. */
static u32 ums_worker_why(struct ums_worker *w, struct ums_scheduler *s)
{
	if (w->context.state == CONTEXT_BLOCKED)
		return UMS_READY_UNBLOCKED;
	if (w->stop)
		return w->stop;
	if (w->preempt || (s && READ_ONCE(s->slice_over)))
		return UMS_READY_PREEMPTED;
	return 0;
}

static void ums_worker_count(struct ums_worker *w, u32 why)
{
	switch (why) {
	case UMS_READY_YIELDED:
		w->yields++;
		break;
	case UMS_READY_PREEMPTED:
		w->preemptions++;
		break;
	}
}

/* To the end of its list, from @place, which is locked. */
static void ums_worker_queue(struct ums_worker *w, struct ums_scheduler *place)
{
	struct ums_complist *cl = w->complist;

	/* Without a scheduler the list is the place. */
	if (place)
		spin_lock(&cl->lock);
	else
		__acquire(&cl->lock);
	list_add_tail(&w->context.list, &cl->queue);
	ums_worker_set_parent(w, NULL);
	if (place)
		spin_unlock(&cl->lock);
	else
		__release(&cl->lock);
}

/**
 * ums_worker_stop - stop, if there is a reason to
 * @w: the calling thread's own worker, running or blocked
 *
 * The scheduler gets the event, if there is one that does not have it yet, and
 * the worker goes onto its list, or stays with the scheduler if that keeps it.
 * The caller parks.
 */
void ums_worker_stop(struct ums_worker *w)
{
	struct ums_complist *cl = w->complist;
	struct ums_context *ctx = &w->context;
	struct ums_scheduler *s;
	bool kept;
	u32 why;

	ums_find_begin();
	s = ums_worker_lock(w);
	why = ums_worker_why(w, s);
	if (!why) {
		ums_worker_unlock(w, s);
		goto out;
	}
	if (why == UMS_READY_UNBLOCKED)
		trace_ums_unblock(w);
	else
		trace_ums_stop(s, w, why);
	if (s && why == UMS_READY_UNBLOCKED)
		ums_worker_report_blocked(w, s);
	else if (s)
		ums_event_stopped(ums_worker_report(s), w, why);
	ums_worker_count(w, why);
	w->why = why;
	w->stop = 0;
	w->preempt = false;
	prepare_suspend_context(ctx);
	kept = s && s->keep && why != UMS_READY_UNBLOCKED;
	if (kept) {
		list_add_tail(&ctx->list, &s->owned);
		ums_proc_worker_moved(w);
	} else {
		ums_worker_queue(w, s);
	}
	ums_worker_unlock(w, s);

	/* From here on it may be executed: it is not asleep, but will look. */
	if (!kept)
		ums_complist_wake(cl, 1);
	if (s)
		ums_context_notify(&s->context, true);
out:
	ums_find_end();
}

/* Hand the scheduler over from @w to @to, which it owns.  Under its lock. */
static void ums_worker_hand_over(struct ums_worker *w, struct ums_worker *to,
				 struct ums_scheduler *s)
{
	trace_ums_switch(s, w, to);
	w->why = UMS_READY_YIELDED;
	w->preempt = false;
	list_del_init(&to->context.list);
	list_add_tail(&w->context.list, &s->owned);
	ums_proc_worker_moved(w);
	ums_proc_worker_moved(to);

	to->last_sched = s->context.pid;
	to->last_sched_id = s->id;
	WRITE_ONCE(s->running, to);
	w->handovers++;
	prepare_suspend_context(&w->context);
	s->context.switches++;
	to->context.switches++;
	set_context_state(&to->context, CONTEXT_RUNNING);

	/* Pairs with smp_store_mb() in ums_slice_over(). */
	smp_mb();
	if (READ_ONCE(s->slice_over))
		ums_context_kick(&to->context);
}

/**
 * switch_ums_context - IOCTL_UMS_SWITCH
 * @w: the calling worker
 * @pid: the worker to run instead, dequeued by the same scheduler
 *
 * The scheduler sleeps on, and is not told; its slice goes on.
 *
 * Return: 0, -ESRCH for no such worker or no scheduler, -EBUSY if the worker is
 * not dequeued by this scheduler, -EAGAIN if it is held in a stop.
 */
int switch_ums_context(struct ums_worker *w, pid_t pid)
{
	struct ums_scheduler *s;
	struct ums_worker *to;
	int ret;

	ums_find_begin();
	to = ums_worker_find(w->context.data, pid);
	s = ums_worker_lock(w);
	if (!to || !s)
		ret = -ESRCH;
	else if (READ_ONCE(to->context.parent) != &s->context)
		ret = -EBUSY;
	else
		ret = ums_worker_ready(to, s);
	if (!ret)
		ums_worker_hand_over(w, to, s);
	ums_worker_unlock(w, s);

	/* From here on this worker may be executed: it will look. */
	if (!ret)
		wake_up_context(&to->context);
	ums_find_end();
	return ret ?: ums_park_call(w, 0);
}

/**
 * preempt_ums_worker - IOCTL_UMS_PREEMPT
 * @data: the caller's device
 * @pid: the worker to stop
 *
 * It stops at its next return to user mode, unless it stops before.
 *
 * Return: 0, -ESRCH for no such worker, -EAGAIN if it does not run.
 */
int preempt_ums_worker(struct ums_data *data, pid_t pid)
{
	struct ums_scheduler *place;
	struct ums_worker *w;
	int ret = 0;

	ums_find_begin();
	w = ums_worker_find(data, pid);
	if (!w) {
		ums_find_end();
		return -ESRCH;
	}
	place = ums_worker_lock(w);
	if (w->dead)
		ret = -ESRCH;
	else if (READ_ONCE(w->context.state) != CONTEXT_RUNNING)
		ret = -EAGAIN;
	else
		w->preempt = true;
	if (!ret)
		trace_ums_preempt(place, w, false);
	ums_worker_unlock(w, place);
	if (!ret && w->context.task == current)
		ums_context_queue_work(&w->context);
	else if (!ret)
		ums_context_kick(&w->context);
	ums_find_end();
	return ret;
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

/*
 * There is no scheduler to be told of the end of a worker that has been run:
 * whoever dequeues from its list is.
 */
static void ums_worker_leave_corpse(struct ums_worker *w)
{
	struct ums_complist *cl = w->complist;

	ums_event_terminated(w->end_event, w->context.pid);
	w->end_event->cookie = w->cookie;
	spin_lock(&cl->lock);
	if (cl->deleted || READ_ONCE(w->context.data->closed)) {
		spin_unlock(&cl->lock);
		return;
	}
	list_add_tail(&w->end_event->list, &cl->corpses);
	cl->nr_corpses++;
	w->end_event = NULL;
	spin_unlock(&cl->lock);
	ums_complist_wake(cl, 1);
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
	/* While ums_worker_disown_exiting() can still find it. */
	ums_worker_unjoin(w);
	ums_context_pool_remove(ctx);

	ums_find_begin();
	parent = ums_worker_lock_both(w);
	w->dead = true;
	if (ums_worker_runs(w, parent)) {
		s = parent;
		trace_ums_stop(s, w, UMS_READY_TERMINATED);
	}
	trace_ums_worker_exit(w);
	if (s)
		ums_event_terminated(ums_worker_report(s), ctx->pid);
	else
		list_del_init(&ctx->list);
	ums_worker_set_parent(w, NULL);
	ums_worker_unlock_both(w, parent);

	if (!s)
		s = ums_worker_report_last(w);
	if (s)
		ums_context_notify(&s->context, false);
	else if (w->last_sched)
		ums_worker_leave_corpse(w);
	ums_find_end();
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
