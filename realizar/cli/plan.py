"""`realizar plan`: estimates a model's memory and speed without reading its weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from realizar import store
from realizar.cli import options
from realizar.cli.tables import write_line
from realizar.params import EngineParams

if TYPE_CHECKING:
    from realizar.cli.estimate import Estimate, Speed
    from realizar.planning.device_estimates import DeviceEstimate

EXAMPLE = "Example: realizar plan smollm2 --ctx 8192 --seqs 4"


def command(
    model: options.Model,
    n_ctx: Annotated[int | None, Option("--ctx", help="Tokens per sequence.", show_default="model's")] = None,
    n_seqs: Annotated[int, Option("--seqs", help="Concurrent sequences.")] = 1,
    n_batch: Annotated[int, Option("--batch", help="Maximum tokens per step.")] = 512,
    kv_type: Annotated[str, Option(help="Type of the KV cache.", metavar="TYPE[/TYPE]")] = "f16",
    threads: options.Threads = None,
    device: Annotated[
        str, Option(help="Estimate for gpu:N, for gpu:0,gpu:1, or for all GPUs that are not in software (auto).")
    ] = "auto",
    n_gpu_layers: options.GPULayers = None,
    n_cpu_moe: options.CPUExperts = 0,
    tensor_devices: options.TensorDevices = None,
    graph: Annotated[bool, Option("--graph", help="Print graph and plan; draw the plan if dot is installed.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Estimate memory and speed of a model from its metadata and the machine's measured limits."""
    from realizar.cli.drawing import draw, lines
    from realizar.cli.estimate import estimate
    from realizar.model import load

    path = store.resolve(model)
    opened = load(path)
    try:
        if graph:
            print("\n".join(line for name in opened.graphs for line in lines(opened, name)))
            for name in opened.graphs:
                if (picture := draw(opened, name, path.stem)) is not None:
                    print(f"{picture}: drawing of the plan {name}")
            return
        types = options.kv_type(kv_type)
        ctx = opened.hp.n_ctx_train if n_ctx is None else n_ctx
        with options.usage_errors():
            params = EngineParams(
                threads, ctx, n_seqs, n_batch, types, device=device, n_gpu_layers=n_gpu_layers,  # type: ignore[arg-type]
                n_cpu_moe=n_cpu_moe, tensor_devices=tensor_devices or (),
            )  # fmt: skip
        found = estimate(opened, params)
    finally:
        opened.close()
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    for line in _lines(found):
        write_line(line, 10)


def _lines(e: Estimate) -> list[str]:
    types = ", ".join(f"{name} {n / 1e6:.1f} MB" for name, n in e.type_bytes.items())
    states = f", states {e.state_bytes / 1e3:.1f} kB per sequence" if e.state_bytes else ""
    parts = ", ".join(f"{name} {n / 1e6:.1f}" for name, n in e.memory.items() if name != "peak")
    lines = [
        f"model     {e.architecture}, {e.n_parameters / 1e6:.1f} M parameters in {e.n_tensors} tensors",
        f"types     {types}",
        f"cache     {e.cache_bytes_per_token:.0f} bytes per token{states}; {e.n_seqs} sequences of {e.n_ctx} tokens",
        f"memory    {e.memory['peak'] / 1e6:.1f} MB at most: {parts}",
        f"tokenizer {e.tokenizer_bytes / 1e6:.1f} MB in addition",
        f"machine   {e.n_threads} threads; reads {e.read_gb_s:.1f} GB/s,"
        f" multiplies int8 at {e.int8_tops:.3f} and f32 at {e.f32_tops:.3f} TOPS",
        f"prefill   {_speed(e.prefill)}",
    ]
    if e.slow_ops:
        slow = ", ".join(f"{name} (plugin {plugin})" for name, plugin in e.slow_ops.items())
        lines.append(f"slow ops  {slow}, computed in numpy, row by row")
    if e.decode is not None:
        lines.append(f"decode    {_speed(e.decode)} for one sequence with a half-full cache")
    gpus = e.devices[1:]  # the first is the CPU, of which the lines above are
    if any(each.device != "auto" for each in gpus):
        lines += [line for each in gpus for line in _device_lines(each)]
    return lines


def _device_lines(d: DeviceEstimate) -> list[str]:
    decode = "" if d.decode_tok_s is None else f", decode {d.decode_tok_s:.0f}"
    lines = [f"{d.device:9} {d.split}", f"          at most prefill {d.prefill_tok_s:.0f}{decode} tok/s"]
    if d.gpu_bytes["total"]:
        parts = ", ".join(f"{name} {n / 1e6:.1f}" for name, n in d.gpu_bytes.items() if name != "total")
        lines.append(f"          {d.gpu_bytes['total'] / 1e6:.1f} MB of GPU memory: {parts}")
    if d.host_ops:
        lines.append(f"          ops on the host, a round trip each: {', '.join(d.host_ops)}")
    return [*lines, *(f"          {path}" for path in d.slower_paths)]


def _speed(s: Speed) -> str:
    return f"{s.n_bytes / 1e6:.2f} MB and {s.operations / 1e9:.3f} G operations per token: at most {s.tok_s:.0f} tok/s"
