// SPDX-License-Identifier: GPL-2.0
/*
 * ums-trace: recording, in an instance of tracefs of our own, so that nobody
 * else's tracing is disturbed.
 *
 * What is printed in tracefs has times in microseconds, in which a scheduler
 * does several things.  So the ring buffers are read as they are, page by page,
 * in the format that events/header_page, events/header_event and the file
 * "format" of each event describe.
 */
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ums-trace.h"

#define TRACEFS		"/sys/kernel/tracing"
#define MAX_FIELDS	16
#define MAX_PAGE	65536

/* How often the buffers are read. */
#define INTERVAL_NS	50000000

struct field {
	char name[32];
	size_t len;
	unsigned int offset;
	unsigned int size;
	bool is_signed;
};

static struct format {
	unsigned int id;
	unsigned int nr_fields;
	struct field fields[MAX_FIELDS];
} formats[EVENT_TYPES];

/* From events/header_page. */
static struct {
	unsigned int commit_offset;
	unsigned int commit_size;
	unsigned int data_offset;
} page_format;

static char instance[128];
static bool mounted;
static int *cpu_fds;
static int nr_cpus;

static pid_t child;		/* the command, while it runs */
static int child_status;
static sigset_t old_mask;

static void clean_up(void)
{
	for (int cpu = 0; cpu_fds && cpu < nr_cpus; cpu++)
		if (cpu_fds[cpu] >= 0)
			close(cpu_fds[cpu]);
	nr_cpus = 0;
	if (*instance)
		rmdir(instance);
	*instance = 0;
	if (mounted)
		umount(TRACEFS);
	mounted = false;
}

/* --- files of tracefs --- */

static FILE *open_file(const char *fmt, const char *name, const char *mode)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), fmt, instance, name);
	file = fopen(path, mode);
	if (!file)
		err(EXIT_FAILED, "%s", path);
	return file;
}

static void put(const char *name, const char *value)
{
	FILE *file = open_file("%s/%s", name, "we");

	if (fputs(value, file) < 0 || fclose(file))
		err(EXIT_FAILED, "%s/%s: %s", instance, name, value);
}

/* "\tfield:<type> <name>;\toffset:<n>;\tsize:<n>;\tsigned:<n>;" */
static bool parse_field(const char *line, struct field *field)
{
	const char *end = strchr(line, ';'), *name;
	unsigned int is_signed;

	if (strncmp(line, "\tfield:", 7) || !end)
		return false;
	for (name = end; name > line && name[-1] != ' '; name--)
		;
	field->len = end - name;
	if (field->len >= sizeof(field->name))
		return false;
	memcpy(field->name, name, field->len);
	field->name[field->len] = 0;
	if (sscanf(end, ";\toffset:%u;\tsize:%u;\tsigned:%u;", &field->offset,
		   &field->size, &is_signed) != 3)
		return false;
	field->is_signed = is_signed;
	return true;
}

static void read_page_format(void)
{
	FILE *file = open_file("%s/events/%s", "header_page", "re");
	struct field field;
	char line[256];

	while (fgets(line, sizeof(line), file)) {
		if (!parse_field(line, &field))
			continue;
		if (!strcmp(field.name, "commit")) {
			page_format.commit_offset = field.offset;
			page_format.commit_size = field.size;
		} else if (!strcmp(field.name, "data")) {
			page_format.data_offset = field.offset;
		}
	}
	fclose(file);
	if (!page_format.data_offset || !page_format.commit_size)
		errx(EXIT_FAILED, "%s/events/header_page: not understood", instance);
}

static void read_format(int type)
{
	struct format *format = &formats[type];
	char path[128], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "ums/ums_%s/format", event_names[type]);
	file = open_file("%s/events/%s", path, "re");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "ID: %u", &format->id) == 1)
			continue;
		if (format->nr_fields < MAX_FIELDS &&
		    parse_field(line, &format->fields[format->nr_fields]))
			format->nr_fields++;
	}
	fclose(file);
	if (!format->id || !format->nr_fields)
		errx(EXIT_FAILED, "%s/events/%s: not understood", instance, path);
}

/* --- pages of the ring buffer --- */

