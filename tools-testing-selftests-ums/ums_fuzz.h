/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of ums_fuzz share.
 *
 * The first process starts others, one for each epoch: each opens the device,
 * has its threads do operations at random (ums_fuzz_ops.c), stops them, and
 * compares what is left with what must be (ums_fuzz_model.c).  All of them
 * write into one struct fuzz_shared, so that the first one can tell what a
 * process was doing that hangs or was killed.
 */
#ifndef UMS_FUZZ_H
#define UMS_FUZZ_H

#include <poll.h>
#include <stdarg.h>
#include <stdnoreturn.h>
#include <sys/uio.h>

#include "ums_test.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	((int)(sizeof(array) / sizeof((array)[0])))
#endif

#define FUZZ_PROCS	16
#define FUZZ_SLOTS	64	/* threads of a process in one epoch */
#define FUZZ_CLISTS	16	/* completion lists that are used again */
#define FUZZ_DUPS	8
#define FUZZ_RECENT	4	/* contexts that were dequeued last */
#define FUZZ_OWNED	64	/* contexts that a scheduler remembers */
#define FUZZ_EVENTS	(THREAD_PREEMPTED + 1)

/* A fixed place that the C library's own mappings do not come near. */
#define FUZZ_ARENA	0x20000000UL
#define FUZZ_ARENA_PAGES	8
#define FUZZ_PAGE	4096

/* The argument of the program that execve() starts. */
#define FUZZ_AFTER_EXEC	"--after-exec"

/* What fuzz_op_run() does; the order is that of the tables in ums_fuzz_pick.c. */
enum fuzz_what {
	OP_CREATE, OP_DELETE, OP_ENTER_SCHED, OP_ENTER_WORK, OP_DQEVENT,
	OP_DEQUEUE_CLIST, OP_NEXT, OP_EXEC, OP_YIELD, OP_EXIT, OP_RUN, OP_WAIT,
	OP_DEQUEUE, OP_SWITCH, OP_PREEMPT, OP_QUERY, OP_CLIST_FD, OP_UNKNOWN,
	OP_NAP, OP_SCHED_YIELD, OP_GETPPID, OP_SPIN, OP_PIPE_READ,
	OP_PIPE_WRITE, OP_FUTEX, OP_SIGNAL, OP_MASK, OP_AFFINITY, OP_PRIORITY,
	OP_MAP, OP_SCRIBBLE, OP_DUP, OP_CLOSE, OP_OPEN, OP_PROC_READ,
	OP_PROC_LINK, OP_POLL, OP_FORK, OP_SPAWN, OP_KILL_THREAD, OP_DIE,
	OP_EXECVE, NR_OPS
};

/* One decision.  A thread's are drawn from its seed, whatever happens. */
struct fuzz_op {
	__u8 what;
	__u8 how;
	__u16 pick;
	__u32 a;
	__u64 b;
};

/* What a thread prefers to do. */
enum fuzz_role {
	ROLE_SCHED, ROLE_WORKER, ROLE_PLAIN, ROLE_HAMMER, ROLE_MIXED, NR_ROLES
};

/**
 * struct fuzz_thread - a thread in one epoch; never used for a second one
 * @tid: its thread id; 0 until it runs
 * @done: it has made its last call
 * @ops: system calls made
 * @last: the operation that it is in
 * @worker: it believes to be a worker, or is about to
 * @enlisted: IOCTL_ENTER_UMS as a worker, begun
 * @yields: IOCTL_UMS_YIELD, begun
 * @handovers: IOCTL_UMS_SWITCH that succeeded
 * @in_switch: it is in IOCTL_UMS_SWITCH
 * @events: read about this thread, by type
 * @corpses: dequeued as UMS_READY_TERMINATED
 * @executed: calls that ran it
 * @parked: it is a worker, and parked, at the end
 * @seen: how often it was dequeued then
 */
struct fuzz_thread {
	struct fuzz_proc *proc;
	int slot;
	enum fuzz_role role;
	pthread_t thread;
	__u64 rng;
	atomic_int tid;
	atomic_int done;
	atomic_ulong ops;
	atomic_int last;
	atomic_int worker;
	atomic_ulong enlisted;
	atomic_ulong yields;
	atomic_ulong handovers;
	atomic_int in_switch;
	atomic_ulong events[FUZZ_EVENTS];
	atomic_ulong corpses;
	atomic_ulong executed;
	bool parked;
	int seen;
	unsigned long last_ops;

	/* Its own, as a scheduler: what it has dequeued, more or less. */
	bool sched;
	bool ending;
	unsigned int flags;
	int nr_owned;
	pid_t owned[FUZZ_OWNED];

	/* For kcov: what it did last, and what it does again. */
	int kcov_fd;
	unsigned long *kcov;
	struct fuzz_op history[32];
	unsigned int nr_history;
	int replay;		/* a corpus entry, or -1 */
	unsigned int replay_at;
};

