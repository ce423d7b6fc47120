"""Measures the types of the KV cache: KL divergence of every pair of types for K and V, or their speed at some depth.

    python asv_bench/kv_types.py kl smollm2 qwen2.5-coder-0.5b --tokens 4096
    python asv_bench/kv_types.py speed models/llama-3.2-1b-q4_k_m.gguf --depth 8192 32768 --threads 2

kl: the text is this repository's documentation; distributions of all positions are compared with those of a float32
cache, with the model's default activations. speed: steps of 1 and of 512 tokens (--rows) after `depth` others, whose
keys and values are constants: in turns for all types in one process. Weights may be random (tools/geometry.py).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from intervals import median_interval

from realizar import LLM, store
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.sequence import Sequence
from realizar.engine.engine import Engine
from realizar.model import Model
from realizar.params import EngineParams
from realizar.quality import Reader
from realizar.quality.statistics import kl_divergence, log_softmax

ROOT = Path(__file__).resolve().parents[1]
TYPES = ("f16", "int8", "q4")
PAIRS = tuple(product(TYPES, TYPES))
N_STEP = 128


def text() -> str:
    """Return the documentation of this repository, pages in alphabetical order."""
    return "\n\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))


def divergences(path: Path, n_tokens: int) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """Return for each pair the KL divergence and the agreement of the most probable tokens, float64 [n_tokens, 2]."""
    found: dict[tuple[str, str], list[tuple[float, bool]]] = {pair: [] for pair in PAIRS}
    with ExitStack() as stack:
        exact, *others = (
            stack.enter_context(Reader(path, n_tokens, kv_type=pair, n_batch=N_STEP))  # type: ignore[arg-type]
            for pair in [("f32", "f32"), *PAIRS]
        )
        tokens = np.array(exact.model.tokenizer.encode(text())[:n_tokens], np.int32)
        steps = zip(*(reader.logits(tokens, 0, N_STEP) for reader in (exact, *others)), strict=True)
        for row, *rows in (each for step in steps for each in zip(*step, strict=True)):
            p = log_softmax(row)
            for pair, other in zip(PAIRS, rows, strict=True):
                found[pair].append((kl_divergence(p, log_softmax(other)), row.argmax() == other.argmax()))
    return {pair: np.array(rows, np.float64) for pair, rows in found.items()}


def print_divergences(names: list[str], n_tokens: int) -> None:
    """Print a table for each model."""
    for name in names:
        path = Path(store.resolve(name))
        found = divergences(path, n_tokens)
        print(f"{path.stem}: {len(next(iter(found.values())))} tokens")
        print("K     V       KL: mean   median     99 %  same best")
        for (k_type, v_type), each in found.items():
            kl, same = each.T
            print(
                f"{k_type:5} {v_type:5} {kl.mean():10.1e} {np.median(kl):8.1e} {np.quantile(kl, 0.99):8.1e}"
                f" {100 * same.mean():8.2f} %",
                flush=True,
            )


def steps_at(
    model: Model, kv_type: str, depth: int, n_rows: list[int], n_threads: int
) -> Iterator[tuple[int, Chunk, Engine]]:
    """Yield steps by their number of rows, after `depth` tokens that are not computed; none is committed."""
    n_ctx, n_batch = depth + max(n_rows), max(n_rows)
    params = EngineParams(n_ctx=n_ctx, n_seqs=1, n_batch=n_batch, kv_type=kv_type, n_threads=n_threads)  # type: ignore[arg-type]
    engine = Engine(model, params)
    for layer in engine.cache.storage.layers:  # type: ignore[attr-defined]
        layer.k[...] = layer.v[...] = 0x2C  # normal numbers in every type
    tokens = np.random.default_rng(0).integers(0, model.hp.n_vocab, n_ctx).astype(np.int32)
    seq = Sequence(engine.cache, tokens)
    seq.reserve(depth)
    seq.commit(depth)
    for n in n_rows:
        chunk = Chunk(seq, n, 1)
        chunk.reserve()
        yield n, chunk, engine


def print_speeds(path: Path, depths: list[int], n_rows: list[int], n_threads: int, rounds: int) -> None:
    """Print the time of each step, and how many times faster it is than with an f16 cache."""
    with LLM(path, n_ctx=64, n_seqs=1) as llm:
        for depth in depths:
            steps = {
                (n, kind): (chunk, engine)
                for kind in TYPES
                for n, chunk, engine in steps_at(llm.engine.model, kind, depth, n_rows, n_threads)
            }
            seconds: dict[tuple[int, str], list[float]] = {key: [] for key in steps}
            for _ in range(rounds + 1):
                for key in sorted(steps):
                    chunk, engine = steps[key]
                    begin = time.perf_counter()
                    engine.runner.run(engine.runner.batch([chunk]))
                    seconds[key].append(time.perf_counter() - begin)
            for n, kind in sorted(steps):
                own, f16 = seconds[n, kind][1:], seconds[n, "f16"][1:]
                ratio = median_interval([a / b for a, b in zip(f16, own, strict=True)])
                print(
                    f"depth {depth:6} rows {n:4} {kind:5} {1e3 * median(own):9.2f} ms, least {1e3 * min(own):9.2f} ms,"
                    f" {ratio.median:5.2f} x f16 ({ratio.low:.2f} to {ratio.high:.2f})",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    kl = commands.add_parser("kl")
    kl.add_argument("models", nargs="+")
    kl.add_argument("--tokens", type=int, default=4096)
    speed = commands.add_parser("speed")
    speed.add_argument("model", type=Path)
    speed.add_argument("--depth", type=int, nargs="+", default=[8192, 32768])
    speed.add_argument("--rows", type=int, nargs="+", default=[1, 512])
    speed.add_argument("--threads", type=int, default=2)
    speed.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    if args.command == "kl":
        print_divergences(args.models, args.tokens)
    else:
        print_speeds(args.model, args.depth, args.rows, args.threads, args.rounds)


if __name__ == "__main__":
    main()
