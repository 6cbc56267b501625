// SPDX-License-Identifier: GPL-2.0
/*
 * ums-trace: events, and their printed form.
 *
 * The file "trace" of tracefs, trace-cmd report and perf script all print
 *
 *	<command>-<pid> [<cpu>] ... <seconds>: <event>: <field>=<value> ...
 *
 * but for the first part, in which perf has a blank rather than a dash, and the
 * event, which perf has as "ums:<event>".
 */
#include <ctype.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "ums-trace.h"

const char *const event_names[EVENT_TYPES] = {
	[SCHEDULER_ENTER]	= "scheduler_enter",
	[SCHEDULER_EXIT]	= "scheduler_exit",
	[WORKER_ENTER]		= "worker_enter",
	[WORKER_EXIT]		= "worker_exit",
	[DEQUEUE]		= "dequeue",
	[REQUEUE]		= "requeue",
	[EXEC]			= "exec",
	[SWITCH]		= "switch",
	[STOP]			= "stop",
	[BLOCK]			= "block",
	[UNBLOCK]		= "unblock",
	[PREEMPT]		= "preempt",
	[WAIT_BEGIN]		= "wait_begin",
	[WAIT_END]		= "wait_end",
};

static const char *const causes[] = {
	[CAUSE_NEW]		= "new",
	[CAUSE_YIELDED]		= "yielded",
	[CAUSE_UNBLOCKED]	= "unblocked",
	[CAUSE_PREEMPTED]	= "preempted",
	[CAUSE_ORPHANED]	= "orphaned",
	[CAUSE_TERMINATED]	= "terminated",
	[CAUSE_BLOCKED]		= "blocked",
	[CAUSE_SWITCHED]	= "switched",
};

const char *cause_name(int cause)
{
	if (cause <= 0 || cause >= (int)ARRAY_SIZE(causes))
		return "unknown";
	return causes[cause];
}

static int find(const char *const *names, size_t count, const char *name,
		size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (names[i] && strlen(names[i]) == len &&
		    !memcmp(names[i], name, len))
			return i;
	return -1;
}

/* -1 for one that a later kernel has. */
int event_type(const char *name, size_t len)
{
	return find(event_names, EVENT_TYPES, name, len);
}

