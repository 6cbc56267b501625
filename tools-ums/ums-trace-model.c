// SPDX-License-Identifier: GPL-2.0
/*
 * ums-trace: from events to what each scheduler and worker did when.
 *
 * Goes by each event alone, as far as it can: when events were lost, or recording
 * began late, what comes after is right again.
 */
#include <err.h>
#include <stdlib.h>

#include "ums-trace.h"

#define BUCKETS		4096

static struct actor *buckets[BUCKETS];

static struct actor *find_actor(pid_t pid, bool scheduler)
{
	struct actor **bucket = &buckets[pid % BUCKETS];
	struct actor *actor;

	for (actor = *bucket; actor; actor = actor->next)
		if (actor->pid == pid && actor->scheduler == scheduler)
			return actor;
	actor = calloc(1, sizeof(*actor));
	if (!actor)
		errx(EXIT_FAILED, "out of memory");
	actor->pid = pid;
	actor->scheduler = scheduler;
	actor->now.kind = AWAY;
	actor->next = *bucket;
	*bucket = actor;
	return actor;
}

static void end_span(struct actor *actor, uint64_t ns, int cause)
{
	if (actor->now.kind == AWAY || ns <= actor->now.begin)
		return;
	if (actor->count == actor->room)
		actor->spans = grow(actor->spans, &actor->room,
				    sizeof(*actor->spans));
	actor->now.end = ns;
	actor->now.cause = cause;
	actor->spans[actor->count++] = actor->now;
}

/* It goes on as @kind; @cause is why the span before ended. */
static void begin_span(struct actor *actor, uint64_t ns, int kind, pid_t other,
		       int cause)
{
	end_span(actor, ns, cause);
	actor->now = (struct span) { .begin = ns, .kind = kind, .other = other };
}

static void same_process(struct actor *a, struct actor *b)
{
	if (!a->tgid)
		a->tgid = b->tgid;
	else if (!b->tgid)
		b->tgid = a->tgid;
}

static void run(struct actor *s, struct actor *w, uint64_t ns, int cause)
{
	same_process(s, w);
	begin_span(s, ns, RUN, w->pid, cause);
	begin_span(w, ns, RUN, s->pid, -1);
}

/* A worker leaves its scheduler, which goes on by itself. */
static void leave(struct actor *s, const struct event *event, int cause)
{
	if (s->now.kind == RUN || s->now.kind == AWAY)
		begin_span(s, event->ns, SELF, 0, cause);
}

static void scheduler_exits(struct actor *s, uint64_t ns)
{
	if (s->now.kind == RUN)
		begin_span(find_actor(s->now.other, false), ns, RUN, 0, -1);
	begin_span(s, ns, AWAY, 0, -1);
}

static void add_mark(struct model *model, const struct event *event,
		     const struct actor *worker)
{
	static size_t room;

	if (model->nr_marks == room)
		model->marks = grow(model->marks, &room, sizeof(*model->marks));
	model->marks[model->nr_marks++] = (struct mark) {
		.ns = event->ns,
		.worker = worker,
		.slice = event->value,
	};
}

static void about_scheduler(const struct event *event)
{
	struct actor *s = find_actor(event->scheduler, true);

	if (event->tgid)
		s->tgid = event->tgid;
	switch (event->type) {
	case SCHEDULER_ENTER:
		begin_span(s, event->ns, SELF, 0, -1);
		break;
	case SCHEDULER_EXIT:
		scheduler_exits(s, event->ns);
		break;
	case WAIT_BEGIN:
		/* Its last worker may run on: then it waits for that. */
		if (s->now.kind != RUN)
			begin_span(s, event->ns, IDLE, 0, -1);
		break;
	case WAIT_END:
		if (s->now.kind != RUN)
			begin_span(s, event->ns, SELF, 0, -1);
		break;
	}
}

