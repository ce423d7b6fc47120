"""Where a sound of a conversation comes from: OpenAI's base64, URLs, files, and arrays."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.errors import SoundError, short_repr
from realizar.pictures.kind import MAX_BYTES, SOUND
from realizar.pictures.read_sound import format_of, samples_of_array, samples_of_bytes
from realizar.pictures.source import read_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")


def is_sound(given: Any) -> bool:
    """Whether what stands for itself in a message is a sound: a pair, or an array, file or path of one."""
    if isinstance(given, tuple):
        return True
    if isinstance(given, np.ndarray):
        return given.dtype != np.uint8 and given.ndim < 3
    if isinstance(given, (bytes, bytearray, memoryview)):
        return format_of(bytes(given)[:16]) is not None
    return isinstance(given, os.PathLike) and PurePath(given).suffix.lower() in SUFFIXES


def read_sound(given: Any, allow_urls: bool | Sequence[str] = False) -> npt.NDArray[np.float32]:
    """Return the samples of a sound, float32 [n] at 16 kHz.

    Parameters
    ----------
    given : mapping, str, PathLike, bytes, array or (array, int)
        {"data": base64, "format": ...} as OpenAI has it, a data URL, a file URL, a path, an http or https URL, the
        bytes of a file, or samples: at 16 kHz, or with their rate.
    allow_urls : bool or sequence of str
        Whether http and https URLs are read: all, none, or those that begin with one of these texts.

    Raises
    ------
    SoundError
        If it cannot be read, exceeds a limit, or is remote and not allowed.
    MissingExtraError
        If soundfile or soxr is needed and not installed.
    """
    if isinstance(given, np.ndarray):
        return samples_of_array(given)
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray):
        return samples_of_array(*given)
    data = _base64(given) if isinstance(given, Mapping) else read_bytes(given, allow_urls, SOUND)
    if data is None:
        raise SoundError(
            f"a sound is {SOUND.example}, a URL, a path, bytes, an array [n] at 16 kHz, or (array, rate), not "
            f"{short_repr(given)}"
        )
    return samples_of_bytes(data)


def _base64(given: Mapping[Any, Any]) -> bytes | None:
    """The bytes of OpenAI's `input_audio`; None if it is malformed."""
    text = given.get("data")
    if not isinstance(text, str):
        return None
    if len(text) > 2 * MAX_BYTES:
        raise SoundError(f"a sound of {len(text)} characters in base64; it has at most {MAX_BYTES} bytes")
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise SoundError(f"the data of a sound are not base64: {error}") from None
