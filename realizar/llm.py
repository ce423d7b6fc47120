"""LLM: load a model and put it to work; what a user of the package meets first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from realizar.embedding import EmbeddingMethods
from realizar.engine.handle import Handle, TextStream
from realizar.loaded import DEFAULT, Messages, Prompt, ToolChoice, Tools
from realizar.params import SamplingParams

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from realizar.calls import ToolUse
    from realizar.engine.output import Completion
    from realizar.engine.scoring import Score, ScoreRequest
    from realizar.tokenizer.fim import Order


class LLM(EmbeddingMethods):
    """A model, ready to continue texts. It may be used from several threads at once.

    Parameters
    ----------
    model : str or PathLike
        A name of `realizar list`, hf:owner/repo/file.gguf, or the path of a GGUF file. What is not here yet is
        fetched.
    n_threads : int, optional
        Worker threads; by default as many as the process has physical cores.
    n_ctx : int, optional
        Tokens (prompt and answer) that one sequence may have; by default the model's own, at most 4096. A model with
        longrope (Phi-3) computes with its long factors where this exceeds its original context, as in llama.cpp.
    n_seqs : int
        Sequences of that length that the cache can hold at once; shorter ones, accordingly more.
    n_batch : int
        Tokens computed in one step at most. An encoder reads a text in one step, so this bounds its length, too.
    kv_type : {"f16", "f32", "int8"} or a pair of them
        Type of cached keys and values; a pair names that of K and that of V. "int8" takes half of the memory; where
        K is large in few dimensions, as in Qwen2.5, ("f16", "int8") costs less accuracy (docs/decisions/0009).
    activations : {"int8", "int16", "f32"}, optional
        What the inputs of products with quantized weights are rounded to. "int16" loses next to nothing; prefill takes
        nearly twice as long as with "int8" and decode a few percent longer. "f32" is exact and slow. By default
        "int16" for decoders with fewer than 10^9 weights and "int8" for all others (docs/decisions/0026).
    load : {"mmap", "read"}
        Map the file, or read it (safe when it may change while it is used).
    speculate : {"ngram"}, optional
        Guess what comes next from what was said before, and verify several guesses in one step: the same texts, faster
        where they repeat their prompts (docs/speculation.md).
    draft : str or PathLike, optional
        A smaller model with the same vocabulary that guesses instead.
    n_draft : int
        Guesses about one text in one step at most.
    max_waiting : int, optional
        Requests that may wait; further ones are refused with a BusyError.
    backend : {"cpu", "numpy"}
        What computes: the C kernels, or numpy alone, which is slow and serves to check them (docs/backends.md).

    Raises
    ------
    ModelNotFoundError, DownloadError
        If there is no such model, or it cannot be fetched.
    GGUFError, UnknownArchitectureError, TensorError
        If the file cannot be used.
    ParameterError
        If a parameter makes no sense, or asks for more memory than there is.

    Examples
    --------
    >>> with LLM("smollm2") as llm:  # doctest: +SKIP
    ...     llm.generate("Why is the sky blue?", SamplingParams(max_tokens=32))[0].text
    """

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] = DEFAULT,
        *,
        priority: int = 0,
    ) -> list[Completion]:
        """Continue one or several prompts, or answer them where the model has an encoder, all at once.

        Parameters
        ----------
        prompts : str, list of str, token ids, or list of token ids
            Text gets the BOS token where the model wants one; special tokens in it are plain text.
        params : SamplingParams or list of SamplingParams, optional
            For all prompts, or one for each.
        priority : int
            Requests with more go first, and may preempt those with less (docs/scheduling.md).

        Returns
        -------
        list of Completion
            In the order of the prompts, one for each; where params.n asks for several answers, `outputs` of it has all.

        Raises
        ------
        ParameterError
            If a prompt is empty, a token id does not exist, or the numbers of prompts and params differ.
        ContextFullError
            If a prompt is longer than the context.
        BusyError
            If more than `max_waiting` requests wait already.
        """
        requests = self._text_requests(prompts, params, priority)
        self.engine.complete(requests)
        return [request.completion() for request in requests]

    def stream(self, prompt: Prompt, params: SamplingParams = DEFAULT, *, priority: int = 0) -> TextStream:
        """Continue one prompt, piece by piece.

        Parameters
        ----------
        prompt : str or token ids
        params : SamplingParams, optional
        priority : int
            As in `generate`.

        Returns
        -------
        TextStream
            Yields str; never half a character, and nothing of a stop string.

        Raises
        ------
        ParameterError, ContextFullError
            As `generate`, at once.
        """
        return self._text_stream(prompt, params, priority)

    def events(self, prompt: Prompt, params: SamplingParams = DEFAULT, *, priority: int = 0) -> Handle:
        """Continue one prompt by one text or several, and follow them by typed events (`realizar.engine.output`).

        Parameters
        ----------
        prompt : str or token ids
        params : SamplingParams, optional
        priority : int
            As in `generate`.

        Returns
        -------
        Handle
            Yields events; the last one is a FinishEvent, which has the Completion, or an ErrorEvent.

        Raises
        ------
        ParameterError, ContextFullError
            As `generate`, at once.
        """
        return self.engine.loop.submit(self._text_request(prompt, params, priority))

    def _text_stream(
        self, prompt: Prompt, params: SamplingParams, priority: int, tools: ToolUse | None = None
    ) -> TextStream:
        request = self._streamed(prompt, params, priority, tools)
        return TextStream(self.engine.loop.submit(request), request)

    @overload
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None, priority: int = 0,
        stream: Literal[False] = False,
    ) -> Completion: ...  # fmt: skip
    @overload
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None, priority: int = 0,
        stream: Literal[True],
    ) -> TextStream: ...  # fmt: skip
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None, priority: int = 0,
        stream: bool = False,
    ) -> Completion | TextStream:  # fmt: skip
        """Answer the last message of a conversation.

        The model's own template makes the prompt. What earlier turns computed is still in the cache, so a turn costs
        what it adds.

        Parameters
        ----------
        messages : list of dict
            {"role": "system" | "user" | "assistant" | "tool", "content": str}, oldest first; a content may also be a
            list of parts {"type": "text", "text": str}. Names of special tokens count as such inside a content too, as
            with other engines: take them out of text that you do not trust.
        params : SamplingParams, optional
        priority : int
            As in `generate`.
        tools : list of dict, optional
            What the answer may call, as OpenAI's clients describe it; arguments keep to their schema (docs/tools.md).
        tool_choice : {"auto", "none", "required"} or dict
            Whether it does; {"type": "function", "function": {"name": ...}}: it calls this one.
        chat_template_kwargs : dict, optional
            Variables of the chat template, such as {"enable_thinking": False}; values that JSON can express.
        stream : bool
            Return the pieces as they come.

        Raises
        ------
        TemplateError
            If the model has no chat template, none for tools, or it fails on these messages.
        GrammarError, ParameterError, ContextFullError
            As `generate`.
        """
        ids, params, use = self._prompts.make(messages, params, tools, tool_choice, chat_template_kwargs)
        if stream:
            return self._text_stream(ids, params, priority, use)
        request = self._text_request(ids, params, priority, use)
        self.engine.complete([request])
        return request.completion()

    @overload
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        priority: int = 0,
        stream: Literal[False] = False,
    ) -> Completion: ...  # fmt: skip
    @overload
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        priority: int = 0,
        stream: Literal[True],
    ) -> TextStream: ...  # fmt: skip
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        priority: int = 0,
        stream: bool = False,
    ) -> Completion | TextStream:  # fmt: skip
        """Write what belongs between two texts, with the tokens that the model was trained to fill in by.

        Parameters
        ----------
        prefix, suffix : str
            The text before the gap and after it.
        params : SamplingParams, optional
        priority : int
            As in `generate`.
        order : {"psm", "spm"}, optional
            Whether the model reads the prefix first or the suffix; by default as its file tells (docs/infill.md).
        stream : bool
            Return the pieces as they come.

        Raises
        ------
        ParameterError
            If the model has no such tokens, or none for this order; else as `generate`.
        ContextFullError
            As `generate`.
        """
        ids = self.tokenizer.infill(prefix, suffix, order)
        return (
            self.stream(ids, params, priority=priority) if stream else self.generate(ids, params, priority=priority)[0]
        )

    def logits(self, token_ids: Sequence[int], decoder_tokens: Sequence[int] | None = None) -> npt.NDArray[np.float32]:
        """Return the logits after every token of a text.

        Parameters
        ----------
        token_ids : sequence of int
            At least one, at most n_ctx.
        decoder_tokens : sequence of int, optional
            For models with an encoder, which reads token_ids: the answer whose logits are wanted.

        Returns
        -------
        float32 [n_tokens, n_vocab]

        Raises
        ------
        ParameterError, ContextFullError
            As `generate`.
        """
        request = self._logits_request(token_ids, decoder_tokens)
        self.engine.complete([request])
        return request.logits

    @overload
    def score(self, prompt: Prompt, continuation: str | Sequence[int], logprobs: int = 1) -> Score: ...
    @overload
    def score(self, prompt: Prompt, continuation: list[str] | list[list[int]], logprobs: int = 1) -> list[Score]: ...
    def score(
        self, prompt: Prompt, continuation: str | Sequence[int] | list[str] | list[list[int]], logprobs: int = 1
    ) -> Score | list[Score]:
        """Return the log-probability of a text, or of each of several, after a prompt.

        Of logits no more is kept than the step that computes them gives: memory does not grow with the text.

        Parameters
        ----------
        prompt : str or token ids
            Text gets the BOS token where the model wants one. Where the model has an encoder, that reads it.
        continuation : str or token ids, or a list of either
            Where both are text they are read as one: what is scored are all tokens after those that are the prompt's
            own, too. Give token ids for a cut of your own.
        logprobs : int
            How many of the most probable tokens to report in each place, 1 at least.

        Returns
        -------
        Score, or list of Score

        Raises
        ------
        ParameterError
            If either has no tokens, or a token id does not exist.
        ContextFullError
            If both are longer than the context.
        """
        single, pairs = self._pairs(prompt, continuation)
        requests: list[ScoreRequest] = []
        for batch in (pairs[:1], pairs[1:]):  # the others find in the cache what the first one computed
            now = self._score_requests(batch, logprobs)
            self.engine.complete(now)
            requests += now
        scores = [request.score() for request in requests]
        return scores[0] if single else scores

    def close(self) -> None:
        """Give all memory back. A step under way ends first; requests that wait for more get a RealizarError."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
