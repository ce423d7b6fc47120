#!/usr/bin/env bash
# llama.cpp in xllamacpp 2026.10.11549: a chat template that prints an object prints nothing, and `default` replaces null.
#
# Expected: `{{ tool }}` prints the object as Python does, and `default` replaces what is undefined, as in jinja2. A template
# that lacks `tojson` then still shows the model its tools.
# Seen: the object is absent from the prompt and the items of a list are joined without a separator, without an error.
# `~` and the filter `string` print both as Python does. `none | default('x')` is 'x'; null prints as nothing instead of None.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.3.5 jinja2==3.1.6
PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" - <<'PYTHON'
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
