#!/usr/bin/env bash
# transformers 5.24.0: a GGUF tokenizer whose `tokenizer.ggml.pre` it does not know splits text like GPT-2.
#
# That key names how text is split before merges. llama.cpp refuses a name that it does not know.
# Expected: the split of the model, which for smollm, starcoder and command-r separates digits, or an error.
# Seen: "1234" is [12, 34] as with gpt-2, without a warning, also for the names of SmolLM2, StarCoder2 and Command R, which were
# trained on single digits and then read tokens that they hardly saw. For qwen2, a name in its table, digits are separated.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile transformers==5.24.0 gguf==0.19.0 torch==2.13.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import gguf
import transformers


def tokens(pre):
    writer = gguf.GGUFWriter("model.gguf", "llama")
    writer.add_block_count(1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(["1", "2", "3", "4", "12", "34", "<eos>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 6 + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["1 2", "3 4"])
    writer.add_eos_token_id(6)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return transformers.AutoTokenizer.from_pretrained(".", gguf_file="model.gguf").tokenize("1234")


print("transformers", transformers.__version__)
separate, joined = ["1", "2", "3", "4"], ["12", "34"]
changed = False
for pre, expected, known in (
    ("qwen2", separate, separate),
    ("gpt-2", joined, joined),
    ("smollm", separate, joined),
    ("starcoder", separate, joined),
    ("command-r", separate, joined),
    ("no-such-name", "an error", joined),
):
    seen = tokens(pre)
    print(f"{pre}: expected {expected}, seen {seen}")
    changed |= seen != known
raise SystemExit(changed)
PYTHON
