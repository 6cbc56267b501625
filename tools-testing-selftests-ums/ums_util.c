// SPDX-License-Identifier: GPL-2.0
/* What the UMS tests share: see ums_test.h. */
#include <dirent.h>
#include <getopt.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "ums_test.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* --- failures seen by other threads --- */

static char notes[512];
static atomic_int nr_notes;

/* Handlers and dying threads call this too: no lock, no stdio stream. */
bool ums_note(const char *file, int line, const char *what, long value)
{
	if (!atomic_fetch_add(&nr_notes, 1))
		snprintf(notes, sizeof(notes), "%s:%d: thread %d: %s (%ld)",
			 file, line, gettid(), what, value);
	return false;
}

const char *ums_notes(void)
{
	return notes;
}

/* --- time and waiting --- */

unsigned long ums_loops(unsigned long count)
{
	const char *text = getenv("UMS_LOOPS");
	unsigned long percent = text ? strtoul(text, NULL, 0) : 100;
	unsigned long loops = count * percent / 100;

	return loops ? loops : 1;
}

unsigned long ums_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

long ums_now_ms(void)
{
	return ums_now_ns() / 1000000;
}

void ums_sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

void ums_spin_us(long us)
{
	unsigned long end = ums_now_ns() + us * 1000;

	while (ums_now_ns() < end)
		;
}

int ums_nap_us(long us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	return syscall(SYS_nanosleep, &ts, NULL) ? -errno : 0;
}

int ums_pin(int cpu)
{
	cpu_set_t cpus;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus) ? -errno : 0;
}

static void *hog_main(void *arg)
{
	struct ums_hog *hog = arg;

	CHECK_EQ(0, ums_pin(hog->cpu));
	while (!atomic_load(&hog->stop))
		;
	return NULL;
}

int ums_hog_start(struct ums_hog *hog, int cpu)
{
	hog->cpu = cpu;
	atomic_store(&hog->stop, 0);
	return -pthread_create(&hog->thread, NULL, hog_main, hog);
}

void ums_hog_stop(struct ums_hog *hog)
{
	atomic_store(&hog->stop, 1);
	pthread_join(hog->thread, NULL);
}

void ums_gate_pass(struct ums_gate *gate, unsigned int threads,
		   unsigned int round)
{
	unsigned int spins = 0;

	atomic_fetch_add(&gate->arrived, 1);
	while (atomic_load(&gate->arrived) < threads * (round + 1))
		if (++spins % 1000 == 0)
			sched_yield();
}

/* --- signals --- */

atomic_int ums_caught[65];
atomic_int ums_caught_by[65];

static void count_signal(int sig)
{
	int saved = errno;

	/* Who sees the count reads the other. */
	atomic_store(&ums_caught_by[sig], gettid());
	atomic_fetch_add(&ums_caught[sig], 1);
	errno = saved;
}

int ums_catch(int sig, int flags)
{
	struct sigaction action = {
		.sa_handler = count_signal,
		.sa_flags = flags,
	};

	return sigaction(sig, &action, NULL) ? -errno : 0;
}

int ums_tick_start(struct ums_tick *tick, pid_t tid, int sig, long first_us,
		   long interval_us)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = sig,
	};
	struct itimerspec when = {
		.it_value = { first_us / 1000000, first_us % 1000000 * 1000 },
		.it_interval = {
			interval_us / 1000000, interval_us % 1000000 * 1000
		},
	};

	event.sigev_notify_thread_id = tid;
	if (timer_create(CLOCK_MONOTONIC, &event, &tick->timer) ||
	    timer_settime(tick->timer, 0, &when, NULL))
		return -errno;
	return 0;
}

void ums_tick_stop(struct ums_tick *tick)
{
	timer_delete(tick->timer);
}

/* --- workers --- */

void ums_worker_went_on(struct ums_worker *worker)
{
	unsigned long used = atomic_fetch_add(&worker->used, 1) + 1;

	CHECK(used <= atomic_load(&worker->granted));
}

