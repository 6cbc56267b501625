// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: the device, /dev/ums.
 *
 * The open file belongs to the process that opened it: its address space and
 * its thread group.  Everybody may open the node, since a process reaches only
 * its own threads through it.
 *
 * A scheduler that waits in a call holds a reference on the file, and so does
 * every context.  So the last close is not the file's release.  It is noticed
 * by ->flush, which every close of a descriptor calls: the device is closed
 * when no thread of the opener has a descriptor of it left.  Then waiting
 * schedulers return, all contexts leave, and the release follows.
 */

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/cred.h>
#include <linux/errno.h>
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/lockdep.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/rhashtable.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ums.h"

/* How long a close waits for the other threads to leave UMS. */
#define UMS_CLOSE_TIMEOUT	(HZ / 20)

/* The flags with which a scheduler may enter. */
#define UMS_SCHED_FLAGS		(ENTER_UMS_BLOCK_EVENTS | ENTER_UMS_KEEP)

struct workqueue_struct *ums_wq;

/* The ums_data of each process that has one, by its thread group id. */
static DEFINE_XARRAY(ums_openers);
static DEFINE_MUTEX(ums_openers_lock);

static bool ums_is_opener(struct ums_data *data)
{
	return current->mm == data->mm && task_tgid(current) == data->tgid;
}

/*
 * @data is closed and has no context left, nor will it have one.  Its file can be
 * held for long, by whoever was given a descriptor; what cannot be charged to
 * them goes now.
 */
static void ums_data_idle(struct ums_data *data)
{
	lockdep_assert_held(&ums_openers_lock);

	ums_proc_data_remove(data);
	queue_work(ums_wq, &data->idle_work);
}

/* Take a closed device out of procfs, once no context is left. */
static void ums_data_hide(struct ums_data *data)
{
	mutex_lock(&ums_openers_lock);
	/*
	 * Pairs with smp_mb__after_atomic() in ums_context_init(): whoever comes
	 * after this sees the device closed.
	 */
	smp_mb();
	if (!atomic_read(&data->nr_contexts))
		ums_data_idle(data);
	mutex_unlock(&ums_openers_lock);
}

/* A context has left; the caller still holds the file. */
void ums_data_left(struct ums_data *data)
{
	int left = atomic_dec_return(&data->nr_contexts);

	if (!left && READ_ONCE(data->closed))
		ums_data_hide(data);
	/* One may be that of the thread that waits. */
	if (left <= 1)
		wake_up_all(&data->gone);
}

/*
 * Free @data's name, in procfs and among the openers, for a new one.  The
 * process must have closed it, or have become another program or process since,
 * and no thread may be left in UMS.
 *
 * Return: 0, or -EBUSY.
 */
static int ums_data_retire(struct ums_data *data)
{
	lockdep_assert_held(&ums_openers_lock);

	if (!READ_ONCE(data->closed)) {
		if (ums_is_opener(data))
			return -EBUSY;
		WRITE_ONCE(data->closed, true);
		ums_complist_close(data);
	}
	/* Pairs with smp_mb__after_atomic() in ums_context_init(). */
	smp_mb();
	if (atomic_read(&data->nr_contexts))
		return -EBUSY;
	ums_data_idle(data);
	return 0;
}

/*
 * Retire openers that have ended without a close, as another process shares the
 * table with their descriptors.  Each open looks at the next two, so that there
 * cannot be many of them.
 */
static void ums_openers_sweep(void)
{
	static unsigned long next;
	struct ums_data *data;
	int i;

	lockdep_assert_held(&ums_openers_lock);

	for (i = 0; i < 2; i++) {
		data = xa_find(&ums_openers, &next, ULONG_MAX, XA_PRESENT);
		if (!data) {
			next = 0;
			continue;
		}
		if (!pid_has_task(data->tgid, PIDTYPE_TGID) &&
		    !ums_data_retire(data))
			xa_erase(&ums_openers, next);
		next++;
	}
}

static int ums_openers_add(struct ums_data *data)
{
	unsigned long nr = pid_nr(data->tgid);
	struct ums_data *old;
	int ret = 0;

	mutex_lock(&ums_openers_lock);
	ums_openers_sweep();
	old = xa_load(&ums_openers, nr);
	if (old)
		ret = ums_data_retire(old);
	if (!ret)
		ret = xa_err(xa_store(&ums_openers, nr, data, GFP_KERNEL));
	if (!ret) {
		ret = ums_proc_data_create(data);
		if (ret)
			xa_erase(&ums_openers, nr);
	}
	mutex_unlock(&ums_openers_lock);
	return ret;
}

