"""How the next token is chosen: samplers that narrow and change the candidates, chained, and a draw among the rest.

A sampler is a small frozen class with `apply(candidates, history)`; the work is done in `_kernels/sampling.pyx`,
`shape.pyx` and `rules.pyx` beside it. `order.py` says which ones a request gets.
"""

from realizar.sampling.chain import Sampled, SamplerChain
from realizar.sampling.dry import Dry
from realizar.sampling.penalties import Penalties
from realizar.sampling.rules import AllowedTokens, BadWords, LogitBias, MinTokens, NoRepeatNgram
from realizar.sampling.sampler import Sampler
from realizar.sampling.stop import StopFilter
from realizar.sampling.temperature import DynamicTemperature, Greedy, Quadratic, Temperature
from realizar.sampling.texts import TokenTexts
from realizar.sampling.truncation import Epsilon, Eta, MinP, TailFree, TopA, TopK, TopNSigma, TopP, TypicalP

__all__ = [
    "AllowedTokens",
    "BadWords",
    "Dry",
    "DynamicTemperature",
    "Epsilon",
    "Eta",
    "Greedy",
    "LogitBias",
    "MinP",
    "MinTokens",
    "NoRepeatNgram",
    "Penalties",
    "Quadratic",
    "Sampled",
    "Sampler",
    "SamplerChain",
    "StopFilter",
    "TailFree",
    "Temperature",
    "TokenTexts",
    "TopA",
    "TopK",
    "TopNSigma",
    "TopP",
    "TypicalP",
]
