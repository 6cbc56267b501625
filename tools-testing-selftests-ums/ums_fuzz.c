// SPDX-License-Identifier: GPL-2.0
/*
 * ums_fuzz: a program that does to /dev/ums whatever comes to its mind.
 *
 * usage: ums_fuzz [--seed N] [--ops N] [--secs N] [--procs N] [--threads N]
 *		   [--epoch N] [--corpus FILE] [--pcs FILE] [--verbose]
 *
 * Processes with several threads each make random calls with random arguments,
 * while they signal, stop, kill and unmap each other.  After some thousand
 * calls, an epoch, all of them are brought to a rest and compared with what must
 * be so, see ums_fuzz_model.c.  Where the kernel has KCOV, sequences of calls
 * that reach something new in the driver are done again with changes.
 *
 * A failure is printed with the seed and the number of the epoch.  With
 * "--seed N --epoch E" the same decisions are made again, from that epoch on;
 * when threads run is up to the kernel, so that it may take more than one try.
 * Decisions that came from the corpus need that as well (--corpus).
 *
 * In a virtual machine on a busy host most of the time goes by in waiting for
 * its processors to wake up; boot it with "idle=poll".
 *
 * Exit status: 0, 1 for a failure, 4 without the device.
 */
#include "ums_fuzz.h"

/* How long a process may take for an epoch, and for the checks after it. */
#define HANG_MS		120000

struct fuzz_shared *fuzz;

/* splitmix64 */
__u64 fuzz_random(__u64 *rng)
{
	__u64 z = *rng += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* --- failures --- */

static void show_file(const char *path)
{
	char line[256];
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof(line), file))
		fprintf(stderr, "      %s", line);
	if (file)
		fclose(file);
}

static void show_thread(struct fuzz_proc *p, struct fuzz_thread *t)
{
	pid_t pid = GET(p->pid), tid = GET(t->tid);
	char path[96];

	fprintf(stderr, "    %d: %s, %c, %lu calls, entered %lu, executed %lu, in %s, %c\n",
		tid, GET(t->done) ? "ended" : GET(t->worker) ? "worker" :
		t->sched ? "scheduler" : "plain",
		"SWPHM"[t->role], GET(t->ops),
		GET(t->enlisted), GET(t->executed), fuzz_names[GET(t->last)],
		GET(t->done) || pid != getpid() ? '-' : ums_task_state(tid));
	if (GET(t->done))
		return;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stack", pid, tid);
	show_file(path);
	ums_worker_info(path, pid, tid);
	show_file(path);
	ums_sched_info(path, pid, tid);
	show_file(path);
}

static void show(struct fuzz_proc *p)
{
	fprintf(stderr, "  process %d, %s epoch%s, in \"%s\", %d closes, threads:\n",
		GET(p->pid), p->strict ? "strict" : "wild",
		p->traced ? ", traced" : "", p->phase, GET(p->closes));
	for (int i = 0; i < GET(p->nr_threads); i++)
		show_thread(p, &p->threads[i]);
}

/* Only the first failure is told; others may follow from it. */
void fuzz_fail(struct fuzz_proc *p, const char *format, ...)
{
	va_list args;

	if (!atomic_exchange(&fuzz->failed, 1)) {
		fflush(stdout);
		fprintf(stderr, "ums_fuzz: FAILED with --seed %lu --epoch %lu",
			fuzz->seed, p->epoch);
		fprintf(stderr, " --procs %lu --threads %lu: ", fuzz->procs,
			fuzz->threads);
		va_start(args, format);
		vfprintf(stderr, format, args);
		va_end(args);
		fprintf(stderr, "\n");
		show(p);
	}
	fflush(stderr);
	_exit(1);
}

/* --- epochs --- */

static void start(struct fuzz_proc *p, unsigned long epoch)
{
	__u64 rng = fuzz->seed + epoch * 0x2545f4914f6cdd1dULL;
	__u64 what = fuzz_random(&rng);
	pid_t child;

	memset(p, 0, sizeof(*p));
	p->epoch = epoch;
	p->seed = fuzz_random(&rng);
	p->strict = (what & 3) < 2;
	p->traced = (what >> 2 & 3) == 0;
	p->started_ms = ums_now_ms();
	p->phase = "fork";
	if (!p->strict && (what >> 4 & 7) == 0)
		p->kill_ms = 20 + (what >> 8) % 2000;
	fflush(stdout);
	child = fork();
	if (child < 0) {
		perror("ums_fuzz: fork");
		exit(1);
	}
	if (!child)
		fuzz_epoch(p);
	p->pid = child;
	if (fuzz->verbose)
		printf("epoch %lu: process %d, %s%s%s\n", epoch, child,
		       p->strict ? "strict" : "wild",
		       p->traced ? ", traced" : "",
		       p->kill_ms ? ", to be killed" : "");
}

/* Was it killed, or the program that it has become found by a signal? */
static bool was_killed(struct fuzz_proc *p, int status)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	return p->kill_ms && (sig == SIGKILL || sig == SIGUSR1 ||
			      sig == SIGUSR2 || sig == SIGTRAP ||
			      sig >= SIGRTMIN);
}

