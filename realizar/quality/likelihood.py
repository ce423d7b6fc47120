"""perplexity(): how well a model predicts a text, as llama-perplexity computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.engine.scoring import SCORE_ROWS
from realizar.quality.chunks import N_CTX, cut, first_scored
from realizar.quality.reader import Reader
from realizar.quality.statistics import Estimate, Mean, target_logprobs

if TYPE_CHECKING:
    import os

    from realizar.quality.chunks import Progress


@dataclass(frozen=True)
class Perplexity:
    """The result of `perplexity`.

    Attributes
    ----------
    perplexity : Estimate
        e to the power of `nll`.
    nll : Estimate
        Mean negative natural log-probability of the scored tokens.
    n_chunks, n_ctx, n_scored : int
        Chunks, tokens of a chunk, and scored tokens of all chunks.
    activations : str
        The type to which activations were rounded.
    logprobs : float64 [n_chunks, n_ctx - n_ctx // 2 - 1]
        The log-probability of each scored token.
    """

    perplexity: Estimate
    nll: Estimate
    n_chunks: int
    n_ctx: int
    n_scored: int
    activations: str
    logprobs: npt.NDArray[np.float64]

    def summary(self) -> dict[str, Any]:
        """Return everything but the single tokens, for JSON."""
        return {
            "perplexity": self.perplexity._asdict(),
            "nll": self.nll._asdict(),
            "n_chunks": self.n_chunks,
            "n_ctx": self.n_ctx,
            "n_scored": self.n_scored,
            "activations": self.activations,
        }


def perplexity(
    model: str | os.PathLike[str], text: str, *, n_ctx: int = N_CTX, n_chunks: int | None = None,
    progress: Progress | None = None, **engine: Any,
) -> Perplexity:  # fmt: skip
    """Compute the perplexity of a text, with llama.cpp's definition, so that the numbers are comparable.

    The text is cut into chunks of n_ctx tokens, each of which is read alone. Scored are the tokens n_ctx // 2 + 1 to
    n_ctx - 1 of each chunk, so that all have at least n_ctx // 2 tokens before them
    (tools/perplexity/perplexity.cpp of llama.cpp).

    Parameters
    ----------
    model : str | os.PathLike
        As for `LLM`.
    text : str
    n_ctx : int
        Tokens of a chunk, at least 4. Perplexities of different n_ctx cannot be compared.
    n_chunks : int, optional
        Maximum number of chunks; by default all of the text.
    progress : callable, optional
        Called after each chunk with (chunks done, all chunks, perplexity so far as an Estimate).
    **engine
        n_threads, kv_type, activations, backend: as for `LLM`.

    Raises
    ------
    ParameterError
        If a number is invalid, the text is shorter than a chunk, or the model is an encoder.
    RealizarError
        As for `LLM`, if the model cannot be loaded.
    """
    first, mean = first_scored(n_ctx), Mean()
    with Reader(model, n_ctx, **engine) as reader:
        chunks = cut(reader.model.tokenizer, text, n_ctx, n_chunks)
        logprobs = np.empty((len(chunks), n_ctx - 1 - first))
        for i, tokens in enumerate(chunks):
            at = 0
            for rows in reader.logits(tokens[:-1], first, SCORE_ROWS):
                targets = tokens[first + 1 + at :][: len(rows)]
                logprobs[i, at : at + len(rows)] = target_logprobs(rows, targets)
                at += len(rows)
            mean.add(-logprobs[i])
            if progress is not None:
                progress(i + 1, len(chunks), mean.estimate().exp())
        nll = mean.estimate()
        return Perplexity(nll.exp(), nll, len(chunks), n_ctx, mean.n, reader.runner.activations, logprobs)
