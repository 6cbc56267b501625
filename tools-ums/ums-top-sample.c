// SPDX-License-Identifier: GPL-2.0
/*
 * ums-top: all that there is in /proc/ums, and in /proc of the same threads.
 *
 * Nothing holds still while it is read: threads come, go and change between two
 * files.  What has gone is left out, and each number carries the time at which
 * it was read.
 *
 * There may be many thousand workers, and most of them parked.  One that has not
 * been executed since the last sample has used no CPU time, so its second file is
 * read once, and again only when it has run or is shown.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ums-top.h"

#define UMS_PROC	"/proc/ums"

/**
 * struct reader - one sample being taken
 * @s: the sample
 * @before: the one before
 * @ums_dir: the directory of the process, schedulers or workers in /proc/ums
 * @task_dir: /proc/<pid>/task, or -1
 * @process: the process that is read, the last of the sample
 */
struct reader {
	struct sample *s;
	const struct sample *before;
	int ums_dir;
	int task_dir;
	struct process *process;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* ---- tables -------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return (x->tid > y->tid) - (x->tid < y->tid);
}

/* A new entry at the end, all zero.  Valid until the next one. */
static void *table_add(struct table *t)
{
	void *entry;

	if (t->nr == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->data = reallocarray(t->data, t->room, t->size);
		if (!t->data)
			err(1, NULL);
	}
	entry = (char *)t->data + t->nr++ * t->size;
	memset(entry, 0, t->size);
	return entry;
}

/* The same thread in another sample, or NULL if it was not there. */
static void *table_find(const struct table *t, const struct thread *wanted)
{
	struct thread *found;

	if (!t->nr)
		return NULL;
	found = bsearch(wanted, t->data, t->nr, t->size, compare_ids);
	if (found && found->ino == wanted->ino &&
	    found->switches <= wanted->switches)
		return found;
	return NULL;
}

/* The kernel lists names in this order, so there is mostly nothing to do. */
static void table_sort(struct table *t)
{
	const char *entry = t->data;
	size_t i;

	for (i = 1; i < t->nr; i++, entry += t->size) {
		if (compare_ids(entry, entry + t->size) > 0) {
			qsort(t->data, t->nr, t->size, compare_ids);
			return;
		}
	}
}

/* ---- rates --------------------------------------------------------------- */

static void set_rates(struct thread *t, const struct thread *before)
{
	static double tick;
	double time;

	if (!tick)
		tick = 100.0 / sysconf(_SC_CLK_TCK);
	t->rate = UNKNOWN;
	t->cpu = UNKNOWN;
	if (!before)
		return;
	time = t->read_at - before->read_at;
	if (time <= 0)
		return;
	t->rate = (t->switches - before->switches) / time;
	if (t->known && before->known && t->ticks >= before->ticks)
		t->cpu = (t->ticks - before->ticks) * tick / time;
}

/* ---- schedulers and workers ---------------------------------------------- */

/* A thread's info, and what both kinds have there. */
static bool read_info(struct reader *r, const struct dirent *entry, char *text,
		      struct thread *t)
{
	char name[NAME_MAX + 8];

	t->pid = r->process->thread.pid;
	t->tid = file_id(entry->d_name);
	t->ino = entry->d_ino;
	if (!t->tid)
		return false;
	snprintf(name, sizeof(name), "%d/info", t->tid);
	if (!file_read(r->ums_dir, name, text))
		return false;
	t->read_at = now();
	t->switches = info_number(text, "switches");
	return true;
}

static void read_thread(struct reader *r, struct thread *t)
{
	char name[32];

	snprintf(name, sizeof(name), "%d/stat", t->tid);
	file_read_stat(t, r->task_dir, name);
}

static void add_scheduler(struct reader *r, const struct dirent *entry)
{
	struct scheduler scheduler = { .thread.tid = 0 }, *s = &scheduler;
	struct thread *process = &r->process->thread;
	struct thread *before;
	char text[FILE_SIZE];

	if (!read_info(r, entry, text, &s->thread))
		return;
	s->list = info_number(text, "completion_list");
	s->worker = info_number(text, "worker");
	s->events = info_number(text, "events");
	if (info_is(text, "state", "running"))
		s->state = SCHEDULER_RUNNING;
	else
		s->state = s->worker ? SCHEDULER_EXECUTING : SCHEDULER_WAITING;

	read_thread(r, &s->thread);
	before = table_find(&r->before->schedulers, &s->thread);
	set_rates(&s->thread, before);

	r->process->schedulers++;
	process->switches += s->thread.switches;
	if (s->thread.rate != UNKNOWN)
		process->rate = s->thread.rate +
				(process->rate == UNKNOWN ? 0 : process->rate);
	memcpy(table_add(&r->s->schedulers), s, sizeof(*s));
}

static enum worker_state worker_state(const struct worker *w, const char *text)
{
	if (info_is(text, "state", "running"))
		return WORKER_RUNNING;
	if (info_is(text, "state", "blocked"))
		return WORKER_BLOCKED;
	return w->scheduler ? WORKER_OWNED : WORKER_QUEUED;
}

static void set_since(struct worker *w, const struct worker *before)
{
	w->changed_at = w->thread.read_at;
	w->since = UNKNOWN;
	if (!before)
		return;
	if (before->state == w->state &&
	    before->thread.switches == w->thread.switches)
		w->changed_at = before->changed_at;
	w->since = w->thread.read_at - w->changed_at;
}

