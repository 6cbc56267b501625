// SPDX-License-Identifier: GPL-2.0
/*
 * ums_fuzz: decisions, which operation comes next and with what arguments.
 *
 * What a thread does comes from its seed alone.  Only what an operation is done
 * to, the context that it has just dequeued or some thread of the process, has
 * to do with what happened before.
 */
#include "ums_fuzz.h"

const char * const fuzz_names[NR_OPS] = {
	"create", "delete", "enter_sched", "enter_work", "dqevent",
	"dequeue_clist", "next", "exec", "yield", "exit", "run", "wait",
	"dequeue", "switch", "preempt", "query", "clist_fd", "unknown",
	"nap", "sched_yield", "getppid", "spin", "pipe_read",
	"pipe_write", "futex", "signal", "mask", "affinity", "priority",
	"map", "scribble", "dup", "close", "open", "proc_read",
	"proc_link", "poll", "fork", "spawn", "kill_thread", "die",
	"execve",
};

/* How often of how many, by what a thread likes to be. */
static const __u16 weights[ROLE_MIXED][NR_OPS] = {
	[ROLE_SCHED] = {
		[OP_CREATE] = 2, [OP_DELETE] = 2, [OP_ENTER_SCHED] = 20,
		[OP_ENTER_WORK] = 1, [OP_DQEVENT] = 3, [OP_DEQUEUE_CLIST] = 3,
		[OP_NEXT] = 10, [OP_EXEC] = 40, [OP_YIELD] = 1, [OP_EXIT] = 1,
		[OP_RUN] = 160, [OP_WAIT] = 40, [OP_DEQUEUE] = 120,
		[OP_SWITCH] = 1, [OP_PREEMPT] = 4, [OP_QUERY] = 8,
		[OP_CLIST_FD] = 2, [OP_UNKNOWN] = 2, [OP_NAP] = 1,
		[OP_SCHED_YIELD] = 4, [OP_PIPE_WRITE] = 8, [OP_FUTEX] = 2,
		[OP_SIGNAL] = 4, [OP_MASK] = 2, [OP_AFFINITY] = 2,
		[OP_PRIORITY] = 2, [OP_MAP] = 2, [OP_SCRIBBLE] = 2,
		[OP_PROC_READ] = 2, [OP_PROC_LINK] = 1, [OP_POLL] = 2,
		[OP_SPAWN] = 3, [OP_DIE] = 1, [OP_EXECVE] = 2,
	},
	[ROLE_WORKER] = {
		[OP_CREATE] = 1, [OP_DELETE] = 1, [OP_ENTER_SCHED] = 1,
		[OP_ENTER_WORK] = 30, [OP_DEQUEUE] = 1, [OP_EXEC] = 1,
		[OP_YIELD] = 100, [OP_EXIT] = 1, [OP_RUN] = 1,
		[OP_SWITCH] = 40, [OP_PREEMPT] = 12, [OP_QUERY] = 12,
		[OP_UNKNOWN] = 2, [OP_NAP] = 12, [OP_SCHED_YIELD] = 20,
		[OP_GETPPID] = 60, [OP_SPIN] = 30, [OP_PIPE_READ] = 12,
		[OP_PIPE_WRITE] = 20, [OP_FUTEX] = 12, [OP_SIGNAL] = 8,
		[OP_MASK] = 6, [OP_AFFINITY] = 4, [OP_PRIORITY] = 4,
		[OP_MAP] = 4, [OP_SCRIBBLE] = 2, [OP_PROC_READ] = 2,
		[OP_SPAWN] = 2, [OP_DIE] = 1, [OP_FORK] = 1, [OP_EXECVE] = 2,
	},
	[ROLE_PLAIN] = {
		[OP_CREATE] = 10, [OP_DELETE] = 12, [OP_ENTER_SCHED] = 2,
		[OP_ENTER_WORK] = 2, [OP_DQEVENT] = 3, [OP_DEQUEUE_CLIST] = 3,
		[OP_NEXT] = 3, [OP_EXEC] = 3, [OP_YIELD] = 3, [OP_EXIT] = 10,
		[OP_RUN] = 3, [OP_WAIT] = 3, [OP_DEQUEUE] = 3, [OP_SWITCH] = 3,
		[OP_PREEMPT] = 60, [OP_QUERY] = 60, [OP_CLIST_FD] = 10,
		[OP_UNKNOWN] = 6, [OP_NAP] = 10, [OP_SCHED_YIELD] = 20,
		[OP_PIPE_WRITE] = 60, [OP_FUTEX] = 6, [OP_SIGNAL] = 60,
		[OP_MASK] = 2, [OP_AFFINITY] = 12, [OP_PRIORITY] = 8,
		[OP_MAP] = 40, [OP_SCRIBBLE] = 60, [OP_DUP] = 6,
		[OP_CLOSE] = 3, [OP_OPEN] = 6, [OP_PROC_READ] = 24,
		[OP_PROC_LINK] = 8, [OP_POLL] = 12, [OP_FORK] = 2,
		[OP_SPAWN] = 6, [OP_KILL_THREAD] = 2, [OP_DIE] = 1,
		[OP_EXECVE] = 2,
	},
	/* Never sleeps, so that the others have somebody to race with. */
	[ROLE_HAMMER] = {
		[OP_CREATE] = 8, [OP_DELETE] = 10, [OP_NEXT] = 20,
		[OP_EXEC] = 20, [OP_YIELD] = 20, [OP_EXIT] = 10, [OP_RUN] = 20,
		[OP_WAIT] = 10, [OP_DEQUEUE] = 10, [OP_SWITCH] = 20,
		[OP_PREEMPT] = 200, [OP_QUERY] = 400, [OP_CLIST_FD] = 20,
		[OP_UNKNOWN] = 20, [OP_GETPPID] = 20, [OP_PIPE_WRITE] = 60,
		[OP_SIGNAL] = 10, [OP_MAP] = 4, [OP_SCRIBBLE] = 100,
		[OP_PROC_READ] = 4, [OP_PROC_LINK] = 10,
		[OP_SCHED_YIELD] = 400,
	},
};

