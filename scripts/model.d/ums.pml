/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-mode scheduling: a model of how workers and schedulers are switched,
 * block, are stopped and end, for spin.
 *
 * Two schedulers, S1 and S2, and two workers, W1 and W2, of one process use one
 * completion list on two CPUs.  spin runs through every order in which their
 * steps can happen.  scripts/model says how; it runs the model with several
 * budgets, and then with each of the mistakes at the end of this comment, which
 * spin has to find.
 *
 *
 * What is checked
 * ---------------
 *
 * No wake-up is lost and nothing hangs: whatever happens, both workers get to
 * their end, all events are read, and both schedulers return (spin's check for
 * invalid end states).  A worker that sleeps in a system call is woken only
 * after its scheduler has read that it blocked, except EARLY times; one that
 * computes does so until it is stopped.  So a notice or a kick that does not
 * come leaves everybody asleep for good, and is not made up for by luck.
 *
 * Each stop of a running worker makes one event, for the scheduler that ran it
 * (owed[] in ums_worker_report()), and an event is there when the scheduler
 * comes back from EXEC
 * (exec_ums_context()).  No event is left over (all_done).
 *
 * A worker is in one place: on the list, or owned or run by one scheduler
 * (places(), wherever one is moved).
 *
 * A worker gets to user mode only while it is the running one of the scheduler
 * that executed it last, no other worker is, and not after a call that parks it
 * (user_step()).  So one whose blocking was reported does nothing before it is
 * executed again.  A scheduler gets to user mode only when no worker runs on its
 * behalf (user).
 *
 *
 * The machine
 * -----------
 *
 * Memory is sequentially consistent: each access takes effect at once, for all
 * CPUs, in the order of the program.  So the model says nothing about barriers
 * that are missing.  It relies on these, each of which is needed for an order
 * that some step below takes for granted:
 *
 *   set_current_state() | try_to_wake_up()
 *	the sleeper's state before its look, what it is woken for before the wake
 *   set_context_state(): IDLE, set_current_state() | smp_mb() in
 *   ums_context_notify()
 *	the scheduler is idle before it looks, what it is told before the other
 *	looks whether it is idle
 *   set_context_state(): release | ums_worker_block(): acquire
 *	the parent before CONTEXT_RUNNING
 *   set_context_state(): release | ums_scheduler_report_blocked(): acquire
 *	the cause before CONTEXT_BLOCKED (the model has no causes)
 *   irq_work_queue(): test and set | irq_work_single(): clear, smp_mb()
 *	CONTEXT_BLOCKED before the notice, also when that is pending already
 *   ums_worker_report(): release of running | exec_ums_context(): acquire
 *	the event, and that the spare is gone, before running is NULL
 *   ums_worker_set_parent(): release | ums_worker_lock(): acquire
 *	all else that makes up the new place before the parent
 *   ums_context_kick(): test and set | ums_context_look(): clear, smp_mb()
 *	the reason before the bit; the bit cleared before the look
 *   ums_slice_over(): smp_store_mb() | ums_worker_hand_over(): smp_mb()
 *	slice_over before running is read; running before slice_over is read
 *   ums_complist_wake(): wq_has_sleeper() | prepare_to_wait_event()
 *	on the list before the look for waiters; on the wait queue before the
 *	look at the list
 *   the run queue's lock, or try_to_wake_up(), from sched_out to sched_in
 *	CONTEXT_BLOCKED before sched_in looks for it
 *
 * Each CPU runs one thread at a time.  A thread is switched out where it sleeps,
 * in user mode, and KPREEMPTS times in the kernel, except under a spinlock.
 * Schedulers are pinned, one to each CPU.  A worker is woken on the CPU of its
 * waker, or where it slept.  Interrupts come at any time later than they are
 * raised, when the CPU has them on.
 *
 * One step is what other CPUs see at once: one access to shared memory, and
 * what only the thread itself can see.  Under a lock several stores are one step
 * if nobody looks at them without the lock, or nobody could tell their order
 * from what he sees.  Taking a lock is a step, or the beginning of one; dropping
 * it is the end of one.
 *
 *
 * What is not in it
 * -----------------
 *
 * Signals other than the one that kills a parked or blocked worker, job control,
 * the device's close, execve(), schedulers that leave or die, EXIT, timeouts and
 * interrupted waits, schedulers without block events, lists that are deleted,
 * lifetimes and RCU, procfs.  The kernel's preemption of a runnable worker shows
 * in nothing but the order of steps.  W1 alone is killed and
 * preempted; S1 alone gives slices, S2 alone keeps what stops (ENTER_UMS_KEEP).
 *
 *
 * The steps and what they stand for
 * ---------------------------------
 *
 *   here				in the driver			lock, barrier
 *   ----				-------------			-------------
 *   worker: return_to_user		exit to user mode,		-
 *					task_work_run()
 *     work, kick_added		the works in the thread's	cmpxchg() in
 *					list of task works		task_work_add()
 *     its first branch		ums_context_look(),		smp_mb() after the
 *					ums_worker_park()		bit is cleared
 *     ums_worker_stop()		the same			place, then list
 *     ums_worker_sleep()		the same			set_current_state()
 *     switch_ums_context()		the same,				parent's; smp_mb()
 *					ums_worker_hand_over()
 *     blocking_call()			any schedule() in a system	run queue's
 *					call; ums_sched_out(),
 *					ums_worker_block()
 *       its last step			ums_sched_in()			-
 *     die				do_exit(), last schedule(),	-
 *					ums_context_died(); what
 *					follows is the reaper's
 *     ums_worker_end()		the same			place, then list
 *     ums_worker_report_last()	the same			last scheduler's
 *   scheduler: user			user mode, choice of a call	-
 *     exec_ums_context()		the same,			-
 *					ums_slice_stop()
 *     ums_scheduler_run()		the same			worker's place
 *     ums_context_wait()		the same,			set_current_state()
 *					ums_worker_stopped()
 *     ums_scheduler_report_blocked()	the same			scheduler's
 *     dequeue_ums_ready()		ums_scheduler_await(),		wait queue's;
 *					ums_scheduler_take_some()	scheduler's, list's
 *     dequeue_ums_sched_event()	the same, with an event there	scheduler's
 *     preempt_ums_worker()		the same			worker's place
 *   cpu				what a CPU does by itself
 *     cpu_switch()			pick_next_task(),		run queue's
 *					context_switch()
 *     irq_work_run()			irq_work_single(),		smp_mb() after the
 *					ums_scheduler_notice()		bit is cleared
 *     ums_slice_over()		the same			smp_store_mb()
 *   world				the device that ends a sleep	-
 *					in a system call; SIGKILL
 *
 *   try_to_wake_up()			the same, from			pi_lock, run queue's
 *					wake_up_context()
 *   schedule()			the same, when sched_out	run queue's
 *					finds nothing to do
 *   ums_context_notify()		the same			smp_mb()
 *   ums_context_kick()		the same			test_and_set_bit()
 *   ums_worker_lock()			the same			acquire of parent
 *   ums_worker_report()		the same,			scheduler's
 *					enqueue_ums_sched_event()
 *   ums_complist_wake()		the same			wait queue's
 *
 *
 * What can be set
 * ---------------
 *
 * Budgets, which bound the model:
 *
 *   OPS1, OPS2		how often W1 and W2 yield, block or compute before they
 *			exit
 *   EARLY		sleeps in a system call that end before they were read
 *			about, and perhaps before they were reported
 *   SLICES		runs with a slice
 *   PREEMPTS		calls of PREEMPT
 *   STEALS		executions of what the other scheduler owns
 *   SWITCHES		calls of SWITCH
 *   KILLS		SIGKILLs
 *   KPREEMPTS		preemptions in the kernel
 *
 * Mistakes, each of which spin has to find:
 *
 *   WORKER_IRQ_WORK	the irq_work belongs to the worker, which notes whom it
 *			is for when it queues it
 *   NO_RECHECK		a scheduler looks before set_current_state(), not after
 *   IDLE_LATE		it looks before it says that it is idle
 *   STATE_AFTER_WAKE	EXEC wakes the worker before it stores its state
 *   PARENT_AFTER_STATE	EXEC stores the parent after the state
 *   DOUBLE_REPORT	a worker that is back reports its sleep in any case
 *   PENDING_LATE	an irq_work is pending until its function is done
 *   ONE_WORK		a worker's own work and the others' share one bit
 *   CLEAR_LATE		a work clears its bit when it is done
 *   NO_RELOCK		ums_worker_lock() does not look again under the lock
 */