/**
 * struct fuzz_proc - a process in one epoch
 * @strict: nothing is done after which events may get lost or belong to
 *	nobody; so each is accounted for
 * @kill_ms: the whole process is killed after that time, if not 0
 * @stop: no more operations; 2: workers end
 */
struct fuzz_proc {
	atomic_int pid;
	unsigned long epoch;
	__u64 seed;
	bool strict;
	bool traced;
	long kill_ms;
	long started_ms;
	long stopped_ms;
	const char *phase;
	atomic_int stop;
	atomic_int fd;
	atomic_int dups[FUZZ_DUPS];
	atomic_int clists[FUZZ_CLISTS];
	atomic_int recent[FUZZ_RECENT];
	atomic_int max_clist;
	atomic_int closes;
	atomic_ulong spawn;	/* a thread is wanted, with this seed */
	int pipe[2];
	atomic_int futex;
	atomic_int nr_threads;
	atomic_int live;
	struct fuzz_thread threads[FUZZ_SLOTS];
};

#define FUZZ_PCS	32768
#define FUZZ_CORPUS	1024
#define FUZZ_SEQUENCE	32

struct fuzz_sequence {
	atomic_uint nr;		/* 0 until it is complete */
	struct fuzz_op ops[FUZZ_SEQUENCE];
};

struct fuzz_shared {
	/* From the command line. */
	unsigned long seed;
	unsigned long max_ops;
	unsigned long secs;
	unsigned long procs;
	unsigned long threads;
	unsigned long epoch_ops;
	bool verbose;
	const char *corpus_file;
	const char *pcs_file;

	atomic_ulong ops;
	atomic_ulong count[NR_OPS];
	atomic_ulong passed[NR_OPS];
	atomic_ulong events[FUZZ_EVENTS];
	atomic_ulong checked;	/* workers whose accounts were compared */
	atomic_int failed;

	bool kcov;
	atomic_uint nr_pcs;
	atomic_ulong pcs[FUZZ_PCS];
	atomic_uint nr_corpus;
	struct fuzz_sequence corpus[FUZZ_CORPUS];

	struct fuzz_proc proc[FUZZ_PROCS];
};

extern struct fuzz_shared *fuzz;

/* ums_fuzz.c */
noreturn void fuzz_fail(struct fuzz_proc *p, const char *format, ...);
__u64 fuzz_random(__u64 *rng);

/* ums_fuzz_pick.c */
extern const char * const fuzz_names[NR_OPS];
void fuzz_op_draw(struct fuzz_thread *t, struct fuzz_op *op);
struct fuzz_thread *fuzz_find(struct fuzz_proc *p, pid_t tid);
pid_t fuzz_pick_tid(struct fuzz_proc *p, const struct fuzz_op *op);
long fuzz_pick_context(struct fuzz_thread *t, const struct fuzz_op *op);
long fuzz_pick_clist(struct fuzz_thread *t, const struct fuzz_op *op);
long fuzz_pick_boundary(struct fuzz_thread *t, const struct fuzz_op *op);
void *fuzz_place(struct fuzz_thread *t, const struct fuzz_op *op, void *arg,
		 size_t size);

/* ums_fuzz_ops.c */
void fuzz_count(struct fuzz_thread *t, unsigned int calls);
void fuzz_op_run(struct fuzz_thread *t, const struct fuzz_op *op);
void fuzz_settle(struct fuzz_thread *t);
void fuzz_event_read(struct fuzz_proc *p, const struct ums_event *event);
bool fuzz_cookie_fits(struct fuzz_thread *w, __u64 cookie);

/* ums_fuzz_sys.c: each returns how many system calls it made */
unsigned int fuzz_op_sys(struct fuzz_thread *t, const struct fuzz_op *op);
void fuzz_arena_reset(void);
void fuzz_tracer(struct fuzz_proc *p, __u64 rng);
int fuzz_after_exec(const char *fd);

/* ums_fuzz_proc.c */
extern __thread struct fuzz_thread *fuzz_self;
void fuzz_die(struct fuzz_thread *t, int how);
void fuzz_kick(struct fuzz_proc *p, struct fuzz_thread *t);
noreturn void fuzz_epoch(struct fuzz_proc *p);

/* ums_fuzz_cover.c */
void fuzz_cover_init(void);
void fuzz_cover_thread(struct fuzz_thread *t);
void fuzz_cover_begin(struct fuzz_thread *t, const struct fuzz_op *op);
void fuzz_cover_end(struct fuzz_thread *t);
bool fuzz_corpus_next(struct fuzz_thread *t, struct fuzz_op *op);
void fuzz_corpus_load(void);
void fuzz_corpus_save(void);
void fuzz_cover_save(void);

/* ums_fuzz_model.c */
void fuzz_quiesce(struct fuzz_proc *p);
void fuzz_check(struct fuzz_proc *p);
bool fuzz_proc_gone(pid_t pid);

#endif /* UMS_FUZZ_H */
