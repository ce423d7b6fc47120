/* Assembly loops whose rates the probes of the kernels are compared with.
 *
 *     rates_harness KIND ISA    prints operations (read: bytes) per second of one thread, best of several runs
 *
 * Each multiplies as the probe of that name does (realizar/_kernels/src/probe.c). For `scalar` it is the loop of
 * the kernels themselves, as the compiler vectorizes it: build with the flags of the extension modules. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef void loop(uint64_t n);

enum { N = 4096 };

static void int8_scalar(uint64_t n)
{
    static int8_t ones[2 * N];
    const int8_t *x = ones;
    while (n--) {
        __asm__ volatile("" : "+r"(x) : : "memory");
        int32_t sum = 0;
        for (int i = 0; i < N; i++) sum += x[i] * x[N + i];
        __asm__ volatile("" : : "r"(sum));
    }
}

#if defined(__x86_64__)

/* A loop that counts rcx down; registers start at zero, since NaNs and denormals may be slow. */
#define REPEAT(body)                                                                                                   \
    __asm__ volatile("vzeroall\n1:\n\t" body "dec %%rcx\n\tjnz 1b"                                                     \
                     : "+c"(n)                                                                                         \
                     :                                                                                                 \
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",  \
                       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

#define ONE(op, reg, to) op " %%" reg "14, %%" reg "15, %%" reg #to "\n\t"
#define FOUR(op, reg, a, b, c, d) ONE(op, reg, a) ONE(op, reg, b) ONE(op, reg, c) ONE(op, reg, d)
#define TWELVE(op, reg) FOUR(op, reg, 0, 1, 2, 3) FOUR(op, reg, 4, 5, 6, 7) FOUR(op, reg, 8, 9, 10, 11)

/* Products as words in ymm4 to 7, added to ymm0 to 3; then as dwords to ymm8 to 11. */
#define WORDS FOUR("vpmaddubsw", "ymm", 4, 5, 6, 7)
#define ADD(op, from, to) op " %%ymm" #from ", %%ymm" #to ", %%ymm" #to "\n\t"
#define ADD_WORDS WORDS ADD("vpaddw", 4, 0) ADD("vpaddw", 5, 1) ADD("vpaddw", 6, 2) ADD("vpaddw", 7, 3)
#define WIDEN(from, to) "vpmaddwd %%ymm13, %%ymm" #from ", %%ymm" #from "\n\t" ADD("vpaddd", from, to)

static void int8_avx2(uint64_t n)
{
    REPEAT(FOUR("vpmaddubsw", "ymm", 0, 1, 2, 3)
               ADD_WORDS ADD_WORDS ADD_WORDS ADD_WORDS ADD_WORDS ADD_WORDS ADD_WORDS WIDEN(0, 8) WIDEN(1, 9)
                   WIDEN(2, 10) WIDEN(3, 11));
}

static void int8_avxvnni(uint64_t n) { REPEAT(TWELVE("%{vex%} vpdpbusd", "ymm")); }

static void int8_avx512(uint64_t n) { REPEAT(TWELVE("vpdpbusd", "zmm")); }

static void f32_avx2(uint64_t n) { REPEAT(TWELVE("vfmadd231ps", "ymm")); }

static void f32_avx512(uint64_t n) { REPEAT(TWELVE("vfmadd231ps", "zmm")); }

/* One stream, four cache lines per iteration. */
enum { N_READ = 256 << 20 };

static char *memory(void)
{
    static char *data;
    if (!data && (data = malloc(N_READ))) memset(data, 1, N_READ);
    return data;
}

#define READ(first, lines)                                                                                             \
    const char *data = memory(), *end = data ? data + N_READ : data;                                                   \
    while (n--)                                                                                                        \
        for (const char *p = data; p != end;)                                                                          \
    __asm__ volatile(first "1:\n\t" lines "add $256, %0\n\tcmp %1, %0\n\tjne 1b"                                       \
                     : "+r"(p)                                                                                         \
                     : "r"(end)                                                                                        \
                     : "cc", "memory", "xmm0")
#define LINE_32(at) "vpaddq " #at "(%0), %%ymm0, %%ymm0\n\t"
#define LINE_64(at) "vpaddq " #at "(%0), %%zmm0, %%zmm0\n\t"

static void read_avx2(uint64_t n)
{
    READ("vpxor %%xmm0, %%xmm0, %%xmm0\n",
         LINE_32(0) LINE_32(32) LINE_32(64) LINE_32(96) LINE_32(128) LINE_32(160) LINE_32(192) LINE_32(224));
}

static void read_avx512(uint64_t n)
{
    READ("vpxor %%xmm0, %%xmm0, %%xmm0\n", LINE_64(0) LINE_64(64) LINE_64(128) LINE_64(192));
}

/* Eight tiles of 16 rows of 64 bytes; four are sums, two are nonzero factors. */
static void int8_amx(uint64_t n)
{
    static struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    static int8_t factor[1024];
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) != 0) return;
#endif
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    for (int i = 0; i < 1024; i++) factor[i] = (int8_t)(i % 7 + 1);
    __asm__ volatile("ldtilecfg %1\n\t"
                     "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\t"
                     "tileloadd (%2,%3,1), %%tmm4\n\ttileloadd (%2,%3,1), %%tmm5\n\t"
                     "1:\n\t"
                     "tdpbssd %%tmm4, %%tmm5, %%tmm0\n\ttdpbssd %%tmm4, %%tmm5, %%tmm1\n\t"
                     "tdpbssd %%tmm4, %%tmm5, %%tmm2\n\ttdpbssd %%tmm4, %%tmm5, %%tmm3\n\t"
                     "dec %0\n\tjnz 1b\n\t"
                     "tilerelease"
                     : "+r"(n)
                     : "m"(config), "r"(factor), "r"((uint64_t)64)
                     : "cc", "memory");
}