void event_set(struct event *event, const char *field, size_t len,
	       int64_t value)
{
	static const struct {
		const char *name;
		enum { TO_SCHEDULER, TO_WORKER, TO_NEXT, TO_TGID, TO_CLIST,
			TO_CAUSE, TO_VALUE } to;
	} places[] = {
		{ "scheduler_pid", TO_SCHEDULER }, { "worker_pid", TO_WORKER },
		{ "prev_pid", TO_WORKER }, { "next_pid", TO_NEXT },
		{ "tgid", TO_TGID }, { "clist", TO_CLIST },
		{ "cause", TO_CAUSE }, { "syscall", TO_VALUE },
		{ "slice_ns", TO_VALUE }, { "slice", TO_VALUE },
		{ "ret", TO_VALUE }, { "cookie", TO_VALUE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (strlen(places[i].name) != len ||
		    memcmp(places[i].name, field, len))
			continue;
		switch (places[i].to) {
		case TO_SCHEDULER:
			event->scheduler = value;
			break;
		case TO_WORKER:
			event->worker = value;
			break;
		case TO_NEXT:
			event->next = value;
			break;
		case TO_TGID:
			event->tgid = value;
			break;
		case TO_CLIST:
			event->clist = value;
			break;
		case TO_CAUSE:
			event->cause = value;
			break;
		case TO_VALUE:
			event->value = value;
			break;
		}
		return;
	}
}

struct event *event_add(struct event_list *list)
{
	if (list->count == list->room)
		list->events = grow(list->events, &list->room,
				    sizeof(*list->events));
	memset(&list->events[list->count], 0, sizeof(*list->events));
	return &list->events[list->count++];
}

/*
 * By time.  Those of one CPU are in order, and those of one moment are best left
 * as they came: a merge sort.
 */
void event_list_sort(struct event_list *list)
{
	struct event *from = list->events, *to, *swap;
	size_t width, i, a, b, mid, end;

	if (list->count < 2)
		return;
	to = calloc(list->count, sizeof(*to));
	if (!to)
		errx(EXIT_FAILED, "out of memory");
	for (width = 1; width < list->count; width *= 2) {
		for (i = 0; i < list->count; i = end) {
			mid = i + width < list->count ? i + width : list->count;
			end = mid + width < list->count ? mid + width :
							  list->count;
			a = i;
			b = mid;
			for (size_t k = i; k < end; k++) {
				if (b >= end ||
				    (a < mid && from[a].ns <= from[b].ns))
					to[k] = from[a++];
				else
					to[k] = from[b++];
			}
		}
		swap = from;
		from = to;
		to = swap;
	}
	list->events = from;
	list->room = list->count;
	free(to);
}

/* "<seconds>.<fraction>", with any number of digits, as nanoseconds. */
static bool parse_stamp(const char *text, size_t len, uint64_t *ns)
{
	uint64_t seconds = 0, part = 0;
	size_t i = 0, digits = 0;

	for (; i < len && isdigit((unsigned char)text[i]); i++)
		seconds = 10 * seconds + (text[i] - '0');
	if (!i || i == len || text[i] != '.')
		return false;
	for (i++; i < len && isdigit((unsigned char)text[i]); i++) {
		if (digits++ < 9)
			part = 10 * part + (text[i] - '0');
	}
	if (i != len || !digits)
		return false;
	for (; digits < 9; digits++)
		part *= 10;
	*ns = seconds * 1000000000 + part;
	return true;
}

/* What stands before " [<cpu>]": the thread that the event was recorded by. */
static void parse_thread(const char *line, const char *stamp)
{
	const char *end, *dash;
	long pid;

	while (*line == ' ')
		line++;
	for (end = strstr(line, " ["); ; end = strstr(end + 1, " [")) {
		if (!end || end > stamp)
			return;
		if (isdigit((unsigned char)end[2]))
			break;
	}
	while (end > line && end[-1] == ' ')
		end--;
	for (dash = end; dash > line && isdigit((unsigned char)dash[-1]); dash--)
		;
	if (dash == end || dash == line || (dash[-1] != '-' && dash[-1] != ' ' &&
					    dash[-1] != '/'))
		return;
	pid = strtol(dash, NULL, 10);
	for (dash--; dash > line && (dash[-1] == ' ' || dash[-1] == '/' ||
				     isdigit((unsigned char)dash[-1])); dash--)
		if (*dash == '-')
			break;
	if (pid > 0 && dash > line && *line != '<')
		name_thread(pid, line, dash - line);
}

static void parse_fields(const char *text, struct event *event)
{
	const char *name, *value, *end;

	while (*text) {
		while (*text == ' ')
			text++;
		name = text;
		text += strcspn(text, "=\n ");
		if (*text != '=') {
			if (*text == '\n')
				return;
			continue;
		}
		value = text + 1;
		end = value + strcspn(value, "\n ");
		if (text - name == 5 && !memcmp(name, "cause", 5) &&
		    !isdigit((unsigned char)*value))
			event->cause = find(causes, ARRAY_SIZE(causes), value,
					    end - value);
		else
			event_set(event, name, text - name,
				  strtoll(value, NULL, 0));
		text = end;
	}
}

/* False if the line is no event of ours. */
static bool parse_line(const char *line, struct event_list *list)
{
	const char *name = line, *stamp, *end;
	struct event *event;
	uint64_t ns;
	int type;

	while ((name = strstr(name, "ums_"))) {
		stamp = name;
		if (stamp - line > 4 && !memcmp(stamp - 4, "ums:", 4))
			stamp -= 4;
		while (stamp > line && stamp[-1] == ' ')
			stamp--;
		if (stamp > line && stamp[-1] == ':')
			break;
		name += 4;
	}
	if (!name)
		return false;
	name += 4;
	end = name + strcspn(name, ":\n ");
	type = event_type(name, end - name);
	if (type < 0 || *end != ':')
		return false;

	name = stamp - 1;
	for (stamp = name; stamp > line && stamp[-1] != ' '; stamp--)
		;
	if (!parse_stamp(stamp, name - stamp, &ns))
		return false;
	parse_thread(line, stamp);
	event = event_add(list);
	event->ns = ns;
	event->type = type;
	parse_fields(end + 1, event);
	return true;
}

/* "CPU:1 [LOST 23 EVENTS]", also in trace-cmd's words. */
static uint64_t parse_lost(const char *line)
{
	const char *lost = strstr(line, "LOST ");

	if (!lost)
		lost = strstr(line, "EVENTS DROPPED");
	if (!lost)
		return 0;
	lost += strcspn(lost, "0123456789\n");
	return isdigit((unsigned char)*lost) ? strtoull(lost, NULL, 10) : 1;
}

void read_text(const char *path, struct event_list *list)
{
	bool from_stdin = !strcmp(path, "-");
	FILE *in = from_stdin ? stdin : fopen(path, "re");
	size_t size = 0;
	char *line = NULL;

	if (!in)
		err(EXIT_FAILED, "%s", path);
	while (getline(&line, &size, in) >= 0)
		if (!parse_line(line, list) && *line != '#')
			list->lost += parse_lost(line);
	if (ferror(in))
		err(EXIT_FAILED, "%s", path);
	free(line);
	if (!from_stdin)
		fclose(in);
	if (!list->count)
		errx(EXIT_FAILED, "%s: no events of UMS in it, with times in seconds",
		     from_stdin ? "standard input" : path);
	event_list_sort(list);
}
