"""Quantization of whole models: a GGUF file or a Hugging Face folder to a GGUF file of smaller types.

recipes.py says which type each kind of weight gets, tensor_types.py applies that to the tensors of a model,
sources.py reads models, column_importances.py importance matrices; quantize_file.py does the work with the kernels of
realizar/_kernels/src/quantize.c.
"""

from realizar.quantize.quantize_file import Quantization, Quantizer, open_to_quantize, quantize_file
from realizar.quantize.recipes import RECIPES
from realizar.quantize.tensor_types import TensorPlan

__all__ = ["RECIPES", "Quantization", "Quantizer", "TensorPlan", "open_to_quantize", "quantize_file"]
