"""ProjectorFile: an mmproj file with its vision encoder, hyperparameters, tensors and plans."""

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

ARCHITECTURE = "clip"
"""`general.architecture` of mmproj files, whatever their encoder is."""
PREFIX = "clip.vision"
IGNORED = ("a.*", "mm.a.*")
"""Tensors of an encoder of sound in the same file, which is not used."""


class ProjectorFile:
    """A vision encoder and its file.

    Parameters
    ----------
    path : str or PathLike
        An mmproj file, as llama.cpp's converter or `realizar convert --mmproj` writes it.
    mode : {"mmap", "read"}
        As for models.

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
        If the file is damaged, is no mmproj file, or has no vision encoder.
    UnknownArchitectureError
        If no plugin has its projector.
    TensorError
        If a tensor is missing, or differs from its declaration.
    """

    def __init__(self, path: str | os.PathLike[str], mode: Literal["mmap", "read"] = "mmap") -> None:
        self.file = GGUFFile(path, mode)
        try:
            self._read()
        except Exception as error:
            self.file.close()
            if isinstance(error, (ZeroDivisionError, OverflowError)):
                raise GGUFError(f"{self.file.path.name}: its metadata contain invalid numbers: {error}") from error
            raise

    def _read(self) -> None:
        file = self.file
        name = projector_name(file)
        self.projector: Projector = registry.default().projector(name)
        self.hp: Any = self.projector.hparams(ArchMetadata(file.metadata, PREFIX))
        self.hp = self.projector.with_shapes(self.hp, {name: info.shape for name, info in file.tensors.items()})
        table = self.projector.tensors(self.hp)
        weights, self.tensors = collect(file, table, self.hp.n_layer, IGNORED)
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


def projector_name(file: GGUFFile) -> str:
    """Return the `clip.projector_type` of a file's vision encoder.

    Raises
    ------
    GGUFError
        If it is no mmproj file, or has no vision encoder.
    """
    if file.architecture != ARCHITECTURE:
        raise GGUFError(
            f"{file.path.name}: its general.architecture is {file.architecture!r}, a model's; an mmproj file, which "
            f"has the encoder of pictures, is of {ARCHITECTURE!r}"
        )
    keys = (f"{PREFIX}.projector_type", "clip.projector_type")
    found = next((file.metadata[key] for key in keys if key in file.metadata), None)
    if not isinstance(found, str) or file.metadata.get("clip.has_vision_encoder", True) is False:
        raise GGUFError(
            f"{file.path.name}: has no vision encoder (clip.has_vision_encoder, clip.projector_type); it may be an "
            "encoder of sound, which is not supported"
        )
    return found
