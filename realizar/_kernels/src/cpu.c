/* The feature probe: cpuid for the features of the CPU, xgetbv for the registers that the operating system saves. */
#include "realizar/cpu.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdint.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Bit numbers as in the Intel SDM, volume 2, CPUID. */
enum { FMA = 12, OSXSAVE = 27, F16C = 29 };                                          /* leaf 1, ecx */
enum { AVX2 = 5, AVX512F = 16, AVX512DQ = 17, AVX512BW = 30, AVX512VL = 31 };        /* leaf 7, ebx */
enum { AVX512VNNI = 11 };                                                            /* leaf 7, ecx */
enum { AMX_TILE = 24, AMX_INT8 = 25 };                                               /* leaf 7, edx */
enum { AVXVNNI = 4 };                                                                /* leaf 7, 1, eax */
enum { XCR0_SSE = 1, XCR0_AVX = 2, XCR0_OPMASK = 5, XCR0_ZMM = 6, XCR0_HI_ZMM = 7 }; /* xcr0 */
enum { XCR0_TILE_CONFIG = 17, XCR0_TILE_DATA = 18 };

static bool has(uint32_t word, int bit) { return word >> bit & 1; }

struct features {
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax, xcr0;
};

static struct features probe(void)
{
    struct features f = {0, 0, 0, 0, 0, 0};
    uint32_t eax, ebx, ecx, edx;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) f.leaf1_ecx = ecx;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        f.leaf7_ebx = ebx;
        f.leaf7_ecx = ecx;
        f.leaf7_edx = edx;
    }
    if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) f.leaf7_1_eax = eax;
    if (has(f.leaf1_ecx, OSXSAVE)) {
        __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
        f.xcr0 = eax;
    }
    return f;
}

bool rz_cpu_runs_avx2(void)
{
    struct features f = probe();
    return has(f.xcr0, XCR0_SSE) && has(f.xcr0, XCR0_AVX) && has(f.leaf1_ecx, FMA) && has(f.leaf1_ecx, F16C) &&
           has(f.leaf7_ebx, AVX2);
}

bool rz_cpu_runs_avxvnni(void) { return rz_cpu_runs_avx2() && has(probe().leaf7_1_eax, AVXVNNI); }

bool rz_cpu_runs_avx512(void)
{
    struct features f = probe();
    return rz_cpu_runs_avx2() && has(f.xcr0, XCR0_OPMASK) && has(f.xcr0, XCR0_ZMM) && has(f.xcr0, XCR0_HI_ZMM) &&
           has(f.leaf7_ebx, AVX512F) && has(f.leaf7_ebx, AVX512BW) && has(f.leaf7_ebx, AVX512DQ) &&
           has(f.leaf7_ebx, AVX512VL) && has(f.leaf7_ecx, AVX512VNNI);
}

/* Linux enables tile registers only on request (Documentation/arch/x86/xstate.rst). */
static bool may_use_tiles(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XCR0_TILE_DATA) == 0;
#else
    return false;
#endif
}

bool rz_cpu_runs_amx(void)
{
    struct features f = probe();
    return rz_cpu_runs_avx512() && has(f.leaf7_edx, AMX_TILE) && has(f.leaf7_edx, AMX_INT8) &&
           has(f.xcr0, XCR0_TILE_CONFIG) && has(f.xcr0, XCR0_TILE_DATA) && may_use_tiles();
}

#else

bool rz_cpu_runs_avx2(void) { return false; }
bool rz_cpu_runs_avxvnni(void) { return false; }
bool rz_cpu_runs_avx512(void) { return false; }
bool rz_cpu_runs_amx(void) { return false; }

#endif
