/* The one list of block formats: name, file name, ggml type id, elements and bytes of a block, activation block. */
#ifndef REALIZAR_FORMATS_H
#define REALIZAR_FORMATS_H

/* X(NAME, lower, type_id, elements, bytes, act_block)
 *
 * type_id is the number that GGUF files use (gguf specification, ggml_type). act_block is the block length of the
 * int8 activations that the format is multiplied with; 0: the weights are floats and the activations are f32. */
#define RZ_FORMATS(X)                                                                                                  \
    X(F32, f32, 0, 1, 4, 0)                                                                                            \
    X(F16, f16, 1, 1, 2, 0)                                                                                            \
    X(Q4_0, q4_0, 2, 32, 18, 32)                                                                                       \
    X(Q4_1, q4_1, 3, 32, 20, 32)                                                                                       \
    X(Q5_0, q5_0, 6, 32, 22, 32)                                                                                       \
    X(Q5_1, q5_1, 7, 32, 24, 32)                                                                                       \
    X(Q8_0, q8_0, 8, 32, 34, 32)                                                                                       \
    X(Q2_K, q2_k, 10, 256, 84, 256)                                                                                    \
    X(Q3_K, q3_k, 11, 256, 110, 256)                                                                                   \
    X(Q4_K, q4_k, 12, 256, 144, 256)                                                                                   \
    X(Q5_K, q5_k, 13, 256, 176, 256)                                                                                   \
    X(Q6_K, q6_k, 14, 256, 210, 256)                                                                                   \
    X(BF16, bf16, 30, 1, 2, 0)                                                                                         \
    X(MXFP4, mxfp4, 39, 32, 17, 32)                                                                                    \
    X(IQ4_NL, iq4_nl, 20, 32, 18, 32)                                                                                  \
    X(IQ4_XS, iq4_xs, 23, 256, 136, 256)                                                                               \
    X(IQ3_XXS, iq3_xxs, 18, 256, 98, 256)                                                                              \
    X(IQ3_S, iq3_s, 21, 256, 110, 256)                                                                                 \
    X(IQ2_XXS, iq2_xxs, 16, 256, 66, 256)                                                                              \
    X(IQ2_XS, iq2_xs, 17, 256, 74, 256)                                                                                \
    X(IQ2_S, iq2_s, 22, 256, 82, 256)                                                                                  \
    X(IQ1_S, iq1_s, 19, 256, 50, 256)                                                                                  \
    X(IQ1_M, iq1_m, 29, 256, 56, 256)

/* Index of a format in the kernel table: RZ_Q4_K and so on. */
#define RZ_FORMAT_INDEX(NAME, lower, id, elements, bytes, act) RZ_##NAME,
enum { RZ_FORMATS(RZ_FORMAT_INDEX) RZ_N_FORMATS };
#undef RZ_FORMAT_INDEX

#endif
