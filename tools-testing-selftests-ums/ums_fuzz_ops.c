// SPDX-License-Identifier: GPL-2.0
/*
 * ums_fuzz: the operations on /dev/ums, and what they may return.
 */
#include "ums_fuzz.h"

void fuzz_count(struct fuzz_thread *t, unsigned int calls)
{
	atomic_fetch_add_explicit(&t->ops, calls, memory_order_relaxed);
	atomic_fetch_add_explicit(&fuzz->ops, calls, memory_order_relaxed);
}

/* --- what calls may return --- */

#define ERRNOS	12

static const int errnos[][ERRNOS] = {
	[1] = { EFAULT, ENOMEM, ENOSPC },
	[2] = { EBUSY, EINVAL },
	[3] = { EEXIST, EFAULT, EINVAL, ENOMEM },
	[4] = { EFAULT, EINTR, ESRCH },
	[5] = { EFAULT, EIDRM, EINTR, EINVAL, ESRCH },
	[6] = { ESRCH },
	[7] = { ESRCH, EBUSY, EAGAIN, EINTR, ENOMEM },
	[8] = { ESRCH },
	[9] = { ESRCH },
	[10] = { EAGAIN, EBUSY, EFAULT, EINTR, EINVAL, ENOMEM, ESRCH,
		 ETIMEDOUT },
	[11] = { EAGAIN, EFAULT, EIDRM, EINTR, EINVAL, ESRCH, ETIMEDOUT },
	[12] = { EAGAIN, EBUSY, ESRCH },
	[13] = { EAGAIN, ESRCH },
	[14] = { EFAULT, EINVAL, ESRCH },
	[15] = { EINVAL, EMFILE, ENFILE, ENOMEM },
};

static bool may_fail(struct fuzz_proc *p, unsigned long request, int error)
{
	unsigned int nr = _IOC_NR(request);

	/* The descriptor was closed, or is something else by now. */
	if (!p->strict &&
	    (error == ENODEV || error == EBADF || error == ENOTTY))
		return true;
	if (request >> 32)	/* see unknown() */
		return error == ENOTTY;
	for (int i = 0; i < ERRNOS; i++)
		if (errnos[nr][i] == error)
			return true;
	return false;
}

static long call(struct fuzz_thread *t, unsigned long request,
		 unsigned long arg)
{
	struct fuzz_proc *p = t->proc;
	/* Through a copy of the descriptor, if there is one, now and then. */
	unsigned long op = GET(t->ops);
	int fd = GET(p->fd);
	long ret;

	if (op & 1 && GET(p->dups[op >> 1 & (FUZZ_DUPS - 1)]) >= 0)
		fd = GET(p->dups[op >> 1 & (FUZZ_DUPS - 1)]);
	/* The kernel takes 32 bits of a request. */
	ret = ums_call(fd, request & UINT_MAX, arg);
	fuzz_count(t, 1);
	if (ret < 0 && !may_fail(p, request, -ret))
		fuzz_fail(p, "%s: %#lx returned %ld (%s)",
			  fuzz_names[GET(t->last)], request, ret,
			  strerror(-ret));
	if (ret >= 0)
		atomic_fetch_add(&fuzz->passed[GET(t->last)], 1);
	return ret;
}

static void owned_add(struct fuzz_thread *t, pid_t context)
{
	t->proc->recent[context % FUZZ_RECENT] = context;
	if (t->nr_owned < FUZZ_OWNED)
		t->owned[t->nr_owned++] = context;
	else
		t->owned[context % FUZZ_OWNED] = context;
}

static void owned_remove(struct fuzz_thread *t, pid_t context)
{
	for (int i = 0; i < t->nr_owned; i++)
		if (t->owned[i] == context)
			t->owned[i--] = t->owned[--t->nr_owned];
}

/* One that entered with a struct in the arena has whatever was there. */
bool fuzz_cookie_fits(struct fuzz_thread *w, __u64 cookie)
{
	return !w->proc->strict || cookie == (__u64)w->slot + 1;
}

