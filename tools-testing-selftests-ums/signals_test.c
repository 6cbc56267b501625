// SPDX-License-Identifier: GPL-2.0
/*
 * Signals to workers that are parked or run and to schedulers that wait:
 * nothing is lost, doubled or run early.
 */
#include <sys/prctl.h>
#include <sys/time.h>

#include "ums_fixture.h"

#define NR	4

FIXTURE(signals) {
	int fd;
	int clist;
	struct ums_worker workers[NR];
	struct ums_test_run run;
	struct ums_sched sched;
	struct ums_storm storm;
	pid_t got[NR];
};

FIXTURE_SETUP(signals)
{
	SETUP_CLIST(return);
	self->run = (struct ums_test_run) {
		.fd = self->fd, .clist = self->clist, .workers = self->workers,
		.nr_workers = NR, .live = NR,
	};
	self->sched = (struct ums_sched) { .run = &self->run, .cpu = -1 };
}

FIXTURE_TEARDOWN(signals)
{
	close(self->fd);
}

/*
 * A handler for a parked worker.
 */
FIXTURE(parked) {
	int fd;
	int clist;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(parked) {
	int flags;
	int yields;		/* before the signal; 0: still at its entry */
	bool dequeued;
};

FIXTURE_VARIANT_ADD(parked, at_entry) { 0, 0, true };
FIXTURE_VARIANT_ADD(parked, at_entry_restart) { SA_RESTART, 0, true };
FIXTURE_VARIANT_ADD(parked, at_yield) { 0, 1, true };
FIXTURE_VARIANT_ADD(parked, at_yield_restart) { SA_RESTART, 1, true };
FIXTURE_VARIANT_ADD(parked, queued_at_entry) { 0, 0, false };
FIXTURE_VARIANT_ADD(parked, queued_at_yield) { 0, 3, false };
FIXTURE_VARIANT_ADD(parked, queued_at_yield_restart) { SA_RESTART, 3, false };

FIXTURE_SETUP(parked)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(parked)
{
	close(self->fd);
}

/* Faults caught: the handler runs early or never; a call is made twice. */
TEST_F(parked, handler_waits)
{
	struct ums_worker *worker = &self->workers[0];
	struct ums_event event;
	int count = variant->yields;

	ASSERT_EQ(0, ums_catch(SIGUSR1, variant->flags));
	worker->granted = count;
	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	}
	if (variant->dequeued)
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));

	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
		ums_sleep_ms(QUIET_MS);
		EXPECT_EQ(0, GET(ums_caught[SIGUSR1]));
	}
	EXPECT_EQ(count, GET(worker->used));

	if (!variant->dequeued)
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	worker->granted++;
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_YIELD, event.type);
	EXPECT_EQ(count, event.yield_params.scheduler_params);
	EXPECT_EQ(1, GET(ums_caught[SIGUSR1]));
	EXPECT_EQ(TID(0), GET(ums_caught_by[SIGUSR1]));

	/* The next execution is an ordinary one. */
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	worker->granted++;
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(count + 1, event.yield_params.scheduler_params);
	EXPECT_EQ(1, GET(ums_caught[SIGUSR1]));
	EXPECT_EQ(GET(worker->granted), GET(worker->used));
	EXPECT_NO_NOTES();
}

static int signal_log[64];
static atomic_int nr_log;

static void log_signal(int sig, siginfo_t *info, void *context)
{
	int i = nr_log++;

	if (i < 64)
		signal_log[i] = (sig - SIGRTMIN) * 100 + info->si_value.sival_int;
}

static int log_signals(int sig)
{
	struct sigaction action = {
		.sa_sigaction = log_signal, .sa_flags = SA_SIGINFO,
	};

	/* One handler after the other, not one inside the other. */
	sigfillset(&action.sa_mask);
	return sigaction(sig, &action, NULL) ? -errno : 0;
}

/* Fault caught: signals to a parked worker are dropped, merged or reordered. */
TEST_F(signals, queued_for_parked_worker)
{
	struct ums_event event;

	ASSERT_EQ(0, log_signals(SIGRTMIN));
	ASSERT_EQ(0, log_signals(SIGRTMIN + 1));
	self->workers[0].granted = LOTS;
	START(0, ums_work_yield_forever);
	for (int i = 1; i <= 5; i++) {
		union sigval value = { .sival_int = i };

		ASSERT_EQ(0, pthread_sigqueue(self->workers[0].thread,
					      SIGRTMIN + 1, value));
		ASSERT_EQ(0, pthread_sigqueue(self->workers[0].thread,
					      SIGRTMIN, value));
	}
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(0, GET(nr_log));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	ASSERT_EQ(10, GET(nr_log));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(i + 1, signal_log[i]);
		EXPECT_EQ(100 + i + 1, signal_log[5 + i]);
	}
	EXPECT_NO_NOTES();
}

