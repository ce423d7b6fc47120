/* Philox4x32-10, a counter-based random number generator: the same key and counter give the same bits everywhere. */
#ifndef REALIZAR_PHILOX_H
#define REALIZAR_PHILOX_H

#include <stdint.h>

/* Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC '11), sections 3 and 4. */
static inline void rz_philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53 * c[0], p1 = (uint64_t)0xCD9E8D57 * c[2];
        c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
        c[1] = (uint32_t)p1;
        c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
}

/* A double in [0, 1), 53 bits, from a seed, a position in the sequence, the number of the draw at that position, and
 * the index among the numbers that this draw needs. */
static inline double rz_uniform(uint64_t seed, uint64_t position, uint32_t draw, uint32_t which)
{
    uint32_t c[4] = {(uint32_t)position, (uint32_t)(position >> 32), draw, which};
    rz_philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
    return (double)(((uint64_t)c[0] << 32 | c[1]) >> 11) * 0x1p-53;
}

#endif
