// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints: each thing that happens is one event, with the right fields
 * and in the right order, so that a tool can rebuild who did what when.
 *
 * Events are recorded in an instance of tracefs of its own.  Its clock is a
 * counter that all CPUs share: the order in the file is that of the events.
 */
#include <sys/mount.h>

#include "ums_fixture.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/ums_test"

#define NR		4
#define MAX_EVENTS	100000

/* --- tracefs --- */

/* A whole file, to be freed; NULL if it cannot be read. */
static char *slurp(const char *path)
{
	FILE *file = fopen(path, "re");
	size_t size = 0, len = 0;
	char *text = NULL;

	if (!file)
		return NULL;
	do {
		size = size ? 2 * size : 1 << 16;
		text = realloc(text, size);
		if (!text)
			break;
		len += fread(text + len, 1, size - 1 - len, file);
		text[len] = 0;
	} while (len == size - 1);
	fclose(file);
	return text;
}

/* What was recorded, from the name of the event on. */
static char *record;
static const char *events[MAX_EVENTS];
static const char *stamps[MAX_EVENTS];
static int nr_events;
static int next_event;

/* Threads whose events are looked at; others may use UMS meanwhile. */
static pid_t ours[32];
static int nr_ours;

static void is_ours(pid_t pid)
{
	if (pid > 0 && nr_ours < (int)ARRAY_SIZE(ours))
		ours[nr_ours++] = pid;
}

static bool about_us(const char *event)
{
	const char *pos = event;
	pid_t pid;

	while ((pos = strstr(pos, "_pid="))) {
		pos += strlen("_pid=");
		pid = atoi(pos);
		for (int i = 0; i < nr_ours; i++)
			if (pid == ours[i])
				return true;
	}
	return false;
}

/* "<thread>-<pid> [<cpu>] <flags> <time>: <event>: <fields>" */
static void read_line(char *line)
{
	char *event = strstr(line, ": ums_");
	char *stamp;

	if (*line == '#' || !event)
		return;
	*event = 0;
	event += strlen(": ");
	stamp = strrchr(line, ' ');
	if (!about_us(event) || nr_events == MAX_EVENTS)
		return;
	stamps[nr_events] = stamp ? stamp + 1 : line;
	events[nr_events++] = event;
}

/* False if some of it was lost, or it cannot be read. */
static bool read_record(void)
{
	char *line, *rest;

	free(record);
	nr_events = 0;
	next_event = 0;
	record = slurp(INSTANCE "/trace");
	if (!record)
		return false;
	for (line = record; line; line = rest) {
		rest = strchr(line, '\n');
		if (rest)
			*rest++ = 0;
		if (strstr(line, "LOST"))
			return false;
		read_line(line);
	}
	return nr_events < MAX_EVENTS;
}

static bool recorded(const char *event)
{
	if (!read_record())
		return false;
	for (int i = 0; i < nr_events; i++)
		if (!strcmp(events[i], event))
			return true;
	return false;
}

/* A kernel whose ring buffer is full overwrites what is oldest. */
static bool lost_some(void)
{
	char path[PATH_MAX];
	bool lost = false;
	long count;
	char *text, *pos;

	for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
		snprintf(path, sizeof(path), INSTANCE "/per_cpu/cpu%d/stats",
			 cpu);
		text = slurp(path);
		pos = text ? strstr(text, "overrun: ") : NULL;
		count = pos ? atol(pos + strlen("overrun: ")) : 0;
		lost = lost || count;
		free(text);
	}
	return lost;
}

#define STOP_TRACING()							\
	do {								\
		ASSERT_TRUE(ums_put("0", INSTANCE "/tracing_on"));	\
		ASSERT_TRUE(read_record());				\
		ASSERT_FALSE(lost_some());				\
	} while (0)

