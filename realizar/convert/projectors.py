"""Conversion of vision encoders to mmproj files, with the names and keys of llama.cpp's converter."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from realizar.arch import Projector
from realizar.arch.architecture import expand
from realizar.arch.checkpoint import VISION, Checkpoint, Config, Keys
from realizar.arch.registry import Registry
from realizar.convert.checkpoint_folder import CheckpointFolder, read_json
from realizar.convert.metadata import general_metadata, keys_of, plugin_of
from realizar.convert.tensors import OutputTensor, declared_tensors
from realizar.errors import GGUFError, TensorError

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = "v.patch_embd"
"""Begins the names of tensors that are kernels of convolutions."""


def _vision(*names: str) -> Callable[[Config], Any]:
    """The first of these keys that the configuration of the vision encoder has."""
    return lambda config: next((config["vision_config"][n] for n in names if config["vision_config"].get(n)), None)


def _pixels(name: str) -> Callable[[Config], Any]:
    return lambda config: [float(number) for number in config["preprocessor"][name]]


def _activation(*names: str) -> Callable[[Config], bool | None]:
    """Whether the encoder has one of these activations; None if not, as llama.cpp's converter leaves the key out."""
    return lambda config: config["vision_config"].get("hidden_act", "gelu") in names or None


KEYS: Keys = {
    "image_size": _vision("image_size"),
    "patch_size": _vision("patch_size"),
    "embedding_length": _vision("hidden_size"),
    "feed_forward_length": _vision("intermediate_size"),
    "block_count": _vision("num_hidden_layers", "depth"),
    "attention.head_count": _vision("num_attention_heads", "num_heads"),
    "attention.layer_norm_epsilon": _vision("layer_norm_eps"),
    "projection_dim": "hidden_size",
    "image_mean": _pixels("image_mean"),
    "image_std": _pixels("image_std"),
    "clip.use_gelu": _activation("gelu", "gelu_pytorch_tanh"),
    "clip.use_silu": _activation("silu"),
}
"""Key without "clip.vision." -> its source, as for language models."""


def projector_of(config: Config, registry: Registry) -> Projector:
    """Return the projector that supports the class named in config.json.

    Raises
    ------
    UnknownArchitectureError
        If none does; lists the supported classes.
    """
    return plugin_of(config, registry.projectors.values(), "their vision encoder")


def projector_keys(projector: Projector, folder: CheckpointFolder, name: str, type_name: str) -> dict[str, Any]:
    """Return the metadata of an mmproj file.

    Raises
    ------
    ModelNotFoundError, GGUFError
        If a file of the checkpoint is missing, or lacks a value.
    """
    key = projector.config_key
    if not isinstance(folder.config.get(key), dict):
        raise GGUFError(f"{folder.folder}: config.json has no {key}; the model has no vision encoder")
    folder.config["vision_config"] = folder.config[key]
    folder.config["preprocessor"] = _preprocessor(folder)
    folder.config["special_tokens"] = _special_tokens(folder)
    checkpoint = projector.checkpoint or Checkpoint(())
    return {
        **general_metadata("clip", name, type_name),
        "general.type": "mmproj",
        "clip.has_vision_encoder": True,
        "clip.projector_type": projector.name,
        **keys_of("clip.vision", folder.config, {**KEYS, **checkpoint.keys}),
    }


def projector_tensors(
    folder: CheckpointFolder, projector: Projector, hp: Any, type_name: str
) -> tuple[OutputTensor, ...]:
    """Return the tensors of an mmproj file. Kernels keep their four dimensions, and float32 unless the type is F16.

    Raises
    ------
    TensorError
        If a tensor is missing, or the checkpoint has one of the encoder that the projector does not know.
    """
    names = (projector.checkpoint or Checkpoint(())).all_names(folder.config)
    table = expand(projector.tensors(hp), hp.n_layer)
    source = names[KERNEL if KERNEL in names else next(iter(table))]
    folder.detect_prefix(str(source[0] if isinstance(source, tuple) else source))
    kernels = {name: weight for name, weight in table.items() if name.startswith(KERNEL)}
    others = {name: weight for name, weight in table.items() if name not in kernels}
    found = []
    for tensor in declared_tensors(folder, names, kernels, hp, type_name if type_name == "F16" else "F32"):
        shape = (hp.n_embd, 3, hp.patch_size, hp.patch_size)
        is_kernel = len(tensor.shape) == 2 and not projector.has_flat_kernel
        found.append(replace(tensor, shape=shape) if is_kernel else tensor)
    found += declared_tensors(folder, names, others, hp, type_name)
    ignored = (projector.checkpoint or Checkpoint(())).ignored
    left = [
        name for name in sorted(set(folder.stored) - folder.used)
        if any(fnmatch.fnmatch(name, one) for one in VISION) and not any(fnmatch.fnmatch(name, one) for one in ignored)
    ]  # fmt: skip
    if left:
        raise TensorError(
            f"{', '.join(left[:8])}: {folder.folder} has tensors of a vision encoder that projector {projector.name} "
            "does not know; results would be wrong without them"
        )
    return tuple(found)


def _preprocessor(folder: CheckpointFolder) -> dict[str, Any]:
    """Return how pictures are preprocessed: preprocessor_config.json, or the part of processor_config.json."""
    path = folder.folder / "preprocessor_config.json"
    whole = folder.folder / "processor_config.json"
    if not path.is_file() and whole.is_file():
        return dict(read_json(whole).get("image_processor") or {})
    return read_json(path)


def _special_tokens(folder: CheckpointFolder) -> dict[str, int]:
    """Return the ids of added tokens by their texts; none if the folder has no tokenizer.json."""
    path = folder.folder / "tokenizer.json"
    added = read_json(path).get("added_tokens", []) if path.is_file() else []
    return {token["content"]: token["id"] for token in added}