/* --- events --- */

/* An event that the caller has for itself. */
void fuzz_event_read(struct fuzz_proc *p, const struct ums_event *event)
{
	pid_t context = ums_event_context(event);
	struct fuzz_thread *w;

	if (!event->type || event->type >= FUZZ_EVENTS || event->reserved)
		fuzz_fail(p, "event of type %u, reserved %u", event->type,
			  event->reserved);
	for (unsigned int i = 2; i < ARRAY_SIZE(event->pad); i++)
		if (event->pad[i])
			fuzz_fail(p, "event of type %u with garbage",
				  event->type);
	atomic_fetch_add(&fuzz->events[event->type], 1);
	if (event->type == SCHEDULER_STARTUP)
		return;
	w = fuzz_find(p, context);
	if (!w || !GET(w->enlisted))
		fuzz_fail(p, "event of type %u about %d, which is no worker",
			  event->type, context);
	atomic_fetch_add(&w->events[event->type], 1);
	if (GET(w->events[THREAD_TERMINATED]) + GET(w->corpses) >
	    GET(w->enlisted))
		fuzz_fail(p, "worker %d ended once too often", context);
	if (GET(w->events[THREAD_YIELD]) > GET(w->yields))
		fuzz_fail(p, "worker %d yielded once too often", context);
}

static void event_read(struct fuzz_thread *t, const struct ums_event *event)
{
	fuzz_event_read(t->proc, event);
	if (t->flags & ENTER_UMS_KEEP && (event->type == THREAD_YIELD ||
					  event->type == THREAD_PREEMPTED))
		owned_add(t, ums_event_context(event));
}

static void executed(struct fuzz_thread *t, long context, long ret)
{
	struct fuzz_thread *w;

	if (ret != -EAGAIN)
		owned_remove(t, context);
	if (ret && ret != -EINTR)
		return;
	w = context == (pid_t)context ? fuzz_find(t->proc, context) : NULL;
	if (w)
		atomic_fetch_add(&w->executed, 1);
}

static void run(struct fuzz_thread *t, const struct fuzz_op *op, bool waits)
{
	struct ums_run run = { .context = 0 };
	struct ums_run *arg;
	long ret;

	if (!waits) {
		run.context = fuzz_pick_context(t, op);
		/* Mostly with a slice: then it ends. */
		if (op->a & 7)
			run.slice_ns = 1 + (op->a >> 3) % 2000000;
		if ((op->a & 0xf8) == 0)
			run.flags = op->b;
		if ((op->a & 0xf00) == 0)
			run.slice_ns = fuzz_pick_boundary(t, op);
	} else {
		run.flags = op->how & 1;
		if (!run.flags && op->how & 0xfe)
			run.timeout_ns = 1 + op->a % 500000;
		if ((op->a & 0xff) == 0)
			run.flags = op->b;
	}
	arg = fuzz_place(t, op, &run, sizeof(run));
	ret = call(t, IOCTL_UMS_RUN, (uintptr_t)arg);
	if (arg != &run)
		return;
	if (run.context)
		executed(t, run.context, ret);
	if (!ret)
		event_read(t, &run.event);
}

static void dqevent(struct fuzz_thread *t, const struct fuzz_op *op)
{
	struct ums_event event = {};
	struct ums_event *arg = fuzz_place(t, op, &event, sizeof(event));
	long ret = call(t, IOCTL_UMS_SCHED_DQEVENT, (uintptr_t)arg);

	if (!ret && arg == &event)
		event_read(t, &event);
}

