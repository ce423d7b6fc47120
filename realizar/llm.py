"""LLM: the synchronous Python API: generation, chat, fill-in-the-middle, logits, scores and embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from realizar.adapter_methods import AdapterMethods
from realizar.cache_methods import CacheMethods
from realizar.calls import ChatOptions
from realizar.calls.messages import conversations_of
from realizar.chat import ChatModel
from realizar.embedding import EmbeddingMethods
from realizar.engine.handle import Handle, TextStream
from realizar.loaded import DEFAULT, Messages, Prompt, ToolChoice, Tools
from realizar.params import SamplingParams
from realizar.params.adapters import Lora
from realizar.params.per_prompt import chosen_params

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Unpack

    from realizar.calls import ChatPrompt
    from realizar.chat import ChatKeywords, Template
    from realizar.engine.output import Completion
    from realizar.engine.scoring import Score, ScoreRequest
    from realizar.tokenizer.fim import Order


class LLM(EmbeddingMethods, CacheMethods, AdapterMethods, ChatModel):
    """A loaded model. Thread-safe.

    Parameters
    ----------
    model : str or PathLike
        A name from `realizar list`, hf:owner/repo:Q4_K_M or hf:owner/repo/file.gguf (after repo, @revision may name a
        branch, tag or commit), or the path of a GGUF file. Models that are not in the cache are downloaded.
    n_threads : int, optional
        Number of worker threads; by default the number of physical cores available to the process.
    n_ctx : int, optional
        Context length of a sequence (prompt and completion); by default the model's, at most 4096. A model with
        longrope (Phi-3) uses its long factors if this exceeds its original context, as in llama.cpp.
    n_seqs : int
        Number of sequences of that length that fit in the KV cache; of shorter ones, accordingly more.
    n_batch : int
        Maximum number of tokens in one step, and so of an encoder's input, which is processed in one.
    kv_type : {"f16", "f32", "int8", "q4"} or a pair of them
        Type of cached keys and values; a pair is the type of K and that of V. "int8" takes half the memory of "f16". If
        K has large values in few dimensions, as in Qwen2.5, ("f16", "int8") is more accurate (docs/decisions/0009).
        "q4" takes 0.28 of "f16"; use it for K only if the model's keys have no large biases (docs/performance.md).
    activations : {"int8", "int16", "f32"}, optional
        The type to which inputs of products with quantized weights are rounded. "int16" is nearly exact; prefill takes
        nearly twice as long as with "int8" and decode a few percent longer. "f32" is exact and slow. By default
        "int16" for decoders with fewer than 10^9 weights and "int8" for all others (docs/decisions/0026).
    load : {"mmap", "read"}
        Map the file, or read it into memory (safe if it may change while it is used).
    speculate : {"ngram", "mtp"}, optional
        Speculative decoding: draft tokens are verified in one step; the output is the same (docs/speculation.md).
        "ngram", prompt lookup, proposes tokens that followed an earlier occurrence of the last tokens: faster if the
        completion repeats the prompt. "mtp", multi-token prediction, runs the draft block of the file.
    draft : str or PathLike, optional
        Speculative decoding with this draft: a smaller model with the same vocabulary, or an EAGLE-3 draft of this one.
    n_draft, max_waiting : int, optional
        Maximum number of draft tokens of a sequence in a step, and of waiting requests (further ones: BusyError).
    backend : str
        "cpu"; "numpy", to check the kernels with; "wgpu", which is device="gpu"; or a plugin's (docs/backends.md).
    mmproj : str or PathLike, optional
        The file with the encoders of pictures and sounds; by default one beside the model (docs/multimodal.md).
    allow_urls : bool or sequence of str
        Whether pictures and sounds at http and https URLs are read: all, none, or those that begin so.
    device : str
        "cpu", "gpu", "gpu:N" of `realizar devices`, "gpu:0,gpu:1", or "auto": a GPU that is faster (docs/gpu.md).
    n_gpu_layers, n_cpu_moe : int, optional
        Layers that GPUs compute, the last ones, by default what fits; and first ones whose experts stay on the CPU.
    tensor_devices : dict of str to str, optional
        Regular expressions of tensor names -> "cpu", "gpu" or "gpu:N": where products with them are computed.

    Raises
    ------
    ModelNotFoundError, DownloadError
        If the model does not exist or cannot be downloaded.
    GGUFError, UnknownArchitectureError, TensorError
        If the file cannot be used.
    ParameterError
        If a parameter is invalid.
    OutOfMemoryError
        If there is not enough memory.

    Examples
    --------
    >>> with LLM("smollm2") as llm:  # doctest: +SKIP
    ...     llm.generate("Why is the sky blue?", SamplingParams(max_tokens=32))[0].text
    """

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        lora: Lora = None,
        use_tqdm: bool = False,
        priority: int = 0,
    ) -> list[Completion]:
        """Generate completions for one or several prompts, which run as one batch.

        Parameters
        ----------
        prompts : str, list of str, token ids, or list of token ids
            The BOS token is added to text if the model expects it; names of special tokens in it are plain text, except
            in what `chat_text` returns. If the model has an encoder, the prompt is the encoder input. A prompt may also
            be a dict as in vLLM: {"prompt": str}, {"prompt_token_ids": list of int} or {"prompt_embeds": array}.
        params : SamplingParams or list of SamplingParams, optional
            For all prompts, or one for each.
        sampling_params
            Another name of `params`, that of vLLM.
        lora : str or mapping, optional
            LoRA adapters for all prompts, in place of those in the params (docs/adapters.md).
        use_tqdm : bool
            Show how many prompts are done, on standard error.
        priority : int
            Requests with a higher priority go first, and may preempt others (docs/scheduling.md).

        Returns
        -------
        list of Completion
            One for each prompt, in their order. If params.n is greater than 1, `outputs` has all completions.

        Raises
        ------
        ParameterError
            If a prompt is empty, a token id does not exist, or the numbers of prompts and params differ.
        ContextFullError
            If a prompt is longer than the context.
        BusyError
            If `max_waiting` requests are already waiting.
        """
        requests = self._text_requests(prompts, chosen_params(params, sampling_params, lora), priority)
        self._complete(requests, use_tqdm)
        return [request.completion() for request in requests]

    def stream(self, prompt: Prompt | ChatPrompt, params: SamplingParams = DEFAULT, *, priority: int = 0) -> TextStream:
        """Continue one prompt, piece by piece.

        Parameters
        ----------
        prompt : str, token ids, or ChatPrompt
        params : SamplingParams, optional
        priority : int
            See `generate`.

        Returns
        -------
        TextStream
            Yields str: complete characters only, and no part of a stop string.

        Raises
        ------
        ParameterError, ContextFullError
            See `generate`; raised by this call.
        """
        return self._text_stream(prompt, params, priority)

    def _text_stream(self, prompt: Prompt | ChatPrompt, params: SamplingParams, priority: int) -> TextStream:
        request = self._streamed(prompt, params, priority)
        return TextStream(self.engine.loop.submit(request), request)

    def events(self, prompt: Prompt | ChatPrompt, params: SamplingParams = DEFAULT, *, priority: int = 0) -> Handle:
        """Generate one or several completions of a prompt as a stream of typed events (`realizar.engine.output`).

        Parameters
        ----------
        prompt : str, token ids, or ChatPrompt
            That of a conversation, from `chat_prompt`, has its own params, and its events separate the reasoning and
            the tool calls from the text.
        params : SamplingParams, optional
        priority : int
            See `generate`.

        Returns
        -------
        Handle
            Yields events; the last one is a FinishEvent with the Completion, or an ErrorEvent.

        Raises
        ------
        ParameterError, ContextFullError
            See `generate`; raised by this call.
        """
        return self.engine.loop.submit(self._text_request(prompt, params, priority))

    @overload
    def chat(
        self, messages: Messages, params: SamplingParams | None = None, *, use_tqdm: bool = False,
        stream: Literal[False] = False, **options: Unpack[ChatKeywords],
    ) -> Completion: ...  # fmt: skip
    @overload
    def chat(
        self, messages: Sequence[Messages], params: SamplingParams | Sequence[SamplingParams] | None = None, *,
        use_tqdm: bool = False, stream: Literal[False] = False, **options: Unpack[ChatKeywords],
    ) -> list[Completion]: ...  # fmt: skip
    @overload
    def chat(
        self, messages: Messages, params: SamplingParams | None = None, *, stream: Literal[True],
        **options: Unpack[ChatKeywords],
    ) -> TextStream: ...  # fmt: skip
    def chat(
        self, messages: Messages | Sequence[Messages],
        params: SamplingParams | Sequence[SamplingParams] | None = None, *,
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None, use_tqdm: bool = False,
        lora: Lora = None, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template: Template | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None, continue_final_message: bool = False,
        add_generation_prompt: bool | None = None, priority: int = 0, stream: bool = False,
    ) -> Completion | list[Completion] | TextStream:  # fmt: skip
        """Generate the next message of a conversation, or of each of several, which run as one batch.

        The model's chat template makes the prompt; the tokens of earlier turns are in the prefix cache.

        Parameters
        ----------
        messages : list of dict, or list of such lists
            {"role": "system" | "user" | "assistant" | "tool", "content": str or list of parts}, oldest first. A part is
            {"type": "text", "text": str}, {"type": "image_url", "image_url": {"url": str}}, a PIL.Image, a path or an
            array (docs/multimodal.md). Names of special tokens become special tokens, as in other engines: remove them
            from untrusted text.
        params : SamplingParams or list of SamplingParams, optional
            For all conversations, or one for each.
        tools : list of dict, optional
            Tools that the model may call, in OpenAI's format; the schemas of arguments are enforced (docs/tools.md).
        tool_choice : {"auto", "none", "required"} or dict
            Whether it calls them; {"type": "function", "function": {"name": ...}}: it must call this tool. OpenAI's
            "allowed_tools" restrict it to some of them.
        chat_template : str or PathLike, optional
            A chat template in place of the model's: its text, or the path of a file.
        chat_template_kwargs : dict, optional
            Variables of the chat template, such as {"enable_thinking": False}; their values must be valid JSON.
        continue_final_message : bool
            Continue the last message, which must be the assistant's, of text or reasoning.
        add_generation_prompt : bool, optional
            End the prompt with the beginning of a message of the assistant; by default unless one is continued.
        sampling_params, lora, use_tqdm, priority
            See `generate`.
        stream : bool
            Return a stream of pieces of text; for one conversation.

        Returns
        -------
        Completion, list of Completion, or TextStream
            `reasoning` has what the model thought before the answer, `tool_calls` its calls (docs/chat.md).

        Raises
        ------
        TemplateError, GrammarError, ParameterError, ContextFullError
            If there is no chat template, it does not support tools, or it fails for these messages; or see `generate`.
        """
        chosen, begins = chosen_params(params, sampling_params, lora), add_generation_prompt
        options = ChatOptions(tools, tool_choice, chat_template_kwargs, True, continue_final_message, begins)
        if stream:
            return self._text_stream(self._one_prompt(messages, chosen, options, chat_template), DEFAULT, priority)
        several, conversations = conversations_of(messages)
        requests = self._chat_requests(conversations, chosen, options, chat_template, priority)
        self._complete(requests, use_tqdm)
        completions = [request.completion() for request in requests]
        return completions if several else completions[0]

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
        """Generate the text between a prefix and a suffix (fill-in-the-middle), with the model's FIM tokens.

        Parameters
        ----------
        prefix, suffix : str
            The text before the gap and after it.
        params : SamplingParams, optional
        priority : int
            See `generate`.
        order : {"psm", "spm"}, optional
            Whether the prefix or the suffix comes first in the prompt; by default as in the file (docs/infill.md).
        stream : bool
            Return a stream of pieces of text.

        Raises
        ------
        ParameterError
            If the model has no FIM tokens, or not those of this order; else see `generate`.
        ContextFullError
            See `generate`.
        """
        ids = self.tokenizer.infill(prefix, suffix, order)
        return (
            self.stream(ids, params, priority=priority) if stream else self.generate(ids, params, priority=priority)[0]
        )

    def logits(
        self, token_ids: Sequence[int], decoder_tokens: Sequence[int] | None = None, *,
        params: SamplingParams = DEFAULT, priority: int = 0,
    ) -> npt.NDArray[np.float32]:  # fmt: skip
        """Return the logits after every token of a sequence.

        Parameters
        ----------
        token_ids : sequence of int
            At least one, at most n_ctx.
        decoder_tokens : sequence of int, optional
            For models with an encoder, whose input is token_ids: the decoder's tokens, for which logits are computed.
        params : SamplingParams, optional
            Those whose LoRA adapters and control vectors are used; nothing else of them matters here.
        priority : int
            See `generate`.

        Returns
        -------
        float32 [n_tokens, n_vocab]

        Raises
        ------
        ParameterError, ContextFullError
            See `generate`.
        """
        request = self._logits_request(token_ids, decoder_tokens, priority, params)
        self.engine.complete([request])
        return request.logits

    @overload
    def score(
        self, prompt: Prompt, continuation: str | Sequence[int], logprobs: int = 1, *, priority: int = 0
    ) -> Score: ...
    @overload
    def score(
        self, prompt: Prompt, continuation: list[str] | list[list[int]], logprobs: int = 1, *, priority: int = 0
    ) -> list[Score]: ...
    def score(
        self, prompt: Prompt, continuation: str | Sequence[int] | list[str] | list[list[int]], logprobs: int = 1,
        *, priority: int = 0,
    ) -> Score | list[Score]:  # fmt: skip
        """Return the logprobs of one or several continuations of a prompt.

        Logits are not kept beyond their step, so the memory does not grow with the length of a continuation.

        Parameters
        ----------
        prompt : str or token ids
            The BOS token is added to text if the model expects it. If the model has an encoder, this is its input.
        continuation : str or token ids, or a list of either
            If both are text, they are tokenized as one text, and all tokens after the common prefix with the tokens of
            the prompt are scored. Pass token ids to choose the boundary.
        logprobs : int
            Number of most probable tokens to report at each position; at least 1.
        priority : int
            See `generate`.

        Returns
        -------
        Score, or list of Score

        Raises
        ------
        ParameterError
            If either has no tokens, or a token id does not exist.
        ContextFullError
            If prompt and continuation together are longer than the context.
        """
        single, pairs = self._pairs(prompt, continuation)
        requests: list[ScoreRequest] = []
        for batch in (pairs[:1], pairs[1:]):  # the first one puts the prompt into the prefix cache
            now = self._score_requests(batch, logprobs, priority)
            self.engine.complete(now)
            requests += now
        scores = [request.score() for request in requests]
        return scores[0] if single else scores

    def close(self) -> None:
        """Free all memory, after the running step has ended; unfinished requests fail with a RealizarError."""
        self._shut()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
