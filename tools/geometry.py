"""Writes model files with the shapes, types and vocabulary sizes of real ones and random weights, to be measured.

    python tools/geometry.py phi-2 llama-3.2-1b --folder models
    python tools/geometry.py llama-3.2-1b --type Q5_0 --folder models

The types are those that llama.cpp's quantizer gives a Q4_K_M file, or one type for all matrices of the layers. Every
row of a matrix is a window on a long row of random blocks, one block further than the row before: no two rows are
equal, all bytes lie in the file, and the weights are so small (variance 1 / columns) that activations keep their size.
The tokens are made up too: such a model says nothing, at the speed of the real one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch import ArchMetadata, registry
from realizar.arch.architecture import Weight, expand
from realizar.gguf import GGMLType, GGUFWriter
from realizar.graph.rope import rope_frequencies
from realizar.quants import FORMATS, quantize
from realizar.tokenizer.gpt2 import BYTE_OF

CHUNK = 256  # elements that every format has whole blocks of
N_RANDOM = 2048  # chunks that are quantized; rows are made of them
NORMAL, CONTROL, UNUSED = 1, 3, 5  # tokenizer.ggml.token_type
Q4_K_M = "Q4_K_M"


@dataclass(frozen=True)
class Geometry:
    """What a real file has, but for its numbers.

    Attributes
    ----------
    architecture : str
    sizes : dict
        Metadata under the architecture's name.
    pretokenizer : str
    n_merges : int
        Tokens that are made of two others; 256 stand for bytes before them.
    special : tuple[str, ...]
        The tokens behind these.
    n_vocab : int
        Filled up with unused tokens.
    keys : dict
        Other metadata.
    tied : bool
        The output matrix is the embedding's.
    """

    architecture: str
    sizes: Mapping[str, Any]
    pretokenizer: str
    n_merges: int
    special: tuple[str, ...]
    n_vocab: int
    keys: Mapping[str, Any]
    tied: bool = False


# https://huggingface.co/microsoft/phi-2/blob/main/config.json, as first converted: q, k and v in one tensor.
PHI_2 = Geometry(
    architecture="phi2",
    sizes={
        "context_length": 2048,
        "embedding_length": 2560,
        "feed_forward_length": 10240,
        "block_count": 32,
        "attention.head_count": 32,
        "attention.head_count_kv": 32,
        "attention.layer_norm_epsilon": 1e-5,
        "rope.dimension_count": 32,
    },
    pretokenizer="gpt-2",
    n_merges=50000,
    special=("<|endoftext|>",),
    n_vocab=51200,
    keys={
        "tokenizer.ggml.bos_token_id": 50256,
        "tokenizer.ggml.eos_token_id": 50256,
        "tokenizer.ggml.add_bos_token": False,
    },
)
# https://huggingface.co/meta-llama/Llama-3.2-1B/blob/main/config.json
LLAMA_3_2_1B = Geometry(
    architecture="llama",
    sizes={
        "context_length": 131072,
        "embedding_length": 2048,
        "feed_forward_length": 8192,
        "block_count": 16,
        "attention.head_count": 32,
        "attention.head_count_kv": 8,
        "attention.key_length": 64,
        "attention.value_length": 64,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 64,
        "rope.freq_base": 500000.0,
        "vocab_size": 128256,
    },
    pretokenizer="llama-bpe",
    n_merges=127744,
    special=("<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{i}|>" for i in range(254))),
    n_vocab=128256,
    keys={
        "tokenizer.ggml.bos_token_id": 128000,
        "tokenizer.ggml.eos_token_id": 128001,
        "tokenizer.ggml.add_bos_token": True,
    },
    tied=True,
)
GEOMETRIES = {"phi-2": PHI_2, "llama-3.2-1b": LLAMA_3_2_1B}


def write(geometry: Geometry, path: Path, type_name: str = Q4_K_M, seed: int = 0) -> None:
    """Write a model file; equal seeds give equal files.

    Parameters
    ----------
    geometry : Geometry
    path : Path
    type_name : str
        "Q4_K_M", or the format of all matrices of the layers.
    seed : int
    """
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path)
    metadata = {
        "general.architecture": geometry.architecture,
        "general.name": f"random weights in the geometry of {path.stem}",
        "general.quantization_version": 2,
        **{f"{geometry.architecture}.{key}": value for key, value in geometry.sizes.items()},
        **vocabulary(geometry, rng),
        **geometry.keys,
    }
    for key, value in metadata.items():
        writer.add(key, value)
    architecture = registry.default().architecture(geometry.architecture)
    hp = architecture.hparams(ArchMetadata(metadata, geometry.architecture))
    random = {}
    for name, weight in expand(architecture.tensors(hp), hp.n_layer).items():
        if geometry.tied and weight.alias is not None:
            continue
        if len(weight.shape) == 1:
            vector = _factors(hp) if name == "rope_freqs" else 1 + _small(weight.shape, rng)
            _add_floats(writer, f"{name}.weight", vector)
        else:
            chosen = _type(name, hp.n_layer, geometry.tied, type_name)
            columns = weight.shape[1]
            if (chosen, columns) not in random:
                random[chosen, columns] = _chunks(chosen, columns, rng)
            data = _matrix(random[chosen, columns], weight, rng)
            writer.add_tensor(f"{name}.weight", data, weight.shape, GGMLType[chosen])
        if weight.bias:
            _add_floats(writer, f"{name}.bias", _small(weight.shape[:1], rng))
    writer.write()


def _type(name: str, n_layer: int, tied: bool, type_name: str) -> str:
    """The format of a matrix: llama.cpp's rules (llama_tensor_get_type in llama-quant.cpp) for Q4_K_M."""
    if name in ("output", "token_embd"):
        return "Q6_K" if name == "output" or tied else "Q4_K"
    if type_name != Q4_K_M:
        return type_name
    _, layer, kind = name.split(".")
    i, eighth = int(layer), n_layer // 8
    more_bits = i < eighth or i >= 7 * n_layer // 8 or (i - eighth) % 3 == 2
    if kind in ("attn_v", "ffn_down") and more_bits:
        return "Q6_K"
    return "Q5_K" if kind == "attn_qkv" else "Q4_K"


