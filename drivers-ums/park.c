// SPDX-License-Identifier: GPL-2.0
/*
 * User-mode scheduling: where a worker is parked.
 *
 * A parked worker takes no signal: handlers are user code, and user code runs
 * when the scheduler says so.  The first signal that wakes it makes it block
 * all of them, until it is executed; the handlers run then, and signals to the
 * process go to a thread that can take them.  That costs nothing where there
 * is no signal.
 *
 * What is left then is the death of the process, job control, a debugger or
 * the freezer of its cgroup.  Those are dealt with after the task work, by
 * get_signal(), and there is no way to queue the work again from here, as
 * task_work_run() would not return before it ran.  So the worker goes away
 * from its parking place, still idle.  When it has been stopped and runs again
 * the preempt notifier queues the work.
 *
 * A stop may also be taken back before the thread slept; nothing tells then.
 * So that it does not get to user code, the call that it parks in is made to
 * start over, and parks again.  Where that is not possible, or comes to nothing
 * since the call does not get as far as here, a timer has the thread park.
 */

#include <linux/cgroup.h>
#include <linux/errno.h>
#include <linux/freezer.h>
#include <linux/ktime.h>
#include <linux/ptrace.h>
#include <linux/sched/jobctl.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/signal.h>
#include <linux/string.h>
#include <asm/irq_regs.h>
#include <asm/syscall.h>

#include "ums.h"

/*
 * How soon a worker is made to park that has gone away, has not slept, and is in
 * user mode.  In the kernel it is left alone for as long at first, and each time
 * for twice as long, so that a slow machine gets to what it went away for.
 */
#define UMS_RETURN_DELAY	(10 * NSEC_PER_USEC)
#define UMS_RETURN_DOUBLINGS	10

/* By how much a system call is restarted; 0 where it is not known. */
static unsigned long ums_syscall_insn(struct pt_regs *regs)
{
#if defined(CONFIG_X86)
	return 2;
#elif defined(CONFIG_ARM64)
	return compat_thumb_mode(regs) ? 2 : 4;
#else
	return 0;
#endif
}

/* Where that is known; not every other architecture can set it. */
static void ums_syscall_set_ip(struct pt_regs *regs, unsigned long ip)
{
#if defined(CONFIG_X86) || defined(CONFIG_ARM64)
	instruction_pointer_set(regs, ip);
#endif
}

static enum hrtimer_restart ums_worker_return(struct hrtimer *timer)
{
	struct ums_worker *w = container_of(timer, struct ums_worker,
					    return_timer);
	struct pt_regs *regs = get_irq_regs();

	/* One that is switched out is seen to by ums_sched_in(). */
	if (!READ_ONCE(w->away) || current != w->context.task ||
	    current->flags & PF_EXITING)
		return HRTIMER_NORESTART;
	if ((!regs || !user_mode(regs)) && --w->return_ticks) {
		hrtimer_forward_now(timer, ns_to_ktime(UMS_RETURN_DELAY));
		return HRTIMER_RESTART;
	}
	ums_context_queue_work(&w->context);
	return HRTIMER_NORESTART;
}

/**
 * ums_park_init - prepare a new worker for parking
 * @w: the worker
 */
void ums_park_init(struct ums_worker *w)
{
	hrtimer_setup(&w->return_timer, ums_worker_return, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_PINNED_HARD);
}

/*
 * Have the call that the worker parks in restarted when it comes back to user
 * mode unparked.  arm64 looks at a call's result before it calls get_signal(),
 * which then has this task work run: too late for a result that asks for it, so
 * what that does is done here.
 */
static void ums_park_restart(struct ums_worker *w)
{
	struct pt_regs *regs = current_pt_regs();
	unsigned long insn = ums_syscall_insn(regs);
	bool seen = syscall_get_nr(current, regs) == -1;
	unsigned long args[6];

	if (w->restart_ip)
		return;
	if (!insn || !w->in_call || (seen && !IS_ENABLED(CONFIG_ARM64))) {
		/* Whatever call is under way later is another one. */
		w->in_call = false;
		return;
	}
	w->restart_ip = instruction_pointer(regs);
	w->restart_sp = user_stack_pointer(regs);
	syscall_get_arguments(current, regs, args);
	memcpy(w->restart_args, args, sizeof(w->restart_args));
	if (seen) {
		syscall_set_return_value(current, regs, 0, args[0]);
		ums_syscall_set_ip(regs, w->restart_ip - insn);
	} else {
		syscall_set_return_value(current, regs, -ERESTARTNOINTR, 0);
	}
}

/* Has the call been made to start over, and has not yet? */
static bool ums_park_restarts(struct ums_worker *w, struct pt_regs *regs)
{
	unsigned long ip = instruction_pointer(regs);

	if (user_stack_pointer(regs) != w->restart_sp)
		return false;
	return ip == w->restart_ip - ums_syscall_insn(regs) ||
	       (ip == w->restart_ip &&
		syscall_get_return_value(current, regs) == -ERESTARTNOINTR);
}