#define EXPECT_TRACE(fmt, ...)						\
	do {								\
		char __want[192];					\
									\
		snprintf(__want, sizeof(__want), fmt, ##__VA_ARGS__);	\
		EXPECT_STREQ(__want, next_event < nr_events ?		\
			     events[next_event++] : "");		\
	} while (0)

#define EXPECT_NO_TRACE()						\
	EXPECT_STREQ("", next_event < nr_events ? events[next_event] : "")

/* What comes before each test's own matter. */
#define EXPECT_ENTER(i)							\
	do {								\
		int __i = (i);						\
									\
		EXPECT_TRACE("ums_worker_enter: worker_pid=%d tgid=%d clist=%d cookie=0x%x", \
			     TID(__i), getpid(), self->clist,		\
			     0x10 + __i);				\
		EXPECT_TRACE("ums_stop: scheduler_pid=0 worker_pid=%d cause=new clist=%d", \
			     TID(__i), self->clist);			\
	} while (0)

#define EXPECT_ENTER_SCHED(flags)					\
	EXPECT_TRACE("ums_scheduler_enter: scheduler_pid=%d tgid=%d clist=%d flags=%s", \
		     gettid(), getpid(), self->clist, flags)

#define EXPECT_DEQUEUE(i)						\
	EXPECT_TRACE("ums_dequeue: scheduler_pid=%d worker_pid=%d clist=%d", \
		     gettid(), TID(i), self->clist)

#define EXPECT_REQUEUE(i)						\
	EXPECT_TRACE("ums_requeue: scheduler_pid=%d worker_pid=%d clist=%d", \
		     gettid(), TID(i), self->clist)

#define EXPECT_EXEC(i, slice)						\
	EXPECT_TRACE("ums_exec: scheduler_pid=%d worker_pid=%d slice_ns=%d", \
		     gettid(), TID(i), slice)

#define EXPECT_STOP(i, cause, clist)					\
	EXPECT_TRACE("ums_stop: scheduler_pid=%d worker_pid=%d cause=%s clist=%d", \
		     gettid(), TID(i), cause, clist)

#define EXPECT_WORKER_EXIT(i)						\
	EXPECT_TRACE("ums_worker_exit: worker_pid=%d tgid=%d", TID(i),	\
		     getpid())

#define EXPECT_WAIT(clist, ret)						\
	do {								\
		EXPECT_TRACE("ums_wait_begin: scheduler_pid=%d clist=%d", \
			     gettid(), clist);				\
		EXPECT_TRACE("ums_wait_end: scheduler_pid=%d ret=%d",	\
			     gettid(), ret);				\
	} while (0)

/* --- the fixture --- */

FIXTURE(trace) {
	int fd;
	int clist;
	int pipe[2];
	bool mounted;
	struct ums_ready ready[NR];
	struct ums_event event;
	struct ums_worker workers[NR];
};

/* Why there is nothing to test, NULL if there is. */
static const char *start_tracing(bool *mounted)
{
	if (geteuid())
		return NO_ROOT;
	if (!ums_exists(TRACEFS "/trace")) {
		if (mount("tracefs", TRACEFS, "tracefs", 0, NULL))
			return "no tracefs: needs CONFIG_FTRACE";
		*mounted = true;
	}
	rmdir(INSTANCE);
	if (mkdir(INSTANCE, 0700) ||
	    !ums_exists(INSTANCE "/events"))
		return "needs CONFIG_EVENT_TRACING";
	if (!ums_exists(INSTANCE "/events/ums"))
		return "no events/ums: was the driver built with CONFIG_EVENT_TRACING?";
	return NULL;
}

static void end_tracing(bool mounted)
{
	rmdir(INSTANCE);
	if (mounted)
		umount(TRACEFS);
}

FIXTURE_SETUP(trace)
{
	const char *why;

	self->fd = ums_open();
	if (ums_no_device(self->fd))
		SKIP(return, NO_DEVICE);
	ASSERT_LE(0, self->fd);
	why = start_tracing(&self->mounted);
	if (why) {
		end_tracing(self->mounted);
		SKIP(return, "%s", why);
	}
	self->clist = ums_create(self->fd);
	ASSERT_LT(0, self->clist);
	ASSERT_EQ(0, pipe(self->pipe));
	for (int i = 0; i < NR; i++) {
		self->workers[i].granted = LOTS;
		self->workers[i].cookie = 0x10 + i;
		self->workers[i].arg = self->pipe;
	}
	/* A page that is not there would be one more reason to block. */
	mlockall(MCL_CURRENT);

	ASSERT_TRUE(ums_put("counter", INSTANCE "/trace_clock"));
	ASSERT_TRUE(ums_put("4096", INSTANCE "/buffer_size_kb"));
	ASSERT_TRUE(ums_put("1", INSTANCE "/events/ums/enable"));
	is_ours(gettid());
}

FIXTURE_TEARDOWN(trace)
{
	close(self->fd);
	end_tracing(self->mounted);
}

#define BECOME_SCHED(flags)						\
	ASSERT_EQ(0, ums_become_sched_with(self->fd, self->clist, flags))

#define TAKE_ANY(i)							\
	ASSERT_EQ(TID(i), ums_take_one(self->fd, self->clist, self->ready))

#define RUN_UNTIL(i, slice, expected_type)				\
	do {								\
		ASSERT_EQ(0, ums_run(self->fd, TID(i), slice,		\
				     &self->event));			\
		ASSERT_EQ(expected_type, self->event.type);		\
	} while (0)

/* --- one thing after the other --- */

/* What the documentation promises: each event and its fields. */
static const struct {
	const char *name;
	const char *fields;
} formats[] = {
	{ "ums_scheduler_enter", " scheduler_pid tgid clist flags" },
	{ "ums_scheduler_exit", " scheduler_pid tgid" },
	{ "ums_worker_enter", " worker_pid tgid clist cookie" },
	{ "ums_worker_exit", " worker_pid tgid" },
	{ "ums_dequeue", " scheduler_pid worker_pid clist" },
	{ "ums_requeue", " scheduler_pid worker_pid clist" },
	{ "ums_exec", " scheduler_pid worker_pid slice_ns" },
	{ "ums_switch", " scheduler_pid prev_pid next_pid" },
	{ "ums_stop", " scheduler_pid worker_pid cause clist" },
	{ "ums_block", " scheduler_pid worker_pid syscall" },
	{ "ums_unblock", " worker_pid clist" },
	{ "ums_preempt", " scheduler_pid worker_pid slice" },
	{ "ums_wait_begin", " scheduler_pid clist" },
	{ "ums_wait_end", " scheduler_pid ret" },
};

/* "\tfield:<type> <name>;\toffset:..." */
static void read_fields(char *format, char *fields, size_t size)
{
	char *line, *name, *end;

	*fields = 0;
	for (line = strtok(format, "\n"); line; line = strtok(NULL, "\n")) {
		if (strncmp(line, "\tfield:", strlen("\tfield:")))
			continue;
		end = strchr(line, ';');
		if (!end)
			continue;
		*end = 0;
		name = strrchr(line, ' ');
		if (name && strncmp(name, " common_", strlen(" common_")))
			strncat(fields, name, size - strlen(fields) - 1);
	}
}

TEST_F(trace, fields)
{
	char path[PATH_MAX], fields[256], *format;
	int count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		snprintf(path, sizeof(path), INSTANCE "/events/ums/%s/format",
			 formats[i].name);
		format = slurp(path);
		ASSERT_NE(NULL, format) {
			TH_LOG("there is no %s", path);
		}
		read_fields(format, fields, sizeof(fields));
		EXPECT_STREQ(formats[i].fields, fields) {
			TH_LOG("%s", formats[i].name);
		}
		free(format);
		count++;
	}
	/* With the files "enable" and "filter", there is nothing else. */
	EXPECT_EQ(count + 2, ums_count_entries(INSTANCE "/events/ums"));
}

