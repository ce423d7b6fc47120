"""Compares the speed of realizar with another build of it and with llama.cpp, as paired ratios in one run.

    python asv_bench/compare.py smollm2 qwen2.5-coder-0.5b --threads 2
    python asv_bench/compare.py smollm2 --baseline ~/venv-of-v0.1 --no-llama --rounds 25
    python asv_bench/compare.py models/llama-3.2-1b-q4_k_m.gguf -p 2048 --depth 0 8192
    python asv_bench/compare.py models/bert-1b-q4_k_m.gguf --encode 128 --batch 1 16
    python asv_bench/compare.py models/phi-2-q4_k_m.gguf -p 0 --batch 1 2 4 8 16 32 --roofline phi-2.png

Each program runs in its own process; processes that wait are stopped (SIGSTOP), so that they cannot spin on the CPU.
They take turns, A B A B (in reverse order in every other round, to cancel order effects). Each turn starts with some
untimed tokens that bring the weights back into the CPU caches. Absolute times drift, so the ratio is computed for each
pair of adjacent turns, and the median of the ratios is reported with its 95 % confidence interval (intervals.py: from
the binomial distribution; needs six rounds). Above 1, realizar is faster. "At least 0.99" means that the interval
reaches 0.99; more rounds make it narrower. `share` is realizar's speed relative to the floor defined in
docs/benchmarks.md, with the machine's limits measured between the turns.

--baseline VENV adds the realizar installed in another virtual environment. It is driven by this folder's players.py, so
its `realizar.cli.workload` must have the same interface. Both use the same `--activations`. llama.cpp
(llama-cpp-python, extra: peers) is included unless --no-llama is given.

prefill  Tokens per second of a prompt of new random tokens, up to the first generated token, 512 tokens per step, after
         `--depth` tokens that are already in the KV cache. realizar: an engine request, including sampling of the first
         token. llama.cpp: `llama_decode` with logits of the last token only, without sampling.
decode   Tokens per second of `--batch` sequences together, after `--depth` tokens and a prompt of 16. realizar: engine
         steps, including greedy sampling and detokenization. llama.cpp: `llama_decode` of predetermined tokens, one per
         sequence, with their logits.
encode   Tokens per second of an encoder (BERT etc.) over `--batch` texts of `--encode` tokens, up to the hidden states;
         llama.cpp also pools them, at negligible cost.

`--cpu` measures the CPU time of the process instead of wall time. With `-t 1` that is fairer on a shared machine:
OpenMP threads wait by spinning, so llama.cpp with several threads slows down a lot when one of them loses its CPU.

All use a float16 KV cache. llama.cpp uses flash attention, its default, and a part of the cache per sequence; it may
repack weights at load time. LLAMA_CPP_LIB_PATH selects another build of its library.
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
    """Return speeds in tokens per second by phase, paired ratios, and realizar's share of the floor.

    Parameters
    ----------
    settings : Settings
    rounds : int
        Number of pairs.
    pythons : dict
        Player name -> its Python interpreter; realizar is the first.
    """
    tok_s: dict[Phase, dict[str, list[float]]] = {phase: {name: [] for name in pythons} for phase in settings.phases}
    rates: list[tuple[float, ...]] = []
    with ExitStack() as stack:
        players = {
            name: stack.enter_context(closing(Player(name, settings, python))) for name, python in pythons.items()
        }
        ours = players[OURS]
        if BASELINE in players and players[BASELINE].ask("place") == ours.ask("place"):
            sys.exit(
                f"--baseline {pythons[BASELINE]} imports {ours.ask('place')}, the same build that it is compared with"
            )
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
    """Return the players and their interpreters; exits if one is missing."""
    found = {OURS: sys.executable}
    if args.baseline:
        python = args.baseline / "bin" / "python"
        if not python.is_file():
            sys.exit(f"error: --baseline {args.baseline} is not a virtual environment: it has no bin/python")
        found[BASELINE] = str(python)
    if not args.no_llama:
        if find_spec("llama_cpp") is None:
            sys.exit("error: llama-cpp-python is not installed: pip install '.[peers]', or use --no-llama")
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
    parser.add_argument("-p", "--prompt", type=int, default=512, help="prefill tokens; 0: none")
    parser.add_argument("-n", "--generate", type=int, default=64, help="decode steps; 0: none")
    parser.add_argument("--encode", type=int, default=0, help="tokens per text for an encoder, instead of both")
    parser.add_argument("--depth", type=int, nargs="+", default=[0], help="tokens already in the KV cache")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="sequences decoded together, or texts")
    parser.add_argument("-r", "--rounds", type=int, default=7)
    parser.add_argument("--baseline", type=Path, metavar="VENV", help="environment with another build of realizar")
    parser.add_argument("--no-llama", action="store_true", help="omit llama.cpp")
    parser.add_argument("--isa", help="ISA level of realizar's kernels")
    parser.add_argument("--activations", choices=get_args(Activations), default="int8", help="realizar's activations")
    parser.add_argument("--cpu", action="store_true", help="measure CPU time")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--roofline", type=Path, metavar="PNG", help="draw the results (extra: bench)")
    args = parser.parse_args()
    if any(depth % 16 or depth < 0 for depth in args.depth):
        parser.error(f"--depth {args.depth}: must be multiples of 16, the tokens of a KV-cache block")
    if not 0 <= args.encode <= N_BATCH:
        parser.error(f"--encode {args.encode}: must be at most {N_BATCH}, the tokens of a step")
    if args.no_llama and not args.baseline:
        parser.error("--no-llama without --baseline leaves nothing to compare with")
    if not _phases(args) or min(args.batch) < 1 or args.rounds < 1:
        parser.error("nothing to measure: needs a prompt or decode steps, a batch of at least 1, and at least 1 round")
    return args


def main() -> None:
    """Read the command line, compare, print, draw."""
    args = _arguments()
    from realizar.store import resolve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that child processes end too
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
