"""Clocks that a test moves itself, so that no result depends on the speed of the machine."""

import threading
import time


class Clock:
    """Stands in for the module `time`: it goes on by `tick` seconds whenever it is looked at, and by what is added."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now = 0.0
        self.tick = tick

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now

    monotonic = perf_counter


class ProcessorClocks:
    """Stands in for `worker._processor_clock`: the processor time of each thread is what was spent in its name."""

    def __init__(self) -> None:
        self.spent: dict[int, float] = {}

    def __call__(self):
        thread = threading.get_ident()
        return lambda: self.spent.get(thread, 0.0)

    def spend(self, seconds: float) -> None:
        """Let the calling thread have computed for so long."""
        thread = threading.get_ident()
        self.spent[thread] = self.spent.get(thread, 0.0) + seconds


def wait_until(condition) -> None:
    """Wait for something that happens in another thread or process; the limit on every test ends what never does."""
    while not condition():
        time.sleep(0.001)
