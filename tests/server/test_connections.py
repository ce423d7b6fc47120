"""Heads of requests that come slowly, without end, or not at all; time is a list of timers that the tests ring."""

import asyncio
import socket

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

import uvicorn
from uvicorn.server import ServerState

from realizar.server.connections import HEAD_BYTES, HEAD_S, LimitedProtocol, protocol
from tests.server.serving import serving

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Timer:
    def __init__(self, timers, seconds, callback):
        self.timers, self.seconds, self.callback = timers, seconds, callback
        timers.append(self)

    def cancel(self):
        self.timers.remove(self)

    def ring(self):
        self.timers.remove(self)
        self.callback()


class Connection:
    """A connection without a network: a transport that keeps what is written, and an event loop with timers."""

    def __init__(self, app):
        self.timers, self.written, self.is_closed = [], b"", False
        config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off")
        self.protocol = LimitedProtocol(config, ServerState(), {}, self)
        self.protocol.connection_made(self)

    def call_later(self, seconds, callback):
        return Timer(self.timers, seconds, callback)

    def create_task(self, work):
        return asyncio.get_running_loop().create_task(work)

    def get_extra_info(self, name):
        return None

    def is_closing(self):
        return self.is_closed

    def write(self, data):
        self.written += data

    def close(self):
        self.is_closed = True

    def pause_reading(self):
        pass

    resume_reading = pause_reading

    def send(self, data):
        self.protocol.data_received(data)


async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"a"})


def run(test, answer=app):
    """Run a test with a connection in an event loop."""

    async def inner():
        connection = Connection(answer)
        await test(connection)

    asyncio.run(inner())


async def answered(connection):
    await asyncio.gather(*connection.protocol.tasks)


@pytest.mark.parametrize("sent", [b"G", b"GET /hea", HEAD[:-1], b"\r\n"])
def test_half_a_head(sent):
    async def test(connection):
        (timer,) = connection.timers
        assert timer.seconds == HEAD_S
        for i in range(len(sent)):
            connection.send(sent[i : i + 1])  # no byte begins the time anew
        assert connection.timers == [timer]
        timer.ring()
        assert connection.written.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert connection.is_closed

    run(test)


def test_nothing_at_all():
    async def test(connection):
        connection.timers[0].ring()
        assert (connection.written, connection.is_closed) == (b"", True)

    run(test)


def test_a_head_ends_its_time():
    async def test(connection):
        connection.send(HEAD[:9])
        connection.send(HEAD[9:])
        assert connection.timers == []
        await answered(connection)
        assert connection.written.startswith(b"HTTP/1.1 200 OK")
        (keep_alive,) = connection.timers
        connection.send(HEAD[:9])
        (timer,) = connection.timers
        assert timer is not keep_alive
        assert timer.seconds == HEAD_S
        timer.ring()
        assert b"HTTP/1.1 408" in connection.written

    run(test)


def test_the_next_head_may_wait_for_an_answer():
    """A connection that is answered is not cut since half of a second request came early."""

    async def test(connection):
        gate = asyncio.Event()

        async def slow(scope, receive, send):
            await gate.wait()
            await app(scope, receive, send)

        connection.protocol.app = slow
        connection.send(HEAD + HEAD[:9])
        assert connection.timers == []
        gate.set()
        await answered(connection)
        assert b"HTTP/1.1 200" in connection.written
        assert not connection.is_closed
        connection.send(HEAD[9:12])
        assert [timer.seconds for timer in connection.timers] == [HEAD_S]
        connection.send(HEAD[12:])
        await answered(connection)
        assert connection.written.count(b"HTTP/1.1 200") == 2

    run(test)


def test_a_body_is_no_head():
    async def test(connection):
        connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
        connection.send(bytes(2 * HEAD_BYTES))
        assert connection.timers == []
        connection.send(bytes(200000 - 2 * HEAD_BYTES))
        await answered(connection)
        assert connection.written.startswith(b"HTTP/1.1 200")

    run(test)


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n", b""])
def test_a_head_without_end(begin):
    async def test(connection):
        connection.send(begin)
        more = b"X: aaaa\r\n" if begin.endswith(b"\r\n") else b"a" * 9 if begin else b"\r\n" * 5
        n = len(begin)
        while not connection.is_closed:
            connection.send(more)
            n += len(more)
        assert HEAD_BYTES < n <= HEAD_BYTES + len(more)
        assert connection.written.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")

    run(test)


def test_a_connection_that_is_lost_has_no_timer():
    async def test(connection):
        connection.protocol.connection_lost(None)
        assert connection.timers == []

    run(test)


def test_a_shorter_time_limit_of_requests():
    assert protocol(0.5).keywords == {"head_s": 0.5}
    assert protocol(600).keywords == {"head_s": HEAD_S}


def test_a_server_closes_connections_without_a_head(model_path):
    with serving(model_path, timeout=0.05) as server:
        host, port = server.url.removeprefix("http://").split(":")
        for sent, want in ((b"GET /hea", b"HTTP/1.1 408"), (b"", b"")):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(sent)
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
            assert answer.startswith(want)
            assert bool(answer) == bool(want)
        assert server.http.get("/health").status_code == 200
