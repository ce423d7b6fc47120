/* Probes of the machine, one row an instruction set. */
#ifndef REALIZAR_PROBE_H
#define REALIZAR_PROBE_H

#include <stddef.h>
#include <stdint.h>

/* Reads every byte; the checksum says nothing. */
typedef uint64_t rz_probe_read(const char *data, size_t n_bytes);
/* Does int8 multiply-adds in registers and returns how many. */
typedef uint64_t rz_probe_macs(uint64_t n_rounds);

struct rz_probe {
    const char *isa; /* name of the tier; NULL ends the list */
    rz_probe_read *read;
    rz_probe_macs *macs;
};

extern const struct rz_probe rz_probes[];

#endif
