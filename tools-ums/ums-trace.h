/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ums-trace: what its parts share.
 *
 * Events come from ums-trace-record.c, which reads the kernel's ring buffers, or
 * from ums-trace-text.c, which reads what somebody else has printed.
 * ums-trace-model.c makes of them what each scheduler and worker did, span by
 * span, and ums-trace-json.c and ums-trace-svg.c write that.
 */
#ifndef UMS_TRACE_H
#define UMS_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Exit status beside the command's own, as env and timeout have it. */
#define EXIT_FAILED	125

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* --- events, as Documentation/userspace-api/ums/tracing.rst has them --- */

enum event_type {
	SCHEDULER_ENTER,
	SCHEDULER_EXIT,
	WORKER_ENTER,
	WORKER_EXIT,
	DEQUEUE,
	REQUEUE,
	EXEC,
	SWITCH,
	STOP,
	BLOCK,
	UNBLOCK,
	PREEMPT,
	WAIT_BEGIN,
	WAIT_END,
	EVENT_TYPES,
};

/* Without the "ums_" in front. */
extern const char *const event_names[EVENT_TYPES];

struct event {
	uint64_t ns;
	uint8_t type;
	pid_t scheduler;
	pid_t worker;		/* prev_pid of SWITCH */
	pid_t next;
	pid_t tgid;
	int clist;
	int cause;
	int64_t value;		/* what else it has: syscall, slice_ns, ... */
};

struct event_list {
	struct event *events;
	size_t count;
	size_t room;
	unsigned long long lost; /* overwritten before they were read */
};

int event_type(const char *name, size_t len);
void event_set(struct event *event, const char *field, size_t len,
	       int64_t value);
struct event *event_add(struct event_list *list);
void event_list_sort(struct event_list *list);

/* --- names of threads --- */

void name_thread(pid_t pid, const char *name, size_t len);
const char *thread_name(pid_t pid);
/* Of the process that a thread is in: the thread's, if only that is known. */
const char *process_name(pid_t tgid, pid_t pid);

/* --- recording and reading --- */

/* Run a command and record, until it ends or a signal comes. */
void record(char **command, unsigned int buffer_kib, struct event_list *list);
/* End the command, if it still runs.  Return: its status as a shell has it. */
int record_end(void);
void read_text(const char *path, struct event_list *list);

/* --- what happened --- */

enum span_kind {
	/* of a scheduler; running a worker, it is RUN, too */
	SELF,
	IDLE,
	/* of a worker */
	RUN,
	READY,
	BLOCKED,
	/* before the first event about it, and after the last */
	AWAY,
};

struct span {
	uint64_t begin;
	uint64_t end;
	pid_t other;		/* the worker of a scheduler, and the other way */
	uint8_t kind;
	int8_t cause;		/* of the stop that ended it, -1 for none */
	int syscall;		/* that it is blocked in */
};

enum { CAUSE_NEW = 1, CAUSE_YIELDED, CAUSE_UNBLOCKED, CAUSE_PREEMPTED,
	CAUSE_ORPHANED, CAUSE_TERMINATED, CAUSE_BLOCKED, CAUSE_SWITCHED };

/* Why it stopped, for a reader. */
const char *cause_name(int cause);

/* A scheduler or worker; a thread that was both is two of them. */
struct actor {
	pid_t pid;
	pid_t tgid;		/* 0 if it entered before the first event */
	bool scheduler;
	unsigned int nr;	/* among the workers, for its colour */
	struct span *spans;
	size_t count;
	size_t room;
	struct span now;
	struct actor *next;
};

/* A request to stop a worker. */
struct mark {
	uint64_t ns;
	const struct actor *worker;
	bool slice;		/* by its end, not by a call */
};

struct model {
	struct actor **actors;	/* schedulers first, then by process and id */
	size_t nr_actors;
	size_t nr_schedulers;
	struct mark *marks;
	size_t nr_marks;
	uint64_t begin;		/* the part that is written */
	uint64_t end;
	uint64_t first;		/* all there is */
	uint64_t last;
	unsigned long long runs; /* executions in the part that is written */
	unsigned long long lost;
	const char *command;
};

void model_build(struct model *model, const struct event_list *list);
/* Restrict it to a part; length 0: all the rest. */
void model_clip(struct model *model, uint64_t begin, uint64_t length);

/* --- writing --- */

void write_json(FILE *out, const struct model *model);
void write_svg(FILE *out, const struct model *model);

/* A system call's name on this architecture, or its number. */
const char *syscall_name(int nr);

/* "1.25 ms", in one of four static buffers. */
const char *format_time(uint64_t ns);

/* An array, or a larger one. */
void *grow(void *array, size_t *room, size_t size);

#endif /* UMS_TRACE_H */
