"""Chunks of a text, as llama.cpp's perplexity and imatrix tools cut it, and a text to begin with."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realizar.errors import ParameterError
from realizar.params.checks import check, is_int

if TYPE_CHECKING:
    from collections.abc import Callable

    from realizar.quality.statistics import Estimate
    from realizar.tokenizer import Tokenizer

    Progress = Callable[[int, int, Estimate | None], None]
    """Called after each chunk with the number of chunks that are done, that of all, and the result so far."""

Chunks = npt.NDArray[np.int32]

N_CTX = 512
"""Tokens of a chunk, as in llama.cpp: perplexities of other lengths cannot be compared."""


def first_scored(n_ctx: int) -> int:
    """Return the first row of a chunk whose prediction counts: half of the chunk comes before it.

    Raises
    ------
    ParameterError
        If n_ctx is no integer of at least 4.
    """
    check(is_int(n_ctx) and n_ctx >= 4, "n_ctx", n_ctx, "an integer >= 4")
    return n_ctx // 2


def cut(tokenizer: Tokenizer, text: str, n_ctx: int, n_chunks: int | None = None) -> Chunks:
    """Tokenize a text and cut it into chunks; the tokens after the last whole chunk are left out.

    If the model wants BOS, it replaces the first token of each chunk (tools/perplexity/perplexity.cpp of llama.cpp).

    Parameters
    ----------
    tokenizer : Tokenizer
    text : str
        Names of special tokens in it are text.
    n_ctx : int
        Tokens of a chunk.
    n_chunks : int, optional
        Maximum number of chunks.

    Returns
    -------
    int32 [n_chunks, n_ctx]

    Raises
    ------
    ParameterError
        If n_chunks is out of range, or the text is shorter than a chunk.
    """
    check(n_chunks is None or (is_int(n_chunks) and n_chunks >= 1), "n_chunks", n_chunks, "an integer >= 1 or None")
    before = list(tokenizer.ids_before)
    tokens = [*before, *tokenizer.encode(text, add_special=False)]
    n_whole = len(tokens) // n_ctx
    if not n_whole:
        raise ParameterError(
            f"the text has {len(tokens)} tokens, but a chunk needs {n_ctx}; give a longer text, or a smaller n_ctx"
        )
    n = n_whole if n_chunks is None else min(n_chunks, n_whole)
    found = np.array(tokens[: n * n_ctx], np.int32).reshape(n, n_ctx)
    if before:
        found[:, 0] = before[0]
    return found


def sample_text() -> str:
    """Return the beginning of "Alice's Adventures in Wonderland" (Lewis Carroll, 1865), about 1,500 tokens.

    Most models know it well: it shows whether a model works, and is no measure of how well.
    """
    return resources.files("realizar.quality").joinpath("alice.txt").read_text(encoding="utf-8")
