/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-mode scheduling: what the parts of the driver share.
 *
 * A process opens /dev/ums once and gets a struct ums_data.  Its threads enter
 * as schedulers or workers; each of them has a struct ums_context, embedded in
 * a struct ums_scheduler or a struct ums_worker.  Workers that are ready wait
 * on a struct ums_complist until a scheduler dequeues them.
 *
 * Lifetimes: a context holds a reference on the device's struct file, which
 * owns the ums_data, which holds on to the completion lists; a worker or
 * scheduler holds a reference on its own list besides.  So the data, and
 * through the file's owner the module, outlive every context.  A context ends
 * when its thread leaves UMS (in the thread's own task work) or is dead (in a
 * work item, after its last schedule()), and is freed, and its thread's
 * task_struct let go, after a grace period.
 *
 * Locks, outermost first:
 *
 *   ums_openers_lock	which process has the device open (mutex)
 *   ums_data.proc_lock	links in procfs of one process (mutex)
 *   ums_scheduler.lock	its events, and every worker whose parent it is
 *   ums_complist.lock	its queue, and its workers that have no parent
 *
 * A worker is always protected by exactly one lock, that of the place where it
 * is: see ums_worker_lock().
 */
#ifndef _UMS_H
#define _UMS_H

#include <kunit/visibility.h>
#include <linux/container_of.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/rhashtable-types.h>
#include <linux/sched.h>
#include <linux/seqlock.h>
#include <linux/signal_types.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <asm/barrier.h>
#include <uapi/linux/ums.h>

struct file;
struct mm_struct;
struct pid;
struct proc_dir_entry;

/* What one process may have; see also RLIMIT_NPROC for its threads. */
#define UMS_MAX_CLISTS		1024
#define UMS_MAX_EVENTS		1024	/* unread by one scheduler */
#define UMS_MAX_CORPSES		1024	/* unread on one completion list */

/**
 * enum ums_context_state - what a context is doing
 * @CONTEXT_RUNNING: a worker executes, under a scheduler or, when that one
 *	left, on its own; a scheduler is not waiting in UMS
 * @CONTEXT_IDLE: a worker is parked, queued or dequeued; a scheduler waits,
 *	for its worker, an event or a completion list
 * @CONTEXT_BLOCKED: a worker has gone to sleep in the kernel under a scheduler
 *	that wants to know, and has not come back to user mode since
 */
enum ums_context_state {
	CONTEXT_RUNNING,
	CONTEXT_IDLE,
	CONTEXT_BLOCKED,
};

#define UMS_CONTEXT_STATES	(CONTEXT_BLOCKED + 1)

/**
 * enum ums_context_kind - what a context is embedded in
 * @UMS_SCHEDULER: a struct ums_scheduler
 * @UMS_WORKER: a struct ums_worker
 */
enum ums_context_kind {
	UMS_SCHEDULER,
	UMS_WORKER,
};

/* Bits of ums_context.flags. */
#define UMS_WORK_QUEUED		0	/* the owner of ->work, see context.c */
#define UMS_KICK_QUEUED		1	/* the owner of ->kick */
#define UMS_LEAVING		2	/* IOCTL_EXIT_UMS was called */
#define UMS_LINK_CHANGED	3	/* the owner of ums_worker.link_changed */

