"""Ollama's API, with its own client."""

import json

import pytest

ollama = pytest.importorskip("ollama", reason="needs the extra server, and ollama")
pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar import LLM  # noqa: E402
from realizar.calls import ToolCall  # noqa: E402
from realizar.errors import RealizarError  # noqa: E402
from realizar.server.errors import ApiError  # noqa: E402
from realizar.server.ollama import _message  # noqa: E402
from realizar.server.ollama_shapes import openai_messages, seconds  # noqa: E402
from tests.clocks import wait_until  # noqa: E402
from tests.server.serving import QUESTION, SCHEMA, TOOLS, Gate, serving, write_model  # noqa: E402

OPTIONS = {"temperature": 0, "num_predict": 12}


@pytest.fixture
def client(server):
    return ollama.Client(server.url)


def test_chat(client, server):
    answer = client.chat("tiny", QUESTION, options=OPTIONS)
    assert (answer.done, answer.done_reason, answer.message.role) == (True, "length", "assistant")
    assert answer.eval_count == 12
    assert answer.total_duration >= answer.prompt_eval_duration + answer.eval_duration > 0
    parts = list(client.chat("tiny", QUESTION, options=OPTIONS, stream=True))
    assert "".join(part.message.content for part in parts) == answer.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    body = {"messages": QUESTION, "temperature": 0, "max_tokens": 12}
    same = server.post("/v1/chat/completions", body)[1]["choices"][0]["message"]["content"]
    assert answer.message.content == same


def test_streams_are_lines_of_json_and_the_default(server):
    body = {"model": "tiny:latest", "messages": QUESTION, "options": OPTIONS}
    response = server.http.post("/api/chat", json=body)
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert len(lines) > 3
    assert lines[-1]["done"]


def test_generate(client):
    answer = client.generate("tiny", QUESTION[0]["content"], options=OPTIONS)
    assert answer.response == client.chat("tiny", QUESTION, options=OPTIONS).message.content
    parts = list(client.generate("tiny", QUESTION[0]["content"], options=OPTIONS, stream=True))
    assert "".join(part.response for part in parts) == answer.response
    raw = client.generate("tiny", "How is", raw=True, options=OPTIONS)
    assert raw.prompt_eval_count < answer.prompt_eval_count


def test_tool_calls(client):
    message = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {}}}]}
    messages = [*QUESTION, message, {"role": "tool", "tool_name": "weather", "content": "sunny"}]
    assert client.chat("tiny", messages, tools=TOOLS, options=OPTIONS).eval_count > 0
    found = openai_messages(messages)
    assert found[1]["tool_calls"][0]["id"] == found[2]["tool_call_id"]
    assert found[2]["name"] == "weather"
    call = ToolCall("a" * 9, "weather", {"city": "Rome"})
    assert ollama.Message(**_message("", "", [call])["message"]).tool_calls[0].function.arguments == {"city": "Rome"}


def test_formats(client, server):
    answer = client.chat("tiny", QUESTION, format=SCHEMA, options={**OPTIONS, "num_predict": 200})
    assert json.loads(answer.message.content)["city"] in ("Paris", "Rome", "Oslo")
    assert answer.done_reason == "stop"
    status, body = server.post("/api/chat", {"model": "tiny", "messages": QUESTION, "format": "xml"})
    assert status == 400
    assert "JSON schema" in body["error"]


def test_logprobs(client):
    answer = client.chat("tiny", QUESTION, options=OPTIONS, logprobs=True, top_logprobs=2)
    assert len(answer.logprobs) == 12
    assert all(one.logprob == one.top_logprobs[0].logprob for one in answer.logprobs)


def test_embeddings(client, model_path):
    with LLM(model_path, n_threads=1, n_ctx=512) as llm:
        want = llm.embed(["the dog", "a cat"])
        long = llm.embed([llm.tokenize("a b " * 600)[:512]])
    answer = client.embed("tiny", ["the dog", "a cat"])
    assert answer.embeddings == want.tolist()
    assert client.embed("tiny", "a b " * 600).embeddings == long.tolist()
    with pytest.raises(ollama.ResponseError, match="512"):
        client.embed("tiny", "a b " * 600, truncate=False)