static void add_worker(struct reader *r, const struct dirent *entry)
{
	struct worker worker = { .thread.tid = 0 }, *w = &worker;
	const struct worker *before;
	char text[FILE_SIZE];

	if (!read_info(r, entry, text, &w->thread))
		return;
	w->list = info_number(text, "completion_list");
	w->scheduler = info_number(text, "scheduler");
	w->cookie = info_number(text, "cookie");
	w->state = worker_state(w, text);

	before = table_find(&r->before->workers, &w->thread);
	if (before && before->thread.switches == w->thread.switches &&
	    before->state != WORKER_RUNNING && w->state != WORKER_RUNNING) {
		w->thread.known = before->thread.known;
		w->thread.state = before->thread.state;
		w->thread.processor = before->thread.processor;
		w->thread.ticks = before->thread.ticks;
		memcpy(w->thread.command, before->thread.command, COMMAND_SIZE);
	} else {
		read_thread(r, &w->thread);
	}
	set_rates(&w->thread, before ? &before->thread : NULL);
	set_since(w, before);

	r->process->workers[w->state]++;
	memcpy(table_add(&r->s->workers), w, sizeof(*w));
}

static void count_owned(struct sample *s)
{
	const struct worker *w = s->workers.data;
	struct scheduler *owner;
	size_t i;

	for (i = 0; i < s->workers.nr; i++, w++) {
		struct thread wanted = { .pid = w->thread.pid,
					 .tid = w->scheduler };

		if (w->state != WORKER_OWNED || !s->schedulers.nr)
			continue;
		owner = bsearch(&wanted, s->schedulers.data, s->schedulers.nr,
				s->schedulers.size, compare_ids);
		if (owner)
			owner->owned++;
	}
}

/* ---- processes ----------------------------------------------------------- */

/* Call @add for each thread that has a directory in @name. */
static void read_threads(struct reader *r, int process_dir, const char *name,
			 void (*add)(struct reader *r,
				     const struct dirent *entry))
{
	struct dirent *entry;
	DIR *dir;
	int fd;

	fd = openat(process_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir)
		err(1, NULL);
	r->ums_dir = fd;
	while ((entry = readdir(dir)))
		add(r, entry);
	closedir(dir);
}

/* One that has just gone is left out. */
static void read_process(struct reader *r, int ums_dir, int pid)
{
	const struct process *before;
	struct thread *t;
	struct stat st;
	char name[32];
	int dir;

	snprintf(name, sizeof(name), "%d", pid);
	dir = openat(ums_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 && errno != EACCES)
		return;

	r->process = table_add(&r->s->processes);
	r->process->hidden = dir < 0;
	t = &r->process->thread;
	t->pid = pid;
	t->tid = pid;
	t->rate = UNKNOWN;
	t->cpu = UNKNOWN;
	r->task_dir = -1;
	if (file_names_agree()) {
		snprintf(name, sizeof(name), "/proc/%d/stat", pid);
		file_read_stat(t, AT_FDCWD, name);
		snprintf(name, sizeof(name), "/proc/%d/task", pid);
		r->task_dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	t->read_at = now();
	if (dir < 0) {
		if (r->task_dir >= 0)
			close(r->task_dir);
		return;
	}
	if (!fstat(dir, &st))
		t->ino = st.st_ino;

	read_threads(r, dir, "schedulers", add_scheduler);
	read_threads(r, dir, "workers", add_worker);
	close(dir);
	if (r->task_dir >= 0)
		close(r->task_dir);

	/* Its switches are a sum over schedulers, which come and go. */
	before = r->before->processes.nr ?
		 bsearch(t, r->before->processes.data, r->before->processes.nr,
			 r->before->processes.size, compare_ids) : NULL;
	if (before && before->thread.ino == t->ino) {
		struct thread same = before->thread;
		double rate = t->rate;

		same.switches = t->switches;
		set_rates(t, &same);
		t->rate = rate;
	}
}

/**
 * sample_init - an empty sample
 * @s: the sample
 */
void sample_init(struct sample *s)
{
	*s = (struct sample) {
		.processes.size = sizeof(struct process),
		.schedulers.size = sizeof(struct scheduler),
		.workers.size = sizeof(struct worker),
	};
}

/**
 * sample_take - read all there is
 * @s: where it goes; what was there is dropped
 * @before: the sample before, which may be empty
 * @pids: the processes that are wanted; those that are gone are left out
 * @nr_pids: how many; 0: all
 *
 * A process of another user is there, with nothing in it.
 *
 * Return: 0, or -1 with errno of /proc/ums.
 */
int sample_take(struct sample *s, const struct sample *before, const int *pids,
		size_t nr_pids)
{
	struct reader r = { .s = s, .before = before };
	struct dirent *entry;
	size_t i;
	DIR *dir;

	s->processes.nr = 0;
	s->schedulers.nr = 0;
	s->workers.nr = 0;
	dir = opendir(UMS_PROC);
	if (!dir)
		return -1;
	for (i = 0; i < nr_pids; i++)
		read_process(&r, dirfd(dir), pids[i]);
	while (!nr_pids && (entry = readdir(dir))) {
		int pid = file_id(entry->d_name);

		if (pid)
			read_process(&r, dirfd(dir), pid);
	}
	closedir(dir);

	table_sort(&s->processes);
	table_sort(&s->schedulers);
	table_sort(&s->workers);
	count_owned(s);
	return 0;
}
