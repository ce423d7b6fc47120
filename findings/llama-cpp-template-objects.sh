#!/usr/bin/env bash
# llama.cpp in xllamacpp 2026.10.11549: a chat template that prints an object prints nothing, and `default` replaces null.
#
# Expected: `{{ tool }}` prints the object as Python does, and `default` replaces what is undefined, as in jinja2. A template
# that lacks `tojson` then still shows the model its tools.
# Seen: the object is absent from the prompt and the items of a list are joined without a separator, without an error.
# `~` and the filter `string` print both as Python does. `none | default('x')` is 'x'; null prints as nothing instead of None.
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

CASES = {  # template -> what llama.cpp makes of it
    "{% for t in tools %}<tool>{{ t.function.parameters }}</tool>{% endfor %}": "<tool></tool>",
    "{% for t in tools %}<tool>{{ t.function.parameters | string }}</tool>{% endfor %}": "<tool>{'type': 'object', 'properties': {}}</tool>",
    "{{ units }}": "metricimperial",
    "{{ place | default('unknown') }}": "unknown",
    "{{ place }}": "",
}
function = {"name": "weather", "description": "Weather", "parameters": {"type": "object", "properties": {}}}
tools = [{"type": "function", "function": function}]
messages = [{"role": "user", "content": "Rome?"}]
variables = {"units": ["metric", "imperial"], "place": None}
print("xllamacpp", version("xllamacpp"), "jinja2", version("jinja2"))
changed = False
for template, known in CASES.items():
    expected = jinja2.Template(template).render(tools=tools, messages=messages, **variables)
    seen = prompt(template, messages, tools=tools, chat_template_kwargs=variables)
    print(f"{template}: expected {expected!r}, seen {seen!r}")
    changed |= seen != known or (expected == seen) != ("string" in template)
raise SystemExit(changed)
PYTHON
