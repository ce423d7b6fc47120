"""Clients that do not read, and exceptions that nothing expects."""

import asyncio
import logging

import httpx
import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from starlette.exceptions import HTTPException

from realizar.server.failures import UnreadLimit
from realizar.server.sse import events, lines
from tests.clocks import wait_until
from tests.server.serving import QUESTION, serving

SCOPE = {"type": "http", "method": "POST", "path": "/api/chat", "headers": [], "asgi": {"spec_version": "2.3"}}


class Connection:
    """A connection of uvicorn whose client reads `n` messages, and no more."""

    def __init__(self, n):
        self.transport = self
        self.messages = []
        self._n = n
        self._is_closed = asyncio.Event()

    async def send(self, message):
        if len(self.messages) == self._n:
            await asyncio.Event().wait()
        self.messages.append(message)

    async def receive(self):
        await self._is_closed.wait()
        return {"type": "http.disconnect"}

    def abort(self):
        self._is_closed.set()

    @property
    def is_aborted(self):
        return self._is_closed.is_set()


async def endless():
    while True:
        yield None, "a"


@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("make", [lines, events])
def test_a_client_that_does_not_read_is_given_up(make, n, caplog):
    async def asked():
        connection = Connection(n)
        app = UnreadLimit(make(endless(), lambda error: error), 0.01)
        await app(SCOPE, connection.receive, connection.send)
        return connection

    with caplog.at_level(logging.INFO):
        connection = asyncio.run(asked())
    assert connection.is_aborted
    assert len(connection.messages) == n
    (record,) = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert record.exc_info is None
    assert "read nothing" in record.getMessage()


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_a_client_that_does_not_read_does_not_hold_its_model(model_path, path):
    with serving(model_path) as server:
        inner = server.app.middleware_stack._app

        async def stuck(scope, receive, send):
            connection = Connection(2)
            connection.transport = send.__self__.transport
            await UnreadLimit(inner, 0.01)(scope, receive, connection.send)

        server.app.middleware_stack = stuck
        body = {"model": "tiny", "messages": QUESTION, "stream": True, "ignore_eos": True, "max_tokens": 400}
        with pytest.raises(httpx.TransportError):
            server.http.post(path, json=body)
        wait_until(lambda: server.pool.models[0].n_users == 0 and server.engine.stats().n_running == 0)


def test_the_limit_lets_other_exceptions_pass():
    async def fails(scope, receive, send):
        raise HTTPException(418)

    connection = Connection(0)
    with pytest.raises(HTTPException):
        asyncio.run(UnreadLimit(fails, 1)(SCOPE, connection.receive, connection.send))
    assert not connection.is_aborted


def test_the_response_to_an_unexpected_exception(model_path, caplog, monkeypatch):
    with serving(model_path, cors="https://example.org") as server:

        def fail(name):
            raise ZeroDivisionError("a secret")

        monkeypatch.setattr(server.pool, "find", fail)
        with caplog.at_level(logging.INFO):
            asks = {"origin": "https://example.org", "X-Request-Id": "abc-1"}
            response = server.http.post("/tokenize", json={"content": "a"}, headers=asks)
        assert response.status_code == 500
        assert response.headers["X-Request-Id"] == "abc-1"
        assert response.headers["Access-Control-Allow-Origin"] == "https://example.org"
        assert response.json()["error"]["code"] == "internal_error"
        assert "secret" not in response.text
    (line,) = [record for record in caplog.records if record.name == "realizar.access"]
    assert line.access["status"] == 500
    (fault,) = [record for record in caplog.records if record.exc_info]
    assert fault.exc_info[0] is ZeroDivisionError
