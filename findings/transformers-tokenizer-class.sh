#!/usr/bin/env bash
# transformers 5.24.0: the class named in tokenizer_config.json overrides how tokenizer.json splits and normalizes text.
#
# Version 4 took both from tokenizer.json. SmolLM2 and StarCoder2 name GPT2Tokenizer, and their tokenizer.json separates digits.
# Expected: the ids of tokenizer.json, as from the tokenizers package and as in training.
# Seen: GPT2Tokenizer and Qwen2Tokenizer keep vocabulary, merges and post-processor, and replace the pre-tokenizer and the
# normalizer by their own: "1234" becomes [12, 34] and capital letters stay, without a warning. PreTrainedTokenizerFast does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile transformers==5.24.0 tokenizers==0.23.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from pathlib import Path

import tokenizers
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors

tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "12", "34", "<eos>"]
original = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [("1", "2"), ("3", "4")]))
original.normalizer = normalizers.Lowercase()
digits = pre_tokenizers.Digits(individual_digits=True)
original.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
original.add_special_tokens(["<eos>"])
original.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", len(tokens) - 1)])
original.save("tokenizer.json")
Path("config.json").write_text(json.dumps({"model_type": "llama"}))

print("transformers", transformers.__version__, "tokenizers", tokenizers.__version__)
expected = original.encode("1234A").tokens
changed = expected != ["1", "2", "3", "4", "a", "<eos>"]
for name, known in (
    ("PreTrainedTokenizerFast", expected),
    ("GPT2Tokenizer", ["12", "34", "A", "<eos>"]),
    ("Qwen2Tokenizer", ["1", "2", "3", "4", "A", "<eos>"]),
):
    Path("tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, "eos_token": "<eos>"}))
    tokenizer = transformers.AutoTokenizer.from_pretrained(".")
    seen = tokenizer.convert_ids_to_tokens(tokenizer("1234A").input_ids)
    print(f"{name}: expected {expected}, seen {seen}")
    changed |= seen != known
raise SystemExit(changed)
PYTHON
