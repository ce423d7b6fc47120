"""Pictures and sounds in conversations: takes them out of messages, puts their rows into the rendered prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.arch.mel import RATE
from realizar.errors import TemplateError, short_repr
from realizar.params import Embeddings, Tokens
from realizar.pictures.kind import KINDS, PICTURE, SOUND, MediaKind
from realizar.pictures.read_sound import MAX_SECONDS
from realizar.pictures.sound_source import is_sound, read_sound
from realizar.pictures.source import read_picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.pictures.encoder import PictureEncoder

    Message = Mapping[str, Any]


class Given(NamedTuple):
    """A picture or a sound, as it was given."""

    kind: MediaKind
    value: Any


def take_media(messages: Any) -> tuple[Any, list[Given]]:
    """Return messages in which a part without content stands for each picture and sound, and these as they were given.

    A part may be as in OpenAI's chat completions, {"type": "image_url", "image_url": {"url": ...}} and {"type":
    "input_audio", "input_audio": {"data": ..., "format": ...}}, as in its responses, {"type": "input_image",
    "image_url": ...}, or as in transformers, {"type": "image", "image": ...} and {"type": "audio", "audio": ...} with
    "url" or "path"; or a picture or sound itself: an image of Pillow, an array, a path, or bytes. Malformed messages
    are returned unchanged.

    Raises
    ------
    PictureError, SoundError
        If a part has no picture or sound.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        return messages, []
    found: list[Given] = []
    return [_without_media(message, found) for message in messages], found


def _without_media(message: Any, found: list[Given]) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        return message
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
            continue
        if isinstance(part, Mapping):
            kind = next((kind for kind in KINDS if part.get("type") in kind.types), None)
        else:
            kind = SOUND if is_sound(part) else PICTURE
        if kind is None:
            parts.append(part)
        else:
            found.append(Given(kind, _given(part, kind) if isinstance(part, Mapping) else part))
            parts.append(dict(kind.part))
    return {**message, "content": parts}


def _given(part: Mapping[str, Any], kind: MediaKind) -> Any:
    """The picture or sound of a part."""
    for key in kind.keys:
        found = part.get(key)
        if isinstance(found, Mapping) and key != "input_audio":
            found = found.get("url")
        if found is not None:
            return found
    raise kind.error(f"a part with a {kind.noun} must be {kind.example}, found {short_repr(dict(part))}")


def with_texts(messages: Sequence[Message], part: Mapping[str, str], marker: str) -> list[Message]:
    """Return messages with a text in place of this part, for templates that do not know it."""
    out = []
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list):
            parts = [{"type": "text", "text": marker} if one == part else one for one in content]
            message = {**message, "content": parts}
        out.append(message)
    return out


class MediaReader:
    """Reads and encodes the pictures and sounds of conversations.

    Parameters
    ----------
    encoder : callable
        Returns the encoder of a kind, which is called when it is first needed; raises the error of the kind if the
        model has none.
    allow_urls : bool or sequence of str
        See `read_picture`.
    """

    def __init__(
        self, encoder: Callable[[MediaKind], PictureEncoder], allow_urls: bool | Sequence[str] = False
    ) -> None:
        self._encoder = encoder
        self._allow_urls = allow_urls

    def placeholder(self, kind: MediaKind) -> str:
        """The text by which chat templates mark a picture or a sound."""
        return self._encoder(kind).placeholder

    def prompt(
        self, text: str, given: Sequence[Given], encode: Callable[[str], list[int]]
    ) -> list[Tokens | Embeddings]:
        """Return the parts of a prompt: the rendered text, with rows of pictures and sounds in place of placeholders.

        Parameters
        ----------
        text : str
        given : sequence of Given
            See `read_picture` and `read_sound`.
        encode : callable
            Returns the token ids of a text.

        Raises
        ------
        TemplateError
            If the text has other placeholders than there are pictures and sounds.
        PictureError, SoundError, MissingExtraError, OutOfMemoryError
            See `read_picture`, `read_sound` and `PictureEncoder.parts`.
        """
        placeholders = {self.placeholder(kind): kind for kind in KINDS if any(g.kind == kind for g in given)}
        texts = re.split(f"({'|'.join(map(re.escape, placeholders))})", text)
        for kind in placeholders.values():
            self._check_places(kind, texts, given)
        if [placeholders[marker] for marker in texts[1::2]] != [one.kind for one in given]:
            raise TemplateError("the chat template changes the order of pictures and sounds")
        encoded = {kind: iter(self._parts(kind, given)) for kind in placeholders.values()}
        pieces: list[str | Tokens | Embeddings] = [texts[0]]
        for one, after in zip(given, texts[2::2], strict=True):
            pieces += [*next(encoded[one.kind]), after]
        return list(_tokenized(pieces, encode))

    def _check_places(self, kind: MediaKind, texts: Sequence[str], given: Sequence[Given]) -> None:
        """Raise TemplateError if there are not as many placeholders of a kind as there are pictures or sounds."""
        marker, n = self.placeholder(kind), sum(one.kind == kind for one in given)
        if texts.count(marker) != n:
            raise TemplateError(
                f"{n} {kind.noun}s, but the rendered conversation has {marker!r} {texts.count(marker)} times; the chat "
                f"template drops {kind.noun}s in this place, or a text contains this marker: remove it"
            )

    def _parts(self, kind: MediaKind, given: Sequence[Given]) -> list[list[str | Tokens | Embeddings]]:
        own = [one.value for one in given if one.kind == kind]
        if kind is SOUND:
            return self._encoder(kind).parts(self._sounds(own))
        return self._encoder(kind).parts([read_picture(one, self._allow_urls) for one in own])

    def _sounds(self, given: Sequence[Any]) -> list[npt.NDArray[np.float32]]:
        """Read the sounds of a conversation, which have the limit of one together."""
        sounds: list[npt.NDArray[np.float32]] = []
        for one in given:
            sounds.append(read_sound(one, self._allow_urls))
            if sum(map(len, sounds)) > MAX_SECONDS * RATE:
                raise SOUND.error(f"the conversation has more than {MAX_SECONDS} s of sounds; make them shorter")
        return sounds


def _tokenized(
    pieces: Sequence[str | Tokens | Embeddings], encode: Callable[[str], list[int]]
) -> Iterator[Tokens | Embeddings]:
    """Yield the pieces with neighbouring texts tokenized as one."""
    text = ""
    for piece in (*pieces, None):
        if isinstance(piece, str):
            text += piece
            continue
        if text and (ids := encode(text)):
            yield Tokens(ids)
        text = ""
        if piece is not None:
            yield piece
