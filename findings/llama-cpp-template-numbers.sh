#!/usr/bin/env bash
# llama.cpp in xllamacpp 2026.10.11549: `tojson` in a chat template keeps six digits of a number.
#
# Templates write tools and the arguments of earlier calls into the prompt with `tojson`; those of Qwen, Hermes and GLM do.
# Expected: the number of the request, as from jinja2 in transformers.
# Seen: 1234567.89 becomes 1.23457e+06, 52.5200066 becomes 52.52 and 2.0 becomes 2, without a warning: the model reads
# another amount and another place than it was called with. Integers are exact, and so is `{{ number }}` without `tojson`.
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
import json
from importlib.metadata import version

import jinja2
from llama_cpp import prompt

TEMPLATE = """{%- for m in messages %}
{%- for call in m.tool_calls or [] %}<call>{{ call.function.name }} {{ call.function.arguments | tojson }}</call>{% endfor %}
{%- endfor %}"""


def conversation(arguments):
    call = {"id": "1", "type": "function", "function": {"name": "pay", "arguments": arguments}}
    return [
        {"role": "user", "content": "Pay."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]


arguments = {"amount": 1234567.89, "latitude": 52.5200066, "rate": 2.0, "account": 9007199254740993}
environment = jinja2.Environment()
environment.filters["tojson"] = json.dumps
expected = environment.from_string(TEMPLATE).render(messages=conversation(arguments))
seen = prompt(TEMPLATE, conversation(json.dumps(arguments)))
print("xllamacpp", version("xllamacpp"), "jinja2", version("jinja2"))
print("expected", expected)
print("seen    ", seen)
rounded = '{"amount": 1.23457e+06, "latitude": 52.52, "rate": 2, "account": 9007199254740993}'
raise SystemExit(seen != f"<call>pay {rounded}</call>" or expected != f"<call>pay {json.dumps(arguments)}</call>")
PYTHON
