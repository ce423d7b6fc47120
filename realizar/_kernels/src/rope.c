/* The rope table for the executor: the same code for every ISA level. */
#include "realizar/scalar/rope_table.h"
#include "realizar/table.h"

void rz_rope_table(const float *inv_freq, size_t half, float position, float mscale, float *cos, float *sin)
{
    rope_table_f32(inv_freq, half, position, mscale, cos, sin);
}
