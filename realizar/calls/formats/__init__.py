"""The declared forms of tool calls that realizar has, one in each module, and which one a chat template uses."""

from __future__ import annotations

from collections.abc import Iterable
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
    minimax_m2,
    pythonic,
    qwen3_coder,
    seed_oss,
    smollm3,
)  # fmt: skip

if TYPE_CHECKING:
    from realizar.calls.chat_format import ChatFormat
    from realizar.calls.tool_format import ToolCallFormat
    from realizar.tokenizer import ChatTemplate

    Found = tuple[ChatFormat, ToolCallFormat] | None

SHIPPED: tuple[ChatFormat, ...] = tuple(
    module.FORMAT
    for module in (
        command_r_plus, deepseek_dsml, deepseek_v3_1, firefunction, functionary, gemma4, glm, granite, harmony, hunyuan,
        kimi_k3, lfm2, minimax_m2, pythonic, qwen3_coder, seed_oss, smollm3,
    )
)  # fmt: skip


def shipped(template: ChatTemplate, ends: Iterable[str]) -> Found:
    """Return the format of realizar that a chat template uses, and its texts; None if it is none of them."""
    return _first(SHIPPED, template, ends)


def of_plugins(template: ChatTemplate, ends: Iterable[str]) -> Found:
    """Return the same for the formats of the installed plugins, which this imports."""
    return _first(default().chat_formats.values(), template, ends)


def _first(known: Iterable[ChatFormat], template: ChatTemplate, ends: Iterable[str]) -> Found:
    for chat_format in known:
        found = chat_format.recognized(template, ends)
        if found is not None:
            return chat_format, found
    return None
