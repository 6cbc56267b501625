// SPDX-License-Identifier: GPL-2.0
/*
 * ums-trace: record what schedulers and workers do, as a timeline.
 *
 * See ums-trace.1, and ums-trace.h for what the other files do.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "ums-trace.h"

#define BUFFER_KIB	4096

void *grow(void *array, size_t *room, size_t size)
{
	*room = *room ? 2 * *room : 64;
	array = reallocarray(array, *room, size);
	if (!array)
		errx(EXIT_FAILED, "out of memory");
	return array;
}

/* --- names --- */

static struct name {
	pid_t pid;
	char name[32];
	struct name *next;
} *names[1024];

void name_thread(pid_t pid, const char *text, size_t len)
{
	struct name **bucket = &names[pid % ARRAY_SIZE(names)];
	struct name *name;

	for (name = *bucket; name && name->pid != pid; name = name->next)
		;
	if (!name) {
		name = calloc(1, sizeof(*name));
		if (!name)
			errx(EXIT_FAILED, "out of memory");
		name->pid = pid;
		name->next = *bucket;
		*bucket = name;
	}
	if (len >= sizeof(name->name))
		len = sizeof(name->name) - 1;
	memcpy(name->name, text, len);
	name->name[len] = 0;
}

const char *thread_name(pid_t pid)
{
	const struct name *name = names[pid % ARRAY_SIZE(names)];

	while (name && name->pid != pid)
		name = name->next;
	return name ? name->name : NULL;
}

const char *process_name(pid_t tgid, pid_t pid)
{
	const char *name = thread_name(tgid);

	if (!name)
		name = thread_name(pid);
	return name ? name : "process";
}

const char *syscall_name(int nr)
{
	static const struct {
		int nr;
		const char *name;
	} calls[] = {
#define CALL(name)	{ SYS_##name, #name }
		CALL(read), CALL(write), CALL(readv), CALL(writev),
		CALL(pread64), CALL(pwrite64), CALL(openat), CALL(close),
		CALL(futex), CALL(nanosleep), CALL(clock_nanosleep),
		CALL(ppoll), CALL(pselect6), CALL(epoll_pwait),
		CALL(recvfrom), CALL(recvmsg), CALL(sendto), CALL(sendmsg),
		CALL(accept), CALL(accept4), CALL(connect), CALL(wait4),
		CALL(waitid), CALL(fsync), CALL(fdatasync), CALL(fallocate),
		CALL(getdents64), CALL(ioctl), CALL(fcntl), CALL(flock),
		CALL(mmap), CALL(munmap), CALL(mprotect), CALL(madvise),
		CALL(rt_sigtimedwait), CALL(rt_sigsuspend),
		CALL(io_getevents), CALL(splice), CALL(sendfile), CALL(exit),
#ifdef SYS_poll
		CALL(poll), CALL(select), CALL(epoll_wait), CALL(open),
		CALL(pause),
#endif
#ifdef SYS_io_uring_enter
		CALL(io_uring_enter),
#endif
#undef CALL
	};
	static char number[24];

	if (nr == -1)
		return "a fault";
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].nr == nr)
			return calls[i].name;
	snprintf(number, sizeof(number), "system call %d", nr);
	return number;
}

const char *format_time(uint64_t ns)
{
	static const struct {
		uint64_t ns;
		const char *name;
	} units[] = {
		{ 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" },
	};
	static char buffers[4][32];
	static unsigned int nr;
	char *buffer = buffers[nr++ % 4];

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (ns < units[i].ns)
			continue;
		snprintf(buffer, sizeof(buffers[0]), "%.4g %s",
			 (double)ns / units[i].ns, units[i].name);
		return buffer;
	}
	snprintf(buffer, sizeof(buffers[0]), "%u ns", (unsigned int)ns);
	return buffer;
}

/* --- the command line --- */

static const char usage[] =
	"usage: ums-trace [-o FILE] [-s FILE] [OPTION]... -- COMMAND [ARGUMENT]...\n"
	"       ums-trace [-o FILE] [-s FILE] [OPTION]... --from FILE\n"
	"\n"
	"Record what the schedulers and workers of user-mode scheduling do while\n"
	"COMMAND runs, and write it as a timeline.\n"
	"\n"
	"  -o, --output FILE   write it for Perfetto and Chrome (JSON)\n"
	"  -s, --svg FILE      write a picture\n"
	"  -f, --from FILE     convert what tracefs, trace-cmd report or perf script\n"
	"                      printed, and record nothing\n"
	"  -b, --begin TIME    leave out what is before; 0 is the first event\n"
	"  -l, --length TIME   leave out what is later than this after the beginning\n"
	"  -m, --buffer KIB    of memory for each CPU (4096)\n"
	"  -h, --help          show this\n"
	"\n"
	"FILE - is standard output, or input.  TIME is a number with ns, us, ms or s.\n";

