// SPDX-License-Identifier: GPL-2.0
/*
 * ums_fuzz: what must be true when nothing moves any more.
 *
 * All threads have ended, but for workers, which are parked on their lists.
 * Each of them is there, and once; a fresh scheduler can take them all and run
 * them to the end; nobody has heard of more stops than there were, in a strict
 * epoch of exactly as many; and nothing is left behind.
 */
#include "ums_fuzz.h"

static const char * const states[] = {
	"none", "running", "ready", "blocked",
};

/* A descriptor of the device, -1 if there is none or it is closed. */
static int device(struct fuzz_proc *p)
{
	struct ums_query query;
	int fd = GET(p->fd);

	/* Nobody has this context. */
	if (fd >= 0 && ums_query(fd, 0, &query) == -ESRCH)
		return fd;
	if (fd >= 0 && atomic_compare_exchange_strong(&p->fd, &fd, -1))
		close(fd);
	for (int i = 0; i < FUZZ_DUPS; i++) {
		fd = GET(p->dups[i]);
		if (fd >= 0 && ums_query(fd, 0, &query) == -ESRCH)
			return fd;
		if (fd >= 0 &&
		    atomic_compare_exchange_strong(&p->dups[i], &fd, -1))
			close(fd);
	}
	return -1;
}

/*
 * Is the thread where it can stay: at its end, or parked on its list?  One that
 * has made its last call may still be stopped, on its way out.
 */
static bool settled(struct fuzz_thread *t, int fd)
{
	struct ums_query query;

	t->parked = fd >= 0 && GET(t->tid) &&
		    !ums_query(fd, GET(t->tid), &query);
	return t->parked ? query.state == UMS_STATE_READY && !query.scheduler :
			   GET(t->done);
}

static void set_plain(pid_t tid)
{
	struct sched_param param = {};
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	sched_setscheduler(tid, SCHED_OTHER, &param);
	sched_setaffinity(tid, sizeof(set), &set);
}

/*
 * Wait until all are settled.  A scheduler that has not ended may execute one that
 * has just been looked at, so that there is a last look at all of them when none
 * of the schedulers is left.
 */
void fuzz_quiesce(struct fuzz_proc *p)
{
	long end = ums_now_ms() + SOON_MS;
	struct fuzz_thread *missing;
	struct ums_query query;
	bool again = true;
	char byte = 0;
	int fd, ret;

	for (int i = 0; i < GET(p->nr_threads); i++)
		if (GET(p->threads[i].tid))
			set_plain(p->threads[i].tid);
	do {
		missing = NULL;
		fd = device(p);
		for (int i = 0; i < GET(p->nr_threads); i++) {
			struct fuzz_thread *t = &p->threads[i];

			if (settled(t, fd))
				continue;
			missing = t;
			fuzz_kick(p, t);
			if (write(p->pipe[1], &byte, 1) < 0)
				continue;
		}
		if (!missing && !again)
			return;
		again = missing;
		ums_sleep_ms(1);
	} while (ums_now_ms() < end);

	ret = ums_query(fd, GET(missing->tid), &query);
	fuzz_fail(p, "thread %d neither ends nor parks: query %d, %s, scheduler %d",
		  GET(missing->tid), ret, ret ? "-" : states[query.state & 3],
		  query.scheduler);
}

/* --- accounts --- */

static void compare(struct fuzz_proc *p, struct fuzz_thread *t,
		    const char *what, __u64 done, __u64 told)
{
	if (done != told)
		fuzz_fail(p, "worker %d %s %llu times, and was said to %llu times",
			  GET(t->tid), what, done, told);
}

static void at_most(struct fuzz_proc *p, struct fuzz_thread *t,
		    const char *what, __u64 done, __u64 most)
{
	if (done > most)
		fuzz_fail(p, "worker %d %s %llu times, of %llu that may be",
			  GET(t->tid), what, done, most);
}

