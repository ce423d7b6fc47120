"""Limits of grammars are checked when a request is submitted, so that an accepted grammar does not fail later."""

import json

import pytest

from realizar.errors import GrammarError
from realizar.sampling.grammar import lark, runs
from realizar.sampling.grammar.breadth import MAX_PROPERTIES, OPEN
from realizar.sampling.grammar.compiled import MAX_SYMBOLS
from realizar.sampling.grammar.gbnf import MAX_ITEMS, _Parser, parse
from realizar.sampling.grammar.schema import MAX_OBJECTS
from tests.sampling.grammar.texts import FACTORY, accepts, run_apart


@pytest.mark.parametrize("n", [MAX_ITEMS - 20, MAX_ITEMS + 1, 10 * MAX_ITEMS])
@pytest.mark.parametrize("form", ["string", "class", "alternatives", "names", "rules"])
def test_large_grammars_are_rejected_early(n, form, monkeypatch):
    """The error names the limit; the parser does not process more items than that."""
    looked = []
    count = _Parser._count
    monkeypatch.setattr(_Parser, "_count", lambda self: (looked.append(0), count(self)))
    text = {
        "string": lambda: 'root ::= "' + "a" * n + '"',
        "class": lambda: "root ::= [" + "a" * n + "]",
        "alternatives": lambda: 'root ::= "a"' + ' | "a"' * (n // 3),
        "names": lambda: "root ::= " + "root " * n,
        "rules": lambda: "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1}" for i in range(n // 2)) + f"\nr{n // 2} ::= ",
    }[form]()
    if n < MAX_ITEMS and form != "rules":
        parse(text, lambda name: [0])
        return
    with pytest.raises(GrammarError, match=f"more than ({MAX_ITEMS} items|{lark.MAX_RULES} rules)"):
        FACTORY.grammar(text)
    assert len(looked) <= MAX_ITEMS + 1


def test_many_alternatives_can_be_generated():
    """llguidance's default limit of 2000 parser items ended texts in the middle."""
    words = [f"w{i}" for i in range(7000)]
    constraint = FACTORY.grammar("root ::= " + " | ".join(f'"{word}"' for word in words))
    assert accepts(constraint.reset_copy(), words[-1])
    assert not accepts(constraint.reset_copy(), "x")


def test_too_many_symbols_for_llguidance():
    with pytest.raises(GrammarError, match=f"grammar: it has more than {MAX_SYMBOLS} symbols; make it smaller"):
        FACTORY.grammar("%llguidance {}\nstart: " + " ".join(['"a"'] * 70_000))


NESTED = {
    "repetitions of repetitions": "root ::= " + '("a" "b")' + "{2}" * 3000,
    "groups": "root ::= " + "(" * 3000 + '"a"' + ")" * 3000,
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_deep_nesting_is_rejected(text):
    with pytest.raises(GrammarError, match=r"nested too deeply|more than 60 nested groups"):
        FACTORY.grammar(text)


DOUBLING = {
    "choices of choices": "root ::= r0*\n" + "\n".join(f"r{i} ::= r{i + 1} | r{i + 1}" for i in range(50)),
    "repetitions": "root ::= r0*\n" + "\n".join(f"r{i} ::= r{i + 1}* | r{i + 1}* | [a-z]" for i in range(50)),
    "counts": "root ::= " + "(" * 50 + "r50*" + "){8}" * 50,
    "itself": "root ::= r50*\nr50 ::= r50* | [b-z]\nr50 ::= r50* | [a-z]",
}


@pytest.mark.parametrize("text", DOUBLING.values(), ids=DOUBLING)
def test_the_search_for_runs_is_bounded_for_exponentially_ambiguous_grammars(text, monkeypatch):
    """Every rule and node that is added to the automaton counts towards the limit."""
    added = []
    add = runs._Automaton._add
    monkeypatch.setattr(runs._Automaton, "_add", lambda *args: (added.append(0), add(*args)))
    runs.find(parse(text + "\nr50 ::= [a-z]", lambda name: [0]))
    assert len(added) <= 10 * runs.MAX_NODES


CHAINS = {
    "rules": lambda n: "\n".join(f"r{i}: r{i + 1}" for i in range(n)) + f'\nr{n}: "a"',
    "lexemes": lambda n: "\n".join(f"A{i}: A{i + 1}" for i in range(n)) + f'\nA{n}: "a"\nr0: A0',
}


@pytest.mark.parametrize("chain", CHAINS)
def test_chains_in_lark_do_not_overflow_the_stack(chain):
    """A chain of 60,000 rules crashes llguidance 1.9.1, so a separate process tries the longest accepted chain."""
    head = "%llguidance {}\nstart: r0\n"
    with pytest.raises(GrammarError, match=f"defines more than {lark.MAX_DEFINED} rules and lexemes"):
        FACTORY.grammar(head + CHAINS[chain](60_000))
    with pytest.raises(GrammarError, match=f"characters, but the limit is {lark.MAX_LENGTH}"):
        FACTORY.grammar(head + CHAINS[chain](200_000))
    text = head + CHAINS[chain](lark.MAX_DEFINED - 10)
    assert run_apart("print(accepts(FACTORY.grammar(sys.stdin.read()), 'a'))", given=text) == ["True"]


def test_only_definitions_are_counted_in_lark():
    parts = [
        '":"',
        "/:/",
        '/\\/:"/',
        '"\\":"',
        'X: "b" // a: b: "',
        "y: z # %json {",
        '%json {"const": ":"}',
        "<|a:b|>",
    ]
    assert lark.checked("\n".join(parts)).count("x-guidance") == 1
    assert lark.checked('%json {"a' + ":" * 9000) == '%json {"a' + ":" * 9000  # llguidance rejects it
    with pytest.raises(GrammarError, match="defines more than"):
        lark.checked(":" * (lark.MAX_DEFINED + 1))
    lark.checked("\n".join(['":"'] * 9000))


def test_schemas_inside_lark_are_rewritten_like_those_of_requests():
    grammar = '%llguidance {}\nstart: %json {"items": {"uniqueItems": false, "const": 1}, "type": "array"} "."'
    assert accepts(FACTORY.grammar(grammar), "[1, 1].")
    assert not accepts(FACTORY.grammar(grammar), "[1,   1].")
    with pytest.raises(GrammarError, match="'const' with 9007199254740993 cannot be enforced, at #/items/const"):
        FACTORY.grammar(grammar.replace("1}", "9007199254740993}"))
    with pytest.raises(GrammarError, match="oneOf constraints"):
        FACTORY.grammar('%llguidance {}\nstart: %json {"oneOf": [{}, {}]}')
    FACTORY.grammar('%llguidance {}\nstart: %json {"oneOf": [{}, {}], "x-guidance": {"coerce_one_of": true}}')


def objects(n, n_properties, **more):
    """Return an anyOf of n objects, each with n_properties common properties and one of its own."""
    properties = {f"p{i}": {"type": "string"} for i in range(n_properties)}
    return {"anyOf": [{"type": "object", "properties": {**properties, f"o{i}": {}}, **more} for i in range(n)]}


@pytest.mark.parametrize(
    "schema",
    [
        objects(60, 9), objects(60, 30, additionalProperties=False), objects(1, MAX_PROPERTIES - 4),
        {"$ref": "#/$defs/a", "$defs": {"a": objects(60, 9)}}, {"items": objects(60, 9), "type": "array"},
    ],
)  # fmt: skip
def test_accepted_broad_schemas_can_be_generated(schema):
    """An anyOf of 60 objects with ten properties was accepted and then failed in the middle of a text."""
    text = '{"p0": "a", "p3": "b", "o0": 1}'
    constraint = FACTORY.json_schema(schema)
    assert accepts(constraint, f"[{text}]" if "items" in schema else text)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (objects(60, 12), "#"), (objects(60, 40, additionalProperties=False), "#"), (objects(1, MAX_PROPERTIES), "#"),
        ({"items": objects(200, 9)}, "#/items"), ({"allOf": [objects(10, 2), objects(20, 2)]}, "#"),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": objects(60, 12)}}, "#/properties/a"),
        ({"enum": [{f"p{i}": i} for i in range(1000)]}, "#"), ({"anyOf": [{"type": "array"}] * 400}, "#"),
    ],
)  # fmt: skip
def test_schemas_that_are_too_broad_are_rejected_with_the_limit(schema, place):
    with pytest.raises(GrammarError, match=f"properties are possible at {place}, but the limit is {MAX_PROPERTIES}"):
        FACTORY.json_schema(schema)


def test_constants_and_tagged_objects_are_not_broad():
    values = {"anyOf": [{"const": f"a{i}"} for i in range(3000)]}
    assert accepts(FACTORY.json_schema(values), '"a7"')
    tags = {
        "anyOf": [
            {"type": "object", "properties": {"kind": {"const": f"k{i}"}, **{f"p{j}": {} for j in range(8)}},
             "required": ["kind"]}
            for i in range(300)
        ]
    }  # fmt: skip
    assert accepts(FACTORY.json_schema(tags), '{"kind": "k7", "p1": 1, "q": {}}')
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}}}
    with pytest.raises(GrammarError, match="json_schema"):
        FACTORY.json_schema({"allOf": [loop]})


def test_schemas_that_are_too_large():
    chain = {f"a{i}": {"$ref": f"#/$defs/a{i + 1}"} for i in range(MAX_OBJECTS - 10)}
    FACTORY.json_schema({"$ref": "#/$defs/a0", "$defs": {**chain, f"a{MAX_OBJECTS - 10}": {}}})
    with pytest.raises(GrammarError, match=f"more than {MAX_OBJECTS} objects"):
        FACTORY.json_schema(json.dumps({"items": [{}] * MAX_OBJECTS}))
    assert OPEN * MAX_PROPERTIES > MAX_OBJECTS // 2


def test_a_long_choice_with_a_pattern_is_named():
    """llguidance 1.9.1 cannot decide whether a string of 2000 characters matches a pattern."""
    schema = {"type": "string", "enum": ["a" * 3000], "pattern": "^a*$"}
    with pytest.raises(GrammarError, match="cannot decide whether a text matches; make strings shorter"):
        FACTORY.json_schema(schema)
    FACTORY.json_schema({**schema, "enum": ["a" * 500]})
