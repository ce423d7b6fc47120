"""Soak test: many requests with random cancels, faults, deadlines and preemptions leave nothing behind.

    python -m tests.tools.soak 10000

tests/engine/test_soak.py runs a few hundred of them, `.ci/full soak` ten thousand.
"""

import gc
import math
import random
import sys
import threading
import weakref

from realizar.engine.engine import Engine
from realizar.engine.output import ErrorEvent, FinishEvent
from realizar.errors import RealizarError
from realizar.params import EngineParams, SamplingParams
from tests.clocks import wait_until
from tests.engine.fake import PLANS, FakeModel, check_cache

N_OPEN = 24
KINDS = (
    {"temperature": 0.0}, {"n": 3}, {"n": 2, "best_of": 3}, {"n_beams": 3, "n": 2}, {"cfg_scale": 1.5},
    {"repetition_penalty": 1.5}, {"prompt_logprobs": 1}, {"logprobs": 2},
)  # fmt: skip


class Fails:
    """A sampler that fails when it is called for the n-th time."""

    def __init__(self, n):
        self.n = n

    def apply(self, candidates, history):
        self.n -= 1
        if self.n < 0:
            raise KeyError("at random")

    def fork(self):
        return Fails(self.n)

    def reset_copy(self):
        return Fails(self.n)


class Soak:
    """An engine and its open requests."""

    def __init__(self, plan, seed):
        self.rng = random.Random(seed)
        self.model = FakeModel(plan)
        params = EngineParams(n_ctx=64, n_seqs=4, n_batch=16, kv_type="f32", n_threads=2, max_waiting=40)
        self.engine = Engine(self.model, params)
        self.large = Engine(FakeModel(plan), EngineParams(n_ctx=64, n_seqs=8, n_batch=64, kv_type="f32", n_threads=2))
        self.engine.scheduler.cost.prefers_copy = lambda n_tokens, n_bytes: self.rng.random() < 0.5
        self.open = []
        self.handles = []
        self.counts = dict.fromkeys(("done", "failed", "cancelled", "refused"), 0)

    def submit(self):
        """Submit a random request, which usually finishes without fault."""
        rng = self.rng
        more = dict(rng.choice(KINDS))
        if rng.random() < 0.1:
            more["samplers"] = (Fails(rng.randrange(12)), "temperature")
        params = SamplingParams(
            **{
                "temperature": 1.0,
                "seed": rng.randrange(99),
                "max_tokens": rng.randint(1, 30),
                "ignore_eos": True,
                **more,
            }
        )
        prompt = [1 + (rng.randrange(3) * i) % 29 for i in range(rng.randint(1, 34))]
        try:
            create = self.engine.beam_search if params.n_beams > 1 else self.engine.generate
            request = create(prompt, params, priority=rng.randrange(-1, 2))
        except RealizarError:
            self.counts["refused"] += 1
            return
        handle = self.engine.loop.submit(request, most=rng.choice((1, 8, 64)))
        self.handles.append(weakref.ref(handle))
        self.open.append((handle, prompt, params))

    def disturb(self):
        """At random, cancel an open request, expire its deadline, or make a step fail."""
        rng, (handle, *_) = self.rng, self.rng.choice(self.open)
        what = rng.random()
        if what < 0.1:
            handle.cancel()
        elif what < 0.2:
            handle.request.deadline = -math.inf
            self.engine.scheduler._timed.append(handle.request)
        elif what < 0.22:
            self.model.program.fail = MemoryError()
            self.read()
            self.model.program.fail = None

    def read(self):
        """Read an open request to its end, or drop it."""
        handle, prompt, params = self.open.pop(self.rng.randrange(len(self.open)))
        if self.rng.random() < 0.1:
            self.counts["cancelled"] += 1
            return
        *_, last = handle
        if isinstance(last, ErrorEvent):
            self.counts["failed"] += 1
            return
        assert isinstance(last, FinishEvent)
        self.counts["done"] += 1
        if last.completion.finish_reason == "length" and params.samplers is None and self.rng.random() < 0.1:
            create = self.large.beam_search if params.n_beams > 1 else self.large.generate
            alone = create(prompt, params)
            self.large.complete([alone])
            found = [output.token_ids for output in last.completion.outputs]
            if all(output.finish_reason == "length" for output in last.completion.outputs):
                assert found == [output.token_ids for output in alone.completion().outputs]

    def run(self, n):
        """Submit n requests, with random disturbances, and read them all."""
        for _ in range(n):
            self.submit()
            if self.open:
                self.disturb()
            while len(self.open) >= N_OPEN:
                self.read()
        while self.open:
            self.read()
        scheduler = self.engine.scheduler
        wait_until(lambda: not (scheduler.running or scheduler.waiting or scheduler._new))
        self.engine.close()
        self.large.close()
        check_cache(self.engine.cache, [])
        assert self.engine.scheduler.cost.n_bytes_kept == 0


def soak(n, seed=0):
    """Run n requests on engines of every plan; return how many ended in which way."""
    counts, before, kept = {}, set(threading.enumerate()), []
    for i, plan in enumerate(PLANS.values()):
        one = Soak(plan, seed + i)
        kept += [weakref.ref(one.engine), weakref.ref(one.large)]
        one.run(n // len(PLANS))
        kept += one.handles
        counts = {name: counts.get(name, 0) + count for name, count in one.counts.items()}
        counts["preempted"] = counts.get("preempted", 0) + one.engine.scheduler.n_preempted
        del one
    gc.collect()
    assert not set(threading.enumerate()) - before
    assert not [alive for alive in kept if alive() is not None]
    return counts


if __name__ == "__main__":
    print(soak(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