#ifndef OPS1
#define OPS1		1
#endif
#ifndef OPS2
#define OPS2		0
#endif
#ifndef EARLY
#define EARLY		0
#endif
#ifndef SLICES
#define SLICES		0
#endif
#ifndef PREEMPTS
#define PREEMPTS	0
#endif
#ifndef STEALS
#define STEALS		0
#endif
#ifndef SWITCHES
#define SWITCHES	0
#endif
#ifndef KILLS
#define KILLS		0
#endif
#ifndef KPREEMPTS
#define KPREEMPTS	0
#endif

/* Threads; also their process numbers here, and bits of sets.  0 is nobody. */
#define S1		1
#define S2		2
#define W1		3
#define W2		4
#define THREADS		5
#define SCHEDULERS	3

#define other(t)	((t) < W1 -> S1 + S2 - (t) : W1 + W2 - (t))

#define BIT(n)			(1 << (n))
#define test_bit(set, n)	(((set) & BIT(n)) != 0)
#define set_bit(set, n)		set = set | BIT(n)
#define clear_bit(set, n)	set = set & ~BIT(n)

#define CONTEXT_RUNNING		0
#define CONTEXT_IDLE		1
#define CONTEXT_BLOCKED		2

#define TASK_RUNNING		0
#define TASK_INTERRUPTIBLE	1
#define TASK_WAKING		2

