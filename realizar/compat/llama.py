"""Llama: llama-cpp-python's class of this name, on realizar's engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from realizar.arch import ArchMetadata
from realizar.compat.llama_options import POOLING, RANDOM_SEED, check_others, gpu_layers, kv_type, speculation
from realizar.compat.llama_sampling import constraint, sampling
from realizar.compat.llama_shapes import ChatShapes, TextShapes, as_text, embedding_response, finished
from realizar.engine.output import ErrorEvent, TokensEvent
from realizar.errors import GGUFError, ParameterError, UnsupportedError, short_repr
from realizar.llm import LLM
from realizar.params.checks import as_tuple
from realizar.store import hub

if TYPE_CHECKING:
    import os

    from realizar.params import SamplingParams

Response = dict[str, Any]

_LOW_LEVEL = "use create_completion, or realizar.LLM.logits for logits"
_STATES = "beginnings of prompts are cached; realizar.LLM.save_cache and load_cache keep them in a file"
_MISSING = {
    "eval": _LOW_LEVEL,
    "sample": _LOW_LEVEL,
    "scores": _LOW_LEVEL,
    "eval_logits": _LOW_LEVEL,
    "n_tokens": _LOW_LEVEL,
    "save_state": _STATES,
    "load_state": _STATES,
    "tokenizer": "use tokenize and detokenize",
    "create_chat_completion_openai_v1": "use create_chat_completion",
    "ctx": "realizar does not use llama.cpp",
    "model": "realizar does not use llama.cpp",
}
"""What llama-cpp-python's class has and this one has not -> what to do."""


