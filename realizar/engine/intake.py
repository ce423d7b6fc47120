"""Intake: makes requests of what is asked, and says what cannot be asked."""

from __future__ import annotations

import secrets
from operator import index
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar._kernels.sampling import Candidates
from realizar.engine.beams import Beams
from realizar.engine.generation import Generation
from realizar.engine.guidance import Guided
from realizar.engine.output import end_ids
from realizar.engine.scoring import EmbeddingRequest, LogitsRequest, PromptLogprobs, ScoreRequest
from realizar.engine.sequence import Sequence
from realizar.errors import GrammarError, ParameterError, shown
from realizar.forks import cached_property
from realizar.params import ResolvedParams, SamplingParams, resolved
from realizar.params.checks import check, is_int
from realizar.params.per_prompt import NO_LISTS
from realizar.sampling import SamplerChain, TokenTexts
from realizar.sampling.defaults import of_file, resolve
from realizar.sampling.grammar import ConstraintFactory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from realizar.calls import ToolUse
    from realizar.engine.runner import Runner
    from realizar.tokenizer import Tokenizer


class Intake:
    """Makes the requests of one engine; may be used by many threads at once.

    Parameters
    ----------
    runner : Runner
        Its model and cache are what the requests are checked against and made for.

    Attributes
    ----------
    sampling_defaults : mapping
        What the model's file has for params that a request leaves unset.
    """

    def __init__(self, runner: Runner) -> None:
        self.model = runner.model
        self.cache = runner.cache
        self.sampling_defaults: Mapping[str, Any] = MappingProxyType(of_file(self.model.file.metadata))

    def generation(self, prompt: Iterable[int], params: SamplingParams, tools: ToolUse | None = None) -> Generation:
        """Return a request for a prompt to be continued, or to be answered where the model has an encoder.

        With tools, whose grammar is among the params, the calls are read out of the text.

        Raises
        ------
        ParameterError
            If the prompt is empty, a token id does not exist, the params are something else (or ask for beams), or the
            model writes no text.
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
            request.prompt_logprobs = PromptLogprobs(tokens, 1, params.prompt_logprobs, self._candidates)
        return request

    def beams(self, prompt: Iterable[int], params: SamplingParams) -> Beams:
        """Return a request for the best continuations of a prompt. Raises as `generation`."""
        return Beams(*self._parts(prompt, params, searched=True))

    def score(self, prompt: Iterable[int], continuation: Iterable[int], n_top: int) -> ScoreRequest:
        """Return a request for the scores of a text behind a prompt, or behind what an encoder reads.

        Raises as `generation`, and ParameterError if n_top, the best tokens to report in each place, is not in
        [1, 1000].
        """
        self._need_decoder("score")
        check(is_int(n_top) and 1 <= n_top <= 1000, "logprobs", n_top, "an integer in [1, 1000]")
        given, tokens = self._checked(prompt), self._checked(continuation, "continuation")
        source: list[int] = []
        if self.model.has_encoder:
            given, source = [self.model.decoder_start], self._source(given)
        seq = Sequence(self.cache, [*given, *tokens[:-1]], source)
        wanted = PromptLogprobs(np.array(tokens, np.int32), len(given), n_top, self._candidates)
        return ScoreRequest(seq, wanted, len(given))

    def logits(self, tokens: Iterable[int], source: Iterable[int] | None = None) -> LogitsRequest:
        """Return a request for the logits of a text, or of an answer to a source. Raises as `generation`."""
        self._need_decoder("logits")
        if self.model.has_encoder != (source is not None):
            raise ParameterError(
                "this model has an encoder and a decoder: give decoder_tokens, too, beginning with "
                f"{self.model.decoder_start}"
                if source is None
                else "this model has no encoder: give no decoder_tokens"
            )
        ids = () if source is None else self._source(self._checked(source))
        return LogitsRequest(Sequence(self.cache, self._checked(tokens), ids), self.model.hp.n_vocab)

    def embedding(self, tokens: Iterable[int]) -> EmbeddingRequest:
        """Return a request for the hidden states of a text. Raises as `generation`."""
        ids = self._checked(tokens)
        if self.model.has_encoder:
            return EmbeddingRequest(Sequence(self.cache, (), self._source(ids)), self.model.hp.n_embd, "hidden")
        return EmbeddingRequest(Sequence(self.cache, ids), self.model.hp.n_embd, self.model.hidden)

    def _parts(
        self, prompt: Iterable[int], params: SamplingParams, searched: bool
    ) -> tuple[Sequence, ResolvedParams, SamplerChain, Tokenizer]:
        """Return what a request for texts behind a prompt is made of."""
        self._need_decoder("generate")
        ids = self._checked(prompt)
        if not isinstance(params, SamplingParams):
            raise ParameterError(f"params: SamplingParams are needed, found {shown(params)}")
        if (params.n_beams > 1) != searched:
            raise ParameterError(f"n_beams={params.n_beams}: generate takes 1, and search takes more")
        # Beams draw nothing: what a file says of drawing has no part in them.
        params = resolved(params) if searched else resolve(params, self.sampling_defaults)
        ids = self._truncated(ids, params)
        self._check_shift(params, searched)
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
            params,
            n_vocab,
            seed,
            self._texts,
            seq.n_tokens,
            ends,
            self._constraints,
            known,
            tokenizer.suppressed_ids,
        )
        return seq, params, chain, tokenizer

    def _truncated(self, ids: list[int], params: SamplingParams) -> list[int]:
        """Return the end of a prompt, as long as the params say; a leading BOS token stays."""
        n, n_ctx = params.truncate_prompt, self.cache.n_ctx
        if n is None:
            return ids
        if isinstance(n, str):
            n = max(n_ctx + 1 - (params.max_tokens or n_ctx), (n_ctx + 1) // 2)
        if len(ids) <= n:
            return ids
        bos = ids[:1] if ids[0] == self.model.tokenizer.bos_id and n > 1 else []
        return bos + ids[len(ids) - n + len(bos) :]

    def _check_shift(self, params: SamplingParams, searched: bool) -> None:
        """Raise ParameterError if the context is to be shifted and cannot be."""
        if not params.context_shift:
            return
        n_ctx = self.cache.n_ctx
        why = {
            "beams share their beginnings; ask for n_beams=1": searched,
            "with guidance there are two contexts; leave cfg_scale at 1": params.cfg_scale != 1.0,
            "this model answers what its encoder reads": self.model.has_encoder,
            f"n_keep={params.n_keep} is more than half of the context of {n_ctx}": params.n_keep > n_ctx // 2,
            f"a context of {n_ctx} tokens is too short": n_ctx < 4,
        }
        for reason, holds in why.items():
            if holds:
                raise ParameterError(f"context_shift: {reason}")

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

    @cached_property
    def _texts(self) -> TokenTexts:
        return TokenTexts(self.model.tokenizer, self.model.hp.n_vocab)

    @cached_property
    def _candidates(self) -> Candidates:
        """Room to read likelihoods in; a step is one thread's."""
        return Candidates(self.model.hp.n_vocab)

    @cached_property
    def _constraints(self) -> ConstraintFactory:
        return ConstraintFactory(self.model.tokenizer)

    def _need_decoder(self, what: str) -> None:
        if self.model.main != "decode":
            name = self.model.architecture.name
            raise ParameterError(f"{what}: {name} is an encoder, which writes no text; use embed")

    def _source(self, ids: list[int]) -> list[int]:
        """Return token ids that an encoder reads in one step."""
        if self.cache.n_batch < len(ids) <= self.cache.n_ctx:
            raise ParameterError(
                f"a text of {len(ids)} tokens, which an encoder reads in one step, but n_batch={self.cache.n_batch}; "
                f"ask for n_batch={len(ids)} or more"
            )
        return ids

    def _checked(self, tokens: Iterable[int], what: str = "prompt") -> list[int]:
        """Return token ids as integers that the model has."""
        n_vocab = self.model.hp.n_vocab
        try:
            if isinstance(tokens, NO_LISTS):
                raise TypeError
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
