"""Intake: validates input and builds requests."""

from __future__ import annotations

import math
import secrets
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from realizar._kernels.sampling import Candidates
from realizar.engine.adapters import LoadedAdapters
from realizar.engine.beams import Beams
from realizar.engine.cache.content import Content
from realizar.engine.cache.sequence import Sequence
from realizar.engine.generation import Generation
from realizar.engine.guidance import Guided
from realizar.engine.output import end_ids
from realizar.engine.prompt_checks import check_reads_tokens, need_no_prompt
from realizar.engine.saving import SaveRequest
from realizar.engine.scoring import EmbeddingRequest, LogitsRequest, PromptLogprobs, RankRequest, ScoreRequest
from realizar.errors import GrammarError, ParameterError, short_repr
from realizar.forks import cached_property
from realizar.params import ResolvedParams, SamplingParams, resolved
from realizar.params.checks import check, is_int
from realizar.params.per_prompt import is_parts, no_params
from realizar.params.prompt import Tokens, as_ids, is_part
from realizar.params.sampling import CONSTRAINTS
from realizar.sampling import SamplerChain, TokenBytes
from realizar.sampling.defaults import of_file, resolve
from realizar.sampling.grammar import ConstraintFactory, OutOfTimeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from realizar.calls import Reasoning, ToolUse
    from realizar.engine.request import Request
    from realizar.engine.runner import Runner
    from realizar.params.prompt import TokenPrompt
    from realizar.runtime.adapters import AdapterSet
    from realizar.tokenizer import Tokenizer


R = TypeVar("R", bound="Request")

_NO_CONSTRAINT: dict[str, Any] = dict.fromkeys(CONSTRAINTS)


class Prompt(NamedTuple):
    """Token ids of all rows, 0 where embeddings enter; and their content, None for plain tokens."""

    ids: list[int]
    content: Content | None

    @property
    def has_embeddings(self) -> bool:
        """Whether some rows have no token."""
        return self.content is not None and self.content.embeddings is not None


