/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of ums_bench share.
 */
#ifndef UMS_BENCH_H
#define UMS_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

/* Rounds that are not measured, so that caches and pools are warm. */
#define WARM_UP		1000

/* How many rounds are measured, --rounds. */
extern long rounds;

/* What one reading of the clock adds to what is measured around it, in ns. */
extern double clock_cost;

/* One line of the result.  @unit: "ns", "bytes" or "ratio". */
void report(const char *name, double value, const char *unit);

/* Say what failed and end the benchmark. */
noreturn void die(const char *what);

/* die() unless @ok. */
static inline void must(bool ok, const char *what)
{
	if (!ok)
		die(what);
}

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now(void);

/* Bind the calling thread, and the threads that it makes later, to a CPU. */
void pin(int cpu);

/* Let it run anywhere. */
void unpin(void);

/*
 * Run @step @warm_up times, then measure @rounds of it.  Nanoseconds for one.
 */
double measure_after(long warm_up, void (*step)(void));

static inline double measure(void (*step)(void))
{
	return measure_after(WARM_UP, step);
}

/* @fn(@arg), in a process that is gone afterwards with all its threads. */
double in_child(double (*fn)(bool arg), bool arg);

/* A thread that nobody joins, with a small stack. */
void start_peer(void *(*fn)(void *), void *arg);

/* ums_bench_ums.c: one CPU */
void bench_ums_classic(void);
void bench_ums_round_trip(void);
void bench_ums_round_trip_10(void);
void bench_ums_round_trip_1000(void);
void bench_ums_round_trip_10000(void);
void bench_ums_round_trip_100000(void);
void bench_ums_switch(void);
void bench_ums_block(void);
void bench_ums_slice_end(void);
void bench_ums_create(void);
void bench_pthread_create_join(void);
void bench_mem_worker(void);

/* ums_bench_ums.c: two CPUs */
void bench_ums_preempt(void);
void bench_unpinned_ums(void);
void bench_two_schedulers(void);

#endif /* UMS_BENCH_H */