/**
 * struct ums_data - one open /dev/ums
 * @file: the open file; each context counts a reference on it
 * @mm: the opener's address space, for comparison; held by mmgrab() only
 * @tgid: the opener's process
 * @schedulers: pool of scheduler contexts, by pid
 * @workers: pool of worker contexts, by pid
 * @comp_lists: completion lists, by id
 * @nr_contexts: contexts that are in a pool or about to be
 * @gone: woken when a context left
 * @reap_wq: for @reap_work, which may wait for this process's doings; as for
 *	@links_wq, an ordered one, as these are small
 * @links_wq: for @links_work, for which the reaper may wait in turn
 * @closed: the opener has no descriptor left; set once
 * @dead: contexts of dead threads
 * @reap_work: ends and frees them, one process's one after the other
 * @sched_ids: the last ums_scheduler.id given
 * @idle_work: frees @reap_wq and @links_wq once nothing can need them
 * @free_work: frees all this, outside of @reap_wq
 * @proc_lock: protects the links, see proc.c
 * @links_changed: workers that may need another link, from whoever moved them
 * @links_todo: the same, taken over by @links_work, oldest first
 * @links_work: brings the links up to date
 * @links_wanted: how often somebody wanted that done at once
 * @links_done: which of these has been done, written by @links_work
 * @links_wait: who waits for it
 * @dir: /proc/ums/<pid>, protected by ums_openers_lock
 * @schedulers_dir: /proc/ums/<pid>/schedulers, lives as long as @dir
 * @workers_dir: /proc/ums/<pid>/workers, lives as long as @dir
 * @uid: owner of the procfs entries
 * @gid: group of the procfs entries
 *
 * Made by open, freed by the file's release, that is after the last
 * descriptor, call and context.
 */
struct ums_data {
	struct file *file;
	struct mm_struct *mm;
	struct pid *tgid;
	struct rhashtable schedulers;
	struct rhashtable workers;
	struct xarray comp_lists;
	atomic_t nr_contexts;
	wait_queue_head_t gone;
	bool closed;
	struct workqueue_struct *reap_wq;
	struct workqueue_struct *links_wq;
	struct llist_head dead;
	struct work_struct reap_work;
	struct work_struct idle_work;
	struct work_struct free_work;
	atomic64_t sched_ids;
	struct mutex proc_lock;		/* links in procfs */
	struct llist_head links_changed;
	struct list_head links_todo;
	struct delayed_work links_work;
	atomic_t links_wanted;
	unsigned int links_done;
	wait_queue_head_t links_wait;
	struct proc_dir_entry *dir;
	struct proc_dir_entry *schedulers_dir;
	struct proc_dir_entry *workers_dir;
	kuid_t uid;
	kgid_t gid;
};

/**
 * struct ums_context - a thread in UMS
 * @state: see enum ums_context_state.  A scheduler's belongs to its thread.  A
 *	worker's is what its thread goes by: it is changed by the thread while
 *	CONTEXT_RUNNING or CONTEXT_BLOCKED, and under ums_worker_lock() by
 *	whoever executes it while CONTEXT_IDLE
 * @kind: what this is embedded in
 * @flags: UMS_WORK_QUEUED, UMS_KICK_QUEUED, UMS_LEAVING, UMS_LINK_CHANGED
 * @task: the thread, with a reference
 * @pid: its thread id in the opener's PID namespace; the key in the pool
 * @proc_pid: its thread id in the initial PID namespace
 * @parent: for a worker, the scheduler that runs or owns it, else NULL;
 *	changed under ums_worker_lock()
 * @node: place in the pool
 * @switches: how often a worker was executed or a scheduler executed one
 * @list: place in a completion list or among what a scheduler owns
 * @rcu_head: lookups run under RCU
 * @data: the open device
 * @notifier: on the thread's preempt notifiers until it leaves or is gone
 * @work: the thread's task work, queued by itself, see context.c
 * @kick: the same, queued by others
 * @wait_q: holds @waiter alone, for __wake_up_on_current_cpu()
 * @waiter: wakes @task; never taken off
 * @exit_irq_work: carries the thread's death out of the scheduler's hook
 * @dead_node: place in ums_data.dead
 *
 * Lives until the thread left UMS or until after its last schedule().
 */
struct ums_context {
	enum ums_context_state state;
	enum ums_context_kind kind;
	unsigned long flags;
	struct task_struct *task;
	pid_t pid;
	pid_t proc_pid;
	struct ums_context *parent;
	struct rhash_head node;
	u64 switches;
	struct list_head list;
	struct rcu_head rcu_head;
	struct ums_data *data;
	struct preempt_notifier notifier;
	struct callback_head work;
	struct callback_head kick;
	struct wait_queue_head *wait_q;
	struct wait_queue_entry waiter;
	struct irq_work exit_irq_work;
	struct llist_node dead_node;
};

