// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: tests of what needs no second thread: where workers,
 * events and ids go, and in which order; times; what procfs shows.
 *
 * Each case has a device, opened, called and closed by the driver's own
 * functions, and memory of a user to pass to them.  Its schedulers and workers
 * are the driver's, too, and are known by ids of their own; but the thread that
 * all of them stand for is the one that runs the case, and it is not attached.
 */

#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/syscall.h>

#include "ums.h"

/* No thread has ids beyond this; those of the case's contexts do. */
#define FIRST_PID		(PID_MAX_LIMIT + 1)
/* A scheduler that there is not. */
#define NO_PID			(PID_MAX_LIMIT + 1000000)

/* Where in the user's page an array for IOCTL_UMS_DEQUEUE is. */
#define READY_AT		1024
#define READY_MAX		64

/**
 * struct case_data - what each case has
 * @file: the device
 * @data: what the driver made of it
 * @last_pid: of the context made last
 * @user: a page of the user's memory
 * @read_only: the same page, where it cannot be written
 * @nowhere: an address without memory, just behind @user
 * @ready: what was dequeued last
 */
struct case_data {
	struct file *file;
	struct ums_data *data;
	pid_t last_pid;
	void __user *user;
	void __user *read_only;
	void __user *nowhere;
	struct ums_ready ready[READY_MAX];
};

/* ---- a device ------------------------------------------------------------ */

static int device_release(struct inode *inode, struct file *file)
{
	return file->private_data ? ums_fops.release(inode, file) : 0;
}

static const struct file_operations device_fops = {
	.owner		= THIS_MODULE,
	.release	= device_release,
};

static void close_device(void *ptr)
{
	struct file *file = ptr;

	if (file->private_data)
		ums_fops.flush(file, NULL);
	fput(file);
}

static void __user *map(struct kunit *test, struct file *file, void __user *at,
			unsigned long len, unsigned long prot)
{
	unsigned long flags = (file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS) |
			      (at ? MAP_FIXED : 0);
	unsigned long addr;

	addr = kunit_vm_mmap(test, file, (unsigned long)at, len, prot, flags, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	return (void __user *)addr;
}

/* A page that can be mapped more than once. */
static int memory_mmap(struct file *file, struct vm_area_struct *vma)
{
	return vm_insert_page(vma, vma->vm_start, file->private_data);
}

static const struct file_operations memory_fops = {
	.owner	= THIS_MODULE,
	.mmap	= memory_mmap,
};

static void map_user_memory(struct kunit *test, struct case_data *t)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	struct file *memory;

	KUNIT_ASSERT_NOT_NULL(test, page);
	memory = anon_inode_getfile("[ums_kunit]", &memory_fops, page, O_RDWR);
	KUNIT_ASSERT_FALSE(test, IS_ERR(memory));
	t->user = map(test, NULL, NULL, 3 * PAGE_SIZE, PROT_NONE);
	t->nowhere = t->user + PAGE_SIZE;
	t->read_only = t->user + 2 * PAGE_SIZE;
	map(test, memory, t->user, PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(test, memory, t->read_only, PAGE_SIZE, PROT_READ);
	/* What is mapped has references of its own. */
	fput(memory);
	put_page(page);
}

static int case_init(struct kunit *test)
{
	struct case_data *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct file *file;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->last_pid = FIRST_PID;
	map_user_memory(test, t);

	file = anon_inode_getfile("[ums_kunit]", &device_fops, NULL, O_RDWR);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, close_device, file),
			0);
	KUNIT_ASSERT_EQ(test, ums_fops.open(file_inode(file), file), 0);
	t->file = file;
	t->data = file->private_data;
	return 0;
}

static long call(struct kunit *test, unsigned int cmd, unsigned long arg)
{
	struct case_data *t = test->priv;

	return ums_fops.unlocked_ioctl(t->file, cmd, arg);
}

/* A new completion list.  Return: its id. */
static s32 new_clist(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = 0;

	KUNIT_ASSERT_EQ(test, call(test, IOCTL_CREATE_UMS_CLIST,
				   (unsigned long)t->user), 0);
	KUNIT_ASSERT_EQ(test, get_user(id, (s32 __user *)t->user), 0);
	return id;
}

/* The list itself, which the case's device keeps. */
static struct ums_complist *clist_of(struct kunit *test, s32 id)
{
	struct case_data *t = test->priv;
	struct ums_complist *cl = ums_complist_get(t->data, id);

	KUNIT_ASSERT_NOT_NULL(test, cl);
	ums_complist_put(cl);
	return cl;
}

/* ---- schedulers and workers ---------------------------------------------- */

/*
 * With the device closed, a call that would go on to wait for what another
 * thread does returns when its own part is done.
 */
static void set_closed(struct kunit *test, bool closed)
{
	struct case_data *t = test->priv;

	WRITE_ONCE(t->data->closed, closed);
}

static void end_scheduler(void *ptr)
{
	struct ums_scheduler *s = ptr;

	ums_scheduler_end(s);
	ums_scheduler_destroy(s);
}

static void end_worker(void *ptr)
{
	struct ums_worker *w = ptr;

	ums_worker_end(w);
	ums_worker_destroy(w);
}

static void name_context(struct kunit *test, struct ums_context *ctx)
{
	struct case_data *t = test->priv;

	ctx->pid = ++t->last_pid;
	ctx->proc_pid = ctx->pid;
	KUNIT_ASSERT_EQ(test, ums_context_pool_insert(ctx), 0);
}

/* Return: with which error the calling thread cannot become a scheduler. */
static long refused_scheduler(struct kunit *test, const struct ums_enter *args)
{
	struct case_data *t = test->priv;
	struct ums_scheduler *s = ums_scheduler_create(t->data, args);

	if (IS_ERR(s))
		return PTR_ERR(s);
	ums_scheduler_destroy(s);
	return 0;
}

static long refused_worker(struct kunit *test, const struct ums_enter *args)
{
	struct case_data *t = test->priv;
	struct ums_worker *w = ums_worker_create(t->data, args);

	if (IS_ERR(w))
		return PTR_ERR(w);
	end_worker(w);
	return 0;
}

/* As enter_ums_scheduler_mode() does it; SCHEDULER_STARTUP is still unread. */
static struct ums_scheduler *new_scheduler_unread(struct kunit *test, s32 clist,
						  u32 flags)
{
	struct case_data *t = test->priv;
	const struct ums_enter args = {
		.mode = ENTER_UMS_SCHED,
		.flags = flags,
		.clist = clist,
	};
	struct ums_scheduler *s = ums_scheduler_create(t->data, &args);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, s);
	name_context(test, &s->context);
	KUNIT_ASSERT_EQ(test, ums_proc_scheduler_create(s), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, end_scheduler, s),
			0);
	return s;
}

/* The next event of @s, which there is. */
static struct ums_event next_event(struct kunit *test, struct ums_scheduler *s)
{
	struct case_data *t = test->priv;
	struct ums_event event;

	KUNIT_ASSERT_EQ(test, dequeue_ums_sched_event(s, t->user, 1), 0);
	KUNIT_ASSERT_EQ(test, copy_from_user(&event, t->user, sizeof(event)), 0);
	return event;
}

static void expect_no_event(struct kunit *test, struct ums_scheduler *s)
{
	struct case_data *t = test->priv;

	KUNIT_EXPECT_EQ(test, dequeue_ums_sched_event(s, t->user, 1), -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, s->nr_events, 0);
}

/* All parameters begin with the context.  Unlike {}, this clears a union. */
static struct ums_event make_event(u32 type, pid_t context)
{
	struct ums_event event;

	memset(&event, 0, sizeof(event));
	event.type = type;
	event.end_params.context = context;
	return event;
}

/* The next event of @s is this one, and what it does not use is 0. */
static void expect_event(struct kunit *test, struct ums_scheduler *s,
			 struct ums_event want)
{
	struct ums_event event = next_event(test, s);

	KUNIT_EXPECT_EQ(test, event.type, want.type);
	KUNIT_EXPECT_MEMEQ(test, &event, &want, sizeof(event));
}

static void expect_terminated(struct kunit *test, struct ums_scheduler *s,
			      pid_t context)
{
	expect_event(test, s, make_event(THREAD_TERMINATED, context));
}

static void expect_preempted(struct kunit *test, struct ums_scheduler *s,
			     pid_t context)
{
	expect_event(test, s, make_event(THREAD_PREEMPTED, context));
}

static void expect_yield(struct kunit *test, struct ums_scheduler *s,
			 pid_t context, u64 param)
{
	struct ums_event want = make_event(THREAD_YIELD, context);

	want.yield_params.scheduler_params = param;
	expect_event(test, s, want);
}

static void expect_blocked(struct kunit *test, struct ums_scheduler *s,
			   pid_t context, int cause)
{
	struct ums_event want = make_event(THREAD_BLOCKED, context);

	want.blocked_params.cause = cause;
	expect_event(test, s, want);
}

static struct ums_scheduler *new_scheduler(struct kunit *test, s32 clist,
					   u32 flags)
{
	struct ums_scheduler *s = new_scheduler_unread(test, clist, flags);

	KUNIT_ASSERT_EQ(test, next_event(test, s).type, SCHEDULER_STARTUP);
	return s;
}

/* Do what a worker's thread does in a call that parks it. */
static void park(struct kunit *test, struct ums_worker *w, u32 why)
{
	set_closed(test, true);
	KUNIT_EXPECT_EQ(test, ums_park_call(w, why), 0);
	set_closed(test, false);
}

/* A thread whose worker is idle makes no call, and does not stop. */
static void yield_worker(struct kunit *test, struct ums_worker *w, u64 param)
{
	KUNIT_ASSERT_EQ(test, w->context.state, CONTEXT_RUNNING);
	set_closed(test, true);
	KUNIT_EXPECT_EQ(test, ums_worker_yield(w, param), 0);
	set_closed(test, false);
}

static int switch_worker(struct kunit *test, struct ums_worker *w, pid_t pid)
{
	int ret;

	KUNIT_ASSERT_EQ(test, w->context.state, CONTEXT_RUNNING);
	set_closed(test, true);
	ret = switch_ums_context(w, pid);
	set_closed(test, false);
	return ret;
}

/* Do what it does on its way to user mode, short of parking. */
static void stop_worker(struct kunit *test, struct ums_worker *w)
{
	KUNIT_ASSERT_NE(test, w->context.state, CONTEXT_IDLE);
	ums_worker_stop(w);
}