static uint64_t load(const unsigned char *data, unsigned int size,
		     bool is_signed)
{
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	switch (size) {
	case 1:
		return is_signed ? (uint64_t)(int8_t)*data : *data;
	case 2:
		memcpy(&u16, data, sizeof(u16));
		return is_signed ? (uint64_t)(int16_t)u16 : u16;
	case 4:
		memcpy(&u32, data, sizeof(u32));
		return is_signed ? (uint64_t)(int32_t)u32 : u32;
	case 8:
		memcpy(&u64, data, sizeof(u64));
		return u64;
	default:
		return 0;
	}
}

static void add_record(const unsigned char *data, size_t size, uint64_t ns,
		       struct event_list *list)
{
	unsigned int id = load(data, 2, false);
	struct format *format;
	struct event *event;
	int type;

	for (type = 0; type < EVENT_TYPES; type++)
		if (formats[type].id == id)
			break;
	if (type == EVENT_TYPES)
		return;
	format = &formats[type];
	event = event_add(list);
	event->ns = ns;
	event->type = type;
	for (unsigned int i = 0; i < format->nr_fields; i++) {
		const struct field *field = &format->fields[i];

		if (field->offset + field->size <= size)
			event_set(event, field->name, field->len,
				  load(data + field->offset, field->size,
				       field->is_signed));
	}
}

/* The 5 bits of an event's header that tell its length, or what else it is. */
enum { TYPE_PADDING = 29, TYPE_TIME_EXTEND, TYPE_TIME_STAMP };

static void parse_page(const unsigned char *page, size_t size,
		       struct event_list *list)
{
	uint64_t ns = load(page, 8, false), delta;
	uint64_t commit = load(page + page_format.commit_offset,
			       page_format.commit_size, false);
	const unsigned char *data = page + page_format.data_offset;
	const unsigned char *end = data + (commit & 0xfffff);
	uint32_t header, type, word;

	if (end > page + size)
		errx(EXIT_FAILED, "a page of the ring buffer is not understood");
	while (end - data >= 4) {
		header = load(data, 4, false);
		if (__BYTE_ORDER == __LITTLE_ENDIAN) {
			type = header & 0x1f;
			delta = header >> 5;
		} else {
			type = header >> 27;
			delta = header & 0x7ffffff;
		}
		data += 4;
		/* Each but the short ones, which are multiples of four long. */
		word = 0;
		if (!type || type >= TYPE_PADDING) {
			if (end - data < 4)
				return;
			word = load(data, 4, false);
		}
		switch (type) {
		case TYPE_PADDING:
			if (!delta)
				return;
			ns += delta;
			data += word;
			continue;
		case TYPE_TIME_EXTEND:
			ns += ((uint64_t)word << 27) + delta;
			data += 4;
			continue;
		case TYPE_TIME_STAMP:
			/* Without the highest bits, which change once a day. */
			ns = (ns & (0x1fULL << 59)) +
			     ((uint64_t)word << 27) + delta;
			data += 4;
			continue;
		case 0:
			if (word < 4 || word > end - data)
				return;
			ns += delta;
			add_record(data + 4, word - 4, ns, list);
			data += word;
			continue;
		default:
			if (4 * type > end - data)
				return;
			ns += delta;
			add_record(data, 4 * type, ns, list);
			data += 4 * type;
		}
	}
}

/* All that there is by now. */
static void read_buffers(struct event_list *list)
{
	static unsigned char page[MAX_PAGE];
	ssize_t size;

	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		if (cpu_fds[cpu] < 0)
			continue;
		while ((size = read(cpu_fds[cpu], page, sizeof(page))) > 0)
			parse_page(page, size, list);
		if (size < 0 && errno != EAGAIN && errno != EINTR)
			err(EXIT_FAILED, "reading what CPU %d recorded", cpu);
	}
}

static uint64_t count_lost(void)
{
	char name[64], line[128];
	unsigned long long count;
	uint64_t lost = 0;
	FILE *file;

	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		if (cpu_fds[cpu] < 0)
			continue;
		snprintf(name, sizeof(name), "cpu%d/stats", cpu);
		file = open_file("%s/per_cpu/%s", name, "re");
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "overrun: %llu", &count) == 1)
				lost += count;
		fclose(file);
	}
	return lost;
}

/* --- before and after --- */

static void open_buffers(void)
{
	char path[256];

	nr_cpus = sysconf(_SC_NPROCESSORS_CONF);
	cpu_fds = calloc(nr_cpus, sizeof(*cpu_fds));
	if (!cpu_fds)
		errx(EXIT_FAILED, "out of memory");
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		snprintf(path, sizeof(path), "%s/per_cpu/cpu%d/trace_pipe_raw",
			 instance, cpu);
		cpu_fds[cpu] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		/* One that is not there has nothing to tell. */
		if (cpu_fds[cpu] < 0 && errno != ENOENT)
			err(EXIT_FAILED, "%s", path);
	}
}

