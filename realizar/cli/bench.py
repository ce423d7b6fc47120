"""`realizar bench`: how near a model comes to what the machine can do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from realizar import store
from realizar.cli import options

if TYPE_CHECKING:
    from realizar.cli.measure import Measurement

EXAMPLE = "Example: realizar bench smollm2 -t 2 -p 512 -n 64 --json"


def command(
    model: options.Model,
    threads: options.Threads = None,
    n_prompt: Annotated[int, Option("-p", "--prompt", min=1, help="Tokens of the prefill.")] = 512,
    n_generate: Annotated[int, Option("-n", "--generate", min=1, help="Decode steps of a round.")] = 64,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure load, prefill and decode beside the machine's own read bandwidth and int8 rate, in one run."""
    from realizar.cli.measure import measure

    found = measure(store.resolve(model), threads, n_prompt, n_generate)
    print(json.dumps(asdict(found), indent=2) if as_json else _table(found, n_prompt, n_generate))


def _table(m: Measurement, n_prompt: int, n_generate: int) -> str:
    peak = "not told by this system" if m.peak_rss_bytes is None else f"{m.peak_rss_bytes / 1e6:.0f} MB"
    return "\n".join(
        (
            f"model    {m.model_bytes / 1e6:.1f} MB, of which a token reads {m.bytes_per_token / 1e6:.1f} MB",
            f"machine  {m.n_threads} threads, {m.isa}; reads {m.read_gb_s:.1f} GB/s, int8 {m.int8_tops:.3f} TOPS",
            f"load     {m.load_s:.3f} s",
            f"prefill  {m.prefill_tok_s:.1f} tok/s with {n_prompt} tokens: {m.prefill_share:.0%} of the int8 rate",
            f"decode   {m.decode_tok_s:.1f} tok/s over {n_generate} tokens: {m.decode_share:.0%} of the read bandwidth",
            f"step     p50 {m.step_ms_p50:.2f} ms, p95 {m.step_ms_p95:.2f} ms, p99 {m.step_ms_p99:.2f} ms",
            f"memory   peak {peak}, of which the KV cache has {m.kv_bytes / 1e6:.1f} MB",
        )
    )