/* What a thread's schedule() tells of its sleep. */
static void block_worker(struct ums_worker *w)
{
	local_irq_disable();
	ums_worker_block(w);
	local_irq_enable();
}

/* As enter_ums_worker_mode() does it: it is on its list when this returns. */
static struct ums_worker *new_worker(struct kunit *test, s32 clist, u64 cookie)
{
	struct case_data *t = test->priv;
	const struct ums_enter args = {
		.mode = ENTER_UMS_WORK,
		.clist = clist,
		.cookie = cookie,
	};
	struct ums_worker *w = ums_worker_create(t->data, &args);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, w);
	name_context(test, &w->context);
	KUNIT_ASSERT_EQ(test, ums_proc_worker_create(w), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, end_worker, w), 0);
	park(test, w, UMS_READY_NEW);
	return w;
}

/* Execute a worker.  Return: 0 when it runs. */
static int exec(struct kunit *test, struct ums_scheduler *s, pid_t pid,
		u64 slice_ns)
{
	int ret;

	set_closed(test, true);
	ret = exec_ums_context(s, pid, slice_ns);
	set_closed(test, false);
	/* 0 would mean that it has stopped. */
	KUNIT_EXPECT_NE(test, ret, 0);
	return ret == -ENODEV ? 0 : ret;
}

static void exec_worker(struct kunit *test, struct ums_scheduler *s,
			struct ums_worker *w)
{
	KUNIT_ASSERT_EQ(test, exec(test, s, w->context.pid, 0), 0);
	KUNIT_ASSERT_PTR_EQ(test, s->running, w);
}

/* IOCTL_UMS_DEQUEUE without waiting, into an array at @to. */
static int dequeue_to(struct kunit *test, struct ums_scheduler *s, s32 clist,
		      u32 nr, void __user *to)
{
	struct case_data *t = test->priv;
	const struct ums_dequeue args = {
		.clist = clist,
		.flags = UMS_NONBLOCK,
		.nr = nr,
		.ready = (unsigned long)to,
	};

	KUNIT_ASSERT_EQ(test, copy_to_user(t->user, &args, sizeof(args)), 0);
	return dequeue_ums_ready(s, t->user);
}

static int dequeue(struct kunit *test, struct ums_scheduler *s, s32 clist, u32 nr)
{
	struct case_data *t = test->priv;
	int count;

	KUNIT_ASSERT_LE(test, nr, READY_MAX);
	memset(t->ready, 0, sizeof(t->ready));
	count = dequeue_to(test, s, clist, nr, t->user + READY_AT);
	if (count > 0)
		KUNIT_ASSERT_EQ(test, copy_from_user(t->ready, t->user + READY_AT,
						     count * sizeof(t->ready[0])),
				0);
	return count;
}

/* What the last dequeue() gave in place @nr. */
static void expect_ready(struct kunit *test, int nr, pid_t pid, u32 why,
			 u64 cookie)
{
	struct case_data *t = test->priv;

	KUNIT_EXPECT_EQ(test, t->ready[nr].context, pid);
	KUNIT_EXPECT_EQ(test, t->ready[nr].why, why);
	KUNIT_EXPECT_EQ(test, t->ready[nr].cookie, cookie);
}

/* IOCTL_DEQUEUE_UMS_CLIST with its argument at @at. */
static int dequeue_all_at(struct kunit *test, struct ums_scheduler *s, s32 clist,
			  void __user *at)
{
	struct case_data *t = test->priv;
	const struct ums_dequeue_clist args = { .clist = clist };

	/* Else it would wait. */
	KUNIT_ASSERT_FALSE(test, list_empty(&clist_of(test, clist)->queue));
	KUNIT_ASSERT_EQ(test, copy_to_user(t->user, &args, sizeof(args)), 0);
	return dequeue_ums_complist(s, at);
}

/* Return: the first context. */
static pid_t dequeue_all(struct kunit *test, struct ums_scheduler *s, s32 clist)
{
	struct case_data *t = test->priv;
	struct ums_dequeue_clist args;

	KUNIT_ASSERT_EQ(test, dequeue_all_at(test, s, clist, t->user), 0);
	KUNIT_ASSERT_EQ(test, copy_from_user(&args, t->user, sizeof(args)), 0);
	return args.context;
}

static void expect_list(struct kunit *test, struct list_head *list,
			struct ums_worker **want, int nr)
{
	struct ums_worker *w;
	int i = 0;

	list_for_each_entry(w, list, context.list) {
		if (i < nr)
			KUNIT_EXPECT_EQ_MSG(test, w->context.pid,
					    want[i]->context.pid,
					    "in place %d", i);
		i++;
	}
	KUNIT_EXPECT_EQ(test, i, nr);
}

/* Exactly these workers are on @list, in this order. */
#define expect_workers(test, list, ...)					\
do {									\
	struct ums_worker *__want[] = { __VA_ARGS__ };			\
									\
	expect_list(test, list, __want, ARRAY_SIZE(__want));		\
} while (0)

static void expect_empty(struct kunit *test, struct list_head *list)
{
	KUNIT_EXPECT_TRUE(test, list_empty(list));
}

/* @w is where its parent says: with @s, or NULL. */
static void expect_parent(struct kunit *test, struct ums_worker *w,
			  struct ums_scheduler *s)
{
	struct ums_context *parent = s ? &s->context : NULL;

	KUNIT_EXPECT_PTR_EQ(test, w->context.parent, parent);
}

/* ---- completion lists ---------------------------------------------------- */

static void clist_ids_are_positive_and_limited(struct kunit *test)
{
	struct case_data *t = test->priv;
	unsigned long *seen;
	s32 id;
	int i;

	seen = kunit_kcalloc(test, BITS_TO_LONGS(UMS_MAX_CLISTS + 1),
			     sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, seen);
	for (i = 0; i < UMS_MAX_CLISTS; i++) {
		id = new_clist(test);
		KUNIT_ASSERT_GT(test, id, 0);
		KUNIT_ASSERT_LE(test, id, UMS_MAX_CLISTS);
		KUNIT_ASSERT_FALSE(test, test_and_set_bit(id, seen));
	}
	KUNIT_EXPECT_EQ(test, create_ums_complist(t->data, t->user), -ENOSPC);

	/* One that is given back can be had again. */
	KUNIT_EXPECT_EQ(test, delete_ums_complist(t->data, 700), 0);
	KUNIT_EXPECT_EQ(test, new_clist(test), 700);
	KUNIT_EXPECT_EQ(test, create_ums_complist(t->data, t->user), -ENOSPC);
}

static void clist_at_bad_address_is_not_made(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);

	KUNIT_EXPECT_EQ(test, create_ums_complist(t->data, t->nowhere), -EFAULT);
	KUNIT_EXPECT_EQ(test, create_ums_complist(t->data, t->read_only),
			-EFAULT);
	KUNIT_EXPECT_NULL(test, ums_complist_get(t->data, id + 1));
	KUNIT_EXPECT_EQ(test, new_clist(test), id + 1);
}

static void clist_is_found_by_its_id_alone(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_complist *cl = ums_complist_get(t->data, id);

	KUNIT_ASSERT_NOT_NULL(test, cl);
	KUNIT_EXPECT_EQ(test, cl->id, id);
	/* One for the process, one for this function. */
	KUNIT_EXPECT_EQ(test, kref_read(&cl->ref), 2);
	ums_complist_put(cl);

	KUNIT_EXPECT_NULL(test, ums_complist_get(t->data, 0));
	KUNIT_EXPECT_NULL(test, ums_complist_get(t->data, -id));
	KUNIT_EXPECT_NULL(test, ums_complist_get(t->data, INT_MIN));
	KUNIT_EXPECT_NULL(test, ums_complist_get(t->data, INT_MAX));
	KUNIT_EXPECT_NULL(test, ums_complist_get(t->data, id + 1));
	KUNIT_EXPECT_EQ(test, kref_read(&cl->ref), 1);
}

static void clist_with_a_worker_is_not_deleted(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_worker *w = new_worker(test, id, 0);

	KUNIT_EXPECT_EQ(test, delete_ums_complist(t->data, id), -EBUSY);
	KUNIT_EXPECT_FALSE(test, cl->deleted);
	expect_workers(test, &cl->queue, w);

	kunit_release_action(test, end_worker, w);
	KUNIT_EXPECT_EQ(test, cl->members, 0);
	KUNIT_EXPECT_EQ(test, delete_ums_complist(t->data, id), 0);
	KUNIT_EXPECT_EQ(test, delete_ums_complist(t->data, id), -EINVAL);
	KUNIT_EXPECT_EQ(test, delete_ums_complist(t->data, 0), -EINVAL);
}

static void clist_of_a_scheduler_outlives_deletion(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);

	KUNIT_EXPECT_EQ(test, delete_ums_complist(t->data, id), 0);
	KUNIT_EXPECT_NULL(test, ums_complist_get(t->data, id));
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 1), -EINVAL);
	KUNIT_EXPECT_TRUE(test, s->complist->deleted);
	KUNIT_EXPECT_EQ(test, kref_read(&s->complist->ref), 1);
}

static int do_nothing(void *unused)
{
	return 0;
}

/* A thread that is exiting is no reason to keep a list, nor counted twice. */
static void clist_with_an_exiting_worker_is_deleted(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_worker *w = new_worker(test, id, 0);
	struct task_struct *dead;

	dead = kthread_create(do_nothing, NULL, "ums_kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dead);
	get_task_struct(dead);
	kthread_stop(dead);
	put_task_struct(w->context.task);
	w->context.task = dead;

	KUNIT_EXPECT_EQ(test, w->complist->members, 1);
	KUNIT_EXPECT_EQ(test, delete_ums_complist(t->data, id), 0);
	KUNIT_EXPECT_EQ(test, w->complist->members, 0);
	ums_worker_disown_exiting(t->data, w->complist);
	KUNIT_EXPECT_EQ(test, w->complist->members, 0);
}

/* One that died on @clist, after it was run by a scheduler that has left. */
static pid_t new_corpse(struct kunit *test, s32 clist, u64 cookie)
{
	struct ums_worker *w = new_worker(test, clist, cookie);
	pid_t pid = w->context.pid;

	w->last_sched = NO_PID;
	kunit_release_action(test, end_worker, w);
	return pid;
}

static void clist_full_of_corpses_takes_no_worker(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	const struct ums_enter args = { .mode = ENTER_UMS_WORK, .clist = id };
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *last;
	int i;

	for (i = 0; i < UMS_MAX_CORPSES - 1; i++)
		new_corpse(test, id, i);
	last = new_worker(test, id, 0);
	new_corpse(test, id, i);
	KUNIT_EXPECT_EQ(test, cl->nr_corpses, UMS_MAX_CORPSES);
	KUNIT_EXPECT_EQ(test, refused_worker(test, &args), -ENOMEM);
	KUNIT_EXPECT_EQ(test, cl->members, 1);

	/* The end of who is there already is told in any case. */
	last->last_sched = NO_PID;
	kunit_release_action(test, end_worker, last);
	KUNIT_EXPECT_EQ(test, cl->nr_corpses, UMS_MAX_CORPSES + 1);
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 2), 2);
	new_worker(test, id, 0);
}

