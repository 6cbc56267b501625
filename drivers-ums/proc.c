// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: /proc/ums.
 *
 *   /proc/ums/<pid>/schedulers/<pid>/info
 *   /proc/ums/<pid>/schedulers/<pid>/workers/<pid> -> the worker's directory
 *   /proc/ums/<pid>/workers/<pid>/info
 *
 * Links are slow to make, so that is left to a work item.  Whoever moves a worker
 * puts it on a list of those that may need another link, unless it is there
 * already, and the work item brings some of them up to date at a time: what
 * links cost does not grow with the number of workers or switches.
 *
 * Removing an entry waits for its readers: of a file, or of a link.  They can
 * keep a process waiting for ever, but only its own threads and work items, and
 * who opens a scheduler's info, which waits for the links, until they are killed.
 * So info files are removed without the lock of the links, and not by the work
 * item that makes them.
 */

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/pid.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sprintf.h>

#include "ums.h"

/* A timer comes up to two jiffies late: so that is within 10 ms if HZ is 250. */
#define UMS_LINKS_DELAY		max(HZ / 200, 1)

/*
 * How many links are made or removed in that time, which takes some percent of
 * it, and how many workers are looked at for that.
 */
#define UMS_LINKS_AT_ONCE	64
#define UMS_LINKS_LOOKED_AT	4096

static struct proc_dir_entry *ums_proc_root;

int ums_proc_create(void)
{
	ums_proc_root = proc_mkdir("ums", NULL);
	return ums_proc_root ? 0 : -ENOMEM;
}

void ums_proc_destroy(void)
{
	proc_remove(ums_proc_root);
}

static struct proc_dir_entry *ums_proc_mkdir(struct ums_data *data,
					     const char *name,
					     struct proc_dir_entry *parent)
{
	struct proc_dir_entry *dir = proc_mkdir_mode(name, 0500, parent);

	if (dir)
		proc_set_user(dir, data->uid, data->gid);
	return dir;
}

/**
 * ums_proc_data_create - make the directory of a process
 * @data: its device; no other has the name
 *
 * Return: 0 or -ENOMEM.
 */
int ums_proc_data_create(struct ums_data *data)
{
	char name[12];

	snprintf(name, sizeof(name), "%d", pid_nr(data->tgid));
	data->dir = ums_proc_mkdir(data, name, ums_proc_root);
	if (!data->dir)
		return -ENOMEM;
	data->schedulers_dir = ums_proc_mkdir(data, "schedulers", data->dir);
	data->workers_dir = ums_proc_mkdir(data, "workers", data->dir);
	if (!data->schedulers_dir || !data->workers_dir) {
		ums_proc_data_remove(data);
		return -ENOMEM;
	}
	return 0;
}

/* No context is left.  It may have been removed already. */
void ums_proc_data_remove(struct ums_data *data)
{
	proc_remove(data->dir);
	data->dir = NULL;
}

static int ums_proc_context_create(struct ums_context *ctx,
				   struct ums_dirs *dirs,
				   struct proc_dir_entry *parent,
				   const struct proc_ops *ops)
{
	struct ums_data *data = ctx->data;
	char name[12];

	snprintf(name, sizeof(name), "%d", ctx->proc_pid);
	dirs->dir = ums_proc_mkdir(data, name, parent);
	if (!dirs->dir)
		return -ENOMEM;
	dirs->info = proc_create_data("info", 0400, dirs->dir, ops, ctx);
	if (!dirs->info) {
		proc_remove(dirs->dir);
		return -ENOMEM;
	}
	proc_set_user(dirs->info, data->uid, data->gid);
	return 0;
}

static const char * const ums_proc_states[] = {
	[CONTEXT_RUNNING]	= "running",
	[CONTEXT_IDLE]		= "idle",
	[CONTEXT_BLOCKED]	= "blocked",
};

static void ums_proc_show_context(struct seq_file *m, struct ums_context *ctx,
				  struct ums_complist *cl)
{
	seq_printf(m, "pid:\t%d\n", ctx->proc_pid);
	seq_printf(m, "state:\t%s\n",
		   ums_proc_states[READ_ONCE(ctx->state)]);
	seq_printf(m, "switches:\t%llu\n", READ_ONCE(ctx->switches));
	seq_printf(m, "completion_list:\t%d\n", cl->id);
}

/*
 * Is the process of @data visible through the mount of procfs that @inode is in?
 * The tree is the same in all of them, while a container's own is not to tell it
 * about processes outside, whoever it runs as.
 */
static bool ums_proc_visible(struct ums_data *data, struct inode *inode)
{
	return pid_nr_ns(data->tgid, proc_pid_ns(inode->i_sb));
}

/*
 * Cookies are often addresses, for the process itself and for those who may read
 * its memory whatever it has become since it opened the device.  The root of a
 * user namespace may not: the process may have executed there what that one cannot
 * read.
 */
static bool ums_proc_may_see_cookies(struct ums_data *data)
{
	return task_tgid(current) == data->tgid ||
	       ns_capable_noaudit(&init_user_ns, CAP_SYS_PTRACE);
}

