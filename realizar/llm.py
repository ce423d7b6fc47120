"""LLM: load a model and put it to work; what a user of the package meets first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from realizar import store
from realizar.calls import ChatPrompts, ToolUse
from realizar.engine.engine import Engine
from realizar.engine.stream import TextStream
from realizar.errors import ParameterError, RealizarError, memory_for, shown
from realizar.forks import cached_property
from realizar.model import load as load_model
from realizar.params import Activations, EngineParams, KVType, SamplingParams
from realizar.params.several import as_prompts, params_of_each
from realizar.reading import Reading

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from realizar.engine.completion import Completion
    from realizar.engine.writing import Writing
    from realizar.model import Model
    from realizar.tokenizer.fim import Order

    Prompt = str | Sequence[int]
    Messages = Sequence[Mapping[str, Any]]
    Tools = Sequence[Mapping[str, Any]]
    ToolChoice = Literal["auto", "none", "required"] | Mapping[str, Any]

DEFAULT = SamplingParams()
"""What a request gets that names no params."""


class LLM(Reading):
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

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        n_threads: int | None = None,
        n_ctx: int | None = None,
        n_seqs: int = 4,
        n_batch: int = 512,
        kv_type: KVType | tuple[KVType, KVType] = "f16",
        activations: Activations | None = None,
        load: Literal["mmap", "read"] = "mmap",
        speculate: Literal["ngram"] | None = None,
        draft: str | os.PathLike[str] | None = None,
        n_draft: int = 31,
    ) -> None:
        self._engine: Engine | None = None
        self.params = EngineParams(
            n_threads, n_ctx, n_seqs, n_batch, kv_type, activations, load, speculate, draft, n_draft
        )  # fmt: skip
        models: list[Model] = []
        try:
            with memory_for(f"loading {shown(model)}", lambda: _sizes(models, self.params)):
                models.extend(
                    load_model(store.resolve(name), load) for name in ([model] if draft is None else [model, draft])
                )
                self._engine = Engine(models[0], self.params, models[1] if draft is not None else None)
        except Exception:
            for loaded in models:
                loaded.close()
            raise

    @property
    def engine(self) -> Engine:
        """The engine behind it, for tools that need more than text.

        Raises
        ------
        RealizarError
            If the LLM is closed.
        """
        if self._engine is None:
            raise RealizarError("this LLM is closed; make a new one")
        return self._engine

    @property
    def sampling_defaults(self) -> Mapping[str, Any]:
        """Fields of `SamplingParams` for which the model's file has values: those of requests that leave them unset."""
        return self.engine.sampling_defaults

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] = DEFAULT,
    ) -> list[Completion]:
        """Continue one or several prompts, or answer them where the model has an encoder, all at once.

        Parameters
        ----------
        prompts : str, list of str, token ids, or list of token ids
            Text gets the BOS token where the model wants one; special tokens in it are plain text.
        params : SamplingParams or list of SamplingParams, optional
            For all prompts, or one for each.

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
        """
        several = as_prompts(prompts)
        each = params_of_each(params, len(several))
        requests: list[Writing] = []
        try:
            for prompt, its_params in zip(several, each, strict=True):
                requests.append(self._request(prompt, its_params))
            self.engine.complete(requests)
        finally:
            for request in requests:
                request.cancel()
        return [request.completion() for request in requests]

    def _request(self, prompt: Prompt, params: SamplingParams, tools: ToolUse | None = None) -> Writing:
        if isinstance(params, SamplingParams) and params.n_beams > 1:
            return self.engine.search(self._ids(prompt), params)
        return self.engine.generate(self._ids(prompt), params, tools)

    def stream(self, prompt: Prompt, params: SamplingParams = DEFAULT) -> TextStream:
        """Continue one prompt, piece by piece.

        Parameters
        ----------
        prompt : str or token ids
        params : SamplingParams, optional

        Returns
        -------
        TextStream
            Yields str; never half a character, and nothing of a stop string.

        Raises
        ------
        ParameterError, ContextFullError
            As `generate`, at once.
        """
        return self._stream(prompt, params)

    def _stream(self, prompt: Prompt, params: SamplingParams, tools: ToolUse | None = None) -> TextStream:
        if isinstance(params, SamplingParams) and params.n_texts > 1:
            raise ParameterError(f"{params.n_texts} texts cannot be streamed as one; use generate, or ask for one text")
        return TextStream(self.engine, self.engine.generate(self._ids(prompt), params, tools))

    @overload
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None,
        stream: Literal[False] = False,
    ) -> Completion: ...  # fmt: skip
    @overload
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None,
        stream: Literal[True],
    ) -> TextStream: ...  # fmt: skip
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None,
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
            return self._stream(ids, params, use)
        request = self._request(ids, params, use)
        self.engine.complete([request])
        return request.completion()

    @cached_property
    def _prompts(self) -> ChatPrompts:
        return ChatPrompts(self.tokenizer)

    @overload
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        stream: Literal[False] = False,
    ) -> Completion: ...  # fmt: skip
    @overload
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        stream: Literal[True],
    ) -> TextStream: ...  # fmt: skip
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        stream: bool = False,
    ) -> Completion | TextStream:  # fmt: skip
        """Write what belongs between two texts, with the tokens that the model was trained to fill in by.

        Parameters
        ----------
        prefix, suffix : str
            What is in front of the gap and behind it.
        params : SamplingParams, optional
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
        return self.stream(ids, params) if stream else self.generate(ids, params)[0]

    def close(self) -> None:
        """Give all memory back. A step under way ends first; requests that wait for more get a RealizarError."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _sizes(models: list[Model], params: EngineParams) -> str:
    """What was asked for when memory ran out, as far as it is known by then."""
    asked = "".join(f"{m.file.path.name} has {m.file.n_bytes / 2**20:.1f} MiB; " for m in models)
    return f"{asked}n_seqs={params.n_seqs} of n_ctx={params.n_ctx} tokens were asked for; ask for less, or load='mmap'"
