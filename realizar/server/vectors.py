"""POST /v1/embeddings (OpenAI's), /v1/rerank (Jina's and Cohere's) and /v1/score (vLLM's)."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from realizar.server.errors import ApiError
from realizar.server.fields import Body
from realizar.server.openai_shapes import new_id
from realizar.server.service import Serving
from realizar.server.sse import JSON
from realizar.server.strict_json import StrictRoute
from realizar.tokenizer.pairs import pair_ids

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM

router = APIRouter(route_class=StrictRoute)


class EmbeddingRequest(Body):
    """The body of POST /v1/embeddings."""

    input: str | list[int] | list[str] | list[list[int]] = Field(min_length=1)
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)

    @property
    def texts(self) -> list[str | list[int]]:
        """The texts, one or several."""
        if isinstance(self.input, str):
            return [self.input]
        several: Any = self.input
        return [several] if isinstance(several[0], int) else several


class RerankRequest(Body):
    """The body of POST /v1/rerank."""

    query: str
    documents: list[str | dict[str, str]] = Field(min_length=1)
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = True

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [each if isinstance(each, str) else each.get("text", "") for each in self.documents]


class ScoreRequest(Body):
    """The body of POST /v1/score."""

    text_1: str | list[str] = Field(min_length=1)
    text_2: str | list[str] = Field(min_length=1)
    model: str | None = None

    @property
    def pairs(self) -> list[tuple[str, list[str]]]:
        """Each first text with the second ones that it is compared with."""
        seconds = [self.text_2] if isinstance(self.text_2, str) else self.text_2
        if isinstance(self.text_1, str):
            return [(self.text_1, seconds)]
        if len(self.text_1) == 1:
            return [(self.text_1[0], seconds)]
        if len(self.text_1) != len(seconds):
            text = f"text_1, text_2: {len(self.text_1)} and {len(seconds)} texts; give one or equally many"
            raise ApiError(400, text, "invalid_value", "text_1")
        return [(first, [second]) for first, second in zip(self.text_1, seconds, strict=True)]


@router.post("/v1/embeddings", response_model=None)
async def embeddings(body: EmbeddingRequest, service: Serving) -> Response:
    """Embed texts."""
    llm, served = await service.llm(body.model, takes_lora=False)
    texts = body.texts
    service.need_room_for(len(texts), "input")
    ids = await service.in_thread(lambda: [llm.tokenize(t) if isinstance(t, str) else t for t in texts])
    vectors = await service.unless_gone(llm.embed(ids, dimensions=body.dimensions))
    if isinstance(vectors, list):
        text = f"the model {served.name} gives a vector for each token, and none for a text"
        raise ApiError(400, text, "invalid_value", "model")
    service.embedded(served, sum(map(len, ids)))
    shown = _as_base64 if body.encoding_format == "base64" else _as_floats
    data = [{"object": "embedding", "index": i, "embedding": shown(row)} for i, row in enumerate(vectors)]
    return JSON({"object": "list", "data": data, "model": served.name, "usage": _usage(sum(map(len, ids)))})


def _as_floats(row: npt.NDArray[np.float32]) -> list[float]:
    return [float(value) for value in row]


def _as_base64(row: npt.NDArray[np.float32]) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def _usage(n: int) -> dict[str, int]:
    return {"prompt_tokens": n, "total_tokens": n}


@router.post("/rerank", response_model=None, include_in_schema=False)
@router.post("/v1/rerank", response_model=None)
async def rerank(body: RerankRequest, service: Serving) -> Response:
    """Order documents by how relevant they are to a query."""
    llm, served = await service.llm(body.model, takes_lora=False)
    texts = body.texts
    service.need_room_for(len(texts), "documents")
    found = await service.unless_gone(llm.rerank(body.query, texts))
    results: list[dict[str, Any]] = [{"index": i, "relevance_score": score} for i, score in found[: body.top_n]]
    if body.return_documents:
        results = [{**row, "document": {"text": texts[row["index"]]}} for row in results]
    usage = _usage(await service.in_thread(_n_tokens, llm, [(body.query, texts)]))
    head = {"id": new_id("rerank-"), "object": "list", "model": served.name}
    return JSON({**head, "results": results, "usage": usage})


@router.post("/v1/score", response_model=None)
async def score(body: ScoreRequest, service: Serving) -> Response:
    """Score how relevant texts are to others."""
    llm, served = await service.llm(body.model, takes_lora=False)
    pairs = body.pairs
    service.need_room_for(sum(len(seconds) for _, seconds in pairs), "text_2")
    scores: list[float] = []
    for first, seconds in pairs:
        found = dict(await service.unless_gone(llm.rerank(first, seconds)))
        scores += [found[i] for i in range(len(seconds))]
    data = [{"index": i, "object": "score", "score": value} for i, value in enumerate(scores)]
    head = {"id": new_id("score-"), "object": "list", "created": int(time.time()), "model": served.name}
    usage = _usage(await service.in_thread(_n_tokens, llm, pairs))
    return JSON({**head, "data": data, "usage": usage})


def _n_tokens(llm: AsyncLLM, pairs: list[tuple[str, list[str]]]) -> int:
    """Return the tokens of pairs of texts."""
    return sum(len(pair_ids(llm.tokenizer, first, second)) for first, seconds in pairs for second in seconds)
