"""Pictures in requests: those of the other protocols in OpenAI's form, and which addresses a client may name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from realizar.pictures.conversation import KINDS
from realizar.server.errors import ApiError

SCHEMES = ("data", "http", "https")
"""Schemes of URLs that a client may name; the model's `allow_urls` decides about remote ones."""


def check_pictures(messages: Sequence[Any]) -> None:
    """Raise ApiError, 400, if a part names something else than a URL with data or a remote one: never a local file."""
    for i, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping) and part.get("type") in KINDS:
                _check_url(f"messages[{i}]", part)


def _check_url(where: str, part: Mapping[str, Any]) -> None:
    found = part.get("image_url")
    url = found.get("url") if isinstance(found, Mapping) else found
    if not isinstance(url, str) or url[:8].partition(":")[0].lower() not in SCHEMES or len(part.keys() - _KEYS) > 0:
        raise ApiError(
            400, f"{where}: a picture must be of type image_url, with a data URL or an http or https URL",
            "invalid_value", "messages",
        )  # fmt: skip


_KEYS = {"type", "image_url", "detail"}


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