/**
 * struct ums_dirs - the procfs entries of a scheduler or worker
 * @dir: its directory
 * @info: the info file in it
 * @workers: the directory of its links, for a scheduler
 */
struct ums_dirs {
	struct proc_dir_entry *dir;
	struct proc_dir_entry *info;
	struct proc_dir_entry *workers;
};

/**
 * struct ums_complist - a completion list: workers that are ready
 * @ref: one for the process until deleted, one for each member, scheduler
 *	and call under way
 * @id: its name in ums_data.comp_lists
 * @lock: protects what follows, and members that have no parent
 * @queue: the workers waiting here, oldest first
 * @corpses: workers that died and have no scheduler to be told, oldest first
 * @nr_corpses: length of @corpses
 * @members: workers that entered with this list
 * @deleted: nobody enters or waits any more
 * @closed: the device is
 * @wait_q: schedulers waiting for a worker, exclusively
 * @poll_q: who polls a descriptor of it; apart, as epoll can wait exclusively
 *	too and would use up a scheduler's wake-up
 * @rcu: lookups by id run under RCU
 */
struct ums_complist {
	struct kref ref;
	int id;
	spinlock_t lock;		/* the queue and its workers */
	struct list_head queue;
	struct list_head corpses;
	unsigned int nr_corpses;
	unsigned int members;
	bool deleted;
	bool closed;
	wait_queue_head_t wait_q;
	wait_queue_head_t poll_q;
	struct rcu_head rcu;
};

/**
 * struct ums_event_node - an event on its way to a scheduler
 * @list: place in ums_scheduler.event_q, or in ums_complist.corpses
 * @event: what the scheduler is going to read
 * @cookie: of the dead worker, on a completion list
 *
 * Whoever may have to report something holds a node beforehand, so that
 * stopping never allocates: each scheduler a spare one, for its running
 * worker, and each worker one for its death while nobody runs it.
 */
struct ums_event_node {
	struct list_head list;
	struct ums_event event;
	u64 cookie;
};

/* Where enqueue_ums_sched_event() puts an event. */
enum ums_event_place {
	EVENT_ADD_HEAD,
	EVENT_ADD_TAIL,
};

/**
 * struct ums_scheduler - a thread in scheduling mode
 * @context: the thread
 * @complist: the list it entered with
 * @id: never used twice for the same ums_data, as a pid may be
 * @lock: protects the following fields, and every worker whose parent this is
 * @event_q: events to read, oldest first
 * @nr_events: length of @event_q
 * @spare: the node for the running worker's stop; there is one while
 *	@running is set
 * @running: the worker it runs; set by the scheduler itself while NULL, under
 *	the lock of the worker's place, and cleared under @lock
 * @owned: dequeued workers in the order of dequeueing
 * @dead: takes no more events
 * @slice_timer: ends the slice of the running worker; started and stopped by
 *	the scheduler's thread
 * @slice_set: the timer was started for the last run; the scheduler's own
 * @slice_over: it has expired, and whoever runs is to stop
 * @block_events: wants to know when its worker blocks
 * @keep: owns its worker when that stops, rather than the list
 * @block_irq_work: wakes it when its worker has blocked
 * @free_work: see ums_scheduler_free()
 * @sched_wait_q: the context's wait queue
 * @links: workers with a link in @dirs, under ums_data.proc_lock
 * @dirs: its procfs entries
 */
struct ums_scheduler {
	struct ums_context context;
	struct ums_complist *complist;
	u64 id;
	spinlock_t lock;		/* events and workers */
	struct list_head event_q;
	unsigned int nr_events;
	struct ums_event_node *spare;
	struct ums_worker *running;
	struct list_head owned;
	bool dead;
	struct hrtimer slice_timer;
	bool slice_set;
	bool slice_over;
	bool block_events;
	bool keep;
	struct irq_work block_irq_work;
	struct work_struct free_work;
	wait_queue_head_t sched_wait_q;
	struct list_head links;
	struct ums_dirs dirs;
};

