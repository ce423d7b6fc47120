/* The floating-point mode of a thread: every step runs with round-to-nearest and with denormals kept. */
#ifndef REALIZAR_FLOAT_MODE_H
#define REALIZAR_FLOAT_MODE_H

#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64) || defined(__SSE2__)
#include <immintrin.h>
typedef unsigned rz_float_mode;
enum { RZ_FLOAT_MODE = 0x1f80 }; /* MXCSR: no exceptions, round to nearest, FTZ and DAZ off */
static inline rz_float_mode rz_float_mode_get(void) { return _mm_getcsr(); }
static inline void rz_float_mode_set(rz_float_mode mode) { _mm_setcsr(mode); }

#elif defined(__aarch64__)
typedef uint64_t rz_float_mode;
enum { RZ_FLOAT_MODE = 0 }; /* FPCR: the same settings */
static inline rz_float_mode rz_float_mode_get(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void rz_float_mode_set(rz_float_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }

#else
#error "realizar: say here how this CPU sets its rounding and denormal mode"
#endif

#endif
