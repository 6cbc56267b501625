// SPDX-License-Identifier: GPL-2.0
/*
 * ums-top: three tables, of processes, schedulers and workers.
 *
 * As plain text each line begins with what it is about, and all are shown.  On
 * a terminal lines are cut, and of each table there is as much as has room.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ums-top.h"

/* Clear to the end of the line, and of the screen; reverse and normal. */
#define CLEAR_LINE	"\033[K"
#define CLEAR_BELOW	"\033[J"
#define HOME		"\033[H"
#define REVERSE		"\033[7m"
#define BOLD		"\033[1m"
#define NORMAL		"\033[m"

const char * const sort_names[SORT_KEYS] = {
	[SORT_RATE]		= "rate",
	[SORT_CPU]		= "cpu",
	[SORT_SWITCHES]		= "switches",
	[SORT_SINCE]		= "since",
	[SORT_STATE]		= "state",
	[SORT_SCHEDULER]	= "scheduler",
	[SORT_LIST]		= "list",
	[SORT_PID]		= "pid",
};

static const char * const scheduler_states[] = {
	[SCHEDULER_RUNNING]	= "running",
	[SCHEDULER_EXECUTING]	= "executing",
	[SCHEDULER_WAITING]	= "waiting",
};

static const char * const worker_states[] = {
	[WORKER_RUNNING]	= "running",
	[WORKER_OWNED]		= "owned",
	[WORKER_QUEUED]		= "queued",
	[WORKER_BLOCKED]	= "blocked",
};

/* A number with one decimal, or a dash if it is not known. */
static void put_value(FILE *out, int width, double value)
{
	if (value == UNKNOWN)
		fprintf(out, " %*s", width, "-");
	else
		fprintf(out, " %*.1f", width, value);
}

/* An id, or a dash if it is none. */
static void put_id(FILE *out, int width, int id)
{
	if (id)
		fprintf(out, " %*d", width, id);
	else
		fprintf(out, " %*s", width, "-");
}

static void put_processor(FILE *out, const struct thread *t)
{
	if (t->known)
		fprintf(out, " %c %3d", t->state, t->processor);
	else
		fprintf(out, " - %3s", "-");
}

static const char *command_of(const struct thread *t)
{
	return t->known && *t->command ? t->command : "-";
}

/* ---- lines --------------------------------------------------------------- */

static void process_header(FILE *out)
{
	fprintf(out, "%6s %6s %7s %7s %5s %6s %7s %10s %8s %5s %s",
		"PID", "SCHEDS", "WORKERS", "RUNNING", "OWNED", "QUEUED",
		"BLOCKED", "SWITCHES", "SWITCH/S", "%CPU", "COMMAND");
}

static void process_line(FILE *out, struct thread *t)
{
	const struct process *p = (const struct process *)t;
	unsigned int workers = 0;
	int i;

	fprintf(out, "%6d", t->pid);
	if (p->hidden) {
		fprintf(out, " %6s %7s %7s %5s %6s %7s %10s %8s",
			"-", "-", "-", "-", "-", "-", "-", "-");
	} else {
		for (i = 0; i < WORKER_STATES; i++)
			workers += p->workers[i];
		fprintf(out, " %6u %7u", p->schedulers, workers);
		fprintf(out, " %7u %5u %6u %7u", p->workers[WORKER_RUNNING],
			p->workers[WORKER_OWNED], p->workers[WORKER_QUEUED],
			p->workers[WORKER_BLOCKED]);
		fprintf(out, " %10llu", t->switches);
		put_value(out, 8, t->rate);
	}
	put_value(out, 5, t->cpu);
	fprintf(out, " %s", command_of(t));
}

static void scheduler_header(FILE *out)
{
	fprintf(out, "%6s %6s %-9s %6s %4s %5s %6s S %3s %10s %8s %5s %s",
		"PID", "TID", "STATE", "WORKER", "LIST", "OWNED", "EVENTS",
		"CPU", "SWITCHES", "SWITCH/S", "%CPU", "COMMAND");
}

static void scheduler_line(FILE *out, struct thread *t)
{
	const struct scheduler *s = (const struct scheduler *)t;

	fprintf(out, "%6d %6d %-9s", t->pid, t->tid, scheduler_states[s->state]);
	put_id(out, 6, s->worker);
	put_id(out, 4, s->list);
	fprintf(out, " %5u %6u", s->owned, s->events);
	put_processor(out, t);
	fprintf(out, " %10llu", t->switches);
	put_value(out, 8, t->rate);
	put_value(out, 5, t->cpu);
	fprintf(out, " %s", command_of(t));
}

static void worker_header(FILE *out)
{
	fprintf(out, "%6s %6s %-7s %6s %4s %6s S %3s %10s %8s %5s %18s %-15s %s",
		"PID", "TID", "STATE", "SCHED", "LIST", "SINCE", "CPU",
		"SWITCHES", "SWITCH/S", "%CPU", "COOKIE", "SLEEPS_IN",
		"COMMAND");
}