TEST_F(trace, off)
{
	ASSERT_TRUE(ums_put("0", INSTANCE "/events/ums/enable"));
	START(0, ums_work_return);
	is_ours(TID(0));
	BECOME_SCHED(0);
	TAKE_ANY(0);
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	STOP_TRACING();
	EXPECT_NO_TRACE();
}

TEST_F(trace, yield)
{
	self->workers[0].value = 1;
	START(0, ums_work_yield);
	is_ours(TID(0));
	BECOME_SCHED(0);
	TAKE_ANY(0);
	RUN_UNTIL(0, 0, THREAD_YIELD);
	TAKE_ANY(0);
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "yielded", self->clist);
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "terminated", 0);
	EXPECT_WORKER_EXIT(0);
	EXPECT_NO_TRACE();
}

/* The classic calls are the same to a tool. */
TEST_F(trace, classic_calls)
{
	self->workers[0].value = 1;
	START(0, ums_work_yield);
	START(1, ums_work_return);
	is_ours(TID(0));
	is_ours(TID(1));
	BECOME_SCHED(0);
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(TID(1), ums_next(self->fd, TID(0)));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(1), &self->event));
	ASSERT_EQ(THREAD_TERMINATED, self->event.type);
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &self->event));
	ASSERT_EQ(THREAD_YIELD, self->event.type);
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER(1);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_DEQUEUE(1);
	EXPECT_EXEC(1, 0);
	EXPECT_STOP(1, "terminated", 0);
	EXPECT_WORKER_EXIT(1);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "yielded", self->clist);
	EXPECT_NO_TRACE();
}

/* A worker that its scheduler keeps goes to no list. */
TEST_F(trace, kept)
{
	self->workers[0].value = 1;
	START(0, ums_work_yield);
	is_ours(TID(0));
	BECOME_SCHED(ENTER_UMS_KEEP);
	TAKE_ANY(0);
	RUN_UNTIL(0, 0, THREAD_YIELD);
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER_SCHED("keep");
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "yielded", 0);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "terminated", 0);
	EXPECT_WORKER_EXIT(0);
	EXPECT_NO_TRACE();
}

TEST_F(trace, slice)
{
	START(0, ums_work_spin);
	is_ours(TID(0));
	BECOME_SCHED(0);
	TAKE_ANY(0);
	RUN_UNTIL(0, 1000000, THREAD_PREEMPTED);
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 1000000);
	EXPECT_TRACE("ums_preempt: scheduler_pid=%d worker_pid=%d slice=1",
		     gettid(), TID(0));
	EXPECT_STOP(0, "preempted", self->clist);
	EXPECT_NO_TRACE();
}

static void *preempt_when_running(void *arg)
{
	struct ums_worker *worker = arg;

	CHECK(WAIT_FOR(worker->stage == 1));
	CHECK_EQ(0, ums_preempt(worker->fd, worker->tid));
	return NULL;
}

TEST_F(trace, preempt)
{
	pthread_t thread;

	START(0, ums_work_spin);
	is_ours(TID(0));
	BECOME_SCHED(0);
	TAKE_ANY(0);
	/* One that does not run is not asked. */
	ASSERT_EQ(-EAGAIN, ums_preempt(self->fd, TID(0)));
	ASSERT_EQ(0, pthread_create(&thread, NULL, preempt_when_running,
				    &self->workers[0]));
	RUN_UNTIL(0, 0, THREAD_PREEMPTED);
	pthread_join(thread, NULL);
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_TRACE("ums_preempt: scheduler_pid=%d worker_pid=%d slice=0",
		     gettid(), TID(0));
	EXPECT_STOP(0, "preempted", self->clist);
	EXPECT_NO_TRACE();
	EXPECT_NO_NOTES();
}

