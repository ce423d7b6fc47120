"""Engine: a model, its cache, and the step that computes some tokens of all requests at once."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from realizar import forks
from realizar.engine.cache.kv_cache import KVCache
from realizar.engine.intake import Intake
from realizar.engine.loop import EngineLoop, Waiting, leads_to
from realizar.engine.runner import Runner
from realizar.engine.scheduler import Scheduler
from realizar.engine.speculation import DraftBlockRunner, make_speculator
from realizar.engine.stats import EngineStats, StepCounts
from realizar.engine.step import advance
from realizar.engine.submissions import Submissions
from realizar.errors import ParameterError, RealizarError, memory_for
from realizar.planning import offload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from realizar.arch.hparams import HParams
    from realizar.engine.cache.chunk import Chunk
    from realizar.engine.request import Request
    from realizar.engine.speculation.speculator import Speculator
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend

R = TypeVar("R", bound="Request")

STACK_FRAMES = 100
"""Depth of calls that a step needs at most: a thread with less stack left must not begin a step of others' requests."""


def check_context(hp: HParams, n_ctx: int) -> None:
    """Raise ParameterError if the model's rotary frequencies depend on the length of texts of up to n_ctx tokens."""
    factor = hp.rope_scaling.dynamic_factor
    if factor is not None and n_ctx > hp.n_ctx_train:
        raise ParameterError(
            f"n_ctx={n_ctx}: the model has dynamic rope scaling (factor {factor:g}): beyond {hp.n_ctx_train} tokens "
            "rotary frequencies depend on the length of the text, so keys in the cache would be wrong; ask for at most "
            f"n_ctx={hp.n_ctx_train}"
        )


