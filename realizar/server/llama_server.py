"""Endpoints of llama-server: /tokenize, /detokenize, /apply-template, /props, and /infill for editors.

The shapes are those of llama.cpp's tools/server/README.md; /tokenize and /detokenize also have vLLM's fields.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import Field

from realizar import __version__
from realizar.server.errors import ApiError
from realizar.server.fields import Body, Samplers, sampling, unranked
from realizar.server.infill import infill_ids
from realizar.server.messages import messages_for, template_variables
from realizar.server.openai_shapes import token_logprob
from realizar.server.service import Serving, plain_prompt
from realizar.server.sse import JSON, events
from realizar.server.strict_json import StrictRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM
    from realizar.engine.output import Completion, Timings
    from realizar.engine.token_logprobs import TokenLogprobs
    from realizar.server.answers import Answers

router = APIRouter(route_class=StrictRoute)
_STOP_TYPES = {"length": "limit", "context": "limit", "time": "limit", "stop_string": "word"}
_SAMPLERS = {"typ_p": "typical_p", "temp": "temperature"}
"""llama.cpp's names of samplers that are ours under another name."""
DEFAULT_N_PREDICT = 128
"""Tokens of an infill where the client does not say how many; llama-server would fill the context."""


class TokenizeRequest(Body):
    """The body of POST /tokenize: llama-server's "content" or vLLM's "prompt"."""

    content: str | None = None
    prompt: str | None = None
    model: str | None = None
    add_special: bool = False
    add_special_tokens: bool | None = None
    parse_special: bool = True
    with_pieces: bool = False


class DetokenizeRequest(Body):
    """The body of POST /detokenize."""

    tokens: list[int]
    model: str | None = None


class TemplateRequest(Body):
    """The body of POST /apply-template."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    model: str | None = None


class ExtraFile(Body):
    """A file of which a part is put before the prefix."""

    text: str
    filename: str = "tmp"


class InfillRequest(Samplers):  # type: ignore[misc, valid-type]
    """The body of POST /infill; the samplers of SamplingParams are fields, too, and llama.cpp's names for them."""

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: list[ExtraFile] = Field(default_factory=list)
    prompt: str = ""
    model: str | None = None
    stream: bool = False
    n_predict: int = DEFAULT_N_PREDICT
    n_probs: int = Field(default=0, ge=0, le=20)
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    return_tokens: bool = False
    response_fields: list[str] | None = None
    id_slot: int = -1


@router.post("/tokenize", response_model=None)
async def tokenize(body: TokenizeRequest, service: Serving) -> Response:
    """Return the tokens of a text."""
    llm, _ = await service.llm(body.model)
    text = body.content if body.content is not None else body.prompt
    if text is None:
        raise ApiError(400, "content: a text is needed", "invalid_value", "content")
    # vLLM adds BOS unless it is told otherwise.
    adds = body.add_special if body.content is not None else body.add_special_tokens is not False
    ids = await service.in_thread(llm.tokenize, text, adds, body.parse_special)
    tokens = [{"id": i, "piece": _piece(llm, i)} for i in ids] if body.with_pieces else ids
    return JSON({"tokens": tokens, "count": len(ids), "max_model_len": llm.n_ctx})


