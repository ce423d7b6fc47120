/* The thread pool: workers sleep between steps, wake up once per step, and synchronize by barriers within a step. */
#ifndef REALIZAR_POOL_H
#define REALIZAR_POOL_H

#include <stdatomic.h>
#include <stddef.h>

typedef struct rz_pool rz_pool;

/* The work of one worker in a step: worker in [0, n_threads); worker 0 is the thread that called rz_pool_run. */
typedef void rz_pool_fn(void *arg, int worker, int n_threads);

/* NULL if memory is exhausted; threads start at the first run. n_threads >= 1. */
rz_pool *rz_pool_new(int n_threads);
void rz_pool_free(rz_pool *pool);

/* Ends the threads once no step is under way; the next run starts them again. */
void rz_pool_stop(rz_pool *pool);

int rz_pool_size(const rz_pool *pool);

/* Runs fn on every worker and returns when all have returned. Concurrent callers queue. After fork() the child starts
 * its own workers at its first run. Each worker runs with round-to-nearest and denormals kept; the previous mode is
 * restored afterwards. Returns 0, or an errno if no thread can be started (then fn was not run). */
int rz_pool_run(rz_pool *pool, rz_pool_fn *fn, void *arg);

/* The barrier: waits until every worker of the running step has called it. */
void rz_pool_barrier(rz_pool *pool);

#endif