static void about_worker(struct model *model, const struct event *event)
{
	struct actor *w = find_actor(event->worker, false);
	struct actor *s = event->scheduler ?
			  find_actor(event->scheduler, true) : NULL;
	uint64_t ns = event->ns;

	if (event->tgid)
		w->tgid = event->tgid;
	if (s)
		same_process(s, w);
	switch (event->type) {
	case WORKER_ENTER:
		begin_span(w, ns, RUN, 0, -1);
		break;
	case WORKER_EXIT:
		begin_span(w, ns, AWAY, 0, -1);
		break;
	case DEQUEUE:
		if (s && s->now.kind == AWAY)
			begin_span(s, ns, SELF, 0, -1);
		if (w->now.kind == AWAY)
			begin_span(w, ns, READY, 0, -1);
		break;
	case REQUEUE:
	case UNBLOCK:
		begin_span(w, ns, READY, 0, -1);
		break;
	case EXEC:
		if (s)
			run(s, w, ns, -1);
		break;
	case SWITCH:
		begin_span(w, ns, READY, 0, CAUSE_SWITCHED);
		if (s)
			run(s, find_actor(event->next, false), ns,
			    CAUSE_SWITCHED);
		break;
	case STOP:
		begin_span(w, ns, event->cause == CAUSE_TERMINATED ? AWAY :
			   READY, 0, event->cause);
		if (s)
			leave(s, event, event->cause);
		break;
	case BLOCK:
		begin_span(w, ns, BLOCKED, 0, CAUSE_BLOCKED);
		w->now.syscall = event->value;
		if (s)
			leave(s, event, CAUSE_BLOCKED);
		break;
	case PREEMPT:
		add_mark(model, event, w);
		break;
	}
}

static int compare(const void *left, const void *right)
{
	const struct actor *a = *(struct actor **)left;
	const struct actor *b = *(struct actor **)right;

	if (a->scheduler != b->scheduler)
		return a->scheduler ? -1 : 1;
	if (a->tgid != b->tgid)
		return a->tgid < b->tgid ? -1 : 1;
	return a->pid < b->pid ? -1 : a->pid > b->pid;
}

static void collect_actors(struct model *model)
{
	unsigned int nr = 0;
	size_t room = 0;

	for (int i = 0; i < BUCKETS; i++) {
		for (struct actor *a = buckets[i]; a; a = a->next) {
			end_span(a, model->last, -1);
			/* Nothing is known of it, not even where it belongs. */
			if (!a->tgid)
				a->tgid = a->pid;
			if (model->nr_actors == room)
				model->actors = grow(model->actors, &room,
						     sizeof(*model->actors));
			model->actors[model->nr_actors++] = a;
			model->nr_schedulers += a->scheduler;
		}
	}
	qsort(model->actors, model->nr_actors, sizeof(*model->actors), compare);
	for (size_t i = model->nr_schedulers; i < model->nr_actors; i++)
		model->actors[i]->nr = nr++;
}

void model_build(struct model *model, const struct event_list *list)
{
	model->lost = list->lost;
	if (!list->count)
		return;
	model->first = list->events[0].ns;
	model->last = list->events[list->count - 1].ns;
	for (size_t i = 0; i < list->count; i++) {
		const struct event *event = &list->events[i];

		if (event->worker > 0)
			about_worker(model, event);
		else if (event->scheduler > 0)
			about_scheduler(event);
	}
	collect_actors(model);
	model_clip(model, 0, 0);
}

void model_clip(struct model *model, uint64_t begin, uint64_t length)
{
	model->begin = model->first + begin;
	if (model->begin > model->last)
		model->begin = model->last;
	model->end = model->last;
	if (length && length < model->end - model->begin)
		model->end = model->begin + length;
	model->runs = 0;
	for (size_t i = 0; i < model->nr_schedulers; i++) {
		const struct actor *s = model->actors[i];

		for (size_t j = 0; j < s->count; j++)
			model->runs += s->spans[j].kind == RUN &&
				       s->spans[j].end > model->begin &&
				       s->spans[j].begin < model->end;
	}
}
