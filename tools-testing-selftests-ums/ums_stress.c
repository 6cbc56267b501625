// SPDX-License-Identifier: GPL-2.0
/*
 * ums_stress: schedulers and workers at full speed, for as long as told.
 *
 * usage: ums_stress [--secs N] [--schedulers N] [--workers N] [--seed N]
 *		     [--round N] [--status N]
 *
 * Workers yield, sleep, spin until their slice is over, preempt and switch to
 * each other, end in several ways and are replaced; schedulers leave and come
 * back; signals hit all of them.  Checked all the time:
 *
 *  - a run has one event, and its scheduler goes on only then;
 *  - no worker runs beside its scheduler, nor beside another one of it;
 *  - a worker was executed once more often than it has stopped;
 *  - each worker gets to run again and again.
 *
 * After each round (--round seconds) all stand still, and the events about each
 * worker are compared with its stops.  A line tells every --status seconds how
 * it goes.  Exit status: 0, 1 for a failure, 4 without the device.
 */
#include <stdarg.h>

#include "ums_test.h"

#define MAX_SCHEDS	16
#define MAX_WORKERS	256
#define TAKE		8
/* Looks of 20 ms at the threads in which a worker must have come to run. */
#define STARVED_LOOKS	3000

struct sched {
	int nr;
	pthread_t thread;
	__u64 rng;
	atomic_int tid;
	atomic_int in_run;	/* its worker may run */
	atomic_ulong inside;	/* the mark of who was in worker_section() last */
	atomic_int spare;	/* a worker that it owns */
	atomic_ulong runs;
	atomic_ulong events;
};

struct worker {
	int nr;
	pthread_t thread;
	__u64 rng;
	atomic_int tid;
	atomic_int sched;	/* who ran it when it looked last */
	atomic_ulong turns;	/* how often it came by */
	atomic_ulong met;	/* another one has found this mark of it */
	atomic_ulong stood;	/* its last mark that was where it belonged */
	atomic_ulong yields;
	atomic_ulong seen[THREAD_PREEMPTED + 1];
	atomic_int ended;	/* THREAD_TERMINATED has been read */
	/* The main thread's: how often it looked since the worker ran. */
	unsigned long last_turns;
	unsigned long looks;
};

static struct {
	int fd;
	int clist;
	unsigned long secs, schedulers, workers, round, status, seed;
	__u64 rng;
	atomic_int stop;	/* workers park, schedulers leave; 2: all end */
	atomic_int live;	/* workers whose end has not been read */
	int pipe[2];
	atomic_ulong marks;	/* so far: no two are the same */
	struct sched sched[MAX_SCHEDS];
	struct worker worker[MAX_WORKERS];

	atomic_ulong events[THREAD_PREEMPTED + 1];
	atomic_ulong handovers, interrupted, left, checked;
} st;

static void fail(const char *format, ...)
{
	static atomic_int failed;
	va_list args;

	if (atomic_exchange(&failed, 1))
		pause();
	va_start(args, format);
	fflush(stdout);
	fprintf(stderr, "ums_stress: FAILED, seed %lu: ", st.seed);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	_exit(1);
}

