// SPDX-License-Identifier: GPL-2.0
/*
 * ums_fuzz: the operations that are not on /dev/ums, but on what it stands on:
 * sleeps, signals, priorities, memory, descriptors, procfs, processes.
 */
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "ums_fuzz.h"

#define ARENA_SIZE	(FUZZ_ARENA_PAGES * FUZZ_PAGE)

static pid_t pick_tid(struct fuzz_thread *t, const struct fuzz_op *op)
{
	return op->how & 1 ? GET(t->tid) : fuzz_pick_tid(t->proc, op);
}

/* --- memory --- */

void fuzz_arena_reset(void)
{
	void *at = mmap((void *)FUZZ_ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (at != (void *)FUZZ_ARENA) {
		perror("ums_fuzz: arena");
		exit(1);
	}
}

static unsigned int map(const struct fuzz_op *op)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
		PROT_READ | PROT_WRITE,
	};
	unsigned int page = op->pick % FUZZ_ARENA_PAGES;
	unsigned int pages = 1 + op->a % (FUZZ_ARENA_PAGES - page);
	void *at = (void *)(FUZZ_ARENA + page * FUZZ_PAGE);
	size_t size = pages * FUZZ_PAGE;

	switch (op->how & 7) {
	case 0:
		return munmap(at, size), 1;
	case 1:
		return madvise(at, size, MADV_DONTNEED), 1;
	case 2:
	case 3:
		return mprotect(at, size, prots[op->how >> 3 & 3]), 1;
	default:
		mmap(at, size, prots[op->how >> 3 & 3],
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		return 1;
	}
}

/*
 * New contents for what another thread may just have given to the driver: what
 * it is now is no longer what it was when the driver looked first.
 */
static unsigned int scribble(struct fuzz_thread *t, const struct fuzz_op *op)
{
	__u64 words[8];
	struct iovec from = { words, sizeof(words) };
	struct iovec to = {
		(void *)(FUZZ_ARENA + op->a % (ARENA_SIZE - sizeof(words))),
		sizeof(words),
	};

	for (int i = 0; i < 8; i++)
		switch (op->b >> (4 * i) & 3) {
		case 0:
			words[i] = 0;
			break;
		case 1:
			words[i] = pick_tid(t, op);
			break;
		case 2:
			words[i] = op->b >> i;
			break;
		default:
			words[i] = op->how;
			break;
		}
	process_vm_writev(getpid(), &from, 1, &to, 1, 0);
	return 2;
}

/* --- signals and priorities --- */

static unsigned int signal_thread(struct fuzz_thread *t,
				  const struct fuzz_op *op)
{
	static const int signals[] = {
		SIGUSR1, SIGUSR1, SIGURG, SIGWINCH, SIGCONT, SIGCHLD,
	};
	int sig = signals[op->a % ARRAY_SIZE(signals)];

	/* Its handler yields. */
	if (op->how & 2)
		sig = SIGRTMIN;
	if (op->how & 4)
		kill(GET(t->proc->pid), sig);
	else
		syscall(SYS_tgkill, GET(t->proc->pid), pick_tid(t, op), sig);
	return 1;
}

static unsigned int mask(const struct fuzz_op *op)
{
	sigset_t set;

	/* SIGUSR1 is needed to get a thread out of a call. */
	sigemptyset(&set);
	for (int i = 0; i < 8; i++)
		if (op->a >> i & 1)
			sigaddset(&set, SIGRTMIN + i);
	pthread_sigmask(op->how & 1 ? SIG_SETMASK : SIG_UNBLOCK, &set, NULL);
	return 1;
}

static unsigned int affinity(struct fuzz_thread *t, const struct fuzz_op *op)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < 16; i++)
		if (op->a >> i & 1)
			CPU_SET(i, &set);
	sched_setaffinity(pick_tid(t, op), sizeof(set), &set);
	return 1;
}

static unsigned int priority(struct fuzz_thread *t, const struct fuzz_op *op)
{
	static const int policies[] = {
		SCHED_OTHER, SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_FIFO,
		SCHED_RR,
	};
	int policy = policies[op->a % ARRAY_SIZE(policies)];
	struct sched_param param = {
		.sched_priority = policy == SCHED_FIFO || policy == SCHED_RR,
	};

	if (op->how & 2)
		setpriority(PRIO_PROCESS, pick_tid(t, op), (int)(op->a % 40) - 20);
	else
		sched_setscheduler(pick_tid(t, op), policy, &param);
	return 1;
}

/* --- sleeps --- */

static unsigned int do_futex(struct fuzz_thread *t, const struct fuzz_op *op)
{
	struct timespec ts = { 0, op->a % 200000 };
	atomic_int *word = &t->proc->futex;

	if (op->how & 1) {
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, GET(*word), &ts);
	} else {
		atomic_fetch_add(word, 1);
		syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 + op->a % 4);
	}
	return 1;
}

/* --- descriptors --- */

