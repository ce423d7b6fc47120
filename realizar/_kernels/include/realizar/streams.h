/* In which order a product that waits for memory visits its weight rows: as several runs side by side.
 *
 * One core has only so many cache lines in flight, and its prefetcher follows each page on its own. One run of
 * addresses after another keeps too few lines in flight (measured: 13.4 GB/s by one core where four runs reach 15.8);
 * so a step takes one row of each of S runs of consecutive rows, and every run fetches what lies a little ahead in it. */
#ifndef REALIZAR_STREAMS_H
#define REALIZAR_STREAMS_H

#include <stddef.h>

/* Steps in which n_streams runs cover the rows [r0, r1). */
static inline size_t stream_steps(size_t r0, size_t r1, size_t n_streams)
{
    return (r1 - r0 + n_streams - 1) / n_streams;
}

/* Row of a run at a step; the last row stands in for those that do not exist. */
static inline size_t stream_row(size_t r0, size_t r1, size_t n_steps, size_t stream, size_t step)
{
    size_t row = r0 + stream * n_steps + step;
    return row < r1 ? row : r1 - 1;
}

/* Fetches the bytes that a run will need: n_bytes of them, `ahead` bytes further on. What does not exist is not
 * fetched, and does no harm. */
#define fetch_ahead(run, ahead, n_bytes)                                                                               \
    do                                                                                                                 \
        for (int at_ = 0; at_ < (int)(n_bytes); at_ += 64) __builtin_prefetch((run) + (ahead) + at_);                  \
    while (0)

#endif
