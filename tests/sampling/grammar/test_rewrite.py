"""Schemas that llguidance would enforce only partly, or reject without need, are rewritten or rejected.

Rows 6, 7, 8, 27, 42, 43 and 44 of the faults that were found at commit 0bc8e36.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar.errors import GrammarError, ParameterError
from realizar.params import SamplingParams
from realizar.sampling.grammar.numbers import MAX_DOUBLE, lcm_overflows
from realizar.sampling.grammar.positions import positions
from realizar.sampling.grammar.schema import MAX_DEPTH
from tests.sampling.grammar.texts import FACTORY, accepts, run_apart

INT64, UINT64 = 2**63 - 1, 2**64 - 1


def taken(schema, texts):
    """Return the texts that a schema allows."""
    constraint = FACTORY.json_schema(schema)
    return [text for text in texts if accepts(constraint.reset_copy(), text)]


@pytest.mark.parametrize(
    "free", [{"patternProperties": {"^.$": {"type": "boolean"}}}, {}, {"additionalProperties": {"type": "boolean"}}]
)
def test_minimum_counts_of_unnamed_keys_are_rejected(free):
    schema = {"type": "object", **free}
    with pytest.raises(GrammarError, match="'minProperties' of 2 with 0 required, cannot be enforced, at #/minProp"):
        FACTORY.json_schema({**schema, "minProperties": 2})
    assert taken({**schema, "minProperties": 1}, ["{}", '{"b": true}']) == ['{"b": true}']
    assert accepts(FACTORY.json_schema({**schema, "minProperties": 2}, lenient=True), "{}")


def test_one_key_more_than_the_required_ones_is_accepted():
    schema = {"type": "object", "properties": {"a": {}}, "required": ["a"], "minProperties": 2}
    texts = ['{"a": 1}', '{"a": 1, "a": 1}', '{"a": 1, "b": 1}']
    assert taken(schema, texts) == ['{"a": 1, "b": 1}']


def test_no_key_is_spelled_in_two_ways():
    r"""As "\u0061", the key "a" would repeat the property "a", with any value."""
    for least in (0, 2):
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "minProperties": least}
        texts = ['{"a": 1, "b": "\\t"}', '{"a": 1, "b\\n": 2}', '{"a": 1, "\\u0061": "x"}', '{"a": 1, "\\u0062": 2}']
        assert taken(schema, texts) == texts[:2]
    pattern = {"type": "object", "patternProperties": {"^a": {"type": "boolean"}}}
    assert taken(pattern, ['{"a": true}', '{"a": 1}', '{"\\u0061": 1}', '{"b": 1}']) == ['{"a": true}', '{"b": 1}']


@pytest.mark.parametrize("value", ["a\x00b", "\x1f", "\x7f"])
def test_control_characters_that_a_schema_has_are_written(value):
    text = json.dumps(value).replace("\x7f", "\\u007f")
    for schema in ({"const": value}, {"enum": [value, "c"]}, {"type": "object", "properties": {"a": {"const": value}}}):
        assert accepts(FACTORY.json_schema(schema), text if "properties" not in schema else f'{{"a": {text}}}')
    assert not accepts(FACTORY.json_schema({"type": "string"}), text)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ({"minimum": 2**53 + 1}, [2**53 + 2], [2**53, 2**53 - 1]),
        ({"exclusiveMinimum": 2**53}, [2**53 + 2], [2**53]),
        ({"exclusiveMinimum": True, "minimum": 2**53}, [2**53 + 2], [2**53]),
        ({"maximum": -(2**53) - 1}, [-(2**53) - 2], [-(2**53)]),
        ({"exclusiveMaximum": -(2**53)}, [-(2**53) - 2], [-(2**53)]),
        ({"minimum": -(2**63), "maximum": INT64}, [0, -1, INT64, -INT64 + 1023], [INT64 + 1, -INT64 - 2, 10**19]),
        ({"exclusiveMinimum": -(2**63) - 1, "exclusiveMaximum": 2**63}, [INT64, -1], [INT64 + 1]),
        ({"minimum": 0, "maximum": UINT64}, [0, INT64], [-1, UINT64 + 1]),
        ({"minimum": 10**18}, [10**18, INT64], [10**18 - 1]),
        ({"maximum": -(10**18)}, [-(10**18)], [1 - 10**18]),
        ({"minimum": -1e300, "maximum": 1e300}, [0, INT64, -(10**18)], []),
        ({"minimum": 1e-300}, [1], [0, -1]),
    ],
)
def test_integers_beyond_doubles(bounds, inside, outside):
    texts = [*map(str, inside), *map(str, outside)]
    assert taken({"type": "integer", **bounds}, texts) == texts[: len(inside)]


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ({"maximum": 1.797e308}, ["0", "-1.5", "9", "9223372036854770000"], ["1.798e308", "1e309"]),
        ({"minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38}, ["0", "1.5", "-1"], ["1e39"]),
        ({"minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308}, ["-2.5"], ["1e309"]),
        ({"maximum": MAX_DOUBLE}, ["9223372036854770000"], ["9223372036854774785", "9223372036854775000"]),
        ({"minimum": 2**53 + 2}, ["9007199254741000"], ["9007199254740993", "9007199254740993.9"]),
        ({"exclusiveMinimum": 9007199254741000}, ["9007199254741010"], ["9007199254741000", "9007199254741000.0"]),
        ({"minimum": 2.2250738585072014e-308}, ["0.1", "3"], ["0", "-0.1"]),
        ({"exclusiveMaximum": -5e-324}, ["-0.1"], ["0", "0.1"]),
        ({"minimum": -1e-100}, ["0", "0.1"], ["-0.1"]),
        ({"minimum": 10**18}, ["1000000000000000000.5"], ["999999999999999999"]),
    ],
)
def test_numbers_beyond_doubles(bounds, inside, outside):
    assert taken({"type": "number", **bounds}, inside + outside) == inside


@given(
    st.integers(-(2**64), 2**64),
    st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
    st.sampled_from(["integer", "number"]),
    st.lists(st.integers(-2000, 2000), min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_no_number_outside_its_bound_is_allowed(bound, keyword, kind, offsets):
    is_inside = {
        "minimum": bound.__le__, "maximum": bound.__ge__, "exclusiveMinimum": bound.__lt__,
        "exclusiveMaximum": bound.__gt__,
    }[keyword]  # fmt: skip
    numbers = {bound + offset for offset in offsets} | {0}
    if abs(bound) > MAX_DOUBLE - 10_000:
        bound, numbers = bound >> 8, {number >> 8 for number in numbers}
        is_inside = getattr(bound, is_inside.__name__)
    found = taken({"type": kind, keyword: bound}, map(str, numbers))
    assert all(is_inside(int(text)) for text in found)
    if abs(bound) < 2**53 - 2000:
        assert {int(text) for text in found} == {number for number in numbers if is_inside(number)}


@pytest.mark.parametrize("bounds", [{"minimum": 2**63}, {"maximum": -(2**63)}, {"exclusiveMinimum": INT64}])
def test_bounds_beyond_which_nothing_can_be_written(bounds):
    (keyword,) = bounds
    for kind in ("integer", "number"):
        with pytest.raises(
            GrammarError, match=f"'{keyword}' cannot be enforced, at #/a~1b|'{keyword}' .* at #/{keyword}"
        ):
            FACTORY.json_schema({"type": kind, **bounds})
        FACTORY.json_schema({"type": kind, **bounds}, lenient=True)


@pytest.mark.parametrize(
    ("bounds", "lower", "upper"),
    [
        ({"minimum": 2**53 + 1, "maximum": 2**53 + 1}, "minimum", "maximum"),
        ({"minimum": 2**54 + 1, "maximum": 2**54 + 3}, "minimum", "maximum"),
        ({"exclusiveMinimum": 2**53, "exclusiveMaximum": 2**53 + 2}, "exclusiveMinimum", "exclusiveMaximum"),
        ({"exclusiveMinimum": True, "minimum": 2**53, "maximum": 2**53 + 1}, "minimum", "maximum"),
        ({"minimum": -(2**53) - 1, "exclusiveMaximum": -(2**53)}, "minimum", "exclusiveMaximum"),
    ],
)
def test_bounds_between_which_nothing_can_be_written(bounds, lower, upper):
    says = (
        f"json_schema: '{lower}' of {bounds[lower]} with '{upper}' of {bounds[upper]}, between which no number can be "
        f"written exactly, cannot be enforced, at #/{lower}; remove it, or set lenient=True to ignore it"
    )
    for kind in ("integer", "number"):
        with pytest.raises(GrammarError) as error:
            FACTORY.json_schema({"type": kind, **bounds})
        assert str(error.value) == says
        FACTORY.json_schema({"type": kind, **bounds}, lenient=True)


def test_contradictory_bounds():
    for least, most in ((5, 3), (2**53 + 3, 2**53 + 1)):
        with pytest.raises(GrammarError, match="Unsatisfiable schema"):
            FACTORY.json_schema({"type": "integer", "minimum": least, "maximum": most})


def test_the_least_integer_does_not_crash_the_process():
    """llguidance 1.9.1 recurses endlessly for a regular expression of -2^63 alone."""
    schemas = [{"const": -(2**63)}, {"enum": [[-(2**63)]]},
               {"type": "integer", "minimum": -(2**63), "maximum": -(2**63)},
               {"$ref": "#/components/a", "components": {"a": {"const": -(2**63)}}},
               "%llguidance {}\nstart: %json " + json.dumps({"const": -(2**63)})]  # fmt: skip
    code = (
        "import json\nfrom realizar.errors import GrammarError\n"
        "for schema in json.loads(sys.argv[1]):\n"
        "    try:\n        (FACTORY.grammar if isinstance(schema, str) else FACTORY.json_schema)(schema)\n"
        "    except GrammarError as error:\n        print(error)\n"
    )
    lines = run_apart(code, json.dumps(schemas))
    assert len(lines) == len(schemas), lines
    assert all("cannot be enforced" in line for line in lines)


@pytest.mark.parametrize("keyword", ["const", "enum"])
def test_numbers_in_const_and_enum(keyword):
    def schema(value):
        return {keyword: value if keyword == "const" else [value]}

    assert taken(schema(2**60), [str(2**60), str(2**60 + 1)]) == [str(2**60)]
    for value in (2**53 + 1, UINT64, 2**64, -(2**63), {"a": [2**53 + 1]}):
        for lenient in (False, True):
            with pytest.raises(
                GrammarError, match=f"'{keyword}' with -?[0-9]* cannot be enforced, at #/{keyword}; remove"
            ):
                FACTORY.json_schema(schema(value), lenient)
    # 1.0 and 1 are the same JSON number; it is written as 1 in const and enum, also in nested values.
    assert taken(schema(1.0), ["1", "1.0", "1.00"]) == ["1"]
    assert taken(schema(-100.0), ["-100", "-100.0"]) == ["-100"]
    assert taken(schema({"a": [2.0]}), ['{"a":[2]}', '{"a":[2.0]}']) == ['{"a":[2]}']
    with pytest.raises(GrammarError, match="1e400 is too large for a double"):
        FACTORY.json_schema('{"const": 1e400}')


def test_multiples_whose_product_overflows():
    """llguidance 1.9.1 accepts 262147 as a multiple of 65537 and 65539: it is their product modulo 2^32."""
    both = {"allOf": [{"multipleOf": 65537}, {"multipleOf": 65539}], "type": "integer"}
    with pytest.raises(
        GrammarError, match="'multipleOf' combined with the others cannot be enforced, at #/allOf/1/multipleOf"
    ):
        FACTORY.json_schema(both)
    assert taken({"allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "type": "integer"}, ["12", "6"]) == ["12"]
    assert accepts(FACTORY.json_schema({"items": {"multipleOf": 65537}, "contentSchema": {"multipleOf": 65539}}), "[]")
    assert lcm_overflows([0.01, 10**8])
    assert not lcm_overflows([0.01, 0.5, 1, 5, 100])
    assert not lcm_overflows([10**400])


@pytest.mark.parametrize("value", [2**62, 2**80, 2**32, 1.2345678901])
def test_the_error_quotes_multiple_of_exactly(value):
    """llguidance prints 2^62 as 4611686018427388000, and 1.2345678901 as 12345678901."""
    schema = {"properties": {"a": {"multipleOf": 3}, "b": {"multipleOf": value}}}
    with pytest.raises(GrammarError) as error:
        FACTORY.json_schema(schema)
    says = f"'multipleOf' of {value} cannot be enforced, at #/properties/b/multipleOf; remove it"
    assert str(error.value) == f"json_schema: {says}"


@pytest.mark.parametrize(
    "schema",
    [
        {"uniqueItems": False}, {"uniqueItems": True, "maxItems": 1}, {"propertyNames": True}, {"propertyNames": {}},
        {"dependentRequired": {}}, {"dependentRequired": {"a": []}}, {"dependentSchemas": {}}, {"not": False},
        {"dependentSchemas": {"a": True, "b": {}}}, {"dependencies": {"a": [], "b": {}}}, {"unevaluatedItems": True},
        {"unevaluatedProperties": {}}, {"if": {"type": "null"}}, {"then": False}, {"else": False}, {"minContains": 3},
        {"if": False, "then": {}, "else": True}, {"contains": False, "minContains": 0}, {"maxContains": 0},
        {"maxLength": 2**63 - 1}, {"maxItems": 2**64}, {"maxProperties": 10**30}, {"minLength": 0}, {"minItems": 0},
        {"minProperties": 0}, {"patternProperties": {}}, {"exclusiveMinimum": False}, {"properties": {}},
    ],
)  # fmt: skip
def test_keywords_without_effect_are_accepted(schema):
    texts = ["[1,1]" if "maxItems" not in schema or schema["maxItems"] > 1 else "[1]", '{"a":1}', '"a"', "1", "null"]
    for inside in (schema, {"allOf": [schema]}, {"$ref": "#/$defs/a", "$defs": {"a": schema}}):
        assert taken(inside, texts) == texts


@pytest.mark.parametrize("keyword", [
    {"uniqueItems": True}, {"contains": {"type": "null"}}, {"propertyNames": False},
    {"dependentRequired": {"a": ["b"]}},
    {"minProperties": 5}, {"unevaluatedItems": False}, {"unevaluatedProperties": False},
])  # fmt: skip
def test_keywords_of_other_types_have_no_effect(keyword):
    assert taken({"type": ["string", "null"], **keyword}, ['"a"', "null"]) == ['"a"', "null"]
    with pytest.raises(GrammarError, match="cannot be enforced"):
        FACTORY.json_schema({"type": ["string", "array", "object"], **keyword})


def test_property_names_are_not_keywords():
    schema = {"properties": {"uniqueItems": False, "const": {"const": 1}}, "required": ["const"], "type": "object"}
    assert taken(schema, ['{"const": 1}', '{"uniqueItems": 1, "const": 1}', '{"const": 2}']) == ['{"const": 1}']


SPACES = {
    '{"a":[1,2]}': True, '{"a": [1, 2]}': True, '{\n  "a": [\n    1,\n    2\n  ]\n}': True, '{\n\n\t"a": [1, 2]}': True,
    "{\n\n" + " " * 20 + '"a": [1, 2]}': True, "{\n" + " " * 21 + '"a": [1, 2]}': False, '{\n\n\n"a": [1, 2]}': False,
    '{  "a": [1, 2]}': False, '{ \n"a": [1, 2]}': False, ' {"a": [1, 2]}': False, '{"a": [1, 2]}\n': False,
}  # fmt: skip


def test_white_space_is_bounded():
    """As in llama.cpp: nothing, one blank, or at most two newlines and twenty blanks or tabs."""
    schema = {"properties": {"a": {"items": {"type": "integer"}}}, "required": ["a"]}
    assert taken(schema, SPACES) == [text for text, ok in SPACES.items() if ok]
    assert taken({}, SPACES) == [text for text, ok in SPACES.items() if ok]
    free = {**schema, "x-guidance": {"whitespace_pattern": "[ \\n]+"}}
    assert taken(free, ['{    "a": [1]}']) == ['{    "a": [1]}']
    assert taken({**schema, "x-guidance": {"whitespace_flexible": False}}, ['{"a":[1]}', '{"a": [1]}']) == ['{"a":[1]}']


@pytest.mark.parametrize("n", [MAX_DEPTH, 3000, 100_000])
def test_deep_schemas(n):
    text, deep = '{"items":' * n + "{}" + "}" * n, {}
    for _ in range(n):
        deep = {"items": deep}
    for schema in (text, deep):
        with pytest.raises(GrammarError, match=f"json_schema.* {MAX_DEPTH} levels of nested objects and lists"):
            FACTORY.json_schema(schema)
        if n > 10_000:  # Python 3.12 has room for fewer levels
            with pytest.raises(ParameterError, match=r"json_schema=.* must not be nested so deeply"):
                SamplingParams(json_schema=schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    ],
)  # fmt: skip
def test_endless_references_are_rejected(schema):
    with pytest.raises(GrammarError, match="json_schema"):
        FACTORY.json_schema(schema)


def test_positions():
    schema = {
        "properties": {"a/b": {"items": [{}, True]}}, "$ref": "#/components/x~1y/1", "enum": [{"not": {}}],
        "components": {"x/y": [{}, {"allOf": [{"$ref": "#"}, {"$ref": "#/enum/9"}, {"$ref": "#/%20/x"}]}]},
    }  # fmt: skip
    assert [path for path, _ in positions(schema)] == [
        "#", "#/properties/a~1b", "#/components/x~1y/1", "#/properties/a~1b/items/0", "#/components/x~1y/1/allOf/0",
        "#/components/x~1y/1/allOf/1", "#/components/x~1y/1/allOf/2",
    ]  # fmt: skip
