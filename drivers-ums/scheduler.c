// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: schedulers, what they dequeue and execute.
 */

#include <linux/array_size.h>
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "trace.h"
#include "ums.h"

/*
 * A worker of this scheduler has blocked.  Which one, the scheduler sees for
 * itself: by the time that this comes another one may be running, or none.
 */
static void ums_scheduler_notice(struct irq_work *work)
{
	struct ums_scheduler *s = container_of(work, struct ums_scheduler,
					       block_irq_work);

	ums_context_notify(&s->context, false);
}

/* The slice is over: the worker that runs now looks at it when it can stop. */
static enum hrtimer_restart ums_slice_over(struct hrtimer *timer)
{
	struct ums_scheduler *s = container_of(timer, struct ums_scheduler,
					       slice_timer);
	struct ums_worker *w;

	/* Pairs with smp_mb() in switch_ums_context(). */
	smp_store_mb(s->slice_over, true);
	rcu_read_lock();
	w = READ_ONCE(s->running);
	if (w) {
		trace_ums_preempt(s, w, true);
		ums_context_kick(&w->context);
	}
	rcu_read_unlock();
	return HRTIMER_NORESTART;
}

/* The next slice has not begun.  From the scheduler's own thread. */
static void ums_slice_stop(struct ums_scheduler *s)
{
	if (!s->slice_set)
		return;
	hrtimer_cancel(&s->slice_timer);
	s->slice_set = false;
	s->slice_over = false;
}

/*
 * A scheduler for the calling thread, with the first event that it is to read,
 * known to nobody yet.  Undone by ums_scheduler_destroy().
 */
VISIBLE_IF_KUNIT struct ums_scheduler *
ums_scheduler_create(struct ums_data *data, const struct ums_enter *args)
{
	struct ums_event_node *startup;
	struct ums_scheduler *s;
	int ret;

	s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	if (!s)
		return ERR_PTR(-ENOMEM);
	s->context.kind = UMS_SCHEDULER;
	spin_lock_init(&s->lock);
	INIT_LIST_HEAD(&s->event_q);
	INIT_LIST_HEAD(&s->owned);
	s->id = atomic64_inc_return(&data->sched_ids);
	s->block_events = args->flags & ENTER_UMS_BLOCK_EVENTS;
	s->keep = args->flags & ENTER_UMS_KEEP;
	/* Not hard: on PREEMPT_RT the wake-up takes a lock that sleeps. */
	init_irq_work(&s->block_irq_work, ums_scheduler_notice);
	hrtimer_setup(&s->slice_timer, ums_slice_over, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_HARD);

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
	spin_lock(&s->lock);
	enqueue_ums_sched_event(s, startup, EVENT_ADD_TAIL);
	spin_unlock(&s->lock);
	return s;

err_spare:
	free_ums_event(s->spare);
err_startup:
	free_ums_event(startup);
err_complist:
	ums_complist_put(s->complist);
err_free:
	ums_context_free(&s->context);
	return ERR_PTR(ret);
}

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
	struct ums_scheduler *s = ums_scheduler_create(data, args);
	int ret;

	if (IS_ERR(s))
		return PTR_ERR(s);
	ret = ums_context_pool_insert(&s->context);
	if (ret)
		goto err_destroy;
	ret = ums_proc_scheduler_create(s);
	if (ret)
		goto err_pool;

	trace_ums_scheduler_enter(s, args->flags);
	ums_context_attach(&s->context);
	return 0;

err_pool:
	ums_context_pool_remove(&s->context);
err_destroy:
	ums_scheduler_destroy(s);
	return ret;
}

/* Put corpses back at the head of their list. */
static void ums_complist_return(struct ums_complist *cl,
				struct list_head *corpses)
{
	int count;

	if (list_empty(corpses))
		return;
	spin_lock(&cl->lock);
	count = list_count_nodes(corpses);
	cl->nr_corpses += count;
	list_splice_init(corpses, &cl->corpses);
	spin_unlock(&cl->lock);
	ums_complist_wake(cl, count);
}

/* As many at a time as are put back: this is done with two locks held. */
#define UMS_RETURN_CHUNK	256

/*
 * Put those at the end of @from that belong to @cl back at the head of that, last
 * one first, so that their order is kept; UMS_RETURN_CHUNK at most.  Return: how
 * many.
 */
static int ums_scheduler_return_last(struct ums_scheduler *s,
				     struct ums_complist *cl,
				     struct list_head *from, u32 why)
{
	struct ums_worker *w, *prev;
	int count = 0;

