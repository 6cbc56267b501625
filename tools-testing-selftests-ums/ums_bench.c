// SPDX-License-Identifier: GPL-2.0
/*
 * What a scheduling decision costs, beside what programs use instead.
 *
 * Prints "name<TAB>value<TAB>unit" for each measurement, in nanoseconds.  In a
 * virtual machine that advances its clock by one nanosecond an instruction
 * (QEMU's -icount shift=0) these are guest instructions, and repeat.
 *
 * Both threads of a pair run on one CPU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/ums.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP	1000

static long rounds = 20000;

static void die(const char *what)
{
	fprintf(stderr, "ums_bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void pin(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

/* Run @step WARM_UP times, then measure @rounds of it. */
static double measure(void (*step)(void))
{
	uint64_t start;
	long i;

	for (i = 0; i < WARM_UP; i++)
		step();
	start = now();
	for (i = 0; i < rounds; i++)
		step();
	return (double)(now() - start) / rounds;
}

static void report(const char *name, double value)
{
	printf("%s\t%.0f\tns\n", name, value);
	fflush(stdout);
}

static void start_peer(void *(*fn)(void *))
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, fn, NULL);
	if (errno)
		die("pthread_create");
	pthread_detach(thread);
}

static void getppid_step(void)
{
	syscall(SYS_getppid);
}

static int yield_stop;

static void *yield_peer(void *arg)
{
	while (!__atomic_load_n(&yield_stop, __ATOMIC_RELAXED))
		sched_yield();
	return arg;
}

static void yield_step(void)
{
	sched_yield();
}

static int futex_word[2];

static void futex_post(int *word)
{
	__atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void futex_pend(int *word)
{
	while (!__atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void *futex_peer(void *arg)
{
	for (;;) {
		futex_pend(&futex_word[0]);
		futex_post(&futex_word[1]);
	}
	return arg;
}

static void futex_step(void)
{
	futex_post(&futex_word[0]);
	futex_pend(&futex_word[1]);
}

static int pipe_there[2], pipe_back[2];

static void *pipe_peer(void *arg)
{
	char c;

	while (read(pipe_there[0], &c, 1) == 1 && write(pipe_back[1], &c, 1) == 1)
		;
	return arg;
}

static void pipe_step(void)
{
	char c = 0;

	if (write(pipe_there[1], &c, 1) != 1 || read(pipe_back[0], &c, 1) != 1)
		die("pipe");
}

static int ums_fd;
static __s32 ums_clist;

static void *ums_peer(void *arg)
{
	struct ums_enter args = {
		.mode = ENTER_UMS_WORK,
		.clist = ums_clist,
	};

	if (ioctl(ums_fd, IOCTL_ENTER_UMS, &args))
		die("IOCTL_ENTER_UMS");
	while (!ioctl(ums_fd, IOCTL_UMS_YIELD, 0))
		;
	return arg;
}

/* The classic cycle: dequeue until empty, execute, read the event. */
static void ums_classic_step(void)
{
	struct ums_dequeue_clist dequeue = { .clist = ums_clist };
	struct ums_event event;

	if (ioctl(ums_fd, IOCTL_DEQUEUE_UMS_CLIST, &dequeue) ||
	    ioctl(ums_fd, IOCTL_NEXT_UMS_CTX_LIST, (long)dequeue.context) ||
	    ioctl(ums_fd, IOCTL_EXEC_UMS_CTX, (long)dequeue.context) ||
	    ioctl(ums_fd, IOCTL_UMS_SCHED_DQEVENT, &event))
		die("scheduler cycle");
	if (event.type != THREAD_YIELD) {
		errno = EPROTO;
		die("event");
	}
}

static void ums_start(void)
{
	struct ums_enter args = { .mode = ENTER_UMS_SCHED };
	struct ums_event event;

	ums_fd = open("/dev/ums", O_RDWR | O_CLOEXEC);
	if (ums_fd < 0)
		die("/dev/ums");
	if (ioctl(ums_fd, IOCTL_CREATE_UMS_CLIST, &ums_clist))
		die("IOCTL_CREATE_UMS_CLIST");
	start_peer(ums_peer);
	args.clist = ums_clist;
	if (ioctl(ums_fd, IOCTL_ENTER_UMS, &args) ||
	    ioctl(ums_fd, IOCTL_UMS_SCHED_DQEVENT, &event))
		die("IOCTL_ENTER_UMS");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--rounds"))
		rounds = strtol(argv[2], NULL, 10);
	else if (argc != 1)
		rounds = 0;
	if (rounds <= 0) {
		fprintf(stderr, "usage: ums_bench [--rounds N]\n");
		return 2;
	}
	pin();

	report("getppid", measure(getppid_step));

	start_peer(yield_peer);
	report("yield_pair", measure(yield_step));
	__atomic_store_n(&yield_stop, 1, __ATOMIC_RELAXED);

	start_peer(futex_peer);
	report("futex_pair", measure(futex_step));

	if (pipe(pipe_there) || pipe(pipe_back))
		die("pipe");
	start_peer(pipe_peer);
	report("pipe_pair", measure(pipe_step));

	ums_start();
	report("ums_classic", measure(ums_classic_step));
	return 0;
}
