// SPDX-License-Identifier: GPL-2.0
/*
 * A process that dumps core while its workers are parked, blocked and running:
 * it ends, and all of its threads are in the core.
 */
#include <dirent.h>
#include <linux/elf.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/resource.h>

#include "ums_fixture.h"

#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define NR_NEW		2	/* never run */
#define NR_YIELDED	2	/* queued and dequeued */
#define NR_BLOCKED	3	/* in a call, in a futex, in a nap */
#define NR_WORKERS	(NR_NEW + NR_YIELDED + NR_BLOCKED + 1)
#define NR_THREADS	(NR_WORKERS + 3)	/* schedulers, main */

enum who { BY_MAIN, BY_SCHEDULER, BY_WORKER, BY_FAULT, BY_PARENT };

FIXTURE(coredump) {
	int fd;
	char dir[32];
	char pattern[256];
};

FIXTURE_VARIANT(coredump) {
	enum who who;
	int sig;
};

FIXTURE_VARIANT_ADD(coredump, abort_by_main) { BY_MAIN, SIGABRT };
FIXTURE_VARIANT_ADD(coredump, abort_by_scheduler) { BY_SCHEDULER, SIGABRT };
FIXTURE_VARIANT_ADD(coredump, abort_by_worker) { BY_WORKER, SIGABRT };
FIXTURE_VARIANT_ADD(coredump, fault_of_worker) { BY_FAULT, SIGSEGV };
FIXTURE_VARIANT_ADD(coredump, signal) { BY_PARENT, SIGQUIT };

FIXTURE_SETUP(coredump)
{
	char pattern[64];
	FILE *file;

	SETUP_FD(return);
	file = fopen(CORE_PATTERN, "re");
	if (geteuid() || !file) {
		close(self->fd);
		SKIP(return, "needs root and CONFIG_COREDUMP");
	}
	ASSERT_NE(NULL, fgets(self->pattern, sizeof(self->pattern), file));
	fclose(file);
	snprintf(self->dir, sizeof(self->dir), "/tmp/ums-core.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	snprintf(pattern, sizeof(pattern), "%s/core", self->dir);
	ASSERT_TRUE(ums_put(pattern, CORE_PATTERN));
}

/* Also when the test did not get to its end. */
FIXTURE_TEARDOWN_PARENT(coredump)
{
	struct dirent *entry;
	char path[300];
	DIR *dir;

	if (!*self->pattern)
		return;
	ums_put(self->pattern, CORE_PATTERN);
	dir = opendir(self->dir);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", self->dir,
			 entry->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
	rmdir(self->dir);
}

/*
 * The process.
 */
static struct {
	enum who who;
	int tell;
	struct ums_worker workers[NR_WORKERS];
	struct ums_sched scheds[2];
	pthread_mutex_t mutex;
} doomed = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void die(enum who who)
{
	if (doomed.who == who)
		abort();
}

static void block_in_call(struct ums_worker *worker)
{
	eventfd_t value;

	eventfd_read(worker->value, &value);
}

static void block_in_futex(struct ums_worker *worker)
{
	pthread_mutex_lock(&doomed.mutex);
}

static void block_in_nap(struct ums_worker *worker)
{
	ums_nap_us(3600 * 1000000L);
}

static void run_and_die(struct ums_worker *worker)
{
	int *nowhere = NULL;

	worker->stage = 1;
	/* Until the others are where they belong. */
	while (worker->stage == 1)
		;
	die(BY_WORKER);
	/* The compiler need not know. */
	asm volatile("" : "+r" (nowhere));
	if (doomed.who == BY_FAULT)
		*nowhere = 1;
	while (1)
		;
}

/* Runs one worker, which does not stop. */
static void run_runner(struct ums_sched *sched)
{
	struct ums_event event;
	struct ums_ready ready;

	ums_run(sched->fd, ums_take_one(sched->fd, sched->clist, &ready), 0,
		&event);
	_exit(60);
}

/* Leaves the others queued, owned and blocked. */
static void run_others(struct ums_sched *sched)
{
	struct ums_event event;
	struct ums_ready ready;

	for (int i = NR_NEW; i < NR_WORKERS - 1; i++) {
		int ret = ums_take_one(sched->fd, sched->clist, &ready);

		if (ret < 0 || ums_run(sched->fd, ret, 0, &event))
			_exit(61);
	}
	/* One of those that have yielded. */
	if (ums_take_one(sched->fd, sched->clist, &ready) < 0)
		_exit(62);
	sched->stage = 1;
	while (sched->stage == 1)
		usleep(1000);
	die(BY_SCHEDULER);
	/* Waits in the kernel, as a scheduler does. */
	ums_take(sched->fd, ums_create(sched->fd), 0, 0, &ready, 1);
	_exit(63);
}

static void live_and_dump(void)
{
	static void (* const fns[NR_WORKERS])(struct ums_worker *worker) = {
		ums_work_return, ums_work_return,
		ums_work_yield_forever, ums_work_yield_forever,
		block_in_call, block_in_futex, block_in_nap, run_and_die,
	};
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	pid_t tids[NR_THREADS];
	int fd = ums_open(), lists[3], count = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* A shell may have had them ignored, as it does for "&". */
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	if (fd < 0 || setrlimit(RLIMIT_CORE, &limit))
		_exit(50);
	for (int i = 0; i < 3; i++)
		lists[i] = ums_create(fd);
	pthread_mutex_lock(&doomed.mutex);
	for (int i = 0; i < NR_WORKERS; i++) {
		struct ums_worker *worker = &doomed.workers[i];
		int list = i < NR_NEW ? 2 : i == NR_WORKERS - 1;

		worker->granted = LOTS;
		worker->value = eventfd(0, 0);
		if (ums_worker_start(worker, fd, lists[list], fns[i]))
			_exit(51);
		tids[count++] = worker->tid;
	}
	for (int i = 0; i < 2; i++) {
		doomed.scheds[i] = (struct ums_sched) {
			.fn = i ? run_runner : run_others, .cpu = -1,
			.fd = fd, .clist = lists[i],
			.flags = i ? 0 : ENTER_UMS_BLOCK_EVENTS,
		};
		if (ums_sched_start(&doomed.scheds[i]) ||
		    !WAIT_FOR(doomed.scheds[i].tid))
			_exit(52);
		tids[count++] = doomed.scheds[i].tid;
	}
	tids[count++] = gettid();
	if (!WAIT_FOR(doomed.scheds[0].stage == 1 &&
		      doomed.workers[NR_WORKERS - 1].stage == 1))
		_exit(53);
	for (int i = 0; i < NR_BLOCKED; i++)
		if (ums_state(fd, tids[NR_NEW + NR_YIELDED + i]) !=
		    UMS_STATE_BLOCKED)
			_exit(54);
	if (write(doomed.tell, tids, sizeof(tids)) != sizeof(tids))
		_exit(55);
	die(BY_MAIN);
	doomed.scheds[0].stage = 2;
	doomed.workers[NR_WORKERS - 1].stage = 2;
	while (1)
		pause();
}

/*
 * The core file: the thread ids of its NT_PRSTATUS notes.
 */
static int read_core(const char *path, pid_t *tids, int max)
{
	char *map = MAP_FAILED, *note, *end;
	int fd = open(path, O_RDONLY | O_CLOEXEC), count = 0;
	struct elf64_hdr *header;
	struct elf64_phdr *phdr;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && st.st_size)
		map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -EIO;
	header = (struct elf64_hdr *)map;
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) ||
	    header->e_type != ET_CORE)
		return -ENOEXEC;
	phdr = (struct elf64_phdr *)(map + header->e_phoff);
	for (int i = 0; i < header->e_phnum; i++, phdr++) {
		if (phdr->p_type != PT_NOTE)
			continue;
		note = map + phdr->p_offset;
		end = note + phdr->p_filesz;
		while (note + sizeof(struct elf64_note) <= end) {
			struct elf64_note *nhdr = (struct elf64_note *)note;
			char *desc = note + sizeof(*nhdr) +
				     (nhdr->n_namesz + 3) / 4 * 4;

			if (nhdr->n_type == NT_PRSTATUS && count < max)
				tids[count++] =
					((struct elf_prstatus *)desc)->pr_pid;
			note = desc + (nhdr->n_descsz + 3) / 4 * 4;
		}
	}
	munmap(map, st.st_size);
	return count;
}

