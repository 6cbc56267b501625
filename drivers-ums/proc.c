// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: /proc/ums.
 *
 *   /proc/ums/<pid>/schedulers/<pid>/info
 *   /proc/ums/<pid>/schedulers/<pid>/workers/<pid> -> the worker's directory
 *   /proc/ums/<pid>/workers/<pid>/info
 *
 * Removing an info file waits for its readers, and opening a scheduler's waits
 * for its links to be up to date, which takes ums_data.proc_lock.  So info
 * files are removed without that lock, and what is below it has no readers to
 * wait for.
 */

#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>

#include "ums.h"

/* In jiffies that is 10 ms or less, whatever HZ is. */
#define UMS_LINKS_DELAY	msecs_to_jiffies(5)

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
				   struct proc_dir_entry *parent,
				   const struct proc_ops *ops)
{
	struct ums_data *data = ctx->data;
	char name[12];

	snprintf(name, sizeof(name), "%d", ctx->proc_pid);
	ctx->dir = ums_proc_mkdir(data, name, parent);
	if (!ctx->dir)
		return -ENOMEM;
	ctx->info = proc_create_data("info", 0400, ctx->dir, ops, ctx);
	if (!ctx->info) {
		proc_remove(ctx->dir);
		return -ENOMEM;
	}
	proc_set_user(ctx->info, data->uid, data->gid);
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

static int ums_worker_info_show(struct seq_file *m, void *v)
{
	struct ums_worker *w = to_worker((struct ums_context *)m->private);
	struct ums_context *parent;

	ums_proc_show_context(m, &w->context, w->complist);
	rcu_read_lock();
	parent = READ_ONCE(w->context.parent);
	seq_printf(m, "scheduler:\t%d\n", parent ? parent->proc_pid : 0);
	rcu_read_unlock();
	seq_printf(m, "cookie:\t%llu\n", w->cookie);
	return 0;
}

static int ums_worker_info_open(struct inode *inode, struct file *file)
{
	return single_open(file, ums_worker_info_show, pde_data(inode));
}

static const struct proc_ops ums_worker_info_ops = {
	.proc_open	= ums_worker_info_open,
	.proc_read	= seq_read,
	.proc_lseek	= seq_lseek,
	.proc_release	= single_release,
};

static int ums_scheduler_info_show(struct seq_file *m, void *v)
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

static int ums_scheduler_info_open(struct inode *inode, struct file *file)
{
	struct ums_context *ctx = pde_data(inode);

	flush_delayed_work(&to_scheduler(ctx)->links_work);
	return single_open(file, ums_scheduler_info_show, ctx);
}

static const struct proc_ops ums_scheduler_info_ops = {
	.proc_open	= ums_scheduler_info_open,
	.proc_read	= seq_read,
	.proc_lseek	= seq_lseek,
	.proc_release	= single_release,
};

static void ums_proc_link_create(struct ums_scheduler *s, struct ums_worker *w)
{
	char name[12];
	char target[64];

	snprintf(name, sizeof(name), "%d", w->context.proc_pid);
	snprintf(target, sizeof(target), "/proc/ums/%d/workers/%d",
		 pid_nr(s->context.data->tgid), w->context.proc_pid);
	w->link = proc_symlink(name, s->links_dir, target);
	/* Without memory there is none until the next change. */
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

/*
 * A worker that has a directory cannot be freed before proc_lock is dropped,
 * see ums_proc_worker_remove().
 */
static void ums_proc_links_update(struct ums_scheduler *s)
{
	struct ums_worker *missing = NULL;
	struct ums_worker *w, *next;

	/* Let those finish who have found links_dirty set. */
	spin_lock(&s->lock);
	spin_unlock(&s->lock);
	list_for_each_entry_safe(w, next, &s->links, link_node)
		if (READ_ONCE(w->context.parent) != &s->context ||
		    READ_ONCE(w->context.state) != CONTEXT_IDLE)
			ums_proc_link_remove(w);

	spin_lock(&s->lock);
	list_for_each_entry_reverse(w, &s->owned, context.list) {
		if (w->link_sched == s || !w->context.dir)
			continue;
		w->link_next = missing;
		missing = w;
	}
	spin_unlock(&s->lock);

	for (w = missing; w; w = w->link_next) {
		if (w->link)
			ums_proc_link_remove(w);
		ums_proc_link_create(s, w);
	}
}

static void ums_proc_links_work(struct work_struct *work)
{
	struct ums_scheduler *s = container_of(to_delayed_work(work),
					       struct ums_scheduler,
					       links_work);

	mutex_lock(&s->context.data->proc_lock);
	/*
	 * Cleared before looking: who changes the owned workers from here on
	 * queues the work again.  Who did not, having read true, did so under
	 * the scheduler's lock, which is taken below.
	 */
	WRITE_ONCE(s->links_dirty, false);
	smp_mb(); /* pairs with the lock under which the workers change */
	ums_proc_links_update(s);
	mutex_unlock(&s->context.data->proc_lock);
}

/**
 * ums_proc_links_changed - what a scheduler owns has changed
 * @s: the scheduler; it cannot end meanwhile
 *
 * Links are slow to make, so that is left to a work item.
 */
void ums_proc_links_changed(struct ums_scheduler *s)
{
	if (READ_ONCE(s->links_dirty))
		return;
	WRITE_ONCE(s->links_dirty, true);
	queue_delayed_work(ums_wq, &s->links_work, UMS_LINKS_DELAY);
}

int ums_proc_scheduler_create(struct ums_scheduler *s)
{
	struct ums_context *ctx = &s->context;
	int ret;

	INIT_LIST_HEAD(&s->links);
	INIT_DELAYED_WORK(&s->links_work, ums_proc_links_work);
	ret = ums_proc_context_create(ctx, ctx->data->schedulers_dir,
				      &ums_scheduler_info_ops);
	if (ret)
		return ret;
	s->links_dir = ums_proc_mkdir(ctx->data, "workers", ctx->dir);
	if (!s->links_dir) {
		proc_remove(ctx->dir);
		return -ENOMEM;
	}
	return 0;
}

/* @s owns no worker any more and will not. */
void ums_proc_scheduler_remove(struct ums_scheduler *s)
{
	struct ums_data *data = s->context.data;
	struct ums_worker *w, *next;

	cancel_delayed_work_sync(&s->links_work);
	proc_remove(s->context.info);

	mutex_lock(&data->proc_lock);
	list_for_each_entry_safe(w, next, &s->links, link_node)
		ums_proc_link_remove(w);
	proc_remove(s->context.dir);
	mutex_unlock(&data->proc_lock);
}

int ums_proc_worker_create(struct ums_worker *w)
{
	return ums_proc_context_create(&w->context, w->context.data->workers_dir,
				       &ums_worker_info_ops);
}

/* After this no scheduler's links refer to @w, or ever will. */
void ums_proc_worker_remove(struct ums_worker *w)
{
	struct ums_data *data = w->context.data;

	proc_remove(w->context.info);

	mutex_lock(&data->proc_lock);
	if (w->link)
		ums_proc_link_remove(w);
	proc_remove(w->context.dir);
	w->context.dir = NULL;
	mutex_unlock(&data->proc_lock);
}
