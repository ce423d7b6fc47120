"""The declared forms of tool calls that realizar has, one in each module, and which one a chat template uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from realizar.arch.registry import default
from realizar.calls.formats import (
    command_r_plus,
    deepseek_dsml,
    deepseek_v3_1,
    firefunction,
    functionary,
    gemma4,
    glm,
    granite,
    harmony,
    hunyuan,
    kimi_k3,
    lfm2,
    minicpm5,
    minimax_m2,
    muse_glimmer,
    pythonic,
    qwen3_coder,
    seed_oss,
    smollm3,
)  # fmt: skip

if TYPE_CHECKING:
    from realizar.calls.chat_format import ChatFormat
    from realizar.calls.reasoning import ReasoningFormat
    from realizar.calls.tool_format import ToolCallFormat
    from realizar.tokenizer import ChatTemplate

    Found = tuple[ChatFormat, ToolCallFormat] | None

SHIPPED: tuple[ChatFormat, ...] = tuple(
    module.FORMAT
    for module in (
        command_r_plus, deepseek_dsml, deepseek_v3_1, firefunction, functionary, gemma4, glm, granite, harmony, hunyuan,
        kimi_k3, lfm2, minicpm5, minimax_m2, muse_glimmer, pythonic, qwen3_coder, seed_oss, smollm3,
    )
)  # fmt: skip


def shipped(template: ChatTemplate, ends: Iterable[str]) -> Found:
    """Return the format of realizar that a chat template uses, and its texts; None if it is none of them."""
    return _first(SHIPPED, template, ends)


def of_plugins(template: ChatTemplate, ends: Iterable[str]) -> Found:
    """Return the same for the formats of the installed plugins, which this imports."""
    return _first(default().chat_formats.values(), template, ends)


def has_headers(template: ChatTemplate) -> bool:
    """Whether answers have headers that are not part of their text, also without tools."""
    return any(known.calls is not None and known.calls.headers for known in _named_in(template))


def reasoning_of(template: ChatTemplate) -> ReasoningFormat | None:
    """Return the markers of reasoning of the format whose texts are in a chat template, if it has the markers, too."""
    found = (known.reasoning for known in _named_in(template))
    return next((markers for markers in found if markers is not None and markers.opening in template.source), None)


def _named_in(template: ChatTemplate) -> Iterator[ChatFormat]:
    """Yield the formats whose texts are in a chat template."""
    for known in chain(SHIPPED, default().chat_formats.values()):
        if known.contains and all(text in template.source for text in known.contains):
            yield known


def _first(known: Iterable[ChatFormat], template: ChatTemplate, ends: Iterable[str]) -> Found:
    for chat_format in known:
        found = chat_format.recognized(template, ends)
        if found is not None:
            return chat_format, found
    return None
