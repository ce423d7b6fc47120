"""Reads a picture that somebody else made to pixels: bytes of a file, an array, or an image of Pillow."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.errors import MissingExtraError, PictureError, describe_exception, short_repr
from realizar.pictures.kind import MAX_BYTES

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    U8 = npt.NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Most pixels of a picture; a file of few bytes may claim many."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats that are read; others are more code that hostile files can reach."""


def pixels_of_bytes(data: bytes) -> U8:
    """Return the pixels of a picture's file, uint8 [height, width, 3]: the first frame, upright, without transparency.

    Raises
    ------
    PictureError
        If the file is too large, has too many pixels, is damaged, or is of a format that is not read.
    MissingExtraError
        If Pillow is not installed.
    """
    if len(data) > MAX_BYTES:
        raise PictureError(f"a picture of {len(data)} bytes; at most {MAX_BYTES} are read, so make it smaller")
    Image = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked below, and of damaged metadata
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                _check_size(image.width, image.height)
                return pixels_of_image(image)
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything for hostile files
        unknown = type(error).__name__ == "UnidentifiedImageError"  # whose text has an address in memory
        why = "of another format, or damaged" if unknown else describe_exception(error)
        raise PictureError(
            f"the picture cannot be read; {', '.join(FORMATS)} are supported, found {len(data)} bytes that begin with "
            f"{short_repr(data[:8])} ({why})"
        ) from None


def pixels_of_image(image: Image) -> U8:
    """Return the pixels of an image of Pillow, turned as its EXIF tag says; of 16 bits, the upper 8.

    Raises
    ------
    PictureError
        If it has too many pixels, a mode without a known range, or a file that is damaged or closed.
    """
    from PIL import ImageOps

    _check_size(image.width, image.height)
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            return pixels_of_array((np.asarray(upright) >> 8).astype(np.uint8))  # which Pillow would clip, not scale
        if upright.mode in ("I", "F"):
            raise PictureError(f"an image of mode {upright.mode!r}, whose range is unknown; convert it to 'L' or 'RGB'")
        return np.array(upright.convert("RGB"))
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # decoders, which may only run now, raise anything for hostile files
        raise PictureError(f"the image cannot be read: {describe_exception(error)}") from None


def pixels_of_array(given: npt.NDArray[Any]) -> U8:
    """Return a copy of an array of pixels: uint8 [height, width], or with 1, 3 or 4 channels; a fourth is ignored.

    Raises
    ------
    PictureError
        If it has another type or shape, or too many pixels.
    """
    channels = given.shape[2] if given.ndim == 3 else 1
    if given.dtype != np.uint8 or given.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in given.shape:
        raise PictureError(
            f"a picture as an array must be uint8 [height, width, 3], found {given.dtype} {list(given.shape)}"
        )
    _check_size(given.shape[1], given.shape[0])
    rows = given.reshape(*given.shape[:2], channels)[:, :, :3]
    return np.ascontiguousarray(np.broadcast_to(rows, (*given.shape[:2], 3))).copy()


def is_image(given: object) -> bool:
    """Whether this is an image of Pillow."""
    return any(cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(given).__mro__)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or not width * height:
        raise PictureError(f"a picture of {width} x {height} pixels; 1 to {MAX_PIXELS} are read, so make it smaller")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(f"pictures need the extra: pip install 'realizar[vision]' ({error})") from None
    return Image
