"""Measuring a model beside the machine it runs on, in one process, in interleaved rounds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from realizar._kernels import table
from realizar.cli.machine import int8_tops, peak_rss_bytes, read_gb_s
from realizar.params import SamplingParams

if TYPE_CHECKING:
    from realizar.engine.engine import Engine
    from realizar.model import Model

_ROUNDS = 3
_DECODE_PROMPT = 16  # tokens in the cache before the measured steps


@dataclass(frozen=True)
class Measurement:
    """What `realizar bench` reports; also the keys of its JSON.

    Attributes
    ----------
    model_bytes, bytes_per_token, kv_bytes : int
        Size of the file; bytes of weights that a decode step reads; size of the cache.
    n_threads : int
    isa : str
        Tier of the kernels.
    read_gb_s, int8_tops : float
        What the machine does with these threads: 10^9 bytes read from the mapped file, 10^12 int8 operations a second.
    load_s : float
        Seconds until the first text was tokenized.
    prefill_tok_s, decode_tok_s : float
        Tokens per second: median of the rounds.
    prefill_share, decode_share : float
        Of the int8 rate, and of the read bandwidth: 1 is the floor, median of the rounds' own ratios.
    step_ms_p50, step_ms_p95, step_ms_p99 : float
        Milliseconds of a decode step over all rounds.
    peak_rss_bytes : int | None
        None where the system does not say.
    """

    model_bytes: int
    bytes_per_token: int
    n_threads: int
    isa: str
    read_gb_s: float
    int8_tops: float
    load_s: float
    prefill_tok_s: float
    prefill_share: float
    decode_tok_s: float
    decode_share: float
    step_ms_p50: float
    step_ms_p95: float
    step_ms_p99: float
    peak_rss_bytes: int | None
    kv_bytes: int


@dataclass(frozen=True)
class _Round:
    read_gb_s: float
    int8_tops: float
    prefill_s: float
    step_s: list[float]


def measure(path: Path, n_threads: int | None, n_prompt: int, n_generate: int) -> Measurement:
    """Load a model and time it, the machine's own rates probed between the rounds.

    Parameters
    ----------
    path : Path
        The file.
    n_threads : int, optional
        As `LLM`.
    n_prompt, n_generate : int
        Tokens of a prefill, and decode steps of one sequence, in each round.

    Raises
    ------
    RealizarError
        As `LLM`.
    """
    from realizar.llm import LLM

    for library in ("sentencepiece", "tokenizers"):  # imports are no part of load_s
        import_module(library)
    begin = time.perf_counter()
    n_ctx = max(n_prompt, n_generate + _DECODE_PROMPT) + 1
    with LLM(path, n_threads=n_threads, n_seqs=1, n_ctx=n_ctx) as llm:
        llm.tokenize("")
        load_s = time.perf_counter() - begin
        rng = np.random.default_rng(0)
        _round(llm.engine, n_prompt, 1, rng)  # pages the file in and starts the threads
        rounds = [_round(llm.engine, n_prompt, n_generate, rng) for _ in range(_ROUNDS)]
        return _summary(llm.engine, rounds, n_prompt, load_s)


def _round(engine: Engine, n_prompt: int, n_generate: int, rng: np.random.Generator) -> _Round:
    file, n_threads = engine.model.file, engine.runner.n_threads
    bandwidth = read_gb_s((file.data(name) for name in file.tensors), n_threads)
    prefill_s = _prefill_seconds(engine, _tokens(engine, n_prompt, rng))
    rate = int8_tops(table.current(), n_threads)
    return _Round(bandwidth, rate, prefill_s, _step_seconds(engine, _tokens(engine, _DECODE_PROMPT, rng), n_generate))


def _tokens(engine: Engine, n: int, rng: np.random.Generator) -> list[int]:
    """Tokens that no earlier round has left in the cache."""
    return [int(token) for token in rng.integers(0, engine.model.hp.n_vocab, n)]


def _prefill_seconds(engine: Engine, prompt: list[int]) -> float:
    request = engine.generate(prompt, SamplingParams(temperature=0.0, max_tokens=1, ignore_eos=True))
    begin = time.perf_counter()
    engine.wait(lambda: request.is_over)
    return time.perf_counter() - begin


def _step_seconds(engine: Engine, prompt: list[int], n: int) -> list[float]:
    request = engine.generate(prompt, SamplingParams(temperature=0.0, max_tokens=n + 1, ignore_eos=True))
    engine.wait(lambda: bool(request.token_ids))
    seconds = []
    while not request.is_over:
        begin = time.perf_counter()
        engine.step()
        seconds.append(time.perf_counter() - begin)
    return seconds


def _summary(engine: Engine, rounds: list[_Round], n_prompt: int, load_s: float) -> Measurement:
    model = engine.model
    bytes_per_token = model.bytes_per_token()
    operations_per_token = 2 * _weights_per_token(model)
    prefill_tok_s = [n_prompt / r.prefill_s for r in rounds]
    decode_tok_s = [len(r.step_s) / sum(r.step_s) for r in rounds]
    p50, p95, p99 = np.percentile([1e3 * s for r in rounds for s in r.step_s], [50, 95, 99])
    return Measurement(
        model_bytes=model.file.n_bytes,
        bytes_per_token=bytes_per_token,
        n_threads=engine.runner.n_threads,
        isa=table.current(),
        read_gb_s=median(r.read_gb_s for r in rounds),
        int8_tops=median(r.int8_tops for r in rounds),
        load_s=load_s,
        prefill_tok_s=median(prefill_tok_s),
        prefill_share=median(
            operations_per_token * tok_s / (r.int8_tops * 1e12) for tok_s, r in zip(prefill_tok_s, rounds, strict=True)
        ),
        decode_tok_s=median(decode_tok_s),
        decode_share=median(
            bytes_per_token * tok_s / (r.read_gb_s * 1e9) for tok_s, r in zip(decode_tok_s, rounds, strict=True)
        ),
        step_ms_p50=float(p50),
        step_ms_p95=float(p95),
        step_ms_p99=float(p99),
        peak_rss_bytes=peak_rss_bytes(),
        kv_bytes=engine.cache.n_bytes,
    )


def _weights_per_token(model: Model) -> int:
    """Weights that every token of a prefill is multiplied with; of the output matrix only the last one is."""
    plan = model.plan()
    linears = [op for op in plan.ops if op.op == "linear" and not plan.views[op.inputs[0]].m_rows]
    return sum(prod(model.tensors[name].shape) for op in linears for name in op.weights)