	spin_lock(&cl->lock);
	list_for_each_entry_safe_reverse(w, prev, from, context.list) {
		if (w->complist != cl)
			break;
		trace_ums_requeue(s, w);
		list_move(&w->context.list, &cl->queue);
		w->why = why ?: w->why;
		ums_proc_worker_moved(w);
		ums_worker_set_parent(w, NULL);
		if (++count == UMS_RETURN_CHUNK)
			break;
	}
	spin_unlock(&cl->lock);
	return count;
}

/*
 * Put dequeued workers back on the lists that they came from.  @why is the reason
 * why they are there, 0 for the same as before.
 */
static void ums_scheduler_return(struct ums_scheduler *s,
				 struct list_head *from, u32 why)
{
	struct ums_complist *cl;
	int count;

	spin_lock(&s->lock);
	while (!list_empty(from)) {
		cl = list_last_entry(from, struct ums_worker,
				     context.list)->complist;
		kref_get(&cl->ref);
		count = ums_scheduler_return_last(s, cl, from, why);
		spin_unlock(&s->lock);

		ums_complist_wake(cl, count);
		ums_complist_put(cl);
		cond_resched();
		spin_lock(&s->lock);
	}
	spin_unlock(&s->lock);
}

/* The running worker goes on without a scheduler. */
static void ums_scheduler_disown_running(struct ums_scheduler *s)
{
	struct ums_worker *w;

	spin_lock(&s->lock);
	trace_ums_scheduler_exit(s);
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

/*
 * Move up to @nr of what a list holds to @corpses and @batch, the latter owned
 * by @s, and describe it in @ready.  Return: how many.
 */
static unsigned int ums_scheduler_take_some(struct ums_scheduler *s,
					    struct ums_complist *cl,
					    struct list_head *corpses,
					    struct list_head *batch,
					    struct ums_ready *ready,
					    unsigned int nr)
{
	struct ums_event_node *node, *next_node;
	struct ums_worker *w, *next;
	unsigned int count = 0;

	spin_lock(&s->lock);
	spin_lock(&cl->lock);
	list_for_each_entry_safe(node, next_node, &cl->corpses, list) {
		if (count == nr)
			break;
		ready[count++] = (struct ums_ready) {
			.context = node->event.end_params.context,
			.why = UMS_READY_TERMINATED,
			.cookie = node->cookie,
		};
		list_move_tail(&node->list, corpses);
		cl->nr_corpses--;
	}
	list_for_each_entry_safe(w, next, &cl->queue, context.list) {
		if (count == nr)
			break;
		ready[count++] = (struct ums_ready) {
			.context = w->context.pid,
			.why = w->why,
			.cookie = w->cookie,
		};
		trace_ums_dequeue(s, w);
		list_move_tail(&w->context.list, batch);
		ums_proc_worker_moved(w);
		ums_worker_set_parent(w, s);
	}
	spin_unlock(&cl->lock);
	spin_unlock(&s->lock);
	return count;
}

/* As many at a time as are taken, and copied to the user. */
#define UMS_READY_CHUNK		16

/*
 * Move all that a list holds to @batch, owned by @s, and drop its corpses: who
 * dequeues like this cannot be told about them.  Return: the first one, 0 if
 * there is none.
 */
static pid_t ums_scheduler_take_all(struct ums_scheduler *s,
				    struct ums_complist *cl,
				    struct list_head *batch)
{
	struct ums_ready ready[UMS_READY_CHUNK];
	struct ums_worker *w;
	LIST_HEAD(corpses);
	unsigned int n;

	do {
		n = ums_scheduler_take_some(s, cl, &corpses, batch, ready,
					    ARRAY_SIZE(ready));
		cond_resched();
	} while (n == ARRAY_SIZE(ready));
	ums_complist_drop_corpses(&corpses);

	spin_lock(&s->lock);
	w = list_first_entry_or_null(batch, struct ums_worker, context.list);
	n = w ? w->context.pid : 0;
	spin_unlock(&s->lock);
	return n;
}

/*
 * Is the wait for a list over?  Return: 0 if it holds something or, for one who
 * takes events for an answer, there is one; -EAGAIN if not.
 */
static int ums_scheduler_awaited(struct ums_scheduler *s,
				 struct ums_complist *cl, bool events)
{
	if (READ_ONCE(s->context.data->closed))
		return -ENODEV;
	if (READ_ONCE(cl->deleted))
		return -EIDRM;
	if (ums_complist_ready(cl) ||
	    (events && ums_event_waiting(&s->context)))
		return 0;
	return -EAGAIN;
}

/*
 * Wait for a list to hold something, without taking it, or for an event, until
 * @deadline if that is not NULL.
 */
static int ums_scheduler_await(struct ums_scheduler *s,
			       struct ums_complist *cl, bool events,
			       ktime_t *deadline)
{
	int ret = ums_scheduler_awaited(s, cl, events);
	bool expired = false;
	int interrupted;

	if (ret != -EAGAIN)
		return ret;
	trace_ums_wait_begin(s, cl->id);
	prepare_suspend_context(&s->context);
	interrupted = ___wait_event(cl->wait_q,
				    ums_scheduler_awaited(s, cl, events) !=
				    -EAGAIN || expired,
				    (TASK_INTERRUPTIBLE | TASK_FREEZABLE), 1, 0,
				    expired = !schedule_hrtimeout_range(deadline,
						current->timer_slack_ns,
						HRTIMER_MODE_ABS));
	set_context_state(&s->context, CONTEXT_RUNNING);
	if (interrupted) {
		ret = deadline ? -EINTR : -ERESTARTNOHAND;
	} else {
		/* A wake-up after the timeout is for this thread, too. */
		ret = ums_scheduler_awaited(s, cl, events);
		if (ret == -EAGAIN && expired)
			ret = -ETIMEDOUT;
	}
	trace_ums_wait_end(s, ret);
	return ret;
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
		ret = ums_scheduler_await(s, cl, false, NULL);
		if (ret && ret != -EAGAIN)
			goto out;
		/* 0 if another scheduler was faster. */
		first = ums_scheduler_take_all(s, cl, &batch);
	} while (!first);
	ret = 0;

	if (put_user(first, &uargs->context)) {
		ums_scheduler_return(s, &batch, 0);
		ret = -EFAULT;
		goto out;
	}

	spin_lock(&s->lock);
	list_splice_tail(&batch, &s->owned);
	spin_unlock(&s->lock);
out:
	ums_complist_put(cl);
	return ret;
}

