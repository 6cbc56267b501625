// SPDX-License-Identifier: GPL-2.0
/*
 * ums-trace: a picture, one row for each scheduler.
 *
 * What is too short to be seen is drawn together: a block whose colours are as
 * high as their share of its time.  So a picture of a million switches is as
 * large as one of a thousand.
 */
#include <string.h>

#include "ums-trace.h"

#define LEFT		150	/* of the plot, for the rows' names */
#define WIDTH		880	/* the plot's */
#define RIGHT		130	/* for the shares */
#define TOP		74
#define ROW		34
#define BAR		26
#define LEAST		2.0	/* pixels that a bar of its own has */
#define BLOCK		5.0	/* pixels of a block of shorter ones */
#define COLOURS		10
#define LEGEND		150	/* pixels for an entry */
#define SHOWN		20	/* workers in the legend */

/* Classes: w0 to w9 for workers, then these. */
enum { CLASS_MIXED = COLOURS, CLASS_SELF, CLASS_IDLE, CLASSES };

static const char *const class_names[] = {
	"w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9",
	"m", "s", "i",
};

static const char *const style[] = {
	"text{font:12px sans-serif;fill:#222}",
	".h{font-size:15px;font-weight:bold}",
	".n{font-size:11px;fill:#666}",
	".e{text-anchor:end}",
	".c{text-anchor:middle}",
	".b{font-size:11px;text-anchor:middle;pointer-events:none}",
	".g{stroke:#ddd}",
	".x{fill:#f6f6f6}",
	".w0{fill:#8ab6e0}.w1{fill:#f5b66b}.w2{fill:#8fcb8f}.w3{fill:#e99a9a}",
	".w4{fill:#c0a6dc}.w5{fill:#d9c45f}.w6{fill:#86cfcf}.w7{fill:#eaa3cc}",
	".w8{fill:#b9b08f}.w9{fill:#9db0ff}",
	".m{fill:#a9bccb}",
	".s{fill:#5d6670}",
	".i{fill:#dcdcdc}",
};

static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '<' || c == '&' || c == '>')
			fprintf(out, "&#%d;", c);
		else if (c >= 0x20 && c < 0x7f)
			putc(c, out);
		else
			putc('?', out);
	}
}

/* --- one row --- */

struct row {
	FILE *out;
	const struct model *model;
	double y;
	double scale;		/* pixels for a nanosecond */
	/* What a block has collected, in ns: by worker's class, and the rest. */
	double sums[CLASSES];
	double total;
	double begin_px;
	double end_px;
	unsigned int runs;
	/* Of the whole row. */
	double shares[CLASSES];
};

