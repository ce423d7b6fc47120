"""`realizar bench`: a model's speed relative to the limits of the machine."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Literal

from typer import BadParameter, Option

from realizar import store
from realizar.cli import options
from realizar.cli.tables import write_line

if TYPE_CHECKING:
    from realizar.cli.measure import Measurement

EXAMPLE = "Example: realizar bench smollm2 -t 2 -p 512 -n 64 --json"
_CONFIG_HELP = "A standard configuration: short or long prompts, or decode steps; other options override its values."


def _multiple_of_block(depth: int | None) -> int | None:
    if depth is not None and depth % 16:
        raise BadParameter(f"{depth} is not a multiple of 16, the tokens of a KV-cache block")
    return depth


def command(
    model: options.Model,
    threads: options.Threads = None,
    config: Annotated[Literal["short", "long", "decode"] | None, Option(help=_CONFIG_HELP)] = None,
    n_prompt: Annotated[int | None, Option("-p", "--prompt", min=0, help="Prompt tokens.", show_default="512")] = None,
    n_generate: Annotated[
        int | None, Option("-n", "--generate", min=0, help="Decode steps per run.", show_default="64")
    ] = None,
    depth: Annotated[
        int | None,
        Option(min=0, help="Tokens already in the KV cache.", show_default="0", callback=_multiple_of_block),
    ] = None,
    batch: Annotated[int | None, Option(min=1, help="Sequences decoded together.", show_default="1")] = None,
    activations: options.RoundedTo = None,
    backend: options.Backend = "cpu",
    device: options.Device = "cpu",
    n_gpu_layers: options.GPULayers = None,
    n_cpu_moe: options.CPUExperts = 0,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure load, prefill and decode, and the machine's read bandwidth and int8 rate, in one run."""
    from realizar.cli.measure import CONFIGS, Config, measure

    options_set = {
        "n_prompt": n_prompt,
        "n_generate": n_generate,
        "depth": depth,
        "batch": batch,
        "activations": activations,
        "backend": backend,
        "device": device,
        "n_gpu_layers": n_gpu_layers,
        "n_cpu_moe": n_cpu_moe,
    }
    base = CONFIGS[config] if config else Config()
    chosen = replace(base, **{name: value for name, value in options_set.items() if value is not None})
    path = store.resolve(model)
    with options.usage_errors():
        found = measure(path, threads, chosen)
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    for line in _lines(found):
        write_line(line, 9)


def _lines(m: Measurement) -> list[str]:
    c = m.config
    depth = f" at depth {c.depth}" if c.depth else ""
    each = f" for each of {c.batch} sequences" if c.batch > 1 else ""
    peak = "not reported by this system" if m.peak_rss_bytes is None else f"{m.peak_rss_bytes / 1e6:.0f} MB"
    lines = [
        f"model    {m.model_bytes / 1e6:.1f} MB, of which a decode step reads {m.bytes_per_token / 1e6:.1f} MB",
        f"machine  {m.n_threads} threads, {m.isa}; reads {m.read_gb_s:.1f} GB/s,"
        f" multiplies int8 at {m.int8_tops:.3f} and f32 at {m.f32_tops:.3f} TOPS",
        f"load     {m.load_s:.3f} s",
    ]
    if m.prefill_s is not None:
        lines.append(
            f"prefill  {m.prefill_tok_s:.1f} tok/s with {c.n_prompt} tokens{depth}, {m.prefill_s:.3f} s:"
            f" {m.prefill_share:.0%} of the floor"
        )
    if m.decode_tok_s is not None:
        steps = f"over {c.n_generate} tokens{each}{depth}"
        lines.append(f"decode   {m.decode_tok_s:.1f} tok/s {steps}: {m.decode_share:.0%} of the floor")
        lines.append(f"step     p50 {m.step_ms_p50:.2f} ms, p95 {m.step_ms_p95:.2f} ms, p99 {m.step_ms_p99:.2f} ms")
    if c.device != "cpu":
        lines.append(f"devices  {m.devices}")
    lines.append(f"memory   peak {peak}, of which {m.kv_bytes / 1e6:.1f} MB are the KV cache")
    return lines
