"""Runs of characters as one lexeme: found where they are safe, and masks do not change."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar.sampling.grammar import gbnf, lark, runs
from realizar.sampling.grammar.compiled import Compiled
from realizar.sampling.grammar.constraint import Constraint
from realizar.sampling.grammar.vocabulary import vocabulary
from tests.sampling.grammar.texts import END, TOKENS, allowed, byte_tokenizer

TOKENIZER = byte_tokenizer()
VOCABULARY = vocabulary(TOKENIZER)


def parsed(grammar):
    return gbnf.parse(grammar, lambda name: TOKENIZER.encode(name, add_special=False, parse_special=True))


def constraint(rules):
    text = lark.with_options(lark.write(rules, TOKENIZER.n_vocab, TOKENIZER.eog_ids))
    return Constraint(Compiled.read(lambda: (VOCABULARY, text), TOKENIZER.n_vocab, step_s=5.0))


def n_runs(grammar):
    return str(runs.find(parsed(grammar))).count("Run(")


@pytest.mark.parametrize(
    ("grammar", "n"),
    [
        ('root ::= "\\"" [^"]* "\\""', 1),
        ('root ::= "\\"" ([^"\\\\] | "\\\\" ["n])* "\\""', 1),
        ('root ::= "\\"" char* "\\""\nchar ::= [a-z] | digit | "\\\\" .\ndigit ::= [0-9]', 1),
        ('root ::= "\\"" ([^"\\\\] | "\\\\u" [0-9a-f]{4})* "\\""', 1),
        ('root ::= ([a-z]+ "!"){3}', 1),
        ('root ::= [a-z]+ " " [a-z]+', 2),
        ('root ::= "[" (e ("," e)*)? "]"\ne ::= [0-9]+ | root', 1),
        ('root ::= [a-z]+ "end"', 0),  # e may belong to either
        ('root ::= [a-z]+ | "end"', 0),
        ('root ::= "x" | [^x]+ "x" root', 1),
        ("root ::= ([a-z]+){2,3}", 0),  # abc is a and bc, too
        ("root ::= w w\nw ::= [a-z]+", 0),
        ('root ::= w " " w\nw ::= [a-z]+', 1),
        ('root ::= [^é]+ "é"', 0),  # its first byte is that of others
        ('root ::= [a-z]{3,5} "!"', 0),  # counted
        ("root ::= !<think>* [a-z]+", 0),  # any other token may be text
        ('root ::= a "b" | c\na ::= "x"\nc ::= "x" [b-d]+', 0),  # after x, b may belong to either
    ],
)
def test_runs_are_found_where_they_are_safe(grammar, n):
    assert n_runs(grammar) == n


def classes():
    return st.sampled_from(
        ["[ab]", "[bc]", "[^a]", "[^é日]", "[é日]", ".", '"a"', '"ab"', '"c"', '"é"', '""', "r1", "r2"]
    )


def nodes():
    return st.recursive(
        classes(),
        lambda inside: st.one_of(
            st.tuples(inside, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*"])).map(lambda x: f"({x[0]}){x[1]}"),
            st.lists(inside, min_size=2, max_size=3).map(" ".join),
            st.lists(inside, min_size=2, max_size=3).map(lambda x: f"({' | '.join(x)})"),
        ),
        max_leaves=7,
    )


@settings(max_examples=150, deadline=None)
@given(nodes(), nodes(), nodes(), st.integers(0, 2**32))
def test_masks_are_those_of_single_characters(root, one, two, seed):
    # The rules may be recursive: left recursion is rejected or ambiguous either way.
    grammar = f'root ::= {root}\nr1 ::= "<" {one} ">"\nr2 ::= {two.replace("r1", "[ab]").replace("r2", "[bc]*")}\n'
    rules = parsed(grammar)
    found = runs.find(rules)
    if found == rules:
        return
    rng, fast, slow = random.Random(seed), constraint(found), constraint(rules)
    for _ in range(12):
        ids = allowed(slow)
        assert allowed(fast) == ids, (grammar, found)
        ids = sorted(ids - {END})
        if not ids:
            break
        liked = [i for i in ids if TOKENS[i] in (b"a", b"b", b"c", b"<", b">", "é".encode(), b"ab", b"abc")]
        token = rng.choice(liked if liked and rng.random() < 0.8 else ids)
        fast.advance(token)
        slow.advance(token)