class Llama:
    """A loaded model with the methods, defaults and results of llama-cpp-python 0.3. Thread-safe.

    Parameters
    ----------
    model_path : str or PathLike
        As for `LLM`: a path, a name from `realizar list`, or a reference to the Hugging Face hub.
    n_ctx : int
        Context length; 0 is that of the model, at most 4096.
    n_batch : int
        Maximum number of tokens in one step.
    n_threads : int, optional
        Worker threads; by default the number of physical cores available to the process.
    use_mmap : bool
        Map the file, or read it into memory.
    seed : int
        Seed of completions without one; by default each has another.
    pooling_type : int
        -1, of the file, or else none; 0 none, 1 mean, 2 cls, 3 last, 4 rank.
    last_n_tokens_size : int
        Number of last tokens that penalties consider.
    type_k, type_v : int, optional
        Type of cached keys and values: 0 f32, 1 f16, 2 q4, 8 int8.
    draft_model : LlamaPromptLookupDecoding, optional
        Speculative decoding by prompt lookup.
    spm_infill : bool
        With a suffix, put it before the prefix.
    n_gpu_layers : int
        Layers on a GPU, if there is one; -1: as many as fit, if it is faster.
    **others
        Options without effect, such as verbose.

    Raises
    ------
    UnsupportedError
        If an option asks for what is not supported.
    TypeError
        If there is no such option.
    RealizarError
        See `LLM`.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        n_ctx: int = 512,
        n_batch: int = 512,
        n_threads: int | None = None,
        use_mmap: bool = True,
        seed: int = RANDOM_SEED,
        pooling_type: int = -1,
        last_n_tokens_size: int = 64,
        type_k: int | None = None,
        type_v: int | None = None,
        draft_model: Any = None,
        spm_infill: bool = False,
        n_gpu_layers: int = 0,
        **others: Any,
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name not in ("self", "others")}
        check_others(others, list(self._arguments))
        if pooling_type not in POOLING:
            raise UnsupportedError(
                f"pooling_type={short_repr(pooling_type)}: must be one of {', '.join(map(str, POOLING))}"
            )
        self._llm = LLM(
            model_path, n_ctx=n_ctx or None, n_batch=n_batch, n_threads=n_threads, load="mmap" if use_mmap else "read",
            kv_type=(kv_type("type_k", type_k), kv_type("type_v", type_v)),  # type: ignore[arg-type]
            **speculation(draft_model), **gpu_layers(n_gpu_layers),
        )  # fmt: skip
        self.model_path = str(model_path)
        self._seed = seed
        self._pooling_type = pooling_type
        self._last_n = last_n_tokens_size
        self._order: Any = "spm" if spm_infill else None

    def __repr__(self) -> str:
        return f"<Llama on {self._llm!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments: unpickling, and so a copy, loads the model anew."""
        return _load, (type(self), {**self._arguments, "model_path": self._llm.portable_name})

    def __getattr__(self, name: str) -> NoReturn:
        hint = f": {_MISSING[name]}" if name in _MISSING else ""
        raise AttributeError(f"realizar.compat.Llama has no attribute {name!r}{hint}")

    @classmethod
    def from_pretrained(
        cls, repo_id: str, filename: str, additional_files: Sequence[str] | None = None,
        local_dir: str | os.PathLike[str] | None = None, local_dir_use_symlinks: bool | str = "auto",
        cache_dir: str | os.PathLike[str] | None = None, **kwargs: Any,
    ) -> Llama:  # fmt: skip
        """Load a model from the Hugging Face hub.

        Parameters
        ----------
        repo_id : str
            owner/repo
        filename : str
            Name of the file in the repository, or a glob that only it matches. All parts of a split model are loaded.
        additional_files, local_dir_use_symlinks
            Have no effect.
        local_dir, cache_dir
            Must be None: the environment variable REALIZAR_CACHE sets the folder.
        **kwargs
            Arguments of `Llama`.

        Raises
        ------
        ModelNotFoundError
            If no file matches, or several do.
        DownloadError
            If the hub cannot be reached.
        UnsupportedError
            If a folder is given.
        """
        for name, value in (("local_dir", local_dir), ("cache_dir", cache_dir)):
            if value is not None:
                raise UnsupportedError(f"{name}={short_repr(value)} is not supported: set REALIZAR_CACHE to the folder")
        return cls(hub.matching(repo_id, filename), **kwargs)

    def create_completion(
        self, prompt: str | Sequence[int], suffix: str | None = None, max_tokens: int | None = 16,
        temperature: float = 0.8, top_p: float = 0.95, min_p: float = 0.05, typical_p: float = 1.0,
        logprobs: int | None = None, echo: bool = False, stop: str | Sequence[str] | None = (),
        frequency_penalty: float = 0.0, presence_penalty: float = 0.0, repeat_penalty: float = 1.0, top_k: int = 40,
        stream: bool = False, seed: int | None = None, tfs_z: float = 1.0, mirostat_mode: int = 0,
        mirostat_tau: float = 5.0, mirostat_eta: float = 0.1, model: str | None = None, stopping_criteria: Any = None,
        logits_processor: Any = None, grammar: Any = None, logit_bias: Mapping[Any, float] | None = None,
    ) -> Response | Iterator[Response]:  # fmt: skip
        """Continue a prompt, or fill the gap before a suffix.

        Names of special tokens in the prompt become special tokens: remove them from untrusted text.

        Returns
        -------
        dict, or iterator of dict
            OpenAI's completion; with `stream` its chunks.

        Raises
        ------
        ParameterError, UnsupportedError, GrammarError, ContextFullError
            See `LLM.generate` and docs/migrating.md.
        """
        given = dict(locals())
        own = {**constraint(grammar), "logprobs": logprobs}
        if echo and logprobs is not None:
            own["prompt_logprobs"] = logprobs
        ids = self._prompt_ids(prompt, suffix)
        is_shown = echo or logprobs is not None
        text = prompt if isinstance(prompt, str) else self._llm.detokenize(ids) if is_shown else ""
        shapes = TextShapes(self._llm.tokenizer, model or self.model_path, text, echo, logprobs is not None)
        events = self._llm.events(ids, self._params(given, own))
        return shapes.chunks(events) if stream else shapes.whole(finished(events))

    __call__ = create_completion

    def create_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], functions: Sequence[Mapping[str, Any]] | None = None,
        function_call: str | Mapping[str, Any] | None = None, tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: Any = None, temperature: float = 0.2, top_p: float = 0.95, top_k: int = 40, min_p: float = 0.05,
        typical_p: float = 1.0, stream: bool = False, stop: str | Sequence[str] | None = (), seed: int | None = None,
        response_format: Mapping[str, Any] | None = None, max_tokens: int | None = None, presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0, repeat_penalty: float = 1.0, tfs_z: float = 1.0, mirostat_mode: int = 0,
        mirostat_tau: float = 5.0, mirostat_eta: float = 0.1, model: str | None = None, logits_processor: Any = None,
        grammar: Any = None, logit_bias: Mapping[Any, float] | None = None, logprobs: bool | None = None,
        top_logprobs: int | None = None,
    ) -> Response | Iterator[Response]:  # fmt: skip
        """Answer a conversation, with the chat template of the file.

        Returns
        -------
        dict, or iterator of dict
            OpenAI's chat completion; with `stream` its chunks.

        Raises
        ------
        TemplateError, ParameterError, UnsupportedError, GrammarError, ContextFullError
            See `LLM.chat` and docs/migrating.md.
        """
        given = dict(locals())
        own = {**constraint(grammar, response_format), "logprobs": (top_logprobs or 0) if logprobs else None}
        if functions is not None:
            tools = [{"type": "function", "function": function} for function in functions]
            tool_choice = (
                {"type": "function", "function": function_call} if isinstance(function_call, Mapping) else function_call
            )
        made = self._llm.chat_prompt(
            messages, self._params(given, own), tools=tools or None, tool_choice=tool_choice or "auto"
        )
        shapes = ChatShapes(self._llm.tokenizer, model or self.model_path, bool(logprobs), functions is not None)
        events = self._llm.events(made._replace(reasoning=None))  # llama-cpp-python leaves it in the content
        return shapes.chunks(events) if stream else shapes.whole(finished(events))

    def generate(
        self, tokens: Sequence[int], top_k: int = 40, top_p: float = 0.95, min_p: float = 0.05, typical_p: float = 1.0,
        temp: float = 0.80, repeat_penalty: float = 1.0, reset: bool = True, frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0, tfs_z: float = 1.0, mirostat_mode: int = 0, mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1, logits_processor: Any = None, stopping_criteria: Any = None, grammar: Any = None,
    ) -> Iterator[int]:  # fmt: skip
        """Yield token ids after a prompt, also after an end-of-generation token, until the context is full.

        The tokens that it yields are not changed by what is sent to it; `reset` has no effect.
        """
        given = {**locals(), "temperature": temp, "max_tokens": None, "stop": None, "seed": None, "logit_bias": None}
        own = {**constraint(grammar), "ignore_eos": stopping_criteria is None}
        for event in self._llm.events(tokens, self._params(given, own)):
            if isinstance(event, ErrorEvent):
                raise event.error
            if isinstance(event, TokensEvent):
                yield from event.token_ids

    def _params(self, given: Mapping[str, Any], own: Mapping[str, Any]) -> SamplingParams:
        seed = given["seed"]
        if seed is None and self._seed != RANDOM_SEED:
            seed = self._seed
        return sampling(given, self._last_n, seed, self._llm.tokenizer.eog_ids, own)

    def _prompt_ids(self, prompt: str | Sequence[int], suffix: str | None) -> Sequence[int]:
        if not isinstance(prompt, str):
            if suffix is not None:
                raise UnsupportedError("suffix: the prompt must be text, found token ids")
            return prompt
        if suffix is not None:
            return self._llm.tokenizer.infill(prompt, suffix, self._order)
        return self._llm.tokenize(prompt, parse_special=True) or [self.token_bos()]

    def embed(
        self, input: str | Sequence[str], normalize: bool = False, truncate: bool = True, return_count: bool = False
    ) -> Any:
        """Return the embedding of a text, or a list of those of several: lists of floats.

        Without pooling (see `pooling_type`), the embedding of a text is a list with one for each token.

        Parameters
        ----------
        input : str or list of str
        normalize : bool
            Scale pooled vectors to length 1.
        truncate : bool
            Cut texts of more than n_batch tokens.
        return_count : bool
            Return the number of tokens of all texts, too.

        Raises
        ------
        ParameterError, ContextFullError
            See `LLM.embed`.
        """
        texts = [input] if isinstance(input, str) else as_tuple("input", input, "a text or a list of texts")
        ids = [self._llm.tokenize(text) for text in texts]
        if truncate:
            ids = [each[: self.n_batch] for each in ids]
        vectors = [vector.tolist() for vector in self._llm.embed(ids, self._pooling, normalize)]
        found = vectors[0] if isinstance(input, str) else vectors
        return (found, sum(map(len, ids))) if return_count else found

    def create_embedding(self, input: str | Sequence[str], model: str | None = None) -> Response:
        """Return the embeddings of one or several texts as OpenAI's response. Raises as `embed`."""
        vectors, n_tokens = self.embed([input] if isinstance(input, str) else input, return_count=True)
        return embedding_response(vectors, model or self.model_path, n_tokens)

    @property
    def _pooling(self) -> Any:
        if self._pooling_type != -1:
            return POOLING[self._pooling_type]
        file = self._llm.engine.model.file
        found = ArchMetadata(file.metadata, file.architecture).integer("pooling_type", 0)
        if found not in POOLING:
            raise GGUFError(f"pooling_type: {found} is unknown in {file.path.name}; pass pooling_type")
        return POOLING[found]

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Return the token ids of a text in UTF-8.

        Raises
        ------
        ParameterError
            If the text is no bytes, or not valid UTF-8.
        """
        if not isinstance(text, bytes):
            raise ParameterError(f"tokenize: bytes are needed, found {short_repr(text)}; encode text with .encode()")
        try:
            return self._llm.tokenize(text.decode(), add_bos, special)
        except UnicodeDecodeError as error:
            raise ParameterError(f"tokenize: the bytes are not UTF-8: {error}") from None

    def detokenize(
        self, tokens: Sequence[int], prev_tokens: Sequence[int] | None = None, special: bool = False
    ) -> bytes:
        """Return the bytes of token ids; without `special` control tokens have none.

        After a BOS token, the space that the tokenizer puts before a text is left out. `prev_tokens` has no effect.
        """
        tokenizer, tokens = self._llm.tokenizer, as_tuple("tokens", tokens, "a list of token ids")
        found = b"".join(tokenizer.token_bytes(i) for i in tokens if special or not tokenizer.is_hidden(i))
        begins = len(tokens) > 0 and tokens[0] == tokenizer.bos_id and tokenizer.space_prefix
        return found[1:] if begins and found[:1] == b" " else found

    def set_cache(self, cache: object) -> None:
        """Do nothing: beginnings of prompts are cached anyway."""

    def set_seed(self, seed: int) -> None:
        """Set the seed of completions without one."""
        self._seed = seed

    def reset(self) -> None:
        """Do nothing: calls are independent of each other."""

    def close(self) -> None:
        """Free all memory."""
        self._llm.close()

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of the file as llama.cpp writes it as text: "true", "0.000010"; without lists."""
        found = self._llm.engine.model.file.metadata
        return {name: as_text(value) for name, value in found.items() if isinstance(value, (str, int, float, bool))}

    @property
    def n_batch(self) -> int:
        """Maximum number of tokens in one step."""
        return self._llm.params.n_batch

    def n_ctx(self) -> int:
        """Return the context length."""
        return self._llm.n_ctx

    def n_embd(self) -> int:
        """Return the size of an embedding."""
        return self._llm.engine.model.n_hidden

    def n_vocab(self) -> int:
        """Return the number of tokens."""
        return self._llm.tokenizer.n_vocab

    def token_bos(self) -> int:
        """Return the id of the BOS token; -1 if there is none."""
        return -1 if self._llm.tokenizer.bos_id is None else self._llm.tokenizer.bos_id

    def token_eos(self) -> int:
        """Return the id of the EOS token; -1 if there is none."""
        return -1 if self._llm.tokenizer.eos_id is None else self._llm.tokenizer.eos_id

    def token_nl(self) -> int:
        """Return the id of the line break; -1 if it is no token."""
        return (self._llm.tokenize("\n", add_special=False) or [-1])[-1]

    def pooling_type(self) -> int:
        """Return the number of the pooling of `embed`."""
        return next(number for number, name in POOLING.items() if name == self._pooling and number >= 0)


def _load(cls: type[Llama], arguments: dict[str, Any]) -> Llama:
    """Load a model that was pickled."""
    return cls(**arguments)
