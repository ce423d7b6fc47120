"""Metrics for Prometheus, under vLLM's names where it has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from realizar.engine.output import Completion
    from realizar.engine.stats import EngineStats
    from realizar.server.models import ModelPool

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)
_LABEL = ("model_name",)

# Name of a gauge or counter -> its text, and field of EngineStats.
_GAUGES = {
    "vllm:num_requests_running": ("Requests that are computed.", "n_running"),
    "vllm:num_requests_waiting": ("Requests that wait to be computed.", "n_waiting"),
    "vllm:kv_cache_usage_perc": ("Share of the KV cache in use; 1 is all.", "cache_use"),
    "realizar:num_requests_paused": ("Requests whose events are not read.", "n_paused"),
    "realizar:kv_cache_blocks": ("Blocks of the KV cache.", "n_blocks"),
    "realizar:swapped_bytes": ("Bytes of the copies of preempted requests.", "n_bytes_swapped"),
}
_COUNTERS = {
    "vllm:prompt_tokens": ("Tokens of prompts.", "n_prompt"),
    "vllm:generation_tokens": ("Tokens generated.", "n_generated"),
    "vllm:num_preemptions": ("Preemptions.", "n_preempted"),
    "vllm:prefix_cache_queries": ("Tokens looked up in the prefix cache.", "n_prompt"),
    "vllm:prefix_cache_hits": ("Tokens found in the prefix cache.", "n_cached"),
    "realizar:steps": ("Steps computed.", "n_steps"),
    "realizar:computed_tokens": ("Tokens computed in steps.", "n_computed"),
    "realizar:step_seconds": ("Seconds of all steps.", "step_s"),
}


class Metrics:
    """Counts requests, and reads the statistics of the engines when it is asked for them.

    Parameters
    ----------
    pool : ModelPool
    """

    def __init__(self, pool: ModelPool) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(pool))

        def histogram(name: str, text: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            return Histogram(name, text, _LABEL, buckets=buckets, registry=self._registry)

        self._success = Counter(
            "vllm:request_success", "Finished requests.", (*_LABEL, "finished_reason"), registry=self._registry
        )
        self._aborted = Counter(
            "realizar:request_aborted", "Requests given up by clients, or failed.", _LABEL, registry=self._registry
        )
        self._first = histogram("vllm:time_to_first_token_seconds", "From the submission to the first token.")
        self._between = histogram("vllm:inter_token_latency_seconds", "Mean time of a token.", _STEP_SECONDS)
        self._total = histogram("vllm:e2e_request_latency_seconds", "From the submission to the end.")
        self._prefill = histogram("vllm:request_prefill_time_seconds", "Computing a prompt.")
        self._decode = histogram("vllm:request_decode_time_seconds", "From the first token to the last.")
        self._n_prompt = histogram("vllm:request_prompt_tokens", "Tokens of a prompt.", _TOKENS)
        self._n_generated = histogram("vllm:request_generation_tokens", "Tokens of a completion.", _TOKENS)

    def finished(self, name: str, completion: Completion, begin: float, first: float) -> None:
        """Count a finished request, which was submitted and had its first token at these times (0: none)."""
        for output in completion.outputs:
            self._success.labels(name, output.finish_reason).inc()
            self._n_generated.labels(name).observe(len(output.token_ids))
            if output.timings.n_generated > 1:
                self._between.labels(name).observe(output.timings.decode_s / (output.timings.n_generated - 1))
        timings = completion.timings
        self._n_prompt.labels(name).observe(timings.n_prompt)
        self._total.labels(name).observe(time.perf_counter() - begin)
        if first:
            self._first.labels(name).observe(first - begin)
            self._prefill.labels(name).observe(timings.prefill_s)
            self._decode.labels(name).observe(timings.decode_s)

    def aborted(self, name: str) -> None:
        """Count a request that was given up, or failed."""
        self._aborted.labels(name).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Engines(Collector):
    """The statistics of the engines of loaded models; the totals of a model begin again when it is loaded again."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """Yield all gauges and counters."""
        found = {served.name: served.llm.stats() for served in self._pool.models if served.llm is not None}
        for name, (text, field) in _GAUGES.items():
            yield _filled(GaugeMetricFamily(name, text, labels=_LABEL), found, field)
        for name, (text, field) in _COUNTERS.items():
            yield _filled(CounterMetricFamily(name, text, labels=_LABEL), found, field)
        memory = GaugeMetricFamily("realizar:model_bytes", "Memory that a loaded model needs at most.", labels=_LABEL)
        for served in self._pool.models:
            memory.add_metric([served.name], served.n_bytes)
        yield memory


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, found: dict[str, EngineStats], field: str
) -> GaugeMetricFamily | CounterMetricFamily:
    for name, stats in found.items():
        family.add_metric([name], getattr(stats, field))
    return family
