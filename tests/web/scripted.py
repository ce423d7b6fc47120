"""A server with the real page and guard, whose models and answers a test writes beforehand."""

import asyncio
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, StreamingResponse

from realizar.server.errors import ApiError
from realizar.server.middleware import Guard
from realizar.server.page import router
from tests.server.serving import listening

USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


def text(content):
    """A piece of an answer."""
    return {"content": content}


def thought(content):
    """A piece of its thoughts."""
    return {"reasoning_content": content}


def call(index, arguments, name=None):
    """A piece of a tool call; the first one has the tool's name."""
    function = {"arguments": arguments}
    if name is None:
        return {"tool_calls": [{"index": index, "function": function}]}
    first = {"index": index, "id": f"call{index}", "type": "function", "function": {"name": name, **function}}
    return {"tool_calls": [first]}


def pieces(content, n=3):
    """A text in pieces of n characters."""
    return [text(content[i : i + n]) for i in range(0, len(content), n)]


class Gate:
    """A place in an answer that the stream passes only when the test opens it."""

    def __init__(self):
        self._event = threading.Event()

    def open(self):
        self._event.set()

    async def passed(self):
        await asyncio.to_thread(self._event.wait)


class Break:
    """A place in an answer at which the connection breaks."""


@dataclass
class Answer:
    """A streamed answer: deltas, gates, and errors in the middle."""

    parts: list
    finish: str = "stop"
    usage: dict = field(default_factory=lambda: USAGE)


@dataclass
class Script:
    """What the server answers, in turn: an Answer or an ApiError; and the requests that it has received."""

    answers: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    headers: list = field(default_factory=list)
    models: list = field(default_factory=lambda: [{"id": "tiny", "max_model_len": 4096}])
    n_cancelled: int = 0
    url: str = ""

    def gates(self):
        return [part for answer in self.answers for part in getattr(answer, "parts", []) if isinstance(part, Gate)]

    def says(self, *answers):
        """Add answers: texts, lists of parts, Answers or ApiErrors."""
        for answer in answers:
            whole = pieces(answer) if isinstance(answer, str) else answer
            self.answers.append(Answer(whole) if isinstance(whole, list) else whole)


def _app(script, keys):
    app = FastAPI(middleware=[Middleware(Guard, keys, [], "127.0.0.1")], openapi_url=None)
    app.include_router(router)
    n_answered = 0

    @app.get("/v1/models")
    async def models():
        return JSONResponse({"object": "list", "data": script.models})

    @app.post("/v1/chat/completions")
    async def chat(request: Request):
        nonlocal n_answered
        script.requests.append(await request.json())
        script.headers.append(dict(request.headers))
        answer = script.answers[n_answered]
        n_answered += 1
        if isinstance(answer, ApiError):
            return answer.response("/v1/chat/completions")
        return StreamingResponse(_events(script, answer), media_type="text/event-stream")

    return app


async def _events(script, answer):
    try:
        yield _chunk({"role": "assistant", "content": ""})
        for part in answer.parts:
            if isinstance(part, Gate):
                await part.passed()
            elif isinstance(part, Break):
                raise ConnectionError("the test breaks the connection")
            elif isinstance(part, ApiError):
                yield _data(part.openai)
                return
            else:
                yield _chunk(part)
        yield _chunk({}, answer.finish)
        yield _data({"choices": [], "usage": answer.usage})
        yield "data: [DONE]\n\n"
    except asyncio.CancelledError:
        script.n_cancelled += 1
        raise


def _chunk(delta, finish=None):
    return _data({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None})


def _data(value):
    return f"data: {json.dumps(value)}\n\n"


@contextmanager
def scripted(keys=(), **values):
    """Run a scripted server."""
    script = Script(**values)
    with listening(_app(script, keys)) as (port, *_):
        script.url = f"http://127.0.0.1:{port}"
        try:
            yield script
        finally:
            for gate in script.gates():
                gate.open()
