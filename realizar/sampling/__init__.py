"""Sampling: a chain of samplers that remove candidates or change their logits, then a random draw.

A sampler is a small frozen class with `apply(candidates, history)`. The computation is in `_kernels/sampling.pyx`,
`token_filters.pyx`, `distribution.pyx`, `diversity.pyx` and `infill.pyx`. `order.py` makes the samplers of a request.
"""

from typing import Any

from realizar.sampling.adaptive import AdaptiveP
from realizar.sampling.beam import Beam, BeamParams, BeamSearch, BeamStep, FinishedBeam
from realizar.sampling.chain import SamplerChain
from realizar.sampling.context import SamplerContext
from realizar.sampling.deprecated import RENAMED, warn
from realizar.sampling.dry import Dry
from realizar.sampling.infill import Infill
from realizar.sampling.logprobs import Sampled
from realizar.sampling.mirostat import Mirostat, MirostatV2
from realizar.sampling.order import BatchLogitsProcessor, batch_logits_processors
from realizar.sampling.penalties import Penalties
from realizar.sampling.sampler import Sampler, StatefulSampler
from realizar.sampling.stop import StopFilter
from realizar.sampling.temperature import DynamicTemperature, Greedy, Quadratic, Temperature
from realizar.sampling.token_bytes import TokenBytes
from realizar.sampling.token_filters import (
    AllowedTokens,
    BadWords,
    LogitBias,
    MinTokens,
    NoRepeatNgram,
    SuppressedTokens,
    TokenHealing,
)
from realizar.sampling.truncation import Epsilon, Eta, MinP, TailFree, TopA, TopK, TopNSigma, TopP, TypicalP
from realizar.sampling.xtc import Xtc

__all__ = [
    "AdaptiveP",
    "AllowedTokens",
    "BadWords",
    "BatchLogitsProcessor",
    "Beam",
    "BeamParams",
    "BeamSearch",
    "BeamStep",
    "Dry",
    "DynamicTemperature",
    "Epsilon",
    "Eta",
    "FinishedBeam",
    "Greedy",
    "Infill",
    "LogitBias",
    "MinP",
    "MinTokens",
    "Mirostat",
    "MirostatV2",
    "NoRepeatNgram",
    "Penalties",
    "Quadratic",
    "Sampled",
    "Sampler",
    "SamplerChain",
    "SamplerContext",
    "StatefulSampler",
    "StopFilter",
    "SuppressedTokens",
    "TailFree",
    "Temperature",
    "TokenBytes",
    "TokenHealing",
    "TopA",
    "TopK",
    "TopNSigma",
    "TopP",
    "TypicalP",
    "Xtc",
    "batch_logits_processors",
]


def __getattr__(name: str) -> Any:
    if name not in RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn(name, RENAMED[name])
    return globals()[RENAMED[name]]
