"""GBNF: grammars allow the right texts; syntax errors are reported with their place."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar.errors import GrammarError
from tests.sampling.grammar.texts import FACTORY, THINK, accepts

# Grammar, the equivalent Python regular expression, and a text that both match.
PAIRS = [
    ('root ::= [a-z]+ "end"', r"[a-z]+end", "bend"),
    ('root ::= ws "\\n"\nws ::= [ \\n]*', r"[ \n]*\n", " \n\n"),
    ('root ::= a b # ambiguous\na ::= "x"*\nb ::= "x" "y"', r"x*xy", "xxxy"),
    ('root ::= ((("x"*)*)+)? "b"', r"x*b", "xxb"),
    ('root ::= (\n  "a"\n  | # or\n  "b" | "ab"\n){2,3} "."', r"(a|b|ab){2,3}\.", "aba."),
    ('root ::= ("a" |) [^a-c\\]]{1,} "c"{2}', r"a?[^a-c\]]+cc", "axcc"),
    ('root ::= [\\U0001F600-\\U0001F64F] "\\u00e9" "\\x41" .{0}', "[\U0001f600-\U0001f64f]éA", "😁éA"),
    ('root ::= a_1 _b\na_1 ::= "a"\n_b ::= "b"+', r"ab+", "abb"),
    ('root ::= e\ne ::= e "+" e | [0-9]', r"[0-9](\+[0-9])*", "1+2+3"),
]


@pytest.mark.parametrize(("grammar", "pattern", "text"), PAIRS)
def test_a_grammar_matches_the_texts_of_its_regular_expression(grammar, pattern, text):
    assert accepts(FACTORY.grammar(grammar), text)
    for i in range(len(text) + 1):
        for changed in (text[:i] + text[i + 1 :], text[:i] + "~" + text[i:], text[:i] + text[i:][::-1]):
            assert accepts(FACTORY.grammar(grammar), changed) == bool(re.fullmatch(pattern, changed)), changed


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PAIRS), st.text("abcendxy+1. \n]", max_size=6))
def test_other_texts(pair, text):
    assert accepts(FACTORY.grammar(pair[0]), text) == bool(re.fullmatch(pair[1], text, re.DOTALL))


def test_tokens():
    inside = 'root ::= <think> !<think>* <think> "x"'
    assert accepts(FACTORY.grammar(inside), [THINK, 65, 66, THINK, ord("x")])
    assert not accepts(FACTORY.grammar(inside), [65, THINK, ord("x")])
    assert accepts(FACTORY.grammar(f'root ::= <[{THINK}]> "x"'), [THINK, ord("x")])


@pytest.mark.parametrize(
    ("grammar", "said"),
    [
        ("", "no rule 'root'"),
        ('x ::= "a"', "no rule 'root'"),
        ('root ::= "a', "line 1, column 10: the grammar ends inside"),
        ('root ::= "a"\nx = "b"', "line 2, column 3: expected '::='"),
        ("root ::= []", "at least one character"),
        ("root ::= [z-a]", "is empty"),
        ("root ::= (", "not closed"),
        ('root ::= "a" )', r"column 14: expected an item"),
        ("root ::= *", "needs an item before it"),
        ("root ::= foo", "no rule 'foo'"),
        ('root ::= "\\q"', "unknown escape"),
        ('root ::= "\\x4"', "unknown escape"),
        ('root ::= "\\ud800"', "U[+]D800 is not a character"),
        ('root ::= "\\U00110000"', "U[+]110000 is not a character"),
        ('root ::= "a"{3,2}', "upper limit of a repetition is less"),
        ('root ::= "a"{', "expected {n}"),
        ('root ::= "a"{99999999999}', "greatest number of repetitions is"),
        ("root ::= <[9999]>", "does not exist"),
        ("root ::= <foo>", "tokens of this model's vocabulary, not one"),
        ("root ::= <", "a token is written"),
        ("root ::= root", "no text can match"),
        ("root ::= " + "(" * 200 + '"a"' + ")" * 200, "nested groups"),
        ("root ::= a0\n" + "\n".join(f"a{i} ::= a{i + 1}" for i in range(2500)) + '\na2500 ::= "x"', "more than 2000"),
    ],
)
def test_syntax_errors(grammar, said):
    with pytest.raises(GrammarError, match=said):
        FACTORY.grammar(grammar)


def test_deep_grammars_do_not_overflow_the_stack():
    rules = "\n".join(f"a{i} ::= a{i + 1}" for i in range(1990))
    assert accepts(FACTORY.grammar(f'root ::= a0\n{rules}\na1990 ::= "x"'), "x")
    assert accepts(FACTORY.grammar("root ::= " + "(" * 59 + '"a"' + ")*" * 59), "a")


def test_the_last_rule_of_a_name_counts():
    """As in llama.cpp."""
    constraint = FACTORY.grammar('root ::= x\nx ::= "a" nowhere\nroot ::= "c" x\nx ::= "b"')
    assert accepts(constraint.reset_copy(), "cb")
    assert not accepts(constraint.reset_copy(), "b")
    with pytest.raises(GrammarError, match="line 2, column 7: there is no rule 'nowhere'"):
        FACTORY.grammar('root ::= "a"\nx ::= nowhere')