static void ums_openers_remove(struct ums_data *data)
{
	mutex_lock(&ums_openers_lock);
	ums_proc_data_remove(data);
	xa_cmpxchg(&ums_openers, pid_nr(data->tgid), data, NULL, 0);
	mutex_unlock(&ums_openers_lock);
}

/*
 * The calling thread is still in UMS from before an execve(), though the work
 * that makes it leave is queued: have it run, and the call restarted.
 */
static int ums_leave_stale(struct ums_context *ctx)
{
	ums_context_queue_work(ctx);
	return restart_syscall();
}

/* Return: 0, or -ENOMEM. */
static int ums_data_alloc_wqs(struct ums_data *data)
{
	int nr = pid_nr(data->tgid);

	data->reap_wq = alloc_ordered_workqueue("ums_reap/%d", 0, nr);
	if (!data->reap_wq)
		return -ENOMEM;
	data->links_wq = alloc_ordered_workqueue("ums_links/%d", 0, nr);
	if (data->links_wq)
		return 0;
	destroy_workqueue(data->reap_wq);
	return -ENOMEM;
}

/* No context is left.  They may have been freed already. */
static void ums_data_free_wqs(struct ums_data *data)
{
	if (!data->links_wq)
		return;
	cancel_delayed_work_sync(&data->links_work);
	destroy_workqueue(data->links_wq);
	destroy_workqueue(data->reap_wq);
	data->links_wq = NULL;
}

/* Not by who drops the last context, which may be the reaper, in such a queue. */
static void ums_data_idle_work(struct work_struct *work)
{
	ums_data_free_wqs(container_of(work, struct ums_data, idle_work));
}

static void ums_data_free_work(struct work_struct *work)
{
	struct ums_data *data = container_of(work, struct ums_data, free_work);

	flush_work(&data->idle_work);
	ums_data_free_wqs(data);
	kfree(data);
}

