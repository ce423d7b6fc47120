"""Free text before constrained text: markers of text and of control tokens, and a preamble that may be omitted."""

import pytest

from realizar import SamplingParams
from realizar._kernels.sampling import Candidates
from realizar.sampling.grammar import ConstraintFactory, OptionalPreamble, Preamble
from tests.calls import templates

TOKENIZER = templates.tokenizer(templates.PLAIN)
FACTORY = ConstraintFactory(TOKENIZER)
THINK, INST = ("<think>", "</think>"), ("[INST]", "[/INST]")
CONSTRAINTS = {
    "schema": {"json_schema": {"type": "object", "properties": {"a": {"const": "}</think>"}}, "required": ["a"],
                               "additionalProperties": False}},
    "regex": {"regex": '\\{"a":"[}]</think>"\\}'},
    "choice": {"choice": ['{"a":"}</think>"}', "b"]},
    "gbnf": {"grammar": 'root ::= "{" "\\"a\\":\\"}</think>\\"" [}]'},
    "lark": {"grammar": '%llguidance {}\nstart: "{" B "}"\nB: /"a":"}<\\/think>"/'},
}  # fmt: skip
DESCRIBED = '{"a":"}</think>"}'


def follow(params, preamble, text):
    """Return whether a text is allowed up to its end, and whether it may end there."""
    constraint = FACTORY.from_params(SamplingParams(**params), preamble)
    ids = TOKENIZER.encode(text, add_special=False, parse_special=True)
    candidates = Candidates(TOKENIZER.n_vocab)
    for token in ids:
        live = constraint._live if isinstance(constraint, OptionalPreamble) else (constraint,)
        if not any(one.mask()[token // 32] >> (token % 32) & 1 for one in live):
            return False
        constraint.accept(candidates, token)
    live = constraint._live if isinstance(constraint, OptionalPreamble) else (constraint,)
    return any(one.mask()[templates.END // 32] >> (templates.END % 32) & 1 for one in live)


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("markers", [THINK, INST], ids=["text", "control"])
def test_the_constraint_begins_after_the_closing_marker(name, markers):
    opening, closing = markers
    params, inside = CONSTRAINTS[name], 'So "{" \n'
    open_, optional = Preamble(*markers, is_open=True), Preamble(*markers, is_open=False)
    for preamble, begun in ((open_, ""), (optional, opening), (optional, f"\n{opening}")):
        for space in ("", "\n\n", " \n"):
            assert follow(params, preamble, f"{begun}{inside}{closing}{space}{DESCRIBED}")
        for wrong in (f"{inside}{closing}", f"{inside}{closing}x", inside, f"{inside}{closing}{' ' * 9}{DESCRIBED}"):
            assert not follow(params, preamble, begun + wrong)
    assert follow(params, optional, DESCRIBED)
    assert not follow(params, open_, DESCRIBED)
    assert not follow(params, None, opening + inside + closing + DESCRIBED)
    assert not follow(params, optional, "x" + DESCRIBED)


def test_ordinary_tokens_do_not_spell_a_control_token():
    preamble = Preamble(*INST, is_open=True)
    spelled = TOKENIZER.encode("[/INST]", add_special=False)
    constraint = FACTORY.from_params(SamplingParams(choice=["a"]), preamble)
    for token in spelled[:-1]:
        constraint.advance(token)
    assert not constraint.mask()[spelled[-1] // 32] >> (spelled[-1] % 32) & 1


def test_a_text_that_begins_like_the_marker_is_decided_by_what_follows():
    params, preamble = {"regex": "<[a-z<>/]*"}, Preamble(*THINK, is_open=False)
    assert follow(params, preamble, "<thin>")
    assert follow(params, preamble, "<think")
    assert not follow(params, preamble, "<think>abc")
    assert follow(params, preamble, "<think>abc</think><abc")


def test_copies_are_independent():
    made = FACTORY.from_params(SamplingParams(choice=["ab", "<think>"]), Preamble(*THINK, is_open=False))
    fresh = made.reset_copy()
    candidates = Candidates(TOKENIZER.n_vocab)
    for token in TOKENIZER.encode("<thin", add_special=False):
        made.accept(candidates, token)
    assert all(len(one.mask()) for one in made._live)  # a copy is made when nothing is computed
    other = made.fork()
    made.accept(candidates, ord("k"))
    other.accept(candidates, ord("k"))
    assert len(fresh._live) == len(other._live) == 2
    other.accept(candidates, ord(">"))
    assert (len(made._live), len(other._live)) == (2, 1)
    assert not made.is_over
    assert repr(made) == "the constraint 'choice'"
