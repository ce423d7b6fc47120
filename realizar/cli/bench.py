"""`realizar bench`: how near a model comes to what the machine can do."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Literal

from typer import BadParameter, Option

from realizar import store
from realizar.cli import options

if TYPE_CHECKING:
    from realizar.cli.measure import Measurement

EXAMPLE = "Example: realizar bench smollm2 -t 2 -p 512 -n 64 --json"
_KNOWN = "A canonical configuration: short and long prompts, or steps of one token; other options replace its values."


def _whole_blocks(depth: int | None) -> int | None:
    if depth is not None and depth % 16:
        raise BadParameter(f"{depth} is no multiple of 16, the tokens of a block of the cache")
    return depth


def command(
    model: options.Model,
    threads: options.Threads = None,
    config: Annotated[Literal["short", "long", "decode"] | None, Option(help=_KNOWN)] = None,
    n_prompt: Annotated[
        int | None, Option("-p", "--prompt", min=0, help="Tokens of a prompt.", show_default="512")
    ] = None,
    n_generate: Annotated[
        int | None, Option("-n", "--generate", min=0, help="Decode steps of a run.", show_default="64")
    ] = None,
    depth: Annotated[
        int | None,
        Option(min=0, help="Tokens in the cache before both.", show_default="0", callback=_whole_blocks),
    ] = None,
    batch: Annotated[int | None, Option(min=1, help="Sequences that decode together.", show_default="1")] = None,
    activations: options.RoundedTo = None,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure load, prefill and decode beside the machine's own read bandwidth and int8 rate, in one run."""
    from realizar.cli.measure import CONFIGS, Config, measure

    given = {"n_prompt": n_prompt, "n_generate": n_generate, "depth": depth, "batch": batch, "activations": activations}
    base = CONFIGS[config] if config else Config()
    chosen = replace(base, **{name: value for name, value in given.items() if value is not None})
    found = measure(store.resolve(model), threads, chosen)
    print(json.dumps(asdict(found), indent=2) if as_json else _table(found))


def _table(m: Measurement) -> str:
    c = m.config
    behind = f" behind {c.depth}" if c.depth else ""
    each = f" for each of {c.batch} sequences" if c.batch > 1 else ""
    peak = "not told by this system" if m.peak_rss_bytes is None else f"{m.peak_rss_bytes / 1e6:.0f} MB"
    lines = [
        f"model    {m.model_bytes / 1e6:.1f} MB, of which a token reads {m.bytes_per_token / 1e6:.1f} MB",
        f"machine  {m.n_threads} threads, {m.isa}; reads {m.read_gb_s:.1f} GB/s,"
        f" multiplies int8 at {m.int8_tops:.3f} and f32 at {m.f32_tops:.3f} TOPS",
        f"load     {m.load_s:.3f} s",
    ]
    if m.prefill_s is not None:
        lines.append(
            f"prefill  {m.prefill_tok_s:.1f} tok/s with {c.n_prompt} tokens{behind}, {m.prefill_s:.3f} s:"
            f" {m.prefill_share:.0%} of the floor"
        )
    if m.decode_tok_s is not None:
        steps = f"over {c.n_generate} tokens{each}{behind}"
        lines.append(f"decode   {m.decode_tok_s:.1f} tok/s {steps}: {m.decode_share:.0%} of the floor")
        lines.append(f"step     p50 {m.step_ms_p50:.2f} ms, p95 {m.step_ms_p95:.2f} ms, p99 {m.step_ms_p99:.2f} ms")
    lines.append(f"memory   peak {peak}, of which the KV cache has {m.kv_bytes / 1e6:.1f} MB")
    return "\n".join(lines)
