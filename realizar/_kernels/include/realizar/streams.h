/* The order in which a memory-bound product reads its weight rows: several runs of consecutive rows in parallel.
 *
 * The number of cache lines that a core can request at a time is limited, and its prefetcher follows each page
 * separately. A single run of addresses keeps too few requests in flight (measured on one core: 13.4 GB/s, versus 15.8
 * with four runs). So a step processes one row of each of S runs, and each run prefetches a little ahead. */
#ifndef REALIZAR_STREAMS_H
#define REALIZAR_STREAMS_H

#include <stddef.h>

/* The number of steps in which n_streams runs cover the rows [r0, r1). */
static inline size_t stream_steps(size_t r0, size_t r1, size_t n_streams)
{
    return (r1 - r0 + n_streams - 1) / n_streams;
}

/* The row of a run at a step; past the end it is the last row. */
static inline size_t stream_row(size_t r0, size_t r1, size_t n_steps, size_t stream, size_t step)
{
    size_t row = r0 + stream * n_steps + step;
    return row < r1 ? row : r1 - 1;
}

/* Prefetches n_bytes that a run will need, `ahead` bytes further on. Addresses that do not exist do no harm. */
#define fetch_ahead(run, ahead, n_bytes)                                                                               \
    do                                                                                                                 \
        for (int at_ = 0; at_ < (int)(n_bytes); at_ += 64) __builtin_prefetch((run) + (ahead) + at_);                  \
    while (0)

#endif
