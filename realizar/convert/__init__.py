"""Converting Hugging Face's checkpoints to GGUF, without torch.

An architecture's own table says which tensors there are; its `checkpoint` (realizar/arch/checkpoint.py) says what they
are called in the other format. source.py reads a folder, quantized.py weights of eight bits, metadata.py and tensors.py
follow the tables, vocabulary.py translates the tokenizer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from realizar.arch import ArchMetadata, registry
from realizar.convert.checkpoint_folder import Source
from realizar.convert.metadata import FILE_TYPES, architecture_of, metadata, pooling
from realizar.convert.tensors import outputs, unused
from realizar.convert.vocabulary import vocabulary
from realizar.errors import ParameterError
from realizar.gguf import GGUFWriter


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes
    ----------
    architecture : str
    n_tensors : int
    tokenizer : str | None
        `tokenizer.ggml.model`; None where the folder has no tokenizer.
    unused : tuple of str
        Tensors of the checkpoint that are not needed (masks, an encoder of images).
    """

    architecture: str
    n_tensors: int
    tokenizer: str | None
    unused: tuple[str, ...]


def convert(folder: str | os.PathLike[str], path: str | os.PathLike[str], type_name: str = "F16") -> Conversion:
    """Writes a GGUF file of a checkpoint.

    Parameters
    ----------
    folder : str or PathLike
        config.json, safetensors, and the tokenizer's files.
    path : str or PathLike
        The file to be written.
    type_name : {"F32", "F16", "BF16", "Q8_0"}
        Of the matrices; vectors and a few small matrices stay float32.

    Raises
    ------
    UnknownArchitectureError
        If no plugin claims the class that config.json names.
    ModelNotFoundError, GGUFError, TensorError, TokenizerError
        If something is missing, damaged, or not what the architecture declares, or if it declares no such tensor.
    ParameterError
        If the type is another.
    """
    if type_name not in FILE_TYPES:
        raise ParameterError(f"type {type_name!r}: convert writes {', '.join(FILE_TYPES)}")
    source, plugins = Source(Path(folder)), registry.default()
    architecture = architecture_of(source.config, plugins)
    keys = metadata(architecture, source.config, Path(folder).resolve().name, type_name)
    if (how := pooling(source.folder)) is not None:
        keys[f"{architecture.name}.pooling_type"] = how
    keys.update(vocabulary(source.folder, source.config, plugins.pretokenizers))
    hp = architecture.hparams(ArchMetadata(keys, architecture.name))
    writer = GGUFWriter(path)
    for key, value in keys.items():
        writer.add(key, value)
    found = list(outputs(source, architecture, hp, type_name))
    left = unused(source, architecture, hp)
    for tensor in found:
        writer.add_tensor(tensor.name, tensor.data, tensor.shape, tensor.type)
    writer.write()
    return Conversion(architecture.name, len(found), keys.get("tokenizer.ggml.model"), left)