/* Parked ones all sleep in the same place, and others if they sleep. */
static bool sleeps(const struct worker *w)
{
	return w->state == WORKER_BLOCKED ||
	       (w->state == WORKER_RUNNING && w->thread.known &&
		w->thread.state != 'R');
}

static void worker_line(FILE *out, struct thread *t)
{
	const struct worker *w = (const struct worker *)t;
	char channel[32] = "-";

	file_refresh(t);
	if (sleeps(w))
		file_wait_channel(t, channel, sizeof(channel));
	fprintf(out, "%6d %6d %-7s", t->pid, t->tid, worker_states[w->state]);
	put_id(out, 6, w->scheduler);
	put_id(out, 4, w->list);
	put_value(out, 6, w->since);
	put_processor(out, t);
	fprintf(out, " %10llu", t->switches);
	put_value(out, 8, t->rate);
	put_value(out, 5, t->cpu);
	fprintf(out, " %#18llx %-15s %s", w->cookie, channel, command_of(t));
}

/* ---- order --------------------------------------------------------------- */

static enum sort_key order;

static int larger_first(double a, double b)
{
	return (a < b) - (a > b);
}

static int smaller_first(int a, int b)
{
	return (a > b) - (a < b);
}

/* By what all of them have. */
static int compare_threads(const struct thread *a, const struct thread *b)
{
	int result = 0;

	if (order == SORT_CPU)
		result = larger_first(a->cpu, b->cpu);
	else if (order == SORT_RATE)
		result = larger_first(a->rate, b->rate);
	if (!result && (order == SORT_RATE || order == SORT_SWITCHES))
		result = (a->switches < b->switches) - (a->switches > b->switches);
	if (!result)
		result = smaller_first(a->pid, b->pid);
	return result ? result : smaller_first(a->tid, b->tid);
}

static int compare_processes(const void *a, const void *b)
{
	const struct process *x = *(void * const *)a, *y = *(void * const *)b;

	return compare_threads(&x->thread, &y->thread);
}

static int compare_schedulers(const void *a, const void *b)
{
	const struct scheduler *x = *(void * const *)a, *y = *(void * const *)b;
	int result = 0;

	if (order == SORT_STATE)
		result = smaller_first(x->state, y->state);
	else if (order == SORT_LIST)
		result = smaller_first(x->list, y->list);
	return result ? result : compare_threads(&x->thread, &y->thread);
}

static int compare_workers(const void *a, const void *b)
{
	const struct worker *x = *(void * const *)a, *y = *(void * const *)b;
	int result = 0;

	if (order == SORT_STATE)
		result = smaller_first(x->state, y->state);
	else if (order == SORT_LIST)
		result = smaller_first(x->list, y->list);
	else if (order == SORT_SCHEDULER)
		result = smaller_first(x->scheduler, y->scheduler);
	else if (order == SORT_SINCE)
		result = larger_first(x->since, y->since);
	return result ? result : compare_threads(&x->thread, &y->thread);
}

/* The table's entries in order; its own order stays, as they are looked up by it. */
static struct thread **sorted(const struct table *t,
			      int (*compare)(const void *a, const void *b))
{
	struct thread **entries;
	size_t i;

	entries = calloc(t->nr + 1, sizeof(*entries));
	if (!entries)
		err(1, NULL);
	for (i = 0; i < t->nr; i++)
		entries[i] = (struct thread *)((char *)t->data + i * t->size);
	qsort(entries, t->nr, sizeof(*entries), compare);
	return entries;
}

/* ---- both views ---------------------------------------------------------- */

/* How a table is shown. */
struct view {
	const char *title;
	const char *name;
	const char *plural;
	void (*header)(FILE *out);
	void (*line)(FILE *out, struct thread *t);
	int (*compare)(const void *a, const void *b);
};

static const struct view process_view = {
	.title = "PROCESS", .name = "process", .plural = "processes",
	.header = process_header, .line = process_line,
	.compare = compare_processes,
};

static const struct view scheduler_view = {
	.title = "SCHEDULER", .name = "scheduler", .plural = "schedulers",
	.header = scheduler_header, .line = scheduler_line,
	.compare = compare_schedulers,
};

static const struct view worker_view = {
	.title = "WORKER", .name = "worker", .plural = "workers",
	.header = worker_header, .line = worker_line,
	.compare = compare_workers,
};

static void plain_table(FILE *out, const struct view *v, const struct table *t)
{
	struct thread **entries = sorted(t, v->compare);
	size_t i;

	fprintf(out, "%-9s ", v->title);
	v->header(out);
	putc('\n', out);
	for (i = 0; i < t->nr; i++) {
		fprintf(out, "%-9s ", v->name);
		v->line(out, entries[i]);
		putc('\n', out);
	}
	free(entries);
}

