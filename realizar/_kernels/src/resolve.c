/* Resolves the kernel tables that this CPU can run: empty slots are filled from the level below. */
#include <stdatomic.h>
#include <string.h>

#include "realizar/cpu.h"
#include "realizar/isa_levels.h"

typedef void slot(void);

/* Everything after the name is a function pointer, so a table can be walked as an array of slots. */
enum { FIRST_SLOT = offsetof(struct rz_kernels, format) };
_Static_assert((sizeof(struct rz_kernels) - FIRST_SLOT) % sizeof(slot *) == 0, "a slot is not a function pointer");

static struct rz_kernels resolved[RZ_MAX_ISA_LEVELS];
static size_t n_resolved;
static _Atomic(const struct rz_kernels *) current;

/* Takes each slot from `above`, or from `below` if it is empty there. */
static struct rz_kernels overlay(const struct rz_kernels *below, const struct rz_kernels *above)
{
    struct rz_kernels table = *below;
    table.name = above->name;
    for (size_t at = FIRST_SLOT; at < sizeof table; at += sizeof(slot *)) {
        slot *own;
        memcpy(&own, (const char *)above + at, sizeof own);
        if (own) memcpy((char *)&table + at, &own, sizeof own);
    }
    return table;
}

void rz_resolve(void)
{
    const struct rz_kernels *faster[RZ_MAX_ISA_LEVELS];
    size_t n_faster = 0;
#if defined(__x86_64__)
    if (rz_cpu_runs_avx2()) faster[n_faster++] = &rz_avx2;
#if __has_include(<avxvnniintrin.h>)
    if (rz_cpu_runs_avxvnni()) faster[n_faster++] = &rz_avxvnni;
#endif
    if (rz_cpu_runs_avx512()) faster[n_faster++] = &rz_avx512;
#if __has_include(<amxint8intrin.h>)
    if (rz_cpu_runs_amx()) faster[n_faster++] = &rz_amx;
#endif
#endif
    resolved[0] = rz_scalar;
    for (size_t i = 0; i < n_faster; i++) resolved[i + 1] = overlay(&resolved[i], faster[i]);
    n_resolved = 1 + n_faster;
    atomic_store(&current, &resolved[n_faster]);
}

size_t rz_tables(const struct rz_kernels **out)
{
    *out = resolved;
    return n_resolved;
}

const struct rz_kernels *rz_current(void) { return atomic_load(&current); }

void rz_use(const struct rz_kernels *table) { atomic_store(&current, table); }