static void worker_enters_no_unknown_clist(struct kunit *test)
{
	struct case_data *t = test->priv;
	const struct ums_enter args = {
		.mode = ENTER_UMS_WORK,
		.clist = new_clist(test) + 1,
	};

	KUNIT_EXPECT_EQ(test, refused_worker(test, &args), -EINVAL);
	KUNIT_EXPECT_EQ(test, refused_scheduler(test, &args), -EINVAL);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->data->nr_contexts), 0);
}

static void nobody_enters_a_closed_device(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	const struct ums_enter args = { .clist = id };

	set_closed(test, true);
	KUNIT_EXPECT_EQ(test, refused_worker(test, &args), -ENODEV);
	KUNIT_EXPECT_EQ(test, refused_scheduler(test, &args), -ENODEV);
	set_closed(test, false);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->data->nr_contexts), 0);
	KUNIT_EXPECT_EQ(test, clist_of(test, id)->members, 0);
	KUNIT_EXPECT_EQ(test, kref_read(&clist_of(test, id)->ref), 1);
}

static struct kunit_case complist_cases[] = {
	KUNIT_CASE(clist_ids_are_positive_and_limited),
	KUNIT_CASE(clist_at_bad_address_is_not_made),
	KUNIT_CASE(clist_is_found_by_its_id_alone),
	KUNIT_CASE(clist_with_a_worker_is_not_deleted),
	KUNIT_CASE(clist_of_a_scheduler_outlives_deletion),
	KUNIT_CASE(clist_with_an_exiting_worker_is_deleted),
	KUNIT_CASE(clist_full_of_corpses_takes_no_worker),
	KUNIT_CASE(worker_enters_no_unknown_clist),
	KUNIT_CASE(nobody_enters_a_closed_device),
	{}
};

static struct kunit_suite complist_suite = {
	.name = "ums_complist",
	.init = case_init,
	.test_cases = complist_cases,
};

/* ---- events -------------------------------------------------------------- */

/* Give @s an event about context @pid to read. */
static struct ums_event_node *add_event(struct kunit *test,
					struct ums_scheduler *s, pid_t pid,
					enum ums_event_place place)
{
	struct ums_event_node *node = alloc_ums_event();

	KUNIT_ASSERT_NOT_NULL(test, node);
	ums_event_terminated(node, pid);
	spin_lock(&s->lock);
	enqueue_ums_sched_event(s, node, place);
	spin_unlock(&s->lock);
	return node;
}

static void events_keep_their_order(struct kunit *test)
{
	struct ums_scheduler *s = new_scheduler_unread(test, new_clist(test), 0);

	add_event(test, s, 2, EVENT_ADD_TAIL);
	add_event(test, s, 3, EVENT_ADD_TAIL);
	KUNIT_EXPECT_EQ(test, s->nr_events, 3);

	expect_event(test, s, make_event(SCHEDULER_STARTUP, 0));
	add_event(test, s, 1, EVENT_ADD_HEAD);
	add_event(test, s, 4, EVENT_ADD_TAIL);
	KUNIT_EXPECT_EQ(test, s->nr_events, 4);

	expect_terminated(test, s, 1);
	expect_terminated(test, s, 2);
	expect_terminated(test, s, 3);
	expect_terminated(test, s, 4);
	expect_no_event(test, s);
}

static void event_for_bad_address_is_kept(struct kunit *test)
{
	struct ums_scheduler *s = new_scheduler(test, new_clist(test), 0);
	struct case_data *t = test->priv;

	add_event(test, s, 1, EVENT_ADD_TAIL);
	add_event(test, s, 2, EVENT_ADD_TAIL);
	KUNIT_EXPECT_EQ(test, dequeue_ums_sched_event(s, t->nowhere, 1), -EFAULT);
	KUNIT_EXPECT_EQ(test, dequeue_ums_sched_event(s, t->read_only, 1),
			-EFAULT);
	/* Its first half could be written. */
	KUNIT_EXPECT_EQ(test, dequeue_ums_sched_event(s, t->nowhere -
						      sizeof(struct ums_event) / 2,
						      1), -EFAULT);
	KUNIT_EXPECT_EQ(test, s->nr_events, 2);
	expect_terminated(test, s, 1);
	expect_terminated(test, s, 2);
	expect_no_event(test, s);
}

static void events_are_probed_for(struct kunit *test)
{
	struct ums_scheduler *s = new_scheduler(test, new_clist(test), 0);
	struct case_data *t = test->priv;

	KUNIT_EXPECT_FALSE(test, ums_event_waiting(&s->context));
	add_event(test, s, 1, EVENT_ADD_TAIL);
	KUNIT_EXPECT_TRUE(test, ums_event_waiting(&s->context));

	KUNIT_EXPECT_EQ(test, ums_event_probe(t->user), 0);
	KUNIT_EXPECT_EQ(test, ums_event_probe(t->nowhere -
					      sizeof(struct ums_event)), 0);
	KUNIT_EXPECT_EQ(test, ums_event_probe(t->nowhere), -EFAULT);
	KUNIT_EXPECT_EQ(test, ums_event_probe(t->nowhere - sizeof(u64)),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, ums_event_probe(t->read_only), -EFAULT);
}

static void node_of_an_event_becomes_the_spare(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 0);
	struct ums_event_node *spare = s->spare;
	struct ums_event_node *other;

	/* With one there, it goes. */
	KUNIT_ASSERT_NOT_NULL(test, spare);
	add_event(test, s, 1, EVENT_ADD_TAIL);
	expect_terminated(test, s, 1);
	KUNIT_EXPECT_PTR_EQ(test, s->spare, spare);

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	KUNIT_EXPECT_PTR_EQ(test, s->spare, spare);
	other = add_event(test, s, 1, EVENT_ADD_TAIL);
	yield_worker(test, w, 0);
	/* The stop took the spare; the first one that is read replaces it. */
	KUNIT_EXPECT_NULL(test, s->spare);
	KUNIT_EXPECT_EQ(test, s->nr_events, 2);
	expect_terminated(test, s, 1);
	KUNIT_EXPECT_PTR_EQ(test, s->spare, other);
	KUNIT_EXPECT_EQ(test, next_event(test, s).type, THREAD_YIELD);
	KUNIT_EXPECT_PTR_EQ(test, s->spare, other);
}

static void unread_events_are_limited(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 0);
	int i;

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	yield_worker(test, w, 0);
	KUNIT_ASSERT_NULL(test, s->spare);
	for (i = s->nr_events; i < UMS_MAX_EVENTS; i++)
		add_event(test, s, i, EVENT_ADD_TAIL);

	dequeue_all(test, s, id);
	KUNIT_EXPECT_EQ(test, exec(test, s, w->context.pid, 0), -ENOMEM);
	KUNIT_EXPECT_NULL(test, s->spare);
	KUNIT_EXPECT_NULL(test, s->running);
	expect_workers(test, &s->owned, w);
	KUNIT_EXPECT_EQ(test, w->context.switches, 1);

	KUNIT_EXPECT_EQ(test, next_event(test, s).type, THREAD_YIELD);
	KUNIT_EXPECT_EQ(test, exec(test, s, w->context.pid, 0), 0);
}

/* EXEC makes a node if the last event is still unread. */
static void unread_event_does_not_keep_from_executing(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_KEEP);
	struct ums_worker *w = new_worker(test, id, 0);
	u64 i;

	dequeue_all(test, s, id);
	for (i = 0; i < 3; i++) {
		exec_worker(test, s, w);
		KUNIT_EXPECT_NOT_NULL(test, s->spare);
		yield_worker(test, w, i);
		KUNIT_EXPECT_EQ(test, s->nr_events, i + 1);
	}
	for (i = 0; i < 3; i++)
		expect_yield(test, s, w->context.pid, i);
	expect_no_event(test, s);
}

/* Also that nothing of the node's last event is left in the next one. */
static void events_say_why_a_worker_stopped(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_KEEP);
	struct ums_worker *w = new_worker(test, id, 0);
	pid_t pid = w->context.pid;

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	yield_worker(test, w, ~0ULL);
	expect_yield(test, s, pid, ~0ULL);

	exec_worker(test, s, w);
	KUNIT_EXPECT_EQ(test, preempt_ums_worker(t->data, pid), 0);
	stop_worker(test, w);
	expect_preempted(test, s, pid);

	exec_worker(test, s, w);
	kunit_release_action(test, end_worker, w);
	expect_terminated(test, s, pid);
	expect_no_event(test, s);
}

static struct kunit_case event_cases[] = {
	KUNIT_CASE(events_keep_their_order),
	KUNIT_CASE(event_for_bad_address_is_kept),
	KUNIT_CASE(events_are_probed_for),
	KUNIT_CASE(node_of_an_event_becomes_the_spare),
	KUNIT_CASE(unread_events_are_limited),
	KUNIT_CASE(unread_event_does_not_keep_from_executing),
	KUNIT_CASE(events_say_why_a_worker_stopped),
	{}
};

static struct kunit_suite event_suite = {
	.name = "ums_event",
	.init = case_init,
	.test_cases = event_cases,
};

/* ---- dequeueing ---------------------------------------------------------- */

static void all_is_dequeued_in_order(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_scheduler *other = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b = new_worker(test, id, 0);
	struct ums_worker *c = new_worker(test, id, 0);

	expect_workers(test, &cl->queue, a, b, c);
	KUNIT_EXPECT_TRUE(test, ums_complist_ready(cl));
	KUNIT_EXPECT_EQ(test, next_ums_context(s, a->context.pid), -ESRCH);

	KUNIT_EXPECT_EQ(test, dequeue_all(test, s, id), a->context.pid);
	expect_workers(test, &s->owned, a, b, c);
	expect_empty(test, &cl->queue);
	KUNIT_EXPECT_FALSE(test, ums_complist_ready(cl));
	expect_parent(test, a, s);
	expect_parent(test, c, s);

	KUNIT_EXPECT_EQ(test, next_ums_context(s, a->context.pid), b->context.pid);
	KUNIT_EXPECT_EQ(test, next_ums_context(s, b->context.pid), c->context.pid);
	KUNIT_EXPECT_EQ(test, next_ums_context(s, c->context.pid), 0);
	KUNIT_EXPECT_EQ(test, next_ums_context(s, NO_PID), -ESRCH);
	KUNIT_EXPECT_EQ(test, next_ums_context(other, a->context.pid), -ESRCH);
	exec_worker(test, s, b);
	KUNIT_EXPECT_EQ(test, next_ums_context(s, b->context.pid), -ESRCH);
	KUNIT_EXPECT_EQ(test, next_ums_context(s, a->context.pid), c->context.pid);
}

