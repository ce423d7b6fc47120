"""Regular expressions and choices."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar.errors import GrammarError
from tests.sampling.grammar.texts import END, FACTORY, accepts, allowed


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["ab?c*", r"\d{2,3}/x|\n", "(a|ab)(c|bcd)", "[^a]+", "a/b"]), st.text("abcd/x01\n", max_size=5))
def test_a_regular_expression_must_match_completely(pattern, text):
    assert accepts(FACTORY.regex(pattern), text) == bool(re.fullmatch(pattern, text))


@pytest.mark.parametrize("pattern", ["(a", "(?=a)", r"(a)\1", r"[^\s\S]", "(" * 100_000])
def test_invalid_regular_expressions(pattern):
    with pytest.raises(GrammarError):
        FACTORY.regex(pattern)


def test_a_choice_allows_exactly_its_texts():
    texts = ["a", "ab", "c.d|e #/\\-]", "end\n", "日本"]
    assert [text for text in texts if not accepts(FACTORY.choice(texts), text)] == []
    assert [text for text in ("", "b", "cxd", "abc", "日") if accepts(FACTORY.choice(texts), text)] == []


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=5))
def test_a_choice_of_any_text(text):
    assert accepts(FACTORY.choice([text]), text)


def test_every_tokenization_is_allowed_and_control_tokens_are_not():
    spellings = {ord("a"), 258, 259}  # a, ab, abc
    assert allowed(FACTORY.regex("abcd")) == spellings
    assert not allowed(FACTORY.regex("<.*")) & {END, END + 1}
