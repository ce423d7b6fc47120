/* Summaries of the blocks of several rows of logits: an item is a part of a row. */
#include "realizar/logit_rows.h"

/* Number of blocks of an item: 32 KiB, a few microseconds of a core. */
enum { ITEM_BLOCKS = 128 };

void rz_logit_rows_run(void *arg, int worker, int n_threads)
{
    struct rz_logit_rows *r = arg;
    size_t per_row = (r->n_block + ITEM_BLOCKS - 1) / ITEM_BLOCKS, item;
    while ((item = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed)) < r->n_row * per_row) {
        size_t row = item / per_row, block = item % per_row * ITEM_BLOCKS, begin = block * RZ_LOGITS_BLOCK;
        size_t left = r->n - begin, most = ITEM_BLOCKS * RZ_LOGITS_BLOCK, to = 2 * row * r->n_block + block;
        r->kernels->logit_sums(r->x + row * r->ld + begin, left < most ? left : most, r->out + to,
                               r->out + to + r->n_block);
    }
}