static void as_many_are_dequeued_as_wanted(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 11);
	struct ums_worker *b = new_worker(test, id, 22);
	struct ums_worker *c = new_worker(test, id, 33);

	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 2), 2);
	expect_ready(test, 0, a->context.pid, UMS_READY_NEW, 11);
	expect_ready(test, 1, b->context.pid, UMS_READY_NEW, 22);
	expect_workers(test, &s->owned, a, b);
	expect_workers(test, &cl->queue, c);
	expect_parent(test, b, s);
	expect_parent(test, c, NULL);

	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, READY_MAX), 1);
	expect_ready(test, 0, c->context.pid, UMS_READY_NEW, 33);
	expect_workers(test, &s->owned, a, b, c);
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 1), -EAGAIN);

	/* A scheduler that has an event to read is not kept waiting. */
	add_event(test, s, 1, EVENT_ADD_TAIL);
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 1), 0);
}

/* How many a call moves at a time does not show. */
static void many_are_dequeued_in_order(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct case_data *t = test->priv;
	struct ums_worker *w[40];
	int i;

	for (i = 0; i < ARRAY_SIZE(w); i++)
		w[i] = new_worker(test, id, i);
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 35), 35);
	for (i = 0; i < 35; i++)
		KUNIT_EXPECT_EQ(test, t->ready[i].context, w[i]->context.pid);
	KUNIT_EXPECT_EQ(test, t->ready[35].context, 0);
	expect_list(test, &s->owned, w, 35);
	expect_list(test, &s->complist->queue, w + 35, 5);
}

struct bad_dequeue {
	const char *name;
	u32 flags;
	u32 nr;
	u32 reserved;
	u64 timeout_ns;
	s32 clist;
};

static const struct bad_dequeue bad_dequeues[] = {
	{ .name = "unknown flag", .flags = ~UMS_NONBLOCK, .nr = 1 },
	{ .name = "no room", .nr = 0 },
	{ .name = "reserved", .nr = 1, .reserved = 1 },
	{ .name = "timeout without waiting", .flags = UMS_NONBLOCK, .nr = 1,
	  .timeout_ns = 1 },
	{ .name = "unknown list", .nr = 1, .clist = 1 },
};

KUNIT_ARRAY_PARAM_DESC(bad_dequeue, bad_dequeues, name);

static void bad_dequeue_takes_nothing(struct kunit *test)
{
	const struct bad_dequeue *bad = test->param_value;
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 0);
	const struct ums_dequeue args = {
		.clist = id + bad->clist,
		.flags = bad->flags,
		.nr = bad->nr,
		.reserved = bad->reserved,
		.timeout_ns = bad->timeout_ns,
		.ready = (unsigned long)t->user + READY_AT,
	};

	KUNIT_ASSERT_EQ(test, copy_to_user(t->user, &args, sizeof(args)), 0);
	KUNIT_EXPECT_EQ(test, dequeue_ums_ready(s, t->user), -EINVAL);
	KUNIT_EXPECT_EQ(test, dequeue_ums_ready(s, t->nowhere), -EFAULT);
	expect_workers(test, &cl->queue, w);
	expect_empty(test, &s->owned);
}

/* IOCTL_DEQUEUE_UMS_CLIST that can read its argument, but not answer. */
static void all_is_put_back_on_efault(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b = new_worker(test, id, 0);
	struct ums_worker *c = new_worker(test, id, 0);

	KUNIT_EXPECT_EQ(test, dequeue_all_at(test, s, id, t->read_only), -EFAULT);
	expect_workers(test, &cl->queue, a, b, c);
	expect_empty(test, &s->owned);
	expect_parent(test, a, NULL);
	expect_parent(test, c, NULL);
	KUNIT_EXPECT_EQ(test, a->why, UMS_READY_NEW);
	KUNIT_EXPECT_EQ(test, dequeue_all_at(test, s, id, t->nowhere), -EFAULT);
	expect_workers(test, &cl->queue, a, b, c);
}

/* The first sixteen could be told, the rest could not. */
static void many_are_put_back_on_efault(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w[20];
	pid_t corpse[2];
	int i;

	corpse[0] = new_corpse(test, id, 1);
	corpse[1] = new_corpse(test, id, 2);
	for (i = 0; i < ARRAY_SIZE(w); i++)
		w[i] = new_worker(test, id, i);
	KUNIT_EXPECT_EQ(test, dequeue_to(test, s, id, 100, t->nowhere -
					 16 * sizeof(struct ums_ready)),
			-EFAULT);
	expect_list(test, &cl->queue, w, ARRAY_SIZE(w));
	expect_empty(test, &s->owned);
	for (i = 0; i < ARRAY_SIZE(w); i++) {
		expect_parent(test, w[i], NULL);
		KUNIT_EXPECT_EQ(test, w[i]->why, UMS_READY_NEW);
	}
	KUNIT_EXPECT_EQ(test, cl->nr_corpses, 2);
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 3), 3);
	expect_ready(test, 0, corpse[0], UMS_READY_TERMINATED, 1);
	expect_ready(test, 1, corpse[1], UMS_READY_TERMINATED, 2);
	expect_ready(test, 2, w[0]->context.pid, UMS_READY_NEW, 0);
}

/* Sixteen at a time are taken; those that were left stay behind them. */
static void corpses_are_put_back_on_efault(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	pid_t corpse[20];
	int i;

	for (i = 0; i < ARRAY_SIZE(corpse); i++)
		corpse[i] = new_corpse(test, id, i);
	KUNIT_EXPECT_EQ(test, dequeue_to(test, s, id, 100, t->nowhere), -EFAULT);
	KUNIT_EXPECT_EQ(test, cl->nr_corpses, ARRAY_SIZE(corpse));
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, READY_MAX),
			ARRAY_SIZE(corpse));
	for (i = 0; i < ARRAY_SIZE(corpse); i++)
		expect_ready(test, i, corpse[i], UMS_READY_TERMINATED, i);
}

static void corpses_come_first_and_in_order(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 5);
	pid_t a = new_corpse(test, id, 7);
	pid_t b = new_corpse(test, id, 8);
	pid_t c = new_corpse(test, id, 9);

	KUNIT_EXPECT_TRUE(test, ums_complist_ready(cl));
	KUNIT_EXPECT_EQ(test, cl->nr_corpses, 3);
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 2), 2);
	expect_ready(test, 0, a, UMS_READY_TERMINATED, 7);
	expect_ready(test, 1, b, UMS_READY_TERMINATED, 8);
	KUNIT_EXPECT_EQ(test, cl->nr_corpses, 1);
	expect_workers(test, &cl->queue, w);

	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 5), 2);
	expect_ready(test, 0, c, UMS_READY_TERMINATED, 9);
	expect_ready(test, 1, w->context.pid, UMS_READY_NEW, 5);
	KUNIT_EXPECT_EQ(test, cl->nr_corpses, 0);
	expect_workers(test, &s->owned, w);
}

/* IOCTL_DEQUEUE_UMS_CLIST cannot tell of them. */
static void corpses_are_dropped_by_who_takes_all(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_complist *cl = clist_of(test, id);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 0);

	new_corpse(test, id, 0);
	new_corpse(test, id, 0);
	KUNIT_EXPECT_EQ(test, dequeue_all(test, s, id), w->context.pid);
	KUNIT_EXPECT_EQ(test, cl->nr_corpses, 0);
	KUNIT_EXPECT_FALSE(test, ums_complist_ready(cl));
}

/* What a scheduler owned goes to the heads of its lists when it leaves. */
static void owned_workers_go_back_in_order(struct kunit *test)
{
	s32 first = new_clist(test);
	s32 second = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, first, 0);
	struct ums_worker *w[6];
	int i;

	/* By turns, so that the scheduler has them mixed. */
	for (i = 0; i < 4; i++) {
		w[i] = new_worker(test, i % 2 ? second : first, i);
		KUNIT_EXPECT_EQ(test, dequeue(test, s, i % 2 ? second : first, 1),
				1);
	}
	expect_list(test, &s->owned, w, 4);
	w[4] = new_worker(test, first, 4);
	w[5] = new_worker(test, second, 5);

	kunit_release_action(test, end_scheduler, s);
	expect_workers(test, &clist_of(test, first)->queue, w[0], w[2], w[4]);
	expect_workers(test, &clist_of(test, second)->queue, w[1], w[3], w[5]);
	for (i = 0; i < ARRAY_SIZE(w); i++) {
		expect_parent(test, w[i], NULL);
		KUNIT_EXPECT_EQ(test, w[i]->why, i < 4 ? UMS_READY_ORPHANED :
							 UMS_READY_NEW);
	}
}

static struct kunit_case dequeue_cases[] = {
	KUNIT_CASE(all_is_dequeued_in_order),
	KUNIT_CASE(as_many_are_dequeued_as_wanted),
	KUNIT_CASE(many_are_dequeued_in_order),
	KUNIT_CASE_PARAM(bad_dequeue_takes_nothing, bad_dequeue_gen_params),
	KUNIT_CASE(all_is_put_back_on_efault),
	KUNIT_CASE(many_are_put_back_on_efault),
	KUNIT_CASE(corpses_are_put_back_on_efault),
	KUNIT_CASE(corpses_come_first_and_in_order),
	KUNIT_CASE(corpses_are_dropped_by_who_takes_all),
	KUNIT_CASE(owned_workers_go_back_in_order),
	{}
};

static struct kunit_suite dequeue_suite = {
	.name = "ums_dequeue",
	.init = case_init,
	.test_cases = dequeue_cases,
};

/* ---- workers: run, stop, end --------------------------------------------- */

