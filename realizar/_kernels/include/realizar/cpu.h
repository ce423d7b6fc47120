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

/* The avx512 tier and AMX with int8. On Linux this asks for the process's permission to use tile registers, which it
 * then keeps: they are 8 KiB more for each thread that does. */
bool rz_cpu_runs_amx(void);

#endif