#define UMS_READY_NEW		1
#define UMS_READY_YIELDED	2
#define UMS_READY_PREEMPTED	3
#define UMS_READY_UNBLOCKED	4

#define TIMER_OFF		0
#define TIMER_ON		1
#define TIMER_FIRES		2

/* An event is a number: what and who. */
#define THREAD_STOPPED		0
#define THREAD_BLOCKED		1
#define THREAD_TERMINATED	2
#define event(what, w)		((what) * 8 + (w))
#define event_what(e)		((e) / 8)
#define event_who(e)		((e) % 8)
#define EVENTS			3

/* CPUs: who runs, whether interrupts are on, and which ones are raised. */
byte curr[2];
bool irqs_off[2];
bool in_irq[2];
byte raised[2];

/* struct irq_work, by the thread that it belongs to */
bool irq_pending[THREADS];
byte notice_for[THREADS];		/* WORKER_IRQ_WORK only */

/* struct task_struct */
byte __state[THREADS];
bool on_rq[THREADS] = true;
bit task_cpu[THREADS];
bool kick_added[THREADS];		/* ums_context.kick is among the works */

/* struct ums_context */
byte state[THREADS];
byte parent[THREADS];
bool kick_queued[THREADS];		/* UMS_KICK_QUEUED */

/* struct ums_worker */
byte last_sched[THREADS];
bool preempt[THREADS];
bool dead[THREADS];

/* struct ums_scheduler; locks say who holds them */
byte locked[SCHEDULERS];
byte running[SCHEDULERS];
bool spare[SCHEDULERS] = true;
byte owned[SCHEDULERS];
byte slice_timer[SCHEDULERS];
bool slice_over[SCHEDULERS];
chan event_q[SCHEDULERS] = [EVENTS] of { byte };

#define keep(s)		((s) == S2)

/* struct ums_complist; a worker without a parent is protected by its lock */
#define LIST		0
byte queue;
byte waiters;

/* The world: who waits for it, who was read about, what it may still do. */
bool waits[THREADS];
bool told[THREADS];
bool computes[THREADS];
bool killed[THREADS];
bool closed;
byte terminated;
byte early = EARLY;
byte slices = SLICES;
byte preempts = PREEMPTS;
byte steals = STEALS;
byte switches = SWITCHES;
byte kills = KILLS;
byte kpreempts = KPREEMPTS;

/* For the assertions: which scheduler is to get the event of a worker's stop. */
byte owed[THREADS];
bool sliced[THREADS];

#define all_done	(terminated == 2 && !len(event_q[S1]) && \
			 !len(event_q[S2]))
#define places(w)	(test_bit(queue, w) + \
			 test_bit(owned[S1], w) + (running[S1] == w) + \
			 test_bit(owned[S2], w) + (running[S2] == w))

/* ---- the core kernel ---- */

#define on_cpu(t)	(curr[task_cpu[t]] == (t))
#define runs(t)		(on_cpu(t) && !in_irq[task_cpu[t]])
#define leave_cpu(t)	curr[task_cpu[t]] = 0

/*
 * A thread that is still being switched out is queued on its CPU, which puts it
 * on the run queue when it is done with it (ttwu_queue_wakelist()).
 */
