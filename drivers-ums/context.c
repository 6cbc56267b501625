// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: a thread's context, how it sleeps, is woken and leaves.
 *
 * Workers park where they return to user mode, in the task work of the context;
 * living threads leave there, too.  The end of a sleep, a slice, PREEMPT and EXIT
 * only mark the context and queue the work.  A call that parks begins to rest in
 * the call (ums_park_call()), and goes on in the work for whatever is not its
 * execution: so it has its result by then, and is never restarted into a second
 * yield.  See also ums_park_before_call().
 *
 * The work has two callback_heads, one for the thread itself and one for the
 * others.  UMS_WORK_QUEUED and UMS_KICK_QUEUED own them: who sets the bit may
 * queue the work, which clears it first.  A context that leaves sets both for
 * good, and nobody can queue the work of a context that is about to be freed.
 * Between setting the bit and queueing there is a moment: a thread on its way to
 * user mode must not find that somebody else has set its bit.
 *
 * A thread that dies without a word is noticed by its preempt notifier in its
 * last schedule().  Nothing can be done there, under the run queue's lock, so
 * an irq_work takes it to a work item, which reaps the context in process
 * context.  The irq_work runs on the CPU on which the thread is gone by then.
 * Reaping waits for readers of procfs files, who can be kept waiting by other
 * means.  So each process has a workqueue of its own, with one work item that
 * reaps, and keeps nobody waiting but itself.
 */

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/pid.h>
#include <linux/rhashtable.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include "ums.h"

/* How long the notifiers stay enabled after the last use. */
#define UMS_NOTIFIERS_LINGER	HZ

static void ums_notifiers_work(struct work_struct *work);

/*
 * Enabling and disabling preempt notifiers patches the kernel's text on all
 * CPUs.  Anyone may open the device; so that nobody can do it at will, they
 * stay enabled for a while.
 */
static DEFINE_MUTEX(ums_notifiers_lock);
static unsigned int ums_notifiers_users;
static bool ums_notifiers_on;
static DECLARE_DELAYED_WORK(ums_notifiers_idle, ums_notifiers_work);

/* A device was opened. */
void ums_notifiers_get(void)
{
	mutex_lock(&ums_notifiers_lock);
	ums_notifiers_users++;
	if (!ums_notifiers_on) {
		preempt_notifier_inc();
		ums_notifiers_on = true;
	}
	mutex_unlock(&ums_notifiers_lock);
}

/* A device was released, and no context of it is left. */
void ums_notifiers_put(void)
{
	mutex_lock(&ums_notifiers_lock);
	if (!--ums_notifiers_users)
		mod_delayed_work(ums_wq, &ums_notifiers_idle,
				 UMS_NOTIFIERS_LINGER);
	mutex_unlock(&ums_notifiers_lock);
}

static void ums_notifiers_work(struct work_struct *work)
{
	mutex_lock(&ums_notifiers_lock);
	if (!ums_notifiers_users && ums_notifiers_on) {
		preempt_notifier_dec();
		ums_notifiers_on = false;
	}
	mutex_unlock(&ums_notifiers_lock);
}

/* At module unload. */
void ums_notifiers_off(void)
{
	flush_delayed_work(&ums_notifiers_idle);
}

/* Without it each lookup would call memcmp(). */
static int ums_context_compare(struct rhashtable_compare_arg *arg,
			       const void *obj)
{
	const struct ums_context *ctx = obj;
	const pid_t *pid = arg->key;

	return ctx->pid != *pid;
}

/* Thread ids are handed out one after the other: they need little mixing. */
static u32 ums_context_hash(const void *data, u32 len, u32 seed)
{
	return hash_32(*(const u32 *)data ^ seed, 32);
}

static const struct rhashtable_params ums_context_params = {
	.key_len		= sizeof_field(struct ums_context, pid),
	.key_offset		= offsetof(struct ums_context, pid),
	.head_offset		= offsetof(struct ums_context, node),
	.hashfn			= ums_context_hash,
	.obj_cmpfn		= ums_context_compare,
	.automatic_shrinking	= true,
};

int ums_context_pool_init(struct rhashtable *pool)
{
	return rhashtable_init(pool, &ums_context_params);
}

static struct rhashtable *ums_context_pool(struct ums_context *ctx)
{
	return ctx->kind == UMS_WORKER ? &ctx->data->workers :
					 &ctx->data->schedulers;
}

/**
 * ums_context_find - look a context up
 * @pool: where
 * @pid: its thread id
 *
 * Called under rcu_read_lock(), which also keeps the result from going away.
 * Return: the context or NULL.
 */