/* The model's workers are sorted by process and id. */
static const struct actor *find_worker(const struct model *model, pid_t tgid,
				       pid_t pid)
{
	size_t low = model->nr_schedulers, high = model->nr_actors;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct actor *a = model->actors[mid];

		if (a->tgid == tgid && a->pid == pid)
			return a;
		if (a->tgid < tgid || (a->tgid == tgid && a->pid < pid))
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static int class_of(const struct model *model, const struct actor *scheduler,
		    const struct span *span)
{
	const struct actor *w;

	if (span->kind == SELF)
		return CLASS_SELF;
	if (span->kind == IDLE)
		return CLASS_IDLE;
	w = find_worker(model, scheduler->tgid, span->other);
	return w ? (int)(w->nr % COLOURS) : CLASS_MIXED;
}

static void put_rect(FILE *out, int class, double x, double y, double width,
		     double height)
{
	fprintf(out, "<path class=\"%s\" d=\"M%.1f %.1fh%.1fv%.1fh-%.1fz\"/>",
		class_names[class], x, y, width, height, width);
}

static void put_bar(struct row *row, const struct span *span, int class,
		    double x, double width)
{
	FILE *out = row->out;
	char label[16];

	fputs("<g><title>", out);
	if (span->kind == RUN)
		fprintf(out, "worker %d", span->other);
	else
		fputs(span->kind == IDLE ? "idle" : "scheduler", out);
	fprintf(out, ": %s, from %s", format_time(span->end - span->begin),
		format_time(span->begin - row->model->first));
	if (span->kind == RUN && span->cause > 0)
		fprintf(out, ", %s", cause_name(span->cause));
	fputs("</title>", out);
	put_rect(out, class, x, row->y, width, BAR);
	fputs("</g>\n", out);
	snprintf(label, sizeof(label), "%d", span->other);
	if (span->kind == RUN && width > 6.5 * strlen(label) + 4)
		fprintf(out, "<text class=\"b\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
			x + width / 2, row->y + BAR / 2.0 + 4, label);
}

/* What was too short so far. */
static void put_block(struct row *row)
{
	double y = row->y + BAR, width = row->end_px - row->begin_px;
	FILE *out = row->out;
	double workers = 0;

	if (row->total <= 0)
		return;
	for (int i = 0; i <= CLASS_MIXED; i++)
		workers += row->sums[i];
	fprintf(out, "<g><title>%u runs in %s: workers %.0f %%, ", row->runs,
		format_time(row->total), 100 * workers / row->total);
	fprintf(out, "scheduler %.0f %%, idle %.0f %%</title>",
		100 * row->sums[CLASS_SELF] / row->total,
		100 * row->sums[CLASS_IDLE] / row->total);
	/* From the bottom: the workers, the scheduler, idle time. */
	for (int i = 0; i < CLASSES; i++) {
		double height = BAR * row->sums[i] / row->total;

		if (height < 0.05)
			continue;
		y -= height;
		put_rect(out, i, row->begin_px, y, width, height);
	}
	fputs("</g>\n", out);
	memset(row->sums, 0, sizeof(row->sums));
	row->total = 0;
	row->runs = 0;
}

static void put_span(struct row *row, const struct actor *scheduler,
		     const struct span *span)
{
	const struct model *model = row->model;
	uint64_t begin = span->begin, end = span->end;
	double x, width;
	int class;

	if (begin < model->begin)
		begin = model->begin;
	if (end > model->end)
		end = model->end;
	if (begin >= end)
		return;
	class = class_of(model, scheduler, span);
	x = LEFT + (begin - model->begin) * row->scale;
	width = (end - begin) * row->scale;
	row->shares[class] += end - begin;
	if (width >= LEAST) {
		put_block(row);
		put_bar(row, span, class, x, width);
		return;
	}
	/* A gap: it was away in between. */
	if (row->total > 0 && (x - row->end_px > LEAST ||
			       x + width - row->begin_px > BLOCK))
		put_block(row);
	if (row->total <= 0)
		row->begin_px = x;
	row->end_px = x + width;
	row->sums[class] += end - begin;
	row->total += end - begin;
	row->runs += span->kind == RUN;
}

static void put_shares(struct row *row, double in_ums)
{
	int x = LEFT + WIDTH + 10;
	double workers = 0;

	if (in_ums <= 0)
		return;
	for (int i = 0; i <= CLASS_MIXED; i++)
		workers += row->shares[i];
	fprintf(row->out, "<text class=\"n\" x=\"%d\" y=\"%.1f\">", x,
		row->y + 11);
	fprintf(row->out, "workers %.0f %%</text>", 100 * workers / in_ums);
	fprintf(row->out, "<text class=\"n\" x=\"%d\" y=\"%.1f\">", x,
		row->y + 24);
	fprintf(row->out, "itself %.0f %%, idle %.0f %%</text>\n",
		100 * row->shares[CLASS_SELF] / in_ums,
		100 * row->shares[CLASS_IDLE] / in_ums);
}

static void put_row(FILE *out, const struct model *model,
		    const struct actor *scheduler, double y)
{
	struct row row = {
		.out = out, .model = model, .y = y,
		.scale = (double)WIDTH / (model->end - model->begin),
	};
	double in_ums = 0;

	fprintf(out, "<text class=\"e\" x=\"%d\" y=\"%.1f\">scheduler %d</text>",
		LEFT - 10, y + 12, scheduler->pid);
	fprintf(out, "<text class=\"n e\" x=\"%d\" y=\"%.1f\">", LEFT - 10,
		y + 25);
	put_text(out, process_name(scheduler->tgid, scheduler->pid));
	fprintf(out, " %d</text>\n", scheduler->tgid);
	fprintf(out, "<path class=\"x\" d=\"M%d %.1fh%dv%dh-%dz\"/>\n", LEFT, y,
		WIDTH, BAR, WIDTH);
	for (size_t i = 0; i < scheduler->count; i++)
		put_span(&row, scheduler, &scheduler->spans[i]);
	put_block(&row);
	for (int i = 0; i < CLASSES; i++)
		in_ums += row.shares[i];
	put_shares(&row, in_ums);
}

/* --- what is around them --- */

static void put_axis(FILE *out, const struct model *model, double height)
{
	static const unsigned int steps[] = { 1, 2, 5 };
	uint64_t length = model->end - model->begin, step = 1, power = 1;
	uint64_t from = model->begin - model->first, t, unit;
	const char *name;
	int digits = 0;

	for (int i = 0; length / step > 9; i++) {
		if (i && i % 3 == 0)
			power *= 10;
		step = power * steps[i % 3];
	}
	unit = from + length >= 1000000000 ? 1000000000 :
	       from + length >= 1000000 ? 1000000 :
	       from + length >= 1000 ? 1000 : 1;
	name = unit == 1000000000 ? "s" : unit == 1000000 ? "ms" :
	       unit == 1000 ? "us" : "ns";
	for (t = unit; t > step; t /= 10)
		digits++;
	for (t = (from + step - 1) / step * step; t <= from + length; t += step) {
		double x = LEFT + (double)(t - from) * WIDTH / length;

		fprintf(out, "<path class=\"g\" d=\"M%.1f %dV%.1f\"/>", x,
			TOP - 8, height);
		fprintf(out, "<text class=\"n c\" x=\"%.1f\" y=\"%d\">%.*f %s</text>\n",
			x, TOP - 13, digits, (double)t / unit, name);
	}
}

static void put_title(FILE *out, const struct model *model)
{
	size_t workers = model->nr_actors - model->nr_schedulers;

	fprintf(out, "<text class=\"h\" x=\"10\" y=\"22\">");
	put_text(out, model->command);
	fputs("</text>\n<text class=\"n\" x=\"10\" y=\"39\">", out);
	fprintf(out, "%zu scheduler%s, %zu worker%s; %s",
		model->nr_schedulers, model->nr_schedulers == 1 ? "" : "s",
		workers, workers == 1 ? "" : "s",
		format_time(model->end - model->begin));
	if (model->end - model->begin < model->last - model->first)
		fprintf(out, " of %s", format_time(model->last - model->first));
	fprintf(out, ", in which workers ran %llu times", model->runs);
	if (model->lost)
		fprintf(out, "; %llu events were lost", model->lost);
	fputs("</text>\n", out);
}

static void put_entry(FILE *out, unsigned int place, double y, int class,
		      const char *text)
{
	unsigned int columns = (WIDTH + RIGHT) / LEGEND;
	double x = LEFT + place % columns * LEGEND;

	y += place / columns * 18;
	put_rect(out, class, x, y, 12, 12);
	fprintf(out, "<text class=\"n\" x=\"%.0f\" y=\"%.0f\">", x + 17, y + 10);
	put_text(out, text);
	fputs("</text>\n", out);
}

static void put_legend(FILE *out, const struct model *model, double y)
{
	size_t workers = model->nr_actors - model->nr_schedulers;
	unsigned int place = 0;
	char text[64];

	put_entry(out, place++, y, CLASS_SELF, "the scheduler itself");
	put_entry(out, place++, y, CLASS_IDLE, "idle");
	for (size_t i = 0; i < workers && i < SHOWN; i++) {
		const struct actor *w = model->actors[model->nr_schedulers + i];

		snprintf(text, sizeof(text), "worker %d", w->pid);
		put_entry(out, place++, y, w->nr % COLOURS, text);
	}
	if (workers > SHOWN) {
		snprintf(text, sizeof(text), "and %zu more workers",
			 workers - SHOWN);
		put_entry(out, place++, y, workers % COLOURS, text);
	}
}

void write_svg(FILE *out, const struct model *model)
{
	size_t workers = model->nr_actors - model->nr_schedulers;
	size_t entries = 2 + (workers > SHOWN ? SHOWN + 1 : workers);
	unsigned int columns = (WIDTH + RIGHT) / LEGEND;
	double rows_end = TOP + model->nr_schedulers * ROW;
	double height = rows_end + 18 +
			(entries + columns - 1) / columns * 18;
	int width = LEFT + WIDTH + RIGHT;

	fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" ", out);
	fprintf(out, "width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\">\n",
		width, height, width, height);
	fputs("<style>", out);
	for (size_t i = 0; i < ARRAY_SIZE(style); i++)
		fputs(style[i], out);
	fputs("</style>\n", out);
	fprintf(out, "<rect width=\"%d\" height=\"%.0f\" fill=\"#fff\"/>\n",
		width, height);
	put_title(out, model);
	if (model->end > model->begin) {
		put_axis(out, model, rows_end - ROW + BAR + 4);
		for (size_t i = 0; i < model->nr_schedulers; i++)
			put_row(out, model, model->actors[i], TOP + i * ROW);
	}
	put_legend(out, model, rows_end + 8);
	fputs("</svg>\n", out);
}