/*
 * Take up to @nr of what a list holds, and tell the user.  Return: how many;
 * -EFAULT with all put back.
 */
static int ums_scheduler_dequeue(struct ums_scheduler *s,
				 struct ums_complist *cl,
				 struct ums_ready __user *uready,
				 unsigned int nr)
{
	struct ums_ready ready[UMS_READY_CHUNK];
	unsigned int count = 0;
	LIST_HEAD(corpses);
	LIST_HEAD(batch);
	unsigned int n;

	do {
		n = min_t(unsigned int, nr - count, ARRAY_SIZE(ready));
		n = ums_scheduler_take_some(s, cl, &corpses, &batch, ready, n);
		if (copy_to_user(uready + count, ready, n * sizeof(*ready))) {
			ums_scheduler_return(s, &batch, 0);
			ums_complist_return(cl, &corpses);
			return -EFAULT;
		}
		count += n;
	} while (n == ARRAY_SIZE(ready) && count < nr);

	spin_lock(&s->lock);
	list_splice_tail(&batch, &s->owned);
	spin_unlock(&s->lock);
	ums_complist_drop_corpses(&corpses);
	return count;
}

/**
 * dequeue_ums_ready - IOCTL_UMS_DEQUEUE
 * @s: the calling scheduler
 * @uargs: from where, how long to wait, and where to
 *
 * A scheduler does not wait while it has an event to read.
 *
 * Return: how many contexts, 0 if there is an event instead; -EINVAL, -EFAULT
 * with all put back, -EAGAIN, -ETIMEDOUT, -EIDRM, -ENODEV, -EINTR, or
 * -ERESTARTNOHAND without a timeout.
 */
int dequeue_ums_ready(struct ums_scheduler *s,
		      struct ums_dequeue __user *uargs)
{
	struct ums_dequeue args;
	struct ums_complist *cl;
	ktime_t deadline;
	ktime_t *until;
	int ret;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (args.flags & ~UMS_NONBLOCK || args.reserved || !args.nr ||
	    (args.flags & UMS_NONBLOCK && args.timeout_ns))
		return -EINVAL;
	cl = ums_complist_get(s->context.data, args.clist);
	if (!cl)
		return -EINVAL;