/*
 * Masks.
 */
static sigset_t handler_mask;

static void note_mask(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	handler_mask = uc->uc_sigmask;
	atomic_fetch_add(&ums_caught[sig], 1);
}

static bool same_mask(const sigset_t *a, const sigset_t *b)
{
	for (int sig = 1; sig < 65; sig++)
		if (sigismember(a, sig) != sigismember(b, sig))
			return false;
	return true;
}

static void yield_with_mask(struct ums_worker *worker)
{
	sigset_t mask, now;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGRTMIN + 3);
	CHECK_EQ(0, pthread_sigmask(SIG_SETMASK, &mask, NULL));
	for (long i = 0; i < worker->value; i++) {
		ums_worker_yield(worker, i);
		CHECK_EQ(0, pthread_sigmask(SIG_SETMASK, NULL, &now));
		CHECK(same_mask(&mask, &now));
		/* What the handler would return to. */
		CHECK_EQ(i + 1, ums_caught[SIGUSR1]);
		CHECK(same_mask(&mask, &handler_mask));
		/* Blocked by the worker itself, so still waiting. */
		CHECK_EQ(0, sigpending(&now));
		CHECK(sigismember(&now, SIGUSR2));
	}
	CHECK_EQ(0, ums_caught[SIGUSR2]);
	sigdelset(&mask, SIGUSR2);
	CHECK_EQ(0, pthread_sigmask(SIG_SETMASK, &mask, NULL));
	CHECK_EQ(1, ums_caught[SIGUSR2]);
}

TEST_F(signals, masks_are_restored)
{
	struct sigaction action = {
		.sa_sigaction = note_mask, .sa_flags = SA_SIGINFO,
	};
	struct ums_event event;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	ASSERT_EQ(0, ums_catch(SIGUSR2, 0));
	self->workers[0].granted = LOTS;
	self->workers[0].value = 50;
	START(0, yield_with_mask);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	do {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		if (event.type == THREAD_YIELD) {
			ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR2));
			ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
		}
	} while (event.type == THREAD_YIELD);
	EXPECT_EQ(50, GET(ums_caught[SIGUSR1]));
	EXPECT_EQ(1, GET(ums_caught[SIGUSR2]));
	EXPECT_NO_NOTES();
}

/* Fault caught: a worker that waits with a signal cannot be killed or stopped. */
TEST_F(signals, kill_and_stop_are_never_blocked)
{
	unsigned long blocked, never = 1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1);

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	START(0, ums_work_return);
	ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
	/* Until the worker has seen it. */
	ums_sleep_ms(QUIET_MS);
	ASSERT_TRUE(WAIT_FOR(ums_is_parked(TID(0))));
	blocked = ums_task_status(TID(0), "SigBlk", 16);
	EXPECT_EQ(0, blocked & never);
	EXPECT_EQ(0, GET(ums_caught[SIGUSR1]));
}

/* What nobody handles and the kernel ignores does not disturb. */
TEST_F(signals, ignored_signals)
{
	struct ums_event event;

	ASSERT_TRUE(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
	self->workers[0].granted = 1;
	START(0, ums_work_return);
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
		ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGCHLD));
		ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGWINCH));
		ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGCONT));
		usleep(2000);
	}
	EXPECT_EQ(1, GET(self->workers[0].entered));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(THREAD_TERMINATED, event.type);
	EXPECT_NO_NOTES();
}

/*
 * Signals for the process.
 */
static atomic_int plain_stop;

static void *take_signals(void *arg)
{
	sigset_t mask;

	sigemptyset(&mask);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	*(atomic_int *)arg = gettid();
	while (!plain_stop)
		usleep(1000);
	return NULL;
}

static void block(int sig)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, sig);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
}

/*
 * A signal for the process goes to a thread that can take it, while parked
 * workers are the kernel's first choice.  Fault caught: it waits for the one.
 */