static void executed_worker_runs(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b = new_worker(test, id, 0);

	dequeue_all(test, s, id);
	KUNIT_EXPECT_EQ(test, a->context.state, CONTEXT_IDLE);
	KUNIT_EXPECT_EQ(test, exec(test, s, a->context.pid, 0), 0);
	KUNIT_EXPECT_PTR_EQ(test, s->running, a);
	KUNIT_EXPECT_TRUE(test, ums_worker_runs(a, s));
	KUNIT_EXPECT_EQ(test, a->context.state, CONTEXT_RUNNING);
	KUNIT_EXPECT_EQ(test, a->context.switches, 1);
	KUNIT_EXPECT_EQ(test, s->context.switches, 1);
	KUNIT_EXPECT_EQ(test, a->last_sched, s->context.pid);
	KUNIT_EXPECT_EQ(test, a->last_sched_id, s->id);
	expect_parent(test, a, s);
	expect_workers(test, &s->owned, b);
	KUNIT_EXPECT_EQ(test, b->context.state, CONTEXT_IDLE);
}

static void only_a_dequeued_worker_is_executed(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_scheduler *other = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b;

	KUNIT_EXPECT_EQ(test, exec(test, s, NO_PID, 0), -ESRCH);
	KUNIT_EXPECT_EQ(test, exec(test, s, 0, 0), -ESRCH);
	KUNIT_EXPECT_EQ(test, exec(test, s, s->context.pid, 0), -ESRCH);
	KUNIT_EXPECT_EQ(test, exec(test, s, a->context.pid, 0), -EBUSY);
	expect_workers(test, &s->complist->queue, a);
	KUNIT_EXPECT_NULL(test, s->running);

	/* Whoever dequeued it. */
	dequeue_all(test, other, id);
	exec_worker(test, s, a);
	expect_parent(test, a, s);
	expect_empty(test, &other->owned);
	KUNIT_EXPECT_EQ(test, exec(test, other, a->context.pid, 0), -EBUSY);
	KUNIT_EXPECT_NULL(test, other->running);

	/* One at a time. */
	b = new_worker(test, id, 0);
	dequeue_all(test, s, id);
	KUNIT_EXPECT_EQ(test, exec(test, s, b->context.pid, 0), -EBUSY);
	KUNIT_EXPECT_PTR_EQ(test, s->running, a);
	KUNIT_EXPECT_EQ(test, b->context.state, CONTEXT_IDLE);
	KUNIT_EXPECT_EQ(test, b->context.switches, 0);
}

static void yielding_worker_goes_to_the_end_of_its_list(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b;

	dequeue_all(test, s, id);
	b = new_worker(test, id, 0);
	exec_worker(test, s, a);
	yield_worker(test, a, 0);
	KUNIT_EXPECT_NULL(test, s->running);
	KUNIT_EXPECT_EQ(test, a->context.state, CONTEXT_IDLE);
	KUNIT_EXPECT_EQ(test, a->why, UMS_READY_YIELDED);
	KUNIT_EXPECT_EQ(test, a->yields, 1);
	KUNIT_EXPECT_EQ(test, b->yields, 0);
	expect_parent(test, a, NULL);
	expect_workers(test, &s->complist->queue, b, a);
	expect_empty(test, &s->owned);
}

static void yielding_worker_can_be_kept(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_KEEP);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b = new_worker(test, id, 0);

	dequeue_all(test, s, id);
	exec_worker(test, s, a);
	yield_worker(test, a, 0);
	expect_workers(test, &s->owned, b, a);
	expect_empty(test, &s->complist->queue);
	expect_parent(test, a, s);
	KUNIT_EXPECT_NULL(test, s->running);
	KUNIT_EXPECT_EQ(test, a->why, UMS_READY_YIELDED);
	KUNIT_EXPECT_EQ(test, exec(test, s, a->context.pid, 0), 0);
}

static void only_a_running_worker_is_preempted(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 0);
	pid_t pid = w->context.pid;

	KUNIT_EXPECT_EQ(test, preempt_ums_worker(t->data, NO_PID), -ESRCH);
	KUNIT_EXPECT_EQ(test, preempt_ums_worker(t->data, pid), -EAGAIN);
	KUNIT_EXPECT_FALSE(test, w->preempt);

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	stop_worker(test, w);
	KUNIT_EXPECT_PTR_EQ_MSG(test, s->running, w, "stopped without a reason");
	KUNIT_EXPECT_EQ(test, preempt_ums_worker(t->data, pid), 0);
	stop_worker(test, w);
	KUNIT_EXPECT_NULL(test, s->running);
	KUNIT_EXPECT_EQ(test, w->why, UMS_READY_PREEMPTED);
	KUNIT_EXPECT_EQ(test, w->preemptions, 1);
	KUNIT_EXPECT_EQ(test, w->yields, 0);
	KUNIT_EXPECT_FALSE(test, w->preempt);
	KUNIT_EXPECT_EQ(test, next_event(test, s).type, THREAD_PREEMPTED);
	expect_workers(test, &s->complist->queue, w);
}

/* A reason that came too late is none for the next time. */
static void stop_answers_preemption(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_KEEP);
	struct ums_worker *w = new_worker(test, id, 0);

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	KUNIT_EXPECT_EQ(test, preempt_ums_worker(t->data, w->context.pid), 0);
	yield_worker(test, w, 0);
	KUNIT_EXPECT_EQ(test, next_event(test, s).type, THREAD_YIELD);
	exec_worker(test, s, w);
	stop_worker(test, w);
	KUNIT_EXPECT_PTR_EQ(test, s->running, w);
	expect_no_event(test, s);
}

static void wait_for_slice(struct kunit *test, struct ums_scheduler *s)
{
	int ms;

	for (ms = 0; ms < 5000 && !READ_ONCE(s->slice_over); ms++)
		usleep_range(1000, 2000);
	KUNIT_ASSERT_TRUE(test, READ_ONCE(s->slice_over));
}

static void slice_stops_the_run_that_it_was_given_for(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_KEEP);
	struct ums_worker *w = new_worker(test, id, 0);

	dequeue_all(test, s, id);
	KUNIT_ASSERT_EQ(test, exec(test, s, w->context.pid, 1), 0);
	wait_for_slice(test, s);
	KUNIT_EXPECT_PTR_EQ(test, s->running, w);
	stop_worker(test, w);
	KUNIT_EXPECT_NULL(test, s->running);
	KUNIT_EXPECT_EQ(test, w->why, UMS_READY_PREEMPTED);
	KUNIT_EXPECT_EQ(test, next_event(test, s).type, THREAD_PREEMPTED);

	exec_worker(test, s, w);
	stop_worker(test, w);
	KUNIT_EXPECT_PTR_EQ(test, s->running, w);
	yield_worker(test, w, 0);

	/* As long as can be: it may not be over by now. */
	KUNIT_ASSERT_EQ(test, exec(test, s, w->context.pid, U64_MAX), 0);
	KUNIT_EXPECT_TRUE(test, hrtimer_active(&s->slice_timer));
	usleep_range(2000, 4000);
	KUNIT_EXPECT_FALSE(test, s->slice_over);
	yield_worker(test, w, 0);
	exec_worker(test, s, w);
	KUNIT_EXPECT_FALSE(test, hrtimer_active(&s->slice_timer));
}

static void slice_goes_on_over_a_switch(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b = new_worker(test, id, 0);

	dequeue_all(test, s, id);
	KUNIT_ASSERT_EQ(test, exec(test, s, a->context.pid, 1), 0);
	wait_for_slice(test, s);
	KUNIT_EXPECT_EQ(test, switch_worker(test, a, b->context.pid), 0);
	KUNIT_EXPECT_PTR_EQ(test, s->running, b);
	stop_worker(test, b);
	KUNIT_EXPECT_NULL(test, s->running);
	expect_preempted(test, s, b->context.pid);
}

static void switch_hands_the_scheduler_over(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b = new_worker(test, id, 0);
	struct ums_worker *c = new_worker(test, id, 0);
	struct ums_event_node *spare = s->spare;

	dequeue_all(test, s, id);
	exec_worker(test, s, a);
	KUNIT_EXPECT_EQ(test, switch_worker(test, a, b->context.pid), 0);
	KUNIT_EXPECT_PTR_EQ(test, s->running, b);
	KUNIT_EXPECT_PTR_EQ(test, s->spare, spare);
	expect_workers(test, &s->owned, c, a);
	expect_parent(test, a, s);
	expect_parent(test, b, s);
	KUNIT_EXPECT_EQ(test, a->context.state, CONTEXT_IDLE);
	KUNIT_EXPECT_EQ(test, b->context.state, CONTEXT_RUNNING);
	KUNIT_EXPECT_EQ(test, a->why, UMS_READY_YIELDED);
	KUNIT_EXPECT_EQ(test, a->handovers, 1);
	KUNIT_EXPECT_EQ(test, a->yields, 0);
	KUNIT_EXPECT_EQ(test, b->context.switches, 1);
	KUNIT_EXPECT_EQ(test, s->context.switches, 2);
	KUNIT_EXPECT_EQ(test, b->last_sched, s->context.pid);
	KUNIT_EXPECT_EQ(test, b->last_sched_id, s->id);
	expect_no_event(test, s);
}

static void switch_needs_a_worker_of_the_same_scheduler(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_scheduler *other = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b;

	dequeue_all(test, s, id);
	exec_worker(test, s, a);
	b = new_worker(test, id, 0);
	KUNIT_EXPECT_EQ(test, switch_worker(test, a, NO_PID), -ESRCH);
	KUNIT_EXPECT_EQ(test, switch_worker(test, a, a->context.pid), -EBUSY);
	KUNIT_EXPECT_EQ(test, switch_worker(test, a, b->context.pid), -EBUSY);
	dequeue_all(test, other, id);
	KUNIT_EXPECT_EQ(test, switch_worker(test, a, b->context.pid), -EBUSY);
	KUNIT_EXPECT_PTR_EQ(test, s->running, a);
	KUNIT_EXPECT_EQ(test, a->context.state, CONTEXT_RUNNING);
	KUNIT_EXPECT_EQ(test, a->handovers, 0);
	expect_workers(test, &other->owned, b);

	kunit_release_action(test, end_scheduler, s);
	KUNIT_EXPECT_EQ(test, switch_worker(test, a, b->context.pid), -ESRCH);
}

