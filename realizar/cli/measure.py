"""Measurement of a model and of the machine's limits, interleaved in one process."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

import numpy as np

from realizar._kernels import table
from realizar.cli.workload import DECODE_PROMPT, Workload
from realizar.planning.floor import Rates, prompt_floor, step_floor
from realizar.planning.machine import f32_tops, int8_tops, peak_rss_bytes, read_gb_s

if TYPE_CHECKING:
    from realizar.engine.engine import Engine
    from realizar.params import Activations


@dataclass(frozen=True)
class Config:
    """What to measure. A run is a prompt of new tokens up to the first generated token, then some decode steps.

    Attributes
    ----------
    n_prompt : int
        Prompt tokens; 0 skips prefill.
    n_generate : int
        Decode steps after a separate prompt of 16 tokens; 0 skips decode.
    depth : int
        Tokens already in the KV cache; a multiple of 16.
    batch : int
        Sequences decoded together.
    activations : str | None
        See EngineParams; in a Measurement, the resolved value.
    backend, device : str
    n_gpu_layers, n_cpu_moe : int
        See EngineParams.
    warm_up, runs : int
        Number of warm-up runs and of measured runs.
    seed : int
        Seed of the random tokens.
    """

    n_prompt: int = 512
    n_generate: int = 64
    depth: int = 0
    batch: int = 1
    activations: Activations | None = None
    backend: str = "cpu"
    device: str = "cpu"
    n_gpu_layers: int | None = None
    n_cpu_moe: int = 0
    warm_up: int = 1
    runs: int = 3
    seed: int = 0


CONFIGS = {
    "short": Config(n_prompt=3, n_generate=0, warm_up=3, runs=10, seed=42),
    "long": Config(n_prompt=2048, n_generate=0, warm_up=1, runs=5, seed=42),
    "decode": Config(n_prompt=0, n_generate=1, warm_up=10, runs=100, seed=42),
}
"""The standard configurations."""


@dataclass(frozen=True)
class Measurement:
    """The results of `realizar bench`, and the keys of its JSON; None for skipped phases.

    Attributes
    ----------
    config : Config
    model_bytes, bytes_per_token, kv_bytes : int
        Size of the file; bytes of weights read by a decode step; size of the KV cache.
    devices : str
        What is computed where.
    n_threads : int
    isa : str
        ISA level of the kernels.
    read_gb_s, int8_tops, f32_tops : float
        The machine's limits with these threads: 10^9 bytes read from the mapped file, 10^12 int8 and float32 operations
        per second.
    load_s : float
        Seconds until the first text is tokenized.
    prefill_s : float
        Seconds of prefill, median of the runs.
    prefill_tok_s, decode_tok_s : float
        Tokens per second of all sequences, median of the runs.
    prefill_share, decode_share : float
        Floor / measured time, median of the runs; 1 is the machine's limit. The floor is the larger of read time at
        `read_gb_s` and compute time at `int8_tops` and `f32_tops`.
    step_ms_p50, step_ms_p95, step_ms_p99 : float
        Percentiles of the decode step over all runs, in milliseconds.
    peak_rss_bytes : int | None
        None if the system does not report it.
    """

    config: Config
    model_bytes: int
    bytes_per_token: int
    n_threads: int
    isa: str
    read_gb_s: float
    int8_tops: float
    f32_tops: float
    load_s: float
    prefill_s: float | None
    prefill_tok_s: float | None
    prefill_share: float | None
    decode_tok_s: float | None
    decode_share: float | None
    step_ms_p50: float | None
    step_ms_p95: float | None
    step_ms_p99: float | None
    peak_rss_bytes: int | None
    kv_bytes: int
    devices: str


@dataclass(frozen=True)
class _Run:
    rates: Rates
    prefill_s: float
    step_s: list[float]


def measure(path: Path, n_threads: int | None, config: Config) -> Measurement:
    """Load a model and time it; the machine's limits are measured between the runs.

    Parameters
    ----------
    path : Path
        The model file.
    n_threads : int, optional
        See `LLM`.
    config : Config

    Raises
    ------
    RealizarError
        See `LLM`; or if tokens of `depth` are not found in the prefix cache.
    """
    from realizar.llm import LLM

    for library in ("sentencepiece", "tokenizers"):  # exclude imports from load_s
        import_module(library)
    begin = time.perf_counter()
    n_ctx = Workload.n_ctx(config.depth, config.batch, config.n_prompt, config.n_generate)
    with LLM(
        path, n_threads=n_threads, n_seqs=config.batch, n_ctx=n_ctx, activations=config.activations,
        backend=config.backend, device=config.device, n_gpu_layers=config.n_gpu_layers, n_cpu_moe=config.n_cpu_moe,
    ) as llm:  # fmt: skip
        llm.tokenize("")
        load_s = time.perf_counter() - begin
        work = Workload(llm.engine, config.depth, config.batch, config.seed)
        for _ in range(config.warm_up):
            _run(llm.engine, work, config)
        runs = [_run(llm.engine, work, config) for _ in range(config.runs)]
        return _summary(llm.engine, runs, config, load_s)


def _run(engine: Engine, work: Workload, config: Config) -> _Run:
    file, n_threads = engine.model.file, engine.runner.n_threads
    bandwidth = read_gb_s((file.data(name) for name in file.tensors), n_threads)
    prefill_s = work.prompt_seconds(config.n_prompt) if config.n_prompt else 0.0
    rates = Rates(bandwidth, int8_tops(table.current(), n_threads), f32_tops(table.current(), n_threads))
    return _Run(rates, prefill_s, work.step_seconds(config.n_generate) if config.n_generate else [])


def _summary(engine: Engine, runs: list[_Run], config: Config, load_s: float) -> Measurement:
    model = engine.model
    return Measurement(
        config=replace(config, activations=engine.runner.activations),
        model_bytes=model.file.n_bytes,
        bytes_per_token=round(model.bytes_read()),
        n_threads=engine.runner.n_threads,
        isa=table.current(),
        read_gb_s=median(run.rates.read_gb_s for run in runs),
        int8_tops=median(run.rates.int8_tops for run in runs),
        f32_tops=median(run.rates.f32_tops for run in runs),
        load_s=load_s,
        **_prefill(engine, runs, config),
        **_decode(engine, runs, config),
        peak_rss_bytes=peak_rss_bytes(),
        kv_bytes=engine.cache.n_bytes,
        devices=str(engine.offload),
    )


def _prefill(engine: Engine, runs: list[_Run], config: Config) -> dict[str, float | None]:
    if not config.n_prompt:
        return dict.fromkeys(("prefill_s", "prefill_tok_s", "prefill_share"))
    floor = prompt_floor(engine.model, engine.cache, config.n_prompt, activations=engine.runner.activations)
    seconds = median(run.prefill_s for run in runs)
    share = median(floor.seconds(run.rates) / run.prefill_s for run in runs)
    return {"prefill_s": seconds, "prefill_tok_s": config.n_prompt / seconds, "prefill_share": share}


def _decode(engine: Engine, runs: list[_Run], config: Config) -> dict[str, float | None]:
    if not config.n_generate:
        return dict.fromkeys(("decode_tok_s", "decode_share", "step_ms_p50", "step_ms_p95", "step_ms_p99"))
    n_tokens = config.depth + DECODE_PROMPT + (1 + config.n_generate) / 2  # in the middle of a run
    floor = step_floor(engine.model, engine.cache, n_tokens, config.batch, activations=engine.runner.activations)
    seconds = [fmean(run.step_s) for run in runs]
    shares = [floor.seconds(run.rates) / s for run, s in zip(runs, seconds, strict=True)]
    p50, p95, p99 = np.percentile([1e3 * s for run in runs for s in run.step_s], [50, 95, 99]).tolist()
    return {
        "decode_tok_s": config.batch / median(seconds),
        "decode_share": median(shares),
        "step_ms_p50": p50,
        "step_ms_p95": p95,
        "step_ms_p99": p99,
    }
