"""realizar beside llama.cpp (llama-cpp-python, extra: peers) in one run: the ratio of their speeds, pair by pair.

    python asv_bench/compare.py smollm2 qwen2.5-coder-0.5b --threads 2
    python asv_bench/compare.py models/llama-3.2-1b-q4_k_m.gguf -p 2048 --depth 0 8192
    python asv_bench/compare.py models/bert-1b-q4_k_m.gguf --encode 128 --batch 1 16
    python asv_bench/compare.py models/phi-2-q4_k_m.gguf -p 0 --batch 1 2 4 8 16 32 --roofline phi-2.png

Each of the two works in a process of its own, so that neither holds the other's threads, and the one that waits is
stopped (SIGSTOP), so that it cannot spin on the CPU. They take turns, A B A B; each turn begins with some tokens that
are not timed and bring its weights back into the caches. Times of one machine drift and mean little; the ratio of two
neighbouring turns means more, so it is taken for each pair, and its minimum, median and maximum are reported. Above 1
realizar is faster. `share` is realizar's speed beside the floor that docs/benchmarks.md defines, with the machine's
rates probed between the turns.

prefill  Tokens per second from a prompt of random tokens that neither has seen before to what comes next, 512 at a
         time, behind `--depth` tokens that are in the cache already. realizar: a request of the engine behind `LLM`,
         up to its first token, the sampling of it included. llama.cpp: `llama_decode` with the logits of the last
         token alone; nothing is sampled.
decode   Tokens per second of `--batch` sequences together, after a prompt of 16 behind `--depth`. realizar: steps of
         the engine, greedy sampling and detokenization included. llama.cpp: `llama_decode` of tokens known before,
         one of each sequence, and their logits.

encode   Tokens per second of `--batch` texts of `--encode` tokens that an encoder reads (BERT and its kin), up to their
         hidden states; llama.cpp pools them too, which costs nothing beside.

`--cpu` counts the CPU seconds of the process instead of those on the wall. With `-t 1` that is the fairer clock where
others use the machine too: OpenMP's threads wait for each other by spinning, so that llama.cpp with several threads
crawls as soon as one of them has lost its CPU to somebody else.

Both have float16 keys and values, llama.cpp its flash attention, which it would choose itself, and a part of the cache
for each sequence. It may repack the weights when it loads them. LLAMA_CPP_LIB_PATH names the folder of another build of
its library.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

from players import ENGINES, N_BATCH, Phase, Player, Settings


def compare(settings: Settings, rounds: int) -> dict[str, Any]:
    """Speeds of both in tokens per second by phase, the ratios of each pair, and realizar's share of the floor."""
    tok_s: dict[Phase, dict[str, list[float]]] = {phase: {name: [] for name in ENGINES} for phase in settings.phases}
    rates: list[tuple[float, float]] = []
    with ExitStack() as stack:
        players = [stack.enter_context(closing(Player(name, settings))) for name in ENGINES]
        floors = {phase: players[0].ask("floor", phase) for phase in settings.phases}
        for seed in range(rounds + 1):
            for phase in settings.phases:
                speeds = [phase.n * phase.batch / player.ask("seconds", phase) for player in players]
                rate = players[0].ask("rates")
                if seed:  # round 0 pages the file in and fills the caches
                    rates.append(rate)
                    for player, speed in zip(players, speeds, strict=True):
                        tok_s[phase][player.name].append(speed)
    read_gb_s, int8_tops = (median(column) for column in zip(*rates, strict=True))
    return {
        "model": settings.path.stem,
        "n_threads": settings.n_threads,
        "read_gb_s": read_gb_s,
        "int8_tops": int8_tops,
        "phases": [_result(phase, tok_s[phase], floors[phase], read_gb_s, int8_tops) for phase in settings.phases],
    }