class Intake:
    """Makes the requests of one engine; may be used by many threads at once.

    Parameters
    ----------
    runner : Runner
        Its model and cache serve the requests.

    Attributes
    ----------
    sampling_defaults : mapping
        The model file's values for params that a request leaves unset.
    adapters : LoadedAdapters
    """

    def __init__(self, runner: Runner) -> None:
        self.model = runner.model
        self.cache = runner.cache
        self.adapters = LoadedAdapters(runner.model, runner)
        self.sampling_defaults: Mapping[str, Any] = MappingProxyType(of_file(self.model.file.metadata))

    def generation(
        self, prompt: TokenPrompt, params: SamplingParams, tools: ToolUse | None, reasoning: Reasoning | None
    ) -> Generation:
        """Return a request for completions of a prompt, or of an encoder input if the model has an encoder.

        With tools, whose grammar is in the params, tool calls are parsed from the text; with reasoning, that is
        separated from it, and constraints hold for what follows it.

        Raises
        ------
        ParameterError
            If the prompt is empty, a token id does not exist, the model cannot take a part, the params are something
            else (or ask for beams) or need the text of rows that are embeddings, or the model writes no text.
        ContextFullError
            If the prompt is longer than the context.
        GrammarError
            If the params have a grammar, schema, regex or choice that cannot be enforced.
        """
        try:
            make = partial(Generation, tools=tools, reasoning=reasoning)
            request = self._made(prompt, params, make, reasoning, searched=False)
        except GrammarError as error:
            raise error if tools is None else tools.explain(error, params, self._constraints) from None
        if params.prompt_logprobs is not None:
            tokens = request.seq.tokens[1:].copy()
            request.prompt_logprobs = self._prompt_logprobs(tokens, 1, params.prompt_logprobs)
        return request

    def beams(self, prompt: TokenPrompt, params: SamplingParams, reasoning: Reasoning | None = None) -> Beams:
        """Return a request for the best continuations of a prompt. Raises as `generation`."""
        return self._made(prompt, params, partial(Beams, reasoning=reasoning), reasoning, searched=True)

    def score(self, prompt: TokenPrompt, continuation: Iterable[int], n_top: int) -> ScoreRequest:
        """Return a request for the scores of a continuation of a prompt, or of an answer to an encoder input.

        Raises as `generation`, and ParameterError if n_top, the best tokens to report in each place, is not in
        [1, 1000].
        """
        self._need_decoder("score")
        check(is_int(n_top) and 1 <= n_top <= 1000, "logprobs", n_top, "an integer in [1, 1000]")
        given, tokens = self._checked(prompt), self._ids(continuation, "continuation")
        encoder_tokens: list[int] = []
        if self.model.has_encoder:
            given, encoder_tokens = Prompt([self.model.decoder_start], None), self._encoder_tokens(given)
        ids = [*given.ids, *tokens[:-1]]
        seq = Sequence(self.cache, ids, encoder_tokens, given.content, program=self.model.main)
        wanted = self._prompt_logprobs(np.array(tokens, np.int32), len(given.ids), n_top)
        return ScoreRequest(seq, wanted, len(given.ids))

    def _prompt_logprobs(self, tokens: NDArray[np.int32], first: int, n_top: int) -> PromptLogprobs:
        return PromptLogprobs(tokens, first, n_top, self._candidates, self.model.tokenizer.token_bytes)

    def logits(
        self, tokens: TokenPrompt, encoder_tokens: Iterable[int] | None, params: SamplingParams
    ) -> LogitsRequest:
        """Return a request for the logits of a text, or of an answer to an encoder input. Raises as `generation`."""
        self._need_decoder("logits")
        if self.model.has_encoder != (encoder_tokens is not None):
            raise ParameterError(
                "this model has an encoder and a decoder: give decoder_tokens, too, beginning with "
                f"{self.model.decoder_start}"
                if encoder_tokens is None
                else "this model has no encoder: give no decoder_tokens"
            )
        read = () if encoder_tokens is None else self._encoder_tokens(self._checked(encoder_tokens))
        ids, content = self._checked(tokens)
        adapters, how = self._adapters_of(params, ids)
        seq = Sequence(self.cache, ids, read, content, **how, program=self.model.main)
        return _holding(LogitsRequest(seq, self.model.hp.n_vocab), adapters)

    def embedding(self, tokens: TokenPrompt) -> EmbeddingRequest:
        """Return a request for the hidden states of a text. Raises as `generation`."""
        output = "hidden" if self.model.has_encoder else self.model.hidden
        return EmbeddingRequest(self._read(tokens), self.model.n_hidden, output)

    def rank(self, tokens: TokenPrompt, output: str = "rank") -> RankRequest:
        """Return a request for an output of the classification head: "rank", or its probabilities, "classes".

        Raises as `generation`, and ParameterError if the model has no head.
        """
        n_class = len(self.model.labels)
        return RankRequest(self._read(tokens), n_class, output)

    def saving(self, tokens: TokenPrompt) -> SaveRequest:
        """Return a request for the cache of a prompt. Raises as `generation` and `SaveRequest`."""
        self._need_decoder("save_cache")
        given = self._checked(tokens)
        return SaveRequest(Sequence(self.cache, given.ids, content=given.content, program=self.model.main))

    def _adapters_of(self, params: SamplingParams, ids: list[int]) -> tuple[AdapterSet | None, dict[str, Any]]:
        """Return the adapters that params ask for, if the prompt invokes them, and a Sequence's arguments for them."""
        found = self.adapters.set_of(params)
        first = None if found is None else found.first_row(ids)
        if found is None or first is None:
            return None, {}
        return found, {"adapter": found.number, "adapter_from": first}

    def _read(self, tokens: TokenPrompt) -> Sequence:
        """Return a text that is not continued: the input of the encoder, where the model has one."""
        prompt = self._checked(tokens)
        if self.model.has_encoder:
            return Sequence(self.cache, (), self._encoder_tokens(prompt))
        return Sequence(self.cache, prompt.ids, content=prompt.content, program=self.model.main)

    def _made(
        self, prompt: TokenPrompt, params: SamplingParams,
        make: Callable[[Sequence, ResolvedParams, SamplerChain, Tokenizer], R], reasoning: Reasoning | None,
        searched: bool,
    ) -> R:  # fmt: skip
        """Return a request for continuations of a prompt; an expired one if its constraint took all of max_time."""
        self._need_decoder("generate")
        checked = self._checked(prompt)
        if not isinstance(params, SamplingParams):
            raise no_params(params)
        if (params.n_beams > 1) != searched:
            raise ParameterError(f"n_beams={params.n_beams}: generate takes 1, and search takes more")
        # Beam search does not sample: the file's sampling defaults do not apply.
        params = resolved(params) if searched else resolve(params, self.sampling_defaults)
        checked = self._truncated(checked, params)
        self._check_shift(params, searched)
        if searched:
            need_no_prompt(params, "beams have it not; ask for n_beams=1")
        if self.model.has_encoder:
            need_no_prompt(params, "this model answers what its encoder reads and does not go on from it")
        if params.prompt_logprobs is not None and params.cfg_scale != 1.0:
            raise ParameterError(
                "prompt_logprobs and cfg_scale: a prompt has no guidance; LLM.score says how likely it is"
            )
        if checked.content is not None:
            check_reads_tokens(params, checked)
        known = b""
        if params.token_healing:
            ids, known = self._texts.without_last(checked.ids)
            checked = Prompt(ids, checked.content and checked.content.beginning(len(ids)))
        adapters, how = self._adapters_of(params, checked.ids)
        seq = self._sequence(checked, params, how)
        n_history, tokenizer = len(seq.history), self.model.tokenizer
        try:
            request = make(seq, params, self._chain(params, n_history, known, reasoning), tokenizer)
        except OutOfTimeError:
            late = replace(params, **_NO_CONSTRAINT)
            request = make(seq, late, self._chain(late, n_history, known, None), tokenizer)
            request.deadline = -math.inf  # it ends before its first token: none comes without the constraint
        return _holding(request, adapters)

    def _chain(self, params: ResolvedParams, n: int, known: bytes, reasoning: Reasoning | None) -> SamplerChain:
        tokenizer = self.model.tokenizer
        return SamplerChain.from_params(
            params,
            self.model.hp.n_vocab,
            secrets.randbits(63) if params.seed is None else params.seed,
            self._texts,
            n,
            end_ids(params, tokenizer),
            self._constraints,
            known,
            tokenizer.suppressed_ids,
            None if reasoning is None else reasoning.preamble,
        )

    def _truncated(self, prompt: Prompt, params: SamplingParams) -> Prompt:
        """Return the last tokens of a prompt, as many as truncate_prompt allows; a leading BOS token stays."""
        n, n_ctx, ids = params.truncate_prompt, self.cache.n_ctx, prompt.ids
        if n is None:
            return prompt
        if isinstance(n, str):
            n = max(n_ctx + 1 - (params.max_tokens or n_ctx), (n_ctx + 1) // 2)
        if len(ids) <= n:
            return prompt
        if prompt.content is not None:
            raise ParameterError(
                f"truncate_prompt={params.truncate_prompt!r}: the prompt has {len(ids)} rows, some of which have "
                "embeddings, positions or a mask of their own; give fewer rows"
            )
        bos = ids[:1] if ids[0] == self.model.tokenizer.bos_id and n > 1 else []
        return Prompt(bos + ids[len(ids) - n + len(bos) :], None)

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

    def _sequence(self, prompt: Prompt, params: SamplingParams, adapters: dict[str, Any]) -> Sequence:
        """Return a prompt as it is to be continued: after an encoder input, or next to a negative prompt."""
        program = self.model.main
        if self.model.has_encoder:
            if params.cfg_scale != 1.0:
                raise ParameterError(f"cfg_scale={params.cfg_scale}: this model has an encoder; leave it at 1")
            return Sequence(self.cache, [self.model.decoder_start], self._encoder_tokens(prompt), **adapters)
        if params.cfg_scale == 1.0:
            return Sequence(self.cache, prompt.ids, content=prompt.content, **adapters, program=program)
        seq = Guided(
            self.cache, prompt.ids, self._negative(prompt, params.negative_prompt), params.cfg_scale, prompt.content,
            **adapters, program=program,
        )  # fmt: skip
        if seq.n_last + 1 > self.cache.n_batch:
            raise ParameterError(
                f"cfg_scale: the prompt ends with a bidirectional part of {seq.n_last} rows, which is computed in one "
                f"step with the negative prompt, but n_batch={self.cache.n_batch}; ask for n_batch={seq.n_last + 1}"
            )
        return seq

    def _negative(self, prompt: Prompt, negative: Any) -> list[int]:
        """Return the token ids of the negative prompt; by default the last token of the prompt."""
        if negative is not None:
            text = isinstance(negative, str)
            return self._ids(self.model.tokenizer.encode(negative) if text else negative, "negative prompt")
        if prompt.has_embeddings and prompt.content is not None and prompt.content.ends_with_embedding:
            raise ParameterError("cfg_scale: the prompt ends with embeddings; give a negative_prompt")
        return prompt.ids[-1:]

    @cached_property
    def _texts(self) -> TokenBytes:
        return TokenBytes(self.model.tokenizer, self.model.hp.n_vocab)

    @cached_property
    def _candidates(self) -> Candidates:
        """Scratch candidates for log-probabilities; steps run in one thread at a time, so one is enough."""
        return Candidates(self.model.hp.n_vocab)

    @cached_property
    def _constraints(self) -> ConstraintFactory:
        return ConstraintFactory(self.model.tokenizer)

    def _need_decoder(self, what: str) -> None:
        if self.model.main != "decode":
            name = self.model.architecture.name
            raise ParameterError(f"{what}: {name} is an encoder, which writes no text; use embed")

    def _encoder_tokens(self, prompt: Prompt) -> list[int]:
        """Return token ids that an encoder reads in one step."""
        n, n_batch = len(prompt.ids), self.cache.n_batch
        if prompt.content is not None:
            raise ParameterError("embeddings and masks of parts: this model's encoder reads token ids alone")
        if n_batch < n <= self.cache.n_ctx:
            raise ParameterError(
                f"a text of {n} tokens, which an encoder reads in one step, but n_batch={n_batch}; "
                f"ask for n_batch={n} or more"
            )
        return prompt.ids

    def _checked(self, prompt: TokenPrompt) -> Prompt:
        """Return the rows of a prompt, all of which the model can take."""
        parts: Any = [prompt] if is_part(prompt) else prompt
        if not is_parts(parts):
            return Prompt(self._ids(prompt, "prompt"), None)
        for part in parts:
            if not is_part(part):
                raise ParameterError(f"a part of a prompt is text, Tokens or Embeddings, not {short_repr(part)}")
            if isinstance(part, Tokens):
                self._check_ids(part.ids)
        content = Content.of(parts)
        if content.is_plain:
            return Prompt(content.tokens.tolist(), None)
        self._check_content(content)
        return Prompt(content.tokens.tolist(), content)

    def _check_content(self, content: Content) -> None:
        """Raise ParameterError where the model's program does not take it."""
        graph, name = self.model.graphs[self.model.main], self.model.architecture.name
        if content.embeddings is not None:
            if "embeddings" not in graph.inputs:
                raise ParameterError(f"Embeddings: {name} takes none; it reads {', '.join(graph.inputs)}")
            n_embd, found = self.model.hp.n_embd, content.embeddings.values.shape[1]
            if found not in (n_embd, n_embd * (1 + self.model.hp.n_deepstack)):
                raise ParameterError(f"Embeddings: rows of {found} numbers, but n_embd of this model is {n_embd}")
        if content.has_positions:
            if "positions" not in graph.inputs:
                raise ParameterError(f"Embeddings: positions were given, but {name} uses none; leave them out")
            if content.n_axes not in (1, graph.n_axes):
                raise ParameterError(
                    f"Embeddings: positions have {content.n_axes} axes, but those of {name} have {graph.n_axes}"
                )
        if content.spans and not any(node.spec.attends for node in graph.nodes):
            raise ParameterError(f"mask='bidirectional': {name} has no attention; leave it at 'causal'")
        for first, end in content.spans:
            if end - first > self.cache.n_batch:
                raise ParameterError(
                    f"a bidirectional part of {end - first} rows, which are computed in one step, but "
                    f"n_batch={self.cache.n_batch}; ask for n_batch={end - first} or more"
                )

    def _ids(self, tokens: Any, what: str) -> list[int]:
        """Return token ids as integers that the model has."""
        ids = as_ids(tokens, f"a {what} is text or a list of token ids")
        if not ids:
            raise ParameterError(f"the {what} has no tokens; give at least one (the BOS token, for instance)")
        self._check_ids(ids)
        return ids

    def _check_ids(self, ids: Iterable[int]) -> None:
        n_vocab = self.model.hp.n_vocab
        for token in ids:
            if not 0 <= token < n_vocab:
                raise ParameterError(f"token id {token} does not exist: the model has ids 0 to {n_vocab - 1}")


def _holding(request: R, adapters: AdapterSet | None) -> R:
    """Return a request that holds its adapters until it is over."""
    request.adapters = adapters
    return request
