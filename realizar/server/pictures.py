"""Pictures and sounds in requests: those of other protocols in OpenAI's form, and addresses that clients may name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from realizar.pictures.kind import PICTURE, SOUND
from realizar.server.errors import ApiError

SCHEMES = ("data", "http", "https")
"""Schemes of URLs that a client may name; the model's `allow_urls` decides about remote ones."""


def check_media(messages: Sequence[Any]) -> None:
    """Raise ApiError, 400, if a part names something else than data or a remote URL: never a local file."""
    for i, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping) and part.get("type") in PICTURE.types:
                _check_picture(f"messages[{i}]", part)
            elif isinstance(part, Mapping) and part.get("type") in SOUND.types:
                _check_sound(f"messages[{i}]", part)


def _check_picture(where: str, part: Mapping[str, Any]) -> None:
    if not _is_url(part.get("image_url")) or part.keys() - {"type", "image_url", "detail"}:
        raise ApiError(
            400, f"{where}: a picture must be of type image_url, with a data URL or an http or https URL",
            "invalid_value", "messages",
        )  # fmt: skip


def _check_sound(where: str, part: Mapping[str, Any]) -> None:
    given = part.get("input_audio")
    data = given.get("data") if isinstance(given, Mapping) else None
    is_data = part.keys() == {"type", "input_audio"} and isinstance(data, str)
    is_url = part.keys() == {"type", "audio_url"} and _is_url(part["audio_url"])
    if not is_data and not is_url:
        raise ApiError(
            400, f"{where}: a sound must be of type input_audio, with data in base64 and a format, or of type "
            "audio_url, with a data URL or an http or https URL", "invalid_value", "messages",
        )  # fmt: skip


def _is_url(given: Any) -> bool:
    url = given.get("url") if isinstance(given, Mapping) else given
    return isinstance(url, str) and url[:8].partition(":")[0].lower() in SCHEMES


def picture_part(url: str) -> dict[str, Any]:
    """Return a picture as OpenAI's chat completions have it."""
    return {"type": "image_url", "image_url": {"url": url}}


def anthropic_picture(where: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block of type "image" as OpenAI has it.

    Raises
    ------
    ApiError
        400 if its source is neither base64 nor a URL.
    """
    source = block.get("source")
    kind = source.get("type") if isinstance(source, Mapping) else None
    if isinstance(source, Mapping) and kind == "base64" and isinstance(source.get("data"), str):
        return picture_part(f"data:{source.get('media_type')};base64,{source['data']}")
    if isinstance(source, Mapping) and kind == "url" and isinstance(source.get("url"), str):
        return picture_part(source["url"])
    raise ApiError(400, f"{where}: the source of an image must be base64 with data, or a url", "invalid_value", where)


def with_base64(where: str, content: Any, images: Any) -> Any:
    """Return a message's content with pictures, as Ollama has them beside it: a list of base64 texts.

    Raises
    ------
    ApiError
        400 if they are not texts.
    """
    if not images:
        return content
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise ApiError(400, f"{where}: images must be a list of base64 texts", "invalid_value", "images")
    pictures = [picture_part(f"data:image/*;base64,{image.rpartition(',')[2]}") for image in images]
    return [*pictures, {"type": "text", "text": str(content)}]