def _piece(llm: AsyncLLM, token: int) -> str | list[int]:
    data = llm.tokenizer.token_bytes(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


@router.post("/detokenize", response_model=None)
async def detokenize(body: DetokenizeRequest, service: Serving) -> Response:
    """Return the text of tokens."""
    llm, _ = await service.llm(body.model)
    text = await service.in_thread(llm.detokenize, body.tokens, False)
    return JSON({"content": text, "prompt": text})


@router.post("/apply-template", response_model=None)
async def apply_template(body: TemplateRequest, service: Serving) -> Response:
    """Return the prompt of a conversation."""
    llm, _ = await service.llm(body.model)
    messages = messages_for(llm, body.messages)

    def rendered() -> str:
        variables = template_variables(llm, messages, body.tools, body.chat_template_kwargs)
        return llm.chat_text(messages, tools=body.tools or None, chat_template_kwargs=variables or None)

    return JSON({"prompt": await service.in_thread(rendered)})


@router.get("/tokenizer_info", response_model=None)
async def tokenizer_info(service: Serving, model: str | None = None) -> Response:
    """Describe the tokenizer of a loaded model, as vLLM does: lm-eval needs it to use /tokenize. It loads none."""
    llm, _ = await service.llm(model, loads=False)
    tokenizer = llm.tokenizer
    names = {"bos_token": tokenizer.bos_id, "eos_token": tokenizer.eos_id}
    info: dict[str, Any] = {name: tokenizer.tokens[i] for name, i in names.items() if i is not None}
    template = tokenizer.chat_template
    if template is not None:
        info["chat_template"] = template.source
    return JSON({**info, "model_max_length": llm.n_ctx})


@router.get("/props", response_model=None)
async def props(service: Serving, model: str | None = None) -> Response:
    """Describe the server and a loaded model, without its path.

    It loads none: a page in a browser can make a GET without an Origin.
    """
    llm, served = await service.llm(model, loads=False)
    tokenizer, params = llm.tokenizer, llm.params
    template, tokens = tokenizer.chat_template, tokenizer.tokens
    settings = {"n_ctx": llm.n_ctx, "params": {"n_predict": -1, **llm.sampling_defaults}}
    return JSON(
        {
            "default_generation_settings": settings,
            "total_slots": params.n_seqs,
            "model_alias": served.name,
            "model_path": served.name,
            "chat_template": "" if template is None else template.source,
            "bos_token": "" if tokenizer.bos_id is None else tokens[tokenizer.bos_id],
            "eos_token": "" if tokenizer.eos_id is None else tokens[tokenizer.eos_id],
            "modalities": {"vision": False, "audio": False},
            "build_info": f"realizar {__version__}",
            "is_sleeping": False,
        }
    )


@router.post("/infill", response_model=None)
async def infill(body: InfillRequest, service: Serving) -> Response:
    """Fill the gap between a prefix and a suffix."""
    llm, served = await service.llm(body.model)
    params = sampling(
        body, service.settings, max_tokens=None if body.n_predict < 0 else max(1, body.n_predict),
        repetition_penalty=body.repeat_penalty or body.repetition_penalty,
        penalty_last_n=body.penalty_last_n if body.repeat_last_n is None else body.repeat_last_n,
        logprobs=body.n_probs or None, seed=None if body.seed == -1 else body.seed, samplers=_samplers(body.samplers),
    )  # fmt: skip
    unranked(params)
    files = [(each.filename, each.text) for each in body.input_extra]
    ids = await service.in_thread(
        infill_ids, llm, body.input_prefix, body.input_suffix, body.prompt, files, params.max_tokens
    )
    answers = await service.submitted(llm, served, [plain_prompt(ids, params)], id_slot=body.id_slot)
    made = _Infill(llm, served.name, answers, body)
    if body.stream:
        return events(made.chunks(), lambda error: (None, error.openai))
    return JSON(await service.unless_gone(made.whole()))


def _samplers(names: list[str] | None) -> list[str] | None:
    """Return our names of samplers; one that is asked for twice is applied once."""
    return None if names is None else list(dict.fromkeys(_SAMPLERS.get(name, name) for name in names))


class _Infill:
    """The response to one infill, whole or in chunks."""

    def __init__(self, llm: AsyncLLM, name: str, answers: Answers, body: InfillRequest) -> None:
        self._llm = llm
        self._answers = answers
        self._body = body
        self._name = name

    async def whole(self) -> dict[str, Any]:
        """Return the whole response."""
        (reply,) = await self._answers.replies()
        return _selected(self._final(reply.text, reply), self._body.response_fields)

    async def chunks(self) -> AsyncIterator[tuple[None, Any]]:
        """Yield the chunks of a stream; the last one has no text."""
        async for piece in self._answers.pieces():
            if piece.text:
                yield None, {"index": 0, "content": piece.text, "tokens": [], "stop": False}
        (found,) = self._answers.completions
        yield None, _selected(self._final("", found), self._body.response_fields)

    def _final(self, text: str, completion: Completion) -> dict[str, Any]:
        timings = completion.timings
        word = completion.stop_reason if completion.finish_reason == "stop_string" else ""
        final = {
            "index": 0,
            "content": text,
            "tokens": completion.token_ids if self._body.return_tokens else [],
            "id_slot": self._answers.id_slot,
            "stop": True,
            "model": self._name,
            "tokens_predicted": timings.n_generated,
            "tokens_evaluated": timings.n_prompt,
            "tokens_cached": timings.n_cached,
            "truncated": completion.finish_reason == "context",
            "stop_type": _STOP_TYPES.get(completion.finish_reason, "eos"),
            "stopping_word": word,
            "timings": _timings(timings),
        }
        if completion.logprobs is not None:
            final["completion_probabilities"] = [_probability(self._llm, each) for each in completion.logprobs]
        return final


def _probability(llm: AsyncLLM, sampled: TokenLogprobs) -> dict[str, Any]:
    tops = [{"id": i, **token_logprob(llm.tokenizer, i, logprob)} for i, logprob in sampled.top]
    own = token_logprob(llm.tokenizer, sampled.token_id, sampled.logprob)
    return {"id": sampled.token_id, **own, "top_logprobs": tops}


def _timings(t: Timings) -> dict[str, Any]:
    n_prompt = t.n_prompt - t.n_cached
    return {
        "cache_n": t.n_cached,
        "prompt_n": n_prompt,
        "prompt_ms": 1e3 * t.prefill_s,
        "prompt_per_token_ms": 1e3 * t.prefill_s / n_prompt if n_prompt else 0.0,
        "prompt_per_second": t.prefill_tok_s,
        "predicted_n": t.n_generated,
        "predicted_ms": 1e3 * t.decode_s,
        "predicted_per_token_ms": 1e3 * t.decode_s / (t.n_generated - 1) if t.n_generated > 1 else 0.0,
        "predicted_per_second": t.decode_tok_s,
    }


def _selected(value: dict[str, Any], names: list[str] | None) -> dict[str, Any]:
    """Return the fields that a client wants; "a/b" is field b of a."""
    if not names:
        return value
    found = {}
    for name in names:
        place: Any = value
        for part in name.split("/"):
            place = place.get(part) if isinstance(place, dict) else None
        if place is not None:
            found[name.rpartition("/")[2]] = place
    return found
