"""Engine: steps a model for all requests at once; every face (facade, command line, later a server) drives one."""

from __future__ import annotations

import os
import secrets
import threading
import time
import weakref
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from operator import index
from typing import TYPE_CHECKING

import numpy as np

from realizar._kernels.sampling import Candidates
from realizar.engine.answer import end_ids
from realizar.engine.batch_samplers import run_batch_functions
from realizar.engine.beams import Beams
from realizar.engine.generation import Generation
from realizar.engine.guidance import Guided, mix
from realizar.engine.kv_cache import KVCache
from realizar.engine.likelihood import Likelihood, Scored
from realizar.engine.runner import Runner
from realizar.engine.scheduler import Scheduler
from realizar.engine.scoring import Encoding, Scoring
from realizar.engine.sequence import Sequence
from realizar.engine.speculation.choice import speculator
from realizar.engine.writing import Writing
from realizar.errors import GrammarError, ParameterError, RealizarError, shown
from realizar.params import SamplingParams
from realizar.params.checks import check, is_int
from realizar.sampling import SamplerChain, TokenTexts
from realizar.sampling.grammar import ConstraintFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from realizar.calls import ToolUse
    from realizar.engine.request import Request
    from realizar.engine.sequence import Chunk
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.tokenizer import Tokenizer

DEFAULT_N_CTX = 4096
"""Context where the user names none and the model's own is longer."""


