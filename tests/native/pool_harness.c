/* Drives the thread pool in ways that a Python test cannot; built with a sanitizer by tests/runtime/test_pool.py. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "realizar/float_mode.h"
#include "realizar/pool.h"

enum { MAX_THREADS = 64, N_PHASES = 25, N_STEPS = 80, N_CALLERS = 4 };

#define CHECK(ok)                                                                                                      \
    do {                                                                                                               \
        if (!(ok)) {                                                                                                   \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #ok);                                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Plain ints on purpose: the thread sanitizer reports accesses that the barrier does not order. */
struct job {
    rz_pool *pool;
    int cell[MAX_THREADS], n_threads;
    unsigned mode[MAX_THREADS];
};

/* In each phase every worker adds its neighbour's value from the previous phase: only right in lock-step. */
static void neighbours(void *arg, int worker, int n_threads)
{
    struct job *job = arg;
    if (worker == 0) job->n_threads = n_threads;
    for (int phase = 0; phase < N_PHASES; phase++) {
        int of_next = job->cell[(worker + 1) % n_threads];
        rz_pool_barrier(job->pool);
        job->cell[worker] = of_next + 1;
        rz_pool_barrier(job->pool);
    }
}

static void run_neighbours(rz_pool *pool)
{
    struct job job = {.pool = pool};
    CHECK(rz_pool_run(pool, neighbours, &job) == 0);
    CHECK(job.n_threads == rz_pool_size(pool));
    for (int i = 0; i < job.n_threads; i++) CHECK(job.cell[i] == N_PHASES);
}

static void steps(rz_pool *pool)
{
    for (int i = 0; i < N_STEPS; i++) run_neighbours(pool);
}

/* ---- several threads call at once ------------------------------------------------------------------------------- */

static void *call_often(void *pool)
{
    steps(pool);
    return NULL;
}

static void callers(rz_pool *pool)
{
    pthread_t thread[N_CALLERS];
    for (int i = 0; i < N_CALLERS; i++) CHECK(pthread_create(&thread[i], NULL, call_often, pool) == 0);
    for (int i = 0; i < N_CALLERS; i++) CHECK(pthread_join(thread[i], NULL) == 0);
}

/* A stopped pool has no threads; the next step starts them again. */
static void stops(rz_pool *pool)
{
    rz_pool_stop(pool); /* before any thread was started */
    for (int i = 0; i < 20; i++) {
        run_neighbours(pool);
        rz_pool_stop(pool);
        if (i % 2) rz_pool_stop(pool);
    }
    callers(pool);
}

/* ---- fork ------------------------------------------------------------------------------------------------------- */

static void in_child(void (*work)(rz_pool *), rz_pool *pool)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(500); /* end a deadlock here: the time limit of the test would leave this child running */
        if (work) work(pool);
        rz_pool_free(pool);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void grandchild(rz_pool *pool)
{
    in_child(callers, pool);
    steps(pool);
}

/* A child computes, in one thread or several, forks again, or exits at once; the parent's pool still works. */
static void forks(rz_pool *pool)
{
    in_child(steps, pool); /* before any thread was started */
    steps(pool);
    in_child(steps, pool);
    in_child(callers, pool);
    in_child(grandchild, pool);
    in_child(NULL, pool);
    in_child(rz_pool_stop, pool);
    in_child(stops, pool);
    steps(pool);
}

/* fork() while another thread is in the middle of a step, so that the child copies held locks. */
static void forks_in_step(rz_pool *pool)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, call_often, pool) == 0);
    for (int i = 0; i < 20; i++) in_child(run_neighbours, pool);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- floating-point mode ---------------------------------------------------------------------------------------- */

static void note_mode(void *arg, int worker, int n_threads)
{
    struct job *job = arg;
    (void)n_threads;
    job->mode[worker] = (unsigned)rz_float_mode_get();
    volatile float tiny = 1e-40f;
    job->cell[worker] = tiny * 0.5f > 0.0f; /* denormals live */
    rz_float_mode_set(0x7f80 & ~0x6000);    /* a mode that a task sets ... */
}

static void float_mode(rz_pool *pool)
{
    rz_float_mode odd = RZ_FLOAT_MODE | 0x8040 | 0x2000; /* flush to zero, denormals are zero, round down */
    struct job job = {.pool = pool};
    for (int i = 0; i < 3; i++) {
        rz_float_mode_set(odd);
        CHECK(rz_pool_run(pool, note_mode, &job) == 0);
        CHECK(rz_float_mode_get() == odd); /* ... does not leak to the caller */
        rz_float_mode_set(RZ_FLOAT_MODE);
        for (int w = 0; w < rz_pool_size(pool); w++) CHECK(job.mode[w] == RZ_FLOAT_MODE && job.cell[w]);
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void lives(rz_pool *pool)
{
    for (int i = 0; i < 50; i++) {
        rz_pool *other = rz_pool_new(rz_pool_size(pool));
        CHECK(other);
        if (i % 2) run_neighbours(other); /* half of the pools end before their first step */
        rz_pool_free(other);
    }
    rz_pool_free(NULL);
}

static const struct {
    const char *name;
    void (*run)(rz_pool *);
} scenarios[] = {
    {"steps", steps},           {"callers", callers}, {"forks", forks}, {"forks_in_step", forks_in_step},
    {"float_mode", float_mode}, {"lives", lives},     {"stops", stops},
};

int main(int argc, char **argv)
{
    CHECK(argc == 3); /* SCENARIO N_THREADS */
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(argv[1], scenarios[i].name) != 0) continue;
        rz_pool *pool = rz_pool_new(atoi(argv[2]));
        CHECK(pool);
        scenarios[i].run(pool);
        rz_pool_free(pool);
        return 0;
    }
    CHECK(!"an unknown scenario");
}