struct ums_context *ums_context_find(struct rhashtable *pool, pid_t pid)
{
	return rhashtable_lookup(pool, &pid, ums_context_params);
}

/**
 * ums_context_pool_insert - make a context known by its thread id
 * @ctx: the caller's own
 *
 * A thread id is free for a new thread a little before the old one is reaped
 * here; that does not take long.
 *
 * Return: 0, -ENOMEM, or -EINTR when the caller is being killed.
 */
int ums_context_pool_insert(struct ums_context *ctx)
{
	int ret;

	while (1) {
		ret = rhashtable_lookup_insert_fast(ums_context_pool(ctx),
						    &ctx->node,
						    ums_context_params);
		if (ret == -EBUSY)	/* too deep while it is being resized */
			ret = -ENOMEM;
		if (ret != -EEXIST)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_uninterruptible(1);
	}
}

void ums_context_pool_remove(struct ums_context *ctx)
{
	rhashtable_remove_fast(ums_context_pool(ctx), &ctx->node,
			       ums_context_params);
}

/**
 * ums_context_close_all - send all contexts of a pool out of UMS
 * @pool: of a ums_data that is closed
 *
 * A context that is not yet in the pool sees ums_data.closed when it attaches.
 */
void ums_context_close_all(struct rhashtable *pool)
{
	struct rhashtable_iter iter;
	struct ums_context *ctx;

	rhashtable_walk_enter(pool, &iter);
	rhashtable_walk_start(&iter);
	while ((ctx = rhashtable_walk_next(&iter))) {
		if (IS_ERR(ctx))	/* resized: it starts over */
			continue;
		ums_context_kick(ctx);
		ums_context_notify(ctx, false);
	}
	rhashtable_walk_stop(&iter);
	rhashtable_walk_exit(&iter);
}

/* The name of the calling thread's context: its id in its own namespace. */
pid_t current_context_pid(void)
{
	return task_pid_vnr(current);
}

/**
 * ums_context_queue_work - have the calling thread look at its context
 * @ctx: its own
 *
 * The work runs before the thread executes another instruction in user mode.
 */
void ums_context_queue_work(struct ums_context *ctx)
{
	if (test_and_set_bit(UMS_WORK_QUEUED, &ctx->flags))
		return;
	/* It only fails for a thread that is as good as dead. */
	task_work_add(ctx->task, &ctx->work, TWA_RESUME);
}

/**
 * ums_context_kick - have another thread look at its context
 * @ctx: whose; kept from being freed by RCU
 *
 * The work runs soon, if the thread is in user mode.
 */
void ums_context_kick(struct ums_context *ctx)
{
	/* The thread may wait for the end of this, in ums_context_leave(). */
	preempt_disable();
	if (!test_and_set_bit(UMS_KICK_QUEUED, &ctx->flags))
		task_work_add(ctx->task, &ctx->kick, TWA_RESUME);
	preempt_enable();
}

/**
 * ums_context_stale - is a context from before an execve()?
 * @ctx: the calling thread's own
 *
 * Such a context leaves at the thread's next return to user mode after a
 * context switch, or when the work is queued.
 *
 * Return: whether it is.
 */
bool ums_context_stale(struct ums_context *ctx)
{
	return current->mm != ctx->data->mm;
}

static bool ums_context_must_leave(struct ums_context *ctx)
{
	return test_bit(UMS_LEAVING, &ctx->flags) ||
	       READ_ONCE(ctx->data->closed) || ums_context_stale(ctx);
}

static void ums_context_end(struct ums_context *ctx)
{
	if (ctx->kind == UMS_WORKER)
		ums_worker_end(to_worker(ctx));
	else
		ums_scheduler_end(to_scheduler(ctx));
}

static void ums_context_destroy(struct ums_context *ctx)
{
	if (ctx->kind == UMS_WORKER)
		ums_worker_destroy(to_worker(ctx));
	else
		ums_scheduler_destroy(to_scheduler(ctx));
}

/* The calling thread takes its own context out of UMS. */
static void ums_context_leave(struct ums_context *ctx)
{
	/* Queued again meanwhile: that run leaves. */
	if (test_and_set_bit(UMS_WORK_QUEUED, &ctx->flags))
		return;
	/* Another CPU is about to queue it: go on until that has happened. */
	if (test_and_set_bit(UMS_KICK_QUEUED, &ctx->flags)) {
		task_work_add(current, &ctx->work, TWA_RESUME);
		return;
	}

	preempt_disable();
	preempt_notifier_unregister(&ctx->notifier);
	preempt_enable();

	if (ctx->kind == UMS_WORKER) {
		ums_worker_unmask(to_worker(ctx));
		ums_park_unrestart(to_worker(ctx), current->ptrace);
	}
	ums_context_end(ctx);
	ums_context_destroy(ctx);
}

