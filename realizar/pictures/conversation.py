"""Pictures in conversations: takes them out of messages, and puts their rows into the rendered prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realizar.errors import PictureError, TemplateError, short_repr
from realizar.params import Embeddings, Tokens
from realizar.pictures.source import read_picture

if TYPE_CHECKING:
    from realizar.pictures.encoder import PictureEncoder

    Message = Mapping[str, Any]

PICTURE = {"type": "image"}
"""A part of a message that stands for a picture, as chat templates know it."""
KINDS = ("image_url", "image", "input_image", "image_pil")
"""Types of parts that have a picture."""


def take_pictures(messages: Any) -> tuple[Any, list[Any]]:
    """Return messages in which PICTURE stands for each picture, and the pictures as they were given.

    A part may be as in OpenAI's chat completions, {"type": "image_url", "image_url": {"url": ...}}, as in its
    responses, {"type": "input_image", "image_url": ...}, or as in transformers, {"type": "image", "image": ...} with
    "url" or "path"; or a picture itself: an image of Pillow, an array, a path, or bytes. Malformed messages are
    returned unchanged.

    Raises
    ------
    PictureError
        If a part has no picture.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        return messages, []
    pictures: list[Any] = []
    return [_without_pictures(message, pictures) for message in messages], pictures


def _without_pictures(message: Any, pictures: list[Any]) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        return message
    parts = []
    for part in content:
        if isinstance(part, Mapping) and part.get("type") not in KINDS:
            parts.append(part)
        elif isinstance(part, str):
            parts.append({"type": "text", "text": part})
        else:
            pictures.append(_given(part) if isinstance(part, Mapping) else part)
            parts.append(dict(PICTURE))
    return {**message, "content": parts}


def _given(part: Mapping[str, Any]) -> Any:
    """The picture of a part."""
    for key in ("image_url", "image", "url", "path", "image_pil"):
        found = part.get(key)
        if isinstance(found, Mapping):
            found = found.get("url")
        if found is not None:
            return found
    wanted = '{"type": "image_url", "image_url": {"url": ...}}'
    raise PictureError(f"a part with a picture must be {wanted}, found {short_repr(dict(part))}")


def with_texts_for_pictures(messages: Sequence[Message], marker: str) -> list[Message]:
    """Return messages with a text in place of PICTURE, for templates that know no pictures."""
    out = []
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list):
            parts = [{"type": "text", "text": marker} if part == PICTURE else part for part in content]
            message = {**message, "content": parts}
        out.append(message)
    return out


class PictureReader:
    """Reads and encodes the pictures of conversations.

    Parameters
    ----------
    encoder : callable
        Returns the encoder; called when it is first needed.
    allow_urls : bool or sequence of str
        See `read_picture`.
    """

    def __init__(self, encoder: Callable[[], PictureEncoder], allow_urls: bool | Sequence[str] = False) -> None:
        self._encoder = encoder
        self._allow_urls = allow_urls

    @property
    def placeholder(self) -> str:
        """The text by which chat templates mark a picture."""
        return self._encoder().placeholder

    def prompt(
        self, text: str, pictures: Sequence[Any], encode: Callable[[str], list[int]]
    ) -> list[Tokens | Embeddings]:
        """Return the parts of a prompt: the rendered text, with the rows of the pictures in place of placeholders.

        Parameters
        ----------
        text : str
        pictures : sequence
            See `read_picture`.
        encode : callable
            Returns the token ids of a text.

        Raises
        ------
        TemplateError
            If the text has not as many placeholders as there are pictures.
        PictureError, MissingExtraError, OutOfMemoryError
            See `read_picture` and `PictureEncoder.parts`.
        """
        texts = text.split(self.placeholder)
        if len(texts) != len(pictures) + 1:
            raise TemplateError(
                f"{len(pictures)} pictures, but the rendered conversation has {self.placeholder!r} {len(texts) - 1} "
                "times; the chat template drops pictures in this place, or a text contains this marker: remove it"
            )
        pixels = [read_picture(given, self._allow_urls) for given in pictures]
        pieces: list[str | Tokens | Embeddings] = [texts[0]]
        for parts, after in zip(self._encoder().parts(pixels), texts[1:], strict=True):
            pieces += [*parts, after]
        return list(_tokenized(pieces, encode))


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
