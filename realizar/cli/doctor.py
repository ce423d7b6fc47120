"""`realizar doctor`: what this machine and installation offer, and what would make models run faster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from realizar.cli.tables import write_line

if TYPE_CHECKING:
    from realizar.cli.diagnosis import Installation, Machine

EXAMPLE = "Example: realizar doctor"


def command(as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show the CPU, its limits, the GPU, the installation, and what would make models run faster."""
    from realizar.cli.diagnosis import advice, examine_installation, examine_machine

    machine, installation = examine_machine(), examine_installation()
    hints = advice(machine, installation)
    if as_json:
        print(json.dumps({"machine": asdict(machine), "installation": asdict(installation), "advice": hints}, indent=2))
        return
    for line in (*_machine_lines(machine), *_installation_lines(installation)):
        write_line(line, 10)
    for hint in hints or ["nothing: the limits above are those of the hardware"]:
        write_line(f"advice    {hint}", 10)


def _machine_lines(m: Machine) -> Iterator[str]:
    yield f"cpu       {m.cpu}"
    yield f"level     {m.level}; this CPU runs {', '.join(m.levels)}"
    yield f"threads   {m.threads}, the minimum of: {m.limits}"
    if m.memory_bytes is not None and m.available_bytes is not None:
        yield f"memory    {m.memory_bytes / 1e9:.1f} GB, of which {m.available_bytes / 1e9:.1f} are free"
    yield (
        f"limits    reads {m.read_gb_s:.1f} GB/s; multiplies int8 at {m.int8_tops:.3f} and f32 at {m.f32_tops:.3f} TOPS"
    )
    yield f"decode    at most {m.read_gb_s:.1f} tokens per second for a model of 1 GB, as each token reads all weights"


def _installation_lines(i: Installation) -> Iterator[str]:
    from realizar.cli.diagnosis import EXTRAS

    yield f"realizar  {i.realizar}, {i.python}, {i.system}"
    free = "" if i.cache_free_bytes is None else f", {i.cache_free_bytes / 1e9:.1f} GB free"
    yield f"cache     {i.cache}{free}"
    yield f"models    {', '.join(f'{name} ({n / 1e6:.0f} MB)' for name, n in i.models.items()) or 'none downloaded'}"
    if i.gpu is not None:
        yield f"gpu       {i.gpu}"
    for extra, is_installed in i.extras.items():
        state = "installed" if is_installed else f"pip install 'realizar[{extra}]'"
        yield f"extra     {extra}, for {EXTRAS[extra][1]}: {state}"
