/* SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause */
/*
 * What the parts of libums share.  Data flows one way: scheduler.c, worker.c
 * and list.c each turn their functions into calls of device.c.
 *
 * No thread of the library's own, no memory allocated where workers are
 * switched, and no lock taken there either: libums_lock guards opening the
 * device and the table of lists, which only creation and deletion touch.  A
 * worker takes it only if it calls one of those itself.
 */
#ifndef __LIBUMS_INTERNAL_H
#define __LIBUMS_INTERNAL_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "ums.h"

/* For what is passed on between the program and the kernel as it is. */
#define ASSERT_SAME(ours, kernels)					\
	static_assert((int)(ours) == (int)(kernels), "not the kernel's value")

/**
 * struct libums_list - a completion list as the library knows it
 * @next: the next in the table; libums_lock
 * @id: what the kernel calls it
 * @entering: threads created for it whose ENTER has not returned yet.  Raised
 *	under libums_lock, dropped without.  While it is not zero the list is
 *	not deleted, and so this structure not freed.
 *
 * An ENTER that succeeds returns when its worker is first executed.  The
 * kernel knows of the worker from some time before that, so there is no
 * moment in which a worker on its way counts neither here nor there.
 */
struct libums_list {
	struct libums_list *next;
	ums_completion_list_t id;
	atomic_uint entering;
};

extern pthread_mutex_t libums_lock;

int libums_open(void);
int libums_lock_open(void);
int libums_ioctl(unsigned long request, unsigned long arg);

struct libums_list *libums_list_get(ums_completion_list_t id);
void libums_list_put(struct libums_list *list);
void libums_lists_lose(void);
void libums_lists_free(void);

void libums_scheduler_forget(void);
bool libums_scheduler_keeps_event(void);

#endif /* __LIBUMS_INTERNAL_H */
