/* The base-3 digits ("trits") of PTQ1_0 and TQ1_0. */
#ifndef REALIZAR_SCALAR_TRITS_H
#define REALIZAR_SCALAR_TRITS_H

#include <stdint.h>

/* A byte is a fraction of 256: floor(3 * byte / 256) is its first digit, and 3 * byte mod 256 the rest. */
static inline int trit(uint8_t byte, int i)
{
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    return (uint8_t)(byte * powers[i]) * 3 >> 8;
}

/* Digit i of a run of n bytes, which holds the first digit of each byte, then the second of each, and so on. */
static inline int trit_of_run(const uint8_t *bytes, int n, int i) { return trit(bytes[i % n], i / n); }

#endif