static void dequeue(struct fuzz_thread *t, const struct fuzz_op *op)
{
	struct ums_ready ready[24];
	struct ums_dequeue dq = {
		.clist = fuzz_pick_clist(t, op),
		.flags = op->how & 7 ? UMS_NONBLOCK : 0,
		.nr = 1 + op->pick % 24,
	};
	void *array = ready;
	struct ums_dequeue *arg;
	long ret;

	memset(ready, 0, sizeof(ready));
	if (!dq.flags)
		dq.timeout_ns = op->a % 300000;
	if ((op->a & 0xff) == 0) {
		dq.flags = op->b;
		dq.reserved = op->b & 1;
	}
	if (!t->proc->strict && (op->b & 0x300) == 0x300) {
		array = (void *)(FUZZ_ARENA + (op->b >> 10) %
				 (FUZZ_ARENA_PAGES * FUZZ_PAGE));
		dq.nr = op->pick & 1 ? op->pick >> 8 : op->a;
	}
	dq.ready = (uintptr_t)array;
	arg = fuzz_place(t, op, &dq, sizeof(dq));
	ret = call(t, IOCTL_UMS_DEQUEUE, (uintptr_t)arg);
	if (arg != &dq || array != ready)
		return;
	if (ret > (long)dq.nr)
		fuzz_fail(t->proc, "dequeued %ld of %u", ret, dq.nr);
	for (long i = 0; i < ret; i++) {
		struct fuzz_thread *w = fuzz_find(t->proc, ready[i].context);

		if (!w || !fuzz_cookie_fits(w, ready[i].cookie) ||
		    !ready[i].why || ready[i].why > UMS_READY_TERMINATED)
			fuzz_fail(t->proc, "dequeued %d, why %u, cookie %llu",
				  ready[i].context, ready[i].why,
				  ready[i].cookie);
		if (ready[i].why == UMS_READY_TERMINATED)
			atomic_fetch_add(&w->corpses, 1);
		else
			owned_add(t, ready[i].context);
	}
}

static void dequeue_clist(struct fuzz_thread *t, const struct fuzz_op *op)
{
	struct ums_dequeue_clist dq = { .clist = fuzz_pick_clist(t, op) };
	struct ums_dequeue_clist *arg = fuzz_place(t, op, &dq, sizeof(dq));
	long ret = call(t, IOCTL_DEQUEUE_UMS_CLIST, (uintptr_t)arg);

	if (ret || arg != &dq)
		return;
	for (long next = dq.context, n = 0; next > 0 && n < 8; n++) {
		owned_add(t, next);
		next = call(t, IOCTL_NEXT_UMS_CTX_LIST, next);
	}
}

/* --- who takes part --- */

/*
 * Nothing may get lost in a strict epoch: the worker that may still run has to
 * stop, and its event to be read.
 */
void fuzz_settle(struct fuzz_thread *t)
{
	struct fuzz_proc *p = t->proc;
	struct ums_event event;
	char path[64];
	long end = ums_now_ms() + SOON_MS;
	long worker;

	ums_sched_info(path, GET(p->pid), GET(t->tid));
	while (1) {
		while (!ums_wait(GET(p->fd), UMS_NONBLOCK, 0, &event))
			event_read(t, &event);
		worker = ums_info_number(path, "worker");
		if (worker < 0)
			fuzz_fail(p, "no info of scheduler %d", GET(t->tid));
		if (!worker && !ums_info_number(path, "events"))
			return;
		if (ums_now_ms() > end)
			fuzz_fail(p, "scheduler %d: worker %ld does not stop",
				  GET(t->tid), worker);
		if (!ums_wait(GET(p->fd), 0, 2000000, &event))
			event_read(t, &event);
	}
}

static void leave(struct fuzz_thread *t)
{
	if (t->proc->strict && t->sched)
		fuzz_settle(t);
	if (!call(t, IOCTL_EXIT_UMS, 0)) {
		t->sched = false;
		t->worker = 0;
		t->nr_owned = 0;
	}
}