/**
 * view_plain - print a sample for a script or a log
 * @out: where to
 * @s: the sample
 * @key: what comes first
 */
void view_plain(FILE *out, struct sample *s, enum sort_key key)
{
	order = key;
	plain_table(out, &process_view, &s->processes);
	plain_table(out, &scheduler_view, &s->schedulers);
	plain_table(out, &worker_view, &s->workers);
}

/**
 * struct canvas - a screen that is being drawn
 * @out: the terminal
 * @rows: how many lines have room
 * @columns: how long they may be
 * @line: the line that is being made
 * @text: what it says
 * @length: how long it is
 */
struct canvas {
	FILE *out;
	unsigned int rows;
	unsigned int columns;
	FILE *line;
	char *text;
	size_t length;
};

static void canvas_begin(struct canvas *c, FILE *out,
			 const struct screen *screen)
{
	c->out = out;
	/* The last line is left to the cursor, or it would scroll. */
	c->rows = screen->rows - 1;
	c->columns = screen->columns;
	c->line = open_memstream(&c->text, &c->length);
	if (!c->line)
		err(1, NULL);
	fputs(HOME, out);
}

static void canvas_end(struct canvas *c)
{
	fputs(CLEAR_BELOW, c->out);
	fclose(c->line);
	free(c->text);
}

/* The line is complete, draw it.  The next one begins. */
static void canvas_line(struct canvas *c, const char *style)
{
	if (fflush(c->line))
		err(1, NULL);
	/* A file in memory ends where writing has come to. */
	if (c->length > c->columns)
		c->length = c->columns;
	if (c->rows) {
		c->rows--;
		fprintf(c->out, "%s%.*s" CLEAR_LINE NORMAL "\n", style,
			(int)c->length, c->text);
	}
	rewind(c->line);
}

static void canvas_table(struct canvas *c, const struct view *v,
			 const struct table *t, unsigned int rows)
{
	struct thread **entries = sorted(t, v->compare);
	size_t i, shown = t->nr;

	if (shown > rows)
		shown = rows ? rows - 1 : 0;
	v->header(c->line);
	canvas_line(c, REVERSE);
	for (i = 0; i < shown; i++) {
		v->line(c->line, entries[i]);
		canvas_line(c, "");
	}
	if (rows && shown < t->nr) {
		fprintf(c->line, "    and %zu more %s", t->nr - shown, v->plural);
		canvas_line(c, "");
	}
	free(entries);
}

static void count(FILE *out, const struct view *v, const struct table *t)
{
	fprintf(out, "%zu %s, ", t->nr, t->nr == 1 ? v->name : v->plural);
}

static void title(FILE *out, const struct sample *s)
{
	const struct process *p = s->processes.data;
	double rate = UNKNOWN;
	char clock[16] = "";
	struct tm tm;
	time_t now;
	size_t i;

	for (i = 0; i < s->processes.nr; i++, p++)
		if (p->thread.rate != UNKNOWN)
			rate = p->thread.rate + (rate == UNKNOWN ? 0 : rate);
	now = time(NULL);
	if (localtime_r(&now, &tm))
		strftime(clock, sizeof(clock), "%T", &tm);
	fprintf(out, "ums-top %s: ", clock);
	count(out, &process_view, &s->processes);
	count(out, &scheduler_view, &s->schedulers);
	count(out, &worker_view, &s->workers);
	if (rate != UNKNOWN)
		fprintf(out, "%.0f switches/s, ", rate);
	fprintf(out, "by %s", sort_names[order]);
}

static unsigned int at_most(size_t a, unsigned int b)
{
	return a < b ? a : b;
}

/**
 * view_screen - draw a sample over the last one
 * @out: the terminal
 * @s: the sample
 * @key: what comes first
 * @screen: its size
 */
void view_screen(FILE *out, struct sample *s, enum sort_key key,
		 const struct screen *screen)
{
	/* The title, three headers, two blank lines, and where the cursor is. */
	unsigned int rest = screen->rows > 7 ? screen->rows - 7 : 0;
	unsigned int processes, schedulers;
	struct canvas c;

	order = key;
	processes = at_most(s->processes.nr, rest / 4);
	schedulers = at_most(s->schedulers.nr, (rest - processes) / 3);
	canvas_begin(&c, out, screen);
	title(c.line, s);
	canvas_line(&c, BOLD);
	canvas_table(&c, &process_view, &s->processes, processes);
	canvas_line(&c, "");
	canvas_table(&c, &scheduler_view, &s->schedulers, schedulers);
	canvas_line(&c, "");
	canvas_table(&c, &worker_view, &s->workers,
		     rest - processes - schedulers);
	canvas_end(&c);
}
