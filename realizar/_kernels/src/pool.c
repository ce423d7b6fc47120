/* The thread pool: a team of workers that sleep between steps and synchronize by barriers within a step. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "realizar/pool.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "realizar/float_mode.h"
#include "realizar/platform.h"

#if defined(__x86_64__) || defined(_M_X64)
#define cpu_relax() _mm_pause()
#else
#define cpu_relax() __asm__ volatile("isb") /* yield does nothing on most cores; isb takes about as long as pause */
#endif

/* How often a worker polls a closed barrier before it sleeps. Sleeping and waking up cost about 35 us (measured in a
 * virtual machine), as much as a small product, so polling pays off for about that long; a pause takes 10 to 45 ns. */
enum { SPINS = 3500 };

/* A poll fails if the worker for which we wait has no CPU, because other processes use it, or a longer op; each failure
 * takes as long as many ops of a small model. After MAX_FAILED_POLLS a team polls at one barrier in PROBE_INTERVAL only. A
 * success takes SUCCESS_CREDIT from the count of failures, so that even one in five justifies polling. */
enum { MAX_FAILED_POLLS = 8, SUCCESS_CREDIT = 4, PROBE_INTERVAL = 31 };

typedef struct team team;

struct worker {
    team *team;
    int index;
    rz_thread thread;
};

/* Everything that a child of fork() cannot use: the threads, and locks that another thread may hold during fork(). */
struct team {
    int n_threads;
    rz_mutex turn; /* held by the caller whose step runs; other callers queue */

    rz_mutex lock;     /* guards step and ended, and puts workers to sleep */
    rz_cond step_open; /* signals a new step, or the end */
    rz_cond gate_open; /* signals that the barrier opened */
    unsigned step;
    bool ended, started;

    rz_pool_fn *fn; /* of the running step */
    void *arg;
    bool may_spin;

    char apart_1[64]; /* arrivals, which all workers write, on another cache line than what waiting workers read */
    atomic_int n_missing;
    char apart_2[64];
    atomic_uint gate; /* number of barriers opened so far */
    atomic_int n_asleep;
    atomic_int failed_polls; /* 0 .. MAX_FAILED_POLLS; a lost update does no harm */
    char apart_3[64];

    struct worker workers[]; /* 1 .. n_threads - 1; the caller is worker 0 */
};

struct rz_pool {
    int n_threads;
    _Atomic(team *) team;
    atomic_long owner; /* the process of the team; negative while that process creates the team */
};

/* ---- the barrier -------------------------------------------------------------------------------------------------- */

static void open_gate(team *t)
{
    atomic_store(&t->n_missing, t->n_threads);
    atomic_fetch_add(&t->gate, 1);
    /* A worker increments the count of sleepers before it checks the gate, and we read the count after opening the
     * gate, so one of the two notices the other. */
    if (atomic_load(&t->n_asleep) == 0) return;
    rz_mutex_lock(&t->lock); /* so that a worker which has checked the gate is already waiting */
    rz_mutex_unlock(&t->lock);
    rz_cond_broadcast(&t->gate_open);
}

static void sleep_at_gate(team *t, unsigned closed)
{
    rz_mutex_lock(&t->lock);
    atomic_fetch_add(&t->n_asleep, 1);
    while (atomic_load(&t->gate) == closed) rz_cond_wait(&t->gate_open, &t->lock);
    atomic_fetch_sub(&t->n_asleep, 1);
    rz_mutex_unlock(&t->lock);
}

/* Polls the closed barrier; whether it opened. */
static bool poll_gate(team *t, unsigned closed)
{
    int failed = atomic_load_explicit(&t->failed_polls, memory_order_relaxed);
    if (failed == MAX_FAILED_POLLS && closed % PROBE_INTERVAL != 0) return false;
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->gate, memory_order_acquire) != closed) {
            if (failed > 0)
                atomic_store_explicit(&t->failed_polls, failed > SUCCESS_CREDIT ? failed - SUCCESS_CREDIT : 0,
                                      memory_order_relaxed);
            return true;
        }
        cpu_relax();
    }
    if (failed < MAX_FAILED_POLLS) atomic_store_explicit(&t->failed_polls, failed + 1, memory_order_relaxed);
    return false;
}

/* A sense-reversing barrier whose sense is a counter, so that workers need no state for it. */
static void meet(team *t)
{
    unsigned closed = atomic_load_explicit(&t->gate, memory_order_relaxed);
    bool may_spin = t->may_spin; /* read before we arrive: afterwards the caller may begin the next step */
    if (atomic_fetch_sub(&t->n_missing, 1) == 1) {
        open_gate(t);
        return;
    }
    if (!may_spin || !poll_gate(t, closed)) sleep_at_gate(t, closed);
}

/* ---- workers ------------------------------------------------------------------------------------------------------ */

/* A worker's share of the step. No worker returns before all are done, so fn, arg and the step's data outlive their
 * use. */
static void take_part(team *t, int worker)
{
    rz_float_mode before = rz_float_mode_get();
    rz_float_mode_set(RZ_FLOAT_MODE);
    t->fn(t->arg, worker, t->n_threads);
    rz_float_mode_set(before);
    meet(t);
}

