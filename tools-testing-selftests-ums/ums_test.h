/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the UMS tests share.
 *
 * The calls below are thin: they return what the kernel gave, with -errno for
 * an error, so that a test compares one value.
 *
 * Only the thread that runs a test may use ASSERT_*() and EXPECT_*().  Workers,
 * schedulers in threads of their own and signal handlers use CHECK(), which
 * notes the first failure; the test ends with EXPECT_NO_NOTES().
 *
 * A call that never returns ends with the timeout of its test, as a failure.
 */
#ifndef UMS_TEST_H
#define UMS_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/ums.h>

#define UMS_DEV		"/dev/ums"
#define UMS_PROC	"/proc/ums"

#define UMS_MAX_CLISTS	1024

/* Why tests are skipped. */
#define NO_DEVICE	"no " UMS_DEV ": is CONFIG_UMS on and the module loaded?"
#define NO_ROOT		"needs root"
#define NO_TWO_CPUS	"needs two CPUs"
#define NO_UFFD		"needs CONFIG_USERFAULTFD"
#define NO_KERNEL_UFFD	"needs CONFIG_USERFAULTFD, and root for kernel faults"

/* For what must happen: far more than a slow debug kernel needs. */
#define SOON_MS		20000
/* For what must not happen: long enough for a fault to show. */
#define QUIET_MS	60
#define QUIET_NS	(QUIET_MS * 1000000ULL)

/* As a timeout in nanoseconds. */
#define SOON_NS		(SOON_MS * 1000000ULL)

/* Seconds for a test that loops. */
#define LONG_TEST	300

/* A race is run this often, or UMS_LOOPS percent of it (100 by default). */
#define RACE_LOOPS	ums_loops(1000)

/* A thread id that no test thread has: the idle task's neighbour, init. */
#define NOT_A_WORKER	1

/* --- calls --- */

