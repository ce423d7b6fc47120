"""How a completion is shown: its repr, and its HTML in notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realizar.engine.output import Completion


def completion_repr(completion: Completion) -> str:
    """Return the text of a completion and why it ended, on one line."""
    parts = [repr(completion.text), f"finish_reason={completion.finish_reason!r}"]
    if completion.tool_calls:
        parts.append(f"tool_calls={completion.tool_calls!r}")
    parts.append(f"n_tokens={len(completion.token_ids)}")
    if completion.others:
        parts.append(f"n_others={len(completion.others)}")
    return f"Completion({', '.join(parts)})"


def completion_html(completion: Completion) -> str:
    """Return HTML that shows a completion and the others of its prompt; whatever the model wrote is escaped."""
    return "".join(map(_one_html, completion.outputs))


def _one_html(completion: Completion) -> str:
    timings = completion.timings
    facts = [completion.finish_reason, f"{timings.n_prompt} + {timings.n_generated} tokens"]
    if timings.decode_tok_s:
        facts.append(f"{timings.decode_tok_s:.1f} tok/s")
    if completion.score is not None:
        facts.append(f"score {completion.score:.3f}")
    calls = "".join(f"<li><code>{escape(f'{c.name}({c.arguments})')}</code></li>" for c in completion.tool_calls)
    return (
        f'<div><pre style="white-space: pre-wrap">{escape(completion.text)}</pre>'
        f"{f'<ul>{calls}</ul>' if calls else ''}<small>{escape(' · '.join(facts))}</small></div>"
    )
