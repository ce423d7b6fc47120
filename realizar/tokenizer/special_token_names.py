"""Tokens that play a part by their text alone, since GGUF files rarely say so.

The names are those that llama.cpp looks for (src/llama-vocab.cpp), which in turn come from the models' publishers;
[PREFIX] and [SUFFIX] are Mistral's (mistral_common), whose models read no middle token although there is one.
"""

# ruff: noqa: RUF001  (the bars are the models' own)

from __future__ import annotations

# Slot -> the texts that may fill it where the metadata has no tokenizer.ggml.{slot}_token_id.
SLOTS: dict[str, tuple[str, ...]] = {
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

# Older files name three of the slots differently.
OLD_KEYS = {"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"}

# A generation ends with whatever fills these slots, and with every token of these texts.
ENDING_SLOTS = ("eot", "eom", "fim_pad", "fim_rep", "fim_sep")
ENDINGS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
    "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
)  # fmt: skip

# Where all texts on the left end a generation, the one on the right only ends a part of it (gpt-oss, Solar) or
# is a word like any other (Gemma 4, PLaMo).
NOT_ENDINGS = (
    (("<|return|>", "<|call|>"), "<|end|>"),
    (("<|return|>", "<|calls|>"), "<|end|>"),
    (("<|call|>", "<|flush|>"), "<|end|>"),
    (("<|calls|>", "<|flush|>"), "<|end|>"),
    (("<|tool_response>",), "</s>"),
    (("<|plamo:eos|>",), "</s>"),
)

# gpt-oss writes its channels between these; they are part of the answer's text.
RENDERED = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")

# After a special token of a model called phi-3 white space is dropped, but not after these.
PHI3_KEEPS_SPACE = ("<unk>", "<s>", "<|endoftext|>")
