"""StreamDecoder: the same text as decode at every split, and no incomplete characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.errors import TokenizerError
from tests.tokenizer.vocabularies import COMMITTED, small


@pytest.mark.parametrize("name", COMMITTED)
@given(data=st.data())
def test_concatenated_pieces_equal_decode_at_every_split(name, data):
    tokenizer = small(name)
    ids = data.draw(st.lists(st.integers(0, tokenizer.n_vocab - 1), max_size=24))
    skip = data.draw(st.booleans())
    for end in range(len(ids) + 1):
        decoder = tokenizer.stream(skip_special=skip)
        pieces = [decoder.push(i) for i in ids[:end]]
        assert "".join(pieces) + decoder.flush() == tokenizer.decode(ids[:end], skip_special=skip)


@pytest.mark.parametrize("name", COMMITTED)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="▁\ufffd")))
def test_output_is_always_a_prefix_of_the_text(name, text):
    tokenizer = small(name)
    decoder, out = tokenizer.stream(), ""
    for i in tokenizer.encode(text):
        out += decoder.push(i)
        assert text.startswith(out)
    assert out == text
    assert decoder.flush() == ""


def test_incomplete_character_is_buffered_until_flush():
    tokenizer = small("llama")
    first, *rest = tokenizer.encode("🦙", add_special=False)[-4:]
    decoder = tokenizer.stream()
    assert decoder.push(first) == ""
    assert [decoder.push(i) for i in rest] == ["", "", "🦙"]
    assert decoder.push(first) == ""
    assert decoder.flush() == "\ufffd"


def test_leading_space_is_dropped_only_at_the_start_of_a_text():
    tokenizer = small("llama")
    ids = tokenizer.encode("a", add_special=False)
    middle = tokenizer.stream(after=ids[-1])
    assert "".join(map(middle.push, ids)) == " a"
    beginning = tokenizer.stream(after=tokenizer.bos_id)
    assert "".join(map(beginning.push, ids)) == "a"


def test_unknown_ids():
    with pytest.raises(TokenizerError, match="token id 512"):
        small("llama").stream().push(512)
