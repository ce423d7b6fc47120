"""EngineStats: a snapshot of an engine's statistics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineStats:
    """Statistics at one moment; totals count from the creation of the engine.

    Attributes
    ----------
    n_running, n_waiting, n_paused : int
        Running requests; waiting ones; those of either kind that are paused, since nobody reads their events.
    n_preempted : int
        Preemptions, in total.
    n_blocks, n_blocks_used : int
        Blocks of all cache groups; those of them that a request holds.
    n_bytes_swapped : int
        Bytes of the host copies of preempted requests now.
    n_prompt, n_cached, n_generated : int
        Tokens of all prompts to be continued; those of them found in the cache; tokens generated.
    n_steps, n_computed : int
        Steps made, and tokens computed in them.
    step_s, last_step_s : float
        Seconds that the model took for all steps, and for the last one.
    """

    n_running: int
    n_waiting: int
    n_paused: int
    n_preempted: int
    n_blocks: int
    n_blocks_used: int
    n_bytes_swapped: int
    n_prompt: int
    n_cached: int
    n_generated: int
    n_steps: int
    n_computed: int
    step_s: float
    last_step_s: float

    @property
    def cache_use(self) -> float:
        """Share of the cache's blocks that is held."""
        return self.n_blocks_used / self.n_blocks if self.n_blocks else 0.0

    @property
    def hit_rate(self) -> float:
        """Share of the prompts' tokens that was found in the cache (prefix caching)."""
        return self.n_cached / self.n_prompt if self.n_prompt else 0.0


class StepCounts:
    """Counts steps."""

    def __init__(self) -> None:
        self.n_steps = self.n_computed = 0
        self.step_s = self.last_step_s = 0.0

    def add(self, n_tokens: int, seconds: float) -> None:
        """Count a step."""
        self.n_steps += 1
        self.n_computed += n_tokens
        self.step_s += seconds
        self.last_step_s = seconds
