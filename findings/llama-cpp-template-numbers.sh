#!/usr/bin/env bash
# llama.cpp in xllamacpp 2026.10.11549: `tojson` in a chat template keeps six digits of a number.
#
# Templates write tools and the arguments of earlier calls into the prompt with `tojson`; those of Qwen, Hermes and GLM do.
# Expected: the number of the request, as from jinja2 in transformers.
# Seen: 1234567.89 becomes 1.23457e+06, 52.5200066 becomes 52.52 and 2.0 becomes 2, without a warning: the model reads
# another amount and another place than it was called with. Integers are exact, and so is `{{ number }}` without `tojson`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.3.5 jinja2==3.1.6
PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" - <<'PYTHON'
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
