// SPDX-License-Identifier: LGPL-2.1 OR BSD-2-Clause
/*
 * primes: count the primes below a limit with workers that take turns.
 *
 * One scheduler on each CPU that the program may use, one completion list for
 * all of them, and workers that yield after every candidate.  The same work is
 * then done by plain threads that call sched_yield() instead, for comparison
 * of the time and of the count.
 *
 * The end of a program with several schedulers on one list: all but one of
 * them wait in dequeue_ums_completion_list_items() when the last worker ends.
 * The scheduler that is told of this last end deletes the list, which nothing
 * belongs to any more.  The waiting ones get EIDRM, one that was about to wait
 * gets EINVAL, and each leaves.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <ums.h>

#define MAX_WORKERS	4096

struct scheduler {
	pthread_t thread;
	int cpu;
	ums_context_t next;	/* dequeued and not executed yet */
	unsigned long switches;
	unsigned long yields;
	unsigned long ends;
};

/* One way of doing the work. */
struct pass {
	const char *name;
	double seconds;
	atomic_uint candidate;	/* the next one */
	atomic_uint primes;
};

static unsigned int limit = 50000;
static unsigned int seconds;
static unsigned int nr_workers;

static ums_completion_list_t list;
static pthread_barrier_t all_entered;
static atomic_uint live;	/* workers whose end was not reported yet */
static atomic_bool time_is_up;

static __thread struct scheduler *me;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static bool is_prime(unsigned int n)
{
	if (n < 4)
		return n >= 2;
	if (n % 2 == 0)
		return false;
	for (unsigned int i = 3; i <= n / i; i += 2)
		if (n % i == 0)
			return false;
	return true;
}

/* False when there is no candidate left, or no time. */
static bool test_one(struct pass *pass)
{
	unsigned int n;

	if (atomic_load(&time_is_up))
		return false;
	n = atomic_fetch_add(&pass->candidate, 1);
	if (n >= limit)
		return false;
	if (is_prime(n))
		atomic_fetch_add(&pass->primes, 1);
	return true;
}

static void *worker(void *pass)
{
	while (test_one(pass))
		if (ums_thread_yield(NULL))
			err(1, "ums_thread_yield");
	return NULL;
}

static void *plain_thread(void *pass)
{
	while (test_one(pass))
		sched_yield();
	return NULL;
}

/* False when the list is gone. */
static bool find_worker(void)
{
	while (!me->next) {
		if (!dequeue_ums_completion_list_items(list, &me->next))
			break;
		if (errno == EIDRM || errno == EINVAL)
			return false;
		if (errno != EINTR)
			err(1, "dequeue_ums_completion_list_items");
	}
	return true;
}

static void entry_point(ums_reason_t reason, ums_activation_t *activation,
			void *param)
{
	ums_context_t current;

	(void)activation;
	switch (reason) {
	case UMS_SCHEDULER_STARTUP:
		me = param;
		/* One that came later would not find the list any more. */
		pthread_barrier_wait(&all_entered);
		break;
	case UMS_SCHEDULER_THREAD_YIELD:
		me->yields++;
		break;
	case UMS_SCHEDULER_THREAD_END:
		me->ends++;
		if (atomic_fetch_sub(&live, 1) == 1 &&
		    delete_ums_completion_list(&list))
			err(1, "delete_ums_completion_list");
		break;
	default:
		errx(1, "unexpected reason %d", reason);
	}

	if (!find_worker()) {
		leave_ums_scheduling_mode();
		return;
	}

	/* Once it is executed it cannot be asked who comes after it. */
	current = me->next;
	me->next = get_next_ums_list_item(current);
	if (me->next < 0)
		err(1, "get_next_ums_list_item");
	me->switches++;
	if (execute_ums_thread(current))
		err(1, "execute_ums_thread");
}

static void *scheduler_main(void *scheduler)
{
	ums_scheduler_startup_info_t info = {
		.completion_list = list,
		.ums_scheduler_entry_point = entry_point,
		.scheduler_param = scheduler,
	};

	if (enter_ums_scheduling_mode(&info))
		err(1, "enter_ums_scheduling_mode");
	return NULL;
}

static void *alarm_main(void *unused)
{
	sleep(seconds);
	atomic_store(&time_is_up, true);
	return unused;
}

static void start_alarm(void)
{
	pthread_t thread;

	if (!seconds)
		return;
	errno = pthread_create(&thread, NULL, alarm_main, NULL);
	if (errno)
		err(1, "pthread_create");
	pthread_detach(thread);
}

