"""Measures what LoRA adapters cost: loading, and steps of one sequence and of several with different adapters.

    python tools/geometry.py llama-3.2-1b --folder models
    python asv_bench/adapters.py models/llama-3.2-1b-q4_k_m.gguf --rank 16 --threads 2

Random F16 factors for all matrices of the layers. In one process, in turns: the same prompts without adapters and with
them (A B A B). The CPU time of a step is printed, too: with one thread it is the figure to take on a busy machine.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from realizar import LLM, SamplingParams
from realizar.runtime.adapter_files import write_lora
from realizar.runtime.adapters import Adapter, Factors

N_TOKENS = 6
PARTS = ("attn_q.", "attn_k.", "attn_v.", "attn_output.", "ffn_gate.", "ffn_up.", "ffn_down.")
Times = dict[tuple[int, bool], list[tuple[float, float]]]


def write_adapter(path: Path, llm: LLM, rank: int, seed: int) -> None:
    """Write a random adapter for the matrices of all layers."""
    model, rng = llm.engine.model, np.random.default_rng(seed)
    factors = {}
    for name, tensor in model.tensors.items():
        if any(part in name for part in PARTS) and len(tensor.shape) == 2:
            n_out, n_in = tensor.shape
            a = (rng.standard_normal((rank, n_in)) / np.sqrt(n_in)).astype(np.float16)
            b = (0.05 * rng.standard_normal((n_out, rank))).astype(np.float16)
            factors[name] = Factors(a, b, 1.0)
    write_lora(path, Adapter("lora", factors, str(path)), model.architecture.name)


def measure(llm: LLM, sizes: list[int], rounds: int) -> Times:
    """Return (wall, CPU) seconds of the steps of each number of sequences, without and with adapters."""
    times: Times = {}
    run, kind = llm.engine.runner.run, (0, False)

    def timed(batch: Any, *arguments: Any) -> Any:
        begin = time.perf_counter(), time.process_time()
        found = run(batch, *arguments)
        if batch.n_tokens == batch.n_seqs:  # a step of decoding
            times.setdefault(kind, []).append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
        return found

    llm.engine.runner.run = timed  # type: ignore[method-assign]
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for n in sizes:
            prompts = rng.integers(1000, llm.engine.model.hp.n_vocab, (n, 4)).tolist()
            for has_adapters in (False, True):
                kind = n, has_adapters
                names = [(f"a{i}" if has_adapters else None) for i in range(n)]
                each = [
                    SamplingParams(temperature=0, max_tokens=N_TOKENS, ignore_eos=True, lora=name) for name in names
                ]
                llm.generate(prompts, each)
    return times


def main() -> None:
    """Print the times of loading, and the ratios of steps without and with adapters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()
    n = max(args.sizes)
    with LLM(args.model, n_threads=args.threads, n_ctx=64, n_seqs=n) as llm, TemporaryDirectory() as folder:
        for i in range(n):
            path = Path(folder) / f"a{i}.gguf"
            write_adapter(path, llm, args.rank, i)
            begin = time.perf_counter(), time.process_time()
            llm.add_lora(f"a{i}", path)
            wall, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
            print(f"loading: {1e3 * wall:.1f} ms, {1e3 * cpu:.1f} ms of CPU time")
        times = measure(llm, args.sizes, args.rounds)
    for size in args.sizes:
        for i, what in enumerate(("wall", "CPU")):
            without, with_them = ([row[i] for row in times[size, kind]] for kind in (False, True))
            middles = [1e3 * median(each) for each in (without, with_them)]
            ratios = middles[0] / middles[1], min(without) / min(with_them)
            print(
                f"{size} sequences, {what}: {middles[0]:.1f} ms without, {middles[1]:.1f} with; ratio of medians "
                f"{ratios[0]:.3f}, of minima {ratios[1]:.3f}"
            )


if __name__ == "__main__":
    main()