static int ums_worker_info_show(struct seq_file *m, void *v)
{
	struct ums_worker *w = to_worker((struct ums_context *)m->private);
	struct ums_context *parent;

	ums_proc_show_context(m, &w->context, w->complist);
	rcu_read_lock();
	parent = READ_ONCE(w->context.parent);
	seq_printf(m, "scheduler:\t%d\n", parent ? parent->proc_pid : 0);
	rcu_read_unlock();
	return 0;
}

VISIBLE_IF_KUNIT int ums_worker_info_show_all(struct seq_file *m, void *v)
{
	struct ums_worker *w = to_worker((struct ums_context *)m->private);

	ums_worker_info_show(m, v);
	seq_printf(m, "cookie:\t%llu\n", w->cookie);
	return 0;
}

static int ums_worker_info_open(struct inode *inode, struct file *file)
{
	struct ums_context *ctx = pde_data(inode);

	if (!ums_proc_visible(ctx->data, inode))
		return -EACCES;
	return single_open(file, ums_proc_may_see_cookies(ctx->data) ?
			   ums_worker_info_show_all : ums_worker_info_show,
			   ctx);
}

static const struct proc_ops ums_worker_info_ops = {
	.proc_open	= ums_worker_info_open,
	.proc_read	= seq_read,
	.proc_lseek	= seq_lseek,
	.proc_release	= single_release,
};

VISIBLE_IF_KUNIT int ums_scheduler_info_show(struct seq_file *m, void *v)
{
	struct ums_scheduler *s = to_scheduler((struct ums_context *)m->private);
	struct ums_worker *w;

	ums_proc_show_context(m, &s->context, s->complist);
	rcu_read_lock();
	w = READ_ONCE(s->running);
	seq_printf(m, "worker:\t%d\n", w ? w->context.proc_pid : 0);
	rcu_read_unlock();
	seq_printf(m, "events:\t%u\n", READ_ONCE(s->nr_events));
	return 0;
}

static void ums_proc_link_create(struct ums_scheduler *s, struct ums_worker *w)
{
	char name[12];
	char target[64];

	snprintf(name, sizeof(name), "%d", w->context.proc_pid);
	snprintf(target, sizeof(target), "/proc/ums/%d/workers/%d",
		 pid_nr(s->context.data->tgid), w->context.proc_pid);
	w->link = proc_symlink(name, s->dirs.workers, target);
	/* Without memory there is none until it is moved again. */
	if (!w->link)
		return;
	proc_set_user(w->link, s->context.data->uid, s->context.data->gid);
	w->link_sched = s;
	list_add_tail(&w->link_node, &s->links);
}

static void ums_proc_link_remove(struct ums_worker *w)
{
	proc_remove(w->link);
	w->link = NULL;
	w->link_sched = NULL;
	list_del_init(&w->link_node);
}

/* Take over what has been moved.  Under proc_lock. */
static void ums_proc_links_take(struct ums_data *data)
{
	struct llist_node *first;
	struct ums_worker *w;

	if (llist_empty(&data->links_changed))
		return;
	first = llist_reverse_order(llist_del_all(&data->links_changed));
	llist_for_each_entry(w, first, link_changed)
		list_add_tail(&w->link_todo, &data->links_todo);
}

/* The scheduler in whose directory @w belongs: the one that has dequeued it. */
static struct ums_scheduler *ums_proc_link_owner(struct ums_worker *w)
{
	struct ums_scheduler *place, *owner;

	ums_find_begin();
	place = ums_worker_lock(w);
	owner = ums_worker_runs(w, place) ? NULL : place;
	ums_worker_unlock(w, place);
	ums_find_end();
	return owner;
}

/*
 * Bring the link of the first worker on the list up to date.  Under proc_lock,
 * without which no worker there, nor a scheduler that owns one, can end.
 *
 * Return: whether a link was made or removed.
 */
static bool ums_proc_link_update(struct ums_data *data)
{
	struct ums_worker *w = list_first_entry(&data->links_todo,
						struct ums_worker, link_todo);
	struct ums_scheduler *s;

	list_del_init(&w->link_todo);
	clear_bit(UMS_LINK_CHANGED, &w->context.flags);
	/*
	 * Cleared before looking: who moves the worker from here on puts it on
	 * the list again.  Who did not, having seen the bit, moved it under a
	 * lock that is taken below.
	 */
	smp_mb__after_atomic();
	s = ums_proc_link_owner(w);
	if (s == w->link_sched)
		return false;
	if (w->link)
		ums_proc_link_remove(w);
	if (s)
		ums_proc_link_create(s, w);
	return true;
}

