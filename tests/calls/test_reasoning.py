"""ReasoningSplitter: the same split however a completion is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.calls.reasoning import ReasoningFormat, ReasoningSplitter

THINK = ReasoningFormat("<think>", "</think>")
CASES = [
    (False, "<think>\nLet me see.\n\n</think>\n\nYes. <think> tag</think>", "Let me see.", "Yes. <think> tag</think>"),
    (True, "Let  me\nsee.</think>Yes.", "Let  me\nsee.", "Yes."),
    (False, "Yes, <think>no</think>", "", "Yes, <think>no</think>"),
    (True, "Let me see.\n</thin", "Let me see.\n</thin", ""),
    (True, "\n\n</think>\n\n Yes \n", "", "Yes \n"),
    (False, " <thin", "", " <thin"),
    (False, "\n<think></think>", "", ""),
    (False, "", "", ""),
]  # fmt: skip


def split(markers, is_open, pieces):
    splitter = ReasoningSplitter(markers, is_open)
    found = [splitter.push(piece) for piece in pieces] + [splitter.flush()]
    return tuple("".join(parts) for parts in zip(*found, strict=True))


@pytest.mark.parametrize(("is_open", "text", "reasoning", "answer"), CASES)
@given(data=st.data())
def test_the_split_does_not_depend_on_pieces(is_open, text, reasoning, answer, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(THINK, is_open, pieces) == (reasoning, answer)


def test_without_markers_all_is_answer():
    assert split(None, False, ["<think>a", "</think> b"]) == ("", "<think>a</think> b")


def test_markers_are_found_in_templates():
    assert ReasoningFormat.from_template("{{ content.split('</think>') }}") == THINK
    assert ReasoningFormat.from_template("{{ content }}") is None
    assert THINK.is_open("<|im_start|>assistant\n<think>\n")
    assert not THINK.is_open("<|im_start|>assistant\n<think>\n\n</think>\n\n")
