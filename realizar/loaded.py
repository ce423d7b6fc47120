"""LoadedModel: a model with its engine, which converts arguments to requests; the base of LLM and AsyncLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from realizar import store
from realizar.calls import ChatPrompt, ChatText
from realizar.engine.engine import Engine
from realizar.engine.progress import request_progress
from realizar.engine.scoring import pooler
from realizar.errors import ParameterError, RealizarError, memory_for, short_repr
from realizar.forks import Lock, cached_property
from realizar.model import load as load_model
from realizar.params import Activations, EngineParams, KVType, Part, SamplingParams, Speculation, Tokens
from realizar.params.checks import check
from realizar.params.names import ENGINE_HINTS, explains_unknown_names
from realizar.params.per_prompt import as_prompts, from_mapping, is_parts, params_of_each, text_of
from realizar.params.prompt import NO_LISTS
from realizar.pictures.beside import mmproj_beside
from realizar.pictures.conversation import MediaReader
from realizar.pictures.encoder import CACHE_BYTES, PictureEncoder
from realizar.pictures.kind import KINDS, PICTURE, MediaKind
from realizar.pictures.projector_file import ProjectorFile, modalities_of
from realizar.tokenizer.pairs import pair_ids

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from realizar.engine.request import Request, TextRequest
    from realizar.engine.scoring import EmbeddingRequest, LogitsRequest, RankRequest, ScoreRequest
    from realizar.engine.stats import EngineStats
    from realizar.model import Model
    from realizar.tokenizer import Tokenizer

Prompt = str | Sequence[int] | Sequence[Part] | Mapping[str, Any]
"""Text, token ids, a list of parts, at least one of which is `Tokens` or `Embeddings`, or a dict as vLLM has them."""
Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]
Pooling = Literal["auto", "mean", "cls", "last", "rank"] | None
ToolChoice = Literal["auto", "none", "required"] | Mapping[str, Any]

R = TypeVar("R", bound="Request")

DEFAULT = SamplingParams()
"""The params of a request without params."""


@explains_unknown_names(ENGINE_HINTS)
class LoadedModel:
    """A loaded model that makes requests; `LLM` and `AsyncLLM` run them. Parameters and errors: see `LLM`."""

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
        speculate: Speculation | None = None,
        draft: str | os.PathLike[str] | None = None,
        n_draft: int = 31,
        max_waiting: int | None = None,
        backend: str = "cpu",
        mmproj: str | os.PathLike[str] | None = None,
        allow_urls: bool | Sequence[str] = False,
        device: str = "cpu",
        n_gpu_layers: int | None = None,
        n_cpu_moe: int = 0,
        tensor_devices: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
    ) -> None:
        self._engine: Engine | None = None
        self._encoders: dict[MediaKind, PictureEncoder] = {}
        self._encoder_lock = Lock()
        self.portable_name = store.portable(model)
        self.params = EngineParams(
            n_threads, n_ctx, n_seqs, n_batch, kv_type, activations, load, speculate, draft, n_draft,
            max_waiting, backend, mmproj, allow_urls,  # type: ignore[arg-type]
            device, n_gpu_layers, n_cpu_moe, tensor_devices,  # type: ignore[arg-type]
        )  # fmt: skip
        models: list[Model] = []
        try:
            with memory_for(f"loading {short_repr(model)}", lambda: _sizes(models, self.params)):
                models.append(load_model(store.resolve(model), load, has_draft=speculate == "mtp"))
                if draft is not None:
                    models.append(load_model(store.resolve(draft), load, target=models[0]))
                    if models[1].architecture.is_draft:
                        models[0].attach(models.pop())
                self._engine = Engine(models[0], self.params, models[1] if len(models) > 1 else None)
            if mmproj is not None and self._mmproj is not None:
                for kind in KINDS:
                    if kind.modality in modalities_of(self._mmproj):
                        self._encoder_of(kind)
        except Exception:
            self._shut()
            for loaded in models:
                loaded.close()
            raise

    def __repr__(self) -> str:
        state = "closed" if self._engine is None else f"{self._engine.model.architecture.name}, n_ctx={self.n_ctx}"
        return f"<{type(self).__name__} {self.portable_name!r}: {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the model and the params: unpickling, and so a copy, loads the model anew.

        Raises
        ------
        RealizarError
            If the LLM is closed.
        """
        self.engine  # noqa: B018 - raises
        params = {field.name: getattr(self.params, field.name) for field in fields(EngineParams)}
        for name in ("draft", "mmproj"):
            params[name] = None if params[name] is None else store.portable(params[name])
        return _load, (type(self), self.portable_name, params)

    @property
    def engine(self) -> Engine:
        """The engine, for tools that need its internals.

        Raises
        ------
        RealizarError
            If the LLM is closed.
        """
        if self._engine is None:
            raise RealizarError("this LLM is closed; make a new one")
        return self._engine

    @property
    def media_reader(self) -> MediaReader | None:
        """What reads the pictures and sounds of conversations; None if the model has no mmproj file."""
        return None if self._mmproj is None else MediaReader(self._encoder_of, self.params.allow_urls)

    @property
    def n_media_bytes(self) -> int:
        """Bytes of memory that the encoders of pictures and sounds need at most, also before they are loaded."""
        if self._mmproj is None:
            return 0
        encoders = list(self._encoders.values())
        return sum(one.n_bytes for one in encoders) if encoders else self._mmproj.stat().st_size + CACHE_BYTES

    @cached_property
    def _mmproj(self) -> Path | None:
        """The file with the encoders of pictures and sounds: the one given, else one beside the model."""
        given = self.params.mmproj
        return mmproj_beside(self.engine.model.file.path) if given is None else store.resolve(given)

    def _encoder_of(self, kind: MediaKind) -> PictureEncoder:
        """The encoder of pictures or sounds, loaded at first use; a picture has at most half of the context."""
        with self._encoder_lock:
            hp, path = self.engine.model.hp, self._mmproj
            if kind not in self._encoders:
                if path is None:
                    raise kind.error(f"the model has no mmproj file, which has the encoder of {kind.noun}s")
                if kind.modality not in modalities_of(path):
                    raise kind.error(f"{path.name}, the model's mmproj file, has no encoder of {kind.noun}s")
                file = ProjectorFile(path, self.params.load, kind.modality)
                n_deepstack, n_rows = (hp.n_deepstack, self.n_ctx // 2) if kind is PICTURE else (0, self.n_ctx)
                self._encoders[kind] = PictureEncoder(file, hp.n_embd, n_deepstack, self.params, n_rows, self.n_ctx)
            return self._encoders[kind]

    def _shut(self) -> None:
        """Close the engine, and the encoders of pictures and sounds."""
        with self._encoder_lock:  # a thread that loads the encoder meanwhile has stored it, so that it is closed
            engine, self._engine = self._engine, None
            encoders, self._encoders = self._encoders, {}
        for encoder in encoders.values():
            encoder.close()
        if engine is not None:
            engine.close()

    @property
    def sampling_defaults(self) -> Mapping[str, Any]:
        """The model file's defaults for fields of `SamplingParams`, used by requests that leave them unset."""
        return self.engine.sampling_defaults

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, built at first use."""
        return self.engine.model.tokenizer

    @property
    def n_ctx(self) -> int:
        """Maximum number of tokens of a sequence (context length)."""
        return self.engine.n_ctx

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Return the token ids of a text.

        Parameters
        ----------
        text : str
        add_special : bool
            Add BOS and EOS if the model expects them.
        parse_special : bool
            Convert names of special tokens to these tokens; never do this with untrusted text.
        """
        with memory_for("tokenizing", lambda: f"the text has {len(text)} characters"):
            return self.tokenizer.encode(text, add_special, parse_special)

    def detokenize(self, token_ids: Sequence[int], skip_special: bool = True) -> str:
        """Return the text of token ids, by default without special tokens."""
        return self.tokenizer.decode(token_ids, skip_special)

    def stats(self) -> EngineStats:
        """Return the engine's statistics: requests, cache, tokens, seconds."""
        return self.engine.stats()

    def _text_requests(
        self, prompts: Any, params: SamplingParams | Sequence[SamplingParams] | None, priority: int
    ) -> list[TextRequest]:
        """Submit the requests of one or several prompts, each with its params; all of them or none."""
        several = as_prompts(prompts)
        each = params_of_each(DEFAULT if params is None else params, len(several))
        return self._all_or_none(self._text_request(*pair, priority) for pair in zip(several, each, strict=True))

    def _complete(self, requests: Sequence[Request], use_tqdm: bool) -> None:
        """Compute requests to their end, with a progress bar if wanted."""
        check(isinstance(use_tqdm, bool), "use_tqdm", use_tqdm, "True or False")
        with request_progress(requests) if use_tqdm else nullcontext():
            self.engine.complete(requests)

    def _all_or_none(self, requests: Iterable[R]) -> list[R]:
        """Submit requests one by one; if one is rejected, cancel the previous ones."""
        made: list[R] = []
        try:
            made.extend(requests)
        except BaseException:
            self.engine.cancel(made)
            raise
        return made

    def _text_request(self, prompt: Prompt | ChatPrompt, params: SamplingParams, priority: int) -> TextRequest:
        """Submit a prompt; that of a conversation has its own params."""
        chat = _as_chat(prompt, params)
        request: TextRequest
        if isinstance(chat.params, SamplingParams) and chat.params.n_beams > 1:
            request = self.engine.beam_search(self._ids(chat.ids), chat.params, priority, chat.reasoning)
        else:
            request = self.engine.generate(self._ids(chat.ids), chat.params, chat.tools, priority, chat.reasoning)
        request.prompt_text = text_of(chat.ids) if chat.text is None else chat.text
        return request

    def _streamed(self, prompt: Prompt | ChatPrompt, params: SamplingParams, priority: int) -> TextRequest:
        """Submit a request whose completion is streamed."""
        chat = _as_chat(prompt, params)
        if isinstance(chat.params, SamplingParams) and chat.params.n_sequences > 1:
            raise ParameterError(
                f"{chat.params.n_sequences} completions cannot be one stream; use generate or events, or n=1"
            )
        return self._text_request(chat, DEFAULT, priority)

    def _logits_request(
        self, token_ids: Any, decoder_tokens: Sequence[int] | None, priority: int, params: SamplingParams = DEFAULT
    ) -> LogitsRequest:
        if isinstance(from_mapping(token_ids), str):
            raise ParameterError(
                f"logits: token ids are needed, found the text {short_repr(token_ids)}; its ids are llm.tokenize(text)"
            )
        if decoder_tokens is None:
            return self.engine.logits(self._ids(token_ids), None, priority, params)
        return self.engine.logits(decoder_tokens, token_ids, priority, params)

    def _pairs(self, prompt: Prompt, continuation: Any) -> tuple[bool, list[tuple[Sequence[int], Sequence[int]]]]:
        """Return whether `continuation` is a single one, and (prompt tokens, continuation tokens) for each one."""
        single = not isinstance(continuation, list) or all(isinstance(item, Integral) for item in continuation)
        return single, [self._ids_of_both(prompt, text) for text in ([continuation] if single else continuation)]

    def _score_requests(
        self, pairs: Iterable[tuple[Sequence[int], Sequence[int]]], n_top: int, priority: int
    ) -> list[ScoreRequest]:
        return self._all_or_none(self.engine.score(*pair, n_top, priority) for pair in pairs)

    def _ids_of_both(self, prompt: Prompt, continuation: Any) -> tuple[Sequence[int], Sequence[int]]:
        """Return the tokens of a prompt, and of its continuation."""
        has_encoder = self.engine.model.has_encoder
        if not isinstance(continuation, str):
            return self._ids(prompt, is_continued=not has_encoder), continuation
        if not isinstance(prompt, str) or has_encoder:
            ids = self._ids(prompt, is_continued=not has_encoder)
            return ids, self.tokenize(continuation, add_special=False)
        alone, both = self.tokenize(prompt), self.tokenize(prompt + continuation)
        n = next((i for i, (a, b) in enumerate(zip(alone, both, strict=False)) if a != b), min(len(alone), len(both)))
        if alone and not n:
            raise ParameterError(
                f"score: {short_repr(prompt)} and {short_repr(continuation)} merge into one token at the boundary; "
                "nothing is left to condition on; give a longer prompt, or token ids"
            )
        return both[:n], both[n:]

    def _pooler(self, pooling: str | None, normalize: bool, dimensions: int | None) -> Callable[[Sequence[Any]], Any]:
        model = self.engine.model
        n = len(model.labels) if pooling == "rank" else model.n_hidden
        return pooler(model.pooling if pooling == "auto" else pooling, normalize, dimensions, n)

    def _vector_requests(
        self, texts: Any, pooling: str | None, prompt: str | None, priority: int
    ) -> list[EmbeddingRequest | RankRequest]:
        make: Callable[..., EmbeddingRequest | RankRequest]
        make = self.engine.rank if pooling == "rank" else self.engine.embed
        each = (self._ids(after_prompt(prompt, text)) for text in as_prompts(texts))
        return self._all_or_none(make(ids, priority=priority) for ids in each)

    def _pair_requests(
        self, query: str, documents: Sequence[str], prompt: str | None, priority: int
    ) -> list[RankRequest]:
        labels = self.engine.model.labels
        if len(labels) > 1 and labels[0] != "yes":
            raise ParameterError(f"rerank: the head has {len(labels)} classes ({short_repr(labels)}); use classify")
        is_list = isinstance(documents, Iterable) and not isinstance(documents, NO_LISTS)
        texts: list[Any] = list(documents) if is_list else [None]
        if not all(isinstance(text, str) for text in (query, *texts)):
            raise ParameterError(
                f"rerank: a query and a list of documents, all of them text, are needed; found {short_repr(query)} and "
                f"{short_repr(documents)}"
            )
        each = (pair_ids(self.tokenizer, query, text, prompt) for text in texts)
        return self._all_or_none(self.engine.rank(ids, priority=priority) for ids in each)

    def _class_requests(self, texts: Any, priority: int) -> list[RankRequest]:
        return self._all_or_none(self.engine.rank(self._ids(text), "classes", priority) for text in as_prompts(texts))

    def _classes(self, requests: Iterable[RankRequest]) -> list[dict[str, float]]:
        """Return the classes of each text, most probable first."""
        labels, rows = self.engine.model.labels, [request.hidden[0].tolist() for request in requests]
        return [dict(sorted(zip(labels, row, strict=True), key=lambda pair: -pair[1])) for row in rows]

    def _ids(self, prompt: Prompt, is_continued: bool = False) -> Any:
        """Return token ids, or parts without text.

        If the model uses them, text at the beginning gets BOS, and text at the end EOS unless it is continued.
        """
        prompt = from_mapping(prompt)
        if isinstance(prompt, ChatText):
            return self.tokenizer.encode(prompt, add_special=False, parse_special=True)
        if not isinstance(prompt, str) and not is_parts(prompt):
            return prompt
        before, after = self.tokenizer.ids_before, () if is_continued else self.tokenizer.ids_after
        if isinstance(prompt, str):
            return [*before, *self.tokenize(prompt, add_special=False), *after]
        parts: list[Any] = []
        for i, part in enumerate(prompt):
            if isinstance(part, str):
                ids = self.tokenize(part, add_special=False)
                ids = [*(before if i == 0 else ()), *ids, *(after if i == len(prompt) - 1 else ())]
                parts += [Tokens(ids)] if ids else []
            else:
                parts.append(part)
        return parts


def _as_chat(prompt: Any, params: SamplingParams) -> ChatPrompt:
    """Return a prompt with its params."""
    if not isinstance(prompt, ChatPrompt):
        return ChatPrompt(prompt, params)
    if params is not DEFAULT:
        raise ParameterError("params: the prompt of a conversation has its own; pass them to chat_prompt")
    return prompt


def after_prompt(prompt: str | None, text: Any) -> Any:
    """Return a text after the prompt, if there is one."""
    if prompt is None:
        return text
    if not isinstance(prompt, str) or not isinstance(text, str):
        raise ParameterError(
            f"prompt={short_repr(prompt)} before {short_repr(text)}: both must be text; put the prompt's ids before ids"
        )
    return prompt + text


def _load(cls: type[LoadedModel], model: str, params: dict[str, Any]) -> LoadedModel:
    """Load a model that was pickled."""
    return cls(model, **params)


def ranked(requests: Iterable[RankRequest]) -> list[tuple[int, float]]:
    """Return the numbers of requests and their first output, greatest first."""
    scores = enumerate(float(request.hidden[0, 0]) for request in requests)
    return sorted(scores, key=lambda pair: -pair[1])


def _sizes(models: list[Model], params: EngineParams) -> str:
    """Return the requested sizes, for the error message of exhausted memory."""
    asked = "".join(f"{m.file.path.name} has {m.file.n_bytes / 2**20:.1f} MiB; " for m in models)
    return f"{asked}requested were n_seqs={params.n_seqs} of n_ctx={params.n_ctx} tokens; use less, or load='mmap'"