class Engine:
    """A model, its cache, and the requests that share them.

    Any thread may hand in requests and wait for them. A step works on everybody's requests, so of the threads that
    wait, one steps for all and the others sleep until it has.

    Parameters
    ----------
    model : Model
        A loaded model; the engine runs its programs "decode" and "encode", and closes it with itself.
    params : EngineParams
    draft : Model, optional
        A smaller model that guesses what this one will say; it is closed with the engine, too.

    Attributes
    ----------
    cache : KVCache
    runner : Runner
    scheduler : Scheduler
    speculator : Speculator | None
        Chooses what to compute on suspicion, if the params ask for that.
    n_ctx : int
        Tokens of one sequence at most.
    """

    def __init__(self, model: Model, params: EngineParams, draft: Model | None = None) -> None:
        self.model = model
        self.n_ctx = params.n_ctx or min(model.hp.n_ctx_train, DEFAULT_N_CTX)
        self.cache = KVCache(model.plan().cache_groups, model.plan().states, replace(params, n_ctx=self.n_ctx))
        self.runner = Runner(model, self.cache, params)
        self.scheduler = Scheduler(self.cache)
        self.speculator = speculator(params, self.runner, draft)
        self._turn = threading.Condition()
        self._stepper: int | None = None
        self._closed = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_hook(weakref.WeakMethod(self._after_fork)))

    def step(self) -> None:
        """Compute some tokens of every request that has its turn, and go on with those that got an output.

        Nothing is noted before it is done: a step that is interrupted can be made again.
        """
        if self.speculator is not None:
            self.speculator.prepare(self.scheduler.running)
        work = self.scheduler.schedule()
        jobs: dict[tuple[str, str], list[Request]] = {}
        for request, chunks in work.items():
            job = ("encode", "hidden") if chunks[0].is_source else (self.model.main, request.output)
            jobs.setdefault(job, []).append(request)
        for (program, output), requests in jobs.items():
            self._run(program, output, {request: work[request] for request in requests})
        self.scheduler.retire()

    def _run(self, program: str, output: str, work: dict[Request, list[Chunk]]) -> None:
        """Run one program for all requests that want the same output of it."""
        own = output in self.model.graphs[program].outputs
        every = [chunk for chunks in work.values() for chunk in chunks]
        batch = self.runner.batch(every)
        begin = time.perf_counter()
        found = self.runner.run(batch, None if own else [output], program)[output]
        if self.speculator is not None and output == "logits" and len(batch.outputs) == batch.n_tokens:
            self.speculator.cost.learn(batch.n_tokens, time.perf_counter() - begin)
        mix(found, every)
        counts = [sum(chunk.n_outputs for chunk in chunks) for chunks in work.values()]
        ends = list(accumulate(counts))
        given = {r: slice(end - n, end) for r, n, end in zip(work, counts, ends, strict=True) if n}
        run_batch_functions(found, [(r, work[r], at) for r, at in given.items()])
        if any(isinstance(request, (Writing, Scored)) for request in given):
            found.flags.writeable = False  # what is found out here must stay true
            self.runner.blocks.fill(found)
        for request, chunks in work.items():
            try:
                if request in given and request.error is None:
                    request.take(chunks, found[given[request]])
            except RealizarError as error:
                request.error = error
            for chunk in chunks:
                chunk.commit()
        for request in work:
            try:
                if not request.is_over:
                    request.settle()
            except RealizarError as error:
                request.error = error

    def generate(self, prompt: Iterable[int], params: SamplingParams, tools: ToolUse | None = None) -> Generation:
        """Hand in a prompt to be continued, or to be answered where the model has an encoder; `wait` for it.

        With tools, whose grammar is among the params, the calls are read out of the text.

        Raises
        ------
        ParameterError
            If the prompt is empty, a token id does not exist, the params are something else (or ask for beams), the
            texts could never be in the cache together, or the model writes no text.
        ContextFullError
            If the prompt is longer than the context.
        GrammarError
            If the params have a grammar, schema, regex or choice that cannot be enforced.
        """
        try:
            parts = self._parts(prompt, params, searched=False)
        except GrammarError as error:
            raise error if tools is None else tools.explain(error, params.lenient, self._constraints) from None
        request = Generation(*parts, tools)
        if params.prompt_logprobs is not None:
            tokens = request.seq.tokens[1:].copy()
            request.likelihood = Likelihood(tokens, 1, params.prompt_logprobs, self._candidates)
        if self.speculator is not None:
            self.speculator.attach(request)
        self.scheduler.add(request)
        return request

    def search(self, prompt: Iterable[int], params: SamplingParams) -> Beams:
        """Hand in a prompt whose best continuations are searched by n_beams beams. Raises as `generate`."""
        request = Beams(*self._parts(prompt, params, searched=True))
        self.scheduler.add(request)
        return request

    def _parts(
        self, prompt: Iterable[int], params: SamplingParams, searched: bool
    ) -> tuple[Sequence, SamplingParams, SamplerChain, Tokenizer]:
        """Return what a request for texts behind a prompt is made of."""
        self._need_decoder("generate")
        ids = self._checked(prompt)
        if not isinstance(params, SamplingParams):
            raise ParameterError(f"params: SamplingParams are needed, found {shown(params)}")
        if (params.n_beams > 1) != searched:
            raise ParameterError(f"n_beams={params.n_beams}: generate takes 1, and search takes more")
        seed = secrets.randbits(63) if params.seed is None else params.seed
        tokenizer, n_vocab = self.model.tokenizer, self.model.hp.n_vocab
        if searched:
            _need_no_prompt(params, "beams have it not; ask for n_beams=1")
        if self.model.has_encoder:
            _need_no_prompt(params, "this model answers what its encoder reads and does not go on from it")
        if params.prompt_logprobs is not None and params.cfg_scale != 1.0:
            raise ParameterError(
                "prompt_logprobs and cfg_scale: a prompt has no guidance; LLM.score says how likely it is"
            )
        ids, known = self._texts.withdrawn(ids) if params.token_healing else (ids, b"")
        seq = self._sequence(ids, params)
        ends = end_ids(params, tokenizer)
        chain = SamplerChain.from_params(
            params, n_vocab, seed, self._texts, seq.n_tokens, ends, self._constraints, self.runner.blocks, known
        )
        return seq, params, chain, tokenizer

    @cached_property
    def _texts(self) -> TokenTexts:
        return TokenTexts(self.model.tokenizer, self.model.hp.n_vocab)

    @cached_property
    def _candidates(self) -> Candidates:
        """Room to read likelihoods in; a step is one thread's."""
        return Candidates(self.model.hp.n_vocab, self.runner.blocks)

    @cached_property
    def _constraints(self) -> ConstraintFactory:
        return ConstraintFactory(self.model.tokenizer)

    def likelihood(self, prompt: Iterable[int], continuation: Iterable[int], n_top: int) -> Scored:
        """Hand in a prompt, or what an encoder reads, and what is to be scored behind it; `wait` for it.

        Raises as `generate`, and ParameterError if n_top, the best tokens to report in each place, is not in [1, 1000].
        """
        self._need_decoder("score")
        check(is_int(n_top) and 1 <= n_top <= 1000, "logprobs", n_top, "an integer in [1, 1000]")
        given, tokens = self._checked(prompt), self._checked(continuation, "continuation")
        source: list[int] = []
        if self.model.has_encoder:
            given, source = [self.model.decoder_start], self._source(given)
        seq = Sequence(self.cache, [*given, *tokens[:-1]], source)
        likelihood = Likelihood(np.array(tokens, np.int32), len(given), n_top, self._candidates)
        request = Scored(seq, likelihood, len(given))
        self.scheduler.add(request)
        return request

    def _sequence(self, ids: list[int], params: SamplingParams) -> Sequence:
        """Return a prompt as it is to be continued: behind a source, or beside a negative prompt."""
        negative = params.negative_prompt
        if self.model.has_encoder:
            if params.cfg_scale != 1.0:
                raise ParameterError(f"cfg_scale={params.cfg_scale}: this model has an encoder; leave it at 1")
            return Sequence(self.cache, [self.model.decoder_start], self._source(ids))
        if params.cfg_scale == 1.0:
            return Sequence(self.cache, ids)
        if isinstance(negative, str):
            negative = tuple(self.model.tokenizer.encode(negative))
        return Guided(
            self.cache, ids, self._checked(negative, "negative prompt") if negative is not None else ids[-1:],
            params.cfg_scale,
        )  # fmt: skip

    def score(self, tokens: Iterable[int], source: Iterable[int] | None = None) -> Scoring:
        """Hand in a text whose logits are wanted, or an answer to a source; `wait` for it. Raises as `generate`."""
        self._need_decoder("logits")
        if self.model.has_encoder != (source is not None):
            raise ParameterError(
                "this model has an encoder and a decoder: give decoder_tokens, too, beginning with "
                f"{self.model.decoder_start}"
                if source is None
                else "this model has no encoder: give no decoder_tokens"
            )
        ids = () if source is None else self._source(self._checked(source))
        request = Scoring(Sequence(self.cache, self._checked(tokens), ids), self.model.hp.n_vocab)
        self.scheduler.add(request)
        return request

    def encode(self, tokens: Iterable[int]) -> Encoding:
        """Hand in a text whose hidden states are wanted; `wait` for it. Raises as `generate`."""
        ids = self._checked(tokens)
        if self.model.has_encoder:
            request = Encoding(Sequence(self.cache, (), self._source(ids)), self.model.hp.n_embd, "hidden")
        else:
            request = Encoding(Sequence(self.cache, ids), self.model.hp.n_embd, self.model.hidden)
        self.scheduler.add(request)
        return request

    def _need_decoder(self, what: str) -> None:
        if self.model.main != "decode":
            name = self.model.architecture.name
            raise ParameterError(f"{what}: {name} is an encoder, which writes no text; use embed")

    def _source(self, ids: list[int]) -> list[int]:
        """Return token ids that an encoder reads in one step."""
        if self.cache.n_batch < len(ids) <= self.n_ctx:
            raise ParameterError(
                f"a text of {len(ids)} tokens, which an encoder reads in one step, but n_batch={self.cache.n_batch}; "
                f"ask for n_batch={len(ids)} or more"
            )
        return ids

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

    def complete(self, requests: Iterable[Request]) -> None:
        """Compute requests to their end; raises the first error among them."""
        each = list(requests)
        try:
            self.wait(lambda: all(request.is_over for request in each))
        finally:
            for request in each:
                request.cancel()
        for request in each:
            if request.error is not None:
                raise request.error

    def close(self) -> None:
        """Let a step that is under way end, make no more, and close the model."""
        with self._turn:
            self._closed = True  # first: who steps would take the next turn before us, again and again
            self._turn.wait_for(self._may_step)
        if self.speculator is not None:
            self.speculator.close()
        self.model.close()

    def _after_fork(self) -> None:
        """Go on in a child process: the thread that stepped while it was copied is not here, but what it held is.

        Its step is made again, with programs bound anew, since it may have held the locks of the old ones.
        """
        self._turn = threading.Condition()
        if self._stepper not in (None, threading.get_ident()):
            self._stepper = None
            self.runner.forget_programs()
            if self.speculator is not None:
                self.speculator.forget_programs()

    def _may_step(self) -> bool:
        """Whether nobody else steps; Ctrl-C may have kept this thread from saying that it does no longer."""
        return self._stepper in (None, threading.get_ident())

    def _checked(self, tokens: Iterable[int], what: str = "prompt") -> list[int]:
        """Return token ids as integers that the model has."""
        n_vocab = self.model.hp.n_vocab
        try:
            if isinstance(tokens, bytes):
                raise TypeError  # its items would pass for ids
            ids = [index(token) for token in tokens]
        except TypeError:
            raise ParameterError(f"a {what} is text or a list of token ids, not {shown(tokens)}") from None
        if not ids:
            raise ParameterError(f"the {what} has no tokens; give at least one (the BOS token, for instance)")
        for token in ids:
            if not 0 <= token < n_vocab:
                raise ParameterError(f"token id {token} does not exist: the model has ids 0 to {n_vocab - 1}")
        return ids


def _need_no_prompt(params: SamplingParams, why: str) -> None:
    """Raise ParameterError if the params ask for what goes by the prompt's tokens."""
    for name in ("echo", "prompt_logprobs", "token_healing"):
        value = getattr(params, name)
        if value is not None and value is not False:
            raise ParameterError(f"{name}: {why}")


def _hook(method: weakref.WeakMethod[Callable[[], None]]) -> Callable[[], None]:
    """Return a function that calls a method as long as its object lives, and does not keep it alive."""

    def call() -> None:
        alive = method()
        if alive is not None:
            alive()

    return call
