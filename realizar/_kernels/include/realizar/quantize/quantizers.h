/* All quantizers of an ISA level, whose f32x16 is included before; `RZ_QUANTIZERS` is the content of its table. */
#ifndef REALIZAR_QUANTIZE_QUANTIZERS_H
#define REALIZAR_QUANTIZE_QUANTIZERS_H

#include "realizar/quantize/blocks32.h"
#include "realizar/quantize/floats.h"
#include "realizar/quantize/iq1.h"
#include "realizar/quantize/iq23.h"
#include "realizar/quantize/iq4.h"
#include "realizar/quantize/k_affine.h"
#include "realizar/quantize/k_symmetric.h"
#include "realizar/quantize/mxfp4.h"
#include "realizar/quantize/nvfp4.h"
#include "realizar/quantize/table.h"
#include "realizar/quantize/ternary.h"

/* clang-format off */
#define RZ_QUANTIZERS {                                                                                                \
    [RZ_F32] = quantize_f32, [RZ_F16] = quantize_f16, [RZ_BF16] = quantize_bf16,                                       \
    [RZ_Q4_0] = quantize_q4_0, [RZ_Q4_1] = quantize_q4_1, [RZ_Q5_0] = quantize_q5_0, [RZ_Q5_1] = quantize_q5_1,        \
    [RZ_Q8_0] = quantize_q8_0, [RZ_Q2_K] = quantize_q2_k, [RZ_Q3_K] = quantize_q3_k, [RZ_Q4_K] = quantize_q4_k,        \
    [RZ_Q5_K] = quantize_q5_k, [RZ_Q6_K] = quantize_q6_k, [RZ_MXFP4] = quantize_mxfp4,                                 \
    [RZ_IQ4_NL] = quantize_iq4_nl, [RZ_IQ4_XS] = quantize_iq4_xs, [RZ_IQ3_XXS] = quantize_iq3_xxs,                     \
    [RZ_IQ3_S] = quantize_iq3_s, [RZ_IQ2_XXS] = quantize_iq2_xxs, [RZ_IQ2_XS] = quantize_iq2_xs,                       \
    [RZ_IQ2_S] = quantize_iq2_s, [RZ_IQ1_S] = quantize_iq1_s, [RZ_IQ1_M] = quantize_iq1_m, [RZ_Q1_0] = quantize_q1_0, [RZ_Q2_0] = quantize_q2_0,                                 \
    [RZ_TQ1_0] = quantize_tq1_0, [RZ_TQ2_0] = quantize_tq2_0, [RZ_NVFP4] = quantize_nvfp4,                             \
}
/* clang-format on */

#endif