static void read_pipe(struct ums_worker *worker)
{
	int *pipe = worker->arg;
	char byte;

	CHECK_EQ(1, read(pipe[0], &byte, 1));
}

TEST_F(trace, block)
{
	START(0, read_pipe);
	is_ours(TID(0));
	BECOME_SCHED(ENTER_UMS_BLOCK_EVENTS | ENTER_UMS_KEEP);
	TAKE_ANY(0);
	RUN_UNTIL(0, 0, THREAD_BLOCKED);
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	ASSERT_TRUE(WAIT_FOR(ums_state(self->fd, TID(0)) == UMS_STATE_READY));
	TAKE_ANY(0);
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER_SCHED("block_events|keep");
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_TRACE("ums_block: scheduler_pid=%d worker_pid=%d syscall=%d",
		     gettid(), TID(0), SYS_read);
	EXPECT_TRACE("ums_unblock: worker_pid=%d clist=%d", TID(0),
		     self->clist);
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "terminated", 0);
	EXPECT_WORKER_EXIT(0);
	EXPECT_NO_TRACE();
	EXPECT_NO_NOTES();
}

static void *write_when_asleep(void *arg)
{
	struct ums_worker *worker = arg;
	int *pipe = worker->arg;

	CHECK(WAIT_FOR(worker->stage == 1 && ums_is_parked(worker->tid)));
	CHECK_EQ(1, write(pipe[1], "x", 1));
	return NULL;
}

static void tell_and_read_pipe(struct ums_worker *worker)
{
	worker->stage = 1;
	read_pipe(worker);
}

/* To a scheduler that does not ask, a sleeping worker is a running one. */
TEST_F(trace, sleep_without_block_events)
{
	pthread_t thread;

	START(0, tell_and_read_pipe);
	is_ours(TID(0));
	BECOME_SCHED(0);
	TAKE_ANY(0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_when_asleep,
				    &self->workers[0]));
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	pthread_join(thread, NULL);
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "terminated", 0);
	EXPECT_WORKER_EXIT(0);
	EXPECT_NO_TRACE();
	EXPECT_NO_NOTES();
}

static void switch_to_other(struct ums_worker *worker)
{
	struct ums_worker *to = worker->arg;

	CHECK_EQ(0, ums_switch(worker->fd, to->tid));
}

TEST_F(trace, switch)
{
	self->workers[0].arg = &self->workers[1];
	START(0, switch_to_other);
	START(1, ums_work_return);
	is_ours(TID(0));
	is_ours(TID(1));
	BECOME_SCHED(0);
	ASSERT_EQ(2, ums_take(self->fd, self->clist, 0, SOON_NS, self->ready,
			      NR));
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	ASSERT_EQ(TID(1), ums_event_context(&self->event));
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER(1);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_DEQUEUE(1);
	EXPECT_EXEC(0, 0);
	EXPECT_TRACE("ums_switch: scheduler_pid=%d prev_pid=%d next_pid=%d",
		     gettid(), TID(0), TID(1));
	EXPECT_STOP(1, "terminated", 0);
	EXPECT_WORKER_EXIT(1);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "terminated", 0);
	EXPECT_WORKER_EXIT(0);
	EXPECT_NO_TRACE();
	EXPECT_NO_NOTES();
}

TEST_F(trace, wait)
{
	BECOME_SCHED(0);
	/* Who does not wait has not waited. */
	EXPECT_NO_EVENT(self->fd);
	EXPECT_NO_WORKER(self->fd, self->clist);
	EXPECT_EQ(-ETIMEDOUT, ums_wait(self->fd, 0, 1000000, &self->event));
	EXPECT_EQ(-ETIMEDOUT, ums_take(self->fd, self->clist, 0, 1000000,
				       self->ready, NR));
	START(0, ums_work_return);
	is_ours(TID(0));
	TAKE_ANY(0);
	STOP_TRACING();
	EXPECT_ENTER_SCHED("none");
	EXPECT_WAIT(0, -ETIMEDOUT);
	EXPECT_WAIT(self->clist, -ETIMEDOUT);
	EXPECT_ENTER(0);
	EXPECT_DEQUEUE(0);
	EXPECT_NO_TRACE();
}

static void *start_worker_late(void *arg)
{
	struct ums_worker *worker = arg;

	ums_sleep_ms(QUIET_MS);
	CHECK_EQ(0, ums_worker_start(worker, worker->fd, worker->clist,
				     ums_work_return));
	return NULL;
}

TEST_F(trace, wait_for_worker)
{
	pthread_t thread;

	BECOME_SCHED(0);
	self->workers[0].fd = self->fd;
	self->workers[0].clist = self->clist;
	ASSERT_EQ(0, pthread_create(&thread, NULL, start_worker_late,
				    &self->workers[0]));
	ASSERT_LT(0, ums_dequeue(self->fd, self->clist));
	pthread_join(thread, NULL);
	is_ours(TID(0));
	STOP_TRACING();
	EXPECT_ENTER_SCHED("none");
	EXPECT_TRACE("ums_wait_begin: scheduler_pid=%d clist=%d", gettid(),
		     self->clist);
	EXPECT_ENTER(0);
	EXPECT_TRACE("ums_wait_end: scheduler_pid=%d ret=0", gettid());
	EXPECT_DEQUEUE(0);
	EXPECT_NO_TRACE();
	EXPECT_NO_NOTES();
}