inline try_to_wake_up(t, this_cpu)
{
	d_step {
		if
		:: __state[t] != TASK_INTERRUPTIBLE
		:: __state[t] == TASK_INTERRUPTIBLE && on_rq[t] ->
			__state[t] = TASK_RUNNING
		:: __state[t] == TASK_INTERRUPTIBLE && !on_rq[t] && on_cpu(t) ->
			__state[t] = TASK_WAKING
		:: __state[t] == TASK_INTERRUPTIBLE && !on_rq[t] && !on_cpu(t) ->
			on_rq[t] = true;
			task_cpu[t] = (t < W1 -> task_cpu[t] : this_cpu);
			__state[t] = TASK_RUNNING
		fi
	}
}

inline schedule(t)
{
	if
	:: __state[t] == TASK_RUNNING
	:: d_step { else -> on_rq[t] = false; leave_cpu(t) }
	fi
}

inline irq_work_queue(id, c)
{
	if
	:: irq_pending[id]
	:: else ->
		irq_pending[id] = true;
		set_bit(raised[c], id)
	fi
}

/* ---- context.c ---- */

/* @t: a variable of the caller's, 0 afterwards; may be 0 */
inline ums_context_notify(t)
{
	if
	:: t && state[t] == CONTEXT_IDLE ->
		atomic { try_to_wake_up(t, 0); t = 0 }
	:: atomic { !t || state[t] != CONTEXT_IDLE -> t = 0 }
	fi
}

/* @w: the same */
inline ums_context_kick(w)
{
	if
	:: atomic { w && !kick_queued[w] -> kick_queued[w] = true }
		atomic { kick_added[w] = true; w = 0 }
	:: atomic { !w || kick_queued[w] -> w = 0 }
	fi
}

/* Nobody else touches the thread's own work. */
inline ums_context_queue_work()
{
#ifdef ONE_WORK
	work = work || !kick_queued[w];
	kick_queued[w] = true
#else
	work = true
#endif
}

/* ---- complist.c ---- */

#define waiting(s)	(test_bit(waiters, s) && \
			 __state[s] == TASK_INTERRUPTIBLE)

/* Which of two waiters is woken does not matter; it is one of them. */
inline ums_complist_wake()
{
	if
	:: waiting(S1) -> clear_bit(waiters, S1); try_to_wake_up(S1, 0)
	:: waiting(S2) -> clear_bit(waiters, S2); try_to_wake_up(S2, 0)
	:: !waiting(S1) && !waiting(S2)
	fi
}

/* ---- worker.c, park.c ---- */

/* @p: the worker's parent when the caller looked */
inline ums_worker_lock(w, p)
{
	do
	:: atomic {
		!locked[p] ->
		if
#ifdef NO_RELOCK
		:: true -> locked[p] = _pid; break
#else
		:: parent[w] == p -> locked[p] = _pid; break
		:: parent[w] != p -> p = parent[w]
#endif
		fi
	   }
	od
}

inline ums_worker_unlock(p)
{
	assert(locked[p] == _pid);
	locked[p] = 0
}

inline ums_worker_unlock_both(p)
{
	ums_worker_unlock(LIST);
	locked[p] = 0
}

/* The event and the spare; the caller clears running. */
inline ums_worker_report(s, w, what)
{
	assert(owed[w] == s && running[s] == w && spare[s]);
	assert(len(event_q[s]) < EVENTS);
	owed[w] = 0;
	sliced[w] = false;
	spare[s] = false;
	event_q[s] ! event(what, w)
}

inline user_step()
{
	assert(!stop && !work && state[w] == CONTEXT_RUNNING);
	assert(owed[w] && owed[w] == parent[w] && running[owed[w]] == w);
	assert(owed[other(w)] != owed[w])
}

inline ums_worker_stop()
{
	ums_worker_lock(w, p);
	atomic {
		!p || !locked[LIST] ->
		locked[LIST] = _pid;
		if
		:: state[w] == CONTEXT_BLOCKED ->
			why = UMS_READY_UNBLOCKED
		:: state[w] != CONTEXT_BLOCKED && stop ->
			why = stop
		:: state[w] != CONTEXT_BLOCKED && !stop &&
		   (preempt[w] || (p && slice_over[p])) ->
			why = UMS_READY_PREEMPTED
		:: else ->
			ums_worker_unlock_both(p);
			p = 0;
			goto sleep
		fi;
#ifdef DOUBLE_REPORT
		if
		:: !p && why == UMS_READY_UNBLOCKED ->
			ums_worker_report(last_sched[w], w, THREAD_BLOCKED)
		:: else
		fi;
#endif
		if
		:: p && why == UMS_READY_UNBLOCKED ->
			ums_worker_report(p, w, THREAD_BLOCKED)
		:: p && why != UMS_READY_UNBLOCKED ->
			ums_worker_report(p, w, THREAD_STOPPED)
		:: !p
		fi
	}
	atomic {
		running[p] = 0;
		stop = 0;
		preempt[w] = false;
		state[w] = CONTEXT_IDLE;
		if
		:: p && keep(p) && why != UMS_READY_UNBLOCKED ->
			set_bit(owned[p], w);
			kept = true
		:: else ->
			set_bit(queue, w);
			parent[w] = 0
		fi;
		why = 0;
		assert(places(w) == 1);
		ums_worker_unlock_both(p)
	}
	atomic {
		if
		:: kept -> kept = false
		:: else -> ums_complist_wake()
		fi
	}
	ums_context_notify(p)
}