static void ums_context_work(struct callback_head *work);

/*
 * task_work_run() takes the whole list, newest first.  Queueing from here puts
 * the work behind whatever else was in the list.
 */
static void ums_context_work_after(struct callback_head *work)
{
	struct ums_context *ctx = container_of(work, struct ums_context, work);

	init_task_work(&ctx->work, ums_context_work);
	clear_bit_unlock(UMS_WORK_QUEUED, &ctx->flags);
	ums_context_queue_work(ctx);
}

/* @work: the one that runs; @bit: whose it is */
static void ums_context_look(struct ums_context *ctx,
			     struct callback_head *work, int bit)
{
	bool more = work->next;
	bool again = false;

	/* Release: task_work_run() has read the next work from this one. */
	clear_bit_unlock(bit, &ctx->flags);
	/*
	 * Pairs with test_and_set_bit() in ums_context_queue_work() and
	 * ums_context_kick(): either that queues the work again, or what it was
	 * queued for is seen below.
	 */
	smp_mb__after_atomic();

	/*
	 * It parks no more; the reaper follows.  An execve() may run task work
	 * half-way, when no other thread is left that could execute this one.
	 */
	if (current->flags & PF_EXITING || current->in_execve)
		return;

	/* What comes after this one, such as a last fput(), is not to wait. */
	if (more) {
		ums_context_queue_work(ctx);
		return;
	}

	if (ctx->kind == UMS_WORKER && !ums_context_must_leave(ctx))
		again = ums_worker_park(to_worker(ctx));

	if (ums_context_must_leave(ctx)) {
		ums_context_leave(ctx);
	} else if (again && !test_and_set_bit(UMS_WORK_QUEUED, &ctx->flags)) {
		init_task_work(&ctx->work, ums_context_work_after);
		task_work_add(current, &ctx->work, TWA_RESUME);
	} else if (again) {
		/* It comes next, and has to see what is in its way, too. */
		set_thread_flag(TIF_NOTIFY_SIGNAL);
	}
}

static void ums_context_work(struct callback_head *work)
{
	ums_context_look(container_of(work, struct ums_context, work), work,
			 UMS_WORK_QUEUED);
}

static void ums_context_kicked(struct callback_head *work)
{
	ums_context_look(container_of(work, struct ums_context, kick), work,
			 UMS_KICK_QUEUED);
}

/**
 * ums_context_reap - end the contexts of dead threads
 * @work: ums_data.reap_work
 *
 * Each holds a reference on the file, and with it on the data.
 */
void ums_context_reap(struct work_struct *work)
{
	struct ums_data *data = container_of(work, struct ums_data, reap_work);
	struct ums_context *ctx, *next;
	struct llist_node *dead;

	dead = llist_reverse_order(llist_del_all(&data->dead));
	llist_for_each_entry_safe(ctx, next, dead, dead_node) {
		/* Its function may still be on its way out of the module. */
		irq_work_sync(&ctx->exit_irq_work);
		ums_context_end(ctx);
		ums_context_destroy(ctx);
	}
}

static void ums_context_died(struct irq_work *work)
{
	struct ums_context *ctx = container_of(work, struct ums_context,
					       exit_irq_work);

	if (llist_add(&ctx->dead_node, &ctx->data->dead))
		queue_work(ctx->data->reap_wq, &ctx->data->reap_work);
}

static void ums_sched_in(struct preempt_notifier *notifier, int cpu)
{
	struct ums_context *ctx = container_of(notifier, struct ums_context,
					       notifier);
	bool back = ctx->kind == UMS_WORKER &&
		    (READ_ONCE(to_worker(ctx)->away) ||
		     READ_ONCE(ctx->state) == CONTEXT_BLOCKED);

	if (unlikely(back || ums_context_stale(ctx)) &&
	    !(current->flags & PF_EXITING))
		ums_context_queue_work(ctx);
	if (unlikely(back))
		to_worker(ctx)->aways = 0;
}

/* Under the run queue's lock: nothing may be locked, woken or allocated. */
static void ums_sched_out(struct preempt_notifier *notifier,
			  struct task_struct *next)
{
	struct ums_context *ctx = container_of(notifier, struct ums_context,
					       notifier);

