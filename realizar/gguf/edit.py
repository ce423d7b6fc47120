"""Copies of GGUF files with other metadata or in other parts: split, merge, set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from realizar.atomic import atomic_files, sync
from realizar.errors import ParameterError, did_you_mean, short_repr
from realizar.gguf.encode import encode
from realizar.gguf.file import GGUFFile
from realizar.gguf.metadata import describe
from realizar.gguf.parse import ALIGNMENT_KEY, DEFAULT_ALIGNMENT
from realizar.gguf.split import KEYS as SPLIT_KEYS
from realizar.gguf.split import part_name
from realizar.gguf.target import check_target
from realizar.gguf.types import TensorInfo, ValueType
from realizar.gguf.writer import GGUFWriter

MAX_PARTS = 65_535
"""`split.count` is a UINT16."""

StrPath = str | os.PathLike[str]


def split(
    source: StrPath, prefix: StrPath, *, max_tensors: int | None = None, max_bytes: int | None = None
) -> list[Path]:
    """Write a model as parts named `PREFIX-00001-of-00003.gguf`, as llama-gguf-split does.

    The first part has the metadata. A tensor larger than `max_bytes` gets a part of its own.

    Parameters
    ----------
    source : str | os.PathLike
        A file, or the first part of a split model.
    prefix : str | os.PathLike
        Path of the parts without number and extension.
    max_tensors : int, optional
        Maximum number of tensors of a part.
    max_bytes : int, optional
        Maximum bytes of the tensors of a part, with padding.

    Returns
    -------
    list of Path
        The parts. They appear when all are whole; old ones of the same names are never read with new ones.

    Raises
    ------
    ParameterError
        If there is no limit, one is not positive, the prefix has no name, or there would be more than 65,535 parts.
    GGUFError
        If the source is no valid GGUF file.
    """
    if max_tensors is None and max_bytes is None:
        raise ParameterError("split: neither max_tensors nor max_bytes says where to split; give one of them")
    for name, limit in (("max_tensors", max_tensors), ("max_bytes", max_bytes)):
        if limit is not None and limit < 1:
            raise ParameterError(f"{name}={limit}: must be positive")
    stem = Path(prefix)
    if stem.name in ("", "..") or str(prefix).endswith(("/", os.sep)):
        raise ParameterError(f"prefix={str(prefix)!r}: must end in the beginning of the parts' names")
    with GGUFFile(source) as file:
        alignment = file.metadata.get_int(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
        parts = _parts(file.tensors.values(), max_tensors, max_bytes, alignment)
        if len(parts) > MAX_PARTS:
            raise ParameterError(f"split: there would be {len(parts)} parts, at most {MAX_PARTS}; raise the limit")
        paths = [stem.with_name(part_name(stem.name, i, len(parts))) for i in range(len(parts))]
        for path in paths:
            check_target(path, file.paths)
        with atomic_files(paths) as temporaries:
            for i, (temporary, infos) in enumerate(zip(temporaries, parts, strict=True)):
                _write_part(file, temporary, i, len(parts), infos)
    return paths


def _write_part(file: GGUFFile, path: Path, i: int, n_parts: int, infos: Iterable[TensorInfo]) -> None:
    writer = GGUFWriter(path)
    for key in file.metadata if i == 0 else (ALIGNMENT_KEY,):
        if key in file.metadata and key not in SPLIT_KEYS:
            writer.copy(file.metadata, key)
    writer.add("split.no", i, ValueType.UINT16)
    writer.add("split.tensors.count", len(file.tensors), ValueType.INT32)
    writer.add("split.count", n_parts, ValueType.UINT16)
    _copy_tensors(writer, file, infos)
    with open(path, "xb") as f:
        writer.write_to(f)
        sync(f)


def _parts(
    infos: Iterable[TensorInfo], max_tensors: int | None, max_bytes: int | None, alignment: int
) -> list[list[TensorInfo]]:  # fmt: skip
    """Distribute tensors to parts, in order; at least one part."""
    parts: list[list[TensorInfo]] = [[]]
    size = 0
    for info in infos:
        n_bytes = -(-info.n_bytes // alignment) * alignment
        is_full = len(parts[-1]) == max_tensors or (max_bytes is not None and size + n_bytes > max_bytes)
        if is_full and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(info)
        size += n_bytes
    return parts


def merge(first: StrPath, target: StrPath) -> None:
    """Write a split model, given by its first part, as one file; raises GGUFError if a part is missing or invalid."""
    with GGUFFile(first) as file:
        check_target(target, file.paths)
        writer = GGUFWriter(target)
        for key in file.metadata:
            if key not in SPLIT_KEYS:
                writer.copy(file.metadata, key)
        _copy_tensors(writer, file, file.tensors.values())
        writer.write()


def set_value(path: StrPath, key: str, text: str, type_name: str | None = None, target: StrPath | None = None) -> None:
    """Set a metadata value of a file; all other values and the tensors stay as they are.

    The file is copied and then replaced, so that it is never incomplete. Of a split model only the first part changes.

    Parameters
    ----------
    path : str | os.PathLike
    key : str
    text : str
        The value: a number, true or false, a string, or a JSON list for an array.
    type_name : str, optional
        Type of a new key, for an array that of its elements: a name of ValueType. An existing key keeps its type.
    target : str | os.PathLike, optional
        Where to write; by default the file is replaced.

    Raises
    ------
    ParameterError
        If the value does not fit the type, the key is new and has no type, or the type of an existing key differs.
    GGUFError
        If the file is no valid GGUF file.
    """
    if not key or not key.isprintable():
        raise ParameterError(f"{short_repr(key)}: is no name of a metadata value; give one such as general.name")
    if key in SPLIT_KEYS:
        raise ParameterError(f"{key}: describes the parts of a split model; use split or merge")
    with GGUFFile(path) as file:
        if target is not None and len(file.paths) > 1:
            raise ParameterError(
                f"{file.path.name}: is part of a split model, whose parts know each other by name; set it in place"
            )
        value_type, is_array = _type_of(file, key, text, type_name)
        value = _parsed(key, text, value_type, is_array)
        encode(key, value, value_type)  # checks it before anything is written
        writer = GGUFWriter(path if target is None else target)
        for other in file.metadata:
            if other != key:
                writer.copy(file.metadata, other)
            else:
                writer.add(key, value, value_type)
        if key not in file.metadata:
            writer.add(key, value, value_type)
        _copy_tensors(writer, file, (info for info in file.tensors.values() if info.part == 0))
        writer.write()


def _type_of(file: GGUFFile, key: str, text: str, type_name: str | None) -> tuple[ValueType, bool]:
    """Return the type of a value, or of the elements of an array, and whether it is one."""
    given = None
    if type_name is not None:
        names = [value_type.name for value_type in ValueType if value_type != ValueType.ARRAY]
        if type_name.upper() not in names:
            raise ParameterError(f"type {short_repr(type_name)}: must be one of {', '.join(names)}")
        given = ValueType[type_name.upper()]
    if key not in file.metadata:
        if given is None:
            raise ParameterError(
                f"{key}: {file.path.name} has no such key, and a new one needs a type{did_you_mean(key, file.metadata)}"
            )
        return given, text.lstrip().startswith("[") and given != ValueType.STRING
    field = file.metadata.field(key)
    own = field.element or field.type
    if given is not None and given != own:
        raise ParameterError(
            f"{key}: is {describe(field)}, and cannot become {given.name}; its type is what readers expect"
        )
    return own, field.element is not None


def _parsed(key: str, text: str, value_type: ValueType, is_array: bool) -> Any:
    """Return the value that a text stands for."""
    if value_type == ValueType.STRING and not is_array:
        return text
    wanted = f"a JSON list of {value_type.name}" if is_array else f"a {value_type.name}"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ParameterError(f"{key}: {short_repr(text)} is not {wanted}") from None
    if isinstance(value, list) != is_array or isinstance(value, dict):
        raise ParameterError(f"{key}: {short_repr(text)} is not {wanted}")
    return value


def _copy_tensors(writer: GGUFWriter, file: GGUFFile, infos: Iterable[TensorInfo]) -> None:
    for info in infos:
        writer.add_tensor(info.name, file.data(info.name), info.shape, info.type)