/**
 * struct ums_worker - a thread that is scheduled by its process
 * @context: the thread
 * @complist: where it goes when it is ready; a member until it leaves
 * @member: still counted in ums_complist.members, under its lock
 * @dead: left or died; it runs no more, under ums_worker_lock()
 * @stop: the UMS_READY_* for which its thread wants to stop, 0 for none; the
 *	thread's own
 * @preempt: somebody wants it to stop; it does when running and in user mode
 * @stop_param: the value it yielded with, the thread's own
 * @why: the UMS_READY_* for which it is idle
 * @cause: the system call that it blocked in, or UMS_CAUSE_TRAP; written before
 *	CONTEXT_BLOCKED
 * @parking: resting, in its call or its task work, where sleeping is not
 *	blocking; the thread's own
 * @away: parked, but out of its parking place for a stop; written by the
 *	thread, read by anyone
 * @in_call: it parks in, or on its way out of, a call that can start over; the
 *	thread's own, like what follows up to @saved_mask
 * @masked: all its signals are blocked
 * @signalled: a signal has come since it parked
 * @aways: how often it has gone away without sleeping since it parked
 * @restart_ip: where that call would have returned to, if it is made to start
 *	over, else 0
 * @restart_sp: its stack pointer: what a debugger calls is further down
 * @restart_args: its arguments: descriptor, command and argument
 * @saved_mask: what was blocked before all was
 * @return_timer: sees to it that a worker which is away comes back
 * @return_ticks: how often that still looks before it does not wait any more
 * @wait_q: the context's wait queue
 * @end_event: the node for its death while nobody runs it
 * @last_sched: pid of the scheduler that last ran it, 0 for none
 * @last_sched_id: the id of that scheduler
 * @cookie: given at entry
 * @yields: how often it yielded; this and the next three under its lock
 * @handovers: how often it switched to another worker
 * @preemptions: how often it was preempted
 * @blocks: how often its blocking was reported
 * @time_seq: for readers of the next two, written by whoever changes the state
 * @since: when the state changed last
 * @times: what was spent in each state until then, in ns
 * @dirs: its procfs entries
 * @link: the symbolic link to it in @link_sched's directory, under
 *	ums_data.proc_lock like the next three
 * @link_sched: the scheduler with the link
 * @link_node: place in ums_scheduler.links
 * @link_changed: place in ums_data.links_changed
 * @link_todo: place in ums_data.links_todo, under ums_data.proc_lock
 */
struct ums_worker {
	struct ums_context context;
	struct ums_complist *complist;
	bool member;
	bool dead;
	bool preempt;
	bool parking;
	bool away;
	bool in_call;
	bool masked;
	bool signalled;
	u8 aways;
	unsigned long restart_ip;
	unsigned long restart_sp;
	unsigned long restart_args[3];
	u32 stop;
	u32 why;
	int cause;
	u64 stop_param;
	sigset_t saved_mask;
	struct hrtimer return_timer;
	unsigned int return_ticks;
	wait_queue_head_t wait_q;
	struct ums_event_node *end_event;
	pid_t last_sched;
	u64 last_sched_id;
	u64 cookie;
	u64 yields;
	u64 handovers;
	u64 preemptions;
	u64 blocks;
	seqcount_t time_seq;
	u64 since;
	u64 times[UMS_CONTEXT_STATES];
	struct ums_dirs dirs;
	struct proc_dir_entry *link;
	struct ums_scheduler *link_sched;
	struct list_head link_node;
	struct llist_node link_changed;
	struct list_head link_todo;
};

#define to_scheduler(ctx)	container_of(ctx, struct ums_scheduler, context)
#define to_worker(ctx)		container_of(ctx, struct ums_worker, context)

/*
 * Between these two no context that is found, or is the parent of one, is
 * freed.  It is a section of RCU readers, in which threads are woken.  These may
 * preempt the caller at once.  If that happened inside, RCU would have to note
 * that a reader was preempted, which costs as much as a tenth of a switch: so it
 * happens at the end.  On PREEMPT_RT the locks taken in between may sleep.
 */