TEST_F_TIMEOUT(signals, process_signal_goes_to_plain_thread, LONG_TEST)
{
	unsigned long loops = RACE_LOOPS;
	atomic_int plain = 0;
	struct ums_event event;
	pthread_t thread;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	for (int i = 0; i < NR; i++) {
		self->workers[i].granted = LOTS;
		START(i, ums_work_yield_forever);
	}
	block(SIGUSR1);
	ASSERT_EQ(0, pthread_create(&thread, NULL, take_signals, &plain));
	ASSERT_TRUE(WAIT_FOR(plain));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (unsigned long i = 0; i < loops; i++) {
		int context = ums_dequeue(self->fd, self->clist);
		int next;

		ASSERT_EQ(0, kill(getpid(), SIGUSR1));
		ASSERT_TRUE(WAIT_FOR(ums_caught[SIGUSR1] == (int)i + 1));
		ASSERT_EQ(GET(plain), GET(ums_caught_by[SIGUSR1]));
		/* Once executed their signals are open again. */
		while (context > 0) {
			next = ums_next(self->fd, context);
			ASSERT_EQ(0, ums_run_once(self->fd, context, &event));
			ASSERT_EQ(THREAD_YIELD, event.type);
			context = next;
		}
	}
	plain_stop = 1;
	pthread_join(thread, NULL);
	EXPECT_EQ(loops, GET(ums_caught[SIGUSR1]));
	EXPECT_NO_NOTES();
}

/* When nobody else can take it, the first worker that is executed does. */
TEST_F(signals, process_signal_waits_for_worker)
{
	struct ums_event event;

	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	for (int i = 0; i < 2; i++) {
		self->workers[i].granted = LOTS;
		START(i, ums_work_yield_forever);
	}
	block(SIGUSR1);
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(0, GET(ums_caught[SIGUSR1]));
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	ASSERT_EQ(0, ums_collect(self->fd, self->clist, self->got, 2));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(1), &event));
	EXPECT_EQ(1, GET(ums_caught[SIGUSR1]));
	EXPECT_EQ(TID(1), GET(ums_caught_by[SIGUSR1]));
	ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
	EXPECT_EQ(1, GET(ums_caught[SIGUSR1]));
	EXPECT_NO_NOTES();
}

/* Queued signals for the process during switches: each is handled once. */
TEST_F_TIMEOUT(signals, process_signals_race, LONG_TEST)
{
	union sigval value = { .sival_int = 1 };
	unsigned long loops = RACE_LOOPS;

	ASSERT_EQ(0, ums_catch(SIGRTMIN, SA_RESTART));
	ASSERT_EQ(0, ums_storm_start(&self->storm, self->fd, self->clist));
	for (unsigned long i = 0; i < loops; i++) {
		int ret;

		do {
			/* EAGAIN: too many wait. */
			ret = sigqueue(getpid(), SIGRTMIN, value);
		} while (ret && errno == EAGAIN);
		ASSERT_EQ(0, ret);
		if (i % 4 == 0)
			usleep(100);
	}
	EXPECT_TRUE(WAIT_FOR(ums_caught[SIGRTMIN] == (int)loops));
	EXPECT_CALM(&self->storm);
	EXPECT_EQ(loops, GET(ums_caught[SIGRTMIN]));
}

/*
 * A worker that runs is a thread like any other.
 */
TEST_F(signals, running_worker_takes_signals)
{
	ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
	self->run.nr_workers = 1;
	self->run.live = 1;
	START(0, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1));
	for (int i = 1; i <= 10; i++) {
		ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
		EXPECT_TRUE(WAIT_FOR(ums_caught[SIGUSR1] == i));
	}
	EXPECT_EQ(TID(0), GET(ums_caught_by[SIGUSR1]));
	self->workers[0].stage = 2;
	pthread_join(self->sched.thread, NULL);
	EXPECT_EQ(0, GET(self->run.yields));
	EXPECT_EQ(0, GET(self->run.eintr));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

static void sleep_and_read(struct ums_worker *worker)
{
	struct timespec ts = { 3600, 0 };
	int *fds = worker->arg;
	char byte;

	worker->stage = 1;
	CHECK_EQ(-1, nanosleep(&ts, NULL));
	CHECK_EQ(EINTR, errno);
	worker->stage = 2;
	CHECK_EQ(1, read(fds[0], &byte, 1));
	worker->stage = 3;
}