/* What could not be told is taken back. */
TEST_F(trace, bad_pointer)
{
	struct ums_dequeue dq = {
		.clist = self->clist, .nr = NR, .ready = 1,
	};

	START(0, ums_work_return);
	START(1, ums_work_return);
	is_ours(TID(0));
	is_ours(TID(1));
	BECOME_SCHED(0);
	ASSERT_EQ(-EFAULT, ums_call(self->fd, IOCTL_UMS_DEQUEUE,
				    (uintptr_t)&dq));
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER(1);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_DEQUEUE(1);
	/* The last one first, so that their order stays. */
	EXPECT_REQUEUE(1);
	EXPECT_REQUEUE(0);
	EXPECT_NO_TRACE();
}

TEST_F(trace, scheduler_leaves)
{
	START(0, ums_work_return);
	START(1, ums_work_return);
	is_ours(TID(0));
	is_ours(TID(1));
	BECOME_SCHED(0);
	ASSERT_EQ(2, ums_take(self->fd, self->clist, 0, SOON_NS, self->ready,
			      NR));
	ASSERT_EQ(0, ums_exit(self->fd));
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER(1);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_DEQUEUE(1);
	EXPECT_TRACE("ums_scheduler_exit: scheduler_pid=%d tgid=%d", gettid(),
		     getpid());
	EXPECT_REQUEUE(1);
	EXPECT_REQUEUE(0);
	EXPECT_NO_TRACE();
}

static void spin_and_yield(struct ums_worker *worker)
{
	ums_work_spin(worker);
	ums_worker_yield(worker, 0);
}

/* Its worker runs on alone, and stops so. */
TEST_F(trace, scheduler_leaves_running_worker)
{
	struct ums_tick tick;

	START(0, spin_and_yield);
	is_ours(TID(0));
	BECOME_SCHED(0);
	TAKE_ANY(0);
	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	ASSERT_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR2, QUIET_MS * 1000,
				    QUIET_MS * 1000));
	ASSERT_EQ(-EINTR, ums_exec(self->fd, TID(0)));
	ums_tick_stop(&tick);
	ASSERT_EQ(0, ums_exit(self->fd));
	ASSERT_TRUE(WAIT_FOR(GET(self->workers[0].stage) == 1));
	self->workers[0].stage = 2;
	ASSERT_TRUE(WAIT_FOR(ums_state(self->fd, TID(0)) == UMS_STATE_READY));
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_TRACE("ums_scheduler_exit: scheduler_pid=%d tgid=%d", gettid(),
		     getpid());
	EXPECT_TRACE("ums_stop: scheduler_pid=0 worker_pid=%d cause=yielded clist=%d",
		     TID(0), self->clist);
	EXPECT_NO_TRACE();
}

static void leave(struct ums_worker *worker)
{
	CHECK_EQ(0, ums_exit(worker->fd));
	worker->stage = 1;
}

/* A worker need not die to end. */
TEST_F(trace, worker_leaves)
{
	START(0, leave);
	is_ours(TID(0));
	BECOME_SCHED(0);
	TAKE_ANY(0);
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	ASSERT_TRUE(WAIT_FOR(GET(self->workers[0].stage) == 1));
	STOP_TRACING();
	EXPECT_ENTER(0);
	EXPECT_ENTER_SCHED("none");
	EXPECT_DEQUEUE(0);
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "terminated", 0);
	EXPECT_WORKER_EXIT(0);
	EXPECT_NO_TRACE();
	EXPECT_NO_NOTES();
}

/* A process that dies: nobody ran these workers, so none of them stops. */
TEST_F(trace, process_dies)
{
	char last[2][96];
	int pipes[2];
	pid_t child, tids[2] = {};

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd, clist;

		close(self->fd);
		fd = ums_open();
		clist = ums_create(fd);
		for (int i = 0; i < 2; i++) {
			ums_worker_start(&self->workers[i], fd, clist,
					 ums_work_return);
			tids[i] = self->workers[i].tid;
		}
		ums_become_sched(fd, clist);
		ums_take(fd, clist, 0, 0, self->ready, 1);
		(void)!write(pipes[1], tids, sizeof(tids));
		pause();
		_exit(1);
	}
	close(pipes[1]);
	ASSERT_EQ(sizeof(tids), read(pipes[0], tids, sizeof(tids)));
	ASSERT_LT(0, tids[0]);
	ASSERT_LT(0, tids[1]);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	is_ours(child);
	is_ours(tids[0]);
	is_ours(tids[1]);
	/* They are ended by a work item, which the parent does not wait for. */
	for (int i = 0; i < 2; i++) {
		snprintf(last[i], sizeof(last[i]),
			 "ums_worker_exit: worker_pid=%d tgid=%d", tids[i],
			 child);
		ASSERT_TRUE(WAIT_FOR(recorded(last[i])));
	}
	STOP_TRACING();
	for (int i = 0; i < nr_events; i++)
		EXPECT_EQ(NULL, strstr(events[i], "terminated"));
}