static void blocking_is_reported_by_the_scheduler(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_BLOCK_EVENTS);
	struct ums_worker *w = new_worker(test, id, 0);

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	KUNIT_EXPECT_FALSE(test, ums_event_waiting(&s->context));
	block_worker(w);
	KUNIT_EXPECT_EQ(test, w->context.state, CONTEXT_BLOCKED);
	KUNIT_EXPECT_EQ(test, w->cause,
			syscall_get_nr(current, task_pt_regs(current)));
	w->cause = 42;

	KUNIT_EXPECT_TRUE(test, ums_event_waiting(&s->context));
	KUNIT_EXPECT_NULL(test, s->running);
	expect_parent(test, w, NULL);
	KUNIT_EXPECT_EQ(test, w->blocks, 1);
	KUNIT_EXPECT_EQ(test, exec(test, s, w->context.pid, 0), -EBUSY);
	expect_blocked(test, s, w->context.pid, 42);

	/* It comes back: to its list, and without another event. */
	expect_empty(test, &s->complist->queue);
	stop_worker(test, w);
	expect_workers(test, &s->complist->queue, w);
	KUNIT_EXPECT_EQ(test, w->why, UMS_READY_UNBLOCKED);
	KUNIT_EXPECT_EQ(test, w->context.state, CONTEXT_IDLE);
	KUNIT_EXPECT_EQ(test, w->blocks, 1);
	expect_no_event(test, s);
}

/* Also when the scheduler keeps: what has blocked is not dequeued any more. */
static void blocking_is_reported_by_the_worker(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_KEEP |
						ENTER_UMS_BLOCK_EVENTS);
	struct ums_worker *w = new_worker(test, id, 0);

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	block_worker(w);
	w->cause = UMS_CAUSE_TRAP;
	stop_worker(test, w);
	KUNIT_EXPECT_NULL(test, s->running);
	expect_workers(test, &s->complist->queue, w);
	expect_empty(test, &s->owned);
	expect_parent(test, w, NULL);
	KUNIT_EXPECT_EQ(test, w->why, UMS_READY_UNBLOCKED);
	KUNIT_EXPECT_EQ(test, w->blocks, 1);
	expect_blocked(test, s, w->context.pid, UMS_CAUSE_TRAP);
	expect_no_event(test, s);
}

static void sleep_that_nobody_asked_for_is_no_blocking(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_scheduler *asks = new_scheduler(test, id,
						   ENTER_UMS_BLOCK_EVENTS);
	struct ums_worker *w = new_worker(test, id, 0);

	block_worker(w);
	KUNIT_EXPECT_EQ_MSG(test, w->context.state, CONTEXT_IDLE, "queued");
	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	block_worker(w);
	KUNIT_EXPECT_EQ_MSG(test, w->context.state, CONTEXT_RUNNING,
			    "without block events");
	yield_worker(test, w, 0);

	dequeue_all(test, asks, id);
	exec_worker(test, asks, w);
	w->parking = true;
	block_worker(w);
	w->parking = false;
	KUNIT_EXPECT_EQ_MSG(test, w->context.state, CONTEXT_RUNNING, "parking");
	kunit_release_action(test, end_scheduler, asks);
	block_worker(w);
	KUNIT_EXPECT_EQ_MSG(test, w->context.state, CONTEXT_RUNNING, "on its own");
}

static void running_worker_goes_on_without_its_scheduler(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_KEEP);
	struct ums_scheduler *next = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 0);

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	kunit_release_action(test, end_scheduler, s);
	expect_parent(test, w, NULL);
	KUNIT_EXPECT_EQ(test, w->context.state, CONTEXT_RUNNING);
	expect_empty(test, &next->complist->queue);
	KUNIT_EXPECT_EQ(test, exec(test, next, w->context.pid, 0), -EBUSY);

	yield_worker(test, w, 0);
	expect_workers(test, &next->complist->queue, w);
	KUNIT_EXPECT_EQ(test, w->why, UMS_READY_YIELDED);
	dequeue_all(test, next, id);
	exec_worker(test, next, w);
	expect_no_event(test, next);
}

/* Of a worker that is parked, too, and by its own node. */
static void end_is_told_to_the_last_scheduler(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_scheduler *other = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 0);
	struct ums_worker *b = new_worker(test, id, 0);
	pid_t pid = a->context.pid;

	dequeue_all(test, s, id);
	exec_worker(test, s, a);
	yield_worker(test, a, 0);
	KUNIT_EXPECT_EQ(test, next_event(test, s).type, THREAD_YIELD);
	exec_worker(test, s, b);
	dequeue_all(test, other, id);

	kunit_release_action(test, end_worker, a);
	expect_terminated(test, s, pid);
	KUNIT_EXPECT_PTR_EQ(test, s->running, b);
	KUNIT_EXPECT_NOT_NULL(test, s->spare);
	expect_empty(test, &other->owned);
	expect_no_event(test, other);
	KUNIT_EXPECT_EQ(test, s->complist->nr_corpses, 0);
	KUNIT_EXPECT_EQ(test, exec(test, other, pid, 0), -ESRCH);
}

/* Nobody waits to hear of one that has never run. */
static void end_of_a_new_worker_is_not_told(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);

	kunit_release_action(test, end_worker, new_worker(test, id, 0));
	KUNIT_EXPECT_FALSE(test, ums_complist_ready(s->complist));
	expect_no_event(test, s);
}

/* Its thread id alone does not make a scheduler the one that ran a worker. */
static void end_is_told_to_no_other_scheduler(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 3);
	pid_t pid = w->context.pid;

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	yield_worker(test, w, 0);
	KUNIT_EXPECT_EQ(test, next_event(test, s).type, THREAD_YIELD);
	w->last_sched_id--;
	kunit_release_action(test, end_worker, w);
	expect_no_event(test, s);
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 5), 1);
	expect_ready(test, 0, pid, UMS_READY_TERMINATED, 3);
}

/* A scheduler that has left is not told, though it may still be known. */
static void end_is_left_to_who_dequeues(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *a = new_worker(test, id, 1);
	struct ums_worker *b = new_worker(test, id, 2);
	pid_t pid = a->context.pid;

	dequeue_all(test, s, id);
	exec_worker(test, s, a);
	yield_worker(test, a, 0);
	next_event(test, s);
	exec_worker(test, s, b);
	s->dead = true;
	kunit_release_action(test, end_worker, a);
	KUNIT_EXPECT_EQ(test, s->complist->nr_corpses, 1);
	s->dead = false;
	KUNIT_EXPECT_EQ(test, dequeue(test, s, id, 5), 1);
	expect_ready(test, 0, pid, UMS_READY_TERMINATED, 1);

	/* Of a device that is closed, nobody will. */
	kunit_release_action(test, end_scheduler, s);
	set_closed(test, true);
	kunit_release_action(test, end_worker, b);
	set_closed(test, false);
	KUNIT_EXPECT_EQ(test, clist_of(test, id)->nr_corpses, 0);
}

static struct kunit_case worker_cases[] = {
	KUNIT_CASE(executed_worker_runs),
	KUNIT_CASE(only_a_dequeued_worker_is_executed),
	KUNIT_CASE(yielding_worker_goes_to_the_end_of_its_list),
	KUNIT_CASE(yielding_worker_can_be_kept),
	KUNIT_CASE(only_a_running_worker_is_preempted),
	KUNIT_CASE(stop_answers_preemption),
	KUNIT_CASE(slice_stops_the_run_that_it_was_given_for),
	KUNIT_CASE(slice_goes_on_over_a_switch),
	KUNIT_CASE(switch_hands_the_scheduler_over),
	KUNIT_CASE(switch_needs_a_worker_of_the_same_scheduler),
	KUNIT_CASE(blocking_is_reported_by_the_scheduler),
	KUNIT_CASE(blocking_is_reported_by_the_worker),
	KUNIT_CASE(sleep_that_nobody_asked_for_is_no_blocking),
	KUNIT_CASE(running_worker_goes_on_without_its_scheduler),
	KUNIT_CASE(end_is_told_to_the_last_scheduler),
	KUNIT_CASE(end_of_a_new_worker_is_not_told),
	KUNIT_CASE(end_is_told_to_no_other_scheduler),
	KUNIT_CASE(end_is_left_to_who_dequeues),
	{}
};

static struct kunit_suite worker_suite = {
	.name = "ums_worker",
	.init = case_init,
	.test_cases = worker_cases,
};

/* ---- times --------------------------------------------------------------- */

static void deadline_of_no_timeout_is_none(struct kunit *test)
{
	ktime_t deadline = 7;

	KUNIT_EXPECT_NULL(test, ums_deadline(&deadline, 0));
	KUNIT_EXPECT_EQ(test, deadline, 7);
}

static void deadline_is_now_and_the_timeout(struct kunit *test)
{
	static const u64 timeouts[] = { 1, NSEC_PER_SEC, 1ULL << 40 };
	ktime_t deadline, before, after;
	int i;

	for (i = 0; i < ARRAY_SIZE(timeouts); i++) {
		before = ktime_get();
		KUNIT_EXPECT_PTR_EQ(test, ums_deadline(&deadline, timeouts[i]),
				    &deadline);
		after = ktime_get();
		KUNIT_EXPECT_GE(test, deadline, before + (s64)timeouts[i]);
		KUNIT_EXPECT_LE(test, deadline, after + (s64)timeouts[i]);
	}
}

/* There is a last moment, and nothing overflows on the way there. */
static void deadline_is_never_past_the_end_of_time(struct kunit *test)
{
	static const u64 timeouts[] = {
		KTIME_MAX - 1, KTIME_MAX, KTIME_MAX + 1ULL, U64_MAX,
	};
	ktime_t deadline;
	int i;

	for (i = 0; i < ARRAY_SIZE(timeouts); i++) {
		KUNIT_EXPECT_PTR_EQ(test, ums_deadline(&deadline, timeouts[i]),
				    &deadline);
		KUNIT_EXPECT_EQ(test, deadline, KTIME_MAX);
	}
}

static struct ums_query query_worker(struct kunit *test, struct ums_worker *w)
{
	struct case_data *t = test->priv;
	struct ums_query query = { .context = w->context.pid };

	KUNIT_ASSERT_EQ(test, copy_to_user(t->user, &query, sizeof(query)), 0);
	KUNIT_ASSERT_EQ(test, query_ums_worker(t->data, t->user), 0);
	KUNIT_ASSERT_EQ(test, copy_from_user(&query, t->user, sizeof(query)), 0);
	return query;
}

static u64 sum_of(const u64 *times)
{
	return times[CONTEXT_RUNNING] + times[CONTEXT_IDLE] +
	       times[CONTEXT_BLOCKED];
}

static u64 sum_of_query(const struct ums_query *query)
{
	return query->running_ns + query->ready_ns + query->blocked_ns;
}

static void pass_time(u64 ns)
{
	u64 end = ktime_get_ns() + ns;

	while (ktime_get_ns() < end)
		cpu_relax();
}

