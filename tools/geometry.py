"""Writes model files for benchmarks: shapes, types and vocabulary sizes of real models, random weights.

    python tools/geometry.py phi-2 llama-3.2-1b --folder models
    python tools/geometry.py --all --folder models
    python tools/geometry.py llama-3.2-1b --type Q5_0 --folder models

The architecture's plugin declares the tensors; tools/geometries*.py have the sizes of each model. Types are those of
llama.cpp's Q4_K_M quantization, or one type for all layer matrices; experts of gpt-oss are MXFP4, as published. Rows of
a matrix are overlapping windows of a long sequence of random quantization blocks, shifted by one block per row: no two
rows are equal, and all bytes are in the file. Weights have variance 1 / columns, so that activations keep their scale.
Tokens are random too: the output is meaningless, but the speed is that of the real model. All models have a byte-level
BPE tokenizer, regardless of the architecture's own.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import geometries
import geometries_dense
import geometries_experts
import numpy as np
import numpy.typing as npt
from geometries import Geometry

from realizar.arch import ArchMetadata, registry
from realizar.arch.architecture import Weight, WeightTable, expand
from realizar.gguf import GGMLType, GGUFWriter
from realizar.graph.rope import rope_frequencies
from realizar.quants import FORMATS, quantize
from realizar.tokenizer.gpt2 import BYTE_OF

GEOMETRIES = {**geometries.GEOMETRIES, **geometries_dense.GEOMETRIES, **geometries_experts.GEOMETRIES}
N_RANDOM = 2048  # number of quantized random chunks, of which rows are composed
NORMAL, CONTROL, UNUSED = 1, 3, 5  # tokenizer.ggml.token_type
Q4_K_M = "Q4_K_M"
# Tensors besides vectors and norms that llama.cpp keeps in float32 (tensor_allows_quantization in llama-quant.cpp).
DEPTHWISE = ("ssm_conv1d_q", "ssm_conv1d_k", "ssm_conv1d_v")  # files have a dimension of one channel for each group
EXACT = (
    *("ffn_gate_inp", "position_embd", "token_types", "ssm_conv1d", *DEPTHWISE, "conv", "attn_rel_b"),
    *("time_mix_w1", "time_mix_w2", "time_mix_lerp_fused"),
)
# Tensors that it keeps as they are, which is bfloat16.
UNQUANTIZED = (
    *("per_layer_model_proj", "altup_proj", "altup_unembd_proj", "altup_router", "laurel_l", "laurel_r"),
    *(f"time_mix_{which}{j}" for which in "avg" for j in (1, 2)),
)
# Fallback for rows that are not a multiple of the k-quant block size (tensor_type_fallback there).
INSTEAD = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
INSTEAD |= {name: "IQ4_NL" for name in FORMATS if name.startswith("IQ") or name in ("Q2_K", "Q3_K")}


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: name, declaration and format."""

    name: str
    weight: Weight
    type: str


FUSED_QKV = (
    "phi2",
    "phi3",
    "falcon",
    "gpt2",
    "gptneox",
    "qwen",
    "nomic-bert",
    "nomic-bert-moe",
    "jina-bert-v3",
    "modern-bert",
    "bloom",
    "mpt",
    "openelm",
    "bailingmoe2",
)
"""Architectures whose published files have fused q, k and v."""
FUSED_FFN = ("phi3", "chatglm", "glm4", "modern-bert")
"""Those with fused gate and up."""


def tensors(geometry: Geometry, hp: Any, type_name: str = Q4_K_M) -> Iterator[Tensor]:
    """Yield the tensors of a file, without biases, in the formats that llama.cpp's quantizer chooses."""
    table: WeightTable = {}
    for name, weight in expand(registry.default().architecture(geometry.architecture).tensors(hp), hp.n_layer).items():
        fused = FUSED_QKV if name.endswith("attn_qkv") else FUSED_FFN
        whole = not weight.parts or geometry.architecture in fused
        table.update({name: weight} if whole else weight.split(name))
    count: Counter[str] = Counter()
    for name, weight in table.items():
        if _written(geometry, table, name, weight):
            kind = name.rpartition(".")[2]
            chosen = _type(geometry, hp, name, weight, count[kind], type_name)
            count[kind] += 1
            yield Tensor(name, weight, chosen)


