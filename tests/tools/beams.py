"""Writes tests/engine/beams.json: the results of transformers' beam search on a tiny committed model.

`python -m tests.tools.beams` with transformers 5 writes the cases without beam groups, and tests/engine/guidance.json:
completions with classifier-free guidance. Version 5 dropped beam groups: `python -m tests.tools.beams --groups` with
4.50.3 writes the cases with groups. Each keeps the cases of the other.
"""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
CASES = ROOT / "engine" / "beams.json"
MODEL = ROOT / "fixtures" / "parity" / "llama" / "model-q5_0.gguf"
PLAIN = (
    {"num_beams": 2, "max_new_tokens": 12},
    {"num_beams": 4, "max_new_tokens": 20, "num_return_sequences": 4},
    {"num_beams": 4, "max_new_tokens": 20, "num_return_sequences": 2, "length_penalty": 0.0},
    {"num_beams": 5, "max_new_tokens": 24, "num_return_sequences": 3, "length_penalty": 2.0, "early_stopping": "never"},
    {"num_beams": 3, "max_new_tokens": 24, "num_return_sequences": 3, "early_stopping": True},
    {"num_beams": 3, "max_new_tokens": 16, "length_penalty": -0.5, "early_stopping": "never"},
    {"num_beams": 4, "max_new_tokens": 16, "repetition_penalty": 1.3, "num_return_sequences": 4},
    {"num_beams": 4, "max_new_tokens": 16, "no_repeat_ngram_size": 2, "min_new_tokens": 6},
)
GROUPS = (
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5, "max_new_tokens": 16, "num_return_sequences": 4},
    {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 1.5, "max_new_tokens": 12, "num_return_sequences": 6},
    {"num_beams": 4, "num_beam_groups": 4, "diversity_penalty": 0.2, "max_new_tokens": 12, "num_return_sequences": 4},
)


GUIDED = (
    {"guidance_scale": 1.5, "max_new_tokens": 20},
    {"guidance_scale": 3.0, "max_new_tokens": 20},
    {"guidance_scale": 0.4, "max_new_tokens": 20},
)


def guided(model, prompt: list[int]) -> list[dict]:
    """Greedy completions with a negative prompt; the last has none and uses the last token of the prompt."""
    import torch

    cases = []
    for number, asked in enumerate(GUIDED):
        start, negative = prompt[: 9 + 5 * number], prompt[20 : 26 + 7 * number]
        if number == len(GUIDED) - 1:
            negative = start[-1:]
        found = model.generate(
            torch.tensor([start]), **asked, negative_prompt_ids=torch.tensor([negative]), do_sample=False,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        cases.append({"asked": asked, "prompt": start, "negative": negative, "tokens": found[0, len(start) :].tolist()})
    return cases


def main() -> None:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL.parent, gguf_file=MODEL.name).eval()
    prompt = np.load(MODEL.parent / "golden.npz")["tokens"].tolist()
    groups = "--groups" in sys.argv
    kept = [case for case in json.loads(CASES.read_text("utf-8")) if ("num_beam_groups" in case["asked"]) != groups]
    for number, asked in enumerate(GROUPS if groups else PLAIN):
        start = prompt[: 5 + 7 * number % 40]
        # A random model never ends; make two tokens of its beams end tokens.
        probe = model.generate(torch.tensor([start]), **asked, do_sample=False, eos_token_id=None, pad_token_id=0)
        ends = sorted({int(probe[0, len(start) + 4]), int(probe[-1, len(start) + 7])})
        ends = ends[-1:] if groups else ends  # 4.50.3 writes the first end token for all
        found = model.generate(
            torch.tensor([start]), **asked, do_sample=False, eos_token_id=ends, pad_token_id=0,
            output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
        texts = []
        for row, score in zip(found.sequences.tolist(), found.sequences_scores.tolist(), strict=True):
            tokens = row[len(start) :]
            until = next((i + 1 for i, token in enumerate(tokens) if token in ends), asked["max_new_tokens"])
            texts.append({"tokens": tokens[:until], "score": score})
        kept.append({"by": transformers.__version__, "asked": asked, "prompt": start, "ends": ends, "texts": texts})
    if not groups:
        guidance = CASES.with_name("guidance.json")
        guidance.write_text("[\n" + ",\n".join(map(json.dumps, guided(model, prompt))) + "\n]\n", "utf-8")
    CASES.write_text("[\n" + ",\n".join(map(json.dumps, kept)) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
