"""Short chat templates that write tool calls in the declared formats, and tokenizers for them.

They render tools and calls as the templates of the models do, and little else.
"""

import re

from realizar.calls.formats.deepseek_v3_1 import CALLS
from realizar.tokenizer import Tokenizer

_TOOLS = "{% if tools %}{{ tools | tojson }}\n{% endif %}"
_EACH = "{% for c in m.tool_calls or [] %}{% set f = c.function %}"
_ITEMS = "{% for k, v in f.arguments.items() %}"


def _chat(calls: str, content: str = "{{ m.content or '' }}", generate: str = "", head: str = _TOOLS) -> str:
    """A template whose messages end with <|im_end|>; Hermes's calls in its text would make it a Hermes template."""
    begin = "<|im_start|>{{ m.role }}\n"
    return (
        f"{head}{{% for m in messages %}}{begin}{content}{calls}<|im_end|>\n{{% endfor %}}"
        f"{{% if add_generation_prompt %}}<|im_start|>assistant\n{generate}{{% endif %}}"
    )


def _xml(before: str, each: str, middle: str, item: str, after: str, closing: str = "") -> str:
    calls = f"{_EACH}{each}{{{{ f.name }}}}{middle}{_ITEMS}{item}{{% endfor %}}{after}{{% endfor %}}"
    return _chat(f"{{% if m.tool_calls %}}{before}{calls}{closing}{{% endif %}}")


def _listed(comma: str, call: str) -> str:
    return f"{{% for c in m.tool_calls %}}{{{{ '{comma}' if not loop.first }}}}{call}{{% endfor %}}"


_JSON = "{{ v if v is string else v | tojson }}"
_PYTHON = "{{ v if v is string or v is boolean or v is none else v | tojson }}"
_CDATA = "{% if v is string and ('<' in v or '&' in v or '\\n' in v) %}<![CDATA[{{ v }}]]>{% else %}{{ v }}{% endif %}"
_DSML = "\uff5cDSML\uff5c"
_STRING = "{{ 'true' if v is string else 'false' }}"
_TYPE = (
    "{{ 'string' if v is string else 'boolean' if v is boolean else 'null' if v is none else 'number' if v is number "
    "else 'object' if v is mapping else 'array' }}"
)
_GEMMA = """{%- macro value(v) -%}{% if v is string %}<|"|>{{ v }}<|"|>{% elif v is boolean %}{{ v | tojson }}
{%- elif v is mapping %}{{ '{' }}{% for k, x in v | dictsort %}{{ k }}:{{ value(x) }}
{{- ',' if not loop.last }}{% endfor %}}
{%- elif v is sequence %}[{% for x in v %}{{ value(x) }}{{ ',' if not loop.last }}{% endfor %}]
{%- else %}{{ v }}{% endif %}{%- endmacro -%}"""
_HARMONY = """{# <|channel|>analysis<|message|> #}{{ '# functions.' if tools }}{{ tools | tojson if tools }}
{%- for m in messages %}
{%- if m.tool_calls %}{% set f = m.tool_calls[0].function %}<|start|>assistant to=functions.{{ f.name }}
{{- '<|channel|>commentary json<|message|>' }}{{ f.arguments | tojson }}<|call|>
{%- elif m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|im_end|>
{%- else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|start|>assistant{% endif %}"""
_GLIMMER = """{# to=self<|message|> #}{{ tools | tojson if tools }}{% for m in messages %}
{%- if m.tool_calls %}{% for c in m.tool_calls %}<|start|>assistant to={{ c.function.name }}<|message|>
{{- '<atem:function_calls>\\n<atem:invoke name="' }}{{ c.function.name }}">
{% for k, v in c.function.arguments.items() %}<atem:parameter name="{{ k }}">{{ v if v is string else v | tojson }}
{{- '</atem:parameter>' }}
{% endfor %}</atem:invoke>
</atem:function_calls>{{ '<|im_end|>' if loop.last else '<|eom|>' }}{% endfor %}
{%- elif m.role == 'assistant' %}<|start|>assistant to=user<|message|>{{ m.content }}<|im_end|>
{%- else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|im_end|>{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|start|>assistant{% endif %}"""
_FUNCTIONARY = """{{ tools | tojson if tools }}{# >>>all, >>>${recipient} #}{% for m in messages %}{{ m.role }}: >>>
{%- if m.tool_calls %}{% for c in m.tool_calls %}{{ '>>>' if not loop.first }}{{ c.function.name }}
{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>{% else %}all
{{ m.content }}<|im_end|>{% endif %}{% endfor %}{% if add_generation_prompt %}assistant: >>>{% endif %}"""
_PYTHON_CALL = (
    "{{ c.function.name }}({% for k, v in c.function.arguments.items() %}{{ ', ' if not loop.first }}{{ k }}="
    "{% if v is string %}'{{ v }}'{% elif v is mapping %}{{ v | tojson }}{% else %}{{ v }}{% endif %}{% endfor %})"
)
_INDENTED = """{{ tools | tojson if tools }}{% for m in messages %}{{ m.role }}: {{ m.content or '' }}
{%- if m.tool_calls %}

Action:
```json
[
{% for c in m.tool_calls %}
    {
        "tool_name": "{{ c.function.name }}",
        "parameters": {{ c.function.arguments | tojson(indent=4) | indent(8) }}
    }{{ ',\\n' if not loop.last }}{% endfor %}

]```
{% endif %}{{ '<|im_end|>' }}{% endfor %}"""

