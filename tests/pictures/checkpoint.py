"""Tiny checkpoints of vision-language models: weights that follow from their names, and a tokenizer of bytes."""

import json
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

N_VOCAB = 288
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen's pre-tokenizer."""


class Recipe(NamedTuple):
    """What a checkpoint is made from.

    Attributes
    ----------
    config, preprocessor : dict
        config.json, and preprocessor_config.json.
    tensors : dict
        Name -> shape and, for vectors and numbers, the value to which noise is added.
    special : list of str
        Special tokens with the ids 256 and following.
    template : str
        The chat template.
    """

    config: dict[str, Any]
    preprocessor: dict[str, Any]
    tensors: dict[str, tuple[list[int], float]]
    special: list[str]
    template: str

    def as_array(self) -> np.ndarray:
        """The recipe as bytes, for a golden file."""
        return np.frombuffer(json.dumps(self, separators=(",", ":")).encode(), np.uint8)


def recipe_of(array: np.ndarray) -> Recipe:
    """The inverse of `Recipe.as_array`."""
    return Recipe(*json.loads(array.tobytes()))


def weights(name: str, shape: list[int], base: float) -> np.ndarray:
    """Return float16 numbers that depend on the name only: uniform noise, to vectors added to `base`."""
    if not shape:
        return np.float32(base)
    seed = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
    noise = (np.random.PCG64(seed).random_raw(prod(shape)) >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    if len(shape) == 1:
        values = base + 0.35 * noise
    else:
        is_table = "embed" in name and "patch" not in name
        values = noise * 3**0.5 * (0.5 if is_table else 1.2 * prod(shape[1:]) ** -0.5)
    return values.astype(np.float16).astype(np.float32).reshape(shape)


def write_checkpoint(folder: Path, recipe: Recipe) -> None:
    """Write the checkpoint of a recipe, in float32, with its tokenizer."""
    (folder / "config.json").write_text(json.dumps(recipe.config))
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe.preprocessor))
    write_tokenizer(folder, recipe.special, recipe.template)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, (shape, base) in recipe.tensors.items():
        values = weights(name, shape, base).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    head = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + data)


def write_tokenizer(folder: Path, special: list[str], template: str) -> None:
    """Write a tokenizer of bytes, one merge and special tokens, with Qwen's pre-tokenizer."""
    # GPT-2's table: printable bytes stand for themselves, the others for characters from U+0100 on.
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    names = {byte: chr(byte) for byte in kept} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    added = [
        {"id": 256 + i, "content": text, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
        for i, text in enumerate(special)
    ]  # fmt: skip
    steps = [
        {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    ]
    model = {"type": "BPE", "vocab": {**{names[byte]: byte for byte in range(256)}, names[32] + "t": N_VOCAB - 1},
             "merges": [[names[32], "t"]], "dropout": None,
             "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
             "byte_fallback": False}  # fmt: skip
    whole = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}, "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": model,
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    config = {"eos_token": special[1], "chat_template": template, "tokenizer_class": "Qwen2Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