/* The worker's part of its task work. */
inline ums_worker_sleep()
{
	do
	:: atomic {
		if
		:: killed[w] -> goto die
		:: else -> __state[w] = TASK_INTERRUPTIBLE
		fi
	   }
	   if
	   :: atomic {
		state[w] == CONTEXT_RUNNING ->
		__state[w] = TASK_RUNNING;
#ifdef CLEAR_LATE
		kick_queued[w] = (kicked -> false : kick_queued[w]);
		kicked = false;
#endif
		break
	      }
	   :: else -> schedule(w)
	   fi
	od
}

/* The scheduler sleeps on, or wakes and finds that it has to. */
inline switch_ums_context()
{
	ums_worker_lock(w, p);
	if
	:: atomic {
		p && parent[to] == p && !dead[to] ->
		/* ums_worker_hand_over() */
		clear_bit(owned[p], to);
		set_bit(owned[p], w);
		last_sched[to] = p;
		running[p] = to;
		preempt[w] = false;
		owed[to] = p;
		owed[w] = 0;
		sliced[to] = sliced[w];
		sliced[w] = false;
		state[w] = CONTEXT_IDLE
	   }
	   atomic {
		state[to] = CONTEXT_RUNNING;
		assert(places(w) == 1 && places(to) == 1)
	   }
	   if
	   :: slice_over[p] -> kick = to; ums_context_kick(kick)
	   :: else
	   fi;
	   atomic { ums_worker_unlock(p); p = 0; ums_context_queue_work() }
	   atomic { try_to_wake_up(to, task_cpu[w]); to = 0 }
	:: atomic { else -> ums_worker_unlock(p); p = 0; to = 0 }
	fi
}

/*
 * The thread sleeps, once or more often, as it may be woken for nothing: by an
 * EXEC that is late with its wake-up.
 */
inline blocking_call()
{
	do
	:: atomic {
		/* schedule() */
		__state[w] = TASK_INTERRUPTIBLE;
		on_rq[w] = false;
		/* ums_sched_out(), ums_worker_block() */
		if
		:: state[w] == CONTEXT_RUNNING ->
			irqs_off[task_cpu[w]] = true;
			p = parent[w];
			assert(p)
		:: else -> leave_cpu(w)
		fi
	   }
	   if
	   :: atomic { p -> state[w] = CONTEXT_BLOCKED }
	      atomic {
#ifdef WORKER_IRQ_WORK
		notice_for[w] = (irq_pending[w] -> notice_for[w] : p);
		irq_work_queue(w, task_cpu[w]);
#else
		irq_work_queue(p, task_cpu[w]);
#endif
		p = 0;
		/* finish_task_switch(), and the wake-up that waited for it */
		on_rq[w] = (__state[w] == TASK_WAKING);
		__state[w] = (__state[w] == TASK_WAKING ->
			      TASK_RUNNING : __state[w]);
		irqs_off[task_cpu[w]] = false;
		leave_cpu(w)
	      }
	   :: else
	   fi;
	   /* ums_sched_in() */
	   atomic {
		if
		:: killed[w] -> goto die
		:: else
		fi;
		if
		:: state[w] == CONTEXT_BLOCKED -> ums_context_queue_work()
		:: else
		fi;
		if
		:: waits[w]
		:: else -> break
		fi
	   }
	od
}

/*
 * EXIT ends here as well.  A thread that dies is taken out by the reaper at some
 * time after its last schedule(); what is left of the thread stands for it.
 */
