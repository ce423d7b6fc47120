"""Finds the mmproj file that belongs to a model's file."""

from __future__ import annotations

import re
from pathlib import Path

TYPES = ("f16", "bf16", "q8_0", "f32")
"""Types in names of mmproj files, the preferred one first."""
_WORDS = re.compile(r"[-_. ]+")


def mmproj_beside(model: Path) -> Path | None:
    """Return the mmproj file in the folder of a model whose name fits it; None if there is none.

    "mmproj" is part of its name. Without that and without a type, the rest of the name begins the model's, or is empty
    ("mmproj-F16.gguf") while all models in the folder are quantizations of one.
    """
    if not model.is_file():
        return None
    files = sorted(model.parent.glob("*.gguf"))
    found = [(path, _stem(path.stem)) for path in files if "mmproj" in path.stem.lower()]
    name = _stem(model.stem)
    named = [(path, stem) for path, stem in found if stem and f"{name}-".startswith(f"{stem}-")]
    if not named:
        models = {_base(path.stem) for path in files if "mmproj" not in path.stem.lower()}
        named = [(path, stem) for path, stem in found if not stem] if len(models) == 1 else []
    return min(named, key=lambda pair: (-len(pair[1]), _preference(pair[0]), pair[0].name))[0] if named else None


def _stem(name: str) -> str:
    """A name without "mmproj" and types, its words joined by hyphens."""
    words = _WORDS.split(name.lower().replace("q8_0", "q8~0"))
    return "-".join(word for word in words if word not in ("", "mmproj", "model", "f16", "bf16", "q8~0", "f32"))


def _base(name: str) -> str:
    """A model's name without its quantization and without the number of a part."""
    name = re.sub(r"-\d{5}-of-\d{5}$", "", name.lower())
    return re.sub(r"[-_.](ud[-_.])?(i?q\d\w*|f16|bf16|f32|mxfp4\w*|tq\d\w*)$", "", name)


def _preference(path: Path) -> int:
    words = path.stem.lower().replace("-", ".").split(".")
    return next((i for i, kind in enumerate(TYPES) if kind in words), len(TYPES))