/*
 * Faults caught: the dump waits for ever for a thread that is parked or
 * blocked, or leaves it out.
 */
TEST_F_TIMEOUT(coredump, has_all_threads, LONG_TEST)
{
	pid_t child, tids[NR_THREADS], seen[2 * NR_THREADS];
	char path[64], numbered[80];
	int pipes[2], status, count;

	if (sizeof(long) != 8)
		SKIP(return, "reads 64-bit core files only");
	ASSERT_EQ(0, pipe(pipes));
	doomed.who = variant->who;
	doomed.tell = pipes[1];
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(self->fd);
		live_and_dump();
	}
	close(pipes[1]);
	ASSERT_EQ(sizeof(tids), read(pipes[0], tids, sizeof(tids)));
	if (variant->who == BY_PARENT) {
		ums_sleep_ms(QUIET_MS);
		ASSERT_EQ(0, kill(child, variant->sig));
	}
	status = ums_wait_child(child);
	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(variant->sig, WTERMSIG(status));
	EXPECT_TRUE(WCOREDUMP(status));
	EXPECT_TRUE(WAIT_FOR(!ums_exists(UMS_PROC "/%d", child)));

	/* With core_uses_pid the name has one more part. */
	snprintf(path, sizeof(path), "%s/core", self->dir);
	snprintf(numbered, sizeof(numbered), "%s.%d", path, child);
	count = read_core(access(path, R_OK) ? numbered : path, seen,
			  2 * NR_THREADS);
	EXPECT_EQ(NR_THREADS, count);
	for (int i = 0; i < NR_THREADS; i++) {
		int found = 0;

		for (int j = 0; j < count; j++)
			found += seen[j] == tids[i];
		EXPECT_EQ(1, found);
	}
}

TEST_HARNESS_MAIN
