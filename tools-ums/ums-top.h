/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ums-top: what its files share.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#ifndef UMS_TOP_H
#define UMS_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The length of a thread's name in the kernel, with its end. */
#define COMMAND_SIZE	16

/* Room for any of the files that are read. */
#define FILE_SIZE	4096

/* Rates and times that are not known, as after a single sample. */
#define UNKNOWN		(-1.0)

/**
 * struct thread - what schedulers and workers have in common
 * @pid: the process
 * @tid: the thread
 * @ino: of its directory in /proc/ums; another thread with the same id has
 *	another one
 * @switches: how often it has executed a worker, or was executed
 * @read_at: when that was read, in seconds
 * @rate: switches in a second since the sample before, or UNKNOWN
 * @cpu: CPU time since the sample before, in percent of one, or UNKNOWN
 * @known: whether /proc/<pid>/task/<tid>/stat could be read; what follows is
 *	from there
 * @fresh: whether it was read for this sample
 * @state: the thread's state as the kernel sees it, such as 'S'
 * @processor: where it runs, or ran last
 * @ticks: CPU time
 * @command: its name, printable
 */
struct thread {
	int pid;
	int tid;
	unsigned long ino;
	unsigned long long switches;
	double read_at;
	double rate;
	double cpu;
	bool known;
	bool fresh;
	char state;
	int processor;
	unsigned long long ticks;
	char command[COMMAND_SIZE];
};

/**
 * enum scheduler_state - what a scheduler does
 * @SCHEDULER_RUNNING: it runs its own code
 * @SCHEDULER_EXECUTING: it sleeps while its worker runs
 * @SCHEDULER_WAITING: it sleeps until there is something to do
 */
enum scheduler_state {
	SCHEDULER_RUNNING,
	SCHEDULER_EXECUTING,
	SCHEDULER_WAITING,
};

/**
 * struct scheduler - a scheduler, as its info in /proc/ums has it
 * @thread: first, since threads are looked up by it
 * @state: what it does
 * @list: the completion list that it entered with
 * @worker: the worker that it runs, or 0
 * @owned: how many workers it has dequeued and not executed
 * @events: how many events it has not read
 */
struct scheduler {
	struct thread thread;
	enum scheduler_state state;
	int list;
	int worker;
	unsigned int owned;
	unsigned int events;
};

/**
 * enum worker_state - where a worker is
 * @WORKER_RUNNING: executed by its scheduler, or on its own
 * @WORKER_OWNED: parked, dequeued by a scheduler
 * @WORKER_QUEUED: parked, on its completion list
 * @WORKER_BLOCKED: asleep in the kernel, while its scheduler goes on
 * @WORKER_STATES: how many there are
 */
enum worker_state {
	WORKER_RUNNING,
	WORKER_OWNED,
	WORKER_QUEUED,
	WORKER_BLOCKED,
	WORKER_STATES
};

/**
 * struct worker - a worker, as its info in /proc/ums has it
 * @thread: first, since threads are looked up by it
 * @state: where it is
 * @list: its completion list
 * @scheduler: who runs it or has dequeued it, or 0
 * @cookie: the program's own value
 * @changed_at: the first sample, in seconds, in which it was like this: in this
 *	state, with as many switches
 * @since: for how long it has been seen like that, or UNKNOWN
 */
struct worker {
	struct thread thread;
	enum worker_state state;
	int list;
	int scheduler;
	unsigned long long cookie;
	double changed_at;
	double since;
};

/**
 * struct process - a process that has /dev/ums open
 * @thread: its own id, twice; sums over its schedulers; the CPU time is that
 *	of the whole process
 * @hidden: its directory belongs to somebody else
 * @schedulers: how many
 * @workers: how many, in each state
 */
struct process {
	struct thread thread;
	bool hidden;
	unsigned int schedulers;
	unsigned int workers[WORKER_STATES];
};

/**
 * struct table - an array that grows
 * @data: entries that begin with a struct thread, in the order of pid and tid
 * @size: of one entry
 * @nr: how many there are
 * @room: how many fit
 */
struct table {
	void *data;
	size_t size;
	size_t nr;
	size_t room;
};

/**
 * struct sample - all there is in /proc/ums at one time
 * @processes: table of struct process
 * @schedulers: table of struct scheduler
 * @workers: table of struct worker
 */
struct sample {
	struct table processes;
	struct table schedulers;
	struct table workers;
};

/**
 * enum sort_key - what comes first
 * @SORT_RATE: most switches in a second
 * @SORT_CPU: most CPU time
 * @SORT_SWITCHES: most switches
 * @SORT_SINCE: longest like this
 * @SORT_STATE: in the order of the states
 * @SORT_SCHEDULER: smallest id of the scheduler
 * @SORT_LIST: smallest completion list
 * @SORT_PID: smallest id
 * @SORT_KEYS: how many there are
 */
enum sort_key {
	SORT_RATE,
	SORT_CPU,
	SORT_SWITCHES,
	SORT_SINCE,
	SORT_STATE,
	SORT_SCHEDULER,
	SORT_LIST,
	SORT_PID,
	SORT_KEYS
};

extern const char * const sort_names[SORT_KEYS];

/**
 * struct screen - a terminal to draw on
 * @rows: its height
 * @columns: its width
 */
struct screen {
	unsigned int rows;
	unsigned int columns;
};

void sample_init(struct sample *s);
int sample_take(struct sample *s, const struct sample *before, const int *pids,
		size_t nr_pids);

bool file_read(int dir, const char *name, char *text);
int file_id(const char *name);
bool file_names_agree(void);
void file_read_stat(struct thread *t, int dir, const char *name);
void file_refresh(struct thread *t);
void file_wait_channel(const struct thread *t, char *name, size_t size);
unsigned long long info_number(const char *text, const char *key);
bool info_is(const char *text, const char *key, const char *wanted);

void view_plain(FILE *out, struct sample *s, enum sort_key key);
void view_screen(FILE *out, struct sample *s, enum sort_key key,
		 const struct screen *screen);

#endif /* UMS_TOP_H */