def test_what_is_told_of_models(client, server, model_path):
    assert [model.model for model in client.list().models] == ["tiny", "gpt-4o"]
    assert client.list().models[0].size == model_path.stat().st_size
    shown = client.show("tiny")
    assert shown.modelinfo["general.architecture"] == "qwen2"
    assert {"completion", "tools"} <= set(shown.capabilities)
    assert shown.details.family == "qwen2"
    (running,) = client.ps().models
    assert (running.model, running.context_length, running.expires_at.year) == ("tiny", 512, 9999)
    assert server.http.get("/api/version").json()["version"]


def test_a_model_is_kept_as_long_as_asked(tmp_path):
    paths = [write_model(tmp_path / f"{name}.gguf") for name in ("one", "two")]
    with serving(*paths) as server:
        client, (one, two) = ollama.Client(server.url), server.pool.models
        assert client.generate("two", keep_alive="5m").done_reason == "load"
        assert two.llm is not None
        assert two.expires_at == two.last_used + 300
        assert client.generate("two", keep_alive=0).done_reason == "unload"
        wait_until(lambda: two.llm is None)
        client.generate("one", "Hi", options=OPTIONS, keep_alive=0)
        wait_until(lambda: one.llm is None)
        assert client.chat("one", QUESTION, options=OPTIONS, keep_alive=-1).eval_count == 12
        assert one.llm is not None
        client.generate("two", "Hi", options=OPTIONS, keep_alive=0.001)
        wait_until(lambda: two.llm is None)


def test_a_model_that_one_request_unloads_is_kept_for_the_next(tmp_path):
    with serving(write_model(tmp_path / "one.gguf")) as server:
        client, (one,) = ollama.Client(server.url), server.pool.models
        client.generate("one", "Hi", options=OPTIONS, keep_alive=0)
        wait_until(lambda: one.llm is None and not one.n_users)
        assert client.generate("one", "Hi", options=OPTIONS).eval_count == 12
        wait_until(lambda: not one.n_users)
        assert one.status == "loaded"
        assert one.keep_alive_s is None


def test_a_very_long_time_to_keep_a_model_can_be_told(tmp_path):
    with serving(write_model(tmp_path / "one.gguf")) as server:
        client = ollama.Client(server.url)
        client.generate("one", keep_alive="99999999h")
        assert client.ps().models[0].expires_at.year < 9999


def test_durations():
    wanted = {"5m": 300, "1h30m": 5400, "1.5s": 1.5, "10": 10, 0: 0, "0s": 0, "250ms": 0.25, -1: None, "-1m": None}
    assert {text: seconds(text) for text in wanted} == wanted
    for most in (1e300, "99999999h", "1e300", 2.0**60):
        assert seconds(most) == 10 * 365 * 86400
    for text in ("", "5 m", "m", "5x", "inf", "-inf", "nan", "1e999", "9" * 400 + "h", float("inf"), float("nan")):
        with pytest.raises(ApiError, match="keep_alive"):
            seconds(text)


def test_errors(client):
    for ask, status, text in (
        (lambda: client.chat("other", QUESTION), 404, "tiny"),
        (lambda: client.generate("tiny", "Hi", options={"top_p": 2}), 400, "top_p"),
        (lambda: client.generate("tiny", "Hi", images=["aGk="]), 400, "pictures"),
        (lambda: client.generate("tiny", "Hi", template="{{ x }}"), 400, "template"),
        (lambda: client.chat("tiny", [{"role": "user", "content": "a b " * 600}]), 400, "512"),
        (lambda: client.generate("tiny", "Hi", suffix="there"), 400, "fill-in-the-middle"),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            ask()
        assert caught.value.status_code == status
        assert text in caught.value.error


def test_an_error_in_the_middle_is_raised_by_the_client(model_path):
    with serving(model_path) as server:
        gate = Gate(server.engine)
        stream = ollama.Client(server.url).chat("tiny", QUESTION, options=OPTIONS, stream=True)
        gate.let(1)
        next(stream)
        (request,) = server.engine.scheduler.running
        request.fail(RealizarError("by hand"))
        gate.open()
        with pytest.raises(ollama.ResponseError, match="by hand"):
            list(stream)
