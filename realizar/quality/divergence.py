"""compare(): how much the predictions of a model differ from those of another one with the same vocabulary."""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.engine.scoring import SCORE_ROWS
from realizar.errors import ParameterError
from realizar.params.checks import check, is_int
from realizar.quality.chunks import N_CTX, cut, first_scored
from realizar.quality.reader import Reader
from realizar.quality.statistics import F32, F64, Estimate, Mean, kl_divergence, log_softmax

if TYPE_CHECKING:
    import os

    from realizar.quality.chunks import Chunks, Progress

PERCENTILES = (0.1, 1.0, 5.0, 10.0, 50.0, 90.0, 95.0, 99.0, 99.9)
"""Percentiles of the divergence that a summary has, as llama-perplexity prints them."""
N_TOP = 3
"""Most probable tokens that a Position lists."""


@dataclass(frozen=True)
class Position:
    """A place in the text where the two models differ.

    Attributes
    ----------
    chunk, index : int
        The chunk, and the number of the predicted token in it.
    divergence : float
        Kullback-Leibler divergence in nats.
    before : str
        The end of the text before it.
    token : str
        The token that follows.
    probabilities : tuple of float
        That token's probability for the reference and for the model.
    reference_top, model_top : list of (str, float)
        The most probable tokens of each, with their probabilities.
    """

    chunk: int
    index: int
    divergence: float
    before: str
    token: str
    probabilities: tuple[float, float]
    reference_top: list[tuple[str, float]]
    model_top: list[tuple[str, float]]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: a model against a reference.

    Attributes
    ----------
    divergence : Estimate
        Mean Kullback-Leibler divergence KL(reference || model) in nats.
    divergences : float64 [n_scored]
        That of each scored token, in the order of the text.
    same_top : Estimate
        Share of the places where both have the same most probable token.
    rms_change : Estimate
        Root mean square of the change of the probability of the token that follows (llama.cpp's Δp).
    mean_change : Estimate
        Mean of that change; negative if the model is less sure of the text than the reference.
    reference_perplexity, model_perplexity : Estimate
    log_ratio : Estimate
        ln(model_perplexity / reference_perplexity), with the error of the mean difference, which is much smaller than
        those of the perplexities.
    worst : list of Position
        The places with the greatest divergence, greatest first.
    n_chunks, n_ctx, n_scored : int
        Chunks, tokens of a chunk, and scored tokens of all chunks.
    """

    divergence: Estimate
    divergences: F64
    same_top: Estimate
    rms_change: Estimate
    mean_change: Estimate
    reference_perplexity: Estimate
    model_perplexity: Estimate
    log_ratio: Estimate
    worst: list[Position]
    n_chunks: int
    n_ctx: int
    n_scored: int

    def percentiles(self) -> dict[float, float]:
        """Return the `PERCENTILES` of the divergences, interpolated linearly; keys are percent."""
        return dict(zip(PERCENTILES, np.percentile(self.divergences, PERCENTILES).tolist(), strict=True))

    def summary(self) -> dict[str, Any]:
        """Return everything but the single tokens, for JSON."""
        estimates = (
            "divergence", "same_top", "rms_change", "mean_change", "reference_perplexity", "model_perplexity",
            "log_ratio",
        )  # fmt: skip
        return {
            **{name: getattr(self, name)._asdict() for name in estimates},
            "percentiles": {f"{percent:g}": value for percent, value in self.percentiles().items()},
            "largest": float(self.divergences.max()),
            "worst": [asdict(position) for position in self.worst],
            "n_chunks": self.n_chunks,
            "n_ctx": self.n_ctx,
            "n_scored": self.n_scored,
        }


def compare(
    reference: str | os.PathLike[str], model: str | os.PathLike[str], text: str, *, n_ctx: int = N_CTX,
    n_chunks: int | None = None, n_worst: int = 10, progress: Progress | None = None, **engine: Any,
) -> Comparison:  # fmt: skip
    """Compare the predictions of a model with those of a reference, such as the file that it was quantized from.

    Chunks and scored tokens are those of `perplexity`. Both models read the text at the same time; in memory are the
    logits of 64 tokens of each.

    Parameters
    ----------
    reference, model : str | os.PathLike
        As for `LLM`.
    text : str
    n_ctx, n_chunks, progress, **engine
        As for `perplexity`; progress gets the mean divergence so far. `engine` holds for both models.
    n_worst : int
        Places to list.

    Raises
    ------
    ParameterError
        As `perplexity`, or if n_worst is invalid or the vocabularies differ.
    RealizarError
        As for `LLM`, if a model cannot be loaded.
    """
    first = first_scored(n_ctx)
    check(is_int(n_worst) and n_worst >= 0, "n_worst", n_worst, "an integer >= 0")
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(name, n_ctx, **engine)) for name in (reference, model)]
        chunks = _same_chunks(readers, text, n_ctx, n_chunks)
        totals = _Totals(readers[0], chunks, n_worst)
        for i, tokens in enumerate(chunks):
            index = first + 1
            pairs = (reader.logits(tokens[:-1], first, SCORE_ROWS) for reader in readers)
            for rows in zip(*pairs, strict=True):
                for reference_row, model_row in zip(*rows, strict=True):
                    totals.add(i, index, reference_row, model_row)
                    index += 1
            totals.end_chunk()
            if progress is not None:
                progress(i + 1, len(chunks), totals.divergence.estimate())
        return totals.result()


def _same_chunks(readers: list[Reader], text: str, n_ctx: int, n_chunks: int | None) -> Chunks:
    """Return the chunks of a text, which both models must read as the same tokens."""
    chunks, other = (cut(reader.model.tokenizer, text, n_ctx, n_chunks) for reader in readers)
    sizes = [reader.model.hp.n_vocab for reader in readers]
    if sizes[0] != sizes[1] or not np.array_equal(chunks, other):
        why = f"{sizes[0]} and {sizes[1]} tokens" if sizes[0] != sizes[1] else "the same text as other tokens"
        names = " and ".join(reader.model.file.path.name for reader in readers)
        raise ParameterError(
            f"{names} have different vocabularies ({why}), so their predictions cannot be compared; give two files of "
            "one model"
        )
    return chunks


class _Totals:
    """What is summed over the text, and the worst places."""

    def __init__(self, reader: Reader, chunks: Chunks, n_worst: int) -> None:
        self._tokenizer = reader.model.tokenizer
        self._chunks = chunks
        self._n_worst = n_worst
        self._rows: list[tuple[float, float, float, bool]] = []
        self._divergences: list[F64] = []
        self._worst: list[tuple[float, int, Position]] = []
        self.divergence = Mean()
        self._nll = (Mean(), Mean())
        self._difference, self._same, self._change, self._squared_change = Mean(), Mean(), Mean(), Mean()

    def add(self, chunk: int, index: int, reference_row: F32, model_row: F32) -> None:
        """Add the predictions of one token, the one with this number in its chunk."""
        p, q = log_softmax(reference_row), log_softmax(model_row)
        token = int(self._chunks[chunk, index])
        divergence = kl_divergence(p, q)
        self._rows.append((divergence, float(p[token]), float(q[token]), int(p.argmax()) == int(q.argmax())))
        if len(self._worst) < self._n_worst or (self._worst and divergence > self._worst[0][0]):
            self._note(chunk, index, divergence, p, q)

    def _note(self, chunk: int, index: int, divergence: float, p: F64, q: F64) -> None:
        """Keep a place among the worst."""
        tokens, text = self._chunks[chunk], self._tokenizer.decode
        token = int(tokens[index])
        place = Position(
            chunk, index, divergence, text(tokens[max(0, index - 16) : index].tolist()), text([token]),
            (float(np.exp(p[token])), float(np.exp(q[token]))), self._top(p), self._top(q),
        )  # fmt: skip
        entry = (divergence, -(chunk * len(tokens) + index), place)
        (heapq.heappush if len(self._worst) < self._n_worst else heapq.heapreplace)(self._worst, entry)

    def _top(self, logprobs: F64) -> list[tuple[str, float]]:
        best = np.argsort(-logprobs, kind="stable")[:N_TOP]
        return [(self._tokenizer.decode([int(i)]), float(np.exp(logprobs[i]))) for i in best]

    def end_chunk(self) -> None:
        """Add the tokens of a chunk to the means."""
        divergence, p, q, same = np.array(self._rows, np.float64).T
        self._rows.clear()
        self._divergences.append(divergence)
        self.divergence.add(divergence)
        self._nll[0].add(-p)
        self._nll[1].add(-q)
        self._difference.add(p - q)
        self._same.add(same)
        change = np.exp(q) - np.exp(p)
        self._change.add(change)
        self._squared_change.add(change * change)

    def result(self) -> Comparison:
        """Return the result for all chunks so far."""
        nll_reference, nll_model = (mean.estimate() for mean in self._nll)
        return Comparison(
            divergence=self.divergence.estimate(),
            divergences=np.concatenate(self._divergences),
            same_top=self._same.estimate(),
            rms_change=self._squared_change.estimate().sqrt(),
            mean_change=self._change.estimate(),
            reference_perplexity=nll_reference.exp(),
            model_perplexity=nll_model.exp(),
            log_ratio=self._difference.estimate(),
            worst=[place for _, _, place in sorted(self._worst, reverse=True)],
            n_chunks=len(self._divergences),
            n_ctx=self._chunks.shape[1],
            n_scored=self.divergence.n,
        )
