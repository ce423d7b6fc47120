#!/bin/sh
# llguidance 1.9.1: a JSON schema's property can be written under an escaped name, past the property's own schema.
#
# Expected: of {"type": "object", "properties": {"a": {"type": "integer"}}} the text {"\u0061": "x"} is refused, since
# "\u0061" is the name "a" (RFC 8259, section 8.3) and "x" is no integer; so {"a": "x"} is.
# Seen: {"a": "x"} is refused and {"\u0061": "x"} accepted: the names that are taken are left out of the other keys as
# the literal text "a", and a key may have \uXXXX for any character.
set -e
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m pip install -q --target "$folder" llguidance==1.9.1
PYTHONPATH="$folder" python3 - <<'PY'
import importlib.metadata
import json

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper


class Bytes:
    eos_token_id, bos_token_id, special_token_ids = 256, None, [256]
    tokens = [bytes([byte]) for byte in range(256)] + [b"<eos>"]

    def __call__(self, text):
        return list(text if isinstance(text, bytes) else text.encode())


tokenizer = LLTokenizer(TokenizerWrapper(Bytes()))
schema = {"type": "object", "properties": {"a": {"type": "integer"}}}


def accepts(text):
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(schema)), log_level=0)
    return matcher.try_consume_tokens(list(text.encode())) == len(text.encode()) and matcher.is_accepting()


seen = [(text, accepts(text)) for text in ('{"a": 1}', '{"a": "x"}', r'{"\u0061": "x"}')]
print("llguidance", importlib.metadata.version("llguidance"), *seen, sep="\n")
assert json.loads(seen[2][0]) == {"a": "x"}
assert [ok for _, ok in seen] == [True, False, True], "the behaviour has changed"
PY
