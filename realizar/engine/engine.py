"""Engine: steps a model for all requests at once; every face (facade, command line, later a server) drives one."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from dataclasses import replace
from operator import index
from typing import TYPE_CHECKING

from realizar.engine.kv_cache import KVCache
from realizar.engine.request import Generation, Scoring
from realizar.engine.runner import Runner
from realizar.engine.scheduler import Scheduler
from realizar.engine.sequence import Sequence
from realizar.errors import ParameterError, RealizarError, shown
from realizar.params import SamplingParams
from realizar.sampling import SamplerChain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from realizar.model import Model
    from realizar.params import EngineParams

DEFAULT_N_CTX = 4096
"""Context where the user names none and the model's own is longer."""


class Engine:
    """A model, its cache, and the requests that share them.

    Any thread may hand in requests and wait for them. A step works on everybody's requests, so of the threads that
    wait, one steps for all and the others sleep until it has.

    Parameters
    ----------
    model : Model
        A loaded model; the engine runs its program "decode", and closes it with itself.
    params : EngineParams

    Attributes
    ----------
    cache : KVCache
    runner : Runner
    scheduler : Scheduler
    n_ctx : int
        Tokens of one sequence at most.
    """

    def __init__(self, model: Model, params: EngineParams) -> None:
        self.model = model
        self.n_ctx = params.n_ctx or min(model.hp.n_ctx_train, DEFAULT_N_CTX)
        self.cache = KVCache(model.plan().cache_groups, model.plan().states, replace(params, n_ctx=self.n_ctx))
        self.runner = Runner(model, self.cache, params)
        self.scheduler = Scheduler(self.cache)
        self._turn = threading.Condition()
        self._stepper: int | None = None
        self._closed = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_hook(weakref.WeakMethod(self._after_fork)))

    def step(self) -> None:
        """Compute some tokens of every request that has its turn, and go on with those that got an output.

        Nothing is noted before it is done: a step that is interrupted can be made again.
        """
        work = self.scheduler.schedule()
        if not work:
            return
        logits = self.runner.run(self.runner.batch(work.values()))["logits"]
        row = 0
        for request, chunk in work.items():
            try:
                request.take(logits[row : row + chunk.n_outputs])
            except RealizarError as error:
                request.error = error
            row += chunk.n_outputs
            chunk.seq.commit(chunk.n_tokens)
        self.scheduler.retire()

    def generate(self, prompt: Iterable[int], params: SamplingParams) -> Generation:
        """Hand in a prompt to be continued; `wait` for it.

        Raises
        ------
        ParameterError
            If the prompt is empty, a token id does not exist, or the params are something else.
        ContextFullError
            If the prompt is longer than the context.
        """
        ids = self._checked(prompt)
        if not isinstance(params, SamplingParams):
            raise ParameterError(f"params: SamplingParams are needed, found {shown(params)}")
        seed = secrets.randbits(63) if params.seed is None else params.seed
        sampler = SamplerChain.from_params(params, self.model.hp.n_vocab, seed)
        request = Generation(self.cache, ids, params, sampler, self.model.tokenizer)
        self.scheduler.waiting.append(request)
        return request

    def score(self, tokens: Iterable[int]) -> Scoring:
        """Hand in a text whose logits are wanted; `wait` for it. Raises as `generate`."""
        request = Scoring(Sequence(self.cache, self._checked(tokens)), self.model.hp.n_vocab)
        self.scheduler.waiting.append(request)
        return request

    def wait(self, ready: Callable[[], bool]) -> None:
        """Step until `ready()`, which must come true when the requests it looks at are over.

        Raises
        ------
        RealizarError
            If the engine is closed.
        """
        while True:
            with self._turn:
                self._turn.wait_for(lambda: ready() or self._may_step())
                if ready():
                    return
                if self._closed:
                    raise RealizarError("the model was closed before the request was done")
                self._stepper = threading.get_ident()
            try:
                self.step()
            finally:
                with self._turn:
                    self._stepper = None
                    self._turn.notify_all()

    def close(self) -> None:
        """Let a step that is under way end, make no more, and close the model."""
        with self._turn:
            self._closed = True  # first: who steps would take the next turn before us, again and again
            self._turn.wait_for(self._may_step)
        self.model.close()

    def _after_fork(self) -> None:
        """Go on in a child process: the thread that stepped while it was copied is not here, but what it held is.

        Its step is made again, with programs bound anew, since it may have held the locks of the old ones.
        """
        self._turn = threading.Condition()
        if self._stepper not in (None, threading.get_ident()):
            self._stepper = None
            self.runner.forget_programs()

    def _may_step(self) -> bool:
        """Whether nobody else steps; Ctrl-C may have kept this thread from saying that it does no longer."""
        return self._stepper in (None, threading.get_ident())

    def _checked(self, tokens: Iterable[int]) -> list[int]:
        """Return token ids as integers that the model has."""
        n_vocab = self.model.hp.n_vocab
        try:
            if isinstance(tokens, bytes):
                raise TypeError  # its items would pass for ids
            ids = [index(token) for token in tokens]
        except TypeError:
            raise ParameterError(f"a prompt is text or a list of token ids, not {shown(tokens)}") from None
        if not ids:
            raise ParameterError("the prompt has no tokens; give at least one (the BOS token, for instance)")
        for token in ids:
            if not 0 <= token < n_vocab:
                raise ParameterError(f"token id {token} does not exist: the model has ids 0 to {n_vocab - 1}")
        return ids


def _hook(method: weakref.WeakMethod[Callable[[], None]]) -> Callable[[], None]:
    """Return a function that calls a method as long as its object lives, and does not keep it alive."""

    def call() -> None:
        alive = method()
        if alive is not None:
            alive()

    return call