void ums_worker_may_run(struct ums_worker *worker)
{
	/* The latter may grow meanwhile only if the worker runs unbidden. */
	unsigned long granted = atomic_load(&worker->granted);

	CHECK(atomic_load(&worker->reported) < granted);
}

void ums_worker_yield(struct ums_worker *worker, unsigned long value)
{
	CHECK_EQ(0, ums_yield(worker->fd, value));
	ums_worker_went_on(worker);
}

static void *worker_main(void *arg)
{
	struct ums_worker *worker = arg;

	atomic_store(&worker->tid, gettid());
	atomic_store(&worker->entered, ums_enter(worker->fd, ENTER_UMS_WORK,
						 worker->clist,
						 worker->cookie));
	if (atomic_load(&worker->entered))
		return NULL;
	ums_worker_went_on(worker);
	worker->fn(worker);
	return NULL;
}

int ums_worker_create(struct ums_worker *worker, int fd, int clist,
		      void (*fn)(struct ums_worker *worker))
{
	worker->fd = fd;
	worker->clist = clist;
	worker->fn = fn;
	atomic_store(&worker->tid, 0);
	atomic_store(&worker->entered, 1);
	atomic_store(&worker->stage, 0);
	return -pthread_create(&worker->thread, NULL, worker_main, worker);
}

int ums_worker_start(struct ums_worker *worker, int fd, int clist,
		     void (*fn)(struct ums_worker *worker))
{
	int ret = ums_worker_create(worker, fd, clist, fn);

	if (ret)
		return ret;
	if (!WAIT_FOR(worker->entered != 1 ||
		      (worker->tid && ums_is_parked(worker->tid))))
		return -ETIMEDOUT;
	return worker->entered == 1 ? 0 : worker->entered;
}

void ums_work_return(struct ums_worker *worker)
{
	worker->stage = 1;
}

void ums_work_yield(struct ums_worker *worker)
{
	for (long i = 0; i < worker->value; i++)
		ums_worker_yield(worker, i);
}

void ums_work_yield_forever(struct ums_worker *worker)
{
	for (unsigned long i = 0;; i++)
		ums_worker_yield(worker, i);
}

void ums_work_spin(struct ums_worker *worker)
{
	worker->stage = 1;
	while (worker->stage < 2)
		;
}

/* --- schedulers --- */

int ums_event_wait(int fd, struct ums_event *event)
{
	int ret;

	do {
		ret = ums_dqevent(fd, event);
	} while (ret == -EINTR);
	return ret;
}

int ums_become_sched_with(int fd, int clist, __u32 flags)
{
	struct ums_event event;
	int ret = ums_enter_sched(fd, clist, flags);

	if (!ret)
		ret = ums_event_wait(fd, &event);
	if (!ret && event.type != SCHEDULER_STARTUP)
		ret = -EPROTO;
	return ret;
}

int ums_become_sched(int fd, int clist)
{
	return ums_become_sched_with(fd, clist, 0);
}

void ums_run_interrupted(int fd, pid_t context, __u64 slice_ns)
{
	struct ums_event event;
	struct ums_tick tick;

	CHECK_EQ(0, ums_tick_start(&tick, gettid(), SIGUSR2, 20000, 20000));
	CHECK_EQ(-EINTR, ums_run(fd, context, slice_ns, &event));
	ums_tick_stop(&tick);
}

int ums_run_once(int fd, pid_t context, struct ums_event *event)
{
	int ret = ums_exec(fd, context);

	if (ret && ret != -EINTR)
		return ret;
	return ums_event_wait(fd, event);
}

int ums_collect(int fd, int clist, pid_t *contexts, int count)
{
	int got = 0, context = 0;

	while (got < count) {
		context = ums_dequeue(fd, clist);
		while (context > 0 && got < count) {
			contexts[got++] = context;
			context = ums_next(fd, context);
		}
		if (context < 0)
			return context;
	}
	/* More than was asked for is a fault of the test or the kernel. */
	return context ? -E2BIG : 0;
}