/* The caller holds a lock of all misc devices: do not wait for anybody. */
static int ums_open(struct inode *inode, struct file *file)
{
	struct ums_context *ctx = ums_current_context();
	struct ums_data *data;
	int ret;

	if (!current->mm)	/* a kernel thread has no threads to schedule */
		return -EINVAL;
	if (ctx && ums_context_stale(ctx))
		return ums_leave_stale(ctx);

	data = kzalloc(sizeof(*data), GFP_KERNEL_ACCOUNT);
	if (!data)
		return -ENOMEM;
	data->file = file;
	data->uid = current_fsuid();
	data->gid = current_fsgid();
	init_waitqueue_head(&data->gone);
	init_llist_head(&data->dead);
	INIT_WORK(&data->reap_work, ums_context_reap);
	INIT_WORK(&data->idle_work, ums_data_idle_work);
	INIT_WORK(&data->free_work, ums_data_free_work);
	ums_proc_links_init(data);
	xa_init_flags(&data->comp_lists, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	ret = ums_context_pool_init(&data->schedulers);
	if (ret)
		goto err_free;
	ret = ums_context_pool_init(&data->workers);
	if (ret)
		goto err_schedulers;

	mmgrab(current->mm);
	data->mm = current->mm;
	data->tgid = get_pid(task_tgid(current));
	ret = ums_openers_add(data);
	if (ret)
		goto err_put;
	/* Not before, as the next one may find that the process has one. */
	ret = ums_data_alloc_wqs(data);
	if (ret)
		goto err_openers;

	ums_notifiers_get();
	file->private_data = data;
	return stream_open(inode, file);

err_openers:
	ums_openers_remove(data);
err_put:
	put_pid(data->tgid);
	mmdrop(data->mm);
	rhashtable_destroy(&data->workers);
err_schedulers:
	rhashtable_destroy(&data->schedulers);
err_free:
	kfree(data);
	return ret;
}

/*
 * All contexts are gone; each held a reference on the file.  The last one may
 * have been dropped by the reaper, in the workqueue that is to be destroyed.
 */
static int ums_release(struct inode *inode, struct file *file)
{
	struct ums_data *data = file->private_data;

	ums_openers_remove(data);
	ums_complist_destroy_all(data);
	rhashtable_destroy(&data->workers);
	rhashtable_destroy(&data->schedulers);
	put_pid(data->tgid);
	mmdrop(data->mm);
	ums_notifiers_put();
	queue_work(ums_wq, &data->free_work);
	return 0;
}

static int ums_match_file(const void *file, struct file *f, unsigned int fd)
{
	return f == file;
}

/* Is @file in the table of @t, if that is not @table, the last one looked at? */
static bool ums_task_has(struct task_struct *t, struct file *file,
			 struct files_struct **table)
{
	bool found = false;

	task_lock(t);
	if (t->files != *table)
		found = iterate_fd(t->files, 0, ums_match_file, file);
	*table = t->files;
	task_unlock(t);
	return found;
}

/*
 * How many of the opener's tables the exit of another process looks at.  Only one
 * that shared a table with it can have the last descriptor.
 */
#define UMS_EXIT_TABLES		64

/*
 * Has the opener a descriptor of @file, in any of its threads' tables?  They
 * nearly always share one.  A table may be large, and each thread have another
 * one, so RCU is left after each of them; when the thread or the leader is gone
 * afterwards, the walk starts over.
 */
static bool ums_has_descriptor(struct ums_data *data, struct file *file)
{
	struct files_struct *table = NULL;
	struct files_struct *before;
	struct task_struct *leader;
	struct task_struct *t;
	bool found = false;
	int tables = 0;
	bool gone;

	if (task_tgid(current) == data->tgid &&
	    ums_task_has(current, file, &table))
		return true;

again:
	rcu_read_lock();
	leader = pid_task(data->tgid, PIDTYPE_TGID);
	if (!leader)
		goto out;
	for_each_thread(leader, t) {
		before = table;
		found = ums_task_has(t, file, &table);
		if (found)
			break;
		if (table == before)
			continue;
		/* Nobody's exit takes as long as another process likes. */
		found = current->flags & PF_EXITING &&
			task_tgid(current) != data->tgid &&
			++tables == UMS_EXIT_TABLES;
		if (found)
			break;
		get_task_struct(t);
		rcu_read_unlock();
		cond_resched();
		rcu_read_lock();
		gone = !pid_alive(t) ||
		       pid_task(data->tgid, PIDTYPE_TGID) != leader;
		put_task_struct(t);
		if (gone) {
			rcu_read_unlock();
			goto again;
		}
	}
out:
	rcu_read_unlock();
	return found;
}

static void ums_data_close(struct ums_data *data)
{
	struct ums_context *ctx = ums_current_context();
	int own = ctx && ctx->data == data;

	WRITE_ONCE(data->closed, true);
	/*
	 * Pairs with the barriers in ums_context_init(), ums_context_attach()
	 * and, through set_current_state(), in whatever waits.
	 */
	smp_mb();
	ums_context_close_all(&data->workers);
	ums_context_close_all(&data->schedulers);
	ums_complist_close(data);

	/*
	 * The threads leave by themselves, and may be blocked for long before.
	 * But those that are parked or wait go at once, and then the process
	 * finds nothing of UMS left when close() returns.
	 */
	wait_event_timeout(data->gone, atomic_read(&data->nr_contexts) <= own,
			   UMS_CLOSE_TIMEOUT);
	ums_data_hide(data);
}

static int ums_flush(struct file *file, fl_owner_t id)
{
	struct ums_data *data = file->private_data;

	if (!READ_ONCE(data->closed) && !ums_has_descriptor(data, file))
		ums_data_close(data);
	return 0;
}

static int ums_enter(struct ums_data *data, struct ums_enter __user *uargs)
{
	struct ums_context *ctx = ums_current_context();
	struct ums_enter args;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (args.reserved)
		return -EINVAL;
	if (ctx)
		return ums_context_stale(ctx) ? ums_leave_stale(ctx) : -EEXIST;

	switch (args.mode) {
	case ENTER_UMS_SCHED:
		if (args.cookie || args.flags & ~UMS_SCHED_FLAGS)
			return -EINVAL;
		return enter_ums_scheduler_mode(data, &args);
	case ENTER_UMS_WORK:
		return args.flags ? -EINVAL :
				    enter_ums_worker_mode(data, &args);
	default:
		return -EINVAL;
	}
}

/*
 * An id or context that is passed by value.  They are positive, so 0 stands for
 * whatever is none, bits beyond 32 included.
 */
static int ums_id_arg(unsigned long arg)
{
	return arg <= INT_MAX ? arg : 0;
}

/* The thread leaves on its way back to user mode. */
static int ums_exit(struct ums_context *ctx)
{
	set_bit(UMS_LEAVING, &ctx->flags);
	ums_context_queue_work(ctx);
	return 0;
}

static long ums_scheduler_ioctl(struct ums_scheduler *s, unsigned int cmd,
				unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case IOCTL_UMS_SCHED_DQEVENT:
		return dequeue_ums_sched_event(s, argp, 0);
	case IOCTL_DEQUEUE_UMS_CLIST:
		return dequeue_ums_complist(s, argp);
	case IOCTL_NEXT_UMS_CTX_LIST:
		return next_ums_context(s, ums_id_arg(arg));
	case IOCTL_EXEC_UMS_CTX:
		return exec_ums_context(s, ums_id_arg(arg), 0);
	case IOCTL_UMS_RUN:
		return run_ums_context(s, argp);
	case IOCTL_UMS_DEQUEUE:
		return dequeue_ums_ready(s, argp);
	default:
		return -ENOTTY;
	}
}

