"""EngineParams: the parameters of an engine, validated when created."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from realizar.params.checks import as_tuple, check, is_int

KVType: TypeAlias = Literal["f16", "f32", "int8", "q4"]
"""A type of the KV cache: docs/kernels.md defines them, docs/performance.md says which to take."""

Activations: TypeAlias = Literal["int8", "int16", "f32"]
"""The type to which activations are rounded in products with quantized weights; see docs/kernels.md."""

Speculation: TypeAlias = Literal["ngram", "mtp"]
"""A kind of speculative decoding without a second model; see docs/speculation.md."""

BackendName: TypeAlias = Literal["cpu", "numpy", "wgpu"]
"""Name of a backend that realizar has; plugins may bring others (docs/backends.md)."""

_GPU = r"gpu:(?:0|[1-9][0-9]{0,3})"
DEVICES = re.compile(rf"auto|cpu|gpu|{_GPU}(?:,{_GPU})*")
TENSOR_DEVICE = re.compile(rf"cpu|gpu|{_GPU}")


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
    backend : str
        "cpu": the C kernels; "numpy": the numpy definition of every op, which is slow; "wgpu": device="gpu"; or a
        plugin's. Where it is not "cpu", `device` must be.
    mmproj : str | PathLike | None
        File with the encoders of pictures and sounds; None is one beside the model whose name fits.
    allow_urls : bool | sequence of str
        Whether remote pictures and sounds are read: all, none, or those whose URLs begin with one of these texts.
    device : str
        "cpu", "gpu" (the best one), "gpu:N" of `realizar devices`, several as "gpu:0,gpu:1", or "auto": a GPU where it
        is faster.
    n_gpu_layers : int | None
        Layers that GPUs compute, the last ones; None is as many as their memory has room for.
    n_cpu_moe : int
        Layers, from the first, whose experts stay on the CPU.
    tensor_devices : mapping or sequence of pairs
        Regular expressions of tensor names -> "cpu", "gpu" or "gpu:N": where ops with these weights run.

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
    backend: str = "cpu"
    mmproj: str | os.PathLike[str] | None = None
    allow_urls: bool | tuple[str, ...] = False
    device: str = "cpu"
    n_gpu_layers: int | None = None
    n_cpu_moe: int = 0
    tensor_devices: tuple[tuple[str, str], ...] = ()

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
        own = " or ".join(map(repr, names))
        check(isinstance(name, str) and name != "", "backend", name, f"{own} or the name of a plugin's")
        path = self.mmproj
        check(path is None or isinstance(path, (str, os.PathLike)), "mmproj", path, "a path, or None")
        if isinstance(self.allow_urls, (list, set, frozenset)):
            object.__setattr__(self, "allow_urls", tuple(self.allow_urls))
        allowed = self.allow_urls
        known = isinstance(allowed, bool) or (isinstance(allowed, tuple) and all(map(_begins_url, allowed)))
        check(known, "allow_urls", allowed, "True, False, or a list of what allowed URLs begin with: 'https://HOST/'")
        check(isinstance(self.load, str) and self.load in ("mmap", "read"), "load", self.load, "'mmap' or 'read'")
        self._check_devices()

    def _check_devices(self) -> None:
        device = self.device
        known = isinstance(device, str) and DEVICES.fullmatch(device) is not None
        check(known, "device", device, "'auto', 'cpu', 'gpu', 'gpu:N' of 'realizar devices', or 'gpu:0,gpu:1'")
        check(device == "cpu" or self.backend == "cpu", "device", device, f"left out where backend={self.backend!r}")
        n = self.n_gpu_layers
        check(n is None or (is_int(n) and n >= 0), "n_gpu_layers", n, "an integer >= 0 or None")
        check(not n or device != "cpu", "n_gpu_layers", n, "0 or None where device='cpu'; pass device='gpu' or 'auto'")
        n = self.n_cpu_moe
        check(is_int(n) and n >= 0, "n_cpu_moe", n, "an integer >= 0")
        given: Any = self.tensor_devices
        want = "regular expressions, each with 'cpu' or 'gpu:N'"
        pairs = as_tuple("tensor_devices", given.items() if isinstance(given, Mapping) else given or (), want)
        check(all(map(_names_tensors, pairs)), "tensor_devices", given, want)
        check(not pairs or device != "cpu", "tensor_devices", given, "left out where device='cpu'")
        object.__setattr__(self, "tensor_devices", tuple((str(pattern), str(where)) for pattern, where in pairs))


def _names_tensors(pair: object) -> bool:
    """Whether this is a pair of a regular expression and a device."""
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
        return False
    try:
        re.compile(pair[0])
    except (re.error, RecursionError, OverflowError):  # the latter two: too deep, a huge number of repetitions
        return False
    return pair[0] != "" and TENSOR_DEVICE.fullmatch(pair[1]) is not None
