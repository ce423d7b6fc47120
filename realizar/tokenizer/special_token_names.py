"""Special tokens that are recognized by their text, because GGUF files rarely declare them.

The names are those that llama.cpp looks for (src/llama-vocab.cpp), which come from the models' publishers. [PREFIX]
and [SUFFIX] are Mistral's (mistral_common); its models do not use a middle token, although the vocabulary has one.
"""

# ruff: noqa: RUF001  (the bars are the models' own)

from __future__ import annotations

# Role -> token texts that may have it if the metadata has no tokenizer.ggml.{role}_token_id.
ROLES: dict[str, tuple[str, ...]] = {
    "eot": (
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>",
        "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>",
    ),
    "eom": ("<|eom_id|>",),
    "fim_pre": (
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
        "<|prefix|>", "[PREFIX]",
    ),
    "fim_suf": (
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
        "<|suffix|>", "[SUFFIX]",
    ),
    "fim_mid": (
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>",
        "<|middle|>",
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}  # fmt: skip

# Metadata keys of three roles in older files.
OLD_KEYS = {"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"}

# Tokens with these roles, and tokens with these texts, end a generation.
ENDING_ROLES = ("eot", "eom", "fim_pad", "fim_rep", "fim_sep")
ENDINGS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
    "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
)  # fmt: skip

# If all tokens on the left end a generation, the token on the right does not: it ends a part of the message (gpt-oss,
# Solar) or is ordinary text (Gemma 4, PLaMo).
NOT_ENDINGS = (
    (("<|return|>", "<|call|>"), "<|end|>"),
    (("<|return|>", "<|calls|>"), "<|end|>"),
    (("<|call|>", "<|flush|>"), "<|end|>"),
    (("<|calls|>", "<|flush|>"), "<|end|>"),
    (("<|tool_response>",), "</s>"),
    (("<|plamo:eos|>",), "</s>"),
)

# gpt-oss delimits its channels with these; they are part of the output text.
RENDERED = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")

# So does Gemma 4; its files say so, its checkpoints do not.
GEMMA4_RENDERED = (
    "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>',
)  # fmt: skip

# Phi-3 models drop whitespace after special tokens, except after these.
PHI3_KEEPS_SPACE = ("<unk>", "<s>", "<|endoftext|>")
