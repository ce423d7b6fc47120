"""realizar beside another build of it, and beside llama.cpp, in one run: the ratio of their speeds, pair by pair.

    python asv_bench/compare.py smollm2 qwen2.5-coder-0.5b --threads 2
    python asv_bench/compare.py smollm2 --baseline ~/venv-of-v0.1 --no-llama --rounds 25
    python asv_bench/compare.py models/llama-3.2-1b-q4_k_m.gguf -p 2048 --depth 0 8192
    python asv_bench/compare.py models/bert-1b-q4_k_m.gguf --encode 128 --batch 1 16
    python asv_bench/compare.py models/phi-2-q4_k_m.gguf -p 0 --batch 1 2 4 8 16 32 --roofline phi-2.png

Each program works in a process of its own, so that none holds another's threads, and those that wait are stopped
(SIGSTOP), so that they cannot spin on the CPU. They take turns, A B A B (every other round in reverse order, so that
nobody profits from a place in it); each turn begins with some tokens that are not timed and bring its weights back into
the caches. Times of one machine drift and mean little; the ratio of two neighbouring turns means more. So the ratio is
taken for each pair, and the median of the pairs is reported with its 95 % confidence interval (intervals.py: between
two of the ratios, by the binomial distribution; it takes six rounds). Above 1 realizar is faster. "At least 0.99"
means that the interval reaches 0.99; more rounds make it narrower. `share` is realizar's speed beside the floor that
docs/benchmarks.md defines, with the machine's rates probed between the turns.

--baseline VENV adds the realizar that is installed in another virtual environment. It is driven by this folder's
players.py, so its `realizar.cli.workload` must still have the same interface. Both get the same `--activations`.
llama.cpp (llama-cpp-python, extra: peers) plays unless --no-llama is given.

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

All have float16 keys and values, llama.cpp its flash attention, which it would choose itself, and a part of the cache
for each sequence. It may repack the weights when it loads them. LLAMA_CPP_LIB_PATH names the folder of another build of
its library.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, get_args

from intervals import median_interval
from players import BASELINE, LLAMA_CPP, N_BATCH, OURS, Phase, Player, Settings


def compare(settings: Settings, rounds: int, pythons: dict[str, str]) -> dict[str, Any]:
    """Speeds of all in tokens per second by phase, the ratios of each pair, and realizar's share of the floor.

    Parameters
    ----------
    settings : Settings
    rounds : int
        Pairs.
    pythons : dict
        Name of a player -> the interpreter that runs it; realizar itself is the first.
    """
    tok_s: dict[Phase, dict[str, list[float]]] = {phase: {name: [] for name in pythons} for phase in settings.phases}
    rates: list[tuple[float, ...]] = []
    with ExitStack() as stack:
        players = {
            name: stack.enter_context(closing(Player(name, settings, python))) for name, python in pythons.items()
        }
        ours = players[OURS]
        if BASELINE in players and players[BASELINE].ask("place") == ours.ask("place"):
            sys.exit(f"--baseline {pythons[BASELINE]} imports {ours.ask('place')}, the build that it is compared with")
        floors = {phase: ours.ask("floor", phase) for phase in settings.phases}
        for seed in range(rounds + 1):
            for phase in settings.phases:
                for name in list(players)[:: -1 if seed % 2 else 1]:
                    speed = phase.n * phase.batch / players[name].ask("seconds", phase)
                    if seed:  # round 0 pages the file in and fills the caches
                        tok_s[phase][name].append(speed)
                rates += [ours.ask("rates")] if seed else []
    read_gb_s, int8_tops, f32_tops = (median(column) for column in zip(*rates, strict=True))
    machine = {"read_gb_s": read_gb_s, "int8_tops": int8_tops, "f32_tops": f32_tops}
    return {
        "model": settings.path.stem,
        "n_threads": settings.n_threads,
        "activations": settings.activations,
        **machine,
        "phases": [_result(phase, tok_s[phase], floors[phase], machine) for phase in settings.phases],
    }


def _result(
    phase: Phase, tok_s: dict[str, list[float]], floor: tuple[float, float, float], machine: dict[str, float]
) -> dict[str, Any]:
    n_bytes, int8, f32 = floor
    multiplying = int8 / (machine["int8_tops"] * 1e12) + f32 / (machine["f32_tops"] * 1e12)
    least = max(n_bytes / (machine["read_gb_s"] * 1e9), multiplying)
    ours, *others = tok_s.values()
    pairs = [[a / b for a, b in zip(ours, other, strict=True)] for other in others]
    return {
        "phase": phase.name,
        "n_tokens": phase.n * phase.batch,
        "tok_s": tok_s,
        "ratios": {
            name: {"pairs": pair, **asdict(median_interval(pair))}
            for name, pair in zip(list(tok_s)[1:], pairs, strict=True)
        },
        "share": least * median(ours) / (phase.n * phase.batch),
        "bytes": n_bytes,
        "operations": int8 + f32,
    }


def _rows(model: str, result: dict[str, Any]) -> list[str]:
    tok_s = {name: median(speeds) for name, speeds in result["tok_s"].items()}
    begin = f"{model[:32]:<32} {result['phase']:<21} {result['share']:>5.2f} {tok_s[OURS]:>9.1f}"
    return [
        f"{begin} {tok_s[name]:>9.1f} {name:<9}"
        f"   {r['median']:>6.3f} {r['low']:>6.3f} to {r['high']:.3f} ({100 * r['confidence']:.1f} %)"
        for name, r in result["ratios"].items()
    ]


def _table(found: list[dict[str, Any]], n_threads: int) -> str:
    head = (
        f"{f'{n_threads} threads':<32} {'':<21} {'share':>5} {OURS:>9} {'other':>9} {'':<9}   ratio: median, interval"
    )
    units = f"{'':<32} {'':<21} {'':>5} {'tok/s':>9} {'tok/s':>9} {'':<9}   {'':>6} (confidence)"
    rows = [row for model in found for result in model["phases"] for row in _rows(model["model"], result)]
    rates = [
        f"{m['model']}: reads {m['read_gb_s']:.1f} GB/s, int8 {m['int8_tops']:.3f}, f32 {m['f32_tops']:.3f} TOPS"
        for m in found
    ]
    return "\n".join([head, units, *rows, *rates])


def _pythons(args: argparse.Namespace) -> dict[str, str]:
    """The players and their interpreters; ends where one of them is not there."""
    found = {OURS: sys.executable}
    if args.baseline:
        python = args.baseline / "bin" / "python"
        if not python.is_file():
            sys.exit(f"error: --baseline {args.baseline} is no virtual environment: it has no bin/python")
        found[BASELINE] = str(python)
    if not args.no_llama:
        if find_spec("llama_cpp") is None:
            sys.exit("error: llama-cpp-python is not installed: pip install '.[peers]', or leave it out by --no-llama")
        found[LLAMA_CPP] = sys.executable
    return found


def _phases(args: argparse.Namespace) -> list[Phase]:
    prompts = [Phase("prefill", args.prompt, depth) for depth in args.depth if args.prompt]
    steps = [Phase("decode", args.generate, d, b) for d in args.depth for b in args.batch if args.generate]
    texts = [Phase("encode", args.encode, batch=batch) for batch in args.batch if args.encode]
    return texts or prompts + steps


def _arguments() -> argparse.Namespace:
    from realizar.params import Activations

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of `realizar list`, or paths")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-p", "--prompt", type=int, default=512, help="tokens of the prefill; 0: none")
    parser.add_argument("-n", "--generate", type=int, default=64, help="steps of the decoding; 0: none")
    parser.add_argument("--encode", type=int, default=0, help="tokens of each text of an encoder, instead of both")
    parser.add_argument("--depth", type=int, nargs="+", default=[0], help="tokens in the cache before both")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="sequences that decode together, texts")
    parser.add_argument("-r", "--rounds", type=int, default=7)
    parser.add_argument("--baseline", type=Path, metavar="VENV", help="environment with another build of realizar")
    parser.add_argument("--no-llama", action="store_true", help="leave llama.cpp out")
    parser.add_argument("--isa", help="tier of realizar's kernels")
    parser.add_argument("--activations", choices=get_args(Activations), default="int8", help="realizar's activations")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--roofline", type=Path, metavar="PNG", help="draw what was found (extra: bench)")
    args = parser.parse_args()
    if any(depth % 16 or depth < 0 for depth in args.depth):
        parser.error(f"--depth {args.depth}: multiples of 16, the tokens of a block of the cache, are needed")
    if not 0 <= args.encode <= N_BATCH:
        parser.error(f"--encode {args.encode}: texts of at most {N_BATCH} tokens, which fit in a step, are needed")
    if args.no_llama and not args.baseline:
        parser.error("--no-llama without --baseline leaves nothing to compare with")
    if not _phases(args) or min(args.batch) < 1 or args.rounds < 1:
        parser.error("nothing to measure: a prompt or steps, a batch of 1 or more and 1 round or more are needed")
    return args


def main() -> None:
    """Read the command line, compare, print, draw."""
    args = _arguments()
    from realizar.store import resolve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes end too
    phases, pythons = _phases(args), _pythons(args)
    found = [
        compare(
            Settings(resolve(model), args.threads, phases, args.isa, args.activations, args.cpu), args.rounds, pythons
        )
        for model in args.models
    ]
    print(json.dumps(found, indent=2) if args.json else _table(found, args.threads))
    if args.roofline:
        from roofline import draw

        draw(found, args.roofline)


if __name__ == "__main__":
    main()