class Engine(Submissions):
    """A model, its cache, and the requests that share them.

    Any thread may submit requests and wait for them, or read their events (`EngineLoop.submit`). A step computes some
    tokens of all running requests; the engine's loop makes the steps while anyone waits or reads.

    Parameters
    ----------
    model : Model
        A loaded model; the engine runs its programs "decode" and "encode", and closes it with itself.
    params : EngineParams
    draft : Model, optional
        A smaller model that proposes draft tokens (speculative decoding); it is closed with the engine, too.
    backend : Backend, optional
        Computes the steps; the one that the params ask for by default. It is closed with the engine, too.

    Attributes
    ----------
    cache : KVCache
    runner : Runner
    scheduler : Scheduler
    loop : EngineLoop
    stepper : int | None
        The thread in which a step is under way.
    speculator : Speculator | None
        Proposes draft tokens, if the params ask for speculative decoding.
    n_ctx : int
        Tokens of one sequence at most.
    offload : Offload | None
        Which devices compute the model; None if a backend was given.
    adapters : LoadedAdapters
        Those that requests may use.
    """

    def __init__(
        self, model: Model, params: EngineParams, draft: Model | None = None, backend: Backend | None = None
    ) -> None:
        self.model = model
        self.n_ctx = params.n_ctx or min(model.hp.n_ctx_train, offload.DEFAULT_N_CTX)
        check_context(model.hp, self.n_ctx)
        self.offload: offload.Offload | None = None
        self._counts = StepCounts()
        self._turn = threading.Condition()  # replaced in a child of fork()
        self.stepper: int | None = None
        self._books = forks.Lock()
        self.is_closed = self._is_shut = False
        with ExitStack() as if_it_fails:
            has_drafts = draft is not None or params.speculate is not None or "draft" in model.graphs
            self.cache, self.runner, self.speculator = self._compiled(params, backend, has_drafts, draft)
            if backend is None:
                if_it_fails.callback(self.runner.backend.close)
            self.scheduler = Scheduler(self.cache, params.max_waiting)
            self._intake = Intake(self.runner)
            self.adapters = self._intake.adapters
            self.loop = EngineLoop(self)
            if_it_fails.pop_all()
        forks.in_child(self._after_fork)

    def _compiled(
        self, params: EngineParams, given: Backend | None, has_drafts: bool, draft: Model | None
    ) -> tuple[KVCache, Runner, Speculator | None]:
        """Return what needs the memory of a backend, by default that of the devices which the params ask for."""
        model, plan, room = self.model, self.model.plan(), replace(params, n_ctx=self.n_ctx)
        make_runner = DraftBlockRunner if "draft" in model.graphs else Runner

        def make(backend: Backend) -> tuple[KVCache, Runner, Speculator | None]:
            cache = KVCache(plan.cache_groups, plan.states, room, backend, has_drafts)
            runner = make_runner(model, cache, params, backend)
            return cache, runner, make_speculator(params, runner, draft)

        if given is not None:
            return make(given)
        self.offload, _, made = offload.compiled(offload.choose(model, params), params, make)
        return made

    @property
    def sampling_defaults(self) -> Mapping[str, Any]:
        """The model file's values for params that a request leaves unset."""
        return self._intake.sampling_defaults

    def stats(self) -> EngineStats:
        """Return the statistics of the engine."""
        counts, pools = self._counts, self.cache.pools
        return EngineStats(
            **self.scheduler.counts(), n_blocks=sum(pool.n_blocks for pool in pools),
            n_blocks_used=sum(pool.n_blocks - pool.n_free for pool in pools), n_steps=counts.n_steps,
            n_computed=counts.n_computed, step_s=counts.step_s, last_step_s=counts.last_step_s,
        )  # fmt: skip

    def step(self) -> None:
        """Compute some tokens of every running request, and append to those that got an output.

        Nothing is recorded before it is done, so a step that fails can be repeated. Waits for a step of another thread.

        Raises
        ------
        RealizarError
            If the engine is closed.
        ReentryError
            If a step is under way in this thread.
        """
        with self._stepping():
            if self._take_turn(lambda: False):
                self._step_in_turn(lambda: None)

    def _step(self, deliver: Callable[[], None]) -> bool:
        """Make a step and deliver its events; return whether there was anything to compute."""
        with self._books:
            if self.speculator is not None:
                self.speculator.prepare(self.scheduler.running)
            work = self.scheduler.schedule()
            jobs: dict[tuple[str, str], list[Request]] = {}
            for request, chunks in work.items():
                jobs.setdefault(self._job(request, chunks[0]), []).append(request)
            for (program, output), requests in jobs.items():
                self._run(program, output, {request: work[request] for request in requests})
            self.scheduler.retire()
            deliver()
            return bool(work)

    def _job(self, request: Request, chunk: Chunk) -> tuple[str, str]:
        """Return the program that computes a chunk, and the output that the request reads."""
        if request.program is None and chunk.is_encoder_input:
            return "encode", "hidden"
        return request.program or self.model.main, request.output

    def tidy(self, deliver: Callable[[], None]) -> None:
        """End requests whose deadline has passed, and free what finished requests hold; compute nothing."""
        if self._take_turn(lambda: False):
            try:
                with self._books:
                    self.scheduler.expire()
                    self.scheduler.retire()
                    deliver()
            finally:
                self._leave_turn()

    def _run(self, program: str, output: str, work: dict[Request, list[Chunk]]) -> None:
        """Run one program for all requests that read the same output.

        A step that fails may have advanced recurrent states, so sequences with states are then computed again.
        """
        try:
            values = self._compute(program, output, [chunk for chunks in work.values() for chunk in chunks])
            advance(output, values, work)
        except BaseException:
            if self.cache.states:
                for request in work:
                    request.recompute()
            raise

    def _compute(self, program: str, output: str, chunks: list[Chunk]) -> Any:
        """Run a program and measure it; fork() may copy the process meanwhile, for nothing that is noted changes."""
        batch = self.runner.batch(chunks)
        self.cache.flush()
        begin = time.perf_counter()
        self._books.release()
        try:
            values = self.runner.output(batch, chunks, output, program)
        finally:
            self._books.acquire()
        seconds, n = time.perf_counter() - begin, batch.n_tokens
        if self.speculator is not None and output == "logits" and len(batch.outputs) == n:
            self.speculator.cost.learn(n, seconds)
        self._counts.add(n, seconds)
        self.scheduler.cost.learn_step(n, seconds)
        return values

    def wait(self, ready: Callable[[], bool]) -> None:
        """Have steps made until `ready()`, which must come true when the requests it looks at are over.

        Raises
        ------
        RealizarError
            If the engine is closed.
        ReentryError
            If a step is under way in this thread: a sampler, or a finalizer that is called in a step, cannot wait for
            another one.
        """
        _need_stack(STACK_FRAMES)
        with memory_for("waiting for a request", self._memory):
            self.loop.wait(ready)

    def waiting(self) -> Waiting:
        """Return a context in which this thread may wait for the engine. Raises ReentryError as `wait`."""
        return Waiting(self.loop)

    def step_until(self, ready: Callable[[], bool], deliver: Callable[[], None]) -> None:
        """Step in this thread until `ready()`, in turn with other threads; deliver the events after each step."""
        with self._stepping():
            while self._take_turn(ready):
                self._step_in_turn(deliver)

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        """Let this thread step, which it cannot do twice at once; an engine closed meanwhile is shut."""
        _need_stack(STACK_FRAMES)
        try:
            with self.waiting():
                yield
        finally:
            if self.is_closed and not leads_to(self.loop, threading.get_ident()):
                self.shut()

    def step_once(self, deliver: Callable[[], None]) -> bool:
        """Make a step in the loop's thread; return whether there was anything to compute."""
        return self._take_turn(lambda: False) and self._step_in_turn(deliver)

    def _step_in_turn(self, deliver: Callable[[], None]) -> bool:
        """Step, and leave the turn to others."""
        try:
            with memory_for("generating", self._memory):
                return self._step(deliver)
        finally:
            self._leave_turn()

    def _leave_turn(self) -> None:
        with self._turn:
            self.stepper = None
            self._turn.notify_all()

    def _memory(self) -> str:
        """The memory that a step needs, for an error message."""
        step = self.runner.program(None).n_bytes
        return (
            f"the cache has {self.cache.n_bytes >> 20} MiB of addresses, and a step of {self.cache.n_batch} tokens "
            f"needs {step >> 20} MiB; ask for less n_ctx, n_seqs or n_batch"
        )

    def _take_turn(self, ready: Callable[[], bool]) -> bool:
        """Wait until `ready()`, and return False; or until it is this thread's turn to step, and return True."""
        with self._turn:
            while not (is_ready := ready()) and self.stepper is not None:
                self._turn.wait()
            if is_ready:
                return False
            if self.is_closed:
                raise RealizarError("the model was closed before the request was done")
            if self._books.is_broken:
                raise RealizarError(
                    f"this process was forked while another thread ran a sampler for more than "
                    f"{forks.FORK_TIMEOUT_S:g} s; load the model again"
                )
            self.stepper = threading.get_ident()
            return True

    def complete(self, requests: Iterable[Request]) -> None:
        """Compute requests to their end; raises the first error among them."""
        each = list(requests)
        try:
            self.wait(lambda: all(request.is_over for request in each))
        finally:
            self.cancel(each)
        for request in each:
            if request.error is not None:
                raise request.error

    def cancel(self, requests: Iterable[Request]) -> None:
        """Cancel requests that are not over; the loop frees their memory."""
        given_up = [request for request in requests if not request.is_over]
        for request in given_up:
            request.cancel()
        if given_up:
            self.loop.wake()

    def close(self) -> None:
        """Let a step that is under way end, make no more, and close the model.

        From within a step the model is closed when that ends, and its requests get a RealizarError.
        """
        self.is_closed = True
        if not leads_to(self.loop, threading.get_ident()):
            self.loop.close()

    def shut(self) -> None:
        """Close the models once no step is under way. Called when the engine is closed."""
        with self._turn:
            self._turn.wait_for(lambda: self.stepper is None)
            if self._is_shut:
                return
            self._is_shut = True
            self.runner.backend.close()
            if self.speculator is not None:
                self.speculator.close()
            self.model.close()

    def _after_fork(self) -> None:
        """Go on in a child process: the thread that stepped while it was copied is not here, but what it held is.

        Its step is made again, with programs compiled again, since it may have held the locks of the old ones.
        """
        me = threading.get_ident()
        self._turn = threading.Condition()
        if self.stepper not in (None, me):
            self.stepper = None
            self.runner.forget_programs()
            if self.speculator is not None:
                self.speculator.forget_programs()


def _need_stack(n_frames: int) -> None:
    """Raise RecursionError, before anything is begun, if so many calls do not fit into this thread's stack."""
    if n_frames:
        _need_stack(n_frames - 1)