struct ums_worker *ums_find_worker(struct ums_test_run *run, pid_t context)
{
	for (int i = 0; i < run->nr_workers; i++)
		if (run->workers[i].tid == context)
			return &run->workers[i];
	return NULL;
}

/* Executes a worker and takes the next event; -ESTALE: it is of another one. */
static int run_with_account(struct ums_test_run *run,
			    struct ums_worker *worker, struct ums_event *event)
{
	bool sliced = run->slice_ns;
	int ret;

	while (1) {
		atomic_fetch_add(&worker->granted, 1);
		ret = sliced ? ums_run(run->fd, worker->tid, run->slice_ns,
				       event) :
			       ums_exec(run->fd, worker->tid);
		if (ret != -EAGAIN)
			break;
		/* A debugger holds it. */
		atomic_fetch_sub(&worker->granted, 1);
		atomic_fetch_add(&run->eagain, 1);
		usleep(100);
	}
	if (ret == -EINTR)
		atomic_fetch_add(&run->eintr, 1);
	else if (ret)
		atomic_fetch_sub(&worker->granted, 1);
	if (ret == -EINTR || (!ret && !sliced))
		ret = ums_event_wait(run->fd, event);
	if (ret)
		return ret;
	return ums_event_context(event) == worker->tid ? 0 : -ESTALE;
}

/* An event in the accounts; the last end deletes the list. */
static int account_event(struct ums_test_run *run, struct ums_worker *worker,
			 const struct ums_event *event)
{
	switch (event->type) {
	case THREAD_YIELD:
		atomic_fetch_add(&run->yields, 1);
		break;
	case THREAD_TERMINATED:
		atomic_fetch_add(&run->ends, 1);
		break;
	case THREAD_BLOCKED:
		atomic_fetch_add(&run->blocks, 1);
		atomic_fetch_add(&worker->resumed, 1);
		break;
	case THREAD_PREEMPTED:
		atomic_fetch_add(&run->preempts, 1);
		atomic_fetch_add(&worker->resumed, 1);
		break;
	default:
		return -EPROTO;
	}
	atomic_fetch_add(&worker->reported, 1);
	if (run->on_event)
		run->on_event(run, worker, event);
	if (event->type == THREAD_TERMINATED &&
	    atomic_fetch_sub(&run->live, 1) == 1)
		return ums_delete(run->fd, run->clist);
	return 0;
}

int ums_run_contexts(struct ums_test_run *run, const pid_t *contexts,
		     int count)
{
	struct ums_event event;
	int ret = 0;

	for (int i = 0; i < count && !ret; i++) {
		struct ums_worker *worker = ums_find_worker(run, contexts[i]);

		if (!worker)
			return -ENXIO;
		ret = run_with_account(run, worker, &event);
		if (!ret)
			ret = account_event(run, worker, &event);
	}
	return ret;
}

int ums_schedule(struct ums_test_run *run)
{
	pid_t contexts[64];

	while (atomic_load(&run->live) > 0) {
		int count = 0;
		int context = ums_dequeue(run->fd, run->clist);
		int ret;

		if (context == -EINTR) {
			atomic_fetch_add(&run->eintr, 1);
			continue;
		}
		/* Another scheduler has seen the last worker end. */
		if ((context == -EIDRM || context == -EINVAL) &&
		    !atomic_load(&run->live))
			break;
		while (context > 0) {
			if (count == 64)
				return -E2BIG;
			contexts[count++] = context;
			context = ums_next(run->fd, context);
		}
		if (context < 0)
			return context;
		ret = ums_run_contexts(run, contexts, count);
		if (ret)
			return ret;
	}
	return 0;
}