/* Its system calls end or go on as everywhere. */
TEST_F(signals, sleeping_worker_takes_signals)
{
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(0, ums_catch(SIGUSR1, SA_RESTART));
	self->run.nr_workers = 1;
	self->run.live = 1;
	self->workers[0].arg = fds;
	START(0, sleep_and_read);
	ASSERT_EQ(0, ums_sched_start(&self->sched));
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 1 &&
			     ums_is_parked(TID(0))));
	ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
	ASSERT_TRUE(WAIT_FOR(self->workers[0].stage == 2 &&
			     ums_is_parked(TID(0))));
	ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
	ASSERT_TRUE(WAIT_FOR(ums_caught[SIGUSR1] == 2));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(2, GET(self->workers[0].stage));
	ASSERT_EQ(1, write(fds[1], "x", 1));
	pthread_join(self->sched.thread, NULL);
	EXPECT_EQ(3, GET(self->workers[0].stage));
	EXPECT_EQ(0, GET(self->run.yields));
	EXPECT_SETTLED(&self->run);
	EXPECT_NO_NOTES();
}

/* A handler may itself yield; the worker goes on in it. */
static struct ums_worker *yielding;

static void yield_in_handler(int sig)
{
	ums_worker_yield(yielding, 1000);
	atomic_fetch_add(&ums_caught[sig], 1);
}

TEST_F(signals, handler_yields)
{
	struct sigaction action = { .sa_handler = yield_in_handler };
	static const unsigned long values[] = { 0, 1000, 1 };
	struct ums_event event;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	yielding = &self->workers[0];
	self->workers[0].granted = LOTS;
	START(0, ums_work_yield_forever);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		ASSERT_EQ(values[i], event.yield_params.scheduler_params);
		EXPECT_EQ(i == 2, GET(ums_caught[SIGUSR1]));
		if (!i)
			ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
	}
	EXPECT_NO_NOTES();
}

static char altstack[64 * 1024];

static void note_stack(int sig)
{
	char here;

	CHECK(&here >= altstack && &here < altstack + sizeof(altstack));
	atomic_fetch_add(&ums_caught[sig], 1);
}

static void use_altstack(struct ums_worker *worker)
{
	stack_t stack = { .ss_sp = altstack, .ss_size = sizeof(altstack) };

	CHECK_EQ(0, sigaltstack(&stack, NULL));
	for (long i = 0; i < worker->value; i++) {
		ums_worker_yield(worker, i);
		CHECK_EQ(i + 1, ums_caught[SIGUSR1]);
	}
}

TEST_F(signals, alternate_stack)
{
	struct sigaction action = {
		.sa_handler = note_stack, .sa_flags = SA_ONSTACK,
	};
	struct ums_event event;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	self->workers[0].granted = LOTS;
	self->workers[0].value = 10;
	START(0, use_altstack);
	ASSERT_EQ(0, ums_become_sched(self->fd, self->clist));
	do {
		ASSERT_EQ(TID(0), ums_dequeue(self->fd, self->clist));
		ASSERT_EQ(0, ums_run_once(self->fd, TID(0), &event));
		if (event.type == THREAD_YIELD)
			ASSERT_EQ(0, tgkill(getpid(), TID(0), SIGUSR1));
	} while (event.type == THREAD_YIELD);
	EXPECT_EQ(10, GET(ums_caught[SIGUSR1]));
	EXPECT_NO_NOTES();
}

/*
 * Schedulers that wait.
 */
FIXTURE(waiting) {
	int fd;
	int clist;
	struct ums_worker workers[2];
};

FIXTURE_VARIANT(waiting) {
	enum ums_wait_kind kind;
	int flags;
};

FIXTURE_VARIANT_ADD(waiting, event) { WAIT_EVENT, 0 };
FIXTURE_VARIANT_ADD(waiting, event_restart) { WAIT_EVENT, SA_RESTART };
FIXTURE_VARIANT_ADD(waiting, list) { WAIT_LIST, 0 };
FIXTURE_VARIANT_ADD(waiting, list_restart) { WAIT_LIST, SA_RESTART };
FIXTURE_VARIANT_ADD(waiting, worker) { WAIT_WORKER, 0 };
FIXTURE_VARIANT_ADD(waiting, worker_restart) { WAIT_WORKER, SA_RESTART };

FIXTURE_SETUP(waiting)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(waiting)
{
	close(self->fd);
}

