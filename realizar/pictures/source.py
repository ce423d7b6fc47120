"""Where a picture or a sound comes from: data URLs, files, remote URLs if allowed, arrays and images."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import numpy as np

from realizar.errors import PictureError, short_repr
from realizar.pictures.kind import MAX_BYTES, PICTURE, MediaKind
from realizar.pictures.read import is_image, pixels_of_array, pixels_of_bytes, pixels_of_image

if TYPE_CHECKING:
    import numpy.typing as npt


def read_picture(given: Any, allow_urls: bool | Sequence[str] = False) -> npt.NDArray[np.uint8]:
    """Return the pixels of a picture, uint8 [height, width, 3].

    Parameters
    ----------
    given : str, PathLike, bytes, array or PIL.Image.Image
        A data URL, a file URL, a path, an http or https URL, the bytes of a file, or pixels.
    allow_urls : bool or sequence of str
        Whether http and https URLs are read: all, none, or those that begin with one of these texts.

    Raises
    ------
    PictureError
        If it cannot be read, exceeds a limit, or is remote and not allowed.
    MissingExtraError
        If Pillow is not installed.
    """
    if isinstance(given, np.ndarray):
        return pixels_of_array(given)
    if is_image(given):
        return pixels_of_image(given)
    data = read_bytes(given, allow_urls, PICTURE)
    if data is None:
        raise PictureError(
            "a picture is a URL, a path, bytes, a uint8 array [height, width, 3] or a PIL.Image, not "
            f"{short_repr(given)}"
        )
    return pixels_of_bytes(data)


def read_bytes(given: Any, allow_urls: bool | Sequence[str], kind: MediaKind) -> bytes | None:
    """Return the bytes of a file, given as such, by a URL or by its path; None if it is given otherwise.

    Raises
    ------
    PictureError, SoundError
        As the kind says: if it cannot be read, exceeds a limit, or is remote and not allowed.
    """
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    if isinstance(given, os.PathLike):
        return _file(Path(given), kind)
    if not isinstance(given, str):
        return None
    scheme = given[:8].partition(":")[0].lower()
    if scheme == "data":
        return _data(given, kind)
    if scheme in ("http", "https"):
        from realizar.pictures.remote import fetch  # imports much

        return fetch(given, allow_urls, kind)
    return _file(Path(unquote(urlsplit(given).path)) if scheme == "file" else Path(given), kind)


def _data(url: str, kind: MediaKind) -> bytes:
    """The bytes of a data URL (RFC 2397)."""
    head, comma, body = url.partition(",")
    if len(body) > 2 * MAX_BYTES:
        raise kind.error(f"a data URL of {len(body)} characters; a {kind.noun} has at most {MAX_BYTES} bytes")
    try:
        raw = unquote_to_bytes(body) if "%" in body else body.encode("ascii")
        data = base64.b64decode(raw, validate=False) if head.lower().endswith(";base64") else raw
    except (binascii.Error, ValueError) as error:
        raise kind.error(f"the data URL {short_repr(url[:40])} cannot be decoded: {error}") from None
    if not comma or not data:
        raise kind.error(f"the data URL {short_repr(url[:40])} has no data; {kind.data_url}... is expected")
    return data


def _file(path: Path, kind: MediaKind) -> bytes:
    try:
        with path.expanduser().open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, RuntimeError, ValueError) as error:
        raise kind.error(f"the {kind.noun} {short_repr(str(path))} cannot be read: {error}") from None