static void *sched_main(void *arg)
{
	struct ums_sched *sched = arg;

	ums_pin(sched->cpu);
	sched->ret = ums_become_sched_with(sched->fd, sched->clist,
					   sched->flags);
	if (sched->ret) {
		CHECK_EQ(0, sched->ret);
		return NULL;
	}
	/* Who waits for this knows that the list is not gone by then. */
	atomic_store(&sched->tid, gettid());
	if (sched->fn) {
		sched->fn(sched);
		return NULL;
	}
	sched->ret = ums_schedule(sched->run);
	CHECK_EQ(0, sched->ret);
	CHECK_EQ(0, ums_exit(sched->fd));
	return NULL;
}

int ums_sched_start(struct ums_sched *sched)
{
	if (sched->run) {
		sched->fd = sched->run->fd;
		sched->clist = sched->run->clist;
		sched->flags = sched->run->flags;
	}
	return -pthread_create(&sched->thread, NULL, sched_main, sched);
}

void ums_wait_once(struct ums_sched *sched, enum ums_wait_kind kind)
{
	struct ums_event event;
	pid_t context = 0;

	if (kind == WAIT_WORKER)
		context = ums_dequeue(sched->fd, sched->clist);
	sched->stage = 1;
	switch (kind) {
	case WAIT_EVENT:
		sched->ret = ums_dqevent(sched->fd, &event);
		break;
	case WAIT_LIST:
		sched->ret = ums_dequeue(sched->fd, sched->clist);
		break;
	case WAIT_WORKER:
		sched->ret = ums_exec(sched->fd, context);
		break;
	}
	sched->stage = 2;
}

static void storm_worker(struct ums_worker *worker)
{
	struct ums_storm *storm = worker->arg;
	bool block = storm->run.flags & ENTER_UMS_BLOCK_EVENTS;

	for (long i = 0; !atomic_load(&storm->stop); i++) {
		if (block && i % 4 == 0)
			ums_nap_us(1);
		if (!storm->lenient)
			ums_worker_may_run(worker);
		ums_worker_yield(worker, i);
	}
}

int ums_storm_start_with(struct ums_storm *storm, int fd, int clist,
			 __u32 flags, __u64 slice_ns)
{
	int ret;

	storm->run = (struct ums_test_run) {
		.fd = fd, .clist = clist, .workers = storm->workers,
		.nr_workers = UMS_STORM_WORKERS, .live = UMS_STORM_WORKERS,
		.flags = flags, .slice_ns = slice_ns,
	};
	for (int i = 0; i < UMS_STORM_WORKERS; i++) {
		storm->workers[i].arg = storm;
		ret = ums_worker_start(&storm->workers[i], fd, clist,
				       storm_worker);
		if (ret)
			return ret;
	}
	for (int i = 0; i < 2; i++) {
		storm->scheds[i].run = &storm->run;
		storm->scheds[i].cpu = -1;
		ret = ums_sched_start(&storm->scheds[i]);
		if (ret)
			return ret;
		if (!WAIT_FOR(storm->scheds[i].tid))
			return -ETIMEDOUT;
	}
	return 0;
}

int ums_storm_start(struct ums_storm *storm, int fd, int clist)
{
	return ums_storm_start_with(storm, fd, clist, 0, 0);
}

int ums_storm_end(struct ums_storm *storm)
{
	unsigned long before = storm->run.yields;

	if (!WAIT_FOR(storm->run.yields > before + 100))
		return -ETIMEDOUT;
	atomic_store(&storm->stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(storm->scheds[i].thread, NULL);
	for (int i = 0; i < UMS_STORM_WORKERS; i++)
		pthread_join(storm->workers[i].thread, NULL);
	return 0;
}

/* --- looking from outside --- */

static int read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		n = read(fd, buf + len, size - 1 - len);
		if (n < 0) {
			n = -errno;
			close(fd);
			return n;
		}
		if (!n)
			break;
		len += n;
	}
	close(fd);
	buf[len] = 0;
	return len;
}

