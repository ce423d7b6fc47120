/* The table literal of each instruction set, and the resolved tables. */
#ifndef REALIZAR_ISA_LEVELS_H
#define REALIZAR_ISA_LEVELS_H

#include "realizar/table.h"

enum { RZ_MAX_ISA_LEVELS = 5 };

/* Defined in scalar.c, avx2.c, avxvnni.c, avx512.c, amx.c; may have empty slots. */
extern const struct rz_kernels rz_scalar;
#if defined(__x86_64__)
extern const struct rz_kernels rz_avx2;
extern const struct rz_kernels rz_avxvnni; /* if the compiler supports it: gcc 11, clang 12 */
extern const struct rz_kernels rz_avx512;
extern const struct rz_kernels rz_amx; /* if the compiler supports it: gcc 11, clang 11 */
#endif

/* resolve.c: probes the CPU, fills the tables and chooses the best. Called once, while the module is imported. */
void rz_resolve(void);

/* The tables that this CPU can run, best last. */
size_t rz_tables(const struct rz_kernels **out);

/* The chosen table; reading and choosing are atomic. */
const struct rz_kernels *rz_current(void);
void rz_use(const struct rz_kernels *table);

#endif