static void ums_proc_links_work(struct work_struct *work)
{
	struct ums_data *data = container_of(to_delayed_work(work),
					     struct ums_data, links_work);
	unsigned int looked = UMS_LINKS_LOOKED_AT;
	unsigned int left = UMS_LINKS_AT_ONCE;
	unsigned int wanted;
	bool done;

	/* Pairs with atomic_inc_return() in ums_proc_links_flush(). */
	wanted = atomic_read_acquire(&data->links_wanted);
	mutex_lock(&data->proc_lock);
	ums_proc_links_take(data);
	/* All that is there now; what comes meanwhile would never end. */
	if (wanted != data->links_done) {
		looked = list_count_nodes(&data->links_todo);
		left = looked;
	}
	while (looked-- && left && !list_empty(&data->links_todo)) {
		if (ums_proc_link_update(data))
			left--;
		cond_resched();
	}
	done = list_empty(&data->links_todo);
	mutex_unlock(&data->proc_lock);

	if (wanted != data->links_done) {
		WRITE_ONCE(data->links_done, wanted);
		wake_up_all(&data->links_wait);
	}
	if (!done)
		queue_delayed_work(data->links_wq, &data->links_work,
				   UMS_LINKS_DELAY);
}

/*
 * Bring all links up to date, for a reader, who may be of another process.  The
 * work item may be kept waiting by somebody else's readlink(), so it does this.
 *
 * Return: 0, or -ERESTARTSYS when killed.
 */
static int ums_proc_links_flush(struct ums_data *data)
{
	unsigned int wanted = atomic_inc_return(&data->links_wanted);

	mod_delayed_work(data->links_wq, &data->links_work, 0);
	return wait_event_killable(data->links_wait,
				   (int)(READ_ONCE(data->links_done) -
					 wanted) >= 0);
}

/**
 * ums_proc_links_init - prepare a new device for links
 * @data: the device
 */
void ums_proc_links_init(struct ums_data *data)
{
	mutex_init(&data->proc_lock);
	init_llist_head(&data->links_changed);
	INIT_LIST_HEAD(&data->links_todo);
	INIT_DELAYED_WORK(&data->links_work, ums_proc_links_work);
	init_waitqueue_head(&data->links_wait);
}

/**
 * ums_proc_worker_moved - a worker may need another link
 * @w: the worker; under the lock of its place, before it has a new parent
 */
void ums_proc_worker_moved(struct ums_worker *w)
{
	struct ums_data *data = w->context.data;

	if (likely(test_bit(UMS_LINK_CHANGED, &w->context.flags)) ||
	    test_and_set_bit(UMS_LINK_CHANGED, &w->context.flags))
		return;
	if (llist_add(&w->link_changed, &data->links_changed))
		queue_delayed_work(data->links_wq, &data->links_work,
				   UMS_LINKS_DELAY);
}

static int ums_scheduler_info_open(struct inode *inode, struct file *file)
{
	struct ums_context *ctx = pde_data(inode);
	int ret;

	if (!ums_proc_visible(ctx->data, inode))
		return -EACCES;
	ret = ums_proc_links_flush(ctx->data);
	return ret ?: single_open(file, ums_scheduler_info_show, ctx);
}

static const struct proc_ops ums_scheduler_info_ops = {
	.proc_open	= ums_scheduler_info_open,
	.proc_read	= seq_read,
	.proc_lseek	= seq_lseek,
	.proc_release	= single_release,
};

int ums_proc_scheduler_create(struct ums_scheduler *s)
{
	struct ums_context *ctx = &s->context;
	int ret;

	INIT_LIST_HEAD(&s->links);
	ret = ums_proc_context_create(ctx, &s->dirs,
				      ctx->data->schedulers_dir,
				      &ums_scheduler_info_ops);
	if (ret)
		return ret;
	s->dirs.workers = ums_proc_mkdir(ctx->data, "workers", s->dirs.dir);
	if (!s->dirs.workers) {
		proc_remove(s->dirs.dir);
		return -ENOMEM;
	}
	return 0;
}

/* @s owns no worker any more and will not. */
void ums_proc_scheduler_remove(struct ums_scheduler *s)
{
	struct ums_data *data = s->context.data;
	struct ums_worker *w, *next;

	proc_remove(s->dirs.info);

	mutex_lock(&data->proc_lock);
	list_for_each_entry_safe(w, next, &s->links, link_node)
		ums_proc_link_remove(w);
	proc_remove(s->dirs.dir);
	mutex_unlock(&data->proc_lock);
}

int ums_proc_worker_create(struct ums_worker *w)
{
	return ums_proc_context_create(&w->context, &w->dirs,
				       w->context.data->workers_dir,
				       &ums_worker_info_ops);
}

/* After this no scheduler's links refer to @w, or ever will. */
void ums_proc_worker_remove(struct ums_worker *w)
{
	struct ums_data *data = w->context.data;
	struct ums_scheduler *place;

	proc_remove(w->dirs.info);

	mutex_lock(&data->proc_lock);
	/*
	 * Nobody puts it on the list again, and only under proc_lock could the
	 * bit be cleared.  Who was about to has put it there, as that takes the
	 * lock, or comes before the parent that is found here.
	 */
	ums_find_begin();
	place = ums_worker_lock(w);
	set_bit(UMS_LINK_CHANGED, &w->context.flags);
	ums_worker_unlock(w, place);
	ums_find_end();
	ums_proc_links_take(data);
	list_del_init(&w->link_todo);
	if (w->link)
		ums_proc_link_remove(w);
	proc_remove(w->dirs.dir);
	mutex_unlock(&data->proc_lock);
}
