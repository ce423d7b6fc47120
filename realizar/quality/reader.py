"""Reader: runs tokens through a model and yields its logits, or any values of its graph, some rows at a time."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar import store
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.kv_cache import KVCache
from realizar.engine.cache.sequence import Sequence
from realizar.engine.runner import Runner
from realizar.errors import ParameterError, RealizarError, memory_for, short_repr
from realizar.model import load
from realizar.params import Activations, EngineParams, KVType
from realizar.planning.offload import choose, compiled

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from collections.abc import Sequence as Seq
    from types import TracebackType

    import numpy.typing as npt

    from realizar.runtime.backend import Backend
    from realizar.runtime.weights import Tensor

    Tokens = npt.NDArray[np.int32]


NOT_FINITE_HINT = "the file may be damaged, or an f16 value overflowed (try kv_type='f32')"
"""What an error proposes where a value is not finite."""


class Reader:
    """A decoder that only reads, one text after the other: it has no scheduler, no sampler and no prefix cache.

    Parameters
    ----------
    model : str | os.PathLike
        As for `LLM`: a name, a path, or hf:owner/repo:Q4_K_M.
    n_ctx : int
        Maximum tokens of a text.
    n_threads, kv_type, activations, backend, device, n_gpu_layers
        As for `LLM`.
    n_batch : int
        Maximum tokens of a step: there is memory for their values.

    Attributes
    ----------
    model : Model
    runner : Runner

    Raises
    ------
    ParameterError
        If a value is invalid, or the model is an encoder or has one.
    RealizarError
        As for `LLM`, if the model cannot be loaded.
    """

    def __init__(
        self, model: str | os.PathLike[str], n_ctx: int, *, n_threads: int | None = None,
        kv_type: KVType | tuple[KVType, KVType] = "f16", activations: Activations | None = None,
        backend: str = "cpu", n_batch: int = 512, device: str = "cpu", n_gpu_layers: int | None = None,
    ) -> None:  # fmt: skip
        params = EngineParams(
            n_threads, n_ctx, n_seqs=1, n_batch=min(n_ctx, n_batch), kv_type=kv_type, activations=activations,
            backend=backend, device=device, n_gpu_layers=n_gpu_layers,
        )  # fmt: skip
        with ExitStack() as if_it_fails, memory_for(f"loading {short_repr(model)}", lambda: f"n_ctx={n_ctx}"):
            self.model = load(store.resolve(model))
            if_it_fails.callback(self.model.close)
            if self.model.main != "decode" or self.model.has_encoder:
                raise ParameterError(
                    f"{self.model.file.path.name}: {self.model.architecture.name} is or has an encoder; only decoders "
                    "predict each token of a text from those before it"
                )
            plan = self.model.plan()

            def make(backend: Backend) -> tuple[KVCache, Runner]:
                cache = KVCache(plan.cache_groups, plan.states, params, backend)
                return cache, Runner(self.model, cache, params, backend)

            _, self._backend, made = compiled(choose(self.model, params), params, make)
            self._cache, self.runner = made
            if_it_fails.pop_all()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def logits(self, tokens: Tokens, first: int, n_rows: int) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the logits after each token from number `first` on: float32 [m, n_vocab], m at most `n_rows`.

        Each array is read-only, and valid until the next one. RealizarError if one has NaN or +inf.
        """
        for values in self.values(tokens, None, n_rows, first):
            rows: npt.NDArray[np.float32] = values["logits"].values
            if not np.isfinite(rows.max()):  # NaN if there is one
                raise RealizarError(f"{self.model.file.path.name}: a logit is infinite or NaN; {NOT_FINITE_HINT}")
            yield rows

    def values(
        self, tokens: Tokens, names: Seq[str] | None, n_rows: int, first: int = 0,
        overrides: Mapping[str, npt.NDArray[np.float32]] | None = None,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Yield the values of these names, by default the program's outputs, at the tokens from number `first` on.

        Parameters
        ----------
        tokens : int32 [n]
        names : sequence of str, optional
            Names of values of the graph (`realizar plan --graph` lists them).
        n_rows : int
            Maximum tokens of a step.
        first : int
            Tokens before the first whose values are wanted.
        overrides : dict of str to float32 [n, ...], optional
            Values that are not computed, one row for each token.

        Yields
        ------
        dict of str to float32 [m, *shape]
            Read-only, and valid until the next one; "logits" is a LogitRows.
        """
        with self._sequence(tokens) as seq:
            while seq.n_left:
                before = max(0, first - seq.n_computed)
                n = seq.cut(min(before, self._cache.n_batch) or min(seq.n_left, n_rows, self._cache.n_batch))
                chunk = Chunk(seq, n, 0 if before else n)
                chunk.reserve()
                given = {name: rows[seq.n_computed :][:n] for name, rows in (overrides or {}).items()}
                found = self.runner.run(self.runner.batch([chunk]), names, overrides=given or None)
                chunk.commit()
                if not before:
                    yield found

    @contextmanager
    def replaced(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Let the model compute with these tensors instead of its own of the same names."""
        own = {name: self.model.tensors[name] for name in tensors}
        self._use(tensors)
        try:
            yield
        finally:
            self._use(own)

    def _use(self, tensors: Mapping[str, Tensor]) -> None:
        self.runner.forget_programs()
        self.model.tensors.update(tensors)

    @contextmanager
    def _sequence(self, tokens: Tokens) -> Iterator[Sequence]:
        seq = Sequence(self._cache, tokens.tolist())
        try:
            yield seq
        finally:
            seq.free()

    def close(self) -> None:
        """End the threads and close the file."""
        self._backend.close()
        self.model.close()
