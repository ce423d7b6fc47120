"""Infill: a sampler for fill-in-the-middle, which ends the completion once it fits before the suffix."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realizar._kernels import infill
from realizar._kernels.sampling import Candidates
from realizar.errors import ParameterError
from realizar.sampling.sampler import History
from realizar.sampling.token_bytes import TokenBytes

MAX_CANDIDATES = 1000
"""Greatest number of candidates: each is compared with each, which takes some milliseconds for 1000."""


@dataclass(frozen=True)
class Infill:
    """Keeps only end tokens if an end is likely or no other token is; otherwise keeps only likely tokens.

    1. With n candidates: if 3 n p(end tokens) > p(other tokens), only end tokens are kept.
    2. Otherwise tokens of which one begins with the text of the other are merged, most probable first: the more
       probable one gets the probability of both.
    3. If no token then has at least 0.2, only the end-of-turn token is kept. Otherwise the tokens with at least 0.2 are
       kept, and of these m tokens those with at least 1 / (m + 1) of their total probability, and the end tokens.

    The logits of kept candidates do not change. This is llama.cpp's infill sampler (ggml-org/llama.cpp#9896), made to
    follow top-k and top-p: the more candidates, the earlier it ends the completion.

    Parameters
    ----------
    token_bytes : TokenBytes
    end_ids : frozenset of int
        Tokens that end the completion.
    until : int
        While the history has fewer tokens, step 3 keeps the best candidate instead of the end-of-turn token
        (`min_tokens`).
    """

    token_bytes: TokenBytes
    end_ids: frozenset[int]
    until: int = 0
    _ends: NDArray[np.uint8] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ends = np.zeros(self.token_bytes.n_vocab, np.uint8)
        ends[sorted(self.end_ids)] = 1
        object.__setattr__(self, "_ends", ends)
        if self.token_bytes.eot_id is None:
            raise ParameterError("samplers: 'infill' needs an end-of-turn token, and the model has none")

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        end = -1 if len(history) < self.until or self.token_bytes.eot_id is None else self.token_bytes.eot_id
        text, start = self.token_bytes.packed
        infill.infill(candidates, text, start, self._ends, end)
