"""Limits of grammars: said when a request is handed in, and what is taken does not end in the middle of a text."""

import json

import pytest

from realizar.errors import GrammarError
from realizar.sampling.grammar import lark, runs
from realizar.sampling.grammar.breadth import MAX_PROPERTIES, OPEN
from realizar.sampling.grammar.compiled import MAX_SYMBOLS
from realizar.sampling.grammar.gbnf import MAX_ITEMS, _Parser, parse
from realizar.sampling.grammar.schema import MAX_OBJECTS
from tests.sampling.grammar.texts import FACTORY, accepts, run_apart


@pytest.mark.parametrize("n", [MAX_ITEMS - 20, MAX_ITEMS + 1, 2_000_000])
@pytest.mark.parametrize("form", ["string", "class", "alternatives", "names", "rules"])
def test_large_grammars_are_refused_before_they_are_read(n, form, monkeypatch):
    """Row 37: known when handed in, with the limit in the error; counted by the items that the parser looks at."""
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


def test_as_many_alternatives_as_are_taken_can_be_written():
    """llguidance's own limit, 2000 places that a text may be at, ended texts in the middle."""
    words = [f"w{i}" for i in range(7000)]
    constraint = FACTORY.grammar("root ::= " + " | ".join(f'"{word}"' for word in words))
    assert accepts(constraint.reset_copy(), words[-1])
    assert not accepts(constraint.reset_copy(), "x")


def test_more_symbols_than_llguidance_numbers():
    with pytest.raises(GrammarError, match=f"grammar: it is made of more than {MAX_SYMBOLS} symbols; make it smaller"):
        FACTORY.grammar("%llguidance {}\nstart: " + " ".join(['"a"'] * 70_000))


NESTED = {
    "repetitions of repetitions": "root ::= " + '("a" "b")' + "{2}" * 3000,
    "groups": "root ::= " + "(" * 3000 + '"a"' + ")" * 3000,
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_what_is_nested_too_deeply(text):
    with pytest.raises(GrammarError, match=r"nested too deeply|more than 60 groups"):
        FACTORY.grammar(text)


DOUBLING = {
    "choices of choices": "root ::= r0*\n" + "\n".join(f"r{i} ::= r{i + 1} | r{i + 1}" for i in range(50)),
    "repetitions": "root ::= r0*\n" + "\n".join(f"r{i} ::= r{i + 1}* | r{i + 1}* | [a-z]" for i in range(50)),
    "counts": "root ::= " + "(" * 50 + "r50*" + "){8}" * 50,
    "itself": "root ::= r50*\nr50 ::= r50* | [b-z]\nr50 ::= r50* | [a-z]",
}


@pytest.mark.parametrize("text", DOUBLING.values(), ids=DOUBLING)
def test_small_grammars_of_which_there_are_exponentially_many_readings(text, monkeypatch):
    """What is looked for in them ends: every rule and node that is added is counted."""
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
    """60,000 rules in a chain end the process (llguidance 1.9.1); a process of its own tries as many as are taken."""
    head = "%llguidance {}\nstart: r0\n"
    with pytest.raises(GrammarError, match=f"defines more than {lark.MAX_DEFINED} rules and lexemes"):
        FACTORY.grammar(head + CHAINS[chain](60_000))
    with pytest.raises(GrammarError, match=f"characters, and {lark.MAX_LENGTH} are allowed"):
        FACTORY.grammar(head + CHAINS[chain](200_000))
    text = head + CHAINS[chain](lark.MAX_DEFINED - 10)
    assert run_apart("print(accepts(FACTORY.grammar(sys.stdin.read()), 'a'))", given=text) == ["True"]


def test_what_is_no_definition_is_not_counted_in_lark():
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
    assert lark.checked('%json {"a' + ":" * 9000) == '%json {"a' + ":" * 9000  # llguidance refuses it
    with pytest.raises(GrammarError, match="defines more than"):
        lark.checked(":" * (lark.MAX_DEFINED + 1))
    lark.checked("\n".join(['":"'] * 9000))


def test_schemas_inside_lark_are_those_of_requests():
    grammar = '%llguidance {}\nstart: %json {"items": {"uniqueItems": false, "const": 1}, "type": "array"} "."'
    assert accepts(FACTORY.grammar(grammar), "[1, 1].")
    assert not accepts(FACTORY.grammar(grammar), "[1,   1].")
    with pytest.raises(GrammarError, match="'const' with 9007199254740993 cannot be enforced, at #/items/const"):
        FACTORY.grammar(grammar.replace("1}", "9007199254740993}"))
    with pytest.raises(GrammarError, match="oneOf constraints"):
        FACTORY.grammar('%llguidance {}\nstart: %json {"oneOf": [{}, {}]}')
    FACTORY.grammar('%llguidance {}\nstart: %json {"oneOf": [{}, {}], "x-guidance": {"coerce_one_of": true}}')


def objects(n, n_properties, **more):
    """Return a schema of n objects that a text may be one of, each with these properties and one of its own."""
    properties = {f"p{i}": {"type": "string"} for i in range(n_properties)}
    return {"anyOf": [{"type": "object", "properties": {**properties, f"o{i}": {}}, **more} for i in range(n)]}


@pytest.mark.parametrize(
    "schema",
    [
        objects(60, 9), objects(60, 30, additionalProperties=False), objects(1, MAX_PROPERTIES - 4),
        {"$ref": "#/$defs/a", "$defs": {"a": objects(60, 9)}}, {"items": objects(60, 9), "type": "array"},
    ],
)  # fmt: skip
def test_broad_schemas_that_are_taken_can_be_written(schema):
    """Row 37: an anyOf of 60 objects with ten properties was taken and ended in the middle of a text."""
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
def test_schemas_that_are_too_broad_are_refused_with_the_limit(schema, place):
    with pytest.raises(
        GrammarError, match=f"properties may come at {place}, and {MAX_PROPERTIES} are followed at once"
    ):
        FACTORY.json_schema(schema)


def test_what_is_not_broad():
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
