#!/usr/bin/env bash
# llguidance 1.9.1: a JSON schema with a long enum value and a pattern that the value matches is refused.
#
# Expected: the value is compared with the pattern when the schema is compiled, which is linear in its length; the schema
# is as valid as the same one with a shorter value.
# Seen: with 1000 characters it compiles, with 2000 it is refused ("Unable to determine if regex is empty"): the value
# becomes an intersection of two regular expressions, whose search for a match has a fixed budget.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet llguidance==1.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version

from llguidance import LLMatcher


def error(n):
    schema = {"type": "string", "enum": ["a" * n], "pattern": "^a*$"}
    return LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(json.dumps(schema)), None)


short, long = error(1000), error(2000)
print("llguidance", version("llguidance"))
print(f"expected no error for either; seen {short!r} for 1000 characters, {long[:38]!r} for 2000")
raise SystemExit(bool(short) or not long.startswith("Unable to determine if regex is empty"))
PYTHON
