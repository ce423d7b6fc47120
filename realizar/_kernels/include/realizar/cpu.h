/* What this CPU, under this operating system, can run. */
#ifndef REALIZAR_CPU_H
#define REALIZAR_CPU_H

#include <stdbool.h>

/* AVX2, FMA and F16C. */
bool rz_cpu_runs_avx2(void);

/* The avx2 level plus AVX-VNNI. */
bool rz_cpu_runs_avxvnni(void);

/* The avx2 level plus AVX-512 F, BW, DQ, VL and VNNI. */
bool rz_cpu_runs_avx512(void);

/* The avx512 level plus AMX with int8. On Linux this requests the process's permission to use tile registers, which it
 * then keeps: 8 KiB more per thread that uses them. */
bool rz_cpu_runs_amx(void);

#endif
