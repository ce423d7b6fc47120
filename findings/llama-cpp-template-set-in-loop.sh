#!/usr/bin/env bash
# llama.cpp in xllamacpp 2026.10.11549: what a chat template sets in a loop is still set in the next iteration.
#
# Expected: as jinja2 documents, a variable set in the body of a loop ends with the iteration; templates use `namespace` for
# what shall last longer.
# Seen: the image, tool call or name of one message is written for every later one that has none, without an error. After
# the loop the variable has its earlier value again, as in jinja2, so that a template with one message shows no difference.
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
