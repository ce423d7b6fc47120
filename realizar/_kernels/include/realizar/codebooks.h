/* The codebooks of the IQ formats (src/codebooks_*.c): codewords of eight or four bytes, the first element lowest. */
#ifndef REALIZAR_CODEBOOKS_H
#define REALIZAR_CODEBOOKS_H

#include <stdint.h>

/* Magnitudes; the signs are stored in the blocks. */
extern const uint64_t rz_iq2_xxs_grid[256], rz_iq2_xs_grid[512], rz_iq2_s_grid[1024];
extern const uint32_t rz_iq3_xxs_grid[256], rz_iq3_s_grid[512];
/* IQ1_S and IQ1_M: -1, 0 and 1 as bytes 8 * v + 16. */
extern const uint64_t rz_iq1_s_grid[2048];

/* The sixteen values of IQ4_NL and IQ4_XS (kvalues_iq4nl in ggml-common.h of ggml). */
#define RZ_IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113

#endif
