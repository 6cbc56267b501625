// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/* A first program: two workers take turns, and main() decides. */
#include <err.h>
#include <stdio.h>
#include <ums.h>

static ums_completion_list_t list;
static pthread_t ping, pong;
static int live = 2;

static void *worker(void *name)
{
	for (int i = 1; i <= 3; i++) {
		printf("%s: step %d\n", (char *)name, i);
		ums_thread_yield(NULL);
	}
	return NULL;
}

/* A new worker, as soon as it has come to the list. */
static ums_context_t create(pthread_t *thread, char *name)
{
	ums_attr_t attr = { .completion_list = list };
	ums_context_t context;

	if (ums_pthread_create(thread, &attr, worker, name) ||
	    dequeue_ums_completion_list_items(list, &context))
		err(1, "%s", name);
	return context;
}

static void entry_point(ums_reason_t reason, ums_activation_t *activation,
			void *param)
{
	static ums_context_t next;
	ums_context_t current;

	(void)activation;
	(void)param;
	if (reason == UMS_SCHEDULER_STARTUP) {
		next = create(&ping, "ping");
		create(&pong, "pong");
	}
	if (reason == UMS_SCHEDULER_THREAD_END && --live == 0) {
		leave_ums_scheduling_mode();
		return;
	}
	if (!next && dequeue_ums_completion_list_items(list, &next))
		err(1, "dequeue");
	current = next;
	next = get_next_ums_list_item(current);
	if (next < 0 || execute_ums_thread(current))
		err(1, "execute");
}

int main(void)
{
	ums_scheduler_startup_info_t info = {
		.ums_scheduler_entry_point = entry_point,
	};

	if (create_ums_completion_list(&list))
		err(1, "create_ums_completion_list");
	info.completion_list = list;
	if (enter_ums_scheduling_mode(&info))
		err(1, "enter_ums_scheduling_mode");
	pthread_join(ping, NULL);
	pthread_join(pong, NULL);
	return 0;
}