static void start_scheduler(struct scheduler *scheduler, int cpu)
{
	pthread_attr_t attr;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	scheduler->cpu = cpu;
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	errno = pthread_create(&scheduler->thread, &attr, scheduler_main,
			       scheduler);
	if (errno)
		err(1, "pthread_create");
	pthread_attr_destroy(&attr);
}

static void join_all(pthread_t *threads)
{
	for (unsigned int i = 0; i < nr_workers; i++)
		pthread_join(threads[i], NULL);
}

static void run_ums(struct pass *pass, pthread_t *threads, const cpu_set_t *cpus)
{
	unsigned int count = CPU_COUNT(cpus), n = 0;
	struct scheduler *schedulers;
	ums_attr_t attr = { .pthread_attr = NULL };
	double start = now();

	schedulers = calloc(count, sizeof(*schedulers));
	if (!schedulers)
		err(1, NULL);
	if (create_ums_completion_list(&list))
		err(1, "create_ums_completion_list");
	attr.completion_list = list;
	atomic_store(&live, nr_workers);
	for (unsigned int i = 0; i < nr_workers; i++)
		if (ums_pthread_create(&threads[i], &attr, worker, pass))
			err(1, "ums_pthread_create");
	start_alarm();
	pthread_barrier_init(&all_entered, NULL, count);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, cpus))
			start_scheduler(&schedulers[n++], cpu);
	for (unsigned int i = 0; i < count; i++)
		pthread_join(schedulers[i].thread, NULL);
	join_all(threads);
	pass->seconds = now() - start;
	pthread_barrier_destroy(&all_entered);

	for (unsigned int i = 0; i < count; i++)
		printf("scheduler on CPU %d: %lu switches, %lu yields, %lu ends\n",
		       schedulers[i].cpu, schedulers[i].switches,
		       schedulers[i].yields, schedulers[i].ends);
	free(schedulers);
}

static void run_plain(struct pass *pass, pthread_t *threads)
{
	double start = now();

	for (unsigned int i = 0; i < nr_workers; i++) {
		errno = pthread_create(&threads[i], NULL, plain_thread, pass);
		if (errno)
			err(1, "pthread_create");
	}
	join_all(threads);
	pass->seconds = now() - start;
}

static void report(struct pass *pass)
{
	printf("%-9s %u primes in %.3f s, %.0f candidates/s\n", pass->name,
	       atomic_load(&pass->primes), pass->seconds,
	       limit / pass->seconds);
}

static void print_usage(FILE *out)
{
	fprintf(out,
		"usage: primes [-w WORKERS] [-l LIMIT | -s SECONDS]\n"
		"  -w  workers, and threads to compare with (4 for each CPU)\n"
		"  -l  test the numbers below LIMIT (%u)\n"
		"  -s  test numbers for SECONDS, then as many with plain threads\n",
		limit);
}

static unsigned int parse_number(const char *arg, unsigned int max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(arg, &end, 10);
	if (errno || *arg < '0' || *arg > '9' || *end || !n || n > max)
		errx(2, "%s: not a number from 1 to %u", arg, max);
	return n;
}

static void options(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "hl:s:w:")) != -1) {
		switch (opt) {
		case 'h':
			print_usage(stdout);
			exit(0);
		case 'l':
			limit = parse_number(optarg, 1000000000);
			break;
		case 's':
			seconds = parse_number(optarg, 3600);
			break;
		case 'w':
			nr_workers = parse_number(optarg, MAX_WORKERS);
			break;
		default:
			print_usage(stderr);
			exit(2);
		}
	}
	if (optind != argc) {
		print_usage(stderr);
		exit(2);
	}
	if (seconds)
		limit = 4000000000U;
}

int main(int argc, char **argv)
{
	struct pass ums = { .name = "ums:" }, plain = { .name = "pthreads:" };
	pthread_t *threads;
	cpu_set_t cpus;

	options(argc, argv);
	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		err(1, "sched_getaffinity");
	if (!nr_workers)
		nr_workers = 4 * CPU_COUNT(&cpus);
	threads = calloc(nr_workers, sizeof(*threads));
	if (!threads)
		err(1, NULL);

	printf("%u workers, %d schedulers\n", nr_workers, CPU_COUNT(&cpus));
	fflush(stdout);
	run_ums(&ums, threads, &cpus);
	if (atomic_load(&time_is_up)) {
		/* Every candidate given out was tested. */
		limit = atomic_load(&ums.candidate);
		atomic_store(&time_is_up, false);
	}
	run_plain(&plain, threads);
	free(threads);

	report(&ums);
	report(&plain);
	if (atomic_load(&ums.primes) != atomic_load(&plain.primes))
		errx(1, "the counts differ");
	printf("both found the same primes; ums took %.2f times as long\n",
	       ums.seconds / plain.seconds);
	return 0;
}