static inline void ums_find_begin(void)
{
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_disable();
	rcu_read_lock();
}

static inline void ums_find_end(void)
{
	rcu_read_unlock();
	if (!IS_ENABLED(CONFIG_PREEMPT_RT))
		preempt_enable();
}

/*
 * Move a worker to another place, as the last step before its state: see
 * ums_worker_lock().
 */
static inline void ums_worker_set_parent(struct ums_worker *w,
					 struct ums_scheduler *s)
{
	/* Pairs with smp_load_acquire() in ums_worker_lock(). */
	smp_store_release(&w->context.parent, s ? &s->context : NULL);
}

/* Does @place, which ums_worker_lock() returned, run @w? */
static inline bool ums_worker_runs(struct ums_worker *w,
				   struct ums_scheduler *place)
{
	return place && place->running == w;
}

extern struct workqueue_struct *ums_wq;
extern struct preempt_ops ums_preempt_ops;

/* The calling thread's context, without a lookup; NULL if it has none. */
static inline struct ums_context *ums_current_context(void)
{
	struct preempt_notifier *notifier;

	hlist_for_each_entry(notifier, &current->preempt_notifiers, link)
		if (notifier->ops == &ums_preempt_ops)
			return container_of(notifier, struct ums_context,
					    notifier);
	return NULL;
}

/* device.c */
void ums_data_left(struct ums_data *data);

/* complist.c */
int create_ums_complist(struct ums_data *data, __s32 __user *id);
int delete_ums_complist(struct ums_data *data, int id);
struct ums_complist *ums_complist_get(struct ums_data *data, int id);
void ums_complist_put(struct ums_complist *cl);
void ums_complist_wake(struct ums_complist *cl, int count);
bool ums_complist_ready(struct ums_complist *cl);
int open_ums_complist(struct ums_data *data, int id);
void ums_complist_drop_corpses(struct list_head *corpses);
void ums_complist_close(struct ums_data *data);
void ums_complist_destroy_all(struct ums_data *data);

/* event.c */
int ums_scheduling_cache_create(void);
void ums_scheduling_cache_destroy(void);
struct ums_event_node *alloc_ums_event(void);
void free_ums_event(struct ums_event_node *node);
void enqueue_ums_sched_event(struct ums_scheduler *s,
			     struct ums_event_node *node,
			     enum ums_event_place place);
int dequeue_ums_sched_event(struct ums_scheduler *s,
			    struct ums_event __user *uevent, u64 timeout_ns);
int ums_event_probe(struct ums_event __user *uevent);
bool ums_event_waiting(struct ums_context *ctx);
void ums_event_terminated(struct ums_event_node *node, pid_t worker);
void ums_event_blocked(struct ums_event_node *node, pid_t worker, int cause);
void ums_event_stopped(struct ums_event_node *node, struct ums_worker *w,
		       u32 why);

/* scheduler.c */
int enter_ums_scheduler_mode(struct ums_data *data,
			     const struct ums_enter *args);
int dequeue_ums_complist(struct ums_scheduler *s,
			 struct ums_dequeue_clist __user *uargs);
int dequeue_ums_ready(struct ums_scheduler *s,
		      struct ums_dequeue __user *uargs);
int next_ums_context(struct ums_scheduler *s, pid_t pid);
int exec_ums_context(struct ums_scheduler *s, pid_t pid, u64 slice_ns);
int ums_worker_ready(struct ums_worker *w, struct ums_scheduler *place);
int run_ums_context(struct ums_scheduler *s, struct ums_run __user *uargs);
void ums_scheduler_end(struct ums_scheduler *s);
void ums_scheduler_destroy(struct ums_scheduler *s);
void ums_scheduler_free(struct ums_scheduler *s);
void ums_scheduler_report_blocked(struct ums_scheduler *s);