/* The worker is parked on its list, and all schedulers have left in peace. */
static void check_account(struct fuzz_proc *p, struct fuzz_thread *t, int fd)
{
	struct ums_query q;
	int ret = ums_query(fd, GET(t->tid), &q);

	if (ret)
		fuzz_fail(p, "worker %d is unknown: %d", GET(t->tid), ret);
	compare(p, t, "was executed", q.switches,
		q.yields + q.handovers + q.preemptions + q.blocks);
	compare(p, t, "yielded", q.yields, GET(t->events[THREAD_YIELD]));
	compare(p, t, "was preempted", q.preemptions,
		GET(t->events[THREAD_PREEMPTED]));
	compare(p, t, "blocked", q.blocks, GET(t->events[THREAD_BLOCKED]));
	at_most(p, t, "yielded", q.yields, GET(t->yields));
	at_most(p, t, "called SWITCH", GET(t->handovers), q.handovers);
	at_most(p, t, "handed over", q.handovers,
		GET(t->handovers) + GET(t->in_switch));
	at_most(p, t, "was in EXEC", GET(t->executed), q.switches);
	atomic_fetch_add(&fuzz->checked, 1);
}

/* A worker that was executed has one end, and one that was not, none or one. */
static void check_ends(struct fuzz_proc *p)
{
	for (int i = 0; p->strict && i < GET(p->nr_threads); i++) {
		struct fuzz_thread *t = &p->threads[i];
		unsigned long ends = GET(t->events[THREAD_TERMINATED]) +
				     GET(t->corpses);

		if (ends > GET(t->enlisted) || (GET(t->executed) && !ends))
			fuzz_fail(p, "worker %d: entered %lu, executed %lu, ended %lu times",
				  GET(t->tid), GET(t->enlisted),
				  GET(t->executed), ends);
	}
}

/* The workers that have not ended are in procfs, and nobody else is. */
static void check_proc(struct fuzz_proc *p, int live)
{
	char dir[64], path[96], text[16];

	snprintf(dir, sizeof(dir), UMS_PROC "/%d/schedulers", getpid());
	if (!WAIT_FOR(ums_count_entries(dir) == 0))
		fuzz_fail(p, "%d schedulers are left",
			  ums_count_entries(dir));
	snprintf(dir, sizeof(dir), UMS_PROC "/%d/workers", getpid());
	if (!WAIT_FOR(ums_count_entries(dir) == live))
		fuzz_fail(p, "%d workers are in procfs, not %d",
			  ums_count_entries(dir), live);
	for (int i = 0; i < GET(p->nr_threads); i++) {
		struct fuzz_thread *t = &p->threads[i];

		if (!t->parked)
			continue;
		ums_worker_info(path, getpid(), GET(t->tid));
		if (!ums_info(path, "state", text, sizeof(text)) ||
		    strcmp(text, "idle") || ums_info_number(path, "scheduler"))
			fuzz_fail(p, "%s is not that of a queued worker", path);
	}
}

/* --- the last scheduler --- */

struct last {
	struct fuzz_proc *p;
	int fd;
	__u32 flags;
	int live;		/* workers that have not ended */
	bool closed;		/* one of them has closed the device */
};

/*
 * Takes all that a list holds; @contexts, if not NULL, gets the workers among it,
 * up to FUZZ_SLOTS.  Returns how many these were.
 */
static int take(struct last *last, int clist, pid_t *contexts)
{
	struct ums_ready ready[FUZZ_SLOTS];
	int nr = ums_take(last->fd, clist, UMS_NONBLOCK, 0, ready, FUZZ_SLOTS);
	int workers = 0;

	for (int i = 0; i < nr; i++) {
		struct fuzz_thread *t = fuzz_find(last->p, ready[i].context);

		if (!t || !fuzz_cookie_fits(t, ready[i].cookie))
			fuzz_fail(last->p, "list %d held %d, why %u, cookie %llu",
				  clist, ready[i].context, ready[i].why,
				  ready[i].cookie);
		if (ready[i].why == UMS_READY_TERMINATED) {
			atomic_fetch_add(&t->corpses, 1);
			continue;
		}
		t->seen++;
		if (contexts)
			contexts[workers] = ready[i].context;
		workers++;
	}
	return workers;
}

