"""Split models: file names of the parts, and consistency checks."""

from __future__ import annotations

import re
from pathlib import Path

from realizar.errors import GGUFError
from realizar.gguf.metadata import Metadata

KEYS = ("split.no", "split.count", "split.tensors.count")
"""Metadata of the parts of a split model."""
PART_NAME = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def part_name(stem: str, part: int, count: int) -> str:
    """Return the file name of a part (from 0) of `count`."""
    return f"{stem}-{part + 1:05}-of-{count:05}.gguf"


def part_paths(path: Path, metadata: Metadata) -> list[Path]:
    """Return all files of a model, given its first part or only file.

    Parameters
    ----------
    path : Path
        The file that was opened.
    metadata : Metadata
        Its metadata: "split.count" is the number of parts, "split.no" the index of this part (from 0).

    Raises
    ------
    GGUFError
        If it is not the first part, or not named like `name-00001-of-00003.gguf`.
    """
    count = metadata.get_int("split.count", 1)
    if count <= 1:
        return [path]
    match = PART_NAME.fullmatch(path.name)
    if match is None or int(match["count"]) != count:
        raise GGUFError(
            f"{path.name}: is part of a split model, so its name must end in -00001-of-{count:05}.gguf "
            "to find the other parts; restore its original name"
        )
    paths = [path.with_name(part_name(match["stem"], i, count)) for i in range(count)]
    number = metadata.get_int("split.no", -1)
    if number != 0 or int(match["part"]) != 1:
        raise GGUFError(f"{path.name}: is part {number + 1} of a split model; open the first part, {paths[0].name}")
    return paths


def check_part(path: Path, metadata: Metadata, part: int, count: int) -> None:
    """Raise a GGUFError unless the metadata says that the file is this part (from 0) of `count`."""
    found = metadata.get_int("split.no", -1), metadata.get_int("split.count", -1)
    if found != (part, count):
        raise GGUFError(
            f"{path.name}: must be part {part + 1} of {count}, but its metadata says {found[0] + 1} of {found[1]}"
        )
