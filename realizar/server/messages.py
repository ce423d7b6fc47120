"""Conversations as clients send them, and the prompts that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realizar.calls.messages import has_tool_calls
from realizar.calls.prompts import checked_variables
from realizar.server.errors import ApiError
from realizar.server.pictures import check_media

if TYPE_CHECKING:
    from realizar.async_llm import AsyncLLM
    from realizar.calls import ChatPrompt
    from realizar.params import SamplingParams


def chat_prompt(
    llm: AsyncLLM, messages: Sequence[dict[str, Any]], params: SamplingParams, *, tools: Sequence[Any] | None,
    tool_choice: Any, parallel: bool, variables: Mapping[str, Any] | None, effort: str | None,
    continues: bool | None = None, begins: bool | None = None,
) -> ChatPrompt:  # fmt: skip
    """Return the prompt of a conversation in OpenAI's form.

    Parameters
    ----------
    llm : AsyncLLM
    messages : list of dict
    params : SamplingParams
    tools, tool_choice, parallel
        See `LoadedModel.chat_prompt`.
    variables : mapping, optional
        Variables of the template.
    effort : str, optional
        How much the model is to reason; "none" and "minimal" turn it off where the template can.
    continues : bool, optional
        Whether to continue the last message; by default where it is the assistant's and calls no tools.
    begins : bool, optional
        Whether the prompt ends with the beginning of a new message; by default unless one is continued.

    Raises
    ------
    ApiError
        400 if there is no message.
    """
    known = messages_for(llm, messages)
    used = _used_variables(llm, messages, tools)
    defined = reasoning_variables(effort, used) | template_variables(llm, messages, tools, variables)
    if not known:
        raise ApiError(400, "the conversation has no message", "invalid_value", "messages")
    last = known[-1]
    is_begun = last.get("role") == "assistant" and not last.get("tool_calls")
    return llm.chat_prompt(
        known, params, tools=tools or None, tool_choice=tool_choice, parallel_tool_calls=parallel,
        chat_template_kwargs=defined or None, add_generation_prompt=begins,
        continue_final_message=is_begun and begins is None if continues is None else continues,
    )  # fmt: skip


def messages_for(llm: AsyncLLM, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages in roles that the model's template knows: of a developer, where it does not, the system's.

    Raises
    ------
    ApiError
        400 if a picture or a sound is neither in the request nor remote.
    """
    check_media(messages)
    template = llm.tokenizer.chat_template
    if template is not None and "developer" in template.source:
        return list(messages)
    return [{**m, "role": "system"} if m.get("role") == "developer" else m for m in messages]


def template_variables(
    llm: AsyncLLM, messages: Sequence[dict[str, Any]], tools: Sequence[Any] | None, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return those of a client's template variables that the template uses.

    Of others the library warns, and a server would write texts of its clients to its log.

    Raises
    ------
    ParameterError
        If a name or a value is invalid.
    """
    checked = checked_variables(given)
    used = _used_variables(llm, messages, tools) if checked else ()
    return {name: value for name, value in checked.items() if name in used}


def _used_variables(llm: AsyncLLM, messages: Sequence[dict[str, Any]], tools: Sequence[Any] | None) -> frozenset[str]:
    tokenizer = llm.tokenizer
    template = ((tools or has_tool_calls(messages)) and tokenizer.tool_template) or tokenizer.chat_template
    return frozenset() if template is None else template.variables


def reasoning_variables(effort: str | None, used: frozenset[str]) -> dict[str, Any]:
    """Return the template variables for an effort, of those that the template uses."""
    if effort is None:
        return {}
    thinks = effort not in ("none", "minimal")
    both = {"reasoning_effort": effort, "enable_thinking": thinks, "thinking": thinks}
    return {name: value for name, value in both.items() if name in used}


def response_constraint(response_format: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of SamplingParams for OpenAI's response_format (or text.format of Responses).

    Raises
    ------
    ApiError
        400 if it is unknown, or has no schema.
    """
    kind = None if response_format is None else response_format.get("type")
    if response_format is None or kind == "text":
        return {}
    if kind == "json_object":
        return {"json_schema": response_format.get("schema") or {"type": "object"}}
    if kind == "json_schema":
        wanted = response_format.get("json_schema", response_format)
        schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
        if isinstance(schema, Mapping):
            # Without "strict" OpenAI promises nothing about keywords that it does not know.
            return {"json_schema": dict(schema), "lenient": wanted.get("strict") is not True}
        raise ApiError(400, "response_format: json_schema has no schema", "invalid_value", "response_format")
    raise ApiError(
        400, f"response_format: type {str(kind)[:80]!r} is unknown; known are text, json_object, json_schema",
        "invalid_value", "response_format",
    )  # fmt: skip