static const struct option long_options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "svg", required_argument, NULL, 's' },
	{ "from", required_argument, NULL, 'f' },
	{ "begin", required_argument, NULL, 'b' },
	{ "length", required_argument, NULL, 'l' },
	{ "buffer", required_argument, NULL, 'm' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

struct options {
	const char *json;
	const char *svg;
	const char *from;
	uint64_t begin;
	uint64_t length;
	unsigned int buffer_kib;
};

static uint64_t parse_time(const char *text)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {
		{ "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 },
	};
	double value;
	char *end;

	errno = 0;
	value = strtod(text, &end);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].name))
			continue;
		if (errno || end == text || !(value >= 0) ||
		    value * units[i].ns > 1e18)
			break;
		return value * units[i].ns;
	}
	errx(EXIT_FAILED, "%s: not a time such as 20ms", text);
}

static unsigned int parse_kib(const char *text)
{
	unsigned long kib;
	char *end;

	errno = 0;
	kib = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || kib < 8 ||
	    kib > 4 << 20)
		errx(EXIT_FAILED, "%s: not a number of KiB from 8 to %d", text, 4 << 20);
	return kib;
}

static void parse_options(int argc, char **argv, struct options *options)
{
	int opt;

	/* What is after the command's name is the command's. */
	while ((opt = getopt_long(argc, argv, "+o:s:f:b:l:m:h", long_options,
				  NULL)) != -1) {
		switch (opt) {
		case 'o':
			options->json = optarg;
			break;
		case 's':
			options->svg = optarg;
			break;
		case 'f':
			options->from = optarg;
			break;
		case 'b':
			options->begin = parse_time(optarg);
			break;
		case 'l':
			options->length = parse_time(optarg);
			break;
		case 'm':
			options->buffer_kib = parse_kib(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(EXIT_FAILED);
		}
	}
	if (!options->json && !options->svg)
		errx(EXIT_FAILED, "nothing to write: give -o or -s");
	if (!options->from && optind == argc)
		errx(EXIT_FAILED, "nothing to record: give a command, or --from");
	if (options->from && optind < argc)
		errx(EXIT_FAILED, "with --from there is no command: %s", argv[optind]);
}

/* --- output --- */

/* Opened before the command runs: better to fail then than afterwards. */
static FILE *open_output(const char *path)
{
	FILE *file;

	if (!path)
		return NULL;
	if (!strcmp(path, "-"))
		return stdout;
	file = fopen(path, "we");
	if (!file)
		err(EXIT_FAILED, "%s", path);
	return file;
}

static void write_output(const char *path, FILE *file,
			 void (*write)(FILE *out, const struct model *model),
			 const struct model *model)
{
	if (!file)
		return;
	write(file, model);
	if (ferror(file) || fflush(file) || (file != stdout && fclose(file)))
		err(EXIT_FAILED, "%s", path);
}

static char *join(char **words)
{
	size_t len = 1;
	char *text;

	for (int i = 0; words[i]; i++)
		len += strlen(words[i]) + 1;
	text = calloc(1, len);
	if (!text)
		errx(EXIT_FAILED, "out of memory");
	for (int i = 0; words[i]; i++) {
		if (i)
			strcat(text, " ");
		strcat(text, words[i]);
	}
	return text;
}

int main(int argc, char **argv)
{
	struct options options = { .buffer_kib = BUFFER_KIB };
	struct event_list list = { };
	struct model model = { };
	FILE *json, *svg;
	int status = 0;

	parse_options(argc, argv, &options);
	json = open_output(options.json);
	svg = open_output(options.svg);
	if (options.from) {
		model.command = options.from;
		read_text(options.from, &list);
	} else {
		model.command = join(argv + optind);
		record(argv + optind, options.buffer_kib, &list);
	}
	if (!list.count)
		warnx("nobody has used UMS meanwhile");
	if (list.lost)
		warnx("%llu events were lost: a larger --buffer keeps more",
		      list.lost);
	model_build(&model, &list);
	if (list.count)
		model_clip(&model, options.begin, options.length);
	write_output(options.json, json, write_json, &model);
	write_output(options.svg, svg, write_svg, &model);
	if (!options.from)
		status = record_end();
	return status;
}
