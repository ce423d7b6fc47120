"""ProjectorFile: an mmproj file with one of its encoders, hyperparameters, tensors and plans."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from realizar.arch import ArchMetadata, registry
from realizar.arch.architecture import WeightRef
from realizar.errors import GGUFError
from realizar.gguf import GGUFFile
from realizar.model import record
from realizar.runtime.plan import Plan, lower
from realizar.runtime.weights import check_scales, collect, vector

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from realizar.arch import Projector
    from realizar.runtime.passes import Pass

Modality = Literal["vision", "audio"]
SUBJECTS: dict[Modality, str] = {"vision": "pictures", "audio": "sounds"}
ARCHITECTURE = "clip"
"""`general.architecture` of mmproj files, whatever their encoder is."""
IGNORED: dict[Modality, tuple[str, ...]] = {"vision": ("a.*", "mm.a.*"), "audio": ("v.*", "mm.[!a]*")}
"""Tensors of the other encoder in the same file, by what the encoder reads."""
VISION_OF = {"qwen2.5o": "qwen2.5vl_merger"}
"""The vision encoder of files that name one projector for both."""


class ProjectorFile:
    """A vision or sound encoder and its file.

    Parameters
    ----------
    path : str or PathLike
        An mmproj file, as llama.cpp's converter or `realizar convert --mmproj` writes it.
    mode : {"mmap", "read"}
        As for models.
    modality : {"vision", "audio"}
        Which encoder of the file.

    Attributes
    ----------
    projector : Projector
        From a plugin.
    hp : VisionHParams
    tensors : dict[str, Tensor]
        By GGUF name.
    tables : dict[str, float32 array]
        The tensors that are read on the host, by name without ".weight".

    Raises
    ------
    GGUFError
        If the file is damaged, is no mmproj file, or has no such encoder.
    UnknownArchitectureError
        If no plugin has its projector.
    TensorError
        If a tensor is missing, or differs from its declaration.
    """

    def __init__(
        self, path: str | os.PathLike[str], mode: Literal["mmap", "read"] = "mmap", modality: Modality = "vision"
    ) -> None:
        self.file, self.modality = GGUFFile(path, mode), modality
        try:
            self._read()
        except Exception as error:
            self.file.close()
            if isinstance(error, (ZeroDivisionError, OverflowError)):
                raise GGUFError(f"{self.file.path.name}: its metadata contain invalid numbers: {error}") from error
            raise

    def _read(self) -> None:
        file = self.file
        name = projector_name(file, self.modality)
        self.projector: Projector = registry.default().projector(name)
        if self.projector.modality != self.modality:
            raise GGUFError(f"{file.path.name}: projector {name!r} is no encoder of {SUBJECTS[self.modality]}")
        self.hp: Any = self.projector.hparams(ArchMetadata(file.metadata, f"clip.{self.modality}"))
        self.hp = self.projector.with_shapes(self.hp, {name: info.shape for name, info in file.tensors.items()})
        table = self.projector.tensors(self.hp)
        weights, self.tensors = collect(file, table, self.hp.n_layer, IGNORED[self.modality])
        numbers = {name: float(one.floats()[0]) for name, one in self.tensors.items() if one.shape == (1,)}
        self.hp = self.projector.with_numbers(self.hp, numbers)
        for constant, values in self.projector.constants(self.hp).items():
            self.tensors[f"{constant}.weight"] = vector(f"{constant}.weight", values)
            setattr(weights, constant, WeightRef(constant, values.shape, None))
        self.graphs = record(self.projector, weights, self.hp, self.projector.programs_of(self.hp))
        check_scales(self.graphs.values(), self.tensors)
        wanted = self.projector.table_names(self.hp)
        names = {name: name if name in self.tensors else f"{name}.weight" for name in wanted}
        self.tables: dict[str, npt.NDArray[np.float32]] = {
            name: self.tensors[full].floats() for name, full in names.items() if full in self.tensors
        }

    def plan(self, program: str, passes: Iterable[Pass]) -> Plan:
        """Return the plan of a program, after these passes."""
        return lower(self.graphs[program], None, (), tuple(passes))

    def close(self) -> None:
        """Close the file; the memory is unmapped when the last compiled plan is freed, too."""
        self.tensors = {}
        self.file.close()


def modalities_of(path: str | os.PathLike[str]) -> tuple[Modality, ...]:
    """Return which encoders an mmproj file has.

    Raises
    ------
    GGUFError
        If the file is damaged, or is no mmproj file.
    """
    file = GGUFFile(path)
    try:
        _check_mmproj(file, "pictures or sounds")
        return _modalities(file)
    finally:
        file.close()


def _modalities(file: GGUFFile) -> tuple[Modality, ...]:
    """Which encoders a file has; if it says nothing, one of pictures."""
    has_audio = file.metadata.get("clip.has_audio_encoder", False) is True
    has_vision = file.metadata.get("clip.has_vision_encoder", not has_audio) is True
    return (*(("vision",) if has_vision else ()), *(("audio",) if has_audio else ()))


def _check_mmproj(file: GGUFFile, what: str) -> None:
    if file.architecture != ARCHITECTURE:
        raise GGUFError(
            f"{file.path.name}: its general.architecture is {file.architecture!r}, a model's; an mmproj file, which "
            f"has the encoder of {what}, is of {ARCHITECTURE!r}"
        )


def projector_name(file: GGUFFile, modality: Modality = "vision") -> str:
    """Return the `clip.projector_type` of one of a file's encoders.

    Raises
    ------
    GGUFError
        If it is no mmproj file, or has no such encoder.
    """
    _check_mmproj(file, SUBJECTS[modality])
    keys = (f"clip.{modality}.projector_type", "clip.projector_type")
    found = next((file.metadata[key] for key in keys if key in file.metadata), None)
    if not isinstance(found, str) or modality not in _modalities(file):
        raise GGUFError(
            f"{file.path.name}: has no {modality} encoder, of {SUBJECTS[modality]} (clip.has_{modality}_encoder, "
            "clip.projector_type)"
        )
    return VISION_OF.get(found, found) if modality == "vision" else found
