/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests with fixtures share.  The macros work on the members of a fixture:
 * fd, clist and workers, and, where workers are taken and run, ready and event.
 */
#ifndef UMS_FIXTURE_H
#define UMS_FIXTURE_H

#include "../kselftest_harness.h"
#include "ums_test.h"

/* --- setting up --- */

/*
 * Without a device the test is skipped.  @leave is the statement that leaves
 * the function, as SKIP() takes it.
 */
#define NEED_DEVICE(leave)						\
	do {								\
		int __fd = ums_open();					\
									\
		if (ums_no_device(__fd))				\
			SKIP(leave, NO_DEVICE);				\
		ASSERT_LE(0, __fd);					\
		close(__fd);						\
	} while (0)

/* The same with the device opened for the fixture. */
#define SETUP_FD(leave)							\
	do {								\
		self->fd = ums_open();					\
		if (ums_no_device(self->fd))				\
			SKIP(leave, NO_DEVICE);				\
		ASSERT_LE(0, self->fd);					\
	} while (0)

/* And with a completion list. */
#define SETUP_CLIST(leave)						\
	do {								\
		SETUP_FD(leave);					\
		self->clist = ums_create(self->fd);			\
		ASSERT_LT(0, self->clist);				\
	} while (0)

/* A cgroup, which ums_group_remove() is to remove. */
#define SETUP_GROUP(leave, group, memory)				\
	do {								\
		const char *__why;					\
									\
		ASSERT_EQ(0, ums_group_make(group, memory, &__why));	\
		if (__why)						\
			SKIP(leave, "%s", __why);			\
	} while (0)

/* For workers that the test executes by itself: more than they ever use. */
#define LOTS	(ULONG_MAX / 2)

#define GRANT_LOTS()							\
	do {								\
		for (size_t __i = 0; __i < ARRAY_SIZE(self->workers); __i++) \
			self->workers[__i].granted = LOTS;		\
	} while (0)

/* --- workers --- */

#define START(i, fn)							\
	ASSERT_EQ(0, ums_worker_start(&self->workers[i], self->fd,	\
				      self->clist, fn))
#define TID(i)	GET(self->workers[i].tid)

/* The worker comes to the list, and for this reason; ready may be an array. */
#define TAKE(i, reason)							\
	do {								\
		struct ums_ready *__ready = (void *)&self->ready;	\
									\
		ASSERT_EQ(TID(i), ums_take_one(self->fd, self->clist,	\
					       __ready));		\
		ASSERT_EQ(reason, __ready->why);			\
	} while (0)

/* Whatever event comes is in the fixture. */
#define RUN(i, slice)							\
	ASSERT_EQ(0, ums_run(self->fd, TID(i), slice, &self->event))

/* It runs until this event of its own, and nothing else happens. */
#define RUN_TO(i, expected_type)					\
	do {								\
		pid_t __tid = TID(i);					\
		struct ums_event __ev;					\
									\
		ASSERT_EQ(0, ums_run(self->fd, __tid, 0, &__ev));	\
		ASSERT_EQ(expected_type, __ev.type);			\
		ASSERT_EQ(__tid, ums_event_context(&__ev));		\
		EXPECT_NO_EVENT(self->fd);				\
	} while (0)

#define EXPECT_PREEMPTED(i)						\
	do {								\
		EXPECT_EQ(THREAD_PREEMPTED, self->event.type);		\
		EXPECT_EQ(TID(i), self->event.preempted_params.context); \
		EXPECT_NO_EVENT(self->fd);				\
	} while (0)

#endif /* UMS_FIXTURE_H */
