// SPDX-License-Identifier: GPL-2.0
/*
 * ums_fuzz: one process in one epoch, and its threads.
 */
#include <sys/prctl.h>

#include "ums_fuzz.h"

/* How long an epoch may take if its operations do not get done. */
#define EPOCH_MS	4000

__thread struct fuzz_thread *fuzz_self;
/* It has no business with the model any more. */
static __thread bool is_gone;

/* --- threads --- */

static void gone(struct fuzz_thread *t)
{
	is_gone = true;
	atomic_fetch_sub(&t->proc->live, 1);
	t->done = 1;
}

/* The calling thread ends: at once, or when it comes back to its loop. */
void fuzz_die(struct fuzz_thread *t, int how)
{
	if (t->proc->strict && t->sched) {
		fuzz_settle(t);
		how |= 1;
	}
	if (how & 1) {
		ums_exit(GET(t->proc->fd));
		t->sched = false;
	}
	t->ending = true;
	if (how & 2) {
		gone(t);
		/* Without a word, the C library's last ones included. */
		syscall(SYS_exit, 0);
	}
}

/* Yield until told to end, and then once or twice more. */
static void yield_until_end(struct fuzz_thread *t)
{
	int more = fuzz_random(&t->rng) & 1;

	while (!t->ending) {
		atomic_fetch_add(&t->yields, 1);
		if (ums_yield(GET(t->proc->fd), 0))
			return;
		if (GET(t->proc->stop) == 2 && !more--)
			return;
	}
}

static void *thread_main(void *arg)
{
	struct sched_param param = {};
	struct fuzz_thread *t = arg;
	struct fuzz_op op;

	fuzz_self = t;
	/* It fills the time in which all others sleep, and takes them none. */
	if (t->role == ROLE_HAMMER)
		sched_setscheduler(0, SCHED_IDLE, &param);
	fuzz_cover_thread(t);
	t->tid = gettid();
	while (!GET(t->proc->stop) && !t->ending) {
		if (!fuzz_corpus_next(t, &op))
			fuzz_op_draw(t, &op);
		fuzz_cover_begin(t, &op);
		fuzz_op_run(t, &op);
		fuzz_cover_end(t);
	}
	if (!t->sched)
		yield_until_end(t);
	fuzz_die(t, fuzz_random(&t->rng));
	gone(t);
	return NULL;
}

/* By the main thread alone: what takes locks is no good in a worker. */
static void thread_start(struct fuzz_proc *p, enum fuzz_role role,
			 __u64 seed)
{
	int slot = GET(p->nr_threads);
	struct fuzz_thread *t;
	pthread_attr_t attr;
	int ret;

	if (slot >= FUZZ_SLOTS)
		return;
	t = &p->threads[slot];
	t->proc = p;
	t->slot = slot;
	t->role = role;
	t->rng = seed;
	t->replay = -1;
	p->nr_threads = slot + 1;
	atomic_fetch_add(&p->live, 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	/* None is made while another one is in execve(): then all are to die. */
	while ((ret = pthread_create(&t->thread, &attr, thread_main, t)) ==
	       EAGAIN && p->kill_ms)
		ums_sleep_ms(1);
	pthread_attr_destroy(&attr);
	if (ret)
		fuzz_fail(p, "thread %d: %s", slot, strerror(ret));
}

/* --- signals --- */

static void on_interrupt(int sig)
{
	(void)sig;
}

static void on_kill(int sig)
{
	(void)sig;
	if (fuzz_self && !is_gone)
		fuzz_die(fuzz_self, 2);
}

/* A handler is the worker's own code: it may yield as well. */
static void on_yield(int sig)
{
	int saved = errno;

	(void)sig;
	if (fuzz_self) {
		atomic_fetch_add(&fuzz_self->yields, 1);
		ums_yield(GET(fuzz_self->proc->fd), sig);
		atomic_fetch_add(&fuzz->ops, 1);
	}
	errno = saved;
}

static void catch(int sig, void (*handler)(int sig), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR2);
	sigaction(sig, &action, NULL);
}

static void catch_signals(void)
{
	catch(SIGUSR1, on_interrupt, 0);
	catch(SIGUSR2, on_kill, 0);
	catch(SIGRTMIN, on_yield, SA_RESTART);
	for (int i = 1; i < 8; i++)
		catch(SIGRTMIN + i, on_interrupt, SA_RESTART);
	/* One step of a debugger that has left meanwhile. */
	catch(SIGTRAP, on_interrupt, SA_RESTART);
	catch(SIGURG, on_interrupt, SA_RESTART);
	catch(SIGWINCH, on_interrupt, 0);
}

