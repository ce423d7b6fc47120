"""StopFilter against str.find on the whole text, for arbitrary pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.sampling import StopFilter

few_letters = st.text("ab\n", max_size=30)
stop_strings = st.lists(st.text("ab\n", min_size=1, max_size=5), max_size=4)


def definition(text: str, stops: list[str]) -> tuple[str, str | None]:
    """By definition: cut at the stop string that is complete first; of several, the longest."""
    found = [(text.find(stop) + len(stop), -len(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, None
    _, _, stop = min(found)
    return text[: text.find(stop)], stop


def run(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    stream = StopFilter(stops)
    emitted = ""
    for piece in pieces:
        emit, hit = stream.push(piece)
        emitted += emit
        if hit is not None:
            assert stream.push("more") == ("", hit)
            break
        assert "".join(pieces).startswith(emitted)
    return emitted + stream.flush(), stream.hit


@given(st.lists(few_letters, max_size=10), stop_strings)
def test_any_pieces(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    assert run(pieces, stops) == definition(text, stops)
    assert run(list(text), stops) == definition(text, stops)
    assert run([text], stops) == definition(text, stops)


@given(st.lists(few_letters, max_size=10), stop_strings)
def test_text_is_held_back_only_while_it_may_become_a_stop_string(pieces: list[str], stops: list[str]) -> None:
    stream, seen, emitted = StopFilter(stops), "", ""
    for piece in pieces:
        emit, hit = stream.push(piece)
        seen, emitted = seen + piece, emitted + emit
        if hit is not None:
            return
        held = seen[len(emitted) :]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


def test_no_stop_strings() -> None:
    stream = StopFilter([])
    assert stream.push("all of it") == ("all of it", None)
    assert stream.flush() == ""


def test_across_pieces() -> None:
    stream = StopFilter(["</s>", "\n\n"])
    assert stream.push("one <") == ("one ", None)
    assert stream.push("/b>") == ("</b>", None)
    assert stream.push("two\n") == ("two", None)
    assert stream.push("\nthree") == ("", "\n\n")
    assert stream.flush() == ""


def test_the_rest_is_what_follows_the_stop_string() -> None:
    stream = StopFilter(["bc", "z"])
    assert stream.push("abcdz") == ("a", "bc")
    assert stream.rest == "dz"


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_beginning_of_a_stop_string_is_held_back(n: int) -> None:
    stream = StopFilter(["</s>"])
    assert stream.push(f"x{'</s>'[:n]}") == ("x", None)
    assert stream.flush() == "</s>"[:n]