/* Of a thread of this process, or of another one by its id. */
static char task_state(const char *proc, pid_t tid)
{
	char path[64], buf[1024], *end;

	snprintf(path, sizeof(path), "/proc/%s%d/stat", proc, tid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return 0;
	/* The name may hold anything, a ')' too. */
	end = strrchr(buf, ')');
	return end ? end[2] : 0;
}

char ums_task_state(pid_t tid)
{
	return task_state("self/task/", tid);
}

bool ums_is_parked(pid_t tid)
{
	return ums_task_state(tid) == 'S';
}

long ums_task_status(pid_t tid, const char *key, int base)
{
	char path[64], buf[4096], *line;
	size_t len = strlen(key);

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return -1;
	for (line = buf; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, len) && line[len] == ':')
			return strtoull(line + len + 1, NULL, base);
	}
	return -1;
}

bool ums_exists(const char *fmt, ...)
{
	char path[PATH_MAX];
	struct stat st;
	va_list args;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	return !lstat(path, &st);
}

bool ums_info(const char *path, const char *key, char *value, size_t size)
{
	char buf[4096], *line, *next;
	size_t len = strlen(key);

	if (read_file(path, buf, sizeof(buf)) <= 0)
		return false;
	for (line = buf; *line; line = next) {
		next = strchr(line, '\n');
		if (!next)
			return false;
		*next++ = 0;
		if (!strncmp(line, key, len) && line[len] == ':' &&
		    line[len + 1] == '\t') {
			snprintf(value, size, "%s", line + len + 2);
			return true;
		}
	}
	return false;
}

long ums_info_number(const char *path, const char *key)
{
	char value[64], *end;
	long number;

	if (!ums_info(path, key, value, sizeof(value)))
		return -1;
	number = strtol(value, &end, 0);
	return *value && !*end ? number : -1;
}

void ums_sched_info(char *path, pid_t pid, pid_t sched)
{
	sprintf(path, UMS_PROC "/%d/schedulers/%d/info", pid, sched);
}

void ums_worker_info(char *path, pid_t pid, pid_t worker)
{
	sprintf(path, UMS_PROC "/%d/workers/%d/info", pid, worker);
}

bool ums_put(const char *text, const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list args;
	bool ok;
	int fd;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

long ums_number(const char *dir, const char *file, const char *key)
{
	char path[PATH_MAX], line[256];
	size_t len = strlen(key);
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, len) && (!len || line[len] == ' '))
			value = atol(line + len);
	if (f)
		fclose(f);
	return value;
}

long ums_slab_objects(const char *name)
{
	/* What lies free in the processors' own slabs counts as used. */
	ums_put("1", "/sys/kernel/slab/%s/shrink", name);
	return ums_number("/proc", "slabinfo", name);
}

int ums_find_fd(const char *path)
{
	char link[64], target[PATH_MAX];

	for (int fd = 0; fd < 64; fd++) {
		ssize_t len;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, target, sizeof(target));
		if (len == (ssize_t)strlen(path) && !memcmp(target, path, len))
			return fd;
	}
	return -1;
}

int ums_count_entries(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int count = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			count++;
	closedir(dir);
	return count;
}

/* --- cgroups --- */

int ums_group_make(struct ums_group *group, bool memory, const char **why)
{
	int ret = 0;

	*group = (struct ums_group) { .root = "/tmp/ums-cgroup.XXXXXX" };
	*why = NULL;
	if (geteuid()) {
		*why = NO_ROOT;
		return 0;
	}
	if (!mkdtemp(group->root))
		return -errno;
	if (mount("none", group->root, "cgroup2", 0, NULL)) {
		*why = "needs CONFIG_CGROUPS";
		goto err_root;
	}
	if (memory && !ums_put("+memory", "%s/cgroup.subtree_control",
			       group->root)) {
		*why = "needs CONFIG_MEMCG, and no cgroup v1 that has it";
		goto err_mount;
	}
	snprintf(group->path, sizeof(group->path), "%s/ums-test-%d",
		 group->root, getpid());
	if (!mkdir(group->path, 0700))
		return 0;
	ret = -errno;

err_mount:
	umount(group->root);
err_root:
	rmdir(group->root);
	return ret;
}