static long ums_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct ums_data *data = file->private_data;
	void __user *argp = (void __user *)arg;
	struct ums_context *ctx;
	int ret;

	if (!ums_is_opener(data))
		return -EIO;
	if (READ_ONCE(data->closed))
		return -ENODEV;

	ctx = ums_current_context();
	if (ctx && ctx->data != data)
		ctx = NULL;

	if (ctx && ctx->kind == UMS_WORKER) {
		if (unlikely(to_worker(ctx)->restart_ip) &&
		    ums_park_restarted(to_worker(ctx)))
			return ums_park_call(to_worker(ctx), 0);
		if (unlikely(READ_ONCE(ctx->state) != CONTEXT_RUNNING)) {
			ret = ums_park_before_call(to_worker(ctx));
			if (ret)
				return ret;
		}
	}

	switch (cmd) {
	case IOCTL_CREATE_UMS_CLIST:
		return create_ums_complist(data, argp);
	case IOCTL_DELETE_UMS_CLIST:
		return delete_ums_complist(data, ums_id_arg(arg));
	case IOCTL_ENTER_UMS:
		return ums_enter(data, argp);
	case IOCTL_UMS_SCHED_DQEVENT:
	case IOCTL_DEQUEUE_UMS_CLIST:
	case IOCTL_NEXT_UMS_CTX_LIST:
	case IOCTL_EXEC_UMS_CTX:
	case IOCTL_UMS_RUN:
	case IOCTL_UMS_DEQUEUE:
		if (!ctx || ctx->kind != UMS_SCHEDULER)
			return -ESRCH;
		return ums_scheduler_ioctl(to_scheduler(ctx), cmd, arg);
	case IOCTL_UMS_YIELD:
		if (!ctx || ctx->kind != UMS_WORKER)
			return -ESRCH;
		return ums_worker_yield(to_worker(ctx), arg);
	case IOCTL_UMS_SWITCH:
		if (!ctx || ctx->kind != UMS_WORKER)
			return -ESRCH;
		return switch_ums_context(to_worker(ctx), ums_id_arg(arg));
	case IOCTL_EXIT_UMS:
		return ctx ? ums_exit(ctx) : -ESRCH;
	case IOCTL_UMS_CLIST_FD:
		return open_ums_complist(data, ums_id_arg(arg));
	case IOCTL_UMS_QUERY:
		return query_ums_worker(data, argp);
	case IOCTL_UMS_PREEMPT:
		return preempt_ums_worker(data, ums_id_arg(arg));
	default:
		return -ENOTTY;
	}
}

VISIBLE_IF_KUNIT const struct file_operations ums_fops = {
	.owner		= THIS_MODULE,
	.open		= ums_open,
	.flush		= ums_flush,
	.release	= ums_release,
	.unlocked_ioctl	= ums_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice ums_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "ums",
	.fops	= &ums_fops,
	.mode	= 0666,
};

static int __init ums_init(void)
{
	int ret;

	ret = ums_scheduling_cache_create();
	if (ret)
		return ret;
	ret = -ENOMEM;
	ums_wq = alloc_workqueue("ums", WQ_UNBOUND, 0);
	if (!ums_wq)
		goto err_cache;
	ret = ums_proc_create();
	if (ret)
		goto err_wq;
	ret = misc_register(&ums_misc);
	if (ret)
		goto err_proc;
	return 0;

err_proc:
	ums_proc_destroy();
err_wq:
	destroy_workqueue(ums_wq);
err_cache:
	ums_scheduling_cache_destroy();
	return ret;
}

static void __exit ums_cleanup(void)
{
	misc_deregister(&ums_misc);
	ums_notifiers_off();
	/* Waits for ums_data_free_work(), which waits for the reaper, */
	flush_workqueue(ums_wq);
	/* for threads on their way out of ums_context_deinit(), */
	synchronize_rcu_tasks();
	/* for ums_context_free_rcu(), and for ums_scheduler_free_work(). */
	rcu_barrier();
	destroy_workqueue(ums_wq);
	ums_proc_destroy();
	ums_scheduling_cache_destroy();
}

module_init(ums_init);
module_exit(ums_cleanup);

MODULE_DESCRIPTION("User-mode scheduling");
MODULE_AUTHOR("UMS developers <ums@lists.linux.dev>");
MODULE_LICENSE("GPL");