def _result(
    phase: Phase, tok_s: dict[str, list[float]], floor: tuple[float, float], read_gb_s: float, int8_tops: float
) -> dict[str, Any]:
    ours, theirs = tok_s.values()
    n_bytes, operations = floor
    least = max(n_bytes / (read_gb_s * 1e9), operations / (int8_tops * 1e12))
    return {
        "phase": phase.name,
        "n_tokens": phase.n * phase.batch,
        "tok_s": tok_s,
        "ratios": [a / b for a, b in zip(ours, theirs, strict=True)],
        "share": least * median(ours) / (phase.n * phase.batch),
        "bytes": n_bytes,
        "operations": operations,
    }


def _row(model: str, result: dict[str, Any]) -> str:
    ours, theirs = (median(speeds) for speeds in result["tok_s"].values())
    ratios = result["ratios"]
    return (
        f"{model[:32]:<32} {result['phase']:<21} {ours:>9.1f} {theirs:>9.1f}   {result['share']:>5.2f}"
        f"   {min(ratios):>5.2f} {median(ratios):>6.2f} {max(ratios):>5.2f}"
    )


def _table(found: list[dict[str, Any]], n_threads: int) -> str:
    head = (
        f"{f'{n_threads} threads':<32} {'':<21} {'realizar':>9} {'llama.cpp':>9}   {'share':>5}   ratio, pair by pair"
    )
    units = f"{'':<32} {'':<21} {'tok/s':>9} {'tok/s':>9}   {'':>5}   {'min':>5} {'median':>6} {'max':>5}"
    rows = [_row(model["model"], result) for model in found for result in model["phases"]]
    rates = [f"{m['model']}: reads {m['read_gb_s']:.1f} GB/s, int8 {m['int8_tops']:.3f} TOPS" for m in found]
    return "\n".join([head, units, *rows, *rates])


def _phases(args: argparse.Namespace) -> list[Phase]:
    prompts = [Phase("prefill", args.prompt, depth) for depth in args.depth if args.prompt]
    steps = [Phase("decode", args.generate, d, b) for d in args.depth for b in args.batch if args.generate]
    texts = [Phase("encode", args.encode, batch=batch) for batch in args.batch if args.encode]
    return texts or prompts + steps


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of `realizar list`, or paths")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-p", "--prompt", type=int, default=512, help="tokens of the prefill; 0: none")
    parser.add_argument("-n", "--generate", type=int, default=64, help="steps of the decoding; 0: none")
    parser.add_argument("--encode", type=int, default=0, help="tokens of each text of an encoder, instead of both")
    parser.add_argument("--depth", type=int, nargs="+", default=[0], help="tokens in the cache before both")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="sequences that decode together, texts")
    parser.add_argument("-r", "--rounds", type=int, default=7)
    parser.add_argument("--isa", help="tier of realizar's kernels")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--roofline", type=Path, metavar="PNG", help="draw what was found (extra: bench)")
    args = parser.parse_args()
    if any(depth % 16 or depth < 0 for depth in args.depth):
        parser.error(f"--depth {args.depth}: multiples of 16, the tokens of a block of the cache, are needed")
    if not 0 <= args.encode <= N_BATCH:
        parser.error(f"--encode {args.encode}: texts of at most {N_BATCH} tokens, which fit in a step, are needed")
    if not _phases(args) or min(args.batch) < 1 or args.rounds < 1:
        parser.error("nothing to measure: a prompt or steps, a batch of 1 or more and 1 round or more are needed")
    return args


def main() -> None:
    """Read the command line, compare, print, draw."""
    args = _arguments()
    from realizar.store import resolve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes end too
    found = [
        compare(Settings(resolve(model), args.threads, _phases(args), args.isa, args.cpu), args.rounds)
        for model in args.models
    ]
    print(json.dumps(found, indent=2) if args.json else _table(found, args.threads))
    if args.roofline:
        from roofline import draw

        draw(found, args.roofline)


if __name__ == "__main__":
    main()