/* --- whose ids --- */

TEST_F(trace, ids_of_initial_namespace)
{
	int pipes[2], status, worker = 0;
	char byte, want[96];
	pid_t child;

	if (access("/proc/self/ns/pid", F_OK))
		SKIP(return, "needs CONFIG_PID_NS");
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(self->fd);
		close(pipes[0]);
		_exit(ums_schedule_in_namespace(pipes[1]));
	}
	close(pipes[1]);
	if (read(pipes[0], &byte, 1) != 1) {
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_EQ(0, status);
	}
	is_ours(child);
	STOP_TRACING();
	/* Its one execution tells which thread the worker is. */
	for (int i = 0; i < nr_events; i++)
		if (sscanf(events[i], "ums_exec: scheduler_pid=%*d worker_pid=%d",
			   &worker) == 1)
			break;
	EXPECT_TRUE(ums_exists("/proc/%d/task/%d", child, worker));
	EXPECT_NE(child, worker);
	is_ours(worker);
	snprintf(want, sizeof(want),
		 "ums_worker_enter: worker_pid=%d tgid=%d clist=1 cookie=0x0",
		 worker, child);
	EXPECT_TRUE(recorded(want));
	snprintf(want, sizeof(want),
		 "ums_scheduler_enter: scheduler_pid=%d tgid=%d clist=1 flags=none",
		 child, child);
	EXPECT_TRUE(recorded(want));
	snprintf(want, sizeof(want),
		 "ums_stop: scheduler_pid=%d worker_pid=%d cause=yielded clist=1",
		 child, worker);
	EXPECT_TRUE(recorded(want));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* --- when --- */

/* In us, which is what the file tells. */
static long stamp_us(int i)
{
	return strtod(stamps[i], NULL) * 1e6 + 0.5;
}

TEST_F(trace, times)
{
	long before, between, after;

	ASSERT_TRUE(ums_put("mono", INSTANCE "/trace_clock"));
	START(0, ums_work_spin);
	is_ours(TID(0));
	BECOME_SCHED(0);
	TAKE_ANY(0);
	before = ums_now_ns() / 1000;
	RUN_UNTIL(0, 3000000, THREAD_PREEMPTED);
	between = ums_now_ns() / 1000;
	ums_sleep_ms(1);
	TAKE_ANY(0);
	self->workers[0].stage = 2;
	RUN_UNTIL(0, 0, THREAD_TERMINATED);
	after = ums_now_ns() / 1000;
	STOP_TRACING();
	next_event = 4;
	EXPECT_EXEC(0, 3000000);
	EXPECT_LE(before, stamp_us(4));
	EXPECT_TRACE("ums_preempt: scheduler_pid=%d worker_pid=%d slice=1",
		     gettid(), TID(0));
	/* Timers are never early. */
	EXPECT_LE(stamp_us(4) + 2999, stamp_us(5));
	EXPECT_STOP(0, "preempted", self->clist);
	EXPECT_LE(stamp_us(5), stamp_us(6));
	EXPECT_LE(stamp_us(6), between + 1);
	EXPECT_DEQUEUE(0);
	EXPECT_LE(between + 1000, stamp_us(7));
	EXPECT_EXEC(0, 0);
	EXPECT_STOP(0, "terminated", 0);
	EXPECT_LE(stamp_us(9), after + 1);
}

/* --- all at once --- */

/*
 * What a tool does: rebuild from the events alone where each worker is and what
 * each scheduler runs.  An event that does not fit is one that is missing, or
 * wrong, or in the wrong place.
 */
enum place { OUTSIDE, ALONE, QUEUED, OWNED, RUNNING, BLOCKED };

static struct model_worker {
	pid_t pid;
	enum place place;
	pid_t sched;
} model_workers[NR];

static struct model_sched {
	pid_t pid;
	bool inside;
	bool waiting;
	pid_t running;
} model_scheds[2];

static struct {
	unsigned long execs;
	unsigned long yields;
	unsigned long preempts;
	unsigned long ends;
	unsigned long blocks;
	unsigned long unblocks;
	unsigned long switches;
	unsigned long slices;
	unsigned long requests;
} seen;

static struct model_worker *model_worker(pid_t pid)
{
	static struct model_worker unknown;

	for (int i = 0; i < NR; i++)
		if (model_workers[i].pid == pid)
			return &model_workers[i];
	return &unknown;
}

static struct model_sched *model_sched(pid_t pid)
{
	static struct model_sched unknown;

	for (int i = 0; i < 2; i++)
		if (model_scheds[i].pid == pid)
			return &model_scheds[i];
	return &unknown;
}

/* A move of worker @pid; false if it cannot be where the event has it. */
static bool moves(pid_t pid, enum place from, enum place to, pid_t sched)
{
	struct model_worker *w = model_worker(pid);

	if (!w->pid || w->place != from)
		return false;
	w->place = to;
	w->sched = sched;
	return true;
}

