"""Where a picture of a conversation comes from: data URLs, files, remote URLs if allowed, arrays and images."""

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
from realizar.pictures.read import MAX_BYTES, is_image, pixels_of_array, pixels_of_bytes, pixels_of_image

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
    if isinstance(given, (bytes, bytearray, memoryview)):
        return pixels_of_bytes(bytes(given))
    if isinstance(given, os.PathLike):
        return pixels_of_bytes(_file(Path(given)))
    if not isinstance(given, str):
        raise PictureError(
            "a picture is a URL, a path, bytes, a uint8 array [height, width, 3] or a PIL.Image, not "
            f"{short_repr(given)}"
        )
    scheme = given[:8].partition(":")[0].lower()
    if scheme == "data":
        return pixels_of_bytes(_data(given))
    if scheme in ("http", "https"):
        from realizar.pictures.remote import fetch  # imports much

        return pixels_of_bytes(fetch(given, allow_urls))
    return pixels_of_bytes(_file(Path(unquote(urlsplit(given).path)) if scheme == "file" else Path(given)))


def _data(url: str) -> bytes:
    """The bytes of a data URL (RFC 2397)."""
    head, comma, body = url.partition(",")
    if len(body) > 2 * MAX_BYTES:
        raise PictureError(f"a data URL of {len(body)} characters; a picture has at most {MAX_BYTES} bytes")
    try:
        raw = unquote_to_bytes(body) if "%" in body else body.encode("ascii")
        data = base64.b64decode(raw, validate=False) if head.lower().endswith(";base64") else raw
    except (binascii.Error, ValueError) as error:
        raise PictureError(f"the data URL {short_repr(url[:40])} cannot be decoded: {error}") from None
    if not comma or not data:
        raise PictureError(f"the data URL {short_repr(url[:40])} has no data; data:image/png;base64,... is expected")
    return data


def _file(path: Path) -> bytes:
    try:
        with path.expanduser().open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, RuntimeError, ValueError) as error:
        raise PictureError(f"the picture {short_repr(str(path))} cannot be read: {error}") from None