def _written(geometry: Geometry, table: WeightTable, name: str, weight: Weight) -> bool:
    """Whether this file has an optional tensor."""
    kind = name.rpartition(".")[2]
    for other, there in ((weight.where, True), (weight.unless, False)):
        if other is not None:
            key = name.removesuffix(kind) + other
            if (key in table and _written(geometry, table, key, table[key])) != there:
                return False
    if weight.alias is not None:
        return not geometry.tied
    always = not weight.optional or weight.where is not None or weight.unless is not None
    return always or kind in geometry.optional or name in geometry.optional


def write(geometry: Geometry, path: Path, type_name: str = Q4_K_M, seed: int = 0) -> None:
    """Write a model file; equal seeds give equal files.

    Parameters
    ----------
    geometry : Geometry
    path : Path
    type_name : str
        "Q4_K_M", or one format for all layer matrices.
    seed : int
    """
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path)
    metadata = {
        "general.architecture": geometry.architecture,
        "general.name": "random weights",  # llama.cpp applies Phi-3's token rules by this name
        "general.quantization_version": 2,
        **{f"{geometry.architecture}.{key}": value for key, value in geometry.sizes.items()},
        **vocabulary(geometry, rng),
        **geometry.keys,
    }
    for key, value in metadata.items():
        writer.add(key, value)
    architecture = registry.default().architecture(geometry.architecture)
    md = ArchMetadata(metadata, geometry.architecture)
    hp = replace(architecture.hparams(md), has_draft=md.draft_layers() > 0)
    if geometry.n_draft_vocab:
        ids = np.arange(geometry.n_draft_vocab, dtype=np.int64)
        writer.add_tensor("d2t", ids.view(np.uint8), ids.shape, GGMLType.I64)
        hp = architecture.fitted(hp, {"d2t": ids.shape})
    random = {}
    for tensor in tensors(geometry, hp, type_name):
        name, weight = tensor.name, tensor.weight
        if tensor.type == "F32":
            values = _vector(name, weight, hp, rng)
            depthwise = name.rpartition(".")[2] in DEPTHWISE
            _add_floats(writer, name + weight.suffix, values[:, None] if depthwise else values)
        else:
            chosen = tensor.type, weight.shape[-1]
            if chosen not in random:
                random[chosen] = _chunks(*chosen, rng)
            data = _matrix(random[chosen], weight, tensor.type, rng)
            writer.add_tensor(name + weight.suffix, data, weight.shape, GGMLType[tensor.type])
        optional = f"{name.rpartition('.')[2]}.bias" in geometry.optional
        if weight.bias or (weight.bias is None and optional):
            _add_floats(writer, f"{name}.bias", _small(weight.bias_shape, rng))
    for name, shape in geometry.unused.items():
        _add_floats(writer, name, _small(shape, rng))
    writer.write()


def _type(geometry: Geometry, hp: Any, name: str, weight: Weight, i: int, type_name: str) -> str:
    """Return the format of a tensor by llama.cpp's rules for Q4_K_M (llama_tensor_get_type in llama-quant.cpp).

    `i` is the number of earlier tensors of the same kind.
    """
    kind = name.rpartition(".")[2]
    if len(weight.shape) == 1 or weight.shape[0] == 1 or weight.suffix != ".weight":
        return "F32"
    if kind in EXACT or kind.endswith(("_norm", "_coef")):
        return "F32"
    if kind in UNQUANTIZED:
        return "BF16"
    chosen = _k_type(geometry, hp, kind, weight, i, type_name)
    return INSTEAD.get(chosen, "Q8_0") if weight.shape[-1] % FORMATS[chosen].n_elements else chosen


def _k_type(geometry: Geometry, hp: Any, kind: str, weight: Weight, i: int, type_name: str) -> str:
    falcon, gpt_oss = geometry.architecture == "falcon", geometry.architecture == "gpt-oss"
    if kind == "output" or (kind == "token_embd" and geometry.tied):
        return "Q8_0" if falcon or gpt_oss else "Q6_K"
    if type_name != Q4_K_M:
        return "Q4_K" if kind == "token_embd" else type_name
    if gpt_oss:  # the published files: MXFP4_MOE
        return "MXFP4" if len(weight.shape) == 3 else "Q8_0"
    n, n_expert = hp.n_layer, geometry.sizes.get("expert_count", 0)
    more_bits = i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2
    if n_expert == 8 and kind in ("attn_k", "attn_v"):
        return "Q8_0"
    if kind.startswith("ffn_down") and falcon:
        return "Q6_K" if i < n // 16 else "Q5_K" if more_bits else "Q4_K"
    if more_bits and (kind in ("attn_v", "attn_kv_b") or kind.startswith("ffn_down")):
        return "Q6_K"
    return "Q5_K" if kind == "attn_qkv" or (n_expert == 8 and kind == "attn_output") else "Q4_K"