static inline long ums_call(int fd, unsigned long request, unsigned long arg)
{
	long ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static inline int ums_open(void)
{
	int fd = open(UMS_DEV, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Whether ums_open() failed for want of a driver, which skips a test. */
static inline bool ums_no_device(int fd)
{
	return fd == -ENOENT || fd == -ENXIO || fd == -ENODEV;
}

static inline int ums_create(int fd)
{
	__s32 id = 0;
	int ret = ums_call(fd, IOCTL_CREATE_UMS_CLIST, (uintptr_t)&id);

	return ret ? ret : id;
}

static inline int ums_delete(int fd, long clist)
{
	return ums_call(fd, IOCTL_DELETE_UMS_CLIST, clist);
}

static inline int ums_enter(int fd, __u32 mode, int clist, __u64 cookie)
{
	struct ums_enter enter = {
		.mode = mode,
		.clist = clist,
		.cookie = cookie,
	};

	return ums_call(fd, IOCTL_ENTER_UMS, (uintptr_t)&enter);
}

static inline int ums_enter_sched(int fd, int clist, __u32 flags)
{
	struct ums_enter enter = {
		.mode = ENTER_UMS_SCHED,
		.flags = flags,
		.clist = clist,
	};

	return ums_call(fd, IOCTL_ENTER_UMS, (uintptr_t)&enter);
}

static inline int ums_dqevent(int fd, struct ums_event *event)
{
	return ums_call(fd, IOCTL_UMS_SCHED_DQEVENT, (uintptr_t)event);
}

/* The first context taken. */
static inline int ums_dequeue(int fd, int clist)
{
	struct ums_dequeue_clist dq = { .clist = clist };
	int ret = ums_call(fd, IOCTL_DEQUEUE_UMS_CLIST, (uintptr_t)&dq);

	return ret ? ret : dq.context;
}

static inline int ums_next(int fd, long context)
{
	return ums_call(fd, IOCTL_NEXT_UMS_CTX_LIST, context);
}

static inline int ums_exec(int fd, long context)
{
	return ums_call(fd, IOCTL_EXEC_UMS_CTX, context);
}

static inline int ums_yield(int fd, unsigned long value)
{
	return ums_call(fd, IOCTL_UMS_YIELD, value);
}

static inline int ums_exit(int fd)
{
	return ums_call(fd, IOCTL_EXIT_UMS, 0);
}

/* Runs a worker until the scheduler's next event; slice 0: without one. */
static inline int ums_run(int fd, pid_t context, __u64 slice_ns,
			  struct ums_event *event)
{
	struct ums_run run = { .context = context, .slice_ns = slice_ns };
	int ret = ums_call(fd, IOCTL_UMS_RUN, (uintptr_t)&run);

	*event = run.event;
	return ret;
}

/* Waits for an event and runs nothing. */
static inline int ums_wait(int fd, __u32 flags, __u64 timeout_ns,
			   struct ums_event *event)
{
	struct ums_run run = { .flags = flags, .timeout_ns = timeout_ns };
	int ret = ums_call(fd, IOCTL_UMS_RUN, (uintptr_t)&run);

	*event = run.event;
	return ret;
}

/* How many contexts were taken. */
static inline int ums_take(int fd, int clist, __u32 flags, __u64 timeout_ns,
			   struct ums_ready *ready, __u32 nr)
{
	struct ums_dequeue dq = {
		.clist = clist,
		.flags = flags,
		.nr = nr,
		.timeout_ns = timeout_ns,
		.ready = (uintptr_t)ready,
	};

	return ums_call(fd, IOCTL_UMS_DEQUEUE, (uintptr_t)&dq);
}

/* The one context that is on the list or must come soon. */
static inline int ums_take_one(int fd, int clist, struct ums_ready *ready)
{
	int ret = ums_take(fd, clist, 0, SOON_NS, ready, 1);

	return ret == 1 ? ready->context : ret;
}

static inline int ums_switch(int fd, long context)
{
	return ums_call(fd, IOCTL_UMS_SWITCH, context);
}

static inline int ums_preempt(int fd, long context)
{
	return ums_call(fd, IOCTL_UMS_PREEMPT, context);
}

static inline int ums_query(int fd, pid_t context, struct ums_query *query)
{
	memset(query, 0, sizeof(*query));
	query->context = context;
	return ums_call(fd, IOCTL_UMS_QUERY, (uintptr_t)query);
}

/* UMS_STATE_*, or an error. */
static inline int ums_state(int fd, pid_t context)
{
	struct ums_query query;
	int ret = ums_query(fd, context, &query);

	return ret ? ret : (int)query.state;
}

static inline int ums_clist_fd(int fd, long clist)
{
	return ums_call(fd, IOCTL_UMS_CLIST_FD, clist);
}

/* Nothing waits there, and nothing is taken. */
#define EXPECT_NO_EVENT(fd)						\
	do {								\
		struct ums_event __event;				\
									\
		EXPECT_EQ(-EAGAIN, ums_wait(fd, UMS_NONBLOCK, 0,	\
					    &__event));			\
	} while (0)

#define EXPECT_NO_WORKER(fd, clist)					\
	do {								\
		struct ums_ready __ready;				\
									\
		EXPECT_EQ(-EAGAIN, ums_take(fd, clist, UMS_NONBLOCK, 0,	\
					    &__ready, 1));		\
	} while (0)

/* The worker that an event is about, 0 for SCHEDULER_STARTUP. */
static inline pid_t ums_event_context(const struct ums_event *event)
{
	switch (event->type) {
	case THREAD_YIELD:
		return event->yield_params.context;
	case THREAD_TERMINATED:
		return event->end_params.context;
	case THREAD_BLOCKED:
		return event->blocked_params.context;
	case THREAD_PREEMPTED:
		return event->preempted_params.context;
	default:
		return 0;
	}
}

/* --- failures seen by other threads --- */

bool ums_note(const char *file, int line, const char *what, long value);
const char *ums_notes(void);

static inline bool ums_check(bool ok, const char *file, int line,
			     const char *what)
{
	return ok || ums_note(file, line, what, errno);
}

#define CHECK(cond)	ums_check(!!(cond), __FILE__, __LINE__, #cond)
#define CHECK_EQ(expected, seen)					\
	do {								\
		long __seen = (seen);					\
									\
		if ((long)(expected) != __seen)				\
			ums_note(__FILE__, __LINE__,			\
				 #seen " != " #expected, __seen);	\
	} while (0)

#define EXPECT_NO_NOTES()						\
	EXPECT_STREQ("", ums_notes())

/* EXPECT_*() and ASSERT_*() take no atomic types. */
#define GET(x)	atomic_load(&(x))

/* --- time and waiting --- */

unsigned long ums_loops(unsigned long count);
long ums_now_ms(void);
unsigned long ums_now_ns(void);
void ums_sleep_ms(long ms);
void ums_spin_us(long us);
/* Some instructions, without a look at the clock. */
static inline void ums_spin_turns(long turns)
{
	while (turns-- > 0)
		asm volatile("" : : : "memory");
}

/* One SYS_nanosleep; the result of the system call. */
int ums_nap_us(long us);
/* Keeps the calling thread on a CPU; a negative one changes nothing. */
int ums_pin(int cpu);

/* A thread that keeps a CPU busy. */
struct ums_hog {
	int cpu;
	atomic_int stop;
	pthread_t thread;
};

int ums_hog_start(struct ums_hog *hog, int cpu);
void ums_hog_stop(struct ums_hog *hog);

#define WAIT_FOR(cond)							\
	({								\
		long __end = ums_now_ms() + SOON_MS;			\
		bool __ok;						\
									\
		while (!(__ok = !!(cond)) && ums_now_ms() < __end)	\
			usleep(200);					\
		__ok;							\
	})

/* Two or more threads leave it together; all of them must come. */
struct ums_gate {
	atomic_uint arrived;
};

void ums_gate_pass(struct ums_gate *gate, unsigned int threads,
		   unsigned int round);

/*
 * Two sides that shall meet in a race: one waits before its move, or the other
 * if @turns is negative.  Each round that one of them won makes that one wait
 * longer, so both outcomes come, on whatever machine.
 */
struct ums_aim {
	long turns;
	unsigned int seed;
	unsigned long first;	/* how often the one side won */
	unsigned long last;	/* and the other */
};

#define UMS_AIM_MAX	500000

/* Not always the same. */
static inline long ums_aim_turns(struct ums_aim *aim)
{
	long spread = 400 + labs(aim->turns) / 4;

	return aim->turns - spread / 2 + rand_r(&aim->seed) % spread;
}

/* @first: the side that waits for a positive number of turns was first. */
static inline void ums_aim_correct(struct ums_aim *aim, bool first)
{
	long step = 200 + labs(aim->turns) / 4;

	if (first)
		aim->first++;
	else
		aim->last++;
	aim->turns += first ? step : -step;
	/* A machine that is far too busy would make it wait for ever longer. */
	if (labs(aim->turns) > UMS_AIM_MAX)
		aim->turns = first ? UMS_AIM_MAX : -UMS_AIM_MAX;
}

/* Fewer rounds, as with UMS_LOOPS, may be over before it has found its aim. */
#define ENOUGH_ROUNDS	500

#define EXPECT_BOTH(a, rounds)						\
	do {								\
		struct ums_aim *__aim = (a);				\
		unsigned long __rounds = (rounds);			\
									\
		TH_LOG("%lu came first, %lu last", __aim->first,	\
		       __aim->last);					\
		if (__rounds < ENOUGH_ROUNDS)				\
			break;						\
		EXPECT_LT(__rounds / 100, __aim->first);		\
		EXPECT_LT(__rounds / 100, __aim->last);			\
	} while (0)

/* What comes by chance, and in enough rounds does. */
#define EXPECT_SOME(count)						\
	do {								\
		if (RACE_LOOPS >= ENOUGH_ROUNDS)			\
			EXPECT_LT(0, count);				\
	} while (0)

/* --- signals --- */

/* How often the handler that ums_catch() installs ran, by signal. */
extern atomic_int ums_caught[65];
/* The thread that it ran in last. */
extern atomic_int ums_caught_by[65];

int ums_catch(int sig, int flags);

/* A signal to one thread, again and again, until stopped. */
struct ums_tick {
	timer_t timer;
};

int ums_tick_start(struct ums_tick *tick, pid_t tid, int sig, long first_us,
		   long interval_us);
void ums_tick_stop(struct ums_tick *tick);

/*
 * Makes a waiting call of the current thread return with EINTR.  If the call
 * does not wait, it is over before the first tick.
 */
#define EXPECT_WAITS(call)						\
	({								\
		struct ums_tick __tick;					\
		long __start = ums_now_ms();				\
									\
		ASSERT_EQ(0, ums_catch(SIGUSR2, 0));			\
		ASSERT_EQ(0, ums_tick_start(&__tick, gettid(), SIGUSR2,	\
					    QUIET_MS * 1000,		\
					    QUIET_MS * 1000));		\
		EXPECT_EQ(-EINTR, call);				\
		ums_tick_stop(&__tick);					\
		EXPECT_LE(QUIET_MS - 2, ums_now_ms() - __start);	\
	})

/* --- workers --- */

/*
 * To be kept until the thread has ended: one that is parked when the device is
 * closed goes on, maybe after its test.
 */
struct ums_worker {
	/* Given by the test. */
	int fd;
	int clist;
	__u64 cookie;
	void (*fn)(struct ums_worker *worker);
	void *arg;
	long value;

	pthread_t thread;
	atomic_int tid;
	/* What IOCTL_ENTER_UMS gave; 1 until it returns. */
	atomic_int entered;
	/* What the worker's function likes to tell. */
	atomic_int stage;

	/*
	 * The account of a worker: executions begun for it, the times that it
	 * went on, and the events about it.  It never goes on more often than
	 * it was executed, and in the end all three are the same.  A test that
	 * calls IOCTL_EXEC_UMS_CTX itself grants beforehand.  One that blocked
	 * or was preempted is executed once more without a call that returns;
	 * those are counted by themselves.
	 */
	atomic_ulong granted;
	atomic_ulong used;
	atomic_ulong reported;
	atomic_ulong resumed;
};

/* Makes the thread; the worker may not have entered yet. */
int ums_worker_create(struct ums_worker *worker, int fd, int clist,
		      void (*fn)(struct ums_worker *worker));
/* Makes the thread and waits until it is parked in UMS. */
int ums_worker_start(struct ums_worker *worker, int fd, int clist,
		     void (*fn)(struct ums_worker *worker));
/* Yields and keeps the account. */
void ums_worker_yield(struct ums_worker *worker, unsigned long value);
/* For a worker that entered by itself: keeps the account. */
void ums_worker_went_on(struct ums_worker *worker);
/* Checks that it may run: it was executed more often than it stopped. */
void ums_worker_may_run(struct ums_worker *worker);

/* Common worker functions. */
void ums_work_return(struct ums_worker *worker);
void ums_work_yield(struct ums_worker *worker);		/* value times */
void ums_work_yield_forever(struct ums_worker *worker);
void ums_work_spin(struct ums_worker *worker);	/* until stage is 2 or more */

/* --- schedulers --- */

/* Enters as a scheduler and reads SCHEDULER_STARTUP. */
int ums_become_sched(int fd, int clist);
int ums_become_sched_with(int fd, int clist, __u32 flags);
/* Waits for one event, signals or not. */
int ums_event_wait(int fd, struct ums_event *event);
/* Runs a worker in a call that SIGUSR2 ends, if it is caught: it runs on. */
void ums_run_interrupted(int fd, pid_t context, __u64 slice_ns);
/* Executes a worker and reads its event. */
int ums_run_once(int fd, pid_t context, struct ums_event *event);
/* Dequeues until @count contexts are there, in order. */
int ums_collect(int fd, int clist, pid_t *contexts, int count);

/*
 * A set of workers run to their end by one or more schedulers, first in first
 * out, whatever signals and debuggers do meanwhile.
 */
struct ums_test_run {
	int fd;
	int clist;
	struct ums_worker *workers;
	int nr_workers;
	/* How those of ums_sched_start() enter. */
	__u32 flags;
	/* Run with IOCTL_UMS_RUN and this slice, if set. */
	__u64 slice_ns;
	/* Called for each event about a worker, if set. */
	void (*on_event)(struct ums_test_run *run, struct ums_worker *worker,
			 const struct ums_event *event);
	void *arg;

	atomic_int live;
	atomic_ulong yields;
	atomic_ulong ends;
	atomic_ulong blocks;
	atomic_ulong preempts;
	atomic_ulong eintr;
	atomic_ulong eagain;
};

/*
 * Schedules until no worker is left; the calling thread is a scheduler.  The
 * one that sees the last worker end deletes the list, which ends the others.
 */
int ums_schedule(struct ums_test_run *run);
/* Executes contexts that are dequeued already and reads their events. */
int ums_run_contexts(struct ums_test_run *run, const pid_t *contexts,
		     int count);
struct ums_worker *ums_find_worker(struct ums_test_run *run, pid_t context);

struct ums_sched {
	struct ums_test_run *run;
	/* Instead of ums_schedule(), if set. */
	void (*fn)(struct ums_sched *sched);
	int fd;
	int clist;
	int cpu;		/* -1: any */
	__u32 flags;		/* unless @run has them */
	void *arg;

	pthread_t thread;
	atomic_int tid;
	atomic_int stage;
	int ret;
};

/* A scheduler in a thread of its own. */
int ums_sched_start(struct ums_sched *sched);

/* What a scheduler can wait for in the classic calls. */
enum ums_wait_kind { WAIT_EVENT, WAIT_LIST, WAIT_WORKER };

/* Waits between the scheduler's stages 1 and 2; the result is in @sched->ret. */
void ums_wait_once(struct ums_sched *sched, enum ums_wait_kind kind);

/* Asserts that every account is settled. */
#define EXPECT_SETTLED(run)						\
	do {								\
		struct ums_test_run *__run = (run);			\
									\
		for (int __i = 0; __i < __run->nr_workers; __i++) {	\
			struct ums_worker *__w = &__run->workers[__i];	\
									\
			EXPECT_EQ(GET(__w->granted),			\
				  GET(__w->used) + GET(__w->resumed));	\
			EXPECT_EQ(GET(__w->granted), GET(__w->reported)); \
		}							\
	} while (0)

/*
 * Two schedulers and four workers at full speed, with their accounts, while the
 * test does to them what it likes.
 */
#define UMS_STORM_WORKERS	4
#define UMS_STORM_THREADS	(2 + UMS_STORM_WORKERS)

struct ums_storm {
	struct ums_test_run run;
	struct ums_worker workers[UMS_STORM_WORKERS];
	struct ums_sched scheds[2];
	/*
	 * A SIGSTOP that is taken back at once lets a worker that is parked,
	 * but not in a call, run unbidden for some microseconds.
	 */
	bool lenient;
	atomic_int stop;
};

int ums_storm_start(struct ums_storm *storm, int fd, int clist);
/* With flags for the schedulers; with block events the workers block too. */
int ums_storm_start_with(struct ums_storm *storm, int fd, int clist,
			 __u32 flags, __u64 slice_ns);
/* Everybody still moves, ends when told to, and owes nothing. */
int ums_storm_end(struct ums_storm *storm);

#define EXPECT_CALM(storm)						\
	do {								\
		struct ums_storm *__storm = (storm);			\
		struct ums_test_run *__storm_run = &__storm->run;	\
									\
		EXPECT_EQ(0, ums_storm_end(__storm));			\
		TH_LOG("%lu yields, %lu blocks, %lu preempted, %lu interrupted, %lu held", \
		       GET(__storm_run->yields), GET(__storm_run->blocks), \
		       GET(__storm_run->preempts),			\
		       GET(__storm_run->eintr), GET(__storm_run->eagain)); \
		EXPECT_SETTLED(__storm_run);				\
		EXPECT_NO_NOTES();					\
	} while (0)

/* --- looking from outside --- */

/* The letter of /proc/<pid>/stat for a thread of ours, 0 if it is gone. */
char ums_task_state(pid_t tid);
/* A number out of /proc/self/task/<tid>/status, -1 if it is not there. */
long ums_task_status(pid_t tid, const char *key, int base);
/* Whether the thread sleeps, which is where a parked worker ends up. */
bool ums_is_parked(pid_t tid);

bool ums_exists(const char *fmt, ...);
/* A value out of an info file; false if the key or the file is not there. */
bool ums_info(const char *path, const char *key, char *value, size_t size);
long ums_info_number(const char *path, const char *key);
void ums_sched_info(char *path, pid_t pid, pid_t sched);
void ums_worker_info(char *path, pid_t pid, pid_t worker);
/* Writes a text to a file in one call. */
bool ums_put(const char *text, const char *fmt, ...);
/*
 * A number out of the line of a file that begins with @key; of its last line if
 * that is empty.  -1 if it is not there.
 */
long ums_number(const char *dir, const char *file, const char *key);
/* How many objects of a slab cache are in use, -1 if nobody can tell. */
long ums_slab_objects(const char *name);
/* A descriptor of this process for @path, -1 if there is none. */
int ums_find_fd(const char *path);
/* How many entries a directory has, -1 if it cannot be read. */
int ums_count_entries(const char *path);

/* --- cgroups --- */

struct ums_group {
	char root[32];
	char path[64];
};

/*
 * Makes a group, with a limit for memory if wanted, in a mount of its own.  Nobody
 * is in it.  Returns 0 or an errno; 0 with @why if there cannot be one.
 */
int ums_group_make(struct ums_group *group, bool memory, const char **why);
/* Takes this process out of it, and removes it; false if others are in it. */
bool ums_group_remove(struct ums_group *group);

/* --- children --- */

/* A child that stops and continues its parent @pairs times. */
pid_t ums_stop_and_continue(int pairs, int max_us);
/* A child that stops its parent, and continues it when @tid has stopped. */
pid_t ums_stop_until_stopped(pid_t tid);
/* Waits for a child; one that takes too long is killed: -ETIMEDOUT. */
int ums_wait_child(pid_t child);
/* The path of a helper program, which lies beside the running test. */
void ums_helper(char *path, const char *name);

#define EXPECT_CHILD_OK(child)						\
	EXPECT_EQ(0, ums_wait_child(child))

/* --- options --- */

/* An option of a program: "--name VALUE", or "--name" alone for a flag. */
struct ums_option {
	const char *name;
	/* Where it goes: one of these. */
	bool *flag;
	const char **text;
	unsigned long *number;
	/* What the number may be. */
	unsigned long least;
	unsigned long most;
};

#define UMS_MAX_OPTIONS	16

/* Reads all options; @options ends with {}.  Exits with 2 for a bad one. */
void ums_options(int argc, char **argv, const struct ums_option *options);

/* --- debuggers --- */

/* A child that may trace its parent. */
pid_t ums_fork_tracer(void);

/* Exits with the line where a debugger's call failed. */
#define TRACE(call)							\
	do {								\
		if ((call) < 0) {					\
			fprintf(stderr, "# tracer: %s: %s\n", #call,	\
				strerror(errno));			\
			_exit(__LINE__ % 200 + 1);			\
		}							\
	} while (0)

/* Waits until a traced thread has stopped, and returns its status. */
int ums_wait_for_stop(pid_t tid);

/* A debugger that holds one thread of ours. */
struct ums_hold {
	pid_t child;
	int tell;
	int told;
};

/*
 * Make the debugger.  The fork is why that can be done before: a thread that runs
 * meanwhile may fault, if only to update its rseq, and then sleeps, as it finds
 * the memory map locked.
 */
int ums_hold_fork(struct ums_hold *hold);
/* Returns when the thread has stopped. */
int ums_hold_stop(struct ums_hold *hold, pid_t tid);
/* Both. */
int ums_hold_start(struct ums_hold *hold, pid_t tid);
/* Lets go of it; 0 if all went well. */
int ums_hold_end(struct ums_hold *hold);

/* --- other processes --- */

/* For those that a test forks: the exit status says that something went wrong. */
#define MUST(cond)							\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "# %s:%d: %s (%s)\n", __FILE__,	\
				__LINE__, #cond, strerror(errno));	\
			_exit(1);					\
		}							\
	} while (0)

#define NOBODY	65534

/* A system call's way to another user: the library's is for all threads. */
void ums_become_nobody(void);

#define NO_UNIX	"needs CONFIG_UNIX"

/* Pass one or two descriptors through a socket; 0 or -errno. */
int ums_send_fds(int sock, const int *fds, int count);
int ums_receive_fds(int sock, int *fds, int count);

/*
 * The first process of a PID namespace has a worker run once, writes a byte to
 * @tell and waits to be killed.  Returns which step failed.
 */
int ums_schedule_in_namespace(int tell);

/* --- page faults --- */

/* Pages whose first use sleeps until told otherwise. */
struct ums_faults {
	int uffd;
	char *map;
};

#define UMS_NR_FAULTS	8

/* False if the kernel cannot do it, or not for faults of its own. */
bool ums_faults_start(struct ums_faults *faults, bool kernel_faults);
/* Ends the sleep in page @nr, which is zero. */
int ums_faults_end(struct ums_faults *faults, int nr);
char *ums_fault_page(struct ums_faults *faults, int nr);

#endif /* UMS_TEST_H */