bool ums_group_remove(struct ums_group *group)
{
	return ums_put("0", "%s/cgroup.procs", group->root) &&
	       !rmdir(group->path) && !umount(group->root) &&
	       !rmdir(group->root);
}

/* --- children --- */

pid_t ums_stop_and_continue(int pairs, int max_us)
{
	pid_t parent = getpid(), child = fork();
	unsigned int seed = parent;

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < pairs; i++) {
		usleep(rand_r(&seed) % max_us);
		if (kill(parent, SIGSTOP))
			_exit(1);
		/* Sometimes it is taken back before anybody has stopped. */
		if (i % 3)
			usleep(rand_r(&seed) % max_us);
		if (kill(parent, SIGCONT))
			_exit(2);
	}
	_exit(0);
}

pid_t ums_stop_until_stopped(pid_t tid)
{
	pid_t parent = getpid(), child = fork();
	bool stopped;

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (kill(parent, SIGSTOP))
		_exit(1);
	stopped = WAIT_FOR(task_state("", tid) == 'T');
	ums_sleep_ms(QUIET_MS);
	if (kill(parent, SIGCONT))
		_exit(2);
	_exit(stopped ? 0 : 3);
}

int ums_wait_child(pid_t child)
{
	long end = ums_now_ms() + 3 * SOON_MS;
	int status;
	pid_t ret;

	for (;;) {
		ret = waitpid(child, &status, WNOHANG);
		if (ret == child)
			return status;
		if (ret < 0 && errno != EINTR)
			return -errno;
		if (ums_now_ms() > end)
			break;
		usleep(200);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return -ETIMEDOUT;
}

void ums_helper(char *path, const char *name)
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	path[len < 0 ? 0 : len] = 0;
	slash = strrchr(path, '/');
	snprintf(slash ? slash + 1 : path, PATH_MAX - len, "%s", name);
}

/* --- options --- */

static void set_option(const struct ums_option *option)
{
	unsigned long number;
	char *end;

	if (option->flag) {
		*option->flag = true;
		return;
	}
	if (option->text) {
		*option->text = optarg;
		return;
	}
	number = strtoul(optarg, &end, 0);
	if (*end || end == optarg || number < option->least ||
	    number > option->most) {
		fprintf(stderr, "%s: --%s: %s is not between %lu and %lu\n",
			program_invocation_short_name, option->name, optarg,
			option->least, option->most);
		exit(2);
	}
	*option->number = number;
}

void ums_options(int argc, char **argv, const struct ums_option *options)
{
	struct option known[UMS_MAX_OPTIONS + 1] = {};
	int i;

	for (i = 0; i < UMS_MAX_OPTIONS && options[i].name; i++)
		known[i] = (struct option) {
			.name = options[i].name,
			.has_arg = options[i].flag ? no_argument :
						     required_argument,
			.val = i,
		};
	while ((i = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (i == '?')
			exit(2);
		set_option(&options[i]);
	}
}

/* --- debuggers --- */

pid_t ums_fork_tracer(void)
{
	pid_t child;

	/* The tracer is a child, which Yama allows only if it is told to. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	child = fork();
	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

int ums_wait_for_stop(pid_t tid)
{
	int status;

	TRACE(waitpid(tid, &status, __WALL));
	if (!WIFSTOPPED(status))
		_exit(201);
	return status;
}

static void hold_thread(int in, int out)
{
	char byte = 0;
	pid_t tid;

	/* The other end is closed if nobody is to be held. */
	if (read(in, &tid, sizeof(tid)) != sizeof(tid))
		_exit(0);
	TRACE(ptrace(PTRACE_SEIZE, tid, 0, 0));
	TRACE(ptrace(PTRACE_INTERRUPT, tid, 0, 0));
	ums_wait_for_stop(tid);
	if (write(out, &byte, 1) != 1)
		_exit(202);
	/* Until the other end is closed. */
	if (read(in, &byte, 1))
		_exit(203);
	TRACE(ptrace(PTRACE_DETACH, tid, 0, 0));
	_exit(0);
}

int ums_hold_fork(struct ums_hold *hold)
{
	int down[2], up[2];

	if (pipe(down) || pipe(up))
		return -errno;
	hold->child = ums_fork_tracer();
	if (!hold->child) {
		close(up[0]);
		close(down[1]);
		hold_thread(down[0], up[1]);
	}
	close(up[1]);
	close(down[0]);
	hold->tell = down[1];
	hold->told = up[0];
	return 0;
}

int ums_hold_stop(struct ums_hold *hold, pid_t tid)
{
	char byte;
	int ret = 0;

	if (write(hold->tell, &tid, sizeof(tid)) != sizeof(tid) ||
	    read(hold->told, &byte, 1) != 1)
		ret = -EIO;
	close(hold->told);
	return ret;
}

int ums_hold_start(struct ums_hold *hold, pid_t tid)
{
	return ums_hold_fork(hold) ?: ums_hold_stop(hold, tid);
}

int ums_hold_end(struct ums_hold *hold)
{
	close(hold->tell);
	return ums_wait_child(hold->child);
}

/* --- other processes --- */

void ums_become_nobody(void)
{
	MUST(!syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY));
	MUST(!syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY));
}