	if (unlikely(READ_ONCE(current->__state) == TASK_DEAD))
		irq_work_queue(&ctx->exit_irq_work);
	else if (ctx->kind == UMS_WORKER && !task_is_runnable(current))
		ums_worker_block(to_worker(ctx));
}

struct preempt_ops ums_preempt_ops = {
	.sched_in = ums_sched_in,
	.sched_out = ums_sched_out,
};

/**
 * ums_context_init - prepare a context for the calling thread
 * @ctx: zeroed but for @ctx->kind, in a new scheduler or worker
 * @data: the device it belongs to
 * @wait_q: the wait queue it sleeps on, for this context alone
 *
 * Undone by ums_context_deinit().
 *
 * Return: 0, or -ENODEV if the device is closed.
 */
int ums_context_init(struct ums_context *ctx, struct ums_data *data,
		     struct wait_queue_head *wait_q)
{
	atomic_inc(&data->nr_contexts);
	/*
	 * Pairs with smp_mb() in ums_data_close(): either that sees the
	 * context coming, or this sees the device closed.
	 */
	smp_mb__after_atomic();
	if (READ_ONCE(data->closed)) {
		ums_data_left(data);
		return -ENODEV;
	}

	ctx->state = CONTEXT_RUNNING;
	/* Nobody queues the work before ums_context_attach(). */
	ctx->flags = BIT(UMS_WORK_QUEUED) | BIT(UMS_KICK_QUEUED);
	ctx->task = get_task_struct(current);
	ctx->pid = current_context_pid();
	ctx->proc_pid = task_pid_nr(current);
	ctx->data = data;
	get_file(data->file);
	INIT_LIST_HEAD(&ctx->list);
	init_task_work(&ctx->work, ums_context_work);
	init_task_work(&ctx->kick, ums_context_kicked);
	ctx->exit_irq_work = IRQ_WORK_INIT_HARD(ums_context_died);
	preempt_notifier_init(&ctx->notifier, &ums_preempt_ops);

	ctx->wait_q = wait_q;
	init_waitqueue_head(wait_q);
	init_waitqueue_entry(&ctx->waiter, current);
	add_wait_queue(wait_q, &ctx->waiter);
	return 0;
}

/**
 * ums_context_attach - the calling thread is in UMS from now on
 * @ctx: its context, in its pool and with its procfs entries
 */
void ums_context_attach(struct ums_context *ctx)
{
	preempt_disable();
	preempt_notifier_register(&ctx->notifier);
	preempt_enable();

	clear_bit(UMS_WORK_QUEUED, &ctx->flags);
	clear_bit_unlock(UMS_KICK_QUEUED, &ctx->flags);
	/*
	 * Pairs with smp_mb() in ums_data_close(): either the walk there finds
	 * the context and can queue its work, or this sees the device closed.
	 */
	smp_mb__after_atomic();
	if (READ_ONCE(ctx->data->closed))
		ums_context_queue_work(ctx);
}

/**
 * ums_context_deinit - let go of the device
 * @ctx: in no pool, list or procfs entry; ums_context_free() follows
 *
 * The device may be gone afterwards.
 */
void ums_context_deinit(struct ums_context *ctx)
{
	struct ums_data *data = ctx->data;
	struct file *file = data->file;

	ums_data_left(data);
	/*
	 * The file holds the module; see ums_cleanup() for how unloading waits
	 * for those who are still in here after dropping it.  A work item's
	 * fput() would do its work a tick later.
	 */
	if (current->flags & PF_KTHREAD)
		__fput_sync(file);
	else
		fput(file);
}

static void ums_context_free_rcu(struct rcu_head *head)
{
	struct ums_context *ctx = container_of(head, struct ums_context,
					       rcu_head);

	if (ctx->kind == UMS_SCHEDULER) {
		ums_scheduler_free(to_scheduler(ctx));
		return;
	}
	if (ctx->task)
		put_task_struct(ctx->task);
	kfree(to_worker(ctx));
}

/**
 * ums_context_free - free the scheduler or worker that a context is in
 * @ctx: the context, after ums_context_deinit() or never initialised
 *
 * Who has found it under RCU may still look at its thread, or wake it.
 */
void ums_context_free(struct ums_context *ctx)
{
	call_rcu(&ctx->rcu_head, ums_context_free_rcu);
}

/*
 * A thread that was preempted on its way to sleep, as by the one that it woke, is
 * running as far as that goes, and looks again before it sleeps: there is nothing
 * to do.  One that has just gone to sleep may still be on its run queue
 * (DELAY_DEQUEUE); then it is not put on another CPU, and may be woken straight.
 */