static void wait_once(struct ums_sched *sched)
{
	enum ums_wait_kind kind = *(enum ums_wait_kind *)sched->arg;
	struct ums_event event;

	ums_wait_once(sched, kind);
	while (sched->stage != 3)
		usleep(1000);
	if (kind == WAIT_WORKER) {
		CHECK_EQ(0, ums_event_wait(sched->fd, &event));
		CHECK_EQ(THREAD_TERMINATED, event.type);
	}
	CHECK_EQ(0, ums_exit(sched->fd));
}

TEST_F(waiting, interrupted_by_handler)
{
	enum ums_wait_kind kind = variant->kind;
	struct ums_sched sched = {
		.fn = wait_once, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = &kind,
	};

	ASSERT_EQ(0, ums_catch(SIGUSR1, variant->flags));
	self->workers[0].granted = 1;
	if (kind == WAIT_WORKER)
		START(0, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1 && ums_is_parked(sched.tid)));
	ums_sleep_ms(QUIET_MS);
	EXPECT_EQ(1, GET(sched.stage));
	ASSERT_EQ(0, tgkill(getpid(), GET(sched.tid), SIGUSR1));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 2));
	EXPECT_EQ(-EINTR, sched.ret);
	EXPECT_EQ(1, GET(ums_caught[SIGUSR1]));
	sched.stage = 3;
	self->workers[0].stage = 2;
	pthread_join(sched.thread, NULL);
	EXPECT_NO_NOTES();
}

/*
 * Without a handler: waits for events and workers go on as if nothing had
 * happened, an execution is reported as interrupted.
 */
TEST_F(waiting, stopped_and_continued)
{
	enum ums_wait_kind kind = variant->kind;
	struct ums_sched sched = {
		.fn = wait_once, .cpu = -1, .fd = self->fd,
		.clist = self->clist, .arg = &kind,
	};
	pid_t child;

	self->workers[0].granted = 1;
	if (kind == WAIT_WORKER)
		START(0, ums_work_spin);
	ASSERT_EQ(0, ums_sched_start(&sched));
	ASSERT_TRUE(WAIT_FOR(sched.stage == 1 && ums_is_parked(sched.tid)));
	for (int i = 0; i < 5; i++) {
		child = ums_stop_and_continue(2, 20000);
		ASSERT_LT(0, child);
		EXPECT_CHILD_OK(child);
	}
	ums_sleep_ms(QUIET_MS);
	if (kind == WAIT_WORKER) {
		ASSERT_TRUE(WAIT_FOR(sched.stage == 2));
		EXPECT_EQ(-EINTR, sched.ret);
		EXPECT_EQ(1, GET(self->workers[0].stage));
	} else {
		EXPECT_EQ(1, GET(sched.stage));
		ASSERT_EQ(0, ums_catch(SIGUSR1, 0));
		tgkill(getpid(), GET(sched.tid), SIGUSR1);
		ASSERT_TRUE(WAIT_FOR(sched.stage == 2));
		EXPECT_EQ(-EINTR, sched.ret);
	}
	sched.stage = 3;
	self->workers[0].stage = 2;
	pthread_join(sched.thread, NULL);
	EXPECT_NO_NOTES();
}

/*
 * Timers during switches.
 */
enum timer_kind { TIMER_PROCESS, TIMER_WORKERS, TIMER_SCHEDULERS };

FIXTURE(timers) {
	int fd;
	int clist;
	struct ums_storm storm;
};

FIXTURE_VARIANT(timers) {
	enum timer_kind kind;
	int flags;
};

FIXTURE_VARIANT_ADD(timers, process) { TIMER_PROCESS, 0 };
FIXTURE_VARIANT_ADD(timers, process_restart) { TIMER_PROCESS, SA_RESTART };
FIXTURE_VARIANT_ADD(timers, workers) { TIMER_WORKERS, 0 };
FIXTURE_VARIANT_ADD(timers, workers_restart) { TIMER_WORKERS, SA_RESTART };
FIXTURE_VARIANT_ADD(timers, schedulers) { TIMER_SCHEDULERS, 0 };

FIXTURE_SETUP(timers)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(timers)
{
	close(self->fd);
}

