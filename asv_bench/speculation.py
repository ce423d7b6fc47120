"""Compares speculative with plain decoding, prompt by prompt: ratio of the speeds, and equality of the texts.

    python asv_bench/speculation.py qwen2.5-coder-0.5b
    python asv_bench/speculation.py models/qwen.gguf --threads 2 --rounds 3 --max-tokens 300 --temperature 0.7
    python asv_bench/speculation.py models/qwen.gguf --draft models/qwen-first-6.gguf

The prompts are in asv_bench/prompts: `repeating` asks for small edits of code and text in the prompt, `other` for new
text. One model answers without and with speculation in turns, A B A B, with the same seed. Tokens per second are
measured after the first token, so prefill is excluded, but the draft model's prefill is included. The median and the
minimum of the rounds are reported: above 1, speculation is faster. Round 0 is a warm-up.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from realizar import LLM, Completion, SamplingParams

PROMPTS = Path(__file__).parent / "prompts"


def ratios(llm: LLM, prompt: str, params: SamplingParams, rounds: int) -> tuple[list[float], Completion]:
    """Return the speedup of speculation for each round, and the last answer with it.

    Raises
    ------
    SystemExit
        If an answer differs.
    """
    messages, found = [{"role": "user", "content": prompt}], []
    speculator = llm.engine.speculator
    for _ in range(rounds + 1):
        llm.engine.speculator = None
        plain = llm.chat(messages, params)
        llm.engine.speculator = speculator
        answer = llm.chat(messages, params)
        if answer.token_ids != plain.token_ids:
            raise SystemExit(f"the answers differ: {plain.text!r} and {answer.text!r}")
        found.append(answer.timings.decode_tok_s / plain.timings.decode_tok_s)
    return found[1:], answer


def main() -> None:
    """Measure all prompts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--draft", help="draft model; prompt lookup by default")
    parser.add_argument("--n-draft", type=int, default=31)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0)
    args = parser.parse_args()
    params = SamplingParams(temperature=args.temperature, seed=1, max_tokens=args.max_tokens)
    speculate = None if args.draft else "ngram"
    engine = {"n_ctx": 2048, "n_threads": args.threads, "n_draft": args.n_draft}
    with LLM(args.model, speculate=speculate, draft=args.draft, **engine) as llm:
        print(f"{'prompt':24} {'tokens':>6} {'drafted':>7} {'accepted':>8} {'median':>7} {'least':>6}")
        for path in sorted(PROMPTS.glob("*/*.txt")):
            found, answer = ratios(llm, path.read_text(), params, args.rounds)
            timings = answer.timings
            print(
                f"{path.parent.name + '/' + path.stem:24} {timings.n_generated:6} {timings.n_drafted:7} "
                f"{timings.n_accepted:8} {median(found):7.2f} {min(found):6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
