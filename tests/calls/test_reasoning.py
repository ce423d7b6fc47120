"""ReasoningSplitter and ReasoningDecoder: the same split however a completion is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.calls.reasoning import Reasoning, ReasoningDecoder, ReasoningFormat, ReasoningSplitter
from tests.calls import templates

THINK = ReasoningFormat("<think>", "</think>")
CASES = [
    ("possible", "<think>\nLet me.\n\n</think>\n\nYes. <think> tag</think>", "Let me.", "Yes. <think> tag</think>"),
    ("open", "Let  me\nsee.</think>Yes.", "Let  me\nsee.", "Yes."),
    ("possible", "Yes, <think>no</think>", "", "Yes, <think>no</think>"),
    ("open", "Let me see.\n</thin", "Let me see.\n</thin", ""),
    ("open", "\n\n</think>\n\n Yes \n", "", "Yes \n"),
    ("open", "\n<think>\nSo.</think> Yes", "So.", "Yes"),
    ("open", "<thin", "<thin", ""),
    ("open", "<thinking of it</think>Yes", "<thinking of it", "Yes"),
    ("possible", " <thin", "", " <thin"),
    ("possible", " <thinking> no", "", " <thinking> no"),
    ("possible", "\n<think></think>", "", ""),
    ("possible", "\n</think>\nYes", "", "Yes"),
    ("possible", "</thin", "", "</thin"),
    ("possible", "", "", ""),
    ("closed", "<think>a</think> b", "", "<think>a</think> b"),
    (None, "<think>a</think> b", "", "<think>a</think> b"),
]  # fmt: skip


def reasoning(state, markers=THINK):
    return None if state is None else Reasoning(markers, state)


@pytest.mark.parametrize(("state", "text", "thought", "answer"), CASES)
@given(data=st.data())
def test_the_split_does_not_depend_on_pieces(state, text, thought, answer, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    splitter = ReasoningSplitter(reasoning(state))
    found = [splitter.push(piece) for piece in pieces] + [splitter.flush()]
    assert tuple("".join(parts) for parts in zip(*found, strict=True)) == (thought, answer)
    assert splitter.is_closed == (state not in ("closed", None) and "</think>" in text and not text.startswith("Y"))


@pytest.mark.parametrize(
    ("prompt", "state"),
    [
        ("<|im_start|>assistant\n<think>\n", "open"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", "closed"),
        ("<|Assistant|></think>", "closed"),
        ("<|im_start|>user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n", "possible"),
    ],
)
def test_the_end_of_the_prompt_says_where_a_completion_begins(prompt, state):
    assert THINK.state_after(prompt) == state


# [INST] and [/INST] are control tokens of this vocabulary, <think> is spelled.
INST = ReasoningFormat("[INST]", "[/INST]")


def decoded(text, state, markers):
    tokenizer = templates.tokenizer(templates.PLAIN)
    decoder = ReasoningDecoder(tokenizer.stream(), reasoning(state, markers), tokenizer)
    ids = tokenizer.encode(text, add_special=False, parse_special=True)
    parts = [*map(decoder.push, ids), decoder.flush()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts), decoder.n_reasoning, len(ids)


@pytest.mark.parametrize(
    ("state", "text", "expected"),
    [
        ("possible", "[INST]So.[/INST]Yes", ("So.", "Yes", 5)),
        ("open", "So.[/INST]Yes", ("So.", "Yes", 4)),
        ("open", "So.", ("So.", "", 3)),
        ("possible", "Yes", ("", "Yes", 0)),
        ("possible", "[ARGS]Yes[/INST]![INST]", ("", "Yes!", 0)),
        ("closed", "[INST]Yes", ("", "Yes", 0)),
        (None, "[INST]Yes", ("", "Yes", 0)),
    ],
)
def test_control_tokens_are_markers_and_never_text(state, text, expected):
    assert decoded(text, state, INST)[:3] == expected


def test_markers_count_as_tokens_of_the_reasoning():
    text = "<think>So.</think>Yes"
    assert decoded(text, "possible", THINK) == ("So.", "Yes", len("<think>So.</think>"), len(text))
    assert decoded("<think></think>", "possible", THINK)[2] == len("<think></think>")
    assert decoded("<thin", "possible", THINK) == ("", "<thin", 0, 5)
    assert decoded("So", "open", THINK) == ("So", "", 2, 2)


def test_a_message_is_written_and_parsed():
    for thought, answer in (("So.", "Yes"), ("So.", None), ("", "Yes")):
        assert THINK.parse(THINK.write(thought, answer)) == (thought, answer)
    assert THINK.parse("Yes <think>") is None
    assert THINK.parse("<think>Let me ") == ("Let me ", None)