def _vector(name: str, weight: Weight, hp: Any, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return values of a float32 tensor: norms near one, negative decays, small matrices."""
    if name == "rope_freqs":
        return _factors(hp)
    if weight.negative:
        return -1 - np.abs(_small(weight.shape, rng))
    return _small(weight.shape, rng) + np.float32(len(weight.shape) == 1)


def _small(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def _add_floats(writer: GGUFWriter, name: str, values: npt.NDArray[np.float32]) -> None:
    writer.add_tensor(name, values.view(np.uint8), values.shape, GGMLType.F32)


def _chunk(type_name: str) -> int:
    """Return the elements of a chunk: one quantization block, at least 32 elements."""
    n: int = FORMATS[type_name].n_elements
    return max(n, 32)


def _chunks(type_name: str, columns: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return random chunks, uint8 [N_RANDOM, bytes], each with another scale; the variance of all is 1 / columns."""
    scale = rng.uniform(0.5, 1.5, (N_RANDOM, 1)) / np.sqrt(13 / 12 * columns)
    return quantize((scale * rng.standard_normal((N_RANDOM, _chunk(type_name)))).astype(np.float32), type_name)


def _matrix(
    chunks: npt.NDArray[np.uint8], weight: Weight, type_name: str, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the bytes of a matrix (or of all experts) as a memory-saving view of overlapping windows."""
    n_row, per_row = prod(weight.shape[:-1]), weight.shape[-1] // _chunk(type_name)
    row = chunks[rng.integers(0, N_RANDOM, n_row + per_row - 1)].reshape(-1)
    chunk_bytes = chunks.shape[1]
    return np.lib.stride_tricks.sliding_window_view(row, per_row * chunk_bytes)[::chunk_bytes]


def _factors(hp: Any) -> npt.NDArray[np.float32]:
    """Return the rotary frequency divisors of Llama 3.2: factor 32, original context 8192, low factor 1, high factor 4.

    `_compute_llama3_parameters` in transformers' modeling_rope_utils.py.
    """
    frequencies, _ = rope_frequencies(hp.rope_dims, hp.rope_base, hp.rope_scaling)
    turns = 8192 * frequencies / (2 * np.pi)
    kept = np.clip((turns - 1) / (4 - 1), 0, 1)
    return (1 / ((1 - kept) / 32 + kept)).astype(np.float32)


def vocabulary(geometry: Geometry, rng: np.random.Generator) -> dict[str, Any]:
    """Return the metadata of a byte-level BPE tokenizer with random words as tokens."""
    tokens = list(BYTE_OF)
    taken = set(tokens)
    merges: list[str] = []
    letters = [token for token in tokens if token.isascii() and token.isalpha()]
    parts = [*letters, "\u0120"]  # a space
    while len(merges) < geometry.n_merges:
        for i, j in rng.integers(0, 1 << 31, (geometry.n_merges, 2)).tolist():
            left, right = parts[i % len(parts)], letters[j % len(letters)]
            if left + right in taken or len(left) > 8 or len(merges) == geometry.n_merges:
                continue
            merges.append(f"{left} {right}")
            tokens.append(left + right)
            taken.add(left + right)
            parts.append(left + right)
    types = [NORMAL] * len(tokens) + [CONTROL] * len(geometry.special)
    tokens += geometry.special
    n_unused = geometry.n_vocab - len(tokens)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": geometry.pretokenizer,
        "tokenizer.ggml.tokens": tokens + [f"[PAD{len(tokens) + i}]" for i in range(n_unused)],
        "tokenizer.ggml.token_type": types + [UNUSED] * n_unused,
        "tokenizer.ggml.merges": merges,
    }


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(GEOMETRIES))
    parser.add_argument("--all", action="store_true", help="one file for each model")
    parser.add_argument("--type", choices=[Q4_K_M, *FORMATS], default=Q4_K_M, help="type of the layer matrices")
    parser.add_argument("--folder", type=Path, default=Path(), help="output folder")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = [*GEOMETRIES] if args.all else args.names
    if not names or not GEOMETRIES.keys() >= set(names):
        parser.error(f"NAME must be one or more of {', '.join(GEOMETRIES)}")
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = args.folder / f"{name}-{args.type.lower()}.gguf"
        write(GEOMETRIES[name], path, args.type, args.seed)
        print(f"{path}: {path.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