void fuzz_op_draw(struct fuzz_thread *t, struct fuzz_op *op)
{
	__u64 first = fuzz_random(&t->rng);
	const __u16 *weight;
	unsigned int sum = 0, at;

	op->how = first >> 8;
	op->pick = first >> 16;
	op->a = first >> 32;
	op->b = fuzz_random(&t->rng);
	weight = weights[t->role == ROLE_MIXED ? first % ROLE_MIXED : t->role];
	for (int i = 0; i < NR_OPS; i++)
		sum += weight[i];
	at = fuzz_random(&t->rng) % sum;
	for (op->what = 0; at >= weight[op->what]; op->what++)
		at -= weight[op->what];
}

struct fuzz_thread *fuzz_find(struct fuzz_proc *p, pid_t tid)
{
	int nr = GET(p->nr_threads);

	for (int i = 0; tid > 0 && i < nr; i++)
		if (GET(p->threads[i].tid) == tid)
			return &p->threads[i];
	return NULL;
}

/* --- arguments --- */

long fuzz_pick_boundary(struct fuzz_thread *t, const struct fuzz_op *op)
{
	static const long values[] = {
		0, 1, -1, INT_MAX, INT_MIN, UINT_MAX, LONG_MAX, LONG_MIN,
		UMS_MAX_CLISTS, UMS_MAX_CLISTS + 1, 1L << 32,
	};

	if (op->pick % 16 == 15)
		return (1L << 32) | GET(t->tid);
	return values[op->pick % ARRAY_SIZE(values)];
}

pid_t fuzz_pick_tid(struct fuzz_proc *p, const struct fuzz_op *op)
{
	return GET(p->threads[op->pick % GET(p->nr_threads)].tid);
}

long fuzz_pick_context(struct fuzz_thread *t, const struct fuzz_op *op)
{
	switch (op->how & 15) {
	case 0:
		return fuzz_pick_boundary(t, op);
	case 1:
		return GET(t->tid);
	case 2:
	case 3:
		return fuzz_pick_tid(t->proc, op);
	}
	if (t->nr_owned)
		return t->owned[op->pick % t->nr_owned];
	/* A worker may switch to what its scheduler has dequeued. */
	return GET(t->proc->recent[op->pick % FUZZ_RECENT]);
}

long fuzz_pick_clist(struct fuzz_thread *t, const struct fuzz_op *op)
{
	/* Most of them from few, so that they meet. */
	unsigned int from = (op->b >> 16 & 7) ? 2 : FUZZ_CLISTS;

	if ((op->how >> 4) == 15)
		return fuzz_pick_boundary(t, op);
	return GET(t->proc->clists[op->a % from]);
}

/*
 * Where an argument is: on the stack, or at a bad address, or in the arena,
 * where other threads scribble and change the mapping.
 */
void *fuzz_place(struct fuzz_thread *t, const struct fuzz_op *op, void *arg,
		 size_t size)
{
	static const unsigned long bad[] = {
		0, 8, -1UL, -8UL, 0xffff888000000000UL, 0xffffffff81000000UL,
		0x7ffffffff000UL - 8, 1UL << 63,
	};
	struct iovec from = { arg, size }, to = { NULL, size };
	unsigned long offset = op->b >> 8;

	if (t->proc->strict || (op->b & 3))
		return arg;
	if ((op->b & 0xf0) == 0)
		return (void *)bad[offset % ARRAY_SIZE(bad)];
	offset %= FUZZ_ARENA_PAGES * FUZZ_PAGE;
	/* One half of them across the end of a page. */
	if (op->b & 4)
		offset = (offset | (FUZZ_PAGE - 1)) - offset % size;
	to.iov_base = (void *)(FUZZ_ARENA + offset);
	if (op->b & 8) {
		process_vm_writev(getpid(), &from, 1, &to, 1, 0);
		fuzz_count(t, 1);
	}
	return to.iov_base;
}