/* splitmix64 */
static __u64 draw(__u64 *rng)
{
	__u64 z = *rng += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* --- workers --- */

static struct worker *find(pid_t tid)
{
	for (unsigned int i = 0; i < st.workers; i++)
		if (GET(st.worker[i].tid) == tid)
			return &st.worker[i];
	return NULL;
}

static void compare(struct worker *w, const char *what, __u64 done,
		    __u64 expected)
{
	if (done != expected)
		fail("worker %d %s %llu times, not %llu times", GET(w->tid),
		     what, done, expected);
}

static __u64 stops(const struct ums_query *q)
{
	return q->yields + q->handovers + q->preemptions + q->blocks;
}

/* It runs: it was executed once more than it stopped. */
static void worker_account(struct worker *w, struct ums_query *q)
{
	int ret = ums_query(st.fd, GET(w->tid), q);

	if (ret || q->state != UMS_STATE_RUNNING)
		fail("worker %d runs: query %d, state %u", GET(w->tid), ret,
		     q->state);
	compare(w, "was executed", q->switches, 1 + stops(q));
}

/* Who runs the calling worker.  Nothing holds, unless @q is still true. */
static struct sched *worker_sched(struct worker *w, struct ums_query *q)
{
	pid_t sched;

	while (1) {
		worker_account(w, q);
		sched = q->scheduler;
		for (unsigned int i = 0; i < st.schedulers; i++)
			if (GET(st.sched[i].tid) == sched)
				return &st.sched[i];
		/* It may have been stopped, and that one have left since. */
		worker_account(w, q);
		if (q->scheduler == sched)
			fail("worker %d is run by %d, which is no scheduler",
			     GET(w->tid), sched);
	}
}

/*
 * Some user code.  If the worker was not stopped meanwhile, no other one ran
 * under its scheduler, and that one did not go on.
 *
 * The mark of a worker that is stopped before it leaves it, and goes on under
 * another scheduler, is in the wrong place, which the worker only sees at the end
 * of its section.  So it takes two for a failure: who finds the mark, and who left
 * it; whichever comes last knows.
 */
static void worker_section(struct worker *w, int turns)
{
	unsigned long mark = ++st.marks * MAX_WORKERS + w->nr, inside;
	struct ums_query before, after;
	struct sched *s = worker_sched(w, &before);
	struct worker *other;
	int in_run;

	s->inside = mark;
	ums_spin_turns(turns);
	inside = GET(s->inside);
	in_run = GET(s->in_run);
	worker_account(w, &after);
	w->sched = s->nr;
	atomic_fetch_add(&w->turns, 1);
	if (before.switches != after.switches)
		return;
	if (!in_run)
		fail("worker %d runs beside its scheduler %d", GET(w->tid),
		     GET(s->tid));
	other = &st.worker[inside % MAX_WORKERS];
	w->stood = mark;
	if (other != w)
		other->met = inside;
	if (GET(w->met) == mark || (other != w && GET(other->stood) == inside))
		fail("worker %d and another one, maybe %d, run at once under %d",
		     GET(w->tid), GET(other->tid), GET(s->tid));
}

static void worker_yield(struct worker *w)
{
	int ret;

	atomic_fetch_add(&w->yields, 1);
	ret = ums_yield(st.fd, w->nr);
	if (ret)
		fail("yield of worker %d: %d", GET(w->tid), ret);
}

static void worker_switch(struct worker *w)
{
	struct sched *s = &st.sched[GET(w->sched)];
	struct worker *to = find(atomic_exchange(&s->spare, 0));
	int ret;

	if (!to || to == w)
		return;
	ret = ums_switch(st.fd, GET(to->tid));
	if (!ret)
		atomic_fetch_add(&st.handovers, 1);
	else if (ret != -EBUSY && ret != -ESRCH && ret != -EAGAIN)
		fail("switch to %d: %d", GET(to->tid), ret);
}

static void worker_preempt(struct worker *w, __u64 what)
{
	struct worker *other = &st.worker[(what >> 8) % st.workers];
	int ret;

	if (what & 0x80)
		other = w;
	if (!GET(other->tid))
		return;
	ret = ums_preempt(st.fd, GET(other->tid));
	if (ret && ret != -EAGAIN && ret != -ESRCH)
		fail("preempt %d: %d", GET(other->tid), ret);
}

/* Returns whether the worker is to end. */
static bool worker_act(struct worker *w, __u64 what)
{
	char byte = 0;

	switch (what & 31) {
	case 0 ... 9:
		worker_yield(w);
		break;
	case 10 ... 14:
		worker_switch(w);
		break;
	case 15 ... 17:
		ums_nap_us(what >> 8 & 0xff);
		break;
	case 18:
		if (read(st.pipe[0], &byte, 1) < 0 && errno != EINTR)
			fail("pipe: %s", strerror(errno));
		break;
	case 19 ... 21:
		if (write(st.pipe[1], &byte, 1) < 0 && errno != EAGAIN)
			fail("pipe: %s", strerror(errno));
		break;
	case 22 ... 24:
		worker_preempt(w, what);
		break;
	case 25:
		/* Longer than most slices. */
		worker_section(w, what >> 8 & 0xffff);
		break;
	case 26:
		return (what >> 8 & 0xff) == 0;
	default:
		sched_yield();
		break;
	}
	return false;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	__u64 what;
	int ret;

	w->tid = gettid();
	ret = ums_enter(st.fd, ENTER_UMS_WORK, st.clist, w->nr);
	if (ret)
		fail("a worker cannot enter: %d", ret);
	for (bool end = false; !end && GET(st.stop) != 2; ) {
		worker_section(w, 50);
		if (GET(st.stop))
			worker_yield(w);
		else
			end = worker_act(w, draw(&w->rng));
	}
	what = draw(&w->rng);
	if (what & 1)
		ums_exit(st.fd);
	/* Without a word to the C library. */
	if (what & 2)
		syscall(SYS_exit, 0);
	return NULL;
}

static void worker_start(struct worker *w, int nr)
{
	__u64 rng = draw(&st.rng);

	memset(w, 0, sizeof(*w));
	w->nr = nr;
	w->rng = rng;
	atomic_fetch_add(&st.live, 1);
	if (pthread_create(&w->thread, NULL, worker_main, w))
		fail("no thread for a worker: %s", strerror(errno));
}

/* --- schedulers --- */

static void sched_event(struct sched *s, const struct ums_event *event)
{
	struct worker *w;

	if (event->type == SCHEDULER_STARTUP)
		return;
	w = find(ums_event_context(event));
	if (event->type > THREAD_PREEMPTED ||
	    (event->type == THREAD_TERMINATED && (!w || GET(w->ended))))
		fail("event %u about %d", event->type,
		     ums_event_context(event));
	atomic_fetch_add(&s->events, 1);
	/* Read so late that the worker has ended under another one since. */
	if (!w || GET(w->ended)) {
		atomic_fetch_add(&st.events[event->type], 1);
		return;
	}
	atomic_fetch_add(&w->seen[event->type], 1);
	atomic_fetch_add(&st.events[event->type], 1);
	if (event->type != THREAD_TERMINATED)
		return;
	atomic_fetch_sub(&st.live, 1);
	w->ended = 1;
}

/* Runs a worker until it or who it handed over to has stopped. */
static void sched_run(struct sched *s, pid_t context, __u64 what)
{
	__u64 slice = what & 7 ? 20000 + (what >> 8) % 2000000 : 0;
	struct ums_event event;
	int ret;

	s->in_run = 1;
	ret = ums_run(st.fd, context, slice, &event);
	if (ret == -EBUSY || ret == -ESRCH || ret == -EAGAIN) {
		/* Switched to by an earlier one; or stopped by a debugger. */
		s->in_run = 0;
		return;
	}
	atomic_fetch_add(&s->runs, 1);
	while (ret == -EINTR) {
		atomic_fetch_add(&st.interrupted, 1);
		ret = ums_wait(st.fd, 0, 0, &event);
	}
	s->in_run = 0;
	if (ret)
		fail("run of %d: %d", context, ret);
	sched_event(s, &event);
	if (GET(s->events) != GET(s->runs))
		fail("scheduler %d: %lu runs, %lu events", GET(s->tid),
		     GET(s->runs), GET(s->events));
}

static void sched_enter(struct sched *s)
{
	struct ums_event event;
	int ret = ums_enter_sched(st.fd, st.clist, s->nr & 1 ?
				  ENTER_UMS_BLOCK_EVENTS :
				  ENTER_UMS_BLOCK_EVENTS | ENTER_UMS_KEEP);

	while (!ret || ret == -EINTR) {
		ret = ums_dqevent(st.fd, &event);
		if (!ret && event.type == SCHEDULER_STARTUP)
			return;
	}
	fail("a scheduler cannot enter: %d", ret);
}

static void sched_leave(struct sched *s)
{
	struct ums_event event;
	int ret = ums_wait(st.fd, UMS_NONBLOCK, 0, &event);

	if (ret != -EAGAIN)
		fail("scheduler %d has one more event: %d, type %u",
		     GET(s->tid), ret, event.type);
	s->spare = 0;
	ret = ums_exit(st.fd);
	if (ret)
		fail("scheduler %d cannot leave: %d", GET(s->tid), ret);
	atomic_fetch_add(&st.left, 1);
}

/*
 * What a scheduler that keeps its workers owns is not only what it remembers:
 * it leaves from time to time, and the others find it on the list.
 */
static void *sched_main(void *arg)
{
	struct ums_ready ready[TAKE];
	struct sched *s = arg;

	s->tid = gettid();
	sched_enter(s);
	while (!GET(st.stop) || (GET(st.stop) == 2 && GET(st.live))) {
		__u64 what = draw(&s->rng);
		int nr = ums_take(st.fd, st.clist, 0, 2000000, ready,
				  1 + what % TAKE);

		if (nr < 0 && nr != -ETIMEDOUT && nr != -EINTR)
			fail("dequeue: %d", nr);
		for (int i = 0; i < nr; i++) {
			if (i + 1 < nr)
				s->spare = ready[nr - 1].context;
			sched_run(s, ready[i].context, draw(&s->rng));
		}
		if (nr < 0 || (what >> 32 & 63) == 0) {
			sched_leave(s);
			sched_enter(s);
		}
	}
	sched_leave(s);
	return NULL;
}

static void scheds_start(void)
{
	for (unsigned int i = 0; i < st.schedulers; i++) {
		struct sched *s = &st.sched[i];

		s->nr = i;
		s->rng = draw(&st.rng);
		if (pthread_create(&s->thread, NULL, sched_main, s))
			fail("no thread for a scheduler");
	}
}

static void scheds_join(void)
{
	for (unsigned int i = 0; i < st.schedulers; i++)
		pthread_join(st.sched[i].thread, NULL);
}

/* --- the main thread --- */

static void look(__u64 *rng)
{
	__u64 what = draw(rng);
	pid_t tid;

	for (unsigned int i = 0; i < st.workers; i++) {
		struct worker *w = &st.worker[i];

		if (GET(w->ended)) {
			pthread_join(w->thread, NULL);
			worker_start(w, i);
			continue;
		}
		if (GET(w->turns) != w->last_turns) {
			w->last_turns = GET(w->turns);
			w->looks = 0;
		} else if (++w->looks > STARVED_LOOKS) {
			fail("worker %d does not get to run", GET(w->tid));
		}
	}
	tid = what & 1 ? GET(st.worker[(what >> 8) % st.workers].tid) :
			 GET(st.sched[(what >> 8) % st.schedulers].tid);
	if (tid)
		syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
}

/* Whether all that have not ended are parked on the list, owned by nobody. */
static bool all_parked(void)
{
	struct ums_query q;
	char byte = 0;
	bool all = true;

	for (unsigned int i = 0; i < st.workers; i++) {
		struct worker *w = &st.worker[i];

		if (GET(w->ended))
			continue;
		if (!GET(w->tid) || ums_query(st.fd, GET(w->tid), &q) ||
		    q.state != UMS_STATE_READY) {
			all = false;
			if (write(st.pipe[1], &byte, 1) < 0)
				continue;
		}
	}
	return all;
}

static void check_worker(struct worker *w)
{
	struct ums_query q;
	int ret = ums_query(st.fd, GET(w->tid), &q);

	if (ret || q.state != UMS_STATE_READY || q.scheduler)
		fail("worker %d is parked: query %d, state %u, scheduler %d",
		     GET(w->tid), ret, q.state, q.scheduler);
	compare(w, "was executed", q.switches, stops(&q));
	compare(w, "yielded", q.yields, GET(w->seen[THREAD_YIELD]));
	compare(w, "was preempted", q.preemptions,
		GET(w->seen[THREAD_PREEMPTED]));
	compare(w, "blocked", q.blocks, GET(w->seen[THREAD_BLOCKED]));
	if (q.yields > GET(w->yields))
		fail("worker %d yielded %llu times in %lu calls", GET(w->tid),
		     q.yields, GET(w->yields));
	atomic_fetch_add(&st.checked, 1);
}

/* All stand still; what was told is compared with what was done. */
static void check_round(void)
{
	st.stop = 1;
	scheds_join();
	if (!WAIT_FOR(all_parked()))
		fail("the workers do not come to a rest");
	for (unsigned int i = 0; i < st.workers; i++)
		if (!GET(st.worker[i].ended))
			check_worker(&st.worker[i]);
}

static void show(long started_ms)
{
	printf("ums_stress: %ld s, %lu yields, %lu blocks, %lu preemptions, ",
	       (ums_now_ms() - started_ms) / 1000, GET(st.events[THREAD_YIELD]),
	       GET(st.events[THREAD_BLOCKED]), GET(st.events[THREAD_PREEMPTED]));
	printf("%lu handovers, %lu ends, %lu interrupted, %lu leaves, %lu accounts\n",
	       GET(st.handovers), GET(st.events[THREAD_TERMINATED]),
	       GET(st.interrupted), GET(st.left), GET(st.checked));
	fflush(stdout);
}

static void stress(void)
{
	long started = ums_now_ms(), told = started, round, now;
	__u64 rng = draw(&st.rng);
	char byte = 0;

	for (unsigned int i = 0; i < st.workers; i++)
		worker_start(&st.worker[i], i);
	do {
		round = ums_now_ms();
		st.stop = 0;
		scheds_start();
		do {
			ums_sleep_ms(20);
			look(&rng);
			now = ums_now_ms();
			if (now - told >= (long)st.status * 1000) {
				told = now;
				show(started);
			}
		} while (now - round < (long)st.round * 1000 &&
			 now - started < (long)st.secs * 1000);
		check_round();
	} while (now - started < (long)st.secs * 1000);

	/* Some may still be about to read. */
	for (unsigned int i = 0; i < 2 * st.workers; i++)
		if (write(st.pipe[1], &byte, 1) < 0)
			break;
	st.stop = 2;
	scheds_start();
	scheds_join();
	for (unsigned int i = 0; i < st.workers; i++)
		pthread_join(st.worker[i].thread, NULL);
	if (!WAIT_FOR(ums_delete(st.fd, st.clist) == 0))
		fail("the list cannot be deleted");
	show(started);
}

static const struct ums_option options[] = {
	{ "secs", .number = &st.secs, 1, INT_MAX },
	{ "schedulers", .number = &st.schedulers, 1, MAX_SCHEDS },
	{ "workers", .number = &st.workers, 1, MAX_WORKERS },
	{ "seed", .number = &st.seed, 0, ULONG_MAX },
	{ "round", .number = &st.round, 1, INT_MAX },
	{ "status", .number = &st.status, 1, INT_MAX },
	{}
};

static void parse(int argc, char **argv)
{
	st.secs = 60;
	st.schedulers = sysconf(_SC_NPROCESSORS_ONLN);
	if (st.schedulers > MAX_SCHEDS)
		st.schedulers = MAX_SCHEDS;
	st.seed = 1;
	st.round = 10;
	st.status = 10;
	ums_options(argc, argv, options);
	st.rng = st.seed;
	if (!st.workers)
		st.workers = 4 * st.schedulers;
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	st.fd = ums_open();
	if (st.fd < 0) {
		printf("ums_stress: %s\n", NO_DEVICE);
		return 4;
	}
	st.clist = ums_create(st.fd);
	if (st.clist < 0 || pipe2(st.pipe, O_CLOEXEC) ||
	    fcntl(st.pipe[1], F_SETFL, O_NONBLOCK) || ums_catch(SIGUSR1, 0))
		fail("start: %s", strerror(errno));
	printf("ums_stress: %lu schedulers, %lu workers, %lu s, seed %lu\n",
	       st.schedulers, st.workers, st.secs, st.seed);
	fflush(stdout);
	stress();
	printf("ums_stress: no failure\n");
	return 0;
}
