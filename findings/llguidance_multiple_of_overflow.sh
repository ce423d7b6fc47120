#!/bin/sh
# llguidance 1.9.1: two multipleOf of one value are merged by a product modulo 2^32.
#
# Expected: {"allOf": [{"multipleOf": 65537}, {"multipleOf": 65539}]} takes 4295229443 = 65537 * 65539 and not 262147,
# which neither divides; or the schema is refused, as a single multipleOf beyond 2^32 is.
# Seen: 262147 = 4295229443 mod 2^32 is accepted and 4295229443 refused.
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
schema = {"type": "integer", "allOf": [{"multipleOf": 65537}, {"multipleOf": 65539}]}


def accepts(text):
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(schema)), log_level=0)
    return matcher.try_consume_tokens(list(text.encode())) == len(text) and matcher.is_accepting()


seen = [(text, accepts(text)) for text in ("262147", "4295229443")]
print("llguidance", importlib.metadata.version("llguidance"), *seen, sep="\n")
assert 262147 % 65537 and 262147 % 65539
assert [ok for _, ok in seen] == [True, False], "the behaviour has changed"
PY
