#!/usr/bin/env bash
# Hugging Face tokenizers 0.23.3 (with transformers 5.24.0): the ids of added tokens in tokenizer.json are not those used.
#
# Expected: an added token has the id that tokenizer.json and tokenizer_config.json give it, or the file is refused.
# Seen: ids are counted on from the end of the model's vocabulary in the order of the list. Where a token was taken out of
# the list, for example a reserved one, every later token silently has another id than in the file, and the embedding of
# another token; two tokens in the wrong order exchange their ids.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tokenizers==0.23.3 transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import json
import tempfile
from pathlib import Path

import tokenizers
import transformers


def seen(added):
    rows = [
        {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for text, i in added.items()
    ]
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    tokenizer = json.dumps({"version": "1.0", "added_tokens": rows, "model": model})
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": {str(row.pop("id")): row for row in rows}}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tokenizer.json").write_text(tokenizer)
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config))
        ids = [
            tokenizers.Tokenizer.from_str(tokenizer).encode("".join(added)).ids,
            transformers.AutoTokenizer.from_pretrained(folder)("".join(added)).input_ids,
        ]
    return [dict(zip(added, row, strict=True)) for row in ids]


print("tokenizers", tokenizers.__version__, "transformers", transformers.__version__)
changed = False
for added, known in (
    ({"<eos>": 3, "<user>": 4, "<tool>": 5}, {"<eos>": 3, "<user>": 4, "<tool>": 5}),
    ({"<eos>": 3, "<tool>": 5}, {"<eos>": 3, "<tool>": 4}),
    ({"<user>": 4, "<eos>": 3}, {"<user>": 3, "<eos>": 4}),
):
    found = seen(added)
    print(f"expected {added}; seen {found[0]}, by transformers {found[1]}")
    changed |= found != [known, known]
raise SystemExit(changed)
PYTHON
