/* RZ_TARGET: compiles the code up to RZ_TARGET_END for an instruction set, with gcc and clang. */
#ifndef REALIZAR_TARGET_H
#define REALIZAR_TARGET_H

#define RZ_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define RZ_TARGET(isa) RZ_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define RZ_TARGET_END RZ_PRAGMA(clang attribute pop)
#else
#define RZ_TARGET(isa) RZ_PRAGMA(GCC push_options) RZ_PRAGMA(GCC target(isa))
#define RZ_TARGET_END RZ_PRAGMA(GCC pop_options)
#endif

/* For the templates: loops over a constant number of registers must be unrolled, regardless of optimizer heuristics. */
#define RZ_INLINE static inline __attribute__((always_inline))
#define RZ_NOINLINE static __attribute__((noinline))

#endif