/**
 * ums_park_unrestart - the worker's call is over after all
 * @w: the calling thread's own worker
 * @traced: it has a tracer, or had one when it parked
 *
 * Undoes what makes the call start over, before it did.
 */
void ums_park_unrestart(struct ums_worker *w, bool traced)
{
	struct pt_regs *regs = current_pt_regs();

	w->in_call = false;
	if (!w->restart_ip)
		return;
	if (ums_park_restarts(w, regs)) {
		ums_syscall_set_ip(regs, w->restart_ip);
		syscall_set_return_value(current, regs, 0, 0);
	} else if (traced) {
		/*
		 * The tracer sees system calls, and the thread is on its way
		 * into this one.  Or a debugger has put it elsewhere, for a
		 * function that it calls, and is going to put it back.  Then
		 * ums_park_restarted() knows the call.
		 */
		return;
	}
	/* Else the descriptor was another one when the call was made again. */
	w->restart_ip = 0;
}

/**
 * ums_park_restarted - has the calling thread's call been started over?
 * @w: its worker
 *
 * Then it did its work the first time, and goes on parking.  It is known by its
 * place, its stack and its arguments.
 *
 * Return: whether it has.
 */
bool ums_park_restarted(struct ums_worker *w)
{
	struct pt_regs *regs = current_pt_regs();
	unsigned long args[6];
	bool same;

	syscall_get_arguments(current, regs, args);
	same = w->restart_ip == instruction_pointer(regs) &&
	       w->restart_sp == user_stack_pointer(regs) &&
	       !memcmp(args, w->restart_args, sizeof(w->restart_args));
	/* Another one may come from a function that a debugger calls. */
	if (same || !current->ptrace) {
		w->restart_ip = 0;
		w->in_call = false;
	}
	return same;
}

/* All but what cannot be blocked; sigprocmask() in the kernel would do it. */
static void ums_all_signals(sigset_t *set)
{
	sigfillset(set);
	sigdelsetmask(set, sigmask(SIGKILL) | sigmask(SIGSTOP));
}

/* With all signals blocked, is there still something for get_signal() to do? */
static bool ums_signal_due(const sigset_t *all)
{
	sigset_t due;

	if (current->jobctl & (JOBCTL_PENDING_MASK | JOBCTL_TRAP_FREEZE))
		return true;
	sigorsets(&due, &current->pending.signal,
		  &current->signal->shared_pending.signal);
	sigandnsets(&due, &due, all);
	return !sigisemptyset(&due);
}

/*
 * A signal came while parked.  Return: true to sleep on; false if it is one
 * that get_signal() must see.
 */
static bool ums_worker_hold_signals(struct ums_worker *w)
{
	/* A thread keeps its own until it dies. */
	struct sighand_struct *sighand =
		rcu_dereference_protected(current->sighand, true);
	sigset_t all;
	bool held;

	if (try_to_freeze())
		return true;

	/* A debugger may have set another mask meanwhile. */
	ums_all_signals(&all);
	held = w->masked && sigequalsets(&current->blocked, &all);

	/* It may have been taken back, or be meant for another thread. */
	spin_lock_irq(&sighand->siglock);
	recalc_sigpending();
	/*
	 * Whoever parks on the way out of the cgroup freezer counts as frozen,
	 * and so as one with a signal, until get_signal() goes on.
	 */
	if (held && cgroup_task_frozen(current) && !ums_signal_due(&all))
		clear_tsk_thread_flag(current, TIF_SIGPENDING);
	spin_unlock_irq(&sighand->siglock);
	if (!task_sigpending(current))
		return true;
	if (held)
		return false;
	sigprocmask(SIG_SETMASK, &all, &w->saved_mask);
	w->masked = true;
	return true;
}

/**
 * ums_worker_unmask - undo ums_worker_hold_signals()
 * @w: the calling thread's own worker
 */
void ums_worker_unmask(struct ums_worker *w)
{
	sigset_t all;

	if (!w->masked)
		return;
	w->masked = false;
	ums_all_signals(&all);
	if (sigequalsets(&current->blocked, &all))
		sigprocmask(SIG_SETMASK, &w->saved_mask, NULL);
}

/* The thread is told to die, though SIGKILL may have been dequeued already. */
static bool ums_worker_dying(void)
{
	struct signal_struct *signal = current->signal;

	return (READ_ONCE(signal->flags) & SIGNAL_GROUP_EXIT) ||
	       READ_ONCE(signal->group_exec_task) ||
	       fatal_signal_pending(current);
}