static void enter(struct fuzz_thread *t, const struct fuzz_op *op, __u32 mode)
{
	struct ums_enter enter = {
		.mode = mode,
		.clist = fuzz_pick_clist(t, op),
		.cookie = mode == ENTER_UMS_WORK ? t->slot + 1 : 0,
		.flags = mode == ENTER_UMS_SCHED ? op->pick & 3 : 0,
	};
	bool odd = (op->a & 0xff00) == 0;
	struct ums_enter *arg = &enter;
	bool enlists = false;
	long ret;

	/* The counts of an ended worker cannot be asked for. */
	if (t->proc->strict && mode == ENTER_UMS_WORK && GET(t->enlisted) &&
	    !t->worker)
		return;
	if (odd) {
		enter.flags |= op->b & 0xff;
		enter.reserved = op->b >> 8 & 1;
	} else if (!t->sched && !t->worker) {
		arg = fuzz_place(t, op, &enter, sizeof(enter));
	}
	/* What is in the arena may make it either; a strict epoch counts. */
	if (!t->proc->strict)
		atomic_fetch_add(&t->enlisted, 1);
	else if (mode == ENTER_UMS_WORK && !t->sched && !t->worker)
		enlists = true;
	if (enlists) {
		t->worker = 1;
		atomic_fetch_add(&t->enlisted, 1);
	}
	ret = call(t, IOCTL_ENTER_UMS, (uintptr_t)arg);
	if (!ret && mode == ENTER_UMS_SCHED && arg == &enter) {
		t->sched = true;
		t->flags = enter.flags;
	}
	if (ret < 0 && enlists) {
		t->worker = 0;
		atomic_fetch_sub(&t->enlisted, 1);
	}
}

static void create(struct fuzz_thread *t, const struct fuzz_op *op)
{
	struct fuzz_proc *p = t->proc;
	__s32 id = 0, *arg = fuzz_place(t, op, &id, sizeof(id));
	int most = GET(p->max_clist);

	if (call(t, IOCTL_CREATE_UMS_CLIST, (uintptr_t)arg) || arg != &id)
		return;
	if (id < 1 || id > UMS_MAX_CLISTS)
		fuzz_fail(p, "completion list %d", id);
	while (id > most &&
	       !atomic_compare_exchange_strong(&p->max_clist, &most, id))
		;
	/* Those that most are done with come first. */
	for (int i = 0; i < 2; i++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&p->clists[i], &none, id))
			return;
	}
	atomic_store(&p->clists[op->a % FUZZ_CLISTS], id);
}

static void delete(struct fuzz_thread *t, const struct fuzz_op *op)
{
	long clist = fuzz_pick_clist(t, op);

	/* Mostly not those that are in use. */
	if ((op->how >> 4) != 15 && op->b >> 20 & 7)
		clist = GET(t->proc->clists[2 + op->a % (FUZZ_CLISTS - 2)]);
	if (call(t, IOCTL_DELETE_UMS_CLIST, clist))
		return;
	for (int i = 0; i < FUZZ_CLISTS; i++) {
		int id = clist;

		atomic_compare_exchange_strong(&t->proc->clists[i], &id, 0);
	}
}

static void query(struct fuzz_thread *t, const struct fuzz_op *op)
{
	struct ums_query query = {
		.context = fuzz_pick_context(t, op),
		.flags = (op->a & 0xff) ? 0 : op->b,
	};
	struct ums_query *arg = fuzz_place(t, op, &query, sizeof(query));
	struct fuzz_thread *w;

	if (call(t, IOCTL_UMS_QUERY, (uintptr_t)arg) || arg != &query)
		return;
	w = fuzz_find(t->proc, query.context);
	if (!w || !fuzz_cookie_fits(w, query.cookie) || query.reserved[0] ||
	    query.state < UMS_STATE_RUNNING || query.state > UMS_STATE_BLOCKED)
		fuzz_fail(t->proc, "worker %d: state %u, cookie %llu",
			  query.context, query.state, query.cookie);
}

static void clist_fd(struct fuzz_thread *t, const struct fuzz_op *op)
{
	long fd = call(t, IOCTL_UMS_CLIST_FD, fuzz_pick_clist(t, op));

	if (fd < 0)
		return;
	if (op->what == OP_POLL) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		poll(&pfd, 1, op->a & 1);
		fuzz_count(t, 1);
	}
	close(fd);
	fuzz_count(t, 1);
}

