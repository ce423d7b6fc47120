/* Probes of the machine, one row for each instruction set. */
#ifndef REALIZAR_PROBE_H
#define REALIZAR_PROBE_H

#include <stddef.h>
#include <stdint.h>

/* Reads every byte. The checksum keeps the compiler from dropping the reads. */
typedef uint64_t rz_probe_read(const char *data, size_t n_bytes);

/* Runs n_rounds of multiply-adds in registers and returns the sum of all accumulators. Every product is 1, so the sum
 * is the number of multiply-adds; it is exact up to RZ_PROBE_MAX_ROUNDS. */
typedef uint64_t rz_probe_macs(uint64_t n_rounds);

enum { RZ_PROBE_MAX_ROUNDS = 1 << 24 }; /* a float cannot count by ones beyond this */

struct rz_probe {
    const char *isa; /* name of the ISA level; NULL ends the list */
    rz_probe_read *read;
    rz_probe_macs *int8, *f32;
};

extern const struct rz_probe rz_probes[];

#endif
