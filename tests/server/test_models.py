"""ModelPool: room is made before a model is loaded, waits are bounded, and waits that nobody needs end."""

import json
import socket
import threading

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.server import loading, models
from tests.clocks import wait_until
from tests.server.serving import Gate, serving, write_model

BODY = {"content": "a"}


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A server with room for one of its two models, and what was loaded whenever it loaded one."""
    seen, load = [], models.load_aside

    async def spied(*arguments):
        seen.append([served.name for served in server.pool.models if served.llm is not None])
        return await load(*arguments)

    with serving(*(write_model(tmp_path / f"{name}.gguf") for name in ("one", "two"))) as server:
        server.pool._n_bytes_max = server.pool.models[0].n_bytes
        monkeypatch.setattr(models, "load_aside", spied)
        yield server, seen


def ask(server, name):
    return server.post("/tokenize", {**BODY, "model": name})


def busy(server):
    """Hold the first model in a step; returns what ends that."""
    gate = Gate(server.engine)
    body = {"prompt": "a", "max_tokens": 1}
    other = threading.Thread(target=lambda: server.post("/v1/completions", body))
    other.start()
    wait_until(lambda: gate.n_asked == 1)

    def end():
        gate.open()
        other.join()

    return end


def test_room_is_made_before_a_model_is_loaded(two):
    server, seen = two
    for name in ("two", "one"):
        assert ask(server, name)[0] == 200
    assert seen == [[], []]


def test_a_model_that_needs_more_than_its_file_is_loaded_again(two):
    server, seen = two
    one, other = server.pool.models
    server.pool._n_bytes_max += (
        models.file_bytes(other.source) + one.n_bytes
    ) // 2  # the file fits, the model does not
    end = busy(server)
    answers = []
    asked = threading.Thread(target=lambda: answers.append(ask(server, "two")[0]))
    asked.start()
    wait_until(lambda: seen == [["one"]] and other.n_bytes_needed == one.n_bytes and other.llm is None)
    end()
    asked.join()
    assert answers == [200]
    assert seen == [["one"], []]


def test_the_wait_for_room_is_bounded(two):
    server, seen = two
    end = busy(server)
    server.app.state.settings.timeout = 0.01
    status, body = ask(server, "two")
    assert (status, body["error"]["code"]) == (503, "timeout")
    wait_until(server.pool.models[1].loading.done)
    assert server.pool.models[1].status == "unloaded"
    assert seen == []
    end()
    server.app.state.settings.timeout = 60
    assert ask(server, "two")[0] == 200


def test_a_wait_for_room_ends_when_nobody_waits(two):
    server, seen = two
    end = busy(server)
    other = server.pool.models[1]
    content = json.dumps({**BODY, "model": "two"}).encode()
    head = f"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(server.http.base_url.netloc.decode().split(":")) as connection:
        connection.sendall(head.encode() + content)
        wait_until(lambda: other.status == "loading")
        assert other.n_users == 1
    wait_until(other.loading.done)
    assert (other.status, other.n_users, seen) == ("unloaded", 0, [])
    end()


def test_the_wait_for_a_load_is_bounded(two, monkeypatch):
    server, _ = two
    server.pool._n_bytes_max *= 2  # room for both: else the request may end while the other model is unloaded
    goes_on, load = threading.Event(), loading._load
    monkeypatch.setattr(loading, "_load", lambda *arguments: goes_on.wait() and load(*arguments))
    server.app.state.settings.timeout = 0.01
    status, body = ask(server, "two")
    assert (status, body["error"]["code"]) == (503, "timeout")
    goes_on.set()
    wait_until(lambda: server.pool.models[1].status == "loaded")