inline ums_worker_end()
{
	ums_worker_lock(w, p);
	atomic {
		!p || !locked[LIST] ->
		locked[LIST] = _pid;
		dead[w] = true;
		if
		:: p && running[p] == w ->
			ums_worker_report(p, w, THREAD_TERMINATED);
			reported = true
		:: else
		fi
	}
	atomic {
		if
		:: reported -> running[p] = 0
		:: else -> clear_bit(queue, w); clear_bit(owned[p], w)
		fi;
		parent[w] = 0;
		preempt[w] = false;
		assert(!owed[w] && places(w) == 0);
		ums_worker_unlock_both(p)
	}
	if
	:: reported
	:: atomic { !reported && last_sched[w] -> p = last_sched[w] }
		ums_worker_report_last()
	:: atomic { !reported && !last_sched[w] -> terminated++ }
	fi;
	ums_context_notify(p)
}

inline ums_worker_report_last()
{
	atomic {
		!locked[p] ->
		assert(len(event_q[p]) < EVENTS);
		event_q[p] ! event(THREAD_TERMINATED, w)
	}
}

proctype worker(byte w; byte ops) provided (runs(_pid))
{
	byte p, why, to, kick;
	byte stop = UMS_READY_NEW;
	bool work = true;		/* ums_context.work is queued */
	bool kept, reported;
#ifdef CLEAR_LATE
	bool kicked;
#endif

return_to_user:
	if
	:: atomic {
		work || kick_added[w] ->
		if
		:: work -> work = false;
#ifdef ONE_WORK
			kick_queued[w] = false
#endif
		:: kick_added[w] -> kick_added[w] = false;
#ifdef CLEAR_LATE
			kicked = true
#else
			kick_queued[w] = false
#endif
		fi;
		/* ums_worker_park() */
		if
		:: state[w] == CONTEXT_IDLE -> goto sleep
		:: else -> p = parent[w]
		fi
	   }
	   ums_worker_stop();
sleep:
	   ums_worker_sleep();
	   goto return_to_user
	:: atomic {
		!work && !kick_added[w] ->
		user_step();
		if
		:: ops ->
			ops--;
			stop = UMS_READY_YIELDED;
			ums_context_queue_work();
			goto return_to_user
		:: ops ->
			ops--;
			waits[w] = true
		:: ops && sliced[w] ->
			ops--;
			computes[w] = true;
			leave_cpu(w)
		:: switches ->
			switches--;
			p = parent[w];
			to = other(w)
		:: !ops -> goto die
		fi
	   }
	fi;

	if
	:: atomic {
		computes[w] ->
		/* TWA_RESUME has got it out of user mode. */
		computes[w] = false;
		user_step()
	   }
	:: to -> switch_ums_context()
	:: waits[w] -> blocking_call()
	fi;
	goto return_to_user;

die:
	atomic {
		work = false;
		stop = 0;
		ops = 0;
		waits[w] = false;
		p = parent[w];
		leave_cpu(w)
	}
	ums_worker_end();
	d_step {
		reported = false;
		last_sched[w] = 0;
		on_rq[w] = false;
		leave_cpu(w)
	}
}

/* ---- scheduler.c, event.c ---- */

/*
 * Take a worker and let it run.  The three stores that others look at without
 * the lock: parent, the worker's state, and the wake-up, in this order.
 */
inline ums_scheduler_run()
{
	ums_worker_lock(w, p);
	if
	:: atomic {
		!dead[w] && p && running[p] != w ->
		assert(!owed[w] && test_bit(owned[p], w));
		clear_bit(owned[p], w);
		last_sched[w] = s;
		owed[w] = s;
		running[s] = w;
#ifndef PARENT_AFTER_STATE
		parent[w] = s;
#endif
#ifndef IDLE_LATE
		state[s] = CONTEXT_IDLE
#endif
	   }
#ifdef STATE_AFTER_WAKE
	   try_to_wake_up(w, task_cpu[s]);
#endif
	   atomic {
		state[w] = CONTEXT_RUNNING;
		if
		:: slices && s == S1 ->
			slices--;
			sliced[w] = true;
			slice_timer[s] = TIMER_ON
		:: true
		fi;
#ifdef PARENT_AFTER_STATE
	   }
	   atomic {
		parent[w] = s;
#endif
		assert(places(w) <= 1);
		ums_worker_unlock(p);
		p = 0
	   }
#ifndef STATE_AFTER_WAKE
	   atomic { try_to_wake_up(w, task_cpu[s]); w = 0 }
#else
	   w = 0
#endif
	:: atomic { else -> ums_worker_unlock(p); p = 0; w = 0; goto user }
	fi
}