static unsigned int duplicate(struct fuzz_proc *p, const struct fuzz_op *op)
{
	int fd = op->how & 1 ? dup(GET(p->fd)) : -1;

	/* The other half only closes. */
	fd = atomic_exchange(&p->dups[op->pick % FUZZ_DUPS], fd);
	if (fd < 0)
		return 1;
	close(fd);
	return 2;
}

static unsigned int open_device(struct fuzz_proc *p)
{
	int expected = -1, fd = ums_open();

	if (fd < 0) {
		if (fd != -EBUSY && fd != -EINTR)
			fuzz_fail(p, "open: %s", strerror(-fd));
		return 1;
	}
	if (p->strict)
		fuzz_fail(p, "the device is open, and opened once more");
	if (!atomic_compare_exchange_strong(&p->fd, &expected, fd))
		close(fd);
	return 2;
}

/* Mostly it is opened again at once, or it would be over for this epoch. */
static unsigned int close_device(struct fuzz_proc *p, const struct fuzz_op *op)
{
	int fd = op->b & 7 ? -1 : atomic_exchange(&p->fd, -1);

	if (fd < 0)
		return 0;
	atomic_fetch_add(&p->closes, 1);
	close(fd);
	return op->how & 7 ? 1 + open_device(p) : 1;
}

/* --- procfs --- */

/* Without the C library's streams: the thread may be killed in there. */
static unsigned int proc_read(struct fuzz_thread *t, const struct fuzz_op *op)
{
	char path[96], buf[512];
	unsigned int calls = 1;
	int fd;

	snprintf(path, sizeof(path), UMS_PROC "/%d/%s/%d%s", GET(t->proc->pid),
		 op->how & 2 ? "workers" : "schedulers", pick_tid(t, op),
		 op->how & 4 ? "/info" : op->how & 8 ? "/workers" : "");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return calls;
	if (op->how & 4)
		calls += 1 + (op->how & 8 ? read(fd, buf, 7) == 7 : 0);
	while (op->how & 4 ? read(fd, buf, sizeof(buf)) > 0 :
			     syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0)
		calls++;
	close(fd);
	return calls + 2;
}

static unsigned int proc_link(struct fuzz_thread *t, const struct fuzz_op *op)
{
	struct fuzz_proc *p = t->proc;
	int other = op->a % GET(p->nr_threads);
	char path[96], target[96];
	int worker, len;

	snprintf(path, sizeof(path), UMS_PROC "/%d/schedulers/%d/workers/%d",
		 GET(p->pid), GET(p->threads[other].tid), pick_tid(t, op));
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return 1;
	target[len] = 0;
	if (sscanf(target, UMS_PROC "/%*d/workers/%d", &worker) != 1 ||
	    !fuzz_find(p, worker))
		fuzz_fail(p, "%s -> %s", path, target);
	return 1;
}

/* --- processes --- */

/* The device is none of a child's, and it may have its own. */
static void forked(struct fuzz_proc *p, const struct fuzz_op *op)
{
	struct ums_event event = {};
	long ret = ums_call(GET(p->fd), op->how & 2 ? IOCTL_UMS_YIELD :
			    IOCTL_EXIT_UMS, 0);
	int fd, clist;

	if (ret != -EIO && ret != -EBADF && ret != -ENOTTY)
		_exit(101);
	if (op->how & 1)
		_exit(0);
	fd = ums_open();
	if (fd < 0)
		_exit(102);
	clist = ums_create(fd);
	if (clist != 1)
		_exit(103);
	if (ums_enter_sched(fd, clist, 0) || ums_dqevent(fd, &event) ||
	    event.type != SCHEDULER_STARTUP)
		_exit(104);
	if (op->how & 4)
		ums_exit(fd);
	if (op->how & 8)
		close(fd);
	_exit(0);
}

static unsigned int do_fork(struct fuzz_proc *p, const struct fuzz_op *op)
{
	int status;
	pid_t child;

	/* The C library's takes locks, with which a worker might be parked. */
	child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!child)
		forked(p, op);
	if (child > 0) {
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (WIFEXITED(status) && WEXITSTATUS(status))
			fuzz_fail(p, "the child's exit status is %d",
				  WEXITSTATUS(status));
	}
	return 4;
}

/*
 * The end of UMS for the process and all its threads: only where it is killed
 * anyway.
 */
static unsigned int do_execve(struct fuzz_proc *p, const struct fuzz_op *op)
{
	char fd[16];

	if (!p->kill_ms || op->b & 7)
		return 0;
	snprintf(fd, sizeof(fd), "%d", GET(p->fd));
	execl("/proc/self/exe", "ums_fuzz", FUZZ_AFTER_EXEC, fd, NULL);
	return 1;
}

/* The new program has nothing of the old one's, and may have its own. */
int fuzz_after_exec(const char *fd)
{
	struct ums_event event;
	long end = ums_now_ms() + SOON_MS;
	int clist, own;

	if (ums_exit(atoi(fd)) != -EBADF)
		return 105;
	/* The threads that execve() has killed may still be reaped. */
	do {
		own = ums_open();
	} while (own == -EBUSY && ums_now_ms() < end);
	if (own < 0)
		return 106;
	clist = ums_create(own);
	if (clist != 1 || ums_enter_sched(own, clist, 0) ||
	    ums_dqevent(own, &event) || event.type != SCHEDULER_STARTUP)
		return 107;
	return 0;
}

