#!/usr/bin/env bash
# Hugging Face tokenizers 0.23.1: BPE without unk_token joins the neighbours of an unknown character.
#
# Expected: "a?b", where no token spells "?", gives [a, b], as in llama.cpp and as with an unknown token between them.
# Seen: [ab]. The unknown character is dropped before merges run, so a merge reaches over it. With unk_token set the
# result is [a, <unk>, b].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tokenizers==0.23.1
"$folder/venv/bin/python" - <<'PYTHON'
import tokenizers
from tokenizers import Tokenizer, models

vocabulary, merges = {"<unk>": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")]
without = Tokenizer(models.BPE(vocabulary, merges)).encode("a?b").tokens
given = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>")).encode("a?b").tokens
print(f"tokenizers {tokenizers.__version__}: expected ['a', 'b'] for 'a?b' without unk_token, seen {without}; with it {given}")
raise SystemExit((without, given) != (["ab"], ["a", "<unk>", "b"]))
PYTHON