/* Each worker is on one list, and all of them are owned in order then. */
static void take_all(struct last *last)
{
	pid_t contexts[2 * FUZZ_SLOTS];
	struct fuzz_proc *p = last->p;
	int next, found = 0;

	for (int clist = 1; clist <= UMS_MAX_CLISTS; clist++) {
		found += take(last, clist, contexts + found);
		if (found > FUZZ_SLOTS)
			fuzz_fail(p, "more contexts than threads");
	}
	for (int i = 0; i < GET(p->nr_threads); i++) {
		struct fuzz_thread *t = &p->threads[i];

		if (t->seen != t->parked)
			fuzz_fail(p, "thread %d, %s, was on %d lists",
				  GET(t->tid), t->parked ? "a worker" :
				  "no worker", t->seen);
	}
	for (int i = 0; i < found; i++) {
		next = ums_next(last->fd, contexts[i]);
		if (next != (i + 1 < found ? contexts[i + 1] : 0))
			fuzz_fail(p, "after context %d comes %d",
				  contexts[i], next);
	}
}

static void on_event(struct last *last, int ret, const struct ums_event *event)
{
	if (ret == -ENODEV && GET(last->p->closes))
		last->closed = true;
	if (ret)
		return;
	fuzz_event_read(last->p, event);
	if (event->type == THREAD_TERMINATED)
		last->live--;
}

static bool owned(struct last *last, struct fuzz_thread *t)
{
	struct ums_query query;

	return t->parked && !ums_query(last->fd, GET(t->tid), &query) &&
	       query.state == UMS_STATE_READY && query.scheduler == gettid();
}

/*
 * A worker may still be about to do something: to hand over to another one, or to
 * signal the process, which ends the wait for it.  So it is not always known who
 * runs, and the last one may not have stopped.  All are seen to in turn, again.
 */
static void run(struct last *last, struct fuzz_thread *t, __u64 how)
{
	__u64 slice = how & 1 ? 0 : 100000 + (how >> 8) % 3000000;
	struct fuzz_proc *p = last->p;
	struct ums_event event;
	int ret;

	ret = ums_run(last->fd, GET(t->tid), slice, &event);
	on_event(last, ret, &event);
	if (!ret || ret == -EAGAIN || last->closed)
		return;
	if (ret != -EINTR && ret != -EBUSY && ret != -ESRCH)
		fuzz_fail(p, "worker %d cannot go on: %d", GET(t->tid), ret);
	for (int i = 0; i < GET(p->nr_threads); i++)
		fuzz_kick(p, &p->threads[i]);
	on_event(last, ums_wait(last->fd, 0, 2000000, &event), &event);
}

static void run_all(struct last *last, __u64 rng)
{
	long end = ums_now_ms() + 2 * SOON_MS;
	struct fuzz_proc *p = last->p;
	struct ums_event event;
	char byte = 0;

	/* Some may still be about to read. */
	for (int i = 0; i < 2 * FUZZ_SLOTS; i++)
		if (write(p->pipe[1], &byte, 1) < 0)
			break;
	while (last->live && !last->closed) {
		int most = GET(p->max_clist);

		if (ums_now_ms() > end)
			fuzz_fail(p, "%d workers do not end", last->live);
		for (int clist = 1; clist <= most; clist++)
			take(last, clist, NULL);
		for (int i = 0; i < GET(p->nr_threads) && !last->closed; i++)
			if (owned(last, &p->threads[i]))
				run(last, &p->threads[i], fuzz_random(&rng));
		/* The others are blocked, or run still. */
		on_event(last, ums_wait(last->fd, 0, 1000000, &event), &event);
	}
}

