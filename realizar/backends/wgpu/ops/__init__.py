"""How ops become dispatches: a function for each op that has kernels (docs/gpu.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from realizar.backends.wgpu.ops import adapters, attention, elementwise, experts, heads, linear, moves, norms, recurrent

if TYPE_CHECKING:
    from realizar.backends.wgpu.lowering import Lowering, Work
    from realizar.graph import Node

Lower = Callable[["Node", "Lowering"], "Sequence[Work] | None"]
"""(op, lowering) -> its dispatches in order, or None if no kernel can compute it: then it runs on the host."""

LOWERED: dict[str, Lower] = {
    **elementwise.LOWERED, **norms.LOWERED, **linear.LOWERED, **moves.LOWERED, **attention.LOWERED,
    **experts.LOWERED, **heads.LOWERED, **recurrent.LOWERED, **adapters.LOWERED,
}  # fmt: skip
"""The functions, by op. An op without one runs on the host, by its numpy definition."""