static void open_instance(unsigned int buffer_kib)
{
	char path[sizeof(instance)], value[32];

	if (access(TRACEFS "/trace_clock", F_OK)) {
		if (!mount("tracefs", TRACEFS, "tracefs", 0, NULL))
			mounted = true;
		else if (errno == EPERM || errno == EACCES)
			errx(EXIT_FAILED, "%s: needs root", TRACEFS);
		else if (errno == ENODEV || errno == ENOENT)
			errx(EXIT_FAILED, "no tracefs: this kernel cannot trace (CONFIG_FTRACE)");
		else if (errno != EBUSY)
			err(EXIT_FAILED, "%s", TRACEFS);
	}
	atexit(clean_up);
	snprintf(path, sizeof(path), TRACEFS "/instances/ums-trace.%d",
		 getpid());
	if (mkdir(path, 0700)) {
		if (errno == EACCES || errno == EPERM)
			errx(EXIT_FAILED, "%s: needs root", TRACEFS);
		err(EXIT_FAILED, "%s", path);
	}
	/* To be removed at the end, whatever comes. */
	memcpy(instance, path, sizeof(instance));
	snprintf(value, sizeof(value), "%u", buffer_kib);
	put("buffer_size_kb", value);
	put("trace_clock", "mono");
}

static void check_events(void)
{
	char path[sizeof(instance) + 16];

	snprintf(path, sizeof(path), "%s/events/ums", instance);
	if (access(path, F_OK))
		errx(EXIT_FAILED,
		     "no events of UMS: no driver, or one without tracepoints");
}

/* "<pid> <command>" */
static void read_names(void)
{
	FILE *file = fopen(TRACEFS "/saved_cmdlines", "re");
	char line[64], name[32];
	int pid;

	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%d %31[^\n]", &pid, name) == 2 &&
		    *name != '<')
			name_thread(pid, name, strlen(name));
	fclose(file);
}

/* --- the command --- */

static void start(char **command)
{
	int report[2], error;

	if (pipe2(report, O_CLOEXEC))
		err(EXIT_FAILED, "pipe");
	child = fork();
	if (child < 0)
		err(EXIT_FAILED, "fork");
	if (!child) {
		sigprocmask(SIG_SETMASK, &old_mask, NULL);
		execvp(*command, command);
		error = errno;
		if (write(report[1], &error, sizeof(error)) != sizeof(error))
			_exit(125);
		_exit(error == ENOENT ? 127 : 126);
	}
	close(report[1]);
	if (read(report[0], &error, sizeof(error)) == sizeof(error)) {
		int status;

		waitpid(child, &status, 0);
		warnx("%s: %s", *command, strerror(error));
		exit(WEXITSTATUS(status));
	}
	close(report[0]);
}

int record_end(void)
{
	int status = child_status;

	if (child) {
		/* If it does not listen, whoever waits may tell us. */
		kill(child, SIGTERM);
		sigprocmask(SIG_SETMASK, &old_mask, NULL);
		waitpid(child, &status, 0);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}

void record(char **command, unsigned int buffer_kib, struct event_list *list)
{
	const struct timespec interval = { 0, INTERVAL_NS };
	sigset_t wait_for;
	int sig;

	open_instance(buffer_kib);
	check_events();
	read_page_format();
	for (int type = 0; type < EVENT_TYPES; type++)
		read_format(type);
	open_buffers();

	sigemptyset(&wait_for);
	sigaddset(&wait_for, SIGCHLD);
	sigaddset(&wait_for, SIGINT);
	sigaddset(&wait_for, SIGTERM);
	sigaddset(&wait_for, SIGHUP);
	sigprocmask(SIG_BLOCK, &wait_for, &old_mask);
	put("events/ums/enable", "1");
	start(command);
	do {
		sig = sigtimedwait(&wait_for, NULL, &interval);
		if (waitpid(child, &child_status, WNOHANG) == child)
			child = 0;
		read_buffers(list);
	} while (child && (sig < 0 || sig == SIGCHLD));
	put("tracing_on", "0");
	read_buffers(list);
	list->lost = count_lost();
	read_names();
	clean_up();
	event_list_sort(list);
}