/* The time in a state is counted for that state, when it ends. */
static void time_is_counted_for_the_state_it_was_spent_in(struct kunit *test)
{
	static const enum ums_context_state states[] = {
		CONTEXT_RUNNING, CONTEXT_BLOCKED, CONTEXT_IDLE,
	};
	struct ums_worker *w = new_worker(test, new_clist(test), 0);
	u64 birth = w->since - sum_of(w->times);
	u64 before[UMS_CONTEXT_STATES];
	enum ums_context_state state;
	int i, j;

	for (i = 0; i < 6; i++) {
		state = w->context.state;
		memcpy(before, w->times, sizeof(before));
		pass_time(50 * NSEC_PER_USEC);
		set_context_state(&w->context, states[i % ARRAY_SIZE(states)]);
		for (j = 0; j < UMS_CONTEXT_STATES; j++)
			if (j == state)
				KUNIT_EXPECT_GE(test, w->times[j],
						before[j] + 50000);
			else
				KUNIT_EXPECT_EQ(test, w->times[j], before[j]);
		KUNIT_EXPECT_EQ(test, w->since - birth, sum_of(w->times));
	}
}

static void times_add_up_to_the_life_of_a_worker(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_BLOCK_EVENTS);
	u64 before = ktime_get_ns();
	struct ums_worker *w = new_worker(test, id, 0);
	u64 born = ktime_get_ns();
	struct ums_query query;
	u64 asked;
	int i;

	for (i = 0; i < 3; i++) {
		dequeue_all(test, s, id);
		exec_worker(test, s, w);
		pass_time(20 * NSEC_PER_USEC);
		if (i == 1) {
			block_worker(w);
			KUNIT_EXPECT_TRUE(test, ums_event_waiting(&s->context));
			pass_time(20 * NSEC_PER_USEC);
			stop_worker(test, w);
		} else {
			yield_worker(test, w, 0);
		}
		pass_time(20 * NSEC_PER_USEC);
		asked = ktime_get_ns();
		query = query_worker(test, w);
		KUNIT_EXPECT_GE(test, sum_of_query(&query), asked - born);
		KUNIT_EXPECT_LE(test, sum_of_query(&query),
				ktime_get_ns() - before);
	}
	KUNIT_EXPECT_GE(test, query.running_ns, 60000);
	KUNIT_EXPECT_GE(test, query.ready_ns, 60000);
	KUNIT_EXPECT_GE(test, query.blocked_ns, 20000);
}

/* What goes on is counted up to now. */
static void query_counts_the_state_that_goes_on(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 0);
	struct ums_query first, second;

	first = query_worker(test, w);
	pass_time(50 * NSEC_PER_USEC);
	second = query_worker(test, w);
	KUNIT_EXPECT_GE(test, second.ready_ns, first.ready_ns + 50000);
	KUNIT_EXPECT_EQ(test, second.running_ns, first.running_ns);

	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	first = query_worker(test, w);
	pass_time(50 * NSEC_PER_USEC);
	second = query_worker(test, w);
	KUNIT_EXPECT_GE(test, second.running_ns, first.running_ns + 50000);
	KUNIT_EXPECT_EQ(test, second.ready_ns, first.ready_ns);
	KUNIT_EXPECT_EQ(test, second.blocked_ns, 0);
}

static void query_tells_all_there_is(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_BLOCK_EVENTS);
	struct ums_worker *w = new_worker(test, id, 0xC00C1E);
	struct ums_worker *other = new_worker(test, id, 0);
	struct ums_query query, want = {
		.context = w->context.pid,
		.state = UMS_STATE_READY,
		.why = UMS_READY_NEW,
		.clist = id,
		.cookie = 0xC00C1E,
	};

	query = query_worker(test, w);
	want.running_ns = query.running_ns;
	want.ready_ns = query.ready_ns;
	KUNIT_EXPECT_MEMEQ(test, &query, &want, sizeof(query));

	dequeue_all(test, s, id);
	KUNIT_EXPECT_EQ(test, query_worker(test, w).scheduler, s->context.pid);
	exec_worker(test, s, w);
	KUNIT_EXPECT_EQ(test, query_worker(test, w).state, UMS_STATE_RUNNING);
	KUNIT_EXPECT_EQ(test, switch_worker(test, w, other->context.pid), 0);
	KUNIT_EXPECT_EQ(test, switch_worker(test, other, w->context.pid), 0);
	block_worker(w);
	KUNIT_EXPECT_EQ(test, query_worker(test, w).state, UMS_STATE_BLOCKED);
	KUNIT_EXPECT_EQ(test, query_worker(test, w).blocks, 0);
	KUNIT_EXPECT_TRUE(test, ums_event_waiting(&s->context));
	stop_worker(test, w);
	next_event(test, s);
	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	yield_worker(test, w, 0);

	query = query_worker(test, w);
	want.why = UMS_READY_YIELDED;
	want.switches = 3;
	want.yields = 1;
	want.handovers = 1;
	want.blocks = 1;
	want.running_ns = query.running_ns;
	want.ready_ns = query.ready_ns;
	want.blocked_ns = query.blocked_ns;
	KUNIT_EXPECT_MEMEQ(test, &query, &want, sizeof(query));
}

static void query_of_nobody_tells_nothing(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	struct ums_worker *w = new_worker(test, id, 0);
	struct ums_query query = { .context = NO_PID };

	KUNIT_ASSERT_EQ(test, copy_to_user(t->user, &query, sizeof(query)), 0);
	KUNIT_EXPECT_EQ(test, query_ums_worker(t->data, t->user), -ESRCH);
	query.context = w->context.pid;
	query.flags = 1;
	KUNIT_ASSERT_EQ(test, copy_to_user(t->user, &query, sizeof(query)), 0);
	KUNIT_EXPECT_EQ(test, query_ums_worker(t->data, t->user), -EINVAL);
	query.flags = 0;
	KUNIT_ASSERT_EQ(test, copy_to_user(t->user, &query, sizeof(query)), 0);
	KUNIT_EXPECT_EQ(test, query_ums_worker(t->data, t->read_only), -EFAULT);
	KUNIT_EXPECT_EQ(test, query_ums_worker(t->data, t->nowhere), -EFAULT);
}

static struct kunit_case time_cases[] = {
	KUNIT_CASE(deadline_of_no_timeout_is_none),
	KUNIT_CASE(deadline_is_now_and_the_timeout),
	KUNIT_CASE(deadline_is_never_past_the_end_of_time),
	KUNIT_CASE(time_is_counted_for_the_state_it_was_spent_in),
	KUNIT_CASE(times_add_up_to_the_life_of_a_worker),
	KUNIT_CASE(query_counts_the_state_that_goes_on),
	KUNIT_CASE(query_tells_all_there_is),
	KUNIT_CASE(query_of_nobody_tells_nothing),
	{}
};

static struct kunit_suite time_suite = {
	.name = "ums_time",
	.init = case_init,
	.test_cases = time_cases,
};

/* ---- procfs -------------------------------------------------------------- */

/* The lines of a context's info file are these. */
static void expect_info(struct kunit *test, struct ums_context *ctx,
			int (*show)(struct seq_file *m, void *v),
			const char *want)
{
	struct seq_file *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->size = PAGE_SIZE;
	m->buf = kunit_kzalloc(test, m->size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m->buf);
	m->private = ctx;
	KUNIT_EXPECT_EQ(test, show(m, NULL), 0);
	KUNIT_EXPECT_FALSE(test, seq_has_overflowed(m));
	KUNIT_EXPECT_STREQ(test, m->buf, want);
}

__printf(3, 4)
static void expect_worker_info(struct kunit *test, struct ums_worker *w,
			       const char *format, ...)
{
	char want[256];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	expect_info(test, &w->context, ums_worker_info_show_all, want);
}

__printf(3, 4)
static void expect_scheduler_info(struct kunit *test, struct ums_scheduler *s,
				  const char *format, ...)
{
	char want[256];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	expect_info(test, &s->context, ums_scheduler_info_show, want);
}

static void info_of_a_worker(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, ENTER_UMS_BLOCK_EVENTS);
	struct ums_worker *w = new_worker(test, id, U64_MAX);
	/* Names in procfs are those of the initial namespace. */
	int pid = w->context.proc_pid = w->context.pid + 1000;
	int sched = s->context.proc_pid = s->context.pid + 1000;

	expect_worker_info(test, w,
			   "pid:\t%d\nstate:\tidle\nswitches:\t0\ncompletion_list:\t%d\nscheduler:\t0\ncookie:\t18446744073709551615\n",
			   pid, id);
	dequeue_all(test, s, id);
	expect_worker_info(test, w,
			   "pid:\t%d\nstate:\tidle\nswitches:\t0\ncompletion_list:\t%d\nscheduler:\t%d\ncookie:\t18446744073709551615\n",
			   pid, id, sched);
	exec_worker(test, s, w);
	expect_worker_info(test, w,
			   "pid:\t%d\nstate:\trunning\nswitches:\t1\ncompletion_list:\t%d\nscheduler:\t%d\ncookie:\t18446744073709551615\n",
			   pid, id, sched);
	block_worker(w);
	KUNIT_EXPECT_TRUE(test, ums_event_waiting(&s->context));
	expect_worker_info(test, w,
			   "pid:\t%d\nstate:\tblocked\nswitches:\t1\ncompletion_list:\t%d\nscheduler:\t0\ncookie:\t18446744073709551615\n",
			   pid, id);
}

static void info_of_a_scheduler(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler_unread(test, id, 0);
	struct ums_worker *w = new_worker(test, id, 0);
	int pid = s->context.proc_pid = s->context.pid + 1000;
	int worker = w->context.proc_pid = w->context.pid + 1000;

	expect_scheduler_info(test, s,
			      "pid:\t%d\nstate:\trunning\nswitches:\t0\ncompletion_list:\t%d\nworker:\t0\nevents:\t1\n",
			      pid, id);
	next_event(test, s);
	dequeue_all(test, s, id);
	exec_worker(test, s, w);
	expect_scheduler_info(test, s,
			      "pid:\t%d\nstate:\trunning\nswitches:\t1\ncompletion_list:\t%d\nworker:\t%d\nevents:\t0\n",
			      pid, id, worker);
	prepare_suspend_context(&s->context);
	expect_scheduler_info(test, s,
			      "pid:\t%d\nstate:\tidle\nswitches:\t1\ncompletion_list:\t%d\nworker:\t%d\nevents:\t0\n",
			      pid, id, worker);
	set_context_state(&s->context, CONTEXT_RUNNING);
}

