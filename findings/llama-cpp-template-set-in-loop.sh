#!/usr/bin/env bash
# llama.cpp in xllamacpp 2026.10.11549: what a chat template sets in a loop is still set in the next iteration.
#
# Expected: as jinja2 documents, a variable set in the body of a loop ends with the iteration; templates use `namespace` for
# what shall last longer.
# Seen: the image, tool call or name of one message is written for every later one that has none, without an error. After
# the loop the variable has its earlier value again, as in jinja2, so that a template with one message shows no difference.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.3.5 jinja2==3.1.6
cat >"$folder/llama_cpp.py" <<'PYTHON'
"""The prompt that llama.cpp makes of a chat template, by its server in xllamacpp."""

import json
import tempfile
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import xllamacpp


def write_model(path):
    """Write a model of zeros: llama.cpp renders templates only for a loaded model."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["a", "b", "ab", "\u010a"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 4)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(3)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(32, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def prompt(template, messages, **request):
    """Return the prompt of llama-server's `/apply-template`; `request` has further fields, such as tools."""
    with tempfile.TemporaryDirectory() as folder:
        params = xllamacpp.CommonParams()
        params.model.path = str(Path(folder, "model.gguf"))
        write_model(params.model.path)
        params.chat_template = template
        params.port, params.warmup, params.fit_params, params.verbosity = 0, False, False, 0
        server = xllamacpp.Server(params)
        body = json.dumps({"messages": messages, **request}).encode()
        address, headers = f"{server.listening_address}/apply-template", {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as answer:
            return json.load(answer)["prompt"]
PYTHON
PYTHONPATH="$folder" PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import jinja2
from llama_cpp import prompt

TEMPLATE = """{%- set speaker = 'user' %}
{%- for m in messages %}
{%- if m.name %}{% set speaker = m.name %}{% endif %}{{ '<' ~ speaker ~ '>' ~ m.content }}
{%- endfor %}<{{ speaker }}>"""
messages = [
    {"role": "user", "content": "one", "name": "Ada"},
    {"role": "user", "content": "two"},
]
expected = jinja2.Template(TEMPLATE).render(messages=messages)
seen = prompt(TEMPLATE, messages)
print("xllamacpp", version("xllamacpp"), "jinja2", version("jinja2"))
print(f"expected {expected}; seen {seen}")
raise SystemExit((expected, seen) != ("<Ada>one<user>two<user>", "<Ada>one<Ada>two<user>"))
PYTHON
