#!/usr/bin/env bash
# Hugging Face tokenizers 0.23.3: DecodeStream never gives the end of a text that ends in U+FFFD or within a character.
#
# DecodeStream waits while the decoded text ends in U+FFFD, which it takes for the sign of an incomplete character; but
# that is a character of Unicode too, and a generation may end anywhere.
# Expected: the texts of all steps, joined, are what decode gives, or there is a way to ask for the rest at the end.
# Seen: the rest never comes, and the class has `step` alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.decoders import DecodeStream

letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()


def streamed(ids):
    stream = DecodeStream(skip_special_tokens=False)
    return [stream.step(tokenizer, i) for i in ids]


print("tokenizers", tokenizers.__version__)
methods = [name for name in dir(DecodeStream) if not name.startswith("_")]
print("methods of DecodeStream:", *methods)
changed = methods != ["step"]
ids = tokenizer.encode("a\N{REPLACEMENT CHARACTER}").ids
for what, ids, known in (
    ("U+FFFD within the text", ids + tokenizer.encode("b").ids, ["a", None, None, None, "\ufffdb"]),
    ("U+FFFD at the end", ids, ["a", None, None, None]),
    ("the first byte of an e acute at the end", tokenizer.encode("aé").ids[:2], ["a", None]),
):
    seen = streamed(ids)
    print(f"{what}: expected in all {tokenizer.decode(ids)!a}, seen {seen!a}")
    changed |= seen != known or not tokenizer.decode(ids).startswith("a\ufffd")
raise SystemExit(changed)
PYTHON