static void join_all(struct fuzz_proc *p)
{
	for (int i = 0; i < GET(p->nr_threads); i++) {
		long end = ums_now_ms() + SOON_MS;

		/* Without the device they are in whatever call there is. */
		while (!GET(p->threads[i].done)) {
			char byte = 0;

			if (ums_now_ms() > end)
				fuzz_fail(p, "thread %d does not end",
					  GET(p->threads[i].tid));
			fuzz_kick(p, &p->threads[i]);
			if (write(p->pipe[1], &byte, 1) < 0)
				ums_sleep_ms(1);
			ums_sleep_ms(1);
		}
		pthread_join(p->threads[i].thread, NULL);
	}
}

/* Nothing is left that belongs to a thread which has been joined. */
static void check_rest(struct fuzz_proc *p, int fd)
{
	struct ums_query query;
	int ret;

	for (int i = 0; i < GET(p->nr_threads); i++)
		if (!WAIT_FOR(ums_query(fd, GET(p->threads[i].tid), &query) ==
			      -ESRCH))
			fuzz_fail(p, "thread %d is gone, its worker is not",
				  GET(p->threads[i].tid));
	for (int clist = 1; clist <= UMS_MAX_CLISTS; clist++) {
		ret = ums_delete(fd, clist);
		if (ret && ret != -EINVAL)
			fuzz_fail(p, "list %d cannot be deleted: %d", clist,
				  ret);
	}
}

static void close_all(struct fuzz_proc *p)
{
	int fd;

	for (int i = 0; i < FUZZ_DUPS; i++) {
		fd = atomic_exchange(&p->dups[i], -1);
		if (fd >= 0)
			close(fd);
	}
	fd = atomic_exchange(&p->fd, -1);
	if (fd >= 0)
		close(fd);
}

bool fuzz_proc_gone(pid_t pid)
{
	return WAIT_FOR(!ums_exists(UMS_PROC "/%d", pid));
}

static bool reopen(struct fuzz_proc *p)
{
	p->fd = ums_open();
	return GET(p->fd) >= 0;
}

void fuzz_check(struct fuzz_proc *p)
{
	__u64 rng = p->seed ^ 0x5eed;
	struct last last = {
		.p = p,
		.fd = device(p),
		.flags = fuzz_random(&rng) & 3,
	};

	p->phase = "check";
	if (last.fd < 0) {
		/* All have left, or are about to. */
		if (!WAIT_FOR(reopen(p)))
			fuzz_fail(p, "the device cannot be opened again: %d",
				  GET(p->fd));
		last.fd = GET(p->fd);
	}
	for (int i = 0; i < GET(p->nr_threads); i++)
		last.live += p->threads[i].parked;
	check_proc(p, last.live);
	for (int i = 0; p->strict && i < GET(p->nr_threads); i++)
		if (p->threads[i].parked)
			check_account(p, &p->threads[i], last.fd);

	if (GET(p->max_clist) < 2)
		p->max_clist = 2;
	p->clists[0] = ums_create(last.fd);
	if (p->clists[0] > GET(p->max_clist))
		p->max_clist = GET(p->clists[0]);
	if (ums_enter_sched(last.fd, GET(p->clists[0]), last.flags))
		fuzz_fail(p, "the last scheduler cannot enter");
	take_all(&last);
	p->phase = "end";
	p->stop = 2;
	run_all(&last, rng);
	p->phase = "join";
	join_all(p);
	check_ends(p);
	if (!last.closed) {
		if (ums_exit(last.fd))
			fuzz_fail(p, "the last scheduler cannot leave");
		check_rest(p, last.fd);
	}
	p->phase = "close";
	close_all(p);
	if (!fuzz_proc_gone(getpid()))
		fuzz_fail(p, "the device is closed, its procfs entry is there");
}