/* The process of an epoch has ended. */
static void ended(struct fuzz_proc *p, int status)
{
	pid_t pid = GET(p->pid);

	if (GET(fuzz->failed))
		exit(1);
	if (!WIFEXITED(status) && !was_killed(p, status))
		fuzz_fail(p, "the process died, status %#x", status);
	if (WIFEXITED(status) && WEXITSTATUS(status))
		fuzz_fail(p, "the process exited with %d",
			  WEXITSTATUS(status));
	if (!fuzz_proc_gone(pid))
		fuzz_fail(p, UMS_PROC "/%d is there, the process is not", pid);
	if (fuzz->verbose) {
		unsigned long ops = 0;

		for (int i = 0; i < GET(p->nr_threads); i++)
			ops += GET(p->threads[i].ops);
		printf("epoch %lu: %lu calls of %d threads, %ld ms, checks %ld ms\n",
		       p->epoch, ops, GET(p->nr_threads),
		       p->stopped_ms - p->started_ms,
		       ums_now_ms() - p->stopped_ms);
	}
	p->pid = 0;
}

static void watch(struct fuzz_proc *p)
{
	long age = ums_now_ms() - p->started_ms;
	pid_t pid = GET(p->pid);
	int status;

	if (waitpid(pid, &status, WNOHANG) == pid) {
		ended(p, status);
		return;
	}
	if (p->kill_ms && age > p->kill_ms) {
		if (!p->stopped_ms)
			p->stopped_ms = ums_now_ms();
		kill(pid, SIGKILL);
		return;
	}
	/* A debugger that was killed may have left it stopped. */
	if (age > HANG_MS / 4)
		kill(pid, SIGCONT);
	if (age > HANG_MS)
		fuzz_fail(p, "no progress for %d s", HANG_MS / 1000);
}

static void show_progress(long started_ms, unsigned long epochs)
{
	double secs = (ums_now_ms() - started_ms + 1) / 1000.0;

	printf("ums_fuzz: %.0f s, %lu operations, %.0f/s, %lu epochs, %lu accounts, events",
	       secs, GET(fuzz->ops), GET(fuzz->ops) / secs, epochs,
	       GET(fuzz->checked));
	for (int i = SCHEDULER_STARTUP; i < FUZZ_EVENTS; i++)
		printf(" %lu", GET(fuzz->events[i]));
	if (fuzz->kcov)
		printf(", %u PCs covered, corpus %u", GET(fuzz->nr_pcs),
		       GET(fuzz->nr_corpus));
	printf("\n");
	fflush(stdout);
}

static void fuzz_run(unsigned long epoch)
{
	unsigned long first = epoch;
	long started = ums_now_ms(), told = started;

	while (1) {
		long now = ums_now_ms();
		bool over = (fuzz->max_ops && GET(fuzz->ops) >= fuzz->max_ops) ||
			    (fuzz->secs && now - started >= (long)fuzz->secs * 1000);
		bool busy = false;

		for (unsigned long i = 0; i < fuzz->procs; i++) {
			struct fuzz_proc *p = &fuzz->proc[i];

			if (GET(p->pid))
				watch(p);
			if (!GET(p->pid) && !over)
				start(p, epoch++);
			busy |= !!GET(p->pid);
		}
		if (over && !busy)
			break;
		if (now - told >= 10000) {
			told = now;
			show_progress(started, epoch - first);
		}
		ums_sleep_ms(5);
	}
	show_progress(started, epoch - first);
}

static void show_counts(void)
{
	for (int i = 0; i < NR_OPS; i++)
		printf("  %-14s %10lu%s%lu\n", fuzz_names[i],
		       GET(fuzz->count[i]), i <= OP_CLIST_FD ? "  passed " :
		       "  ", i <= OP_CLIST_FD ? GET(fuzz->passed[i]) : 0);
}

/* --- the command line --- */

/* Return: the epoch to begin with. */
static unsigned long parse(int argc, char **argv)
{
	unsigned long epoch = 0;
	const struct ums_option options[] = {
		{ "seed", .number = &fuzz->seed, 0, ULONG_MAX },
		{ "ops", .number = &fuzz->max_ops, 1, ULONG_MAX },
		{ "secs", .number = &fuzz->secs, 1, INT_MAX },
		{ "procs", .number = &fuzz->procs, 1, FUZZ_PROCS },
		{ "threads", .number = &fuzz->threads, 1, FUZZ_SLOTS / 2 },
		{ "epoch", .number = &epoch, 0, ULONG_MAX },
		{ "corpus", .text = &fuzz->corpus_file },
		{ "pcs", .text = &fuzz->pcs_file },
		{ "verbose", .flag = &fuzz->verbose },
		{}
	};

	fuzz->seed = 1;
	fuzz->procs = 2;
	fuzz->threads = 10;
	fuzz->epoch_ops = 50000;
	ums_options(argc, argv, options);
	if (!fuzz->max_ops && !fuzz->secs)
		fuzz->secs = 60;
	return epoch;
}

int main(int argc, char **argv)
{
	unsigned long epoch;
	int fd;

	if (argc == 3 && !strcmp(argv[1], FUZZ_AFTER_EXEC))
		return fuzz_after_exec(argv[2]);
	fuzz = mmap(NULL, sizeof(*fuzz), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fuzz == MAP_FAILED)
		return 1;
	epoch = parse(argc, argv);
	fd = ums_open();
	if (fd < 0) {
		printf("ums_fuzz: %s\n", NO_DEVICE);
		return 4;
	}
	close(fd);
	fuzz_cover_init();
	if (fuzz->corpus_file)
		fuzz_corpus_load();
	printf("ums_fuzz: seed %lu, %lu processes, %lu threads, %s coverage\n",
	       fuzz->seed, fuzz->procs, fuzz->threads,
	       fuzz->kcov ? "with" : "without");
	fuzz_run(epoch);
	if (fuzz->corpus_file)
		fuzz_corpus_save();
	if (fuzz->pcs_file)
		fuzz_cover_save();
	if (fuzz->verbose)
		show_counts();
	printf("ums_fuzz: no failure\n");
	return 0;
}