static bool next_step(team *t, unsigned *seen)
{
    rz_mutex_lock(&t->lock);
    while (t->step == *seen && !t->ended) rz_cond_wait(&t->step_open, &t->lock);
    *seen = t->step;
    bool go_on = !t->ended;
    rz_mutex_unlock(&t->lock);
    return go_on;
}

static rz_thread_result RZ_THREAD_CALL worker_main(void *arg)
{
    const struct worker *self = arg;
    unsigned seen = 0; /* threads start before the first step */
    while (next_step(self->team, &seen)) take_part(self->team, self->index);
    return 0;
}

/* ---- the team ----------------------------------------------------------------------------------------------------- */

static team *team_new(int n_threads)
{
    team *t = calloc(1, sizeof *t + (size_t)n_threads * sizeof t->workers[0]);
    if (!t) return NULL;
    t->n_threads = n_threads;
    atomic_init(&t->n_missing, n_threads);
    rz_mutex_init(&t->turn);
    rz_mutex_init(&t->lock);
    rz_cond_init(&t->step_open);
    rz_cond_init(&t->gate_open);
    return t;
}

/* Ends workers 1 .. n - 1; new ones may be started afterwards. */
static void team_end(team *t, int n)
{
    rz_mutex_lock(&t->lock);
    t->ended = true;
    rz_cond_broadcast(&t->step_open);
    rz_mutex_unlock(&t->lock);
    for (int i = 1; i < n; i++) rz_thread_join(t->workers[i].thread);
    t->ended = t->started = false;
    t->step = 0; /* workers count steps from here */
}

static int team_start(team *t)
{
    if (t->started) return 0;
    for (int i = 1; i < t->n_threads; i++) {
        t->workers[i].team = t;
        t->workers[i].index = i;
        int error = rz_thread_start(&t->workers[i].thread, worker_main, &t->workers[i]);
        if (error) {
            team_end(t, i);
            return error;
        }
    }
    t->started = true;
    return 0;
}

static void team_free(team *t)
{
    if (t->started) team_end(t, t->n_threads);
    rz_cond_destroy(&t->gate_open);
    rz_cond_destroy(&t->step_open);
    rz_mutex_destroy(&t->lock);
    rz_mutex_destroy(&t->turn);
    free(t);
}

static void team_step(team *t, rz_pool_fn *fn, void *arg)
{
    rz_mutex_lock(&t->lock);
    t->fn = fn;
    t->arg = arg;
    t->may_spin = t->n_threads <= rz_n_cpus(); /* otherwise the worker for which we wait may need our CPU */
    t->step++;
    rz_mutex_unlock(&t->lock);
    if (t->n_threads > 1) rz_cond_broadcast(&t->step_open);
    take_part(t, 0);
}

/* ---- the pool ----------------------------------------------------------------------------------------------------- */

/* In a child of fork(), creates a team for this process: the first caller creates it, others wait. The parent's team is
 * not freed: its threads do not exist here, and its locks may be held forever. */
static int adopt(rz_pool *pool)
{
    long here = rz_process_id(), owner = atomic_load(&pool->owner);
    while (owner != here) {
        if (owner != -here && atomic_compare_exchange_strong(&pool->owner, &owner, -here)) {
            team *fresh = team_new(pool->n_threads);
            if (fresh) free(atomic_exchange(&pool->team, fresh));
            atomic_store(&pool->owner, fresh ? here : owner);
            return fresh ? 0 : ENOMEM;
        }
        rz_yield();
        owner = atomic_load(&pool->owner);
    }
    return 0;
}

rz_pool *rz_pool_new(int n_threads)
{
    rz_pool *pool = calloc(1, sizeof *pool);
    team *t = team_new(n_threads);
    if (!pool || !t) {
        free(pool);
        if (t) team_free(t);
        return NULL;
    }
    pool->n_threads = n_threads;
    atomic_init(&pool->team, t);
    atomic_init(&pool->owner, rz_process_id());
    return pool;
}

void rz_pool_free(rz_pool *pool)
{
    if (!pool) return;
    team *t = atomic_load(&pool->team);
    if (atomic_load(&pool->owner) == rz_process_id())
        team_free(t);
    else
        free(t); /* forked, and never run in this process */
    free(pool);
}

void rz_pool_stop(rz_pool *pool)
{
    if (atomic_load(&pool->owner) != rz_process_id()) return; /* forked, and never run in this process */
    team *t = atomic_load(&pool->team);
    rz_mutex_lock(&t->turn);
    if (t->started) team_end(t, t->n_threads);
    rz_mutex_unlock(&t->turn);
}

int rz_pool_size(const rz_pool *pool) { return pool->n_threads; }

int rz_pool_run(rz_pool *pool, rz_pool_fn *fn, void *arg)
{
    int error = adopt(pool);
    if (error) return error;
    team *t = atomic_load(&pool->team);
    rz_mutex_lock(&t->turn);
    error = team_start(t);
    if (!error) team_step(t, fn, arg);
    rz_mutex_unlock(&t->turn);
    return error;
}

void rz_pool_barrier(rz_pool *pool)
{
    team *t = atomic_load_explicit(&pool->team, memory_order_relaxed);
    if (t->n_threads > 1) meet(t);
}