/* What was moved has the link that it should have. */
static void flush_links(struct kunit *test)
{
	struct case_data *t = test->priv;

	while (flush_delayed_work(&t->data->links_work))
		;
	KUNIT_EXPECT_TRUE(test, llist_empty(&t->data->links_changed));
	expect_empty(test, &t->data->links_todo);
}

static void links_follow_who_dequeued(struct kunit *test)
{
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_scheduler *other = new_scheduler(test, id, ENTER_UMS_KEEP);
	struct ums_worker *w = new_worker(test, id, 0);

	flush_links(test);
	KUNIT_EXPECT_NULL(test, w->link);
	dequeue_all(test, s, id);
	flush_links(test);
	KUNIT_EXPECT_NOT_NULL(test, w->link);
	KUNIT_EXPECT_PTR_EQ(test, w->link_sched, s);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&s->links));

	exec_worker(test, other, w);
	flush_links(test);
	KUNIT_EXPECT_NULL(test, w->link);
	KUNIT_EXPECT_NULL(test, w->link_sched);
	expect_empty(test, &s->links);

	yield_worker(test, w, 0);
	flush_links(test);
	KUNIT_EXPECT_PTR_EQ(test, w->link_sched, other);
	kunit_release_action(test, end_scheduler, other);
	flush_links(test);
	KUNIT_EXPECT_NULL(test, w->link);
	KUNIT_EXPECT_NULL(test, w->link_sched);
}

static struct kunit_case proc_cases[] = {
	KUNIT_CASE(info_of_a_worker),
	KUNIT_CASE(info_of_a_scheduler),
	KUNIT_CASE(links_follow_who_dequeued),
	{}
};

static struct kunit_suite proc_suite = {
	.name = "ums_proc",
	.init = case_init,
	.test_cases = proc_cases,
};

/* ---- the device ---------------------------------------------------------- */

struct bad_enter {
	const char *name;
	struct ums_enter args;
};

static const struct bad_enter bad_enters[] = {
	{ "no mode", { .clist = 1 } },
	{ "unknown mode", { .mode = 3, .clist = 1 } },
	{ "scheduler, reserved", { .mode = ENTER_UMS_SCHED, .clist = 1,
				   .reserved = 1 } },
	{ "scheduler, unknown flag", { .mode = ENTER_UMS_SCHED, .clist = 1,
				       .flags = ENTER_UMS_KEEP << 1 } },
	{ "scheduler, cookie", { .mode = ENTER_UMS_SCHED, .clist = 1,
				 .cookie = 1 } },
	{ "scheduler, no list", { .mode = ENTER_UMS_SCHED } },
	{ "scheduler, unknown list", { .mode = ENTER_UMS_SCHED, .clist = 2 } },
	{ "worker, reserved", { .mode = ENTER_UMS_WORK, .clist = 1,
				.reserved = 1 } },
	{ "worker, flag", { .mode = ENTER_UMS_WORK, .clist = 1,
			    .flags = ENTER_UMS_KEEP } },
	{ "worker, negative list", { .mode = ENTER_UMS_WORK, .clist = -1 } },
};

KUNIT_ARRAY_PARAM_DESC(bad_enter, bad_enters, name);

static void bad_enter_changes_nothing(struct kunit *test)
{
	const struct bad_enter *bad = test->param_value;
	struct case_data *t = test->priv;

	KUNIT_ASSERT_EQ(test, new_clist(test), 1);
	KUNIT_ASSERT_EQ(test, copy_to_user(t->user, &bad->args,
					   sizeof(bad->args)), 0);
	KUNIT_EXPECT_EQ(test, call(test, IOCTL_ENTER_UMS,
				   (unsigned long)t->user), -EINVAL);
	KUNIT_EXPECT_EQ(test, call(test, IOCTL_ENTER_UMS,
				   (unsigned long)t->nowhere), -EFAULT);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->data->nr_contexts), 0);
	KUNIT_EXPECT_EQ(test, clist_of(test, 1)->members, 0);
	KUNIT_EXPECT_NULL(test, ums_current_context());
}

struct plain_call {
	const char *name;
	unsigned int cmd;
	long want;
};

static const struct plain_call plain_calls[] = {
	{ "SCHED_DQEVENT", IOCTL_UMS_SCHED_DQEVENT, -ESRCH },
	{ "DEQUEUE_UMS_CLIST", IOCTL_DEQUEUE_UMS_CLIST, -ESRCH },
	{ "NEXT_UMS_CTX_LIST", IOCTL_NEXT_UMS_CTX_LIST, -ESRCH },
	{ "EXEC_UMS_CTX", IOCTL_EXEC_UMS_CTX, -ESRCH },
	{ "UMS_RUN", IOCTL_UMS_RUN, -ESRCH },
	{ "UMS_DEQUEUE", IOCTL_UMS_DEQUEUE, -ESRCH },
	{ "UMS_YIELD", IOCTL_UMS_YIELD, -ESRCH },
	{ "UMS_SWITCH", IOCTL_UMS_SWITCH, -ESRCH },
	{ "EXIT_UMS", IOCTL_EXIT_UMS, -ESRCH },
	{ "UMS_PREEMPT", IOCTL_UMS_PREEMPT, -ESRCH },
	{ "UMS_QUERY", IOCTL_UMS_QUERY, -ESRCH },
	{ "UMS_CLIST_FD", IOCTL_UMS_CLIST_FD, -EINVAL },
	{ "DELETE_UMS_CLIST", IOCTL_DELETE_UMS_CLIST, -EINVAL },
	{ "none of these", _IO(UMS_IOC_MAGIC, 0x10), -ENOTTY },
};

KUNIT_ARRAY_PARAM_DESC(plain_call, plain_calls, name);

/* The argument is a page of zeros, or as a number none. */
static void call_of_a_plain_thread(struct kunit *test)
{
	const struct plain_call *plain = test->param_value;
	struct case_data *t = test->priv;
	struct mm_struct *mm = t->data->mm;

	KUNIT_EXPECT_EQ(test, call(test, plain->cmd, (unsigned long)t->user),
			plain->want);

	/* Another process, and a closed device, come before all else. */
	t->data->mm = NULL;
	KUNIT_EXPECT_EQ(test, call(test, plain->cmd, (unsigned long)t->user),
			-EIO);
	t->data->mm = mm;
	set_closed(test, true);
	KUNIT_EXPECT_EQ(test, call(test, plain->cmd, (unsigned long)t->user),
			-ENODEV);
	set_closed(test, false);
}

/* Bits beyond an int do not make another id of it. */
static void ids_are_positive_ints(struct kunit *test)
{
	struct case_data *t = test->priv;
	s32 id = new_clist(test);
	unsigned long bad[] = {
		0, -1UL, -(unsigned long)id, INT_MAX + 1UL, UINT_MAX,
#ifdef CONFIG_64BIT
		BIT(32) + id, BIT(63) + id,
#endif
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test, call(test, IOCTL_DELETE_UMS_CLIST, bad[i]),
				-EINVAL);
	KUNIT_EXPECT_NOT_NULL(test, xa_load(&t->data->comp_lists, id));
	KUNIT_EXPECT_EQ(test, call(test, IOCTL_DELETE_UMS_CLIST, id), 0);
}

/* The process has one device at a time; it may open another one after that. */
static void process_opens_one_device(struct kunit *test)
{
	struct case_data *t = test->priv;
	struct inode *inode = file_inode(t->file);
	struct file *second;

	second = anon_inode_getfile("[ums_kunit]", &device_fops, NULL, O_RDWR);
	KUNIT_ASSERT_FALSE(test, IS_ERR(second));
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, close_device,
							second), 0);
	KUNIT_EXPECT_EQ(test, ums_fops.open(inode, second), -EBUSY);
	KUNIT_EXPECT_NULL(test, second->private_data);
	KUNIT_EXPECT_NOT_NULL(test, t->data->dir);

	ums_fops.flush(t->file, NULL);
	KUNIT_EXPECT_TRUE(test, t->data->closed);
	KUNIT_EXPECT_NULL(test, t->data->dir);
	KUNIT_EXPECT_EQ(test, ums_fops.open(inode, second), 0);
}

static struct ums_context *find(struct rhashtable *pool, pid_t pid)
{
	struct ums_context *ctx;

	rcu_read_lock();
	ctx = ums_context_find(pool, pid);
	rcu_read_unlock();
	return ctx;
}

/* Until then, the next thread of that id would have to wait. */
static void contexts_are_found_until_they_end(struct kunit *test)
{
	struct case_data *t = test->priv;
	struct rhashtable *workers = &t->data->workers;
	struct rhashtable *schedulers = &t->data->schedulers;
	s32 id = new_clist(test);
	struct ums_scheduler *s = new_scheduler(test, id, 0);
	struct ums_worker *w[50];
	pid_t pid;
	int i;

	for (i = 0; i < ARRAY_SIZE(w); i++)
		w[i] = new_worker(test, id, i);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->data->nr_contexts),
			ARRAY_SIZE(w) + 1);
	for (i = 0; i < ARRAY_SIZE(w); i++)
		KUNIT_EXPECT_PTR_EQ(test, find(workers, w[i]->context.pid),
				    &w[i]->context);
	KUNIT_EXPECT_PTR_EQ(test, find(schedulers, s->context.pid), &s->context);
	KUNIT_EXPECT_NULL(test, find(workers, s->context.pid));
	KUNIT_EXPECT_NULL(test, find(schedulers, w[0]->context.pid));
	KUNIT_EXPECT_NULL(test, find(workers, NO_PID));

	pid = w[7]->context.pid;
	kunit_release_action(test, end_worker, w[7]);
	KUNIT_EXPECT_NULL(test, find(workers, pid));
	KUNIT_EXPECT_EQ(test, atomic_read(&t->data->nr_contexts), ARRAY_SIZE(w));
}

static struct kunit_case device_cases[] = {
	KUNIT_CASE_PARAM(bad_enter_changes_nothing, bad_enter_gen_params),
	KUNIT_CASE_PARAM(call_of_a_plain_thread, plain_call_gen_params),
	KUNIT_CASE(ids_are_positive_ints),
	KUNIT_CASE(process_opens_one_device),
	KUNIT_CASE(contexts_are_found_until_they_end),
	{}
};

static struct kunit_suite device_suite = {
	.name = "ums_device",
	.init = case_init,
	.test_cases = device_cases,
};

kunit_test_suites(&complist_suite, &event_suite, &dequeue_suite, &worker_suite,
		  &time_suite, &proc_suite, &device_suite);
