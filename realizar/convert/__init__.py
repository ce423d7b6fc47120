"""Conversion of Hugging Face checkpoints to GGUF, without torch.

The architecture declares its tensors; its `checkpoint` (realizar/arch/checkpoint.py) maps them to names in the
checkpoint. checkpoint_folder.py reads a folder, quantized.py 8-bit weights, metadata.py and tensors.py apply the
tables, vocabulary.py converts the tokenizer, drafts.py reads what a draft takes from its model, projectors.py
converts encoders of pictures and sounds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realizar.arch import ArchMetadata, registry
from realizar.convert.checkpoint_folder import CheckpointFolder
from realizar.convert.drafts import take_from_target, token_tensors
from realizar.convert.metadata import FILE_TYPES, architecture_of, metadata, pooling
from realizar.convert.projectors import fitted_hparams, projector_keys, projector_tensors, projectors_of
from realizar.convert.supported import check_rope, check_windows
from realizar.convert.tensors import OutputTensor, layer_numbers, output_tensors, unused_tensors
from realizar.convert.vocabulary import vocabulary
from realizar.errors import ParameterError, short_repr
from realizar.gguf import GGUFWriter


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes
    ----------
    architecture : str
    n_tensors : int
    tokenizer : str | None
        `tokenizer.ggml.model`; None if the folder has no tokenizer.
    unused : tuple of str
        Tensors of the checkpoint that are not needed (masks, an image encoder).
    """

    architecture: str
    n_tensors: int
    tokenizer: str | None
    unused: tuple[str, ...]


@dataclass(frozen=True)
class CheckpointModel:
    """A checkpoint in GGUF's terms.

    Attributes
    ----------
    architecture : str
    keys : dict
        Metadata.
    tensors : tuple of OutputTensor
    unused : tuple of str
        Tensors of the checkpoint that are not needed.
    """

    architecture: str
    keys: dict[str, Any]
    tensors: tuple[OutputTensor, ...]
    unused: tuple[str, ...]


def convert(
    folder: str | os.PathLike[str], path: str | os.PathLike[str], type_name: str = "F16",
    target: str | os.PathLike[str] | None = None, mmproj: bool = False,
) -> Conversion:  # fmt: skip
    """Convert a checkpoint to a GGUF file.

    Parameters
    ----------
    folder : str or PathLike
        Contains config.json, safetensors files and the tokenizer's files.
    path : str or PathLike
        Output file.
    type_name : {"F32", "F16", "BF16", "Q8_0"}
        Type of the matrices; vectors and a few small matrices stay float32.
    target : str or PathLike, optional
        Of a draft for another model (EAGLE-3), that model's GGUF file; the draft gets its tokenizer.
    mmproj : bool
        Convert the encoders of pictures and sounds, to an mmproj file, instead of the language model.

    Raises
    ------
    UnknownArchitectureError
        If no plugin supports the class named in config.json.
    ModelNotFoundError, GGUFError, TensorError, TokenizerError
        If a file or tensor is missing, damaged, or does not match the architecture's declaration.
    ParameterError
        If the type is not supported, or the target of a draft is missing.
    """
    if type_name not in FILE_TYPES:
        raise ParameterError(f"type {type_name!r}: convert writes {', '.join(FILE_TYPES)}")
    found = read_projector(folder, type_name) if mmproj else read_checkpoint(folder, type_name, target)
    writer = GGUFWriter(path)
    for key, value in found.keys.items():
        writer.add(key, value)
    for tensor in found.tensors:
        writer.add_tensor(tensor.name, tensor.data, tensor.shape, tensor.type)
    writer.write()
    tokenizer = found.keys.get("tokenizer.ggml.model")
    return Conversion(found.architecture, len(found.tensors), tokenizer, found.unused)


def read_checkpoint(
    folder: str | os.PathLike[str], type_name: str, target: str | os.PathLike[str] | None = None
) -> CheckpointModel:
    """Read what `convert` writes: metadata, and tensors whose data is made when asked for.

    Parameters
    ----------
    folder, type_name, target
        As of `convert`.

    Returns
    -------
    CheckpointModel
        Its tensors have the types of the file; functions make their data, uint8 of any shape.

    Raises
    ------
    UnknownArchitectureError, ModelNotFoundError, GGUFError, TensorError, TokenizerError, ParameterError
        As `convert`; a tensor's errors come when its data is made.
    """
    checkpoint, plugins = CheckpointFolder(Path(folder)), registry.default()
    architecture = architecture_of(checkpoint.config, plugins)
    if architecture.is_draft != (target is not None):
        raise ParameterError(
            f"target={short_repr(target)}: {folder} is of architecture {architecture.name}; a draft for another model "
            "needs that model's GGUF file as target, and no other model has a target"
        )
    shared = {} if target is None else take_from_target(checkpoint, target)
    keys = metadata(architecture, checkpoint.config, Path(folder).resolve().name, type_name)
    if (pooling_type := pooling(checkpoint.folder)) is not None:
        keys[f"{architecture.name}.pooling_type"] = pooling_type
    keys.update(layer_numbers(checkpoint, architecture, ArchMetadata(keys, architecture.name).layers()))
    keys.update(shared or vocabulary(checkpoint.folder, checkpoint.config, plugins.pretokenizers))
    hp: Any = architecture.hparams(ArchMetadata(keys, architecture.name))
    hp = architecture.fitted(hp, {name: tensor.shape for name, tensor in checkpoint.stored.items()})
    check_rope(architecture.name, checkpoint.config, architecture.tensors(hp))
    check_windows(architecture.name, checkpoint.config, hp)
    tensors = list(output_tensors(checkpoint, architecture, hp, type_name))
    if architecture.is_draft:
        tensors += token_tensors(checkpoint, hp.n_vocab)
    unused = unused_tensors(checkpoint, architecture, hp)
    return CheckpointModel(architecture.name, keys, tuple(tensors), unused)


def read_projector(folder: str | os.PathLike[str], type_name: str) -> CheckpointModel:
    """Read what `convert` writes to an mmproj file. Raises as it does."""
    checkpoint = CheckpointFolder(Path(folder))
    projectors = projectors_of(checkpoint.config, registry.default())
    keys = projector_keys(projectors, checkpoint, Path(folder).resolve().name, type_name)
    tensors: list[OutputTensor] = []
    for projector in projectors:
        hp = fitted_hparams(projector, checkpoint, keys)
        if projector.modality == "audio":  # config.json may have that of another matrix
            keys["clip.audio.projection_dim"] = hp.n_out
        tensors += projector_tensors(checkpoint, projector, hp, type_name)
    return CheckpointModel(f"clip, {' and '.join(one.name for one in projectors)}", keys, tuple(tensors), ())
