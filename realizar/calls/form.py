"""CallForm: how a model writes the calls of tools, learned from its chat template.

A template that shows tools also writes down the calls of earlier turns, in the form that the model was trained on. So
calls of known names, ids and arguments are rendered, and what stands around them is the form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from realizar.errors import TemplateError
from realizar.tokenizer import ChatTemplate

ID_AHEAD, ID_BEHIND = "\x00", "\x01"
"""In the texts of a form: the id of the call whose name comes next, and of the one whose arguments came last."""
OPTIONAL_ID = f', "id": "{ID_BEHIND}"'
"""Mistral's templates write it into earlier calls; Nemo writes it itself, the 7B v0.3 does not."""

# What is looked for in the prompts; no template has these words. Mistral's want ids of nine letters or digits.
_NAMES = ("first_of_the_probes", "second_of_the_probes", "third_of_the_probes")
_IDS = ("probe0id1", "probe0id2", "probe0id3")
_VALUES = ("xyzzy1", "xyzzy2", "xyzzy3")
_ANSWER = "An answer in xyzzy words."
_QUESTION = {"role": "user", "content": "A question."}
# What tells calls from text if a form begins with it: <tool_call>, <function=, [TOOL_CALLS]
_MARKER = re.compile(r"<[^<>/\s{][^<>\s{]*>?|\[[^\[\]\s\"{]+\]")
# Thoughts that a template leaves empty in front of calls (Command R7B): the prompt holds them, or the model has some.
_NO_THOUGHTS = re.compile(r"\s*<[^<>\s]*think[^<>\s]*>\s*<[^<>\s]*think[^<>\s]*>", re.IGNORECASE)
# Arguments that are not what was meant, Python's dict or JSON within JSON; and how "no content" may be spelled.
_MISSPELLED = re.compile(r"'a': *'xyzzy1'|\\\"a\\\"")
_NOTHING = re.compile(r"\b(None|null)\b")


@dataclass(frozen=True)
class CallForm:
    """The texts around the names and the arguments (a JSON object each) of the calls in an answer.

    Attributes
    ----------
    opening : str
        In front of the first name.
    middle : str
        Between a name and its arguments.
    between : str or None
        From the arguments to the next name; None if an answer has one call at most.
    closing : str
        Behind the last arguments.
    separators : (str, str)
        Between a key of the arguments and its value, and between two of them.
    """

    opening: str
    middle: str
    between: str | None
    closing: str
    separators: tuple[str, str] = (": ", ", ")

    @property
    def start(self) -> str:
        """`opening` without the white space in front."""
        return self.opening.lstrip()

    @property
    def marker(self) -> str:
        """The beginning of `start` that tells calls from text anywhere in an answer.

        Empty: only an answer that begins with `start` makes calls.
        """
        found = _MARKER.match(self.start)
        return found.group() if found else ""

    @classmethod
    def learn(cls, template: ChatTemplate, ends: Iterable[str]) -> CallForm:
        """Learn the form from a template.

        Parameters
        ----------
        template : ChatTemplate
        ends : iterable of str
            Names of the tokens that end an answer.

        Raises
        ------
        TemplateError
            The template shows no tools, or writes calls in a way that is not understood.
        """
        if _NAMES[0] not in _render(template, []):
            raise TemplateError(
                "this model's chat template has no section for tools, so the model does not know how to call any; "
                "say in the messages what an answer shall hold, and ask for it by json_schema"
            )
        plain = _render(template, [{"role": "assistant", "content": _ANSWER}])
        head, end_names = plain.partition(_ANSWER)[0], [name for name in ends if name]
        answer = plain[_n_common(plain, _render(template, [])) :]
        for n, as_text, no_content in product((3, 1), (False, True), (None, "")):
            try:
                found = _render(template, [_calling(n, as_text, no_content)])
            except TemplateError:  # some take one call alone, or the other kind of arguments or content
                continue
            form = _understood(found[_n_common(found, head) :], n, end_names)
            # What answers without calls have as well does not tell calls from text (Kimi-K3's <|close|>).
            if form is not None and not (form.marker and form.marker in answer):
                return form
        raise TemplateError(
            "this model's chat template has a section for tools, but the way in which it writes calls is none that can "
            "be followed: a name, then its arguments as a JSON object, and something in front that tells it from text"
        )


