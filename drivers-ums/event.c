// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: events, from whoever stopped to its scheduler.
 */

#include <linux/array_size.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "trace.h"
#include "ums.h"

static struct kmem_cache *ums_event_cache;

/* At module load.  Not merged, so that a leak shows in /proc/slabinfo. */
int ums_scheduling_cache_create(void)
{
	ums_event_cache = KMEM_CACHE(ums_event_node,
				     SLAB_ACCOUNT | SLAB_NO_MERGE);
	return ums_event_cache ? 0 : -ENOMEM;
}

/* At module unload, when all nodes have been freed. */
void ums_scheduling_cache_destroy(void)
{
	kmem_cache_destroy(ums_event_cache);
}

/* Charged to the caller's memory cgroup.  Return: NULL without memory. */
struct ums_event_node *alloc_ums_event(void)
{
	return kmem_cache_zalloc(ums_event_cache, GFP_KERNEL);
}

/* @node may be NULL. */
void free_ums_event(struct ums_event_node *node)
{
	if (node)
		kmem_cache_free(ums_event_cache, node);
}

/* Make @node report the end of @worker. */
void ums_event_terminated(struct ums_event_node *node, pid_t worker)
{
	node->event.type = THREAD_TERMINATED;
	node->event.end_params.context = worker;
}

/* Make @node report that @worker sleeps. */
void ums_event_blocked(struct ums_event_node *node, pid_t worker, int cause)
{
	node->event.type = THREAD_BLOCKED;
	node->event.blocked_params.context = worker;
	node->event.blocked_params.cause = cause;
}

/* Make @node report why @w, the calling thread's own, stops. */
void ums_event_stopped(struct ums_event_node *node, struct ums_worker *w,
		       u32 why)
{
	if (why == UMS_READY_PREEMPTED) {
		node->event.type = THREAD_PREEMPTED;
		node->event.preempted_params.context = w->context.pid;
		return;
	}
	node->event.type = THREAD_YIELD;
	node->event.yield_params.context = w->context.pid;
	node->event.yield_params.scheduler_params = w->stop_param;
}

/**
 * enqueue_ums_sched_event - give a scheduler an event to read
 * @s: the scheduler; its lock is held
 * @node: the event, the scheduler's from now on
 * @place: EVENT_ADD_TAIL, or EVENT_ADD_HEAD for one that was read in vain
 *
 * The caller wakes the scheduler after unlocking it.
 */
void enqueue_ums_sched_event(struct ums_scheduler *s,
			     struct ums_event_node *node,
			     enum ums_event_place place)
{
	lockdep_assert_held(&s->lock);

	if (place == EVENT_ADD_HEAD)
		list_add(&node->list, &s->event_q);
	else
		list_add_tail(&node->list, &s->event_q);
	s->nr_events++;
}

/* Word by word, as there are so few. */
static int ums_event_copy(struct ums_event __user *uevent,
			  const struct ums_event *event)
{
	u64 __user *to = (u64 __user *)uevent;
	const u64 *from = (const u64 *)event;
	unsigned int i;

	BUILD_BUG_ON(sizeof(*event) % sizeof(*from));
	if (!user_write_access_begin(uevent, sizeof(*uevent)))
		return -EFAULT;
	for (i = 0; i < sizeof(*event) / sizeof(*from); i++)
		unsafe_put_user(from[i], to + i, efault);
	user_write_access_end();
	return 0;

efault:
	user_write_access_end();
	return -EFAULT;
}

/**
 * ums_event_probe - can an event be written there?
 * @uevent: the place
 *
 * Clears its type and its last word: they may be on two pages.
 *
 * Return: 0 or -EFAULT.
 */
int ums_event_probe(struct ums_event __user *uevent)
{
	if (!user_write_access_begin(uevent, sizeof(*uevent)))
		return -EFAULT;
	unsafe_put_user(0, &uevent->type, efault);
	unsafe_put_user(0, &uevent->pad[ARRAY_SIZE(uevent->pad) - 1], efault);
	user_write_access_end();
	return 0;

efault:
	user_write_access_end();
	return -EFAULT;
}

/* Has the calling scheduler an event to read? */
bool ums_event_waiting(struct ums_context *ctx)
{
	struct ums_scheduler *s = to_scheduler(ctx);

	ums_scheduler_report_blocked(s);
	/* Pairs with WRITE_ONCE() in list_add(); the list has one reader. */
	return !list_empty(&s->event_q);
}

/**
 * dequeue_ums_sched_event - IOCTL_UMS_SCHED_DQEVENT
 * @s: the calling scheduler
 * @uevent: where the event goes
 * @timeout_ns: how long to wait for it, in nanoseconds; 0: for ever
 *
 * Return: 0, -EFAULT (the event is kept), -ENODEV, -ETIMEDOUT, -EINTR with a
 * timeout, or else -ERESTARTNOHAND, which is EINTR for a program with a
 * handler.
 */
int dequeue_ums_sched_event(struct ums_scheduler *s,
			    struct ums_event __user *uevent, u64 timeout_ns)
{
	struct ums_event_node *node;
	ktime_t deadline;
	int ret;

	/* Closed comes first: the event may come of the closing. */
	if (READ_ONCE(s->context.data->closed) ||
	    !ums_event_waiting(&s->context)) {
		trace_ums_wait_begin(s, 0);
		ret = ums_context_wait(&s->context, ums_event_waiting,
				       ums_deadline(&deadline, timeout_ns));
		if (ret == -EINTR && !timeout_ns)
			ret = -ERESTARTNOHAND;
		trace_ums_wait_end(s, ret);
		if (ret)
			return ret;
	}

	spin_lock(&s->lock);
	node = list_first_entry(&s->event_q, struct ums_event_node, list);
	list_del(&node->list);
	s->nr_events--;
	spin_unlock(&s->lock);

	if (ums_event_copy(uevent, &node->event)) {
		spin_lock(&s->lock);
		enqueue_ums_sched_event(s, node, EVENT_ADD_HEAD);
		spin_unlock(&s->lock);
		return -EFAULT;
	}

	/*
	 * Its worker may be running, but then there is a spare node, or was, if
	 * it is just stopping.  Without one running, nobody else looks at it.
	 */
	if (smp_load_acquire(&s->running) || s->spare)
		free_ums_event(node);
	else
		s->spare = node;
	return 0;
}
