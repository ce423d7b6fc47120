"""EngineParams: the parameters of an engine, validated when created."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from realizar.params.checks import check, is_int

KVType: TypeAlias = Literal["f16", "f32", "int8", "q4"]
"""A type of the KV cache: docs/kernels.md defines them, docs/performance.md says which to take."""

Activations: TypeAlias = Literal["int8", "int16", "f32"]
"""The type to which activations are rounded in products with quantized weights; see docs/kernels.md."""

Speculation: TypeAlias = Literal["ngram", "mtp"]
"""A kind of speculative decoding without a second model; see docs/speculation.md."""

BackendName: TypeAlias = Literal["cpu", "numpy", "wgpu"]
"""Name of a backend; see docs/backends.md."""


def _begins_url(text: object) -> bool:
    """Whether an http or https URL may begin with this; anything else would silently allow nothing."""
    return isinstance(text, str) and text.startswith(("http://", "https://"))


def kv_types(kv_type: object) -> tuple[str, str]:
    """Return the types of K and V; `kv_type` is one type for both, or a pair.

    Raises
    ------
    ParameterError
        If a type is unknown.
    """
    pair = kv_type if isinstance(kv_type, tuple) else (kv_type, kv_type)
    names = get_args(KVType)
    known = len(pair) == 2 and all(isinstance(name, str) and name in names for name in pair)
    choices = f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
    check(known, "kv_type", kv_type, f"{choices}, or a pair of them for K and V")
    return pair[0], pair[1]


@dataclass(frozen=True)
class EngineParams:
    """The parameters of an engine.

    Attributes
    ----------
    n_threads : int | None
        Worker threads of the CPU backend; None is min(affinity mask, physical cores, cgroup quota). At most 16, or 4
        per CPU, are started; asking for more raises a warning.
    n_ctx : int | None
        Maximum tokens of one sequence in the KV cache; None is the model's context length, at most 4096.
    n_seqs : int
        Number of sequences of full length that the KV cache holds.
    n_batch : int
        Maximum tokens computed in one step.
    kv_type : {"f16", "f32", "int8", "q4"} or a pair of them
        Type of the KV cache; a pair sets the types of K and V.
    activations : {"int8", "int16", "f32"} | None
        Type to which activations are rounded in products with quantized weights; None is `Model.default_activations`.
    load : {"mmap", "read"}
        Map the weights, or read them into memory (safe if the file may change while in use).
    speculate : {"ngram", "mtp"} | None
        Speculative decoding. "ngram": prompt lookup, draft tokens come from earlier occurrences of the current suffix;
        "mtp": they come from the draft block of the model file (multi-token prediction).
    draft : str | PathLike | None
        Speculative decoding with a draft model: name or path of a smaller model with the same vocabulary, or of an
        EAGLE-3 draft.
    n_draft : int
        Maximum draft tokens per sequence and step.
    max_waiting : int | None
        Maximum waiting requests; further ones raise a BusyError. None sets no limit.
    backend : {"cpu", "numpy", "wgpu"}
        "cpu": the C kernels; "numpy": the numpy definition of every op, which is slow; "wgpu": a GPU (extra `gpu`).
    mmproj : str | PathLike | None
        File with the encoder of pictures; None is one beside the model whose name fits.
    allow_urls : bool | sequence of str
        Whether remote pictures are read: all, none, or those whose URLs begin with one of these texts.

    Raises
    ------
    ParameterError
        If a value is invalid.
    """

    n_threads: int | None = None
    n_ctx: int | None = None
    n_seqs: int = 4
    n_batch: int = 512
    kv_type: KVType | tuple[KVType, KVType] = "f16"
    activations: Activations | None = None
    load: Literal["mmap", "read"] = "mmap"
    speculate: Speculation | None = None
    draft: str | os.PathLike[str] | None = None
    n_draft: int = 31
    max_waiting: int | None = None
    backend: BackendName = "cpu"
    mmproj: str | os.PathLike[str] | None = None
    allow_urls: bool | tuple[str, ...] = False

    def __post_init__(self) -> None:
        n = self.n_threads
        check(n is None or (is_int(n) and 1 <= n <= 1024), "n_threads", n, "an integer in [1, 1024] or None")
        n = self.n_ctx  # float32 rotary angles distinguish positions up to 2^24
        check(n is None or (is_int(n) and 1 <= n <= 2**24), "n_ctx", n, "an integer in [1, 2^24] or None")
        check(is_int(self.n_seqs) and 1 <= self.n_seqs <= 4096, "n_seqs", self.n_seqs, "an integer in [1, 4096]")
        n = self.n_batch
        check(is_int(n) and 1 <= n <= 65536, "n_batch", n, "an integer in [1, 65536]")
        kv_types(self.kv_type)
        how = self.speculate
        known = how is None or (isinstance(how, str) and how in get_args(Speculation))
        check(known, "speculate", how, "'ngram', 'mtp' or None")
        draft = self.draft
        check(draft is None or isinstance(draft, (str, os.PathLike)), "draft", draft, "a model's name or path, or None")
        check(draft is None or self.speculate is None, "draft", draft, f"None where speculate={self.speculate!r}")
        check(is_int(self.n_draft) and 1 <= self.n_draft <= 255, "n_draft", self.n_draft, "an integer in [1, 255]")
        n = self.max_waiting
        check(n is None or (is_int(n) and n >= 1), "max_waiting", n, "an integer >= 1 or None")
        rounded = self.activations
        known = rounded is None or (isinstance(rounded, str) and rounded in get_args(Activations))
        check(known, "activations", rounded, "'int8', 'int16', 'f32' or None")
        name, names = self.backend, get_args(BackendName)
        check(isinstance(name, str) and name in names, "backend", name, " or ".join(map(repr, names)))
        path = self.mmproj
        check(path is None or isinstance(path, (str, os.PathLike)), "mmproj", path, "a path, or None")
        if isinstance(self.allow_urls, (list, set, frozenset)):
            object.__setattr__(self, "allow_urls", tuple(self.allow_urls))
        allowed = self.allow_urls
        known = isinstance(allowed, bool) or (isinstance(allowed, tuple) and all(map(_begins_url, allowed)))
        check(known, "allow_urls", allowed, "True, False, or a list of what allowed URLs begin with: 'https://HOST/'")
        check(isinstance(self.load, str) and self.load in ("mmap", "read"), "load", self.load, "'mmap' or 'read'")
