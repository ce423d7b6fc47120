"""MemberReader: members become JSON piece by piece, at a cost that does not grow with the length of a string."""

import json
import random

import pytest

from realizar.calls.formats.gemma4 import value_of
from realizar.calls.python_notation import MemberReader, python_value

PYTHON = ("=", ")", "'\"", python_value)
GEMMA = (":", "}", "", value_of, '<|"|>')
PARTS = ["a", "k=", "k:", "1", ",", "[", "]", "{", "}", "(", ")", " ", "\\", "'", '"', '<|"|>', "<|", "<", "\n"]


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("notation", [PYTHON, GEMMA])
def test_results_do_not_depend_on_the_pieces(notation):
    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(rng.choices(PARTS, k=rng.randrange(1, 25)))
        whole, single = MemberReader(*notation), MemberReader(*notation)
        written, found = whole.push(text), ""
        for character in text:
            found += single.push(character) if single.rest is None else ""
        assert found == written, text
        assert (single.rest is None) == (whole.rest is None)


@pytest.mark.parametrize(("notation", "begin", "end"), [(PYTHON, "k='", "')"), (GEMMA, 'k:<|"|>', '<|"|>}')])
def test_a_string_is_scanned_once(notation, begin, end):
    reader = MemberReader(*notation)
    written = reader.push(begin)
    for _ in range(100):
        written += reader.push("word, ")
        assert len(reader._unread) - reader._at < len('<|"|>')
    assert json.loads(written + reader.push(end)) == {"k": "word, " * 100}
