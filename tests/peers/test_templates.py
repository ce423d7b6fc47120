"""Real chat templates in our sandbox and in jinja2's, configured as in transformers: the same prompts.

llama.cpp publishes about seventy of them (models/templates, also in the sdist of llama-cpp-python); the environment
variable REALIZAR_CHAT_TEMPLATES names their folder.
"""

from __future__ import annotations

import json
import os
import warnings
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from realizar.calls.messages import normalize_tool_calls
from realizar.calls.probe import message_style
from realizar.errors import TemplateError
from realizar.tokenizer import ChatTemplate, chat
from realizar.tokenizer.messages import joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FOLDER = os.environ.get("REALIZAR_CHAT_TEMPLATES", "")
_FILES = sorted(Path(_FOLDER).glob("*.jinja")) if _FOLDER else []

pytestmark = pytest.mark.skipif(not _FILES, reason="REALIZAR_CHAT_TEMPLATES names no folder of *.jinja files")

NO_SYSTEM = ("google-gemma-2-2b-it",)
NEEDS_MORE = {"fireworks-ai-llama-3-firefunction-v2": "'functions' is undefined; give it"}
APPENDS = ("Kimi-K2-Instruct", "Kimi-K2-Thinking")
"""With tool calls, these call `append`, which transformers' sandbox refuses; llama.cpp renders them."""
REFUSES_TOOLS = ("google-gemma-2-2b-it",)

USER = {"role": "user", "content": "Hello there."}
NEXT = {"role": "user", "content": "And now?"}
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "Hi."}
TALKS = {"plain": [USER], "system": [SYSTEM, USER], "turns": [USER, ANSWER, NEXT], "all": [SYSTEM, USER, ANSWER, NEXT]}
STRINGS = {"type": "object", "properties": {"city": {"type": "string", "description": "c"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "get_it", "description": "Does.", "parameters": STRINGS}}]
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "get_it", "arguments": '{"city": "Paris"}'}}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_it", "content": "18"}
CALLED = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT]


def _theirs(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    changes: bool = False,
    keeps_none: bool = False,
    **variables: Any,
) -> str | None:
    """Render messages as transformers does; None if that fails.

    Its `render_jinja_template` is jinja2 with these settings and globals; version 5.24 drops keys that are None.
    """
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

    from realizar.tokenizer.sandbox import GenerationBlock

    environment = (SandboxedEnvironment if changes else ImmutableSandboxedEnvironment)(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationBlock]
    )
    environment.filters["tojson"] = _json
    environment.globals |= {"raise_exception": chat.raise_exception, "strftime_now": _date}
    plain = [{k: v for k, v in message.items() if v is not None or keeps_none} for message in messages]
    variables = {
        "messages": plain,
        "add_generation_prompt": True,
        "bos_token": "<BOS>",
        "eos_token": "<EOS>",
        **variables,
    }
    try:
        return environment.from_string(source).render(variables)
    except Exception:  # templates fail in many ways
        return None


def _json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _date(_: str) -> str:
    return "DATE"


def _ours(source: str, messages: list[dict[str, Any]], **variables: Any) -> str:
    return ChatTemplate(source, "<BOS>", "<EOS>").render(messages, **variables)


def _in_parts(messages: list[dict[str, Any]], n: int = 1) -> list[dict[str, Any]]:
    """Return the messages with each content split into n parts."""
    return [{**m, "content": [{"type": "text", "text": t} for t in _cut(m["content"], n)]} for m in messages]


def _some_joined(messages: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the messages with the parts joined for each subset of the roles."""
    roles = sorted({message["role"] for message in messages})
    for chosen in product((False, True), repeat=len(roles)):
        is_joined = dict(zip(roles, chosen, strict=True))
        yield [{**m, "content": joined(m["content"]) if is_joined[m["role"]] else m["content"]} for m in messages]


def _cut(text: str, n: int) -> list[str]:
    return [text] if n == 1 else [text[:3], text[3:]]


@pytest.fixture(autouse=True)
def _same_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "strftime_now", _date)


@pytest.fixture(params=_FILES, ids=lambda file: file.stem)
def template(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Name and source of a template."""
    return request.param.stem, request.param.read_text(encoding="utf-8")


@pytest.mark.parametrize("thinking", [{}, {"enable_thinking": False}, {"enable_thinking": True}], ids=str)
@pytest.mark.parametrize("talk", TALKS)
def test_the_same_prompts(template: tuple[str, str], talk: str, thinking: dict[str, bool]) -> None:
    """The same prompts as transformers; one part renders as a string, two parts as parts or as their joined text."""
    name, source = template
    messages = TALKS[talk]
    if name in NEEDS_MORE:
        with pytest.raises(TemplateError, match=NEEDS_MORE[name]):
            _ours(source, messages, **thinking)
        return
    if name in NO_SYSTEM and messages[0]["role"] == "system":
        with pytest.warns(UserWarning, match="has no system messages"):
            found = _ours(source, messages, **thinking)
        first = {"role": "user", "content": "Be brief.\nHello there."}
        assert found == _theirs(source, [first, *messages[2:]], **thinking)
        return
    expected = _theirs(source, messages, tools=None, documents=None, **thinking)
    if expected is None:  # it iterates over tools, which llama.cpp leaves undefined
        expected = _theirs(source, messages, **thinking)
    assert expected is not None
    assert _ours(source, messages, **thinking) == expected
    assert _ours(source, _in_parts(messages), **thinking) == expected
    cut = _ours(source, _in_parts(messages, 2), **thinking)
    assert "'text'" not in cut.replace(expected, "")
    none: dict[str, None] = {} if _theirs(source, messages, tools=None) is None else {"tools": None, "documents": None}
    assert cut in [_theirs(source, talk, **none, **thinking) for talk in _some_joined(_in_parts(messages, 2))]


def test_tools_and_earlier_calls(template: tuple[str, str]) -> None:
    """Tools render as in transformers; earlier calls as one of the message styles renders there."""
    name, source = template
    if name in NEEDS_MORE:
        return
    tools = _theirs(source, [USER], tools=TOOLS, documents=None)
    found = _ours(source, [USER], tools=TOOLS)
    assert found == tools if tools is not None else "get_it" in found  # DeepSeek R1's: an iterator to JSON
    if name in REFUSES_TOOLS:
        with pytest.raises(TemplateError, match="rejects these messages"):
            _ours(source, normalize_tool_calls(CALLED, *message_style(ChatTemplate(source, "", ""))), tools=TOOLS)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = _ours(
            source, normalize_tool_calls(CALLED, *message_style(ChatTemplate(source, "<BOS>", "<EOS>"))), tools=TOOLS
        )
    ways = [normalize_tool_calls(CALLED, as_text, content) for as_text in (False, True) for content in (None, "")]
    known = [
        _theirs(source, way, changes=name in APPENDS, keeps_none=keeps_none, tools=TOOLS, documents=None)
        for way, keeps_none in product(ways, (False, True))
    ]
    assert found in known if tools is not None else '{"city": "Paris"}' in found