/* Get a thread out of a call that may wait for long. */
void fuzz_kick(struct fuzz_proc *p, struct fuzz_thread *t)
{
	if (GET(t->tid) && !GET(t->done))
		syscall(SYS_tgkill, GET(p->pid), GET(t->tid), SIGUSR1);
}

/* --- the process --- */

static enum fuzz_role pick_role(int slot, __u64 what)
{
	static const enum fuzz_role first[] = {
		ROLE_SCHED, ROLE_WORKER, ROLE_HAMMER, ROLE_WORKER, ROLE_SCHED,
		ROLE_WORKER, ROLE_PLAIN,
	};

	return slot < ARRAY_SIZE(first) ? first[slot] : what % NR_ROLES;
}

static bool waits_to_run(struct fuzz_thread *t)
{
	int last = GET(t->last);

	return last == OP_YIELD || last == OP_SWITCH || last == OP_ENTER_WORK;
}

/* One look at all threads.  Returns how many calls they have made. */
static unsigned long tend(struct fuzz_proc *p, __u64 *rng)
{
	unsigned long ops = 0;
	int nr = GET(p->nr_threads);
	__u64 seed;
	char byte = 0;

	for (int i = 0; i < nr; i++) {
		struct fuzz_thread *t = &p->threads[i];
		unsigned long now = GET(t->ops);

		ops += now;
		/* One that is parked would only be slowed down. */
		if (now == t->last_ops &&
		    (!waits_to_run(t) || !(fuzz_random(rng) & 15)))
			fuzz_kick(p, t);
		t->last_ops = now;
	}
	if (write(p->pipe[1], &byte, 1) < 0 && errno != EAGAIN &&
	    errno != EINTR)
		fuzz_fail(p, "pipe: %s", strerror(errno));
	seed = atomic_exchange(&p->spawn, 0);
	if (GET(p->live) < (int)fuzz->threads)
		seed = fuzz_random(rng);
	if (seed && GET(p->live) < (int)fuzz->threads + 4)
		thread_start(p, pick_role(FUZZ_SLOTS, seed >> 8), seed);
	return ops;
}

static void let_run(struct fuzz_proc *p, __u64 *rng)
{
	p->phase = "operations";
	while (tend(p, rng) < fuzz->epoch_ops &&
	       ums_now_ms() - p->started_ms < EPOCH_MS) {
		/* All slots are used up, and their threads gone. */
		if (!GET(p->live))
			break;
		ums_sleep_ms(1);
	}
}

static pid_t start_tracer(struct fuzz_proc *p, __u64 seed)
{
	pid_t child = fork();

	if (!child) {
		/* It shall not keep the device open. */
		close(GET(p->fd));
		while (!GET(p->nr_threads))
			ums_sleep_ms(1);
		fuzz_tracer(p, seed);
	}
	return child;
}

void fuzz_epoch(struct fuzz_proc *p)
{
	__u64 rng = p->seed;
	pid_t tracer = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	p->phase = "start";
	p->pid = getpid();
	catch_signals();
	fuzz_arena_reset();
	for (int i = 0; i < FUZZ_DUPS; i++)
		p->dups[i] = -1;
	p->fd = ums_open();
	if (p->fd < 0 || pipe2(p->pipe, O_CLOEXEC))
		fuzz_fail(p, "start: %s", strerror(errno));
	fcntl(p->pipe[1], F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 2; i++)
		p->clists[i] = ums_create(p->fd);
	if (p->traced)
		tracer = start_tracer(p, fuzz_random(&rng));
	for (unsigned int i = 0; i < fuzz->threads; i++) {
		__u64 seed = fuzz_random(&rng);

		thread_start(p, pick_role(i, seed >> 8), seed);
	}
	let_run(p, &rng);

	p->phase = "stop";
	p->stopped_ms = ums_now_ms();
	p->stop = 1;
	if (tracer > 0)
		while (waitpid(tracer, NULL, 0) < 0 && errno == EINTR)
			;
	fuzz_quiesce(p);
	fuzz_check(p);
	_exit(0);
}
