/* Every kernel of every ISA level on random inputs next to guard pages. All levels must give the bits of the scalar
 * one, and these must be near float64.
 *
 * kernels_harness [ROUNDS [SEED]]: each round tries one of each kind. A failure names the kernel, its shape and the seed
 * of its round; `kernels_harness 1 SEED` repeats that round. */
#include <signal.h>

#include "fuzz/attention.h"
#include "fuzz/index.h"
#include "fuzz/products.h"
#include "fuzz/row_ops.h"

static void make_rooms(void)
{
    struct room *rooms[] = {&w_room,    &x_room,     &y_room, &scratch_room, &q_room,   &k_room,
                            &v_room,    &table_room, &m_room, &l_room,       &acc_room, &attend_scratch_room,
                            &bias_room, &reach_room};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) *rooms[i] = new_room();
    for (size_t i = 0; i < sizeof row_rooms / sizeof *row_rooms; i++) row_rooms[i] = new_room();
}

/* A kernel has accessed a guard page or other memory outside its arrays. */
static void touched_guard(int number)
{
    (void)number;
    fail("access outside the arrays");
}

int main(int argc, char **argv)
{
    static void (*const kinds[])(void) = {fuzz_products, fuzz_quantize_act, fuzz_row_ops, fuzz_row_ops,
                                          fuzz_store,    fuzz_attend,       fuzz_merge,   fuzz_index_scores};
    long rounds = argc > 1 ? atol(argv[1]) : 1000, seed = argc > 2 ? atol(argv[2]) : 1;
    rz_resolve();
    n_levels = rz_tables(&levels);
    make_rooms();
    signal(SIGSEGV, touched_guard);
    signal(SIGBUS, touched_guard);
    for (long round = 0; round < rounds; round++) {
        round_seed = seed + round;
        random_state = (uint64_t)round_seed * 0x9e3779b97f4a7c15u + 1;
        for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) kinds[kind]();
    }
    return 0;
}
