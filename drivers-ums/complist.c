// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: completion lists, where ready workers wait to be
 * dequeued.
 */

#include <linux/anon_inodes.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ums.h"

/* Nobody is told of these any more. */
void ums_complist_drop_corpses(struct list_head *corpses)
{
	struct ums_event_node *node, *next;

	list_for_each_entry_safe(node, next, corpses, list)
		free_ums_event(node);
}

static void ums_complist_release(struct kref *ref)
{
	struct ums_complist *cl = container_of(ref, struct ums_complist, ref);

	ums_complist_drop_corpses(&cl->corpses);
	kfree_rcu(cl, rcu);
}

void ums_complist_put(struct ums_complist *cl)
{
	kref_put(&cl->ref, ums_complist_release);
}

/**
 * ums_complist_get - look a completion list up
 * @data: the caller's device
 * @id: its id
 *
 * Return: the list with a reference, or NULL.
 */
struct ums_complist *ums_complist_get(struct ums_data *data, int id)
{
	struct ums_complist *cl;

	if (id <= 0)
		return NULL;
	rcu_read_lock();
	cl = xa_load(&data->comp_lists, id);
	if (cl && !kref_get_unless_zero(&cl->ref))
		cl = NULL;
	rcu_read_unlock();
	return cl;
}

/**
 * create_ums_complist - IOCTL_CREATE_UMS_CLIST
 * @data: the caller's device
 * @uid: where the id goes
 *
 * Return: 0, -ENOMEM, -ENOSPC for UMS_MAX_CLISTS lists, -EFAULT.
 */
int create_ums_complist(struct ums_data *data, __s32 __user *uid)
{
	struct ums_complist *cl;
	u32 id;
	int ret;

	cl = kzalloc(sizeof(*cl), GFP_KERNEL_ACCOUNT);
	if (!cl)
		return -ENOMEM;
	kref_init(&cl->ref);
	spin_lock_init(&cl->lock);
	INIT_LIST_HEAD(&cl->queue);
	INIT_LIST_HEAD(&cl->corpses);
	init_waitqueue_head(&cl->wait_q);
	init_waitqueue_head(&cl->poll_q);

	/* The id is reserved, and unknown until its owner can know it. */
	ret = xa_alloc(&data->comp_lists, &id, NULL,
		       XA_LIMIT(1, UMS_MAX_CLISTS), GFP_KERNEL_ACCOUNT);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto err_free;
	}
	cl->id = id;
	if (put_user((__s32)id, uid)) {
		ret = -EFAULT;
		goto err_release;
	}
	xa_store(&data->comp_lists, id, cl, GFP_KERNEL_ACCOUNT);
	return 0;

err_release:
	xa_release(&data->comp_lists, id);
err_free:
	kfree(cl);
	return ret;
}

/* Has @cl something to dequeue?  Looked at without its lock. */
bool ums_complist_ready(struct ums_complist *cl)
{
	return !list_empty(&cl->queue) || !list_empty(&cl->corpses);
}

/**
 * ums_complist_wake - workers were put on a completion list
 * @cl: the list, not locked
 * @count: how many
 *
 * Wakes one of the waiting schedulers for each.
 */
void ums_complist_wake(struct ums_complist *cl, int count)
{
	/*
	 * Pairs with the barrier of prepare_to_wait_event(), and with the one in
	 * ums_complist_poll().
	 */
	smp_mb();
	/* After that barrier. */
	if (waitqueue_active(&cl->wait_q))
		wake_up_interruptible_nr(&cl->wait_q, count);
	/* After that barrier, too. */
	if (unlikely(waitqueue_active(&cl->poll_q)))
		wake_up_interruptible_poll(&cl->poll_q, EPOLLIN | EPOLLRDNORM);
}

/* The list is no more, for whatever reason: everybody is to look. */
static void ums_complist_wake_all(struct ums_complist *cl)
{
	wake_up_all(&cl->wait_q);
	wake_up_all(&cl->poll_q);
}

/* Nobody has entered or waits with @cl any more, or will. */
static int ums_complist_kill(struct ums_complist *cl)
{
	int ret = 0;

	spin_lock(&cl->lock);
	if (cl->deleted)
		ret = -EINVAL;
	else if (cl->members)
		ret = -EBUSY;
	else
		cl->deleted = true;
	spin_unlock(&cl->lock);
	return ret;
}

/**
 * delete_ums_complist - IOCTL_DELETE_UMS_CLIST
 * @data: the caller's device
 * @id: the list
 *
 * A worker that is exiting does not count: it will never be queued again, and
 * a program that has joined the thread cannot know that it is not yet reaped.
 *
 * Return: 0, -EINVAL if there is no such list, -EBUSY if it has workers.
 */
int delete_ums_complist(struct ums_data *data, int id)
{
	struct ums_complist *cl;
	int ret;

	cl = ums_complist_get(data, id);
	if (!cl)
		return -EINVAL;

	ret = ums_complist_kill(cl);
	if (ret == -EBUSY) {
		ums_worker_disown_exiting(data, cl);
		ret = ums_complist_kill(cl);
	}
	if (!ret) {
		xa_erase(&data->comp_lists, id);
		ums_complist_wake_all(cl);
		ums_complist_put(cl);
	}
	ums_complist_put(cl);
	return ret;
}

static __poll_t ums_complist_poll(struct file *file,
				  struct poll_table_struct *wait)
{
	struct ums_complist *cl = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &cl->poll_q, wait);
	/* Pairs with the barrier in ums_complist_wake(). */
	smp_mb();
	if (ums_complist_ready(cl))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(cl->deleted) || READ_ONCE(cl->closed))
		mask |= EPOLLHUP;
	return mask;
}

static int ums_complist_fd_release(struct inode *inode, struct file *file)
{
	ums_complist_put(file->private_data);
	return 0;
}

static const struct file_operations ums_complist_fops = {
	.owner		= THIS_MODULE,
	.poll		= ums_complist_poll,
	.release	= ums_complist_fd_release,
};

/**
 * open_ums_complist - IOCTL_UMS_CLIST_FD
 * @data: the caller's device
 * @id: the list
 *
 * The descriptor holds the list's memory and the module, but neither the list
 * nor the device.
 *
 * Return: a descriptor, -EINVAL for the list, -EMFILE, -ENFILE, -ENOMEM.
 */
int open_ums_complist(struct ums_data *data, int id)
{
	struct ums_complist *cl = ums_complist_get(data, id);
	int fd;

	if (!cl)
		return -EINVAL;
	fd = anon_inode_getfd("[ums-clist]", &ums_complist_fops, cl,
			      O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		ums_complist_put(cl);
	return fd;
}

/* The device was closed: whoever waits for a worker returns. */
void ums_complist_close(struct ums_data *data)
{
	struct ums_complist *cl;
	unsigned long id;

	rcu_read_lock();
	xa_for_each(&data->comp_lists, id, cl) {
		WRITE_ONCE(cl->closed, true);
		ums_complist_wake_all(cl);
	}
	rcu_read_unlock();
}

/* No context is left: drop the process's references. */
void ums_complist_destroy_all(struct ums_data *data)
{
	struct ums_complist *cl;
	unsigned long id;

	xa_for_each(&data->comp_lists, id, cl)
		ums_complist_put(cl);
	xa_destroy(&data->comp_lists);
}