static void switch_to(struct fuzz_thread *t, const struct fuzz_op *op)
{
	long ret;

	t->in_switch = 1;
	ret = call(t, IOCTL_UMS_SWITCH, fuzz_pick_context(t, op));
	if (!ret)
		atomic_fetch_add(&t->handovers, 1);
	t->in_switch = 0;
}

static const unsigned int known[ARRAY_SIZE(errnos)] = {
	0, IOCTL_CREATE_UMS_CLIST, IOCTL_DELETE_UMS_CLIST, IOCTL_ENTER_UMS,
	IOCTL_UMS_SCHED_DQEVENT, IOCTL_DEQUEUE_UMS_CLIST,
	IOCTL_NEXT_UMS_CTX_LIST, IOCTL_EXEC_UMS_CTX, IOCTL_UMS_YIELD,
	IOCTL_EXIT_UMS, IOCTL_UMS_RUN, IOCTL_UMS_DEQUEUE, IOCTL_UMS_SWITCH,
	IOCTL_UMS_PREEMPT, IOCTL_UMS_QUERY, IOCTL_UMS_CLIST_FD,
};

/* Call numbers that are none, and wrong sizes and magics. */
static void unknown(struct fuzz_thread *t, const struct fuzz_op *op)
{
	unsigned int request = op->b;

	if (op->how & 1)
		request = _IO(UMS_IOC_MAGIC, 0x10 + op->a % 0xf0);
	else if (op->how & 2)
		request = _IOC(op->a & 3, UMS_IOC_MAGIC, 0x20,
			       op->a >> 8 & 0x3fff);
	/* What the kernel does for every descriptor. */
	if (_IOC_TYPE(request) == 'T' || _IOC_TYPE(request) == 'f')
		return;
	for (unsigned int i = 1; i < ARRAY_SIZE(errnos); i++)
		if (request == known[i])
			return;
	call(t, request | 1UL << 32, op->a);
}

/* Returns false if it is not an operation on the device. */
static bool fuzz_op_ums(struct fuzz_thread *t, const struct fuzz_op *op)
{
	switch (op->what) {
	case OP_CREATE:
		create(t, op);
		break;
	case OP_DELETE:
		delete(t, op);
		break;
	case OP_ENTER_SCHED:
		enter(t, op, ENTER_UMS_SCHED);
		break;
	case OP_ENTER_WORK:
		enter(t, op, ENTER_UMS_WORK);
		break;
	case OP_DQEVENT:
		dqevent(t, op);
		break;
	case OP_DEQUEUE_CLIST:
		dequeue_clist(t, op);
		break;
	case OP_NEXT:
		call(t, IOCTL_NEXT_UMS_CTX_LIST, fuzz_pick_context(t, op));
		break;
	case OP_EXEC: {
		long context = fuzz_pick_context(t, op);

		executed(t, context, call(t, IOCTL_EXEC_UMS_CTX, context));
		break;
	}
	case OP_YIELD:
		atomic_fetch_add(&t->yields, 1);
		call(t, IOCTL_UMS_YIELD, op->b);
		break;
	case OP_EXIT:
		leave(t);
		break;
	case OP_RUN:
	case OP_WAIT:
		run(t, op, op->what == OP_WAIT);
		break;
	case OP_DEQUEUE:
		dequeue(t, op);
		break;
	case OP_SWITCH:
		switch_to(t, op);
		break;
	case OP_PREEMPT:
		call(t, IOCTL_UMS_PREEMPT, fuzz_pick_context(t, op));
		break;
	case OP_QUERY:
		query(t, op);
		break;
	case OP_CLIST_FD:
	case OP_POLL:
		clist_fd(t, op);
		break;
	case OP_UNKNOWN:
		unknown(t, op);
		break;
	default:
		return false;
	}
	return true;
}

void fuzz_op_run(struct fuzz_thread *t, const struct fuzz_op *op)
{
	t->last = op->what;
	atomic_fetch_add_explicit(&fuzz->count[op->what], 1,
				  memory_order_relaxed);
	if (!fuzz_op_ums(t, op))
		fuzz_count(t, fuzz_op_sys(t, op));
}
