/* What this CPU, under this operating system, can run. */
#ifndef REALIZAR_CPU_H
#define REALIZAR_CPU_H

#include <stdbool.h>

/* AVX2, FMA and F16C. */
bool rz_cpu_runs_avx2(void);

/* The avx2 tier and AVX-VNNI. */
bool rz_cpu_runs_avxvnni(void);

/* The avx2 tier and AVX-512 F, BW, DQ, VL and VNNI. */
bool rz_cpu_runs_avx512(void);

#endif
