"""Weights that a file stores in a rotated basis: reads the keys `prism.hadamard.*` of Ternary-Bonsai files.

The rows of such a weight are W R^T for a rotation R x = H (s * x) / sqrt(n) in blocks of n elements, with signs s and
the Sylvester-Hadamard matrix H, so that W x is the product with R x. Rows of an embedding table are R z, so that a
look-up takes R^T = s * H z / sqrt(n) of them (keys as in https://github.com/PrismML-Eng/llama.cpp/pull/120; the
equations as in https://github.com/ggml-org/llama.cpp/issues/29058).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from realizar.arch import ArchMetadata
from realizar.arch.architecture import WeightRef
from realizar.errors import GGUFError, TensorError
from realizar.gguf import GGUFFile
from realizar.graph import Graph, Rotation
from realizar.runtime.weights import Tensor, vector

PREFIX = "prism.hadamard."
KNOWN = {"version": 1, "transform": "normalized-sylvester-walsh-hadamard", "axis": "input-last-dimension"}
"""What the keys must say; a file with anything else computes something else."""
GROUPED = "ssm_out.weight"
"""End of the name of those weights whose input is in the order of the key `gdn_v_grouped`."""


class Rotations:
    """The rotations of a file's weights.

    Attributes
    ----------
    by_name : dict[str, Rotation]
        Name of a tensor -> its rotation.
    signs : dict[str, Tensor]
        The sign vectors that the rotations name, which are not tensors of the file.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Rotation] = {}
        self.signs: dict[str, Tensor] = {}


def read_rotations(file: GGUFFile, arch: str, prefix: str = "") -> Rotations:
    """Read the keys `prism.hadamard.*`; without them, no weight is rotated.

    Names of sign vectors begin with `prefix`, so that a draft has its own beside those of its target.

    Raises
    ------
    GGUFError
        If a key is missing, or says something that is not supported.
    """
    found, md = Rotations(), file.metadata
    if not any(key.startswith(PREFIX) for key in md):
        return found
    for key, wanted in KNOWN.items():
        value = md.get(PREFIX + key)
        if type(value) is not type(wanted) or value != wanted:
            raise _wrong(file, key, f"{value!r}, but only {wanted!r} is supported")
    width = md.get_int(f"{PREFIX}block_size")
    if width < 2 or width & (width - 1):
        raise _wrong(file, "block_size", f"{width}, but a power of two is needed")
    signs = _signs(file, width)
    lookups = md.get_strs(f"{PREFIX}inverse_weight_names", [])
    groups = _groups(file, arch) if md.get_bool(f"{PREFIX}gdn_v_grouped", False) else None
    names = {"weight_names": md.get_strs(f"{PREFIX}weight_names"), "inverse_weight_names": lookups}
    for key, name in ((key, name) for key, listed in names.items() for name in listed):
        if name not in file.tensors:
            raise _wrong(file, key, f"it names {name}, which the file does not have")
        n = file.tensors[name].shape[-1]
        if n % width:
            raise _wrong(file, "block_size", f"{width}, but the rows of {name} have {n} elements")
        if signs is not None and n not in signs:
            raise _wrong(file, "sign_widths", f"{[*signs]}, but the rows of {name} have {n} elements")
        ref = None if signs is None else WeightRef(f"{prefix}{PREFIX}signs.{n}", (n,), None, suffix="")
        if ref is not None and signs is not None:
            found.signs[ref.tensor] = vector(ref.tensor, signs[n])
        found.by_name[name] = Rotation(width, ref, groups if name.endswith(GROUPED) else None)
    return found


def _signs(file: GGUFFile, width: int) -> dict[int, npt.NDArray[np.float32]] | None:
    """The signs of rows of each number of elements; None: all are positive."""
    mode = file.metadata.get_str(f"{PREFIX}sign_mode")
    if mode == "identity":
        return None
    if mode != "explicit":
        raise _wrong(file, "sign_mode", f"{mode!r}, but only 'explicit' and 'identity' are supported")
    widths = [int(n) for n in file.metadata.get_array(f"{PREFIX}sign_widths")]
    values = file.metadata.get_array(f"{PREFIX}sign_values").astype(np.float32)
    if sum(widths) != len(values) or any(n <= 0 or n % width for n in widths):
        raise _wrong(file, "sign_widths", f"{widths}, but there are {len(values)} signs for blocks of {width}")
    if not np.isin(values, (-1, 1)).all():
        raise _wrong(file, "sign_values", "a sign is neither 1 nor -1")
    return dict(zip(widths, np.split(values, np.cumsum(widths)[:-1]), strict=True))


def _groups(file: GGUFFile, arch: str) -> tuple[int, int]:
    """The numbers of key heads, and of value heads for each of them, of a gated delta net."""
    md = ArchMetadata(file.metadata, arch)
    n_group, n_head = md.positive("ssm.group_count"), md.positive("ssm.time_step_rank")
    if n_head % n_group:
        raise _wrong(file, "gdn_v_grouped", f"{n_head} value heads are not a multiple of {n_group} key heads")
    return n_group, n_head // n_group


def _wrong(file: GGUFFile, key: str, what: str) -> GGUFError:
    return GGUFError(f"{file.path.name}: {PREFIX}{key}: {what}; without the right rotation all answers would be wrong")


def check_rotations(graphs: Iterable[Graph], tensors: Mapping[str, Tensor]) -> None:
    """Raise TensorError if a rotated weight is used by an op whose input is not rotated."""
    for node in (node for graph in graphs for node in graph.nodes if not node.spec.takes_rotation):
        for name in node.weights:
            if tensors[name].rotation is not None:
                raise TensorError(
                    f"{name}: the file stores it in a rotated basis ({PREFIX}weight_names), which op {node.op!r} does "
                    "not support"
                )
