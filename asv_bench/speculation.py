"""Speculation beside plain decoding, prompt by prompt, in one run: the ratio of their speeds, and that texts are equal.

    python asv_bench/speculation.py qwen2.5-coder-0.5b
    python asv_bench/speculation.py models/qwen.gguf --threads 2 --rounds 3 --max-tokens 300 --temperature 0.7
    python asv_bench/speculation.py models/qwen.gguf --draft models/qwen-first-6.gguf

The prompts lie in asv_bench/prompts: `repeating` asks for code and text of the prompt with little changed, `other` for
something new. Two models are loaded, one with speculation, and answer in turns, A B A B, with the same seed; each
answer's tokens per second are those behind its first token, so that neither counts the prompt. The median of the
rounds is reported, and its lowest: above 1 speculation is faster.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from realizar import LLM, SamplingParams

PROMPTS = Path(__file__).parent / "prompts"


def ratios(plain: LLM, other: LLM, prompt: str, params: SamplingParams, rounds: int) -> tuple[list[float], Any]:
    """Speed of the one in that of the other for each round, and the last answer of the one with speculation.

    Raises
    ------
    SystemExit
        If an answer differs.
    """
    messages, found = [{"role": "user", "content": prompt}], []
    for _ in range(rounds):
        one, two = plain.chat(messages, params), other.chat(messages, params)
        if one.token_ids != two.token_ids:
            raise SystemExit(f"the answers differ: {one.text!r} and {two.text!r}")
        found.append(two.timings.decode_tok_s / one.timings.decode_tok_s)
    return found, two


def main() -> None:
    """Measure all prompts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--draft", help="a smaller model; without it, lookup in the text")
    parser.add_argument("--n-draft", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0)
    args = parser.parse_args()
    params = SamplingParams(temperature=args.temperature, seed=1, max_tokens=args.max_tokens)
    how = {"draft": args.draft} if args.draft else {"speculate": "ngram"}
    if args.n_draft:
        how["n_draft"] = args.n_draft
    with ExitStack() as stack:
        plain = stack.enter_context(LLM(args.model, n_ctx=2048, n_threads=args.threads))
        other = stack.enter_context(LLM(args.model, n_ctx=2048, n_threads=args.threads, **how))
        print(f"{'prompt':24} {'tokens':>6} {'drafted':>7} {'accepted':>8} {'median':>7} {'least':>6}")
        for path in sorted(PROMPTS.glob("*/*.txt")):
            found, answer = ratios(plain, other, path.read_text(), params, args.rounds)
            timings = answer.timings
            print(
                f"{path.parent.name + '/' + path.stem:24} {timings.n_generated:6} {timings.n_drafted:7} "
                f"{timings.n_accepted:8} {median(found):7.2f} {min(found):6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