/* The running worker of @sched, or one that is alone if that is 0, stops. */
static bool stops(pid_t pid, pid_t sched, enum place to)
{
	struct model_sched *s = model_sched(sched);

	if (!sched)
		return moves(pid, ALONE, to, 0);
	if (s->running != pid || !moves(pid, RUNNING, to,
					to == OWNED ? sched : 0))
		return false;
	s->running = 0;
	return true;
}

static bool runs(pid_t pid, pid_t sched)
{
	struct model_sched *s = model_sched(sched);

	if (!s->inside || s->waiting || s->running)
		return false;
	s->running = pid;
	return moves(pid, OWNED, RUNNING, sched);
}

static bool stop_fits(pid_t sched, pid_t pid, const char *cause, int clist)
{
	if (!strcmp(cause, "terminated")) {
		seen.ends++;
		return !clist && stops(pid, sched, ALONE);
	}
	if (!strcmp(cause, "yielded"))
		seen.yields++;
	else if (!strcmp(cause, "preempted"))
		seen.preempts++;
	else if (strcmp(cause, "new") || sched)
		return false;
	return stops(pid, sched, clist ? QUEUED : OWNED);
}

static bool switch_fits(pid_t sched, pid_t prev, pid_t next)
{
	seen.switches++;
	return stops(prev, sched, OWNED) &&
	       model_worker(next)->sched == sched && runs(next, sched);
}

static bool exit_fits(pid_t pid)
{
	struct model_worker *w = model_worker(pid);

	if (w->place == OUTSIDE || w->place == RUNNING)
		return false;
	w->place = OUTSIDE;
	return true;
}

static bool scheduler_fits(const char *event)
{
	struct model_sched *s;
	int sched, clist, ret;

	if (sscanf(event, "ums_scheduler_enter: scheduler_pid=%d", &sched) == 1) {
		s = model_sched(sched);
		if (s->inside || !s->pid)
			return false;
		s->inside = true;
		return true;
	}
	if (sscanf(event, "ums_scheduler_exit: scheduler_pid=%d", &sched) == 1) {
		s = model_sched(sched);
		if (!s->inside || s->waiting || s->running)
			return false;
		s->inside = false;
		return true;
	}
	if (sscanf(event, "ums_wait_begin: scheduler_pid=%d clist=%d", &sched,
		   &clist) == 2) {
		s = model_sched(sched);
		if (!s->inside || s->waiting || s->running)
			return false;
		s->waiting = true;
		return true;
	}
	if (sscanf(event, "ums_wait_end: scheduler_pid=%d ret=%d", &sched,
		   &ret) == 2) {
		s = model_sched(sched);
		if (!s->waiting)
			return false;
		s->waiting = false;
		return true;
	}
	return false;
}

static bool event_fits(const char *event)
{
	struct model_worker *w;
	int sched, pid, other, clist, slice;
	char cause[16];

	if (sscanf(event, "ums_worker_enter: worker_pid=%d", &pid) == 1)
		return moves(pid, OUTSIDE, ALONE, 0);
	if (sscanf(event, "ums_worker_exit: worker_pid=%d", &pid) == 1)
		return exit_fits(pid);
	if (sscanf(event, "ums_stop: scheduler_pid=%d worker_pid=%d cause=%15s clist=%d",
		   &sched, &pid, cause, &clist) == 4)
		return stop_fits(sched, pid, cause, clist);
	if (sscanf(event, "ums_dequeue: scheduler_pid=%d worker_pid=%d",
		   &sched, &pid) == 2)
		return moves(pid, QUEUED, OWNED, sched);
	if (sscanf(event, "ums_exec: scheduler_pid=%d worker_pid=%d", &sched,
		   &pid) == 2) {
		seen.execs++;
		return runs(pid, sched);
	}
	if (sscanf(event, "ums_switch: scheduler_pid=%d prev_pid=%d next_pid=%d",
		   &sched, &pid, &other) == 3)
		return switch_fits(sched, pid, other);
	if (sscanf(event, "ums_block: scheduler_pid=%d worker_pid=%d", &sched,
		   &pid) == 2) {
		seen.blocks++;
		return sched && stops(pid, sched, BLOCKED);
	}
	if (sscanf(event, "ums_unblock: worker_pid=%d", &pid) == 1) {
		seen.unblocks++;
		return moves(pid, BLOCKED, QUEUED, 0);
	}
	if (sscanf(event, "ums_preempt: scheduler_pid=%d worker_pid=%d slice=%d",
		   &sched, &pid, &slice) == 3) {
		if (slice) {
			seen.slices++;
			return model_worker(pid)->pid;
		}
		/* It may have gone to sleep meanwhile, which takes no lock. */
		seen.requests++;
		w = model_worker(pid);
		return sched ? model_sched(sched)->running == pid ||
			       w->place == BLOCKED : w->place == ALONE;
	}
	return scheduler_fits(event);
}

/* What the storm's own threads count, by the type of the event. */
static atomic_ulong counts[THREAD_PREEMPTED + 1];
static atomic_ulong requests;
static atomic_ulong handovers;
static atomic_int live;
static struct ums_worker *all;