TEMPLATES = {
    "qwen3_coder": _xml("", "<tool_call>\n<function=", ">\n", f"<parameter={{{{ k }}}}>\n{_PYTHON}\n</parameter>\n",
                        "</function>\n</tool_call>\n"),
    "minicpm5": _xml("", '<function name="', '">', f'<param name="{{{{ k }}}}">{_CDATA}</param>', "</function>"),
    "seed_oss": _xml("", "<seed:tool_call>\n<function=", ">\n", "<parameter={{ k }}>{{ v }}</parameter>\n",
                     "</function>\n</seed:tool_call>\n"),
    "glm": _xml("", "<tool_call>", "", f"<arg_key>{{{{ k }}}}</arg_key><arg_value>{_JSON}</arg_value>", "</tool_call>"),
    "glm in lines": _xml("", "\n<tool_call>", "\n", f"<arg_key>{{{{ k }}}}</arg_key>\n<arg_value>{_JSON}</arg_value>\n",
                         "</tool_call>"),
    "hunyuan": _xml("<tool_calls:opensource>\n", "<tool_call:opensource>", "<tool_sep:opensource>\n",
                    f"<arg_key:opensource>{{{{ k }}}}</arg_key:opensource>\n<arg_value:opensource>{_JSON}"
                    "</arg_value:opensource>\n", "</tool_call:opensource>\n", "</tool_calls:opensource>"),
    "minimax_m2": _xml("\n<minimax:tool_call>\n", '<invoke name="', '">\n',
                       f'<parameter name="{{{{ k }}}}">{_JSON}</parameter>\n', "</invoke>\n", "</minimax:tool_call>"),
    "deepseek_dsml": _xml(f"\n\n<{_DSML}tool_calls>\n", f'<{_DSML}invoke name="', '">\n',
                          f'<{_DSML}parameter name="{{{{ k }}}}" string="{_STRING}">{_JSON}</{_DSML}parameter>\n',
                          f"</{_DSML}invoke>\n", f"</{_DSML}tool_calls>"),
    "kimi_k3": _xml("<|open|>tools<|sep|>", '<|open|>call tool="', '" index="{{ loop.index }}"<|sep|>',
                    f'<|open|>argument key="{{{{ k }}}}" type="{_TYPE}"<|sep|>{_JSON}<|close|>argument<|sep|>',
                    "<|close|>call<|sep|>", "<|close|>tools<|sep|>"),
    "gemma4": _GEMMA + _xml("", "<|tool_call>call:", "", "", "", "").replace(
        f"{_ITEMS}{{% endfor %}}", "{{ value(f.arguments) }}<tool_call|>"),
    "deepseek_v3_1": _chat(
        f"{{% if m.tool_calls %}}{CALLS.opening}"
        + _listed(CALLS.between, f"{{{{ c.function.name }}}}{CALLS.middle}"
                                      "{{ c.function.arguments | tojson }}")
        + CALLS.closing + "{% endif %}", head=""),
    "pythonic": _chat("{% if m.tool_calls %}[" + _listed(", ", _PYTHON_CALL) + "]{% endif %}"),
    "pythonic with a marker": _chat("{% if m.tool_calls %}<|tool_call_start|>["
                                    + _listed(", ", _PYTHON_CALL)
                                    + "]<|tool_call_end|>{% endif %}"),
    "lfm2": _chat("", head="List of tools: {{ tools | tojson if tools }}"),
    "granite": _chat("", head="{% set available_tools = tools %}{# <|tool_call|> #}{{ tools | tojson if tools }}"),
    "smollm3": _chat("", head="{{ xml_tools | tojson if xml_tools }}{# <tool_call> #}"),
    "command_r_plus": _INDENTED,
    "functionary": _FUNCTIONARY,
    "muse_glimmer": _GLIMMER,
    "harmony": _HARMONY,
    "firefunction": _chat("{% if m.tool_calls %} functools["
                          + _listed(", ", '{"name": "{{ c.function.name }}", "arguments": '
                                                        "{{ c.function.arguments | tojson }}}")
                          + "]{% endif %}", head="{{ functions }}"),
}  # fmt: skip
"""Name of the declared format (a second word distinguishes variants) -> template."""

ONE_CALL = ("harmony",)

_CONTROL = re.compile(
    r"<\uff5ctool[^<>\s]*>|<\|[^<>\s'\"{}|]{1,40}\|?>|<[a-z_]+\|>|</?(?:arg_key|arg_value|seed:tool_call)>|<\|\"\|>"
)


def tokenizer(template: str) -> Tokenizer:
    """Return a tokenizer of bytes, with the tags of a template that look like control tokens as such."""
    control = [
        "<|im_end|>",
        *dict.fromkeys(t for t in _CONTROL.findall(template) if t not in ("<|im_end|>", "<|call|>")),
    ]
    control.append("<|call|>")
    return Tokenizer.from_gguf({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [*(f"<0x{byte:02X}>" for byte in range(256)), *control, "\u2581"],
        "tokenizer.ggml.token_type": [6] * 256 + [3] * len(control) + [1],
        "tokenizer.ggml.scores": [0.0] * (257 + len(control)),
        "tokenizer.ggml.eos_token_id": 256,
        "tokenizer.ggml.bos_token_id": 256,
        "tokenizer.ggml.unknown_token_id": 256,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": template,
    })  # fmt: skip
