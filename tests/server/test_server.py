"""The server around the protocols: errors, keys, limits, disconnects, a full queue, several models, metrics."""

import json
import socket
import threading

import httpx
import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.errors import RealizarError
from tests.clocks import wait_until
from tests.server.serving import QUESTION, Gate, serving, write_model

CHAT = "/v1/chat/completions"
BODY = {"messages": QUESTION, "max_tokens": 4, "temperature": 0}
LONG = {"messages": QUESTION, "max_tokens": 200, "temperature": 0, "ignore_eos": True}


def test_health_and_readiness(server):
    assert server.http.get("/health").json() == {"status": "ok"}
    assert server.http.get("/ready").status_code == 200
    assert [server.http.head(path).status_code for path in ("/health", "/ready")] == [200, 200]


def test_models(server):
    data = server.http.get("/v1/models").json()["data"]
    assert [row["id"] for row in data] == ["tiny", "gpt-4o"]
    assert data[1]["root"] == "tiny"
    assert data[0]["max_model_len"] == 512
    assert server.http.get("/v1/models/gpt-4o").json()["id"] == "gpt-4o"
    assert server.http.get("/v1/models/other").status_code == 404


def test_an_alias_is_a_model(server):
    status, body = server.post(CHAT, {**BODY, "model": "gpt-4o"})
    assert (status, body["model"]) == (200, "tiny")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"messages": ', "JSON"), (b"", "body"), (b"[]", "body"), (b'{"messages": 3}', "messages"),
        (b"[" * 100_000, "body"), (b'{"temperature": NaN, "messages": [{"role": "user", "content": "a"}]}', "finite"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "Unicode"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_body_is_the_clients_fault(server, body, text):
    response = server.http.post(CHAT, content=body)
    assert response.status_code == 400
    assert text in response.json()["error"]["message"]


def test_unknown_paths_and_methods(server):
    assert server.http.get("/v1/unknown").json()["error"]["type"] == "invalid_request_error"
    assert server.http.get("/v1/unknown").status_code == 404
    assert server.http.get(CHAT).status_code == 405


def test_request_ids(server):
    assert server.http.get("/health", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    made = server.http.get("/health", headers={"X-Request-Id": "a\tb"}).headers["X-Request-Id"]
    assert len(made) == 32


def test_the_description_of_all_endpoints(server):
    paths = server.http.get("/openapi.json").json()["paths"]
    assert {CHAT, "/v1/completions", "/health"} <= set(paths)


def test_keys(model_path, tmp_path):
    file = tmp_path / "keys"
    file.write_text("# of the team\nsecond\n\nthird\n")
    with serving(model_path, api_key="first", api_key_file=file) as server:
        assert server.http.get("/health").status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/unknown"):
            response = server.http.get(path)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"
        for key in ("first", "second", "third"):
            assert server.http.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
            assert server.http.get("/v1/models", headers={"x-api-key": key}).status_code == 200
        for wrong in ("Bearer firstsecond", "Bearer", "Basic first", "first", "Bearer # of the team"):
            assert server.http.get("/v1/models", headers={"Authorization": wrong}).status_code == 401


def test_pages_of_other_origins_may_not_use_it(server, model_path):
    assert server.post(CHAT, BODY, origin="https://example.org")[0] == 403
    assert server.post(CHAT, BODY, origin=server.url)[0] == 200
    rebound = {"origin": "http://example.org:80", "host": "example.org:80"}
    assert server.post(CHAT, BODY, **rebound)[0] == 403
    with serving(model_path, cors="https://example.org", api_key="a key") as other:
        asks = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
        leave = other.http.options(CHAT, headers={**asks, "Access-Control-Request-Headers": "authorization"})
        assert leave.status_code == 200
        assert leave.headers["Access-Control-Allow-Origin"] == "https://example.org"
        key = {"Authorization": "Bearer a key"}
        assert other.post(CHAT, BODY, origin="https://example.org", **key)[0] == 200
        assert other.post(CHAT, BODY, origin="https://example.com", **key)[0] == 403


def test_large_bodies_are_refused(model_path):
    with serving(model_path, max_body=0.001) as server:
        large = json.dumps({"messages": [{"role": "user", "content": "a" * 2000}]}).encode()
        assert server.http.post(CHAT, content=large).status_code == 413
        response = server.http.post(CHAT, content=iter([large[:1000], large[1000:]]))
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
        assert server.post(CHAT, BODY)[0] == 200


def test_a_client_that_sends_a_large_body_sees_why_it_is_refused(server):
    """More than the buffers of a connection hold."""
    assert server.http.post(CHAT, content=bytes(40 << 20)).status_code == 413
    parts = (bytes(1 << 20) for _ in range(40))
    assert server.http.post(CHAT, content=parts).status_code == 413


@pytest.fixture
def gated(model_path):
    """A server whose engine makes a step only when it is let."""
    with serving(model_path, max_queue=2, n_seqs=1) as server:
        gate = Gate(server.engine)
        yield server, gate
        gate.open()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses", "/api/chat"])
def test_a_client_that_goes_away_cancels_its_request_within_one_step(gated, path, stream):
    server, gate = gated
    body = json.dumps({**LONG, "input": "Hi", "model": "tiny", "stream": stream}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(server.http.base_url.netloc.decode().split(":")) as connection:
        connection.sendall(head + body)
        wait_until(lambda: gate.n_asked == 1)
        gate.let(1)  # the prompt; the first token comes
        wait_until(lambda: gate.n_asked == 2)
        (request,) = server.engine.scheduler.running
    wait_until(lambda: request.cancelled)
    gate.let(1)  # the step that was under way
    wait_until(lambda: server.engine.stats().n_running == 0)
    assert gate.n_asked == 2
    assert all(pool.n_free == pool.n_blocks for pool in server.engine.cache.pools) or request.is_over
    assert server.pool.models[0].n_users == 0


def test_a_full_queue(gated):
    server, gate = gated
    statuses = []

    def ask():
        statuses.append(server.http.post(CHAT, json=BODY).status_code)

    others = [threading.Thread(target=ask) for _ in range(3)]
    others[0].start()
    wait_until(lambda: gate.n_asked == 1)  # it runs, and holds the engine in its step
    for other in others[1:]:
        other.start()
    wait_until(lambda: server.engine.stats().n_waiting == 2)
    response = server.http.post(CHAT, json=BODY)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
    assert response.json()["error"]["code"] == "queue_full"
    gate.open()
    for other in others:
        other.join()
    assert statuses == [200, 200, 200]


def test_an_error_in_the_middle_of_a_stream_is_raised_by_the_client(model_path):
    openai = pytest.importorskip("openai", reason="needs openai")
    with serving(model_path) as server:
        gate = Gate(server.engine)
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            stream = client.chat.completions.create(
                model="tiny", stream=True, **{k: v for k, v in LONG.items() if k != "ignore_eos"}
            )
            next(stream)
            (request,) = server.engine.scheduler.running
            request.fail(RealizarError("by hand"))
            gate.open()
            with pytest.raises(openai.APIError, match="by hand"):
                list(stream)


def test_time_is_limited(gated):
    server, gate = gated
    server.app.state.settings.timeout = 1e-6
    status, body = None, None
    asked = threading.Thread(target=lambda: answers.append(server.post(CHAT, BODY)))
    answers = []
    asked.start()
    gate.open()
    asked.join()
    status, body = answers[0]
    assert (status, body["error"]["code"]) == (503, "timeout")


def test_several_models_within_a_memory(tmp_path):
    paths = [write_model(tmp_path / f"{name}.gguf") for name in ("one", "two", "three")]
    with serving(*paths, memory=1.0) as server:
        sizes = server.pool.models[0].n_bytes
        server.pool._n_bytes_max = 2 * sizes

        def loaded():
            return [served.name for served in server.pool.models if served.llm is not None]

        assert loaded() == ["one"]
        for name, want in (("two", ["one", "two"]), ("one", ["one", "two"]), ("three", ["one", "three"])):
            assert server.post(CHAT, {**BODY, "model": name})[0] == 200
            assert loaded() == want
        server.pool._n_bytes_max = sizes // 2
        status, body = server.post(CHAT, {**BODY, "model": "two"})
        assert status == 503
        assert "GiB" in body["error"]["message"]
        assert server.http.get("/v1/models/two").json()["status"] == {"value": "failed"}


def test_models_that_are_loaded_at_the_same_time_do_not_wait_for_each_other(tmp_path):
    names = ["one", "two", "three"]
    with serving(*(write_model(tmp_path / f"{name}.gguf") for name in names)) as server:
        server.pool._n_bytes_max = server.pool.models[0].n_bytes  # there is room for one
        statuses = []
        asks = [
            threading.Thread(target=lambda name=name: statuses.append(server.post(CHAT, {**BODY, "model": name})[0]))
            for name in names * 3
        ]
        for thread in asks:
            thread.start()
        for thread in asks:
            thread.join()
        assert statuses == [200] * 9
        assert len([served for served in server.pool.models if served.llm is not None]) == 1


def test_a_model_that_cannot_be_loaded(tmp_path, model_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with serving(model_path, broken) as server:
        status, body = server.post(CHAT, {**BODY, "model": "broken"})
        assert (status, body["error"]["code"]) == (503, "model_not_loaded")
        assert server.post(CHAT, BODY)[0] == 200


def test_metrics(server):
    server.post(CHAT, BODY)
    text = server.http.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['vllm:generation_tokens_total{model_name="tiny"}']) >= 4
    assert float(values['vllm:num_requests_running{model_name="tiny"}']) == 0
    assert float(values['vllm:time_to_first_token_seconds_count{model_name="tiny"}']) >= 1
    assert float(values['realizar:steps_total{model_name="tiny"}']) >= 4
    assert any(name.startswith("vllm:request_success_total") for name in values)


def test_httpx_reads_the_stream_as_events(server):
    with httpx.stream("POST", server.url + CHAT, json={**BODY, "stream": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
