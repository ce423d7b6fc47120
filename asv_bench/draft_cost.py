"""Measures the cost of draft blocks: draft steps and verifying steps as shares of a plain step.

    python asv_bench/draft_cost.py models/qwen35-0.8b-q4_k_m.gguf --threads 2
    python asv_bench/draft_cost.py models/llama-3.2-1b-q4_k_m.gguf --draft models/llama-3.2-1b-eagle3-q4_k_m.gguf

The file needs a draft block, or a draft of EAGLE-3 beside it; weights may be random (tools/geometry.py). In each round
a plain step of one row, a step of the draft block, and steps that verify 0 to 4 draft tokens are timed in turns, after
256 tokens; the medians of all rounds are divided by that of the plain step. A verifying step includes the draft
block's keys and values of its rows and, of recurrent models, the second state. "Break-even" is the acceptance
probability of a draft token at which k draft tokens are as fast as none.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from realizar import LLM
from realizar.engine.cache.chunk import Chunk, DraftRow
from realizar.engine.cache.sequence import Sequence
from realizar.engine.engine import Engine
from realizar.engine.runner import Runner
from realizar.engine.speculation.draft_block import DraftBlockRunner

N_PAST = 256
N_DRAFTS = (0, 1, 2, 3, 4)


def steps(engine: Engine, runner: DraftBlockRunner) -> dict[str, Callable[[], object]]:
    """Return the steps to measure, by name; none of them is committed, so all begin with the same rows."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, engine.model.hp.n_vocab, N_PAST + 1).astype(np.int32)
    seq = Sequence(engine.cache, tokens)
    while seq.n_left > 1:
        chunk = Chunk(seq, seq.cut(min(seq.n_left - 1, 128)), 0)
        chunk.reserve()
        runner.output(runner.batch([chunk]), [chunk], "logits", "decode")
        chunk.commit()
    hidden = seq.hidden
    if hidden is None:
        raise SystemExit("the prompt left no hidden states")
    row = DraftRow(seq, int(tokens[-1]), N_PAST, hidden.at(N_PAST - 1))

    def verify(n: int) -> object:
        chunk = Chunk(seq, 1 + n, 1 + n, drafts=tokens[:n])
        chunk.reserve()
        seq.hidden = hidden
        return runner.output(runner.batch([chunk]), [chunk], "logits", "decode")

    plain = Chunk(seq, 1, 1)
    plain.reserve()
    return {
        "plain": lambda: Runner.output(runner, runner.batch([plain]), [plain], "logits", "decode"),
        "draft": lambda: runner.draft([row]),
        **{f"verify {n}": lambda n=n: verify(n) for n in N_DRAFTS},
    }


def break_even(n: int, cost: float) -> float:
    """Return the acceptance probability p with 1 + p + ... + p^n = cost; more than 1 where none suffices."""
    p = np.linspace(0, 1, 1001)
    tokens = (p[:, None] ** np.arange(n + 1)).sum(1)
    return float(np.interp(cost, tokens, p)) if cost <= n + 1 else np.inf


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--draft", help="file with a draft of EAGLE-3; by default the model's own draft block")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    how = {"draft": args.draft} if args.draft else {"speculate": "mtp"}
    with LLM(args.model, n_ctx=512, n_seqs=1, n_threads=args.threads, **how) as llm:
        runner = llm.engine.runner
        if not isinstance(runner, DraftBlockRunner):
            raise SystemExit(f"{args.model} has no draft block")
        each = steps(llm.engine, runner)
        seconds: dict[str, list[float]] = {name: [] for name in each}
        for _ in range(args.rounds + 2):
            for name, step in each.items():
                begin = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: median(found[2:]) for name, found in seconds.items()}
    print(f"plain step {1e3 * medians['plain']:.2f} ms")
    shares = {name: found / medians["plain"] for name, found in medians.items()}
    print(f"{'drafts':>6} {'draft steps':>11} {'verify':>7} {'together':>8} {'break-even':>10}")
    for n in N_DRAFTS:
        draft, verify = n * shares["draft"], shares[f"verify {n}"]
        even = f"{break_even(n, draft + verify):.2f}" if n else ""
        print(f"{n:6} {draft:11.2f} {verify:7.2f} {draft + verify:8.2f} {even:>10}")


if __name__ == "__main__":
    main()