inline ums_scheduler_report_blocked()
{
	atomic {
		!locked[s] ->
		w = running[s];
		if
		:: w && state[w] == CONTEXT_BLOCKED ->
			ums_worker_report(s, w, THREAD_BLOCKED);
			running[s] = 0;
			parent[w] = 0;
			assert(places(w) == 0)
		:: else
		fi;
		w = 0
	}
}

/*
 * The state to come back from the wait is stored with the look that ends it: a
 * wake-up in between finds nobody asleep.
 */
inline ums_context_wait()
{
	do
	::
#ifndef NO_RECHECK
	   __state[s] = TASK_INTERRUPTIBLE;
#endif
	   if
	   :: atomic {
		!running[s] ->
		__state[s] = TASK_RUNNING;
		state[s] = CONTEXT_RUNNING;
		break
	      }
	   :: running[s] && state[running[s]] == CONTEXT_BLOCKED ->
		ums_scheduler_report_blocked()
	   :: else ->
#ifdef IDLE_LATE
		state[s] = CONTEXT_IDLE;
#endif
#ifdef NO_RECHECK
		__state[s] = TASK_INTERRUPTIBLE;
#endif
		schedule(s)
	   fi
	od
}

inline exec_ums_context()
{
	/* ums_slice_stop() waits for the timer's function. */
	atomic {
		slice_timer[s] != TIMER_FIRES ->
		slice_timer[s] = TIMER_OFF;
		slice_over[s] = false;
		spare[s] = true;
		p = parent[w]
	}
	ums_scheduler_run();
	ums_context_wait();
	assert(len(event_q[s]))
}

/* Reported, and its event was not overtaken by the end of the sleep. */
#define blocked(w)	(waits[w] && !parent[w] && state[w] == CONTEXT_BLOCKED)

/* One event, which is there. */
inline dequeue_ums_sched_event()
{
	atomic {
		!locked[s] ->
		event_q[s] ? w;
		spare[s] = true;
		if
		:: event_what(w) == THREAD_BLOCKED ->
			told[event_who(w)] = blocked(event_who(w))
		:: event_what(w) == THREAD_TERMINATED -> terminated++
		:: event_what(w) == THREAD_STOPPED
		fi;
		w = 0
	}
}

/* Wait for the list or an event, and take all that the list holds. */
inline dequeue_ums_ready()
{
	do
	:: atomic {
		state[s] = CONTEXT_IDLE;
		set_bit(waiters, s);
		__state[s] = TASK_INTERRUPTIBLE
	   }
	   if
	   :: atomic {
		queue || len(event_q[s]) || closed ->
		clear_bit(waiters, s);
		__state[s] = TASK_RUNNING;
		state[s] = CONTEXT_RUNNING;
		break
	      }
	   :: else -> schedule(s)
	   fi
	od;
	/* ums_scheduler_take_some() */
	atomic { !locked[s] -> locked[s] = _pid }
	atomic {
		!locked[LIST] ->
		parent[W1] = (test_bit(queue, W1) -> s : parent[W1]);
		parent[W2] = (test_bit(queue, W2) -> s : parent[W2]);
		owned[s] = owned[s] | queue;
		queue = 0;
		assert(places(W1) <= 1 && places(W2) <= 1);
		ums_worker_unlock(s)
	}
}

inline preempt_ums_worker()
{
	ums_worker_lock(w, p);
	atomic {
		if
		:: !dead[w] && state[w] == CONTEXT_RUNNING -> preempt[w] = true
		:: else -> w = 0
		fi;
		ums_worker_unlock(p);
		p = 0
	}
	ums_context_kick(w)
}

/*
 * The program: it reads all events, then executes what it has dequeued, and
 * waits when there is nothing.
 */
proctype scheduler(byte s) provided (runs(_pid))
{
	byte w, p;

user:
	atomic {
		assert(owed[W1] != s && owed[W2] != s && !running[s]);
		if
		:: closed -> goto out
		:: len(event_q[s]) -> goto dqevent
		:: !len(event_q[s]) && test_bit(owned[s], W1) ->
			w = W1; goto exec
		:: !len(event_q[s]) && test_bit(owned[s], W2) ->
			w = W2; goto exec
		:: !len(event_q[s]) && steals && test_bit(owned[other(s)], W1) ->
			steals--; w = W1; goto exec
		:: !len(event_q[s]) && steals && test_bit(owned[other(s)], W2) ->
			steals--; w = W2; goto exec
		:: preempts && !dead[W1] ->
			preempts--; w = W1; p = parent[w]; goto preempt_it
		:: !owned[s] -> goto dequeue
		fi
	}
exec:
	exec_ums_context();
	goto user;
dqevent:
	dequeue_ums_sched_event();
	goto user;
dequeue:
	dequeue_ums_ready();
	goto user;
preempt_it:
	preempt_ums_worker();
	goto user;
out:
	atomic { on_rq[s] = false; leave_cpu(s) }
}

