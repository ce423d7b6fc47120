"""References to models on the Hugging Face hub, and which file of a repository they name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from realizar.errors import ModelNotFoundError, did_you_mean

PREFIX = "hf:"
FORMS = "hf:owner/repo:QUANTIZATION or hf:owner/repo/file.gguf, with @revision after repo if needed"
_REFERENCE = re.compile(r"([^/@:\s]+/[^/@:\s]+)(?:@([^/@:\s]+))?(?::([^/@:\s]+)|/(\S+\.gguf))?")
_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_QUANTIZATION = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d_[A-Z0-9_]+|P?TQ\d_\d|PQ\d_\d|(?:MX|NV)FP4(?:_MOE)?|BF16|FP?16|FP?32))(?=[-./]|$)",
    re.IGNORECASE,
)
_NO_MODELS = re.compile(r"(?:^|[-._/])(?:mmproj|imatrix)(?=[-._/])", re.IGNORECASE)
"""Files of a repository that go with a model: projectors of pictures, statistics of activations."""
MOST_LISTED = 30


class Reference(NamedTuple):
    """What a name of a model on the hub names: a file, or else the only model of a quantization, or of all."""

    repo: str
    revision: str | None
    quantization: str | None
    file: str | None


def parse(reference: str) -> Reference:
    """Return the parts of a name. A revision with slashes is written as in huggingface-hub: @refs%2Fpr%2F1.

    Raises
    ------
    ModelNotFoundError
        If it is malformed.
    """
    match = _REFERENCE.fullmatch(reference[len(PREFIX) :])
    if match is None:
        raise ModelNotFoundError(f"{reference}: must have the form {FORMS}")
    repo, revision, quantization, file = match.groups()
    return Reference(repo, None if revision is None else unquote(revision), quantization, file)


def parts(file: str) -> list[str]:
    """Return all parts of a split model, of which `file` is one; for another file, itself."""
    match = _SPLIT.search(file)
    if match is None:
        return [file]
    stem, n = file[: match.start()], int(match[2])
    return [f"{stem}-{i:05}-of-{n:05}.gguf" for i in range(1, n + 1)]


def models(files: Iterable[str]) -> list[str]:
    """Return the model files among the files of a repository; of split models the first part."""
    found = (file for file in files if file.lower().endswith(".gguf") and not _NO_MODELS.search(file))
    return sorted(file for file in found if parts(file)[0] == file)


def quantization(file: str) -> str | None:
    """Return the quantization that the name of a file ends with, or its folder has."""
    found = _QUANTIZATION.findall(file.removesuffix(".gguf") + ".")
    return found[-1] if found else None


def choose(reference: str, files: Iterable[str]) -> str:
    """Return the model file of a repository that a name without a file names.

    Raises
    ------
    ModelNotFoundError
        If there is none, or several.
    """
    repo, _, wanted, _ = parse(reference)
    there = models(files)
    if not there:
        raise ModelNotFoundError(
            f"{reference}: the repository has no GGUF file; {repo.partition('/')[2]} may be in another format"
        )
    if wanted is None:
        found = there
    else:
        found = [file for file in there if (quantization(file) or "").lower() == wanted.lower()]
        word = re.compile(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9_])", re.IGNORECASE)
        found = found or [file for file in there if word.search(file)]
    if len(found) == 1:
        return found[0]
    named = sorted({quantization(file) or file for file in there})
    if not found:
        meant = did_you_mean(wanted or "", named)
        raise ModelNotFoundError(f"{reference}: the repository has no {wanted}, but {_listed(named)}{meant}")
    if wanted is None and len(named) == len(there):
        raise ModelNotFoundError(f"{reference}: add one of these, as in {PREFIX}{repo}:{named[0]}: {_listed(named)}")
    raise ModelNotFoundError(
        f"{reference}: names {len(found)} files, one of which must be given as {PREFIX}{repo}/FILE: {_listed(found)}"
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
