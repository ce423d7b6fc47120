#!/bin/sh
# apply_chat_template takes keys whose value is None out of the messages before a template sees them.
#
# Library: transformers 5.24.0. The conversation is valid: OpenAI's API gives the content of a message that only calls
# tools as null. Templates that test for it ("message['content'] is none", as that of DeepSeek-R1-Distill does) write the
# calls in that branch.
# Expected: the branch for None is taken and the call is in the prompt.
# Seen: content is undefined, which is not none; the branch for text is taken, and the call is gone without an error.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "transformers==5.24.0" "jinja2==3.1.6"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

TEMPLATE = """{%- for m in messages %}
{%- if m['role'] == 'assistant' and m['content'] is none %}
  {{- '<assistant><call>' ~ m['tool_calls'][0]['function']['name'] ~ '</call>' }}
{%- elif m['role'] == 'assistant' and m['content'] is not none %}{{ '<assistant>' ~ m['content'] }}
{%- else %}{{ '<' ~ m['role'] ~ '>' ~ m['content'] }}{% endif %}{% endfor %}"""
call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
messages = [
    {"role": "user", "content": "Rome?"},
    {"role": "assistant", "content": None, "tool_calls": [call]},
    {"role": "tool", "tool_call_id": "1", "content": "18"},
]
tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a"))
)
found = tokenizer.apply_chat_template(messages, chat_template=TEMPLATE, tokenize=False)
print("transformers", transformers.__version__)
print("expected     <user>Rome?<assistant><call>weather</call><tool>18")
print("seen        ", found)
sys.exit(found != "<user>Rome?<assistant><tool>18")
PYTHON
