"""Chat templates with the tool-call formats of known models, and a tokenizer with their control tokens."""

from realizar.tokenizer import ChatTemplate, Tokenizer

_TOOLS = "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}"
_TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
_GENERATE = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

HERMES = f"""{_TOOLS}{{% for m in messages %}}{{% if m.tool_calls %}}<|im_start|>assistant
{{{{- '\\n' + m.content if m.content }}}}{{% for c in m.tool_calls %}}
{{{{ '\\n<tool_call>\\n{{"name": "' + c.function.name + '", "arguments": ' }}}}
{{{{- c.function.arguments | tojson }}}}{{{{ '}}\\n</tool_call>' }}}}
{{%- endfor %}}<|im_end|>
{{% else %}}{_TURN}{{% endif %}}{{% endfor %}}{_GENERATE}"""
"""Qwen2.5, Qwen3, Hermes 2 and 3, Granite 4."""

LLAMA = """{{ '<s>' }}{% for m in messages %}{% if m.tool_calls %}{% if m.tool_calls | length > 1 %}
{{ raise_exception('one call at once') }}{% endif %}
{{- '<|im_start|>assistant\n{"name": "' + m.tool_calls[0].function.name + '", "parameters": ' }}
{{- m.tool_calls[0].function.arguments | tojson }}}<|im_end|>
{% else %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endif %}{% if m.role == 'user' and tools %}{{ tools | tojson }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Llama 3.1 to 3.3."""

MISTRAL = """{% for m in messages %}{% if m.role == 'user' %}{{ tools | tojson if tools }}[INST]{{ m.content }}[/INST]
{%- elif m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}
{{- (c.function | tojson)[:-1] + ', "id": "' + c.id + '"}' }}{{ ', ' if not loop.last else ']<|im_end|>' }}
{%- if c.id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}{% endfor %}
{%- elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]
{%- else %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}"""
"""Mistral 7B v0.3 and Nemo."""

MISTRAL_SMALL = """{% for m in messages %}{% if m.role == 'user' %}{{ tools | tojson if tools }}
{{- '[INST]' + m.content + '[/INST]' }}
{%- elif m.tool_calls %}{% for c in m.tool_calls %}
{{- '[TOOL_CALLS]' + c.function.name + '[CALL_ID]' + c.id + '[ARGS]' + c.function.arguments | tojson }}{% endfor %}
{{- '<|im_end|>' }}{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"""
"""Mistral Small 3.2."""

DEEPSEEK = """{{ tools | tojson if tools }}{% for m in messages %}{% if m.role == 'user' %}User: {{ m.content }}
{%- elif m.content is none %}Assistant: <calls>{% for c in m.tool_calls %}
{{- '<call>' + c.function.name + '<args>' + c.function.arguments + '</call>' }}{% endfor %}</calls><|im_end|>
{%- else %}Assistant: {{ m.content }}<|im_end|>{% endif %}{% endfor %}"""
"""DeepSeek: arguments of earlier calls as JSON text, and content None."""

NUMBERED = """{{ tools | tojson if tools }}{% for m in messages %}{{ m.role }}: {% for c in m.tool_calls or [] %}
{{- '<call>functions.' ~ c.function.name ~ ':' ~ loop.index0 ~ '<args>' ~ c.function.arguments | tojson }}</call>
{%- endfor %}{{ m.content or '' }}<|im_end|>{% endfor %}"""
"""Kimi K2."""

THINKING = HERMES.replace("<|im_start|>assistant\n{{-", "<|im_start|>assistant\n<think>\n\n</think>\n{{-").replace(
    "<|im_start|>{{ m.role }}\n", "<|im_start|>{{ m.role }}\n{{ '<think>\n\n</think>\n\n' if m.role == 'assistant' }}"
)
"""Qwen3: (empty) reasoning before an answer."""

TAGS = """{{ tools | tojson if tools }}{% for m in messages %}{{ m.role }}: {% for c in m.tool_calls or [] %}
<function={{ c.function.name }}>{% for k, v in c.function.arguments.items() %}<{{ k }}>{{ v }}</{{ k }}>{% endfor %}
{%- endfor %}{{ m.content or '' }}<|im_end|>{% endfor %}"""
"""Qwen3-Coder: arguments that are not JSON."""

PLAIN = f"{{% for m in messages %}}{_TURN}{{% endfor %}}{_GENERATE}"
"""SmolLM2: no tool support."""

CONTROL = ("<|im_end|>", "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]", "[INST]", "[/INST]")
DEFINED = ("<tool_call>", "</tool_call>")
END = 256


def tokenizer(template: str) -> Tokenizer:
    """Return a tokenizer with all bytes, a space and these special tokens; `<|im_end|>` ends the generation."""
    tokens = [*(f"<0x{byte:02X}>" for byte in range(256)), *CONTROL, *DEFINED, "\u2581"]
    return Tokenizer.from_gguf({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [6] * 256 + [3] * len(CONTROL) + [4] * len(DEFINED) + [1],
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.eos_token_id": END,
        "tokenizer.ggml.bos_token_id": END,
        "tokenizer.ggml.unknown_token_id": END,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": template,
    })  # fmt: skip


def chat(template: str) -> ChatTemplate:
    return ChatTemplate(template, "", "")
