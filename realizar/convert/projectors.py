"""Conversion of encoders of pictures and sounds to mmproj files, with the names and keys of llama.cpp's converter."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.arch import ArchMetadata, Projector
from realizar.arch.architecture import expand
from realizar.arch.checkpoint import AUDIO, VISION, Checkpoint, Config, Keys, Names
from realizar.arch.registry import Registry
from realizar.arch.sound_projector import TAPS
from realizar.convert.checkpoint_folder import CheckpointFolder, read_json
from realizar.convert.metadata import general_metadata, keys_of, plugin_of
from realizar.convert.supported import check_values
from realizar.convert.tensors import OutputTensor, declared_tensors, name_of
from realizar.errors import GGUFError, TensorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KERNELS = {"vision": "v.patch_embd", "audio": "a.conv1d.1"}
"""What an encoder reads -> its first tensor, the kernel of a convolution."""


def _vision(*names: str) -> Callable[[Config], Any]:
    """The first of these keys that the configuration of the vision encoder has."""
    return lambda config: next((config["vision_config"][n] for n in names if config["vision_config"].get(n)), None)


def _audio(*names: str) -> Callable[[Config], Any]:
    """The first of these keys that the configuration of the sound encoder has."""
    return lambda config: next((config["audio_config"][n] for n in names if config["audio_config"].get(n)), None)


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


AUDIO_KEYS: Keys = {
    "embedding_length": _audio("hidden_size", "d_model"),
    "feed_forward_length": _audio("intermediate_size", "encoder_ffn_dim"),
    "block_count": _audio("num_hidden_layers", "encoder_layers"),
    "attention.head_count": _audio("num_attention_heads", "encoder_attention_heads"),
    "attention.layer_norm_epsilon": lambda config: 1e-5,
    "num_mel_bins": _audio("num_mel_bins"),
}
"""Key without "clip.audio." -> its source."""
PATTERNS = {"vision": VISION, "audio": AUDIO}
"""What an encoder reads -> patterns of its tensors in checkpoints."""
WHISPER = Checkpoint((), only={"activation_function": ("gelu",)})
"""What sound encoders compute."""


def projectors_of(config: Config, registry: Registry) -> tuple[Projector, ...]:
    """Return the projectors that support the class named in config.json: of pictures, of sounds, or both.

    Raises
    ------
    UnknownArchitectureError
        If none does; lists the supported classes.
    """
    plugins = registry.projectors.values()
    first = plugin_of(config, plugins, "their encoder")
    classes = set(config["architectures"])
    others = (one for one in plugins if one.modality != first.modality)
    return (first, *[one for one in others if one.checkpoint and classes & set(one.checkpoint.classes)][:1])


def projector_keys(
    projectors: Sequence[Projector], folder: CheckpointFolder, name: str, type_name: str
) -> dict[str, Any]:
    """Return the metadata of an mmproj file.

    Raises
    ------
    ModelNotFoundError, GGUFError
        If a file of the checkpoint is missing, lacks a value, or has one that is not supported.
    """
    out = {**general_metadata("clip", name, type_name), "general.type": "mmproj"}
    for projector in projectors:
        kind, checkpoint = projector.modality, projector.checkpoint or Checkpoint(())
        own = folder.config.get(projector.config_key)
        if not isinstance(own, dict):
            raise GGUFError(
                f"{folder.folder}: config.json has no {projector.config_key}; the model has no {kind} encoder"
            )
        if kind == "vision":
            folder.config["vision_config"] = own
            folder.config["preprocessor"] = _preprocessor(folder)
            folder.config["special_tokens"] = _special_tokens(folder)
        else:
            check_values(projector.name, folder.config, checkpoint)
            check_values(projector.name, own, WHISPER)
        keys = KEYS if kind == "vision" else AUDIO_KEYS
        out[f"clip.has_{kind}_encoder"] = True
        out["clip.projector_type" if len(projectors) == 1 else f"clip.{kind}.projector_type"] = projector.name
        out.update(keys_of(f"clip.{kind}", folder.config, {**keys, **checkpoint.keys}))
    return out


def fitted_hparams(projector: Projector, folder: CheckpointFolder, keys: Mapping[str, Any]) -> Any:
    """Return the hyperparameters of an encoder, with those that only the shapes of its tensors tell."""
    names = (projector.checkpoint or Checkpoint(())).all_names(folder.config)
    _detect_prefix(folder, projector, names)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, source in names.items():
        stored = name_of(source)
        if callable(source):
            shapes[f"{name}.weight"] = np.shape(source(folder.config))  # type: ignore[arg-type]
        elif stored is not None and "{" not in stored and folder.has(stored):
            shapes[f"{name}.weight"] = folder.shape(stored)
    return projector.with_shapes(projector.hparams(ArchMetadata(dict(keys), f"clip.{projector.modality}")), shapes)


def _detect_prefix(folder: CheckpointFolder, projector: Projector, names: Names) -> None:
    """Find the prefix of the encoder's tensors by its kernel, or else by the first of its names."""
    given = (projector.checkpoint or Checkpoint(())).names
    own = given(folder.config) if callable(given) else given
    kernel = KERNELS[projector.modality]
    folder.detect_prefix(name_of(names[kernel if kernel in names else next(iter(own))]) or "")


def projector_tensors(
    folder: CheckpointFolder, projector: Projector, hp: Any, type_name: str
) -> tuple[OutputTensor, ...]:
    """Return the tensors of an encoder.

    Kernels keep their dimensions. Those of pictures are float32 unless the type is F16, those of sounds float16 unless
    it is F32; a bias of the latter is a column.

    Raises
    ------
    TensorError
        If a tensor is missing, or the checkpoint has one of the encoder that the projector does not know.
    """
    checkpoint, kind = projector.checkpoint or Checkpoint(()), projector.modality
    names = checkpoint.all_names(folder.config)
    _detect_prefix(folder, projector, names)
    table = expand(projector.tensors(hp), hp.n_layer)
    kernels = {name: weight for name, weight in table.items() if name.startswith(KERNELS[kind].removesuffix(".1"))}
    others = {name: weight for name, weight in table.items() if name not in kernels}
    exact = "F32" if type_name == "F32" or (kind == "vision" and type_name != "F16") else "F16"
    found = []
    for tensor in declared_tensors(folder, names, kernels, hp, exact):
        n, *rest = tensor.shape
        if projector.has_flat_kernel:
            shape: tuple[int, ...] = tuple(rest)
        elif kind == "vision":
            shape = (3, hp.patch_size, hp.patch_size) if rest else ()
        else:
            shape = (rest[0] // TAPS, TAPS) if rest else (1,)
        found.append(replace(tensor, shape=(n, *shape)))
    found += declared_tensors(folder, names, others, hp, type_name)
    ignored = re.compile("|".join(map(fnmatch.translate, checkpoint.ignored)) or r"(?!)")
    own = re.compile("|".join(map(fnmatch.translate, PATTERNS[kind])))
    left = [one for one in sorted(set(folder.stored) - folder.used) if own.match(one) and not ignored.match(one)]
    if left:
        raise TensorError(
            f"{', '.join(left[:8])}: {folder.folder} has tensors of an encoder that projector {projector.name} does "
            "not know; results would be wrong without them"
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
