"""EngineParams: what an engine can be built with, checked when made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from realizar.params.checks import check, is_int

KVType: TypeAlias = Literal["f16", "f32", "int8"]
"""A type of cached keys or values; docs/kernels.md says what int8 keeps of them."""


Activations: TypeAlias = Literal["int8", "int16", "f32"]
"""What the inputs of products with quantized weights are rounded to; docs/kernels.md says how."""


def kv_types(kv_type: object) -> tuple[str, str]:
    """The types of K and of V that a `kv_type` names: one for both, or a pair.

    Raises
    ------
    ParameterError
        If it names none.
    """
    pair = kv_type if isinstance(kv_type, tuple) else (kv_type, kv_type)
    names = get_args(KVType)
    known = len(pair) == 2 and all(isinstance(name, str) and name in names for name in pair)
    check(known, "kv_type", kv_type, "'f16', 'f32' or 'int8', or a pair of them: that of K and that of V")
    return pair[0], pair[1]


@dataclass(frozen=True)
class EngineParams:
    """What an engine is built with.

    Attributes
    ----------
    n_threads : int | None
        Worker threads; None takes min(affinity mask, physical cores, cgroup quota). At most 16, or 4 for each CPU,
        are started; who asks for more gets a warning.
    n_ctx : int | None
        Tokens that the cache holds for one sequence at most; None takes the model's own, at most 4096.
    n_seqs : int
        Sequences that may be in the cache at their full length at once.
    n_batch : int
        Tokens computed in one step at most.
    kv_type : {"f16", "f32", "int8"} or a pair of them
        Type of the cached keys and values; a pair names that of K and that of V.
    activations : {"int8", "int16", "f32"} | None
        What the inputs of products with quantized weights are rounded to; None takes `Model.default_activations`.
    load : {"mmap", "read"}
        Map the weights, or read them into memory (safe when the file may change while it is used).
    speculate : {"ngram"} | None
        Guess what comes next from what was said before, and verify several guesses in one step.
    draft : str | PathLike | None
        Name or path of a smaller model with the same vocabulary that guesses instead.
    n_draft : int
        Guesses about one text in one step at most.
    max_waiting : int | None
        Requests that may wait for their turn; further ones are refused with a BusyError. None sets no limit.

    Raises
    ------
    ParameterError
        If a value makes no sense.
    """

    n_threads: int | None = None
    n_ctx: int | None = None
    n_seqs: int = 4
    n_batch: int = 512
    kv_type: KVType | tuple[KVType, KVType] = "f16"
    activations: Activations | None = None
    load: Literal["mmap", "read"] = "mmap"
    speculate: Literal["ngram"] | None = None
    draft: str | os.PathLike[str] | None = None
    n_draft: int = 31
    max_waiting: int | None = None

    def __post_init__(self) -> None:
        n = self.n_threads
        check(n is None or (is_int(n) and 1 <= n <= 1024), "n_threads", n, "an integer in [1, 1024] or None")
        n = self.n_ctx  # float32 angles tell positions apart up to 2^24
        check(n is None or (is_int(n) and 1 <= n <= 2**24), "n_ctx", n, "an integer in [1, 2^24] or None")
        check(is_int(self.n_seqs) and 1 <= self.n_seqs <= 4096, "n_seqs", self.n_seqs, "an integer in [1, 4096]")
        n = self.n_batch
        check(is_int(n) and 1 <= n <= 65536, "n_batch", n, "an integer in [1, 65536]")
        kv_types(self.kv_type)
        how = self.speculate
        check(how is None or (isinstance(how, str) and how == "ngram"), "speculate", how, "'ngram' or None")
        draft = self.draft
        check(draft is None or isinstance(draft, (str, os.PathLike)), "draft", draft, "a model's name or path, or None")
        check(draft is None or self.speculate is None, "draft", draft, f"None where speculate={self.speculate!r}")
        check(is_int(self.n_draft) and 1 <= self.n_draft <= 255, "n_draft", self.n_draft, "an integer in [1, 255]")
        n = self.max_waiting
        check(n is None or (is_int(n) and n >= 1), "max_waiting", n, "an integer >= 1 or None")
        rounded = self.activations
        known = rounded is None or (isinstance(rounded, str) and rounded in get_args(Activations))
        check(known, "activations", rounded, "'int8', 'int16', 'f32' or None")
        check(isinstance(self.load, str) and self.load in ("mmap", "read"), "load", self.load, "'mmap' or 'read'")
