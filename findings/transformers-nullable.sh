#!/usr/bin/env bash
# transformers 5.24.0 with llguidance 1.9.1 and jsonschema 4.26.0: an Optional argument of a tool must not be null.
#
# `get_json_schema`, which `apply_chat_template(tools=[function])` uses, makes the schema of a Python function; engines constrain
# the arguments of calls by it.
# Expected: Optional[int] allows null, as {"type": ["integer", "null"]} does; int | str becomes a list of types, too.
# Seen: {"type": "integer", "nullable": true}. JSON Schema has no "nullable" (OpenAPI 3.0 had), so that validators refuse null,
# and a constrained model cannot leave the value open: it has to invent a number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile transformers==5.24.0 llguidance==1.9.1 jsonschema==4.26.0
"$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version
from typing import Optional

import jsonschema
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from transformers.utils import get_json_schema


class Bytes:
    eos_token_id, bos_token_id, special_token_ids = 256, None, [256]
    tokens = [bytes([byte]) for byte in range(256)] + [b"<eos>"]

    def __call__(self, text):
        return list(text if isinstance(text, bytes) else text.encode())


def book(seats: int | str, table: Optional[int]):
    """
    Book seats.

    Args:
        seats: How many.
        table: Which table, if it matters.
    """


def accepts(schema, text):
    tokens = LLTokenizer(TokenizerWrapper(Bytes()))
    matcher = LLMatcher(tokens, LLMatcher.grammar_from_json_schema(json.dumps(schema)), log_level=0)
    return matcher.try_consume_tokens(list(text.encode())) == len(text) and matcher.is_accepting()


properties = get_json_schema(book)["function"]["parameters"]["properties"]
schemas = {name: {key: value for key, value in schema.items() if key != "description"} for name, schema in properties.items()}
seen = [jsonschema.Draft202012Validator(schemas["table"]).is_valid(None), accepts(schemas["table"], "null")]
print(*(f"{name} {version(name)}" for name in ("transformers", "llguidance", "jsonschema")))
print("schemas", schemas)
print("expected null to be accepted for 'table'; seen by jsonschema", seen[0], "and by llguidance", seen[1])
known = {"seats": {"type": ["integer", "string"]}, "table": {"type": "integer", "nullable": True}}
raise SystemExit(schemas != known or seen != [False, False] or not accepts(schemas["table"], "7"))
PYTHON
