"""A tiny model that answers by a script, so that clients' tools, schemas and texts can be checked for their substance.

Its chat template chooses a line of SCRIPT by the conversation, and ends the prompt with a token for it. The model is a
chain: each token of a line is followed by the next one. Under a constraint the model writes the line as far as that is
allowed, and else the shortest text: it prefers quotes and brackets that close.

    python scripted.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from realizar.gguf import GGMLType, GGUFWriter

CALL = '<tool_call>\n{{"name": "{}", "arguments": {}}}\n</tool_call>'
CITY = '{"name": "Rome", "country": "Italy"}'
RESULTS = ("final_result", "City", "PartialCity", "json_tool_call")
"""Tools whose arguments are a typed result: of pydantic-ai, of langchain and instructor, of litellm."""
SCRIPT = {
    "degrees": ("last.role == 'tool' and '17' in text", "It is 17 degrees in Oslo."),
    "said": ("last.role == 'tool' and 'eographer' in text", "Rome, says the geographer, is the capital of Italy."),
    "useless": ("last.role == 'tool'", "The tool said nothing that helps."),
    **{
        name: (f"'warm' in text and ',{name},' in names", CALL.format(name, '{"city": "Oslo"}'))
        for name in ("temperature", "weather-temperature")
    },
    "transfer": ("',transfer_to_geographer,' in names", CALL.format("transfer_to_geographer", "{}")),
    **{name: (f"'Describe' in text and ',{name},' in names", CALL.format(name, CITY)) for name in RESULTS},
    "rewrite": ("'Rewrite city.txt' in text", "city.txt\n```\nRome\n```\n"),
    "describe": ("'Describe' in text", CITY),
    "rome": ("true", "The capital of Italy is Rome, as you know."),
}
"""Name -> condition of the template and answer; the first whose condition holds is given. <|NAME|> also begins it."""
TEMPLATE = (
    """{%- set last = messages[-1] -%}{%- set text = last.content or '' -%}{%- set found = [','] -%}
{%- for t in tools or [] %}{{ t | tojson }}
{%- set _ = found.append(t.function.name + ',') %}
{% endfor -%}{%- set names = found | join -%}
{%- for m in messages %}{%- if m.tool_calls %}<|im_start|>assistant
{{- '\\n' + m.content if m.content }}{% for c in m.tool_calls %}
{{- '\\n<tool_call>\\n{"name": "' + c.function.name + '", "arguments": ' }}
{{- c.function.arguments | tojson }}{{ '}\\n</tool_call>' }}
{%- endfor %}<|im_end|>
{% else %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
"""
    + "".join(
        f"{{%- {'elif' if i else 'if'} {condition} %}}{{{{ '<|{name}|>' }}}}"
        for i, (name, (condition, _)) in enumerate(SCRIPT.items())
    )
    + "{%- endif %}{%- endif %}"
)
NEXT, END = 30.0, 12.0
"""Logits of the next token of a line, and of the end of the turn."""
CLOSING = {'"': 9.0, "}": 8.0, "]": 7.0, "0": 6.0, ",": 5.0, ":": 4.0, "[": 3.0, "{": 2.0}


def byte_texts() -> list[str]:
    """Return how byte-level BPE writes the 256 bytes: of GPT-2, https://github.com/openai/gpt-2/blob/master/src/encoder.py."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(b) if b in shown else chr(next(others)) for b in range(256)]


def pieces(text: str, known: set[str]) -> list[str]:
    """Return the parts of a text, of three characters or more, none of which is known yet; they are known now."""
    found, begin = [], 0
    while begin < len(text):
        end = begin + 3
        while end < len(text) and (text[begin:end] in known or len(text) - end < 3):
            end += 1
        part = text[begin:end]
        while part in known:  # the rest of the text has come before: it becomes part of the piece before it
            part = found.pop() + part
        known.add(part)
        found.append(part)
        begin = end
    return found


def write_scripted(path: Path) -> None:
    """Write the model."""
    encoded = byte_texts()
    known: set[str] = set()
    lines = {
        f"<|{name}|>": pieces("".join(encoded[b] for b in answer.encode()), known)
        for name, (_, answer) in SCRIPT.items()
    }
    controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *lines]
    tokens = [*encoded, "ĠĠ", *(piece for line in lines.values() for piece in line), *controls]
    ids = {token: i for i, token in enumerate(tokens)}
    end = ids["<|im_end|>"]
    n_embd = -(-len(tokens) // 256) * 256
    embedding = np.eye(len(tokens), n_embd, dtype=np.float32)
    output = np.zeros((len(tokens), n_embd), np.float32)
    output[end] = END
    for text, logit in CLOSING.items():
        output[ids[text]] = logit
    for name, line in lines.items():
        chain = [ids[name], *(ids[piece] for piece in line), end]
        output[chain[1:], chain[:-1]] = NEXT
    writer = GGUFWriter(path)
    for key, value in _metadata(tokens, len(controls), ids, n_embd).items():
        writer.add(key, *(value if isinstance(value, tuple) else (value,)))
    for name, data in _tensors(embedding, output, n_embd).items():
        writer.add_tensor(name, np.ascontiguousarray(data).view(np.uint8), data.shape, GGMLType.F32)
    writer.write()


def _metadata(tokens: list[str], n_controls: int, ids: dict[str, int], n_embd: int) -> dict[str, object]:
    kinds = [1] * (len(tokens) - n_controls) + [3] * n_controls
    sizes = {
        "block_count": 1, "context_length": 8192, "embedding_length": n_embd, "feed_forward_length": 256,
        "attention.head_count": n_embd // 64, "attention.head_count_kv": 1,
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.dimension_count": 64,
    }  # fmt: skip
    return {
        "general.architecture": "llama",
        "general.name": "scripted",
        **{f"llama.{name}": value for name, value in sizes.items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array(kinds, np.int32),
        "tokenizer.ggml.merges": ["Ġ Ġ"],
        "tokenizer.ggml.eos_token_id": ids["<|im_end|>"],
        "tokenizer.ggml.padding_token_id": ids["<|endoftext|>"],
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def _tensors(embedding, output, n_embd: int) -> dict[str, np.ndarray]:
    """Return the weights: the block adds nothing, and the norm keeps the length of a row."""
    ones = np.ones(n_embd, np.float32)
    shapes = {
        "attn_q": (n_embd, n_embd), "attn_k": (64, n_embd), "attn_v": (64, n_embd), "attn_output": (n_embd, n_embd),
        "ffn_gate": (256, n_embd), "ffn_up": (256, n_embd), "ffn_down": (n_embd, 256),
    }  # fmt: skip
    return {
        "token_embd.weight": embedding,
        "output.weight": output,
        "output_norm.weight": ones / np.float32(np.sqrt(n_embd)),
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        **{f"blk.0.{name}.weight": np.zeros(shape, np.float32) for name, shape in shapes.items()},
    }


if __name__ == "__main__":
    write_scripted(Path(sys.argv[1]))
