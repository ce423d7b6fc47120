"""realizar beside llama.cpp (llama-cpp-python, extra: peers) in one run: the ratio of their speeds, pair by pair.

    python asv_bench/compare.py smollm2 qwen2.5-coder-0.5b --threads 2

Each of the two works in a process of its own, so that neither holds the other's threads, and the one that waits is
stopped (SIGSTOP), so that it cannot spin on the CPU. They take turns, A B A B; each turn begins with some tokens that
are not timed and bring its weights back into the caches. Times of one machine drift and mean little; the ratio of two
neighbouring turns means more, so it is taken for each pair, and its minimum, median and maximum are reported. Above 1
realizar is faster.

prefill  Tokens per second from a prompt of random tokens that neither has seen before to what comes next, in one
         batch. realizar: a request of the engine behind `LLM`, up to its first token, the sampling of it included.
         llama.cpp: `llama_decode` with the logits of the last token alone; nothing is sampled.
decode   Tokens per second, one by one, after a prompt of 16. realizar: the same request to its end, greedy sampling
         and detokenization included. llama.cpp: `llama_decode` of tokens known before, and its logits.

`--cpu` counts the CPU seconds of the process instead of those on the wall. With `-t 1` that is the fairer clock where
others use the machine too: OpenMP's threads wait for each other by spinning, so that llama.cpp with several threads
crawls as soon as one of them has lost its CPU to somebody else.

Both have float16 keys and values. Everything else is as each does it by default: llama.cpp may repack the weights
when it loads them, and chooses flash attention itself.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import time
from contextlib import ExitStack, closing
from multiprocessing import get_context
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    Clock = Callable[[], float]

DECODE_PROMPT = 16
WARM_UP = 8
N_BATCH = 512
KINDS = ("prefill", "decode")


class Realizar:
    """Times requests of the engine behind `LLM`."""

    def __init__(self, path: Path, n_threads: int, n_ctx: int, clock: Clock) -> None:
        from realizar import LLM

        self._clock = clock
        self.llm = LLM(path, n_threads=n_threads, n_ctx=n_ctx, n_seqs=1, n_batch=N_BATCH)
        self.n_vocab = self.llm.tokenizer.n_vocab

    def seconds(self, prompt: list[int], n: int) -> tuple[float, float]:
        """Seconds of the prompt, and of n tokens after the first."""
        from realizar import SamplingParams

        engine = self.llm.engine
        begin = self._clock()
        request = engine.generate(prompt, SamplingParams(temperature=0.0, max_tokens=n + 1, ignore_eos=True))
        engine.wait(lambda: bool(request.token_ids))
        middle = self._clock()
        engine.wait(lambda: request.is_over)
        end = self._clock()
        timings = request.completion().timings
        if timings.n_cached or timings.n_generated != n + 1:
            raise RuntimeError(f"not what was to be timed: {timings}")
        return middle - begin, end - middle


class LlamaCpp:
    """Times `llama_decode`."""

    def __init__(self, path: Path, n_threads: int, n_ctx: int, clock: Clock) -> None:
        import llama_cpp as lib

        self._clock = clock
        self._lib = lib
        self._quiet = lib.llama_log_callback(lambda *_: None)  # llama.cpp keeps a pointer to it
        lib.llama_log_set(self._quiet, ctypes.c_void_p(0))
        lib.llama_backend_init()
        model_params = lib.llama_model_default_params()
        model_params.n_gpu_layers = 0
        model = lib.llama_model_load_from_file(str(path).encode(), model_params)
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, N_BATCH, N_BATCH
        params.n_threads = params.n_threads_batch = n_threads
        self._context = lib.llama_init_from_model(model, params)
        self._memory = lib.llama_get_memory(self._context)
        self.n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))

    def seconds(self, prompt: list[int], n: int) -> tuple[float, float]:
        """Seconds of the prompt, and of n tokens after it."""
        self._lib.llama_memory_clear(self._memory, False)
        begin = self._clock()
        for start in range(0, len(prompt), N_BATCH):
            self._step(prompt[start : start + N_BATCH])
        middle = self._clock()
        for i in range(n):
            self._step([prompt[i % len(prompt)]])
        return middle - begin, self._clock() - middle

    def _step(self, tokens: list[int]) -> None:
        array = (self._lib.llama_token * len(tokens))(*tokens)
        if status := self._lib.llama_decode(self._context, self._lib.llama_batch_get_one(array, len(tokens))):
            raise RuntimeError(f"llama_decode: {status}")
        self._lib.llama_get_logits_ith(self._context, -1)  # waits until they are there


ENGINES = {"realizar": Realizar, "llama.cpp": LlamaCpp}


def _child(pipe: Connection, name: str, path: Path, n_threads: int, n_ctx: int, cpu: bool) -> None:
    """Answer (kind, seed, n) by tokens per second, for ever."""
    engine = ENGINES[name](path, n_threads, n_ctx, time.process_time if cpu else time.perf_counter)
    pipe.send("ready")
    while True:
        kind, seed, n = pipe.recv()
        rng = np.random.default_rng([seed, KINDS.index(kind)])  # prompts that no cache knows
        tokens = rng.integers(0, engine.n_vocab, (2, max(n, DECODE_PROMPT))).tolist()
        engine.seconds(tokens[0][:DECODE_PROMPT], WARM_UP)
        if kind == "prefill":
            pipe.send(n / engine.seconds(tokens[1][:n], 0)[0])
        else:
            pipe.send(n / engine.seconds(tokens[1][:DECODE_PROMPT], n)[1])


class Player:
    """One of the two in its own process, stopped while it is not its turn."""

    def __init__(self, name: str, *settings: Any) -> None:
        context = get_context("spawn")
        self.name = name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_child, args=(theirs, name, *settings), daemon=True)
        self._process.start()
        theirs.close()
        self._answer()
        self._signal(signal.SIGSTOP)

    def play(self, kind: str, seed: int, n: int) -> float:
        """Tokens per second of one turn."""
        self._signal(signal.SIGCONT)
        self._pipe.send((kind, seed, n))
        speed: float = self._answer()
        self._signal(signal.SIGSTOP)
        return speed

    def close(self) -> None:
        """End the process, stopped or not."""
        self._process.kill()
        self._process.join()

    def _answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            sys.exit(f"{self.name} ended with exit code {self._process.exitcode} (-11: see docs/performance.md, AMX)")

    def _signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)


def compare(path: Path, n_threads: int, n_prompt: int, n_generate: int, rounds: int, cpu: bool) -> dict[str, Any]:
    """Speeds of both in tokens per second, by kind and name, and the ratios of each pair."""
    n_ctx = max(n_prompt, n_generate + DECODE_PROMPT) + 1
    sizes = dict(zip(KINDS, (n_prompt, n_generate), strict=True))
    speeds: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in ENGINES} for kind in KINDS}
    with ExitStack() as stack:
        players = [stack.enter_context(closing(Player(name, path, n_threads, n_ctx, cpu))) for name in ENGINES]
        for seed in range(rounds + 1):
            for kind, n in sizes.items():
                for player in players:
                    speed = player.play(kind, seed, n)
                    if seed:  # round 0 pages the file in
                        speeds[kind][player.name].append(speed)
    ours, theirs = ENGINES
    ratios = {kind: [a / b for a, b in zip(by[ours], by[theirs], strict=True)] for kind, by in speeds.items()}
    return {"model": path.name, "n_threads": n_threads, "tok_s": speeds, "ratios": ratios}


def _rows(found: dict[str, Any], sizes: dict[str, int]) -> list[str]:
    rows = []
    for kind, ratios in found["ratios"].items():
        ours, theirs = (median(speeds) for speeds in found["tok_s"][kind].values())
        rows.append(
            f"{found['model'][:40]:<40} {kind + '(' + str(sizes[kind]) + ')':<13} {ours:>9.1f} {theirs:>9.1f}"
            f"   {min(ratios):>5.2f} {median(ratios):>6.2f} {max(ratios):>5.2f}"
        )
    return rows


def main() -> None:
    """Read the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of `realizar list`, or paths")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-p", "--prompt", type=int, default=512, help="tokens of the prefill")
    parser.add_argument("-n", "--generate", type=int, default=64, help="tokens decoded one by one")
    parser.add_argument("-r", "--rounds", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from realizar.store import resolve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes end too
    sizes = dict(zip(KINDS, (args.prompt, args.generate), strict=True))
    found = [compare(resolve(m), args.threads, args.prompt, args.generate, args.rounds, args.cpu) for m in args.models]
    if args.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{'':<40} {'':<13} {'realizar':>9} {'llama.cpp':>9}   ratio, pair by pair")
    print(f"{f'{args.threads} threads':<40} {'':<13} {'tok/s':>9} {'tok/s':>9}   {'min':>5} {'median':>6} {'max':>5}")
    print("\n".join(row for model in found for row in _rows(model, sizes)))


if __name__ == "__main__":
    main()