TEST_F_TIMEOUT(timers, storm, LONG_TEST)
{
	int signals = ums_loops(1000), sig = SIGRTMIN + 2, count = 0;
	struct ums_storm *storm = &self->storm;
	struct ums_tick ticks[NR];

	ASSERT_EQ(0, ums_catch(sig, variant->flags));
	ASSERT_EQ(0, ums_catch(SIGALRM, variant->flags));
	ASSERT_EQ(0, ums_storm_start(storm, self->fd, self->clist));

	if (variant->kind == TIMER_PROCESS) {
		struct itimerval when = { { 0, 2000 }, { 0, 2000 } };

		ASSERT_EQ(0, setitimer(ITIMER_REAL, &when, NULL));
		sig = SIGALRM;
	} else if (variant->kind == TIMER_WORKERS) {
		for (; count < NR; count++)
			ASSERT_EQ(0, ums_tick_start(&ticks[count],
						    storm->workers[count].tid,
						    sig, 1000, 4000));
	} else {
		for (; count < 2; count++)
			ASSERT_EQ(0, ums_tick_start(&ticks[count],
						    storm->scheds[count].tid,
						    sig, 1000, 3000));
	}
	for (int i = 0; i < 6 && ums_caught[sig] < signals; i++)
		WAIT_FOR(ums_caught[sig] >= signals);
	EXPECT_LE(signals, GET(ums_caught[sig]));
	if (variant->kind == TIMER_PROCESS) {
		struct itimerval never = {};

		ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
	}
	while (count)
		ums_tick_stop(&ticks[--count]);
	EXPECT_CALM(storm);
}

/*
 * Signals that end the process, with threads in every state.
 */
FIXTURE(fatal) {
	int fd;
	int clist;
};

FIXTURE_VARIANT(fatal) {
	int sig;
	bool to_parked;		/* to a parked worker, else to the process */
};

FIXTURE_VARIANT_ADD(fatal, kill) { SIGKILL, false };
FIXTURE_VARIANT_ADD(fatal, kill_parked) { SIGKILL, true };
FIXTURE_VARIANT_ADD(fatal, term) { SIGTERM, false };
FIXTURE_VARIANT_ADD(fatal, term_parked) { SIGTERM, true };
FIXTURE_VARIANT_ADD(fatal, realtime_parked) { 50, true };
/* These dump core, which is another path in the kernel. */
FIXTURE_VARIANT_ADD(fatal, quit) { SIGQUIT, false };
FIXTURE_VARIANT_ADD(fatal, abort) { SIGABRT, false };

FIXTURE_SETUP(fatal)
{
	SETUP_CLIST(return);
}

FIXTURE_TEARDOWN(fatal)
{
	close(self->fd);
}

static void wait_in_dequeue(struct ums_sched *sched)
{
	ums_dequeue(sched->fd, sched->clist);
}

/* A process with a worker that runs, one that sleeps, parked and waiting ones. */
static void be_busy(int tell)
{
	static struct ums_worker workers[4] = {
		{ .granted = LOTS }, { .granted = LOTS },
		{ .granted = LOTS }, { .granted = LOTS },
	};
	static struct ums_sched sched;
	int fd = ums_open(), clist = ums_create(fd), other = ums_create(fd);
	pid_t got[2];

	if (fd < 0)
		_exit(1);
	sched = (struct ums_sched) {
		.fn = wait_in_dequeue, .cpu = -1, .fd = fd, .clist = clist,
	};
	if (ums_worker_start(&workers[0], fd, clist, ums_work_spin) ||
	    ums_worker_start(&workers[1], fd, clist, ums_work_return) ||
	    ums_become_sched(fd, clist) ||
	    ums_collect(fd, clist, got, 2) || ums_sched_start(&sched) ||
	    ums_worker_start(&workers[2], fd, other, ums_work_return))
		_exit(2);
	if (write(tell, &got[1], sizeof(got[1])) != sizeof(got[1]))
		_exit(3);
	ums_exec(fd, got[0]);
	_exit(4);
}

TEST_F(fatal, ends_process)
{
	int pipes[2], status;
	pid_t child, parked;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* No core files in the way. */
		prctl(PR_SET_DUMPABLE, 0);
		/* A shell may have had it ignored, as it does for "&". */
		signal(variant->sig, SIG_DFL);
		close(self->fd);
		be_busy(pipes[1]);
	}
	close(pipes[1]);
	ASSERT_EQ(sizeof(parked), read(pipes[0], &parked, sizeof(parked)));
	ums_sleep_ms(QUIET_MS);
	if (variant->to_parked)
		ASSERT_EQ(0, tgkill(child, parked, variant->sig));
	if (!variant->to_parked)
		ASSERT_EQ(0, kill(child, variant->sig));
	status = ums_wait_child(child);
	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(variant->sig, WTERMSIG(status));
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", child)));
}

TEST_HARNESS_MAIN
