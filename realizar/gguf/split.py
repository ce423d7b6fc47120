"""Split models: the names of the parts, and what the parts must agree on."""

from __future__ import annotations

import re
from pathlib import Path

from realizar.errors import GGUFError
from realizar.gguf.metadata import Metadata

PART_NAME = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def part_paths(path: Path, metadata: Metadata) -> list[Path]:
    """All files of the model whose first part (or only file) is `path`.

    Parameters
    ----------
    path : Path
        The file that was opened.
    metadata : Metadata
        Its metadata: "split.count" says how many parts there are, "split.no" (from 0) which this is.

    Raises
    ------
    GGUFError
        If it is another part than the first, or is not named `name-00001-of-00003.gguf`.
    """
    count = metadata.get_int("split.count", 1)
    if count <= 1:
        return [path]
    match = PART_NAME.fullmatch(path.name)
    if match is None or int(match["count"]) != count:
        raise GGUFError(
            f"{path.name}: is part of a split model, so its name must end in -00001-of-{count:05}.gguf "
            "for the other parts to be found; give it its old name"
        )
    paths = [path.with_name(f"{match['stem']}-{i:05}-of-{count:05}.gguf") for i in range(1, count + 1)]
    number = metadata.get_int("split.no", -1)
    if number != 0 or int(match["part"]) != 1:
        raise GGUFError(f"{path.name}: is part {number + 1} of a split model; open the first, {paths[0].name}")
    return paths


def check_part(path: Path, metadata: Metadata, part: int, count: int) -> None:
    """Refuse a file that does not say of itself that it is this part (from 0) of so many."""
    found = metadata.get_int("split.no", -1), metadata.get_int("split.count", -1)
    if found != (part, count):
        raise GGUFError(f"{path.name}: must be part {part + 1} of {count}, but says it is {found[0] + 1} of {found[1]}")