/* Returns how many system calls that were. */
unsigned int fuzz_op_sys(struct fuzz_thread *t, const struct fuzz_op *op)
{
	struct fuzz_proc *p = t->proc;
	char byte = 0;

	switch (op->what) {
	case OP_NAP:
		ums_nap_us(op->a % 300);
		return 1;
	case OP_SCHED_YIELD:
		sched_yield();
		return 1;
	case OP_GETPPID:
		getppid();
		return 1;
	case OP_SPIN:
		ums_spin_turns(op->a % 5000);
		return 0;
	case OP_PIPE_READ:
		return read(p->pipe[0], &byte, 1), 1;
	case OP_PIPE_WRITE:
		return write(p->pipe[1], &byte, 1), 1;
	case OP_FUTEX:
		return do_futex(t, op);
	case OP_SIGNAL:
		return signal_thread(t, op);
	case OP_MASK:
		return mask(op);
	case OP_AFFINITY:
		return affinity(t, op);
	case OP_PRIORITY:
		return priority(t, op);
	case OP_MAP:
		return map(op);
	case OP_SCRIBBLE:
		return scribble(t, op);
	case OP_DUP:
		return p->strict ? 0 : duplicate(p, op);
	case OP_CLOSE:
		return p->strict ? 0 : close_device(p, op);
	case OP_OPEN:
		return open_device(p);
	case OP_PROC_READ:
		return proc_read(t, op);
	case OP_PROC_LINK:
		return proc_link(t, op);
	case OP_FORK:
		return do_fork(p, op);
	case OP_SPAWN:
		/* The main thread does it, for the same reason as in do_fork(). */
		p->spawn = op->b | 1;
		return 0;
	case OP_KILL_THREAD:
		if (p->strict)
			return 0;
		/* Its handler does not return. */
		syscall(SYS_tgkill, GET(p->pid), pick_tid(t, op), SIGUSR2);
		return 1;
	case OP_DIE:
		fuzz_die(t, op->how);
		return 0;
	case OP_EXECVE:
		return do_execve(p, op);
	default:
		return 0;
	}
}

/* --- a debugger --- */

/* What a stopped thread was about to get, it gets; not what the stop made. */
static int stop_signal(int status)
{
	return status >> 16 || WSTOPSIG(status) == SIGTRAP ? 0 :
							      WSTOPSIG(status);
}

/* Waits a little for a stop of the thread. */
static bool stopped(struct fuzz_proc *p, pid_t tid, int *status)
{
	for (int i = 0; i < 100 && !GET(p->stop); i++) {
		pid_t ret = waitpid(tid, status, __WALL | WNOHANG);

		if (ret == tid)
			return WIFSTOPPED(*status);
		if (ret < 0)
			return false;
		ums_sleep_ms(1);
	}
	return false;
}

/*
 * In a process of its own: attaches to one thread after the other, stops it,
 * lets it go on, steps it, and stops and continues all of them.  What it still
 * holds when it ends is let go by the kernel.
 */
void fuzz_tracer(struct fuzz_proc *p, __u64 rng)
{
	pid_t pid = GET(p->pid);
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!GET(p->stop) && getppid() == pid) {
		/* Let go what stopped later than it was waited for. */
		pid_t late = waitpid(-1, &status, __WALL | WNOHANG);
		__u64 what = fuzz_random(&rng);
		pid_t tid = GET(p->threads[(what >> 8) %
					   GET(p->nr_threads)].tid);
		int sig = 0;

		if (late > 0 && WIFSTOPPED(status))
			ptrace(PTRACE_DETACH, late, 0, stop_signal(status));
		ums_nap_us(what >> 40 & 0x1fff);
		atomic_fetch_add(&fuzz->ops, 4);
		if ((what & 7) == 0) {
			kill(pid, SIGSTOP);
			ums_nap_us(what >> 20 & 0xfff);
			kill(pid, SIGCONT);
			continue;
		}
		if (tid <= 0 || ptrace(PTRACE_SEIZE, tid, 0, 0))
			continue;
		for (int i = what >> 3 & 3; i >= 0; i--) {
			ptrace(PTRACE_INTERRUPT, tid, 0, 0);
			if (!stopped(p, tid, &status))
				break;
			sig = stop_signal(status);
			if (what & 0x20)
				ums_nap_us(what >> 28 & 0x7ff);
			if (!i)
				break;
			ptrace(what & 0x40 ? PTRACE_SYSCALL : what & 0x80 ?
			       PTRACE_SINGLESTEP : PTRACE_CONT, tid, 0, sig);
			atomic_fetch_add(&fuzz->ops, 3);
		}
		ptrace(PTRACE_DETACH, tid, 0, sig);
		atomic_fetch_add(&fuzz->ops, 1);
	}
	kill(pid, SIGCONT);
	_exit(0);
}
