"""Requests that save the cache of a prompt and restore it, and the files between them."""

from __future__ import annotations

import os
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realizar.engine.cache import file
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.saved import SavedCache, layout
from realizar.engine.cache.sequence import Sequence
from realizar.engine.request import Request
from realizar.errors import ParameterError
from realizar.graph.rope import factors_for
from realizar.params import kv_types
from realizar.params.checks import check
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    from realizar.engine.cache.kv_cache import KVCache
    from realizar.engine.engine import Engine
    from realizar.engine.preemption import PreemptionCost


class SaveRequest(Request):
    """Computes the whole blocks of a prompt, but for those in the prefix cache, and copies them.

    Parameters
    ----------
    seq : Sequence
        The prompt.

    Attributes
    ----------
    saved : SavedCache | None
        The copy, when finished.

    Raises
    ------
    ParameterError
        If there is no whole block, or the model has an encoder.
    """

    def __init__(self, seq: Sequence) -> None:
        if any(seq.cache.cross):
            raise ParameterError("save_cache: all keys of this model depend on an encoder's input; none are reused")
        n = seq.whole_blocks(seq.n_tokens)
        if not n:
            raise ParameterError(f"save_cache: {seq.n_tokens} tokens; whole blocks of {BLOCK} are saved, give more")
        super().__init__(seq.beginning(n), n)
        self.saved: SavedCache | None = None

    @property
    def finished(self) -> bool:
        """Whether it is copied."""
        return self.saved is not None

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, after a prefix-cache match, without outputs."""
        if not self.seq.n_computed:
            self.seq.match_prefix()
        n = self.seq.cut(min(self.seq.n_left, budget))
        return [Chunk(self.seq, n, 0)] if n else []

    def settle(self) -> None:
        """Copy the blocks when all are computed."""
        if not self.seq.n_left:
            self.saved = SavedCache.take(self.seq)

    def take(self, chunks: Seq[Chunk], rows: Any) -> None:
        """Its chunks have no outputs."""


class RestoreRequest(Request):
    """Puts saved blocks into the prefix cache, when there is room.

    Parameters
    ----------
    cache : KVCache
    saved : SavedCache
    """

    def __init__(self, cache: KVCache, saved: SavedCache) -> None:
        super().__init__(Sequence(cache, [0] * saved.n_tokens), saved.n_tokens)
        self._saved = saved
        self._is_done = False

    @property
    def finished(self) -> bool:
        """Whether the blocks are in the prefix cache."""
        return self._is_done

    def resume(self, cost: PreemptionCost) -> None:
        """Put the blocks into the prefix cache; nothing is computed."""
        try:
            self._saved.put(self.seq.cache)
            self._is_done = True
        except BaseException as error:
            self.fail(error, "restoring a cache")

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return nothing."""
        return []

    def take(self, chunks: Seq[Chunk], rows: Any) -> None:
        """It has no chunks."""


def write_cache(path: str | os.PathLike[str], engine: Engine, request: SaveRequest) -> list[int]:
    """Write a finished request to a file; return its tokens. Raises as `file.write`."""
    if request.saved is None:
        raise ParameterError("save_cache: the request is not finished")
    file.write(_path(path), request.saved, identity(engine))
    return request.saved.token_ids


def read_cache(path: str | os.PathLike[str], engine: Engine) -> SavedCache:
    """Read a file that was written for the same model with the same parameters. Raises as `file.read`."""
    return file.read(_path(path), identity(engine), partial(layout, engine.cache))


def _path(path: str | os.PathLike[str]) -> Path:
    is_path = isinstance(path, (str, os.PathLike)) and "\0" not in str(path)
    check(is_path, "path", path, "text or a PathLike, without null characters")
    return Path(path)


def identity(engine: Engine) -> dict[str, str]:
    """Return what the bits of a cache depend on besides its tokens.

    The ISA level, the number of threads, n_seqs and n_batch are not among them. The tables of rope factors are: a model
    may have two, and n_ctx determines which is used.
    """
    model, plan = engine.model, engine.model.plan()
    own, ropes = "own" if "draft" in model.graphs else "none", set()
    for op in plan.ops:
        attrs = op.spec.rotation(op.attrs)
        if attrs is not None:
            ropes.add(factors_for(attrs.get("factors", op.weights), attrs["scaling"], engine.n_ctx) or "none")
    return {
        "realizar": version("realizar"),
        "model": model.file.sha256,
        "program": model.main,
        "draft": ",".join(draft.file.sha256 for draft in model.drafts) or own,
        "backend": getattr(engine.runner.backend, "layout", type(engine.runner.backend).__name__),
        "kv_type": "/".join(kv_types(engine.cache.kv_type)),
        "activations": engine.runner.activations,
        "rope_factors": ",".join(sorted(ropes)),
        "block": str(BLOCK),
    }
