"""Fake clocks, so that test results do not depend on the machine's speed."""

import threading
import time


class Clock:
    """Replaces the module `time`; advances by `tick` seconds with every read, and by changes of `now`."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now = 0.0
        self.tick = tick

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now

    monotonic = perf_counter


class CpuClocks:
    """Replaces `worker._cpu_clock`; a thread's CPU time is the sum of its `spend` calls."""

    def __init__(self) -> None:
        self.spent: dict[int, float] = {}

    def __call__(self):
        thread = threading.get_ident()
        return lambda: self.spent.get(thread, 0.0)

    def spend(self, seconds: float) -> None:
        """Add CPU time to the calling thread."""
        thread = threading.get_ident()
        self.spent[thread] = self.spent.get(thread, 0.0) + seconds


def wait_until(condition) -> None:
    """Poll until a condition in another thread or process holds; only the time limit of the test ends the wait."""
    while not condition():
        time.sleep(0.001)
