// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * Completion lists.
 *
 * The library keeps a table of them for one purpose: a thread on its way to
 * become a worker of a list must be seen by whoever deletes that list, and the
 * kernel cannot see it yet.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include <linux/ums.h>

#include "internal.h"

ASSERT_SAME(sizeof(ums_ready_item_t), sizeof(struct ums_ready));
ASSERT_SAME(offsetof(ums_ready_item_t, why), offsetof(struct ums_ready, why));
ASSERT_SAME(offsetof(ums_ready_item_t, cookie),
	    offsetof(struct ums_ready, cookie));
ASSERT_SAME(UMS_WHY_NEW, UMS_READY_NEW);
ASSERT_SAME(UMS_WHY_YIELDED, UMS_READY_YIELDED);
ASSERT_SAME(UMS_WHY_UNBLOCKED, UMS_READY_UNBLOCKED);
ASSERT_SAME(UMS_WHY_PREEMPTED, UMS_READY_PREEMPTED);
ASSERT_SAME(UMS_WHY_ORPHANED, UMS_READY_ORPHANED);
ASSERT_SAME(UMS_WHY_TERMINATED, UMS_READY_TERMINATED);

static struct libums_list *lists;	/* libums_lock */

static struct libums_list **find(ums_completion_list_t id)
{
	struct libums_list **link = &lists;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

/**
 * libums_list_get() - announce a worker to a list
 * @id: the list
 *
 * Opens the device.
 *
 * Return: The list, which is not deleted before libums_list_put(), or NULL
 * with errno.
 */
struct libums_list *libums_list_get(ums_completion_list_t id)
{
	struct libums_list *list;

	if (libums_lock_open())
		return NULL;
	list = *find(id);
	if (list)
		atomic_fetch_add(&list->entering, 1);
	else
		errno = EINVAL;
	pthread_mutex_unlock(&libums_lock);
	return list;
}

/**
 * libums_list_put() - the worker has arrived, or will not come
 * @list: from libums_list_get()
 *
 * Takes no lock: the caller may be a worker.
 */
void libums_list_put(struct libums_list *list)
{
	atomic_fetch_sub(&list->entering, 1);
}

/**
 * libums_lists_lose() - empty the table, in whatever state it is
 *
 * In a child, of a thread that was at work on it when the child was made.
 */
void libums_lists_lose(void)
{
	lists = NULL;
}

/**
 * libums_lists_free() - empty the table, libums_lock held
 */
void libums_lists_free(void)
{
	while (lists) {
		struct libums_list *list = lists;

		lists = list->next;
		free(list);
	}
}

int create_ums_completion_list(ums_completion_list_t *list)
{
	struct libums_list *new;
	__s32 id;

	if (!list) {
		errno = EFAULT;
		return -1;
	}

	new = calloc(1, sizeof(*new));
	if (!new)
		return -1;
	if (libums_lock_open())
		goto err_free;
	if (libums_ioctl(IOCTL_CREATE_UMS_CLIST, (unsigned long)&id))
		goto err_unlock;
	new->id = id;
	new->next = lists;
	lists = new;
	pthread_mutex_unlock(&libums_lock);
	*list = id;
	return 0;

err_unlock:
	pthread_mutex_unlock(&libums_lock);
err_free:
	free(new);
	return -1;
}

int delete_ums_completion_list(ums_completion_list_t *list)
{
	struct libums_list **link, *old;
	int ret = -1;

	if (!list) {
		errno = EFAULT;
		return -1;
	}

	if (libums_lock_open())
		return -1;
	link = find(*list);
	old = *link;
	if (!old) {
		errno = EINVAL;
	} else if (atomic_load(&old->entering)) {
		errno = EBUSY;
	} else {
		ret = libums_ioctl(IOCTL_DELETE_UMS_CLIST, old->id);
		if (!ret) {
			*link = old->next;
			free(old);
		}
	}
	pthread_mutex_unlock(&libums_lock);
	return ret;
}

int get_ums_completion_list_fd(ums_completion_list_t list)
{
	if (libums_open())
		return -1;
	return libums_ioctl(IOCTL_UMS_CLIST_FD, list);
}

int dequeue_ums_completion_list_items(ums_completion_list_t list,
				      ums_context_t *context)
{
	struct ums_dequeue_clist dequeue = { .clist = list };

	if (!context) {
		errno = EFAULT;
		return -1;
	}
	if (libums_ioctl(IOCTL_DEQUEUE_UMS_CLIST, (unsigned long)&dequeue))
		return -1;
	*context = dequeue.context;
	return 0;
}

int dequeue_ums_ready(ums_completion_list_t list, ums_ready_item_t *items,
		      unsigned int nr, int64_t timeout_ns)
{
	struct ums_dequeue dequeue = {
		.clist = list,
		.nr = nr,
		.ready = (uintptr_t)items,
	};
	bool event = libums_scheduler_keeps_event();
	int ret;

	/* The kernel would notice when there is something to write. */
	if (!items) {
		errno = EFAULT;
		return -1;
	}
	if (event || !timeout_ns)
		dequeue.flags = UMS_NONBLOCK;
	else if (timeout_ns > 0)
		dequeue.timeout_ns = timeout_ns;
	ret = libums_ioctl(IOCTL_UMS_DEQUEUE, (unsigned long)&dequeue);
	/* As the kernel has it for an event of its own. */
	if (ret < 0 && errno == EAGAIN && event)
		ret = 0;
	return ret;
}

ums_context_t get_next_ums_list_item(ums_context_t context)
{
	return libums_ioctl(IOCTL_NEXT_UMS_CTX_LIST, context);
}
