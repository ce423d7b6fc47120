"""Cuts a plan into stages: runs of ops that one member computes, with the values that cross from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from realizar.graph import Node
from realizar.runtime.plan import CacheGroup, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from realizar.backends.staged.placement import Placement
    from realizar.graph import State
    from realizar.runtime.batch import Batch


@dataclass(frozen=True)
class Stage:
    """Consecutive ops of a plan, as a plan of their own.

    Attributes
    ----------
    member : int
        Which backend runs it.
    plan : Plan
        Its overrides are the values that cross into it.
    reads, writes : dict of str to int
        Values that cross into it and out of it: name -> id in the whole plan, of the root.
    outputs : tuple of str
        Outputs of the whole plan that it computes.
    is_last : bool
        Whether no later stage of its member follows, which would compute in the memory of its results.
    """

    member: int
    plan: Plan
    reads: Mapping[str, int]
    writes: Mapping[str, int]
    outputs: tuple[str, ...]
    is_last: bool

    def batch(self, batch: Batch) -> Batch:
        """Return a batch without the inputs that this stage does not read, which its program would refuse."""
        if batch.embeddings is not None and "embeddings" not in self.plan.inputs:
            batch = replace(batch, embeddings=None, embedding_rows=None)
        if len(batch.positions) > 1 and self.plan.n_axes == 1:
            batch = replace(batch, positions=batch.positions[:1])
        return batch


def cut(plan: Plan, placement: Placement) -> list[Stage]:
    """Return the stages of a plan, in order; only whole roots cross, with all rows that they have."""
    return list(_Cutter(plan, placement).stages())


def groups_of(groups: Sequence[CacheGroup], placement: Placement, member: int) -> tuple[CacheGroup, ...]:
    """Return all groups, with the caches of one member: so each member reads the same block tables."""
    return tuple(
        replace(group, layers=tuple(at for at in group.layers if placement.of_key(at.key) == member))
        for group in groups
    )  # fmt: skip


def states_of(states: Sequence[State], placement: Placement, member: int) -> tuple[State, ...]:
    """Return the states of one member."""
    return tuple(at for at in states if placement.of_key(at.key) == member)


class _Cutter:
    def __init__(self, plan: Plan, placement: Placement) -> None:
        self._plan, self._placement = plan, placement
        self._runs = _runs(plan, placement.of_ops(plan))
        self._read = [{plan.views[i].root for op in ops for i in op.inputs} for _, ops in self._runs]
        self._written = [{plan.views[i].root for op in ops for i in op.outputs} for _, ops in self._runs]
        made = [{i for op in ops if not op.spec.in_place for i in op.outputs} for _, ops in self._runs]
        self._foreign = [read - own for read, own in zip(self._read, made, strict=True)]

    def stages(self) -> Iterator[Stage]:
        plan = self._plan
        for index, (member, ops) in enumerate(self._runs):
            later = set().union(*self._foreign[index + 1 :])
            writes = {_name(root): root for root in sorted(self._written[index] & later)}
            reads = {_name(root): root for root in sorted(self._foreign[index])}
            outputs = {name: i for name, i in plan.outputs.items() if self._last_writer(plan.views[i].root) == index}
            own = replace(
                plan,
                ops=(*(Node("override", (), (root,)) for root in reads.values()), *ops),
                names={**plan.names, **{root: name for name, root in (reads | writes).items()}},
                outputs=writes | outputs,
                cache_groups=groups_of(plan.cache_groups, self._placement, member),
                states=states_of(plan.states, self._placement, member),
                overrides=reads,
            )
            is_last = all(other != member for other, _ in self._runs[index + 1 :])
            yield Stage(member, own, reads, writes, tuple(outputs), is_last)

    def _last_writer(self, root: int) -> int:
        return max((index for index, written in enumerate(self._written) if root in written), default=-1)


def _name(root: int) -> str:
    """The name under which a value crosses: no output of a plan has such a one."""
    return f"value {root}"


def _runs(plan: Plan, members: Sequence[int]) -> list[tuple[int, list[Node]]]:
    """Return the runs of consecutive ops of one member; overrides belong to none."""
    runs: list[tuple[int, list[Node]]] = []
    for op, member in zip(plan.ops, members, strict=True):
        if op.spec.is_override:
            continue
        if not runs or runs[-1][0] != member:
            runs.append((member, []))
        runs[-1][1].append(op)
    return runs
