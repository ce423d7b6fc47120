/* The scalar tier: what every kernel means. Faster tiers give the same bits. */
#include "realizar/tiers.h"

const struct rz_kernels rz_scalar = {
    .name = "scalar",
};