/* Sleeps, outlasts its slice, hands over and yields. */
static void stormy_work(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++) {
		if (i % 4 == 0)
			ums_nap_us(1);
		if (i % 16 == 0)
			ums_spin_us(300);
		if (i % 2 == 0 &&
		    !ums_switch(worker->fd, all[i / 2 % NR].tid))
			atomic_fetch_add(&handovers, 1);
		CHECK_EQ(0, ums_yield(worker->fd, i));
	}
}

static void *preempt_all(void *arg)
{
	for (unsigned int i = 0; live > 0; i++) {
		if (!ums_preempt(all[0].fd, all[i % NR].tid))
			atomic_fetch_add(&requests, 1);
		ums_nap_us(200);
	}
	return NULL;
}

static void count_event(const struct ums_event *event)
{
	if (event->type > THREAD_PREEMPTED) {
		CHECK_EQ(THREAD_PREEMPTED, event->type);
		return;
	}
	atomic_fetch_add(&counts[event->type], 1);
	if (event->type == THREAD_TERMINATED)
		atomic_fetch_sub(&live, 1);
}

/*
 * Runs whatever it, or the other one, has dequeued, those who handed over, too.
 * It dequeues several, so that its workers find somebody to hand over to.
 */
static void storm_schedule(struct ums_sched *sched)
{
	struct ums_ready ready[NR - 1];
	struct ums_event event;
	int ret, ran;

	while (live > 0) {
		ran = 0;
		for (int i = 0; i < NR; i++) {
			ret = ums_run(sched->fd, all[i].tid, 200000, &event);
			if (ret == -EBUSY || ret == -ESRCH)
				continue;
			if (!CHECK(!ret))
				return;
			count_event(&event);
			ran++;
		}
		ret = ums_take(sched->fd, sched->clist, ran ? UMS_NONBLOCK : 0,
			       ran ? 0 : 1000000, ready, NR - 1);
		if (ret < 0 && ret != -ETIMEDOUT && ret != -EAGAIN)
			CHECK_EQ(0, ret);
	}
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F_TIMEOUT(trace, storm, LONG_TEST)
{
	struct ums_sched scheds[2];
	pthread_t thread;
	int i;

	all = self->workers;
	live = NR;
	for (i = 0; i < NR; i++) {
		self->workers[i].value = ums_loops(1000);
		START(i, stormy_work);
		is_ours(TID(i));
		model_workers[i].pid = TID(i);
	}
	for (i = 0; i < 2; i++) {
		scheds[i] = (struct ums_sched) {
			.fn = storm_schedule, .fd = self->fd,
			.clist = self->clist, .cpu = -1,
			.flags = ENTER_UMS_BLOCK_EVENTS,
		};
		ASSERT_EQ(0, ums_sched_start(&scheds[i]));
		ASSERT_TRUE(WAIT_FOR(scheds[i].tid));
		is_ours(GET(scheds[i].tid));
		model_scheds[i].pid = GET(scheds[i].tid);
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, preempt_all, NULL));
	for (i = 0; i < 2; i++)
		pthread_join(scheds[i].thread, NULL);
	for (i = 0; i < NR; i++)
		pthread_join(self->workers[i].thread, NULL);
	pthread_join(thread, NULL);
	STOP_TRACING();

	for (i = 0; i < nr_events; i++) {
		ASSERT_TRUE(event_fits(events[i])) {
			for (int j = i > 20 ? i - 20 : 0; j <= i; j++)
				TH_LOG("%s", events[j]);
		}
	}
	for (i = 0; i < NR; i++)
		EXPECT_EQ(OUTSIDE, model_workers[i].place);
	for (i = 0; i < 2; i++)
		EXPECT_FALSE(model_scheds[i].inside);
	/* None is missing, and none too many. */
	EXPECT_EQ(GET(counts[THREAD_YIELD]), seen.yields);
	EXPECT_EQ(GET(counts[THREAD_PREEMPTED]), seen.preempts);
	EXPECT_EQ(GET(counts[THREAD_BLOCKED]), seen.blocks);
	EXPECT_EQ(NR, GET(counts[THREAD_TERMINATED]));
	EXPECT_EQ(NR, seen.ends);
	EXPECT_EQ(seen.blocks, seen.unblocks);
	EXPECT_EQ(GET(handovers), seen.switches);
	EXPECT_EQ(GET(requests), seen.requests);
	/* Each kind did happen. */
	EXPECT_LT(0, seen.preempts);
	EXPECT_LT(0, seen.blocks);
	EXPECT_LT(0, seen.switches);
	EXPECT_LT(0, seen.slices);
	EXPECT_LT(0, seen.requests);
	EXPECT_LE(seen.yields + seen.preempts + seen.blocks + seen.ends,
		  seen.execs);
	TH_LOG("%d events: %lu yields, %lu preempted, %lu blocks, %lu switches",
	       nr_events, seen.yields, seen.preempts, seen.blocks,
	       seen.switches);
	EXPECT_NO_NOTES();
}

TEST_HARNESS_MAIN