def taken(template: ChatTemplate) -> tuple[bool, str | None]:
    """Return how a template takes the calls of earlier answers, be their form one that can be followed or not.

    That is whether their arguments are to be JSON text, and what the content of an answer without text is to be. The
    first way that shows the calls as they are, else (some leave out calls) the first that shows nothing wrong.
    """
    result = {"role": "tool", "tool_call_id": _IDS[0], "name": _NAMES[0], "content": "A result."}
    ways = []
    for as_text, no_content in product((False, True), (None, "")):
        try:
            found = _render(template, [_calling(1, as_text, no_content), result])
        except TemplateError:
            continue
        if not _MISSPELLED.search(found):
            ways.append((_VALUES[0] in found, -len(_NOTHING.findall(found)), as_text, no_content))
    _, _, as_text, no_content = max(ways, key=lambda way: way[:2], default=(False, 0, False, ""))
    return as_text, no_content


def _render(template: ChatTemplate, answers: Sequence[Mapping[str, Any]]) -> str:
    strings = {key: {"type": "string", "description": "A text."} for key in ("a", "b")}
    schema = {"type": "object", "properties": strings, "required": ["a", "b"]}
    tools = [
        {"type": "function", "function": {"name": name, "description": "A probe.", "parameters": schema}}
        for name in _NAMES
    ]
    return template.render([_QUESTION, *answers], add_generation_prompt=False, tools=tools)


def _calling(n: int, as_text: bool, no_content: str | None) -> dict[str, Any]:
    """Return an answer that makes n calls."""
    calls = []
    for name, call_id, value in list(zip(_NAMES, _IDS, _VALUES, strict=True))[:n]:
        arguments = {"a": value, "b": value}
        written = json.dumps(arguments) if as_text else arguments
        calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": written}})
    return {"role": "assistant", "content": no_content, "tool_calls": calls}


def _n_common(text: str, head: str) -> int:
    """Return how many characters both begin with, less the beginning of a name in brackets that ends otherwise."""
    n = next((i for i, (a, b) in enumerate(zip(text, head, strict=False)) if a != b), min(len(text), len(head)))
    cut = re.search(r"[<\[][^<>\[\]\s]*\Z", head[:n])
    return cut.start() if cut and n < len(head) else n


def _understood(text: str, n: int, ends: Sequence[str]) -> CallForm | None:
    """Return the form of a text with n calls, or None."""
    in_front, middles, at, found = [], set(), 0, None
    for i, (name, value) in enumerate(list(zip(_NAMES, _VALUES, strict=True))[:n]):
        name_at = text.find(name, at)
        name_end = name_at + len(name)
        written = re.compile(rf'\{{\s*"a"(\s*:\s*)"{value}"(\s*,\s*)"b"\s*:\s*"{value}"\s*\}}')
        found = written.search(text, name_end)
        if name_at < 0 or found is None:
            return None
        in_front.append(_ids_marked(text[at:name_at], i))
        middles.add(_ids_marked(text[name_end : found.start()], i))
        at = found.end()
    if found is None or len(middles) > 1 or len(set(in_front[1:])) > 1:  # numbered calls, for instance
        return None
    closing = _ids_marked(text[at:], n)
    closing = closing[: min((at for end in ends if (at := closing.find(end)) >= 0), default=len(closing))].rstrip()
    between = in_front[1] if n > 1 else None
    thoughts = _NO_THOUGHTS.match(in_front[0])
    opening = in_front[0][thoughts.end() :] if thoughts else in_front[0]
    form = CallForm(opening, middles.pop(), between, closing, (found[1], found[2]))
    tells = form.start.startswith(("{", "[", "<")) and form.marker not in ends
    # Some write the content None, or braces of their own around a text of arguments: then others are what they take.
    fits = "None" not in form.opening and not form.middle.endswith("{")
    return form if tells and fits else None


def _ids_marked(text: str, i: int) -> str:
    """Return what stands between the arguments of probe i - 1 and those of probe i with its ids marked."""
    if i:
        text = text.replace(_IDS[i - 1], ID_BEHIND)
    return text.replace(_IDS[i], ID_AHEAD) if i < len(_IDS) else text