def _small(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def _add_floats(writer: GGUFWriter, name: str, values: npt.NDArray[np.float32]) -> None:
    writer.add_tensor(name, values.view(np.uint8), values.shape, GGMLType.F32)


def _chunks(type_name: str, columns: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Random chunks, uint8 [N_RANDOM, bytes], each of its own scale; the weights have variance 1 / columns in all."""
    scale = rng.uniform(0.5, 1.5, (N_RANDOM, 1)) / np.sqrt(13 / 12 * columns)
    return quantize((scale * rng.standard_normal((N_RANDOM, CHUNK))).astype(np.float32), type_name)


def _matrix(chunks: npt.NDArray[np.uint8], weight: Weight, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The bytes of a matrix as a view of a long row of chunks that takes a fraction of their room."""
    n_row, per_row = weight.shape[0], weight.shape[1] // CHUNK
    row = chunks[rng.integers(0, N_RANDOM, n_row + per_row - 1)].reshape(-1)
    chunk_bytes = chunks.shape[1]
    return np.lib.stride_tricks.sliding_window_view(row, per_row * chunk_bytes)[::chunk_bytes]


def _factors(hp: Any) -> npt.NDArray[np.float32]:
    """Divisors of the rotary frequencies as Llama 3.2 has them: factor 32 over 8192 tokens, bounds 1 and 4.

    `_compute_llama3_parameters` in transformers' modeling_rope_utils.py.
    """
    frequencies, _ = rope_frequencies(hp.rope_dims, hp.rope_base, hp.rope_scaling)
    turns = 8192 * frequencies / (2 * np.pi)
    kept = np.clip((turns - 1) / (4 - 1), 0, 1)
    return (1 / ((1 - kept) / 32 + kept)).astype(np.float32)


def vocabulary(geometry: Geometry, rng: np.random.Generator) -> dict[str, Any]:
    """Metadata of a byte-level BPE tokenizer whose longer tokens are random words."""
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
    parser.add_argument("names", nargs="+", choices=GEOMETRIES, metavar="NAME", help=" or ".join(GEOMETRIES))
    parser.add_argument("--type", choices=[Q4_K_M, *FORMATS], default=Q4_K_M, help="of the layers' matrices")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the files go")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        path = args.folder / f"{name}-{args.type.lower()}.gguf"
        write(GEOMETRIES[name], path, args.type, args.seed)
        print(f"{path}: {path.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
