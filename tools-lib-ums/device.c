// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * The device: opened on first use, once, and left behind by fork().
 *
 * Fork handlers close the descriptor in the child and hold libums_lock over the
 * fork(), so that none falls between open() and the store to the variable.
 * They are registered on first use, and one fork() escapes them: that of
 * another thread which was under way already.  Its child can find everything
 * here in any state, libums_lock held by a thread that it does not have.  So
 * the state carries the id of the process that it belongs to, and a process
 * that finds another's takes over before it touches the lock.  Children made
 * by other means than fork() are caught by the same check.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

#define UMS_DEVICE	"/dev/ums"

pthread_mutex_t libums_lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * The id of the process that the state belongs to, negated while that process
 * is taking over; 0 before first use.
 */
static atomic_int home;

/*
 * -1 or the descriptor.  Written under libums_lock, read without: it changes
 * once in a process, and only calls that follow a successful open mean
 * anything.
 */
static atomic_int device = -1;

static bool handlers_registered;	/* libums_lock */

static void drop_device(void)
{
	int fd = atomic_load_explicit(&device, memory_order_relaxed);
	int state;

	/* close() is a cancellation point, the callers are not. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	if (fd >= 0)
		close(fd);
	pthread_setcancelstate(state, NULL);
	atomic_store_explicit(&device, -1, memory_order_relaxed);
	libums_scheduler_forget();
}

static void take_over(void)
{
	int pid = getpid();
	int owner = atomic_load(&home);

	while (owner != pid) {
		if (owner == -pid) {
			/* Another thread of this process does it. */
			sched_yield();
			owner = atomic_load(&home);
		} else if (atomic_compare_exchange_strong(&home, &owner, -pid)) {
			if (owner) {
				drop_device();
				libums_lists_lose();
				pthread_mutex_init(&libums_lock, NULL);
			}
			atomic_store(&home, pid);
			owner = pid;
		}
	}
}

static void before_fork(void)
{
	take_over();
	pthread_mutex_lock(&libums_lock);
}

static void after_fork_parent(void)
{
	pthread_mutex_unlock(&libums_lock);
}

static void after_fork_child(void)
{
	drop_device();
	atomic_store(&home, getpid());
	pthread_mutex_unlock(&libums_lock);
}

static int register_handlers(void)
{
	if (handlers_registered)
		return 0;

	/*
	 * Set first: a child that escapes in between must not register them a
	 * second time.  If it has none then, take_over() notices it still.
	 */
	handlers_registered = true;
	errno = pthread_atfork(before_fork, after_fork_parent, after_fork_child);
	if (!errno)
		return 0;
	handlers_registered = false;
	return -1;
}

static int open_device(void)
{
	int fd, state;

	if (atomic_load_explicit(&device, memory_order_relaxed) >= 0)
		return 0;
	if (register_handlers())
		return -1;

	/* open() is a cancellation point, and libums_lock is held. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	fd = open(UMS_DEVICE, O_RDWR | O_CLOEXEC);
	pthread_setcancelstate(state, NULL);
	if (fd < 0)
		return -1;

	/* Any that are left were the parent's before a fork(). */
	libums_lists_free();
	atomic_store_explicit(&device, fd, memory_order_release);
	return 0;
}

/**
 * libums_lock_open() - take libums_lock, with the device open
 *
 * Return: 0, or -1 with errno and without the lock.
 */
int libums_lock_open(void)
{
	take_over();
	pthread_mutex_lock(&libums_lock);
	if (open_device()) {
		pthread_mutex_unlock(&libums_lock);
		return -1;
	}
	return 0;
}

/**
 * libums_open() - have the device open
 *
 * Return: 0, or -1 with errno.
 */
int libums_open(void)
{
	if (libums_lock_open())
		return -1;
	pthread_mutex_unlock(&libums_lock);
	return 0;
}

/**
 * libums_ioctl() - call the device
 * @request: an IOCTL_* of <linux/ums.h>
 * @arg: its argument
 *
 * Does not open the device: a process that has not can have neither
 * schedulers nor workers, which is ESRCH.
 *
 * Return: what the call returns, or -1 with errno.
 */
int libums_ioctl(unsigned long request, unsigned long arg)
{
	int fd = atomic_load_explicit(&device, memory_order_acquire);

	if (fd < 0) {
		errno = ESRCH;
		return -1;
	}
	return ioctl(fd, request, arg);
}
