"""Infill: for text between two others, which should end as soon as it fits and not run on."""

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
"""Candidates that samplers in front may leave, since each is compared with each: 1000 take some milliseconds."""


@dataclass(frozen=True)
class Infill:
    """Ends the text where an end is likely or nothing else is sure, and keeps only sure tokens where not.

    With n candidates, the ends alone are left if 3 n p(ends) > p(others). If not, the probability of a token whose text
    begins with another one's counts for the likelier of the two, best first; then the tokens of at least 0.2 are left,
    of these (m of them) those of at least 1 / (m + 1) of what is left, and the ends; or the end of a turn, where no
    token has 0.2. The logits of what is left stay as they were.

    As llama.cpp's infill sampler (ggerganov, ggml-org/llama.cpp#9896), which is meant to stand behind top-k and top-p:
    the more candidates, the sooner it ends.

    Parameters
    ----------
    token_bytes : TokenBytes
    end_ids : frozenset of int
        Tokens that end the text.
    until : int
        While the history has fewer tokens, the best candidate is taken where nothing is sure (`min_tokens`).
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
            raise ParameterError("samplers: 'infill' ends a text with the model's own token for it, and it has none")

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        end = -1 if len(history) < self.until or self.token_bytes.eot_id is None else self.token_bytes.eot_id
        text, start = self.token_bytes.packed
        infill.infill(candidates, text, start, self._ends, end)