int ums_send_fds(int sock, const int *fds, int count)
{
	char data = 0, control[CMSG_SPACE(2 * sizeof(int))] = {};
	struct iovec iov = { &data, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

int ums_receive_fds(int sock, int *fds, int count)
{
	char data, control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec iov = { &data, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *cmsg;

	if (recvmsg(sock, &msg, 0) != 1)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_len != CMSG_LEN(count * sizeof(int)))
		return -ENOENT;
	memcpy(fds, CMSG_DATA(cmsg), count * sizeof(int));
	return 0;
}

int ums_schedule_in_namespace(int tell)
{
	struct ums_worker worker = { .granted = ULONG_MAX / 2 };
	struct ums_event event;
	int fd = ums_open(), clist;

	if (getpid() != 1 || fd < 0)
		return 1;
	clist = ums_create(fd);
	worker.value = 1;
	/* Not ums_worker_start(): /proc here is that of the namespace above. */
	if (ums_worker_create(&worker, fd, clist, ums_work_yield) ||
	    ums_become_sched(fd, clist))
		return 2;
	/* Thread ids of a new namespace are small. */
	if (ums_dequeue(fd, clist) != worker.tid || worker.tid > 100)
		return 3;
	if (ums_run_once(fd, worker.tid, &event) ||
	    event.type != THREAD_YIELD ||
	    event.yield_params.context != worker.tid)
		return 4;
	if (write(tell, "x", 1) != 1)
		return 5;
	pause();
	return 6;
}

/* --- page faults --- */

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif

bool ums_faults_start(struct ums_faults *faults, bool kernel_faults)
{
	long size = UMS_NR_FAULTS * sysconf(_SC_PAGESIZE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	faults->uffd = syscall(SYS_userfaultfd, O_CLOEXEC |
			       (kernel_faults ? 0 : UFFD_USER_MODE_ONLY));
	if (faults->uffd < 0)
		return false;
	faults->map = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	range.range.start = (uintptr_t)faults->map;
	range.range.len = size;
	return faults->map != MAP_FAILED &&
	       !ioctl(faults->uffd, UFFDIO_API, &api) &&
	       !ioctl(faults->uffd, UFFDIO_REGISTER, &range);
}

char *ums_fault_page(struct ums_faults *faults, int nr)
{
	return faults->map + nr * sysconf(_SC_PAGESIZE);
}

int ums_faults_end(struct ums_faults *faults, int nr)
{
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)ums_fault_page(faults, nr),
		.range.len = sysconf(_SC_PAGESIZE),
	};

	return ioctl(faults->uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}
