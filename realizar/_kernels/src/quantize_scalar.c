/* The quantizers for any CPU. */
#include "realizar/generic/codes.h"
#include "realizar/generic/f32x16.h"

#include "realizar/quantize/quantizers.h"

const struct rz_quantizers rz_quantizers_scalar = {RZ_QUANTIZERS, largest_magnitude};
