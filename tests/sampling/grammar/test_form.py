"""The form of a JSON schema: values of wrong types are errors that name their place, unless they have no effect."""

import pytest

from realizar.errors import GrammarError
from realizar.sampling.grammar.schema import read_schema

WRONG = [None, 5, -1, 1.5, True, "x", [], [5], [None], {"a": 5}, {"a": None}]
VALID = {
    "type": ["string"], "enum": [[5]], "$ref": ["#/$defs/n"], "anyOf": [[{}]], "allOf": [[True]], "properties": [{}],
    "patternProperties": [{}], "required": [["a"], []], "additionalProperties": [True, {}], "minProperties": [2],
    "items": [True, {}, [{}]], "prefixItems": [[{}]], "maxItems": [2, 2.0], "minLength": [0], "pattern": ["a"],
    "format": ["date"],
}  # fmt: skip


def is_refused(schema):
    try:
        read_schema(schema)
    except GrammarError:
        return True
    return False


@pytest.mark.parametrize("keyword", VALID)
def test_values_of_wrong_types_are_refused(keyword):
    """Not with a TypeError, whatever they are."""
    refused = [value for value in WRONG if is_refused({keyword: value})]
    assert None in refused
    assert len(refused) >= 5
    assert not any(is_refused({keyword: value, "$defs": {"n": {}}}) for value in VALID[keyword])


def test_the_error_names_the_place():
    with pytest.raises(GrammarError, match="'enum'=5, at #/properties/b~1c/enum: must be a list that is not empty"):
        read_schema({"properties": {"b/c": {"enum": 5}}})
    with pytest.raises(GrammarError, match="5, at #/allOf/1/properties/a: must be a schema"):
        read_schema({"allOf": [{}, {"properties": {"a": 5}}]})
    with pytest.raises(GrammarError, match=r"'type'=\['text'\], at #/items/type: must be one of string"):
        read_schema({"items": {"type": ["text"]}})


def test_keywords_of_other_types_say_nothing():
    """A property of draft 3 has "required": true."""
    assert read_schema({"type": "string", "required": True, "minItems": None})["required"] is True


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#"}}},
        {"items": {"$ref": "#/items"}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    ],
)
def test_a_reference_that_leads_back_to_itself_is_refused(schema):
    with pytest.raises(GrammarError, match="refers to itself"):
        read_schema(schema)


def test_recursive_schemas_are_read():
    schema = {"properties": {"next": {"$ref": "#"}, "other": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    assert read_schema(schema) == schema