#endif

static const struct {
    const char *kind, *isa;
    loop *run;
    double amount; /* operations or bytes of one round */
} LOOPS[] = {
    {"int8", "scalar", int8_scalar, 2.0 * N},
#if defined(__x86_64__)
    {"int8", "avx2", int8_avx2, 2.0 * 4 * 8 * 32},
    {"int8", "avxvnni", int8_avxvnni, 2.0 * 12 * 32},
    {"int8", "avx512", int8_avx512, 2.0 * 12 * 64},
    {"int8", "amx", int8_amx, 2.0 * 4 * 16 * 16 * 64},
    {"f32", "avx2", f32_avx2, 2.0 * 12 * 8},
    {"f32", "avxvnni", f32_avx2, 2.0 * 12 * 8},
    {"f32", "avx512", f32_avx512, 2.0 * 12 * 16},
    {"f32", "amx", f32_avx512, 2.0 * 12 * 16},
    {"read", "avx2", read_avx2, N_READ},
    {"read", "avxvnni", read_avx2, N_READ},
    {"read", "avx512", read_avx512, N_READ},
    {"read", "amx", read_avx512, N_READ},
#endif
};

static double seconds(loop *run, uint64_t n)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    run(n);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
}

int main(int n_args, char **args)
{
    enum { RUNS = 9 };
    for (size_t i = 0; n_args == 3 && i < sizeof LOOPS / sizeof *LOOPS; i++) {
        if (strcmp(LOOPS[i].kind, args[1]) != 0 || strcmp(LOOPS[i].isa, args[2]) != 0) continue;
        uint64_t n = 1;
        while (seconds(LOOPS[i].run, n) < 0.01) n *= 2;
        double best = 1e9;
        for (int run = 0; run < RUNS; run++) {
            double found = seconds(LOOPS[i].run, n);
            if (found < best) best = found;
        }
        printf("%.6e\n", LOOPS[i].amount * (double)n / best);
        return 0;
    }
    fprintf(stderr, "usage: rates_harness int8|f32|read ISA, of a loop that is there\n");
    return 1;
}
