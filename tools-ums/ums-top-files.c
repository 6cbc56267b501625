// SPDX-License-Identifier: GPL-2.0
/*
 * ums-top: the files of one thread, and what their lines say.
 *
 * Copyright (C) UMS developers <ums@lists.linux.dev>
 */
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ums-top.h"

/* The inode of the initial PID namespace, the same on every machine. */
#define INITIAL_PID_NS	0xEFFFFFFCU

/**
 * file_read - read a file of /proc
 * @dir: the directory that it is in
 * @name: its name there
 * @text: room for FILE_SIZE; becomes a string
 *
 * Return: whether there was something to read.
 */
bool file_read(int dir, const char *name, char *text)
{
	ssize_t length;
	int fd;

	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, text, FILE_SIZE - 1);
	close(fd);
	if (length <= 0)
		return false;
	text[length] = '\0';
	return true;
}

/* The value of a line of an info file, up to the end of the file, or NULL. */
static const char *value_of(const char *text, const char *key)
{
	size_t length = strlen(key);
	const char *line = text;

	while (line) {
		if (!strncmp(line, key, length) && line[length] == ':' &&
		    line[length + 1] == '\t')
			return line + length + 2;
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return NULL;
}

/**
 * info_number - the number of a line of an info file
 * @text: the file
 * @key: the line's key
 *
 * Return: the number, 0 if there is no such line.
 */
unsigned long long info_number(const char *text, const char *key)
{
	const char *value = value_of(text, key);

	return value ? strtoull(value, NULL, 10) : 0;
}

/**
 * info_is - has a line of an info file this value?
 * @text: the file
 * @key: the line's key
 * @wanted: the value
 *
 * Return: whether it has.
 */
bool info_is(const char *text, const char *key, const char *wanted)
{
	const char *value = value_of(text, key);
	size_t length = strlen(wanted);

	return value && !strncmp(value, wanted, length) &&
	       (value[length] == '\n' || !value[length]);
}

/**
 * file_id - the id that the name of a directory stands for
 * @name: the name
 *
 * Return: the id, or 0 for another name.
 */
int file_id(const char *name)
{
	unsigned long id;
	char *end;

	if (!isdigit((unsigned char)*name))
		return 0;
	id = strtoul(name, &end, 10);
	return *end || id > INT_MAX ? 0 : id;
}

/*
 * A name is whatever the thread has given itself: what a terminal might take for
 * a command is not printed.
 */
static void copy_command(char *to, const char *from, size_t length)
{
	size_t i;

	if (length >= COMMAND_SIZE)
		length = COMMAND_SIZE - 1;
	for (i = 0; i < length; i++)
		to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	to[length] = '\0';
}

/* The fields of a stat file, as proc(5) counts them. */
enum {
	STAT_STATE	= 3,
	STAT_UTIME	= 14,
	STAT_STIME	= 15,
	STAT_PROCESSOR	= 39,
};

static bool parse_stat(struct thread *t, char *text)
{
	char *name = strchr(text, '('), *end = strrchr(text, ')');
	char *field, *rest;
	int i;

	if (!name || !end || end < name)
		return false;
	copy_command(t->command, name + 1, end - name - 1);
	t->ticks = 0;
	rest = end + 1;
	for (i = STAT_STATE; i <= STAT_PROCESSOR; i++) {
		do {
			field = strsep(&rest, " ");
		} while (field && !*field);
		if (!field)
			return false;
		if (i == STAT_STATE)
			t->state = *field;
		else if (i == STAT_UTIME || i == STAT_STIME)
			t->ticks += strtoull(field, NULL, 10);
		else if (i == STAT_PROCESSOR)
			t->processor = atoi(field);
	}
	return true;
}

/**
 * file_read_stat - read what the kernel says of a thread
 * @t: the thread
 * @dir: the directory that its file is in, or -1
 * @name: the file's name there
 */
void file_read_stat(struct thread *t, int dir, const char *name)
{
	char text[FILE_SIZE];

	t->known = dir != -1 && file_read(dir, name, text) &&
		   parse_stat(t, text);
	t->fresh = true;
}

/**
 * file_names_agree - does an id mean the same in all of /proc?
 *
 * The names in /proc/ums are those of the initial PID namespace.  In /proc of
 * another one they would stand for other threads.
 *
 * Return: whether it does.
 */
bool file_names_agree(void)
{
	static int agree = -1;
	struct stat st;

	if (agree < 0)
		agree = !stat("/proc/self/ns/pid", &st) &&
			st.st_ino == INITIAL_PID_NS;
	return agree;
}

/**
 * file_refresh - have what the kernel says of a thread read for this sample
 * @t: the thread
 */
void file_refresh(struct thread *t)
{
	char name[64];

	if (t->fresh || !file_names_agree())
		return;
	snprintf(name, sizeof(name), "/proc/%d/task/%d/stat", t->pid, t->tid);
	file_read_stat(t, AT_FDCWD, name);
}

/**
 * file_wait_channel - the function of the kernel that a thread sleeps in
 * @t: the thread
 * @name: where its name goes, "-" if it cannot be told
 * @size: room there
 */
void file_wait_channel(const struct thread *t, char *name, size_t size)
{
	char file[64], text[FILE_SIZE];

	snprintf(name, size, "-");
	if (!file_names_agree())
		return;
	snprintf(file, sizeof(file), "/proc/%d/task/%d/wchan", t->pid, t->tid);
	if (file_read(AT_FDCWD, file, text) && strcmp(text, "0"))
		snprintf(name, size, "%s", text);
}
