"""MediaKind: what messages call pictures and sounds, and the error of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from realizar.errors import ParameterError, PictureError, SoundError

MAX_BYTES = 32 << 20
"""Most bytes of a file."""


@dataclass(frozen=True, eq=False)
class MediaKind:
    """A kind of media in conversations.

    Attributes
    ----------
    noun : str
        For error messages.
    modality : {"vision", "audio"}
        What its encoder reads.
    error : type
        What is raised if one cannot be read.
    part : dict
        The part of a message that stands for one, as chat templates know it.
    types : tuple of str
        Types of parts that have one.
    keys : tuple of str
        Keys of such a part, of which the first that exists has it.
    example : str
        A part, for error messages.
    data_url : str
        Begins the data URL of one.
    """

    noun: str
    modality: Literal["vision", "audio"]
    error: type[ParameterError]
    part: dict[str, str]
    types: tuple[str, ...]
    keys: tuple[str, ...]
    example: str
    data_url: str


PICTURE = MediaKind(
    "picture", "vision", PictureError, {"type": "image"}, ("image_url", "image", "input_image", "image_pil"),
    ("image_url", "image", "url", "path", "image_pil"), '{"type": "image_url", "image_url": {"url": ...}}',
    "data:image/png;base64,",
)  # fmt: skip
SOUND = MediaKind(
    "sound", "audio", SoundError, {"type": "audio", "audio_url": ""}, ("input_audio", "audio_url", "audio"),
    ("input_audio", "audio_url", "audio", "url", "path"),
    '{"type": "input_audio", "input_audio": {"data": ..., "format": "wav"}}', "data:audio/wav;base64,",
)  # fmt: skip
KINDS = (PICTURE, SOUND)
