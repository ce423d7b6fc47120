"""What every block format is, in numpy: the oracle that the kernels are tested against."""

from realizar.quants.formats import FORMATS, BlockFormat, dequantize, quantize

__all__ = ["FORMATS", "BlockFormat", "dequantize", "quantize"]
