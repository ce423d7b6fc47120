"""Tool calls of real chat templates: what a template writes is parsed back, and the grammar allows it.

For the templates see test_templates.py; docs/tools.md has a table of those that are not supported.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from llguidance import LLMatcher

from realizar import SamplingParams
from realizar.calls import ChatOptions, ChatPrompts
from realizar.errors import TemplateError
from realizar.sampling.grammar.vocabulary import vocabulary
from realizar.tokenizer import Tokenizer

_FOLDER = os.environ.get("REALIZAR_CHAT_TEMPLATES", "")
_FILES = sorted(Path(_FOLDER).glob("*.jinja")) if _FOLDER else []

pytestmark = pytest.mark.skipif(not _FILES, reason="REALIZAR_CHAT_TEMPLATES names no folder of *.jinja files")

NO_SECTION = (
    "HuggingFaceTB-SmolLM3-3B", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "google-gemma-2-2b-it", "llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct",
)  # fmt: skip
OTHER_FORMS = ("MiniMax-M3",)
WITHOUT_ESCAPES = ("LFM2.5-8B-A1B",)
"""Write strings in quotes without escapes, so that those with quotes or line breaks in them are no calls."""
DROPS_LAST = ("NVIDIA-Nemotron-Nano-v2",)
"""Render a message of the assistant only if another message follows."""
INDENTED = ("CohereForAI-c4ai-command-r-plus-tool_use",)

_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|call|>", "<|return|>", "<turn|>", "<|END_OF_TURN_TOKEN|>",
    "<|eom_id|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<end_of_turn>", "[e~[", "<seed:eos>", "<|role_end|>",
    "<|end_of_msg|>", "<SPECIAL_12>", "<|eot|>", "<EOS>",
)  # fmt: skip
_TAG = re.compile(
    r"<[|\uff5c][^<>\s'\"{}]{1,40}[|\uff5c]?>|\[/?(?:TOOL_CALLS|ARGS|CALL_ID|INST|THINK)\]|<\|\"\|>"
    r"|</?(?:arg_key|arg_value|tool_call|minimax:tool_call|seed:tool_call|think)>"
)
QUESTION = {"role": "user", "content": "Q."}
SCHEMA = {
    "type": "object",
    "properties": {
        "s": {"type": "string", "description": "d"},
        "i": {"type": "integer", "description": "d"},
        "b": {"type": "boolean", "description": "d"},
        "l": {"type": "array", "items": {"type": "string"}, "description": "d"},
        "o": {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"], "description": "d",
              "additionalProperties": {"type": "string"}},
    },
    "required": ["s"],
    "additionalProperties": False,
}  # fmt: skip
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "D.", "parameters": SCHEMA}}
    for name in ("first_tool", "first_tool_2")
]
RICH = [
    ("first_tool", {"s": 'Rome & <b>Pa\'ris</b>\n"x"', "i": 5, "b": True, "l": ["x", "y"], "o": {"k": "v"}}),
    ("first_tool_2", {"s": ""}),
    ("first_tool", {"s": "a", "b": False}),
]
SIMPLE = [("first_tool", {"s": "Rome", "i": 5}), ("first_tool_2", {"s": "x"}), ("first_tool", {"s": "a"})]


def _tokenizer(source: str) -> Tokenizer:
    """A tokenizer of bytes, in which the tags of a template are control tokens and the usual end tokens end a text."""
    ends = [end for end in _ENDS if end in source or end == "<EOS>"]
    control = list(dict.fromkeys([*ends, *_TAG.findall(source)]))
    return Tokenizer.from_gguf({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [*(f"<0x{byte:02X}>" for byte in range(256)), *control, "\u2581"],
        "tokenizer.ggml.token_type": [6] * 256 + [3] * len(control) + [1],
        "tokenizer.ggml.scores": [0.0] * (257 + len(control)),
        "tokenizer.ggml.eos_token_id": 256,
        "tokenizer.ggml.bos_token_id": 256,
        "tokenizer.ggml.unknown_token_id": 256,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": source,
    })  # fmt: skip


@pytest.mark.parametrize("calls", [RICH, SIMPLE], ids=["rich", "simple"])
@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
def test_written_calls_are_parsed_back(file: Path, calls: list[tuple[str, dict[str, object]]]) -> None:
    """The first call, and three where a completion may have several: the same calls, joined deltas, and grammar."""
    tokenizer = _tokenizer(file.read_text(encoding="utf-8"))
    prompts = ChatPrompts(tokenizer)
    if file.stem in NO_SECTION + OTHER_FORMS:
        with pytest.raises(TemplateError, match="no section for tools" if file.stem in NO_SECTION else "not supported"):
            prompts.make([QUESTION], SamplingParams(), ChatOptions(TOOLS, "auto"))
        return
    if calls is RICH and file.stem in WITHOUT_ESCAPES + INDENTED:
        calls = [(name, {"s": "x"} | {k: v for k, v in given.items() if k in "ib"}) for name, given in RICH]
    tool_format = prompts._format.calls
    assert tool_format is not None
    for some in (calls[:1], calls) if tool_format.between is not None else (calls[:1],):
        made = [
            {"id": f"abcdefgh{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for i, (name, arguments) in enumerate(some)
        ]
        after = [QUESTION] if file.stem in DROPS_LAST else []
        text = prompts.text(
            [QUESTION, {"role": "assistant", "content": None, "tool_calls": made}, *after], ChatOptions(TOOLS)
        )
        has_role = file.stem in ("openai-gpt-oss-120b", "muse-glimmer")
        opening = tool_format.opening if has_role else re.split("[\0\1\2]", tool_format.start)[0]
        begin = text.index(opening or "first_tool", text.index("Q.", len(text) // 3))
        ends = [at for end in (*_ENDS, "<|START_OF_TURN_TOKEN|>") if (at := text.find(end, begin)) >= 0]
        written, closing = text[begin : min(ends, default=len(text))], tool_format.closing
        if closing and not re.search("[\0\1\2]", closing):
            written = written[: written.rindex(closing) + len(closing)]
        _check(prompts, tokenizer, written, some)


def _check(
    prompts: ChatPrompts, tokenizer: Tokenizer, written: str, calls: list[tuple[str, dict[str, object]]]
) -> None:
    """Parse a text that ends with the calls or something after them, character by character, and match its grammar."""
    made = prompts.make([QUESTION], SamplingParams(), ChatOptions(TOOLS, "auto"))
    assert made.tools is not None
    reader = made.tools.reader(np.zeros(1, np.int32))
    assert reader is not None
    shown = "".join(map(reader.push, written)) + reader.flush()
    assert (shown.strip(), [(call.name, call.arguments) for call in reader.calls()]) == ("", calls)
    joined: dict[int, str] = {}
    for delta in reader.take_deltas():
        joined[delta.number] = joined.get(delta.number, "") + delta.arguments
    assert [json.loads(arguments) for arguments in joined.values()] == [arguments for _, arguments in calls]
    matcher = LLMatcher(vocabulary(tokenizer), made.params.grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    ids = tokenizer.encode(written.rstrip(), add_special=False, parse_special=True)
    assert matcher.consume_tokens(ids), matcher.get_error()
    assert matcher.is_accepting()
