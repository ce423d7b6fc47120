"""JSON schemas: allowed and forbidden texts, and errors that name the place of unsupported keywords."""

import pytest

from realizar.errors import GrammarError
from tests.sampling.grammar.texts import FACTORY, accepts

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 0}, "name": {"enum": ["a", "é"]}},
    "required": ["x", "name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("text", ['{"x": 12, "name": "a"}', '{"x":0,"name":"é"}'])
def test_texts_of_a_schema(text):
    assert accepts(FACTORY.json_schema(POINT), text)


@pytest.mark.parametrize("text", ['{"x": -1, "name": "a"}', '{"x": 1}', '{"x": 1, "name": "b"}', "[]", '{"x": 1'])
def test_other_texts(text):
    assert not accepts(FACTORY.json_schema(POINT), text)


def test_a_schema_may_be_json_text():
    assert accepts(FACTORY.json_schema('{"const": [1]}'), "[1]")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"not": {}}, "'not' cannot be enforced, at #/not"),
        ({"properties": {"not": {}, "b/c": {"not": {}}}}, "'not' cannot be enforced, at #/properties/b~1c/not"),
        ({"anyOf": [{}, {"items": {"uniqueItems": True}}]}, "at #/anyOf/1/items/uniqueItems"),
        ({"items": {"format": "foo"}}, "'format' foo cannot be enforced, at #/items/format"),
        ({"oneOf": [{"type": "object"}, {"required": ["a"], "type": "object"}]}, "may overlap .* at #/oneOf"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"uniqueItems": True}}}, r"at #/\$defs/a/uniqueItems"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "cannot be enforced, in a referenced schema"),
    ],
)
def test_unsupported_keywords_are_errors_with_their_place(schema, said):
    with pytest.raises(GrammarError, match=said):
        FACTORY.json_schema(schema)
    FACTORY.json_schema(schema, lenient=True)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"items": {"$ref": "other.json#/a"}}, r"'\$ref' to .*other.json, which is not in the schema, .* at #/items/"),
        ({"patternProperties": {"a*": {}, "b*": {}}}, "'patternProperties' that overlap, .* at #/patternProperties"),
    ],
)
def test_keywords_that_lenient_does_not_ignore(schema, said):
    for lenient in (False, True):
        with pytest.raises(GrammarError, match=f"{said}[^,]*; remove it$"):
            FACTORY.json_schema(schema, lenient)


def test_an_integer_may_be_written_as_a_float():
    constraint = FACTORY.json_schema({"type": "array", "items": {"const": 1.0}, "maxItems": 2.0})
    assert accepts(constraint.reset_copy(), "[1, 1]")
    assert not accepts(constraint.reset_copy(), "[1, 1, 1]")


@pytest.mark.parametrize("schema", ["{", "[]", True, {"a": {1}}, {"a": float("nan")}, {"type": "foo"}, {"enum": []},
                                    {"$ref": "#/nowhere"}, {"x-guidance": 1}, {"items": [{}] * 5000}])  # fmt: skip
def test_invalid_schemas(schema):
    with pytest.raises(GrammarError, match="json_schema"):
        FACTORY.json_schema(schema)


def test_a_schema_cannot_switch_lenient_on():
    with pytest.raises(GrammarError, match="'not'"):
        FACTORY.json_schema({"not": {}, "x-guidance": {"lenient": True}})


def test_deep_schemas_do_not_overflow_the_stack():
    chain = {f"a{i}": {"type": "array", "items": {"$ref": f"#/$defs/a{i + 1}"}} for i in range(1900)}
    FACTORY.json_schema({"$ref": "#/$defs/a0", "$defs": {**chain, "a1900": {"type": "null"}}})
    deep: dict[str, object] = {}
    for _ in range(3000):
        deep = {"items": deep}
    with pytest.raises(GrammarError, match="json_schema"):
        FACTORY.json_schema(deep)
