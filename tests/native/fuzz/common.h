/* Shared by the kernel fuzzers: seeded numbers, memory next to guard pages, comparison bit by bit. */
#ifndef REALIZAR_FUZZ_COMMON_H
#define REALIZAR_FUZZ_COMMON_H

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "realizar/isa_levels.h"

/* ---- the current call, for the message of a failure ------------------------------------------------------------ */

static char trying[512];
static long round_seed;

#define TRY(...) snprintf(trying, sizeof trying, __VA_ARGS__)

static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "seed %ld, %s: ", round_seed, trying);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static uint64_t random_state;

/* S. Vigna, An experimental exploration of Marsaglia's xorshift generators, scrambled, 2016: xorshift64*. */
static uint64_t random_bits(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717u;
}

/* first <= result <= last */
static int between(int first, int last) { return first + (int)((random_bits() >> 32) % (uint64_t)(last - first + 1)); }

static int one_in(int n) { return between(1, n) == 1; }

static void random_bytes(void *to, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t bits = random_bits();
        memcpy((char *)to + i, &bits, n - i < 8 ? n - i : 8);
    }
}

/* About normal, within [-3.5, 3.5]. */
static float tame_float(void)
{
    uint64_t bits = random_bits();
    float sum = 0;
    for (int i = 0; i < 4; i++, bits >>= 16) sum += (float)(bits & 0xffff) * 0x1p-16f;
    return (sum - 2) * 1.75f;
}

/* Any bits, or one of those that break careless kernels. */
static float wild_float(void)
{
    static const float odd[] = {INFINITY, -INFINITY, NAN,      0.0f,  -0.0f,  1e-45f,
                                -1e-40f,  3.4e38f,   -3.4e38f, 88.8f, -104.0f};
    if (one_in(2)) return odd[between(0, (int)(sizeof odd / sizeof *odd) - 1)];
    uint32_t bits = (uint32_t)random_bits();
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* wild: percentage of wild numbers. */
static void random_floats(float *to, size_t n, int wild)
{
    for (size_t i = 0; i < n; i++) to[i] = between(1, 100) <= wild ? wild_float() : tame_float();
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

enum { SPAN = 8 << 20, MARGIN = 256, CANARY = 0xc5 };

/* Bytes between two pages that may not be touched. */
struct room {
    char *span, *at;
    size_t size;
};

static struct room new_room(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *mapped = mmap(NULL, SPAN + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED || mprotect(mapped, page, PROT_NONE) || mprotect(mapped + page + SPAN, page, PROT_NONE)) {
        perror("guard pages");
        exit(1);
    }
    return (struct room){.span = mapped + page};
}

/* The margins of a placed array, which nobody may write to. */
static size_t margin_before(const struct room *r)
{
    return r->at - r->span < MARGIN ? (size_t)(r->at - r->span) : MARGIN;
}

static size_t margin_behind(const struct room *r)
{
    size_t left = (size_t)(r->span + SPAN - r->at) - r->size;
    return left < MARGIN ? left : MARGIN;
}

/* Room for size bytes at a multiple of align: usually right before a guard page, else right after one. */
static void *place(struct room *r, size_t size, size_t align)
{
    if (size > SPAN) fail("needs %zu bytes, a room has %d", size, SPAN);
    r->size = size;
    r->at = one_in(4) ? r->span : r->span + (SPAN - size) / align * align;
    memset(r->at - margin_before(r), CANARY, margin_before(r));
    memset(r->at + size, CANARY, margin_behind(r));
    return r->at;
}

/* The same for an array that a kernel writes; bytes that are not written stay CANARY. */
static void *place_output(struct room *r, size_t size, size_t align)
{
    return memset(place(r, size, align), CANARY, size);
}

static void check_margins(const struct room *r, const char *what)
{
    for (size_t i = 1; i <= margin_before(r); i++)
        if ((unsigned char)r->at[-(ptrdiff_t)i] != CANARY) fail("%s: written %zu bytes before its start", what, i);
    for (size_t i = 0; i < margin_behind(r); i++)
        if ((unsigned char)r->at[r->size + i] != CANARY) fail("%s: written %zu bytes after its end", what, i);
}

/* ---- comparison -------------------------------------------------------------------------------------------------- */

static void check_bytes(const void *got, const void *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (((const uint8_t *)got)[i] != ((const uint8_t *)want)[i])
            fail("%s: byte %zu is %d, not %d", what, i, ((const uint8_t *)got)[i], ((const uint8_t *)want)[i]);
}

/* Bit for bit, where any NaN equals any NaN. */
static void check_floats(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof(float)) && !(isnan(got[i]) && isnan(want[i])))
            fail("%s: element %zu is %a, not %a", what, i, (double)got[i], (double)want[i]);
}

static void check_near(double got, double exact, double bound, const char *what, size_t i)
{
    if (!(fabs(got - exact) <= bound))
        fail("%s: element %zu is %.9g, in float64 %.9g (bound %.3g)", what, i, got, exact, bound);
}

/* The ULP of 1, twice the rounding error. */
#define ULP 0x1p-23

/* The ISA levels of this CPU; the first is scalar, the reference for the others. */
static const struct rz_kernels *levels;
static size_t n_levels;

#endif
