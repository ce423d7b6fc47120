"""Numpy definitions of all quantization formats: the reference that the kernels are tested against."""

from realizar.quants.formats import FORMATS, BlockFormat, dequantize, quantize

__all__ = ["FORMATS", "BlockFormat", "dequantize", "quantize"]
