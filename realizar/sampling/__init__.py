"""How the next token is chosen: samplers that narrow and change the candidates, chained, and a draw among the rest.

A sampler is a small frozen class with `apply(candidates, history)`; the work is done in `_kernels/sampling.pyx`,
`token_filters.pyx`, `distribution.pyx`, `diversity.pyx` and `infill.pyx` next to it. `order.py` says which ones a
request gets.
"""

from realizar.sampling.adaptive import AdaptiveP
from realizar.sampling.beam import Beam, BeamRules, BeamSearch, Ended, Step
from realizar.sampling.chain import SamplerChain
from realizar.sampling.dry import Dry
from realizar.sampling.infill import Infill
from realizar.sampling.logprobs import Sampled
from realizar.sampling.mirostat import Mirostat, MirostatV2
from realizar.sampling.order import BatchFunction, batch_functions
from realizar.sampling.penalties import Penalties
from realizar.sampling.rules import (
    AllowedTokens,
    BadWords,
    Healing,
    LogitBias,
    MinTokens,
    NoRepeatNgram,
    SuppressedTokens,
)
from realizar.sampling.sampler import Learner, Sampler
from realizar.sampling.setting import Setting
from realizar.sampling.stop import StopFilter
from realizar.sampling.temperature import DynamicTemperature, Greedy, Quadratic, Temperature
from realizar.sampling.texts import TokenTexts
from realizar.sampling.truncation import Epsilon, Eta, MinP, TailFree, TopA, TopK, TopNSigma, TopP, TypicalP
from realizar.sampling.xtc import Xtc

__all__ = [
    "AdaptiveP",
    "AllowedTokens",
    "BadWords",
    "BatchFunction",
    "Beam",
    "BeamRules",
    "BeamSearch",
    "Dry",
    "DynamicTemperature",
    "Ended",
    "Epsilon",
    "Eta",
    "Greedy",
    "Healing",
    "Infill",
    "Learner",
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
    "Setting",
    "Step",
    "StopFilter",
    "SuppressedTokens",
    "TailFree",
    "Temperature",
    "TokenTexts",
    "TopA",
    "TopK",
    "TopNSigma",
    "TopP",
    "TypicalP",
    "Xtc",
    "batch_functions",
]