/* ---- CPUs and the world ---- */

#define runnable(t)	(on_rq[t] && task_cpu[t] == c && !on_cpu(t) && \
			 (!computes[t] || kick_added[t]))
#define any_runnable	(runnable(S1) || runnable(S2) || \
			 runnable(W1) || runnable(W2))
#define preemptible(t)	(locked[LIST] != (t) && locked[S1] != (t) && \
			 locked[S2] != (t))

inline cpu_switch()
{
	if
	:: runnable(S1) -> curr[c] = S1
	:: runnable(S2) -> curr[c] = S2
	:: runnable(W1) -> curr[c] = W1
	:: runnable(W2) -> curr[c] = W2
	fi
}

#define irq(n)		(!irqs_off[c] && test_bit(raised[c], n))
#define timer(s)	(!irqs_off[c] && slice_timer[s] == TIMER_ON && \
			 task_cpu[s] == c)

/*
 * With ums_context_notify().  A worker that blocks between the clearing of the
 * bit and the look at the state queues the work again, so these are one step.
 */
inline irq_work_run(id, s)
{
	if
	:: atomic {
		irq(id) && state[s] == CONTEXT_IDLE ->
		clear_bit(raised[c], id);
#ifndef PENDING_LATE
		irq_pending[id] = false;
#endif
		in_irq[c] = true;
		t = s
	   }
	   atomic {
		try_to_wake_up(t, 0);
#ifdef PENDING_LATE
		irq_pending[id] = false;
#endif
		in_irq[c] = false;
		t = 0
	   }
	:: atomic {
		irq(id) && state[s] != CONTEXT_IDLE ->
		clear_bit(raised[c], id);
#ifdef PENDING_LATE
		in_irq[c] = true
	   }
	   atomic {
		in_irq[c] = false;
#endif
		irq_pending[id] = false
	   }
	fi
}

inline ums_slice_over(s)
{
	atomic {
		timer(s) ->
		slice_timer[s] = TIMER_FIRES;
		slice_over[s] = true;
		in_irq[c] = true
	}
	t = running[s];
	ums_context_kick(t);
	atomic { slice_timer[s] = TIMER_OFF; in_irq[c] = false }
}

proctype cpu(bit c)
{
	byte t;

end:
	do
	:: atomic { !curr[c] && any_runnable -> cpu_switch() }
	:: atomic {
		kpreempts && curr[c] && !irqs_off[c] && preemptible(curr[c]) &&
		any_runnable ->
		kpreempts--;
		cpu_switch()
	   }
	:: ums_slice_over(S1)
	:: ums_slice_over(S2)
#ifdef WORKER_IRQ_WORK
	:: irq_work_run(W1, notice_for[W1])
	:: irq_work_run(W2, notice_for[W2])
#else
	:: irq_work_run(S1, S1)
	:: irq_work_run(S2, S2)
#endif
	od
}

#define asleep(w)	(!on_rq[w] && __state[w] == TASK_INTERRUPTIBLE)

/* What a worker waits for in a system call comes when the program has read it. */
inline io_done(w)
{
	early = (told[w] -> early : early - 1);
	told[w] = false;
	waits[w] = false;
	try_to_wake_up(w, task_cpu[w])
}

proctype world()
{
end:
	do
	:: atomic { waits[W1] && asleep(W1) && (told[W1] || early) -> io_done(W1) }
	:: atomic { waits[W2] && asleep(W2) && (told[W2] || early) -> io_done(W2) }
	:: atomic {
		kills && asleep(W1) ->
		kills--;
		killed[W1] = true;
		try_to_wake_up(W1, task_cpu[W1])
	   }
	od
}

init {
	atomic {
		task_cpu[S2] = 1;
		task_cpu[W2] = 1;
		run scheduler(S1);
		run scheduler(S2);
		run worker(W1, OPS1);
		run worker(W2, OPS2);
		run cpu(0);
		run cpu(1);
		run world()
	}
	/* The program is done, and sends its schedulers home. */
	atomic {
		all_done ->
		assert(!queue && !owned[S1] && !owned[S2]);
		assert(!running[S1] && !running[S2]);
		closed = true;
		try_to_wake_up(S1, 0);
		try_to_wake_up(S2, 0)
	}
}
