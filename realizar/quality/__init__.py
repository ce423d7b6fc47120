"""Measurements of a model on a text: perplexity, divergence from another model, importance matrices (docs/quality.md).

In reading order: `reader` runs a text through a model, `chunks` cuts it as llama.cpp does, `statistics` has means with
errors and the log-softmax; on these stand `likelihood`, `divergence` and `importance`. `sensitivity` measures single
tensors, by which `budget` chooses their types (docs/budget.md).
"""

from realizar.quality.budget import open_to_budget, quantize_to_budget
from realizar.quality.chunks import sample_text
from realizar.quality.divergence import Comparison, Position, compare
from realizar.quality.importance import measure_imatrix
from realizar.quality.likelihood import Perplexity, perplexity
from realizar.quality.reader import Reader
from realizar.quality.sensitivity import measure_sensitivities
from realizar.quality.statistics import Estimate

__all__ = [
    "Comparison",
    "Estimate",
    "Perplexity",
    "Position",
    "Reader",
    "compare",
    "measure_imatrix",
    "measure_sensitivities",
    "open_to_budget",
    "perplexity",
    "quantize_to_budget",
    "sample_text",
]