/* worker.c */
int enter_ums_worker_mode(struct ums_data *data, const struct ums_enter *args);
void ums_worker_stop(struct ums_worker *w);
void ums_worker_block(struct ums_worker *w);
void ums_worker_account(struct ums_worker *w);
int query_ums_worker(struct ums_data *data, struct ums_query __user *uquery);
int preempt_ums_worker(struct ums_data *data, pid_t pid);
int switch_ums_context(struct ums_worker *w, pid_t pid);
void ums_worker_report_blocked(struct ums_worker *w, struct ums_scheduler *s);
void ums_worker_end(struct ums_worker *w);
void ums_worker_destroy(struct ums_worker *w);
struct ums_worker *ums_worker_find(struct ums_data *data, pid_t pid);
struct ums_scheduler *ums_worker_lock(struct ums_worker *w);
void ums_worker_unlock(struct ums_worker *w, struct ums_scheduler *place);
void ums_worker_disown_exiting(struct ums_data *data, struct ums_complist *cl);

/* park.c */
void ums_park_init(struct ums_worker *w);
int ums_park_call(struct ums_worker *w, u32 why);
bool ums_park_restarted(struct ums_worker *w);
void ums_park_unrestart(struct ums_worker *w, bool traced);
int ums_park_before_call(struct ums_worker *w);
int ums_worker_yield(struct ums_worker *w, u64 param);
bool ums_worker_park(struct ums_worker *w);
void ums_worker_unmask(struct ums_worker *w);

/* context.c */
void ums_notifiers_get(void);
void ums_notifiers_put(void);
void ums_notifiers_off(void);
int ums_context_pool_init(struct rhashtable *pool);
struct ums_context *ums_context_find(struct rhashtable *pool, pid_t pid);
void ums_context_close_all(struct rhashtable *pool);
pid_t current_context_pid(void);
int ums_context_init(struct ums_context *ctx, struct ums_data *data,
		     struct wait_queue_head *wait_q);
int ums_context_pool_insert(struct ums_context *ctx);
void ums_context_pool_remove(struct ums_context *ctx);
void ums_context_attach(struct ums_context *ctx);
void ums_context_deinit(struct ums_context *ctx);
void ums_context_free(struct ums_context *ctx);
bool ums_context_stale(struct ums_context *ctx);
void ums_context_queue_work(struct ums_context *ctx);
void ums_context_kick(struct ums_context *ctx);
void ums_context_reap(struct work_struct *work);
void wake_up_context(struct ums_context *ctx);
void ums_context_notify(struct ums_context *ctx, bool give_way);
void set_context_state(struct ums_context *ctx, enum ums_context_state state);
void prepare_suspend_context(struct ums_context *ctx);
void prepare_switch_context(struct ums_context *from, struct ums_context *to);
ktime_t *ums_deadline(ktime_t *deadline, u64 timeout_ns);
int ums_context_wait(struct ums_context *ctx,
		     bool (*done)(struct ums_context *ctx), ktime_t *deadline);

/* proc.c */
int ums_proc_create(void);
void ums_proc_destroy(void);
int ums_proc_data_create(struct ums_data *data);
void ums_proc_data_remove(struct ums_data *data);
int ums_proc_scheduler_create(struct ums_scheduler *s);
void ums_proc_scheduler_remove(struct ums_scheduler *s);
int ums_proc_worker_create(struct ums_worker *w);
void ums_proc_worker_remove(struct ums_worker *w);
void ums_proc_worker_moved(struct ums_worker *w);
void ums_proc_links_init(struct ums_data *data);

#if IS_ENABLED(CONFIG_KUNIT)
/* What is static but for ums_kunit.c */
struct seq_file;

extern const struct file_operations ums_fops;
struct ums_scheduler *ums_scheduler_create(struct ums_data *data,
					   const struct ums_enter *args);
struct ums_worker *ums_worker_create(struct ums_data *data,
				     const struct ums_enter *args);
int ums_scheduler_info_show(struct seq_file *m, void *v);
int ums_worker_info_show_all(struct seq_file *m, void *v);
#endif

#endif /* _UMS_H */
