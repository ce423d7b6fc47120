"""How the next token is chosen: samplers that narrow and change the candidates, chained, and a draw among the rest.

A sampler is a small frozen class with `apply(candidates, history)`; the work is done in `_kernels/sampling.pyx`.
"""

from realizar.sampling.chain import Sampled, SamplerChain
from realizar.sampling.penalties import Penalties
from realizar.sampling.sampler import Sampler
from realizar.sampling.stop import StopFilter
from realizar.sampling.temperature import Greedy, Temperature
from realizar.sampling.truncation import MinP, TopK, TopP

__all__ = [
    "Greedy",
    "MinP",
    "Penalties",
    "Sampled",
    "Sampler",
    "SamplerChain",
    "StopFilter",
    "Temperature",
    "TopK",
    "TopP",
]