	until = ums_deadline(&deadline, args.timeout_ns);
	do {
		if (args.flags & UMS_NONBLOCK)
			ret = ums_scheduler_awaited(s, cl, true);
		else
			ret = ums_scheduler_await(s, cl, true, until);
		if (ret)
			continue;
		ret = ums_scheduler_dequeue(s, cl, u64_to_user_ptr(args.ready),
					    min_t(u32, args.nr, INT_MAX));
		/* Another scheduler was faster? */
		if (!ret && !ums_event_waiting(&s->context))
			ret = -EAGAIN;
	} while (ret == -EAGAIN && !(args.flags & UMS_NONBLOCK));
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
		if (w->context.parent == &s->context && s->running != w) {
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

/**
 * ums_worker_ready - can a worker be executed?
 * @w: the worker, under ums_worker_lock()
 * @place: what that returned
 *
 * Return: 0, -ESRCH if it is dead, -EBUSY if it is not dequeued, -EAGAIN if it
 * is held in a stop.
 */
int ums_worker_ready(struct ums_worker *w, struct ums_scheduler *place)
{
	if (w->dead)
		return -ESRCH;
	if (!place || ums_worker_runs(w, place))
		return -EBUSY;
	/*
	 * It would not run, and its scheduler not go on, until continued.  One
	 * that is stopped just after this is like one that a debugger stops
	 * while it runs, but nothing tells that it is blocked.
	 */
	if (READ_ONCE(w->away) && task_is_stopped_or_traced(w->context.task))
		return -EAGAIN;
	return 0;
}

/*
 * Take a worker, dequeued by @s or another scheduler, and let it run.  Once its
 * state is CONTEXT_RUNNING it can stop at any moment, so all else is ready
 * before, its parent too: ums_worker_block() looks at that without a lock.
 */
static int ums_scheduler_run(struct ums_scheduler *s, struct ums_worker *w,
			     u64 slice_ns)
{
	struct ums_scheduler *owner;
	int ret;

	owner = ums_worker_lock(w);
	ret = ums_worker_ready(w, owner);
	if (ret) {
		ums_worker_unlock(w, owner);
		return ret;
	}
	trace_ums_exec(s, w, slice_ns);
	list_del_init(&w->context.list);
	w->last_sched = s->context.pid;
	w->last_sched_id = s->id;
	WRITE_ONCE(s->running, w);
	ums_proc_worker_moved(w);
	ums_worker_set_parent(w, s);
	prepare_switch_context(&s->context, &w->context);
	/* Before the wake-up: then this thread may not get to run for long. */
	s->slice_set = slice_ns;
	if (slice_ns)
		hrtimer_start(&s->slice_timer, min_t(u64, slice_ns, KTIME_MAX),
			      HRTIMER_MODE_REL_HARD);
	ums_worker_unlock(w, owner);

	wake_up_context(&w->context);
	return 0;
}

/*
 * Is the running worker blocked?  A hint, as there is no lock: the worker may
 * have handed over meanwhile, and blocked under another scheduler.
 */
static bool ums_scheduler_blocked(struct ums_scheduler *s)
{
	struct ums_worker *w;
	bool blocked;

	if (!READ_ONCE(s->running))
		return false;
	rcu_read_lock();
	w = READ_ONCE(s->running);
	blocked = w && READ_ONCE(w->context.state) == CONTEXT_BLOCKED;
	rcu_read_unlock();
	return blocked;
}

/**
 * ums_scheduler_report_blocked - make the running worker's blocking an event
 * @s: the calling scheduler
 *
 * If it is blocked, and has not come back meanwhile and done it itself.  For
 * the conditions of waits: they look again after a wake-up by block_irq_work.
 */
void ums_scheduler_report_blocked(struct ums_scheduler *s)
{
	struct ums_worker *w;

	if (likely(!ums_scheduler_blocked(s)))
		return;
	spin_lock(&s->lock);
	w = s->running;
	/* Pairs with smp_store_release() in set_context_state(): the cause. */
	if (w && smp_load_acquire(&w->context.state) == CONTEXT_BLOCKED) {
		ums_worker_report_blocked(w, s);
		ums_worker_set_parent(w, NULL);
	}
	spin_unlock(&s->lock);
}

static bool ums_worker_stopped(struct ums_context *ctx)
{
	struct ums_scheduler *s = to_scheduler(ctx);

	ums_scheduler_report_blocked(s);
	/* Pairs with smp_store_release() in ums_worker_report(): the event. */
	return !smp_load_acquire(&s->running);
}

/**
 * exec_ums_context - IOCTL_EXEC_UMS_CTX
 * @s: the calling scheduler
 * @pid: the worker to run
 * @slice_ns: how long it may run, in nanoseconds; 0: as long as it likes
 *
 * Return: 0 when the worker has stopped and its event is queued; -ESRCH for no
 * such worker, -EBUSY if it is not dequeued or the scheduler's last worker
 * still runs, -EAGAIN if it is held in a stop, -ENOMEM if no event can be had;
 * -EINTR and -ENODEV if the worker runs on.
 */
int exec_ums_context(struct ums_scheduler *s, pid_t pid, u64 slice_ns)
{
	struct ums_worker *w;
	int ret = -ESRCH;

	/*
	 * Only set by this thread.  Pairs with smp_store_release() where it is
	 * cleared: the spare node is gone by then.
	 */
	if (smp_load_acquire(&s->running))
		return -EBUSY;
	ums_slice_stop(s);
	/* Missing only if the event of the last stop has not been read. */
	if (!s->spare) {
		if (READ_ONCE(s->nr_events) >= UMS_MAX_EVENTS)
			return -ENOMEM;
		s->spare = alloc_ums_event();
		if (!s->spare)
			return -ENOMEM;
	}

	ums_find_begin();
	w = ums_worker_find(s->context.data, pid);
	if (w)
		ret = ums_scheduler_run(s, w, slice_ns);
	ums_find_end();
	if (ret)
		return ret;
	return ums_context_wait(&s->context, ums_worker_stopped, NULL);
}

#ifdef CONFIG_64BIT
/* All but the event: so little is best read word by word. */
static int ums_run_read(struct ums_run *args, struct ums_run __user *uargs)
{
	if (!user_read_access_begin(uargs, sizeof(*uargs)))
		return -EFAULT;
	unsafe_get_user(args->context, &uargs->context, efault);
	unsafe_get_user(args->flags, &uargs->flags, efault);
	unsafe_get_user(args->slice_ns, &uargs->slice_ns, efault);
	unsafe_get_user(args->timeout_ns, &uargs->timeout_ns, efault);
	user_read_access_end();
	return 0;

efault:
	user_read_access_end();
	return -EFAULT;
}
#else
/* Not every unsafe_get_user() can read 64 bits there. */
static int ums_run_read(struct ums_run *args, struct ums_run __user *uargs)
{
	if (copy_from_user(args, uargs, offsetof(struct ums_run, event)))
		return -EFAULT;
	return 0;
}
#endif

/**
 * run_ums_context - IOCTL_UMS_RUN
 * @s: the calling scheduler
 * @uargs: which worker and how long, or how long to wait, and the event
 *
 * Return: 0 with an event, or what exec_ums_context() and
 * dequeue_ums_sched_event() return; -EAGAIN also when there is no event and the
 * caller does not want to wait; -EINVAL, -EFAULT.
 */
int run_ums_context(struct ums_scheduler *s, struct ums_run __user *uargs)
{
	struct ums_run args;
	int ret;

	if (ums_run_read(&args, uargs))
		return -EFAULT;
	if (args.flags & ~UMS_NONBLOCK)
		return -EINVAL;

	if (args.context) {
		if (args.flags || args.timeout_ns)
			return -EINVAL;
		/* A bad pointer is better found before running. */
		if (ums_event_probe(&uargs->event))
			return -EFAULT;
		ret = exec_ums_context(s, args.context, args.slice_ns);
		if (ret)
			return ret;
	} else {
		if (args.slice_ns || (args.flags && args.timeout_ns))
			return -EINVAL;
		if (args.flags && !ums_event_waiting(&s->context))
			return -EAGAIN;
	}
	return dequeue_ums_sched_event(s, &uargs->event, args.timeout_ns);
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
	hrtimer_cancel(&s->slice_timer);
	ums_scheduler_disown_running(s);
	ums_scheduler_return(s, &s->owned, UMS_READY_ORPHANED);

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

static void ums_scheduler_free_work(struct work_struct *work)
{
	struct ums_scheduler *s = container_of(work, struct ums_scheduler,
					       free_work);

	irq_work_sync(&s->block_irq_work);
	if (s->context.task)
		put_task_struct(s->context.task);
	kfree(s);
}

/**
 * ums_scheduler_free - let go of a scheduler's thread and memory
 * @s: the scheduler, after a grace period
 *
 * A worker that it ran may have queued block_irq_work just before.  Waiting for
 * that may sleep.
 */
void ums_scheduler_free(struct ums_scheduler *s)
{
	INIT_WORK(&s->free_work, ums_scheduler_free_work);
	queue_work(ums_wq, &s->free_work);
}
