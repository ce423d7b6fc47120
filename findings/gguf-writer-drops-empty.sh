#!/usr/bin/env bash
# gguf 0.19.0: GGUFWriter.add_string and add_array write nothing for "" and []; add_bool(False) and add_uint32(0) write.
#
# A vocabulary of bytes alone has no merges, and an empty chat template or prefix is a choice; both are keys that
# readers tell apart from missing ones.
# Expected: the keys with their empty values, or an error.
# Seen: no such keys, and no warning; add_key_value writes the same empty string.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile gguf==0.19.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from gguf import GGUFReader, GGUFValueType, GGUFWriter

writer = GGUFWriter("empty.gguf", "llama")
writer.add_string("x.string", "")
writer.add_array("x.array", [])
writer.add_token_merges([])
writer.add_chat_template("")
writer.add_bool("x.bool", False)
writer.add_uint32("x.number", 0)
writer.add_key_value("x.string_by_key_value", "", GGUFValueType.STRING)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

asked = ["x.string", "x.array", "tokenizer.ggml.merges", "tokenizer.chat_template", "x.bool", "x.number"]
found = set(GGUFReader("empty.gguf").fields)
lost = [key for key in asked if key not in found]
print("gguf", version("gguf"))
print("expected: all of", *asked)
print("seen: missing", *lost)
print("x.string_by_key_value:", "there" if "x.string_by_key_value" in found else "missing")
raise SystemExit(lost != asked[:4] or "x.string_by_key_value" not in found)
PYTHON