static void ums_context_wake(struct ums_context *ctx, bool give_way)
{
	struct task_struct *task = ctx->task;

	/* There it is running while it waits for a lock, and has not looked. */
	if (!IS_ENABLED(CONFIG_PREEMPT_RT) && task_is_running(task))
		return;
	/*
	 * Said beforehand, it saves the kernel the question whether the woken
	 * thread is to preempt this one.
	 */
	if (give_way && !IS_ENABLED(CONFIG_PREEMPT_RT)) {
		set_tsk_need_resched(current);
		set_preempt_need_resched();
	}
	if (READ_ONCE(task->on_rq))
		wake_up_process(task);
	else
		__wake_up_on_current_cpu(ctx->wait_q, TASK_NORMAL, NULL);
}

/**
 * wake_up_context - wake a context's thread, on this CPU, and give way to it
 * @ctx: kept from being freed, see ums_find_begin()
 *
 * What it is woken for must be stored before: it may run, and be done, before
 * this returns.  The caller waits next.
 */
void wake_up_context(struct ums_context *ctx)
{
	/*
	 * Pairs with set_current_state(): either the thread is seen to be going
	 * to sleep, or it sees what it is woken for when it looks after that.
	 */
	smp_mb();
	ums_context_wake(ctx, true);
}

/**
 * ums_context_notify - wake a context's thread if it waits or is parked
 * @ctx: as for wake_up_context()
 * @give_way: the caller waits next
 *
 * It may also sleep elsewhere, where not everybody likes to be woken for
 * nothing.
 */
void ums_context_notify(struct ums_context *ctx, bool give_way)
{
	/*
	 * Pairs with set_current_state() after the state was set, as in
	 * wake_up_context().
	 */
	smp_mb();
	if (READ_ONCE(ctx->state) == CONTEXT_IDLE)
		ums_context_wake(ctx, give_way);
}

/**
 * set_context_state - a context starts or stops running
 * @ctx: see ums_context.state for who may
 * @state: its new state
 *
 * What the state stands for is stored before.
 */
void set_context_state(struct ums_context *ctx, enum ums_context_state state)
{
	if (ctx->kind == UMS_WORKER)
		ums_worker_account(to_worker(ctx));
	/* Pairs with whoever acquires the state, for its parent or cause. */
	smp_store_release(&ctx->state, state);
}

/**
 * prepare_suspend_context - a context stops running
 * @ctx: a worker's under ums_worker_lock(), a scheduler's from its own thread
 */
void prepare_suspend_context(struct ums_context *ctx)
{
	set_context_state(ctx, CONTEXT_IDLE);
}

/**
 * prepare_switch_context - one context stops running and another one starts
 * @from: the caller's own
 * @to: under ums_worker_lock()
 *
 * The caller wakes @to when it has dropped its locks, and waits.
 */
void prepare_switch_context(struct ums_context *from, struct ums_context *to)
{
	prepare_suspend_context(from);
	from->switches++;
	to->switches++;
	set_context_state(to, CONTEXT_RUNNING);
}

/**
 * ums_deadline - when a wait that begins now times out
 * @deadline: where it goes
 * @timeout_ns: how long, in nanoseconds
 *
 * Return: @deadline, or NULL for 0, that is never.
 */
ktime_t *ums_deadline(ktime_t *deadline, u64 timeout_ns)
{
	ktime_t timeout = min_t(u64, timeout_ns, KTIME_MAX);

	if (!timeout)
		return NULL;
	*deadline = ktime_add_safe(ktime_get(), timeout);
	return deadline;
}

/**
 * ums_context_wait - a scheduler waits
 * @ctx: its context
 * @done: what for; looked at without locks
 * @deadline: how long, or NULL
 *
 * Return: 0, -ENODEV if the device was closed, -EINTR for a signal, -ETIMEDOUT.
 */
int ums_context_wait(struct ums_context *ctx,
		     bool (*done)(struct ums_context *ctx), ktime_t *deadline)
{
	bool expired = false;
	int ret = 0;

	prepare_suspend_context(ctx);
	while (1) {
		set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		/* First: what is waited for may come of the closing. */
		if (READ_ONCE(ctx->data->closed)) {
			ret = -ENODEV;
			break;
		}
		if (done(ctx))
			break;
		if (signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (expired) {
			ret = -ETIMEDOUT;
			break;
		}
		expired = !schedule_hrtimeout_range(deadline,
						    current->timer_slack_ns,
						    HRTIMER_MODE_ABS);
	}
	__set_current_state(TASK_RUNNING);
	set_context_state(ctx, CONTEXT_RUNNING);
	return ret;
}
