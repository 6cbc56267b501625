/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the driver uses and a distribution's kernel may lack.  Kbuild has this
 * included ahead of every file of the driver, and finds out what is there.
 */
#ifndef _UMS_COMPAT_H
#define _UMS_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/version.h>
#include <linux/wait.h>

/* New in 6.13. */
#ifndef UMS_HAS_HRTIMER_SETUP
static inline void
ums_hrtimer_setup(struct hrtimer *timer,
		  enum hrtimer_restart (*function)(struct hrtimer *timer),
		  clockid_t clock_id, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock_id, mode);
	timer->function = function;
}

#define hrtimer_setup ums_hrtimer_setup
#endif

/*
 * __wake_up_on_current_cpu() is there since 6.6, but not for modules.  All that
 * it does beyond what modules may call is to give WF_CURRENT_CPU to the waiters'
 * functions, of which default_wake_function() takes it.  The flag has no name
 * outside of kernel/sched/.  So it is used as far as its value is known; a later
 * kernel's threads are woken as any others, on whatever processor the kernel
 * likes.  That is correct as well, and slower.
 */
#ifndef UMS_HAS_WAKE_UP_ON_CURRENT_CPU
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 4, 0) && !defined(UMS_PLAIN_WAKE_UP)
#define UMS_WF_CURRENT_CPU	0x40
#else
#define UMS_WF_CURRENT_CPU	0
#endif

static inline void
ums_wake_up_on_current_cpu(struct wait_queue_head *wq_head, unsigned int mode,
			   void *key)
{
	struct wait_queue_entry *waiter, *next;
	unsigned long flags;

	spin_lock_irqsave(&wq_head->lock, flags);
	list_for_each_entry_safe(waiter, next, &wq_head->head, entry)
		waiter->func(waiter, mode, UMS_WF_CURRENT_CPU, key);
	spin_unlock_irqrestore(&wq_head->lock, flags);
}

#define __wake_up_on_current_cpu ums_wake_up_on_current_cpu
#endif

#endif /* _UMS_COMPAT_H */
