"""How the next token is chosen: samplers that narrow and change the candidates, chained, and a draw among the rest.

A sampler is a small frozen class with `apply(candidates, history)`; the work is done in `_kernels/sampling.pyx` and
`_kernels/shape.pyx`. `order.py` says which ones a request gets.
"""

from realizar.sampling.chain import Sampled, SamplerChain
from realizar.sampling.penalties import Penalties
from realizar.sampling.sampler import Sampler
from realizar.sampling.stop import StopFilter
from realizar.sampling.temperature import DynamicTemperature, Greedy, Quadratic, Temperature
from realizar.sampling.truncation import Epsilon, Eta, MinP, TailFree, TopA, TopK, TopNSigma, TopP, TypicalP

__all__ = [
    "DynamicTemperature",
    "Epsilon",
    "Eta",
    "Greedy",
    "MinP",
    "Penalties",
    "Quadratic",
    "Sampled",
    "Sampler",
    "SamplerChain",
    "StopFilter",
    "TailFree",
    "Temperature",
    "TopA",
    "TopK",
    "TopNSigma",
    "TopP",
    "TypicalP",
]