/* Out of the parking place, still idle, to where get_signal() is called. */
static void ums_worker_go_away(struct ums_worker *w)
{
	WRITE_ONCE(w->away, true);
	if (ums_worker_dying())
		return;
	ums_park_restart(w);
	/*
	 * It may get to user mode before it parks again.  With all its signals
	 * blocked, a fault there would kill the process.
	 */
	if (!w->restart_ip)
		ums_worker_unmask(w);
	hrtimer_cancel(&w->return_timer);
	w->return_ticks = 1U << w->aways;
	if (w->aways < UMS_RETURN_DOUBLINGS)
		w->aways++;
	hrtimer_start(&w->return_timer, ns_to_ktime(UMS_RETURN_DELAY),
		      HRTIMER_MODE_REL_PINNED_HARD);
}

/*
 * Sleep until executed, or until something else wants this thread.
 *
 * Return: whether it was executed.
 */
static bool ums_worker_rest(struct ums_worker *w)
{
	struct ums_context *ctx = &w->context;
	bool executed;

	while (1) {
		set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		/* Pairs with set_context_state(): what came before. */
		executed = smp_load_acquire(&ctx->state) == CONTEXT_RUNNING;
		if (executed || READ_ONCE(ctx->data->closed) ||
		    signal_pending(current) || ums_worker_dying())
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	return executed;
}

/*
 * Sleep until executed, or the device is closed.  Return: true if other task
 * work must be run first; the worker is still idle then, as it is after
 * ums_worker_go_away().
 */
static bool ums_worker_sleep(struct ums_worker *w)
{
	bool traced = current->ptrace;

	WRITE_ONCE(w->away, false);
	w->parking = true;
	while (!ums_worker_rest(w) && !READ_ONCE(w->context.data->closed)) {
		if (test_thread_flag(TIF_NOTIFY_SIGNAL)) {
			clear_notify_signal();
			w->parking = false;
			return true;
		}
		w->signalled = true;
		if (ums_worker_dying() || !ums_worker_hold_signals(w)) {
			ums_worker_go_away(w);
			w->parking = false;
			return false;
		}
	}
	w->parking = false;
	w->aways = 0;
	ums_worker_unmask(w);
	ums_park_unrestart(w, traced || current->ptrace);
	/*
	 * The call that the worker is in may want to be restarted, on account
	 * of a signal that is no longer pending.  get_signal() sees to that.
	 */
	if (w->signalled)
		set_tsk_thread_flag(current, TIF_SIGPENDING);
	w->signalled = false;
	return false;
}

/**
 * ums_worker_park - the worker's part of the task work
 * @w: the calling thread's own worker
 *
 * Stops if there is a reason to, then sleeps unless the worker is running.
 *
 * Return: true if the work must be queued again, behind other task work.
 */
bool ums_worker_park(struct ums_worker *w)
{
	if (READ_ONCE(w->context.state) != CONTEXT_IDLE) {
		/* On its way out: that is what will be reported. */
		if (ums_worker_dying())
			return false;
		ums_worker_stop(w);
	}
	return ums_worker_sleep(w);
}

/**
 * ums_park_call - park in a call that has done all it was to do
 * @w: the calling worker
 * @why: UMS_READY_*, or 0 if it is idle already
 *
 * The worker rests in the call as long as it can, which saves a way through
 * task work.  For whatever is not its execution it goes on to its parking place.
 *
 * Return: 0, what the call is to return.
 */
int ums_park_call(struct ums_worker *w, u32 why)
{
	bool executed = false;

	w->stop = why;
	w->in_call = true;
	/* One that has blocked on its way into the call must say so first. */
	if (!w->away && !signal_pending(current) &&
	    READ_ONCE(w->context.state) != CONTEXT_BLOCKED) {
		if (why)
			ums_worker_stop(w);
		w->parking = true;
		executed = ums_worker_rest(w);
		w->parking = false;
	}
	if (executed)
		w->in_call = false;
	else
		ums_context_queue_work(&w->context);
	return 0;
}

/**
 * ums_park_before_call - have a worker running before its call is looked at
 * @w: the calling worker
 *
 * It may have blocked on its way into the call, in a stop by a tracer that sees
 * system calls.  So that its scheduler sees both, it parks here already.
 *
 * Return: 0, or -ERESTARTNOINTR when it has to park, or stop, before.
 */
int ums_park_before_call(struct ums_worker *w)
{
	if (READ_ONCE(w->context.state) == CONTEXT_BLOCKED)
		ums_worker_park(w);
	if (READ_ONCE(w->context.state) == CONTEXT_RUNNING)
		return 0;
	/*
	 * It could not, or this is the short time before the timer of a worker
	 * that is away.
	 */
	ums_context_queue_work(&w->context);
	return restart_syscall();
}

/**
 * ums_worker_yield - IOCTL_UMS_YIELD
 * @w: the calling worker
 * @param: for its scheduler
 *
 * Return: 0, when the worker has been executed again or is going to park.
 */
int ums_worker_yield(struct ums_worker *w, u64 param)
{
	w->stop_param = param;
	return ums_park_call(w, UMS_READY_YIELDED);
}
