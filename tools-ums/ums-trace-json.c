// SPDX-License-Identifier: GPL-2.0
/*
 * ums-trace: the Trace Event format, which Perfetto and Chrome read.
 *
 * One row for each scheduler and each worker.  Times are microseconds from the
 * first event on.
 */
#include "ums-trace.h"

static void quote(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			/* The kernel does not say what encoding it is. */
			fprintf(out, "\\u%04x", c);
		else
			putc(c, out);
	}
	putc('"', out);
}

static void put_us(FILE *out, const char *key, uint64_t ns)
{
	fprintf(out, ",\"%s\":%llu.%03llu", key, ns / 1000ULL, ns % 1000ULL);
}

/* An entry's beginning; each but the first one follows a comma. */
static void begin_entry(FILE *out, char phase, pid_t tgid, pid_t pid)
{
	fprintf(out, ",\n{\"ph\":\"%c\",\"pid\":%d,\"tid\":%d", phase, tgid, pid);
}

static void put_row(FILE *out, const struct actor *actor, size_t index,
		    const struct model *model)
{
	const char *name = thread_name(actor->pid);
	char label[64];

	begin_entry(out, 'M', actor->tgid, actor->pid);
	fputs(",\"name\":\"thread_name\",\"args\":{\"name\":", out);
	snprintf(label, sizeof(label), "%s %s", actor->scheduler ? "scheduler" :
		 "worker", name ? name : "");
	quote(out, name ? label : actor->scheduler ? "scheduler" : "worker");
	fputs("}}", out);
	begin_entry(out, 'M', actor->tgid, actor->pid);
	fprintf(out, ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":%zu}}",
		index);
	if (index && model->actors[index - 1]->tgid == actor->tgid)
		return;
	begin_entry(out, 'M', actor->tgid, actor->tgid);
	fputs(",\"name\":\"process_name\",\"args\":{\"name\":", out);
	quote(out, process_name(actor->tgid, actor->pid));
	fputs("}}", out);
}

static void put_scheduler_span(FILE *out, const struct span *span)
{
	switch (span->kind) {
	case SELF:
		fputs(",\"name\":\"scheduler\"", out);
		return;
	case IDLE:
		fputs(",\"name\":\"idle\"", out);
		return;
	}
	fprintf(out, ",\"name\":\"worker %d\",\"args\":{\"worker\":%d",
		span->other, span->other);
	if (span->cause > 0)
		fprintf(out, ",\"stopped\":\"%s\"", cause_name(span->cause));
	putc('}', out);
}

static void put_worker_span(FILE *out, const struct span *span)
{
	switch (span->kind) {
	case READY:
		fputs(",\"name\":\"ready\"", out);
		return;
	case BLOCKED:
		fputs(",\"name\":", out);
		quote(out, "blocked");
		fputs(",\"args\":{\"in\":", out);
		quote(out, syscall_name(span->syscall));
		putc('}', out);
		return;
	}
	fprintf(out, ",\"name\":\"running\",\"args\":{\"scheduler\":%d",
		span->other);
	if (span->cause > 0)
		fprintf(out, ",\"stopped\":\"%s\"", cause_name(span->cause));
	putc('}', out);
}

static void put_spans(FILE *out, const struct actor *actor,
		      const struct model *model)
{
	for (size_t i = 0; i < actor->count; i++) {
		const struct span *span = &actor->spans[i];
		uint64_t begin = span->begin, end = span->end;

		if (begin < model->begin)
			begin = model->begin;
		if (end > model->end)
			end = model->end;
		if (begin >= end)
			continue;
		begin_entry(out, 'X', actor->tgid, actor->pid);
		put_us(out, "ts", begin - model->first);
		put_us(out, "dur", end - begin);
		if (actor->scheduler)
			put_scheduler_span(out, span);
		else
			put_worker_span(out, span);
		putc('}', out);
	}
}

static void put_marks(FILE *out, const struct model *model)
{
	for (size_t i = 0; i < model->nr_marks; i++) {
		const struct mark *mark = &model->marks[i];

		if (mark->ns < model->begin || mark->ns > model->end)
			continue;
		begin_entry(out, 'i', mark->worker->tgid, mark->worker->pid);
		put_us(out, "ts", mark->ns - model->first);
		fprintf(out, ",\"s\":\"t\",\"name\":\"%s\"}",
			mark->slice ? "slice over" : "preempt");
	}
}

void write_json(FILE *out, const struct model *model)
{
	fputs("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"command\":", out);
	quote(out, model->command);
	fprintf(out, ",\"lost_events\":%llu},\n\"traceEvents\":[\n",
		model->lost);
	/* An entry that every other one can follow. */
	fputs("{\"ph\":\"M\",\"pid\":0,\"name\":\"trace\",\"args\":{}}", out);
	for (size_t i = 0; i < model->nr_actors; i++) {
		put_row(out, model->actors[i], i, model);
		put_spans(out, model->actors[i], model);
	}
	put_marks(out, model);
	fputs("\n]}\n", out);
}
