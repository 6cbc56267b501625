// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * A scheduler that always gets its CPU back.  One worker counts and never
 * yields, the others sleep most of the time, and all make progress.
 */
#include <err.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <ums.h>

#define SLEEPERS	3
#define NAPS		20
#define SLICE		2000000		/* ns */

static ums_completion_list_t list;
static unsigned int live = SLEEPERS + 1;
static atomic_uint awake = SLEEPERS;
static unsigned int blocks, slices;

/* The workers that are ready, in a ring: none is in it twice. */
static ums_context_t ring[SLEEPERS + 1];
static unsigned int head, tail;

static void push(ums_context_t context)
{
	ring[tail++ % (SLEEPERS + 1)] = context;
}

/* All that the list holds.  Waits if there is nothing to run and no event. */
static int collect(void)
{
	ums_ready_item_t items[SLEEPERS + 1];
	int n;

	do {
		n = dequeue_ums_ready(list, items, SLEEPERS + 1,
				      head == tail ? -1 : 0);
	} while (n < 0 && errno == EINTR);
	for (int i = 0; i < n; i++)
		push(items[i].context);
	return n < 0 && errno != EAGAIN ? -1 : 0;
}

static void run_next(void)
{
	ums_context_t next;

	while (!collect()) {
		if (head == tail)
			return;		/* to be told of an event */
		next = ring[head++ % (SLEEPERS + 1)];
		if (!execute_ums_thread_for(next, SLICE))
			return;
		if (errno != EAGAIN)
			break;
		push(next);	/* a debugger holds it: try another */
	}
	leave_ums_scheduling_mode();
}

static void entry_point(ums_reason_t reason, ums_activation_t *activation,
			void *param)
{
	(void)param;
	switch (reason) {
	case UMS_SCHEDULER_STARTUP:
		break;
	case UMS_SCHEDULER_THREAD_BLOCKED:
		blocks++;	/* it comes back through the list */
		break;
	case UMS_SCHEDULER_THREAD_PREEMPTED:
		slices++;
		push(activation->context);
		break;
	case UMS_SCHEDULER_THREAD_YIELD:
		push(activation->context);
		break;
	case UMS_SCHEDULER_THREAD_END:
		if (--live == 0) {
			leave_ums_scheduling_mode();
			return;
		}
		break;
	}
	run_next();
}

static void *sleeper(void *unused)
{
	struct timespec nap = { .tv_nsec = 5000000 };

	for (int i = 0; i < NAPS; i++)
		nanosleep(&nap, NULL);
	atomic_fetch_sub(&awake, 1);
	return unused;
}

static void *counter(void *count)
{
	while (atomic_load(&awake))
		++*(unsigned long *)count;
	return NULL;
}

int main(void)
{
	ums_scheduler_startup_info_t info = {
		.ums_scheduler_entry_point = entry_point,
	};
	pthread_t threads[SLEEPERS + 1];
	unsigned long count = 0;
	ums_attr_t attr = { 0 };

	if (create_ums_completion_list(&list))
		err(1, "create_ums_completion_list");
	attr.completion_list = list;
	info.completion_list = list;
	for (int i = 0; i <= SLEEPERS; i++)
		if (ums_pthread_create(&threads[i], &attr,
				       i ? sleeper : counter, &count))
			err(1, "ums_pthread_create");
	if (enter_ums_scheduling_mode_flags(&info, UMS_SCHEDULER_BLOCK_EVENTS |
						   UMS_SCHEDULER_KEEP))
		err(1, "enter_ums_scheduling_mode_flags");
	if (live)
		errx(1, "the scheduler gave up with %u workers left", live);
	for (int i = 0; i <= SLEEPERS; i++)
		pthread_join(threads[i], NULL);
	printf("counted to %lu in %u slices, while others slept %u times\n",
	       count, slices, blocks);
	return 0;
}
