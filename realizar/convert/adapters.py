"""Conversion of PEFT adapters to GGUF."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from realizar.arch import Architecture, ArchMetadata, registry
from realizar.convert.peft import read_peft
from realizar.errors import ParameterError
from realizar.gguf import GGUFFile
from realizar.gguf.target import check_target
from realizar.runtime.adapter_files import write_lora
from realizar.runtime.adapters import Adapter


def convert_adapter(
    folder: str | os.PathLike[str], path: str | os.PathLike[str], target: str | os.PathLike[str] | None
) -> Adapter:
    """Convert an adapter of PEFT to a GGUF file.

    Parameters
    ----------
    folder : str or PathLike
        Contains adapter_config.json and adapter_model.safetensors.
    path : str or PathLike
        Output file.
    target : str or PathLike
        The model for which it was trained, as GGUF.

    Raises
    ------
    ParameterError
        If the target is missing.
    AdapterError
        As `read_peft`.
    """
    if target is None:
        raise ParameterError(f"{folder}: is an adapter; give the model for which it was trained, as GGUF, by --target")
    with GGUFFile(target) as file:
        check_target(path, (*file.paths, *Path(folder).iterdir()))
        adapter = peft_adapter(Path(folder), file)
        write_lora(path, adapter, file.architecture)
    return adapter


def peft_adapter(folder: Path, file: GGUFFile) -> Adapter:
    """Read an adapter of PEFT with the names of the tensors of its model's file. Raises as `read_peft`."""
    return read_peft(folder, *_declared(file), file.tensors)


def is_output(file: GGUFFile, name: str) -> bool:
    """Whether a tensor is also the output matrix, which the file of its model lacks."""
    architecture, hp = _declared(file)
    declared = architecture.tensors(hp).get("output")
    return declared is not None and f"{declared.alias}.weight" == name and "output.weight" not in file.tensors


def _declared(file: GGUFFile) -> tuple[Architecture, Any]:
    """Return the architecture and the hyperparameters of a file."""
    architecture = registry.default().architecture(file.architecture)
    hp = architecture.hparams(ArchMetadata(file.metadata, architecture.name))
    return architecture, architecture.fitted(hp, {name: info.shape for name, info in file.tensors.items()})
