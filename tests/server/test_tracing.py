"""Traces: one span for each request that computes, with tokens and times and no text; nothing is imported when off."""

import subprocess
import sys

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")
pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from realizar.errors import ParameterError
from realizar.server import tracing
from realizar.server.tracing import exporters
from tests.clocks import wait_until
from tests.server.serving import QUESTION, serving

CHAT = "/v1/chat/completions"
BODY = {"messages": QUESTION, "max_tokens": 5, "temperature": 0.5, "seed": 1, "ignore_eos": True}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def exporter():
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def traced(model_path, exporter):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "exporters", lambda: [exporter])
        with serving(model_path, traces=True, alias="gpt-4o") as found:
            yield found


@pytest.fixture
def spans(traced, exporter):
    """Returns the spans since the last call; each is sent after its response."""

    def new(n=1):
        def are_there():
            traced.app.state.traces.provider.force_flush()
            return len(exporter.get_finished_spans()) >= n

        wait_until(are_there)
        found = exporter.get_finished_spans()
        exporter.clear()
        return found

    exporter.clear()
    return new


def test_a_span_of_a_completion(traced, spans):
    status, body = traced.post(CHAT, BODY, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert status == 200
    (span,) = spans()
    assert span.name == "chat tiny"
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    found = dict(span.attributes)
    times = {name: found.pop(name) for name in list(found) if name.startswith("gen_ai.latency.")}
    assert times["gen_ai.latency.time_to_first_token"] >= times["gen_ai.latency.time_in_queue"] >= 0
    assert 1e9 * times["gen_ai.latency.time_to_first_token"] <= span.end_time - span.start_time
    assert found == {
        "http.request.method": "POST", "url.path": CHAT, "url.scheme": "http", "http.response.status_code": 200,
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "realizar", "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny", "gen_ai.request.max_tokens": 5, "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 1, "gen_ai.usage.input_tokens": body["usage"]["prompt_tokens"],
        "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.response.finish_reasons": ("length",),
    }  # fmt: skip


def test_a_span_of_a_stream_ends_with_it(traced, spans):
    with traced.http.stream("POST", "/v1/completions", json={"prompt": "Hi", "stream": True, "n": 2}) as response:
        assert "[DONE]" in response.read().decode()
    (span,) = spans()
    assert span.name == "text_completion tiny"
    assert span.attributes["gen_ai.request.choice.count"] == 2
    assert len(span.attributes["gen_ai.response.finish_reasons"]) == 2
    assert span.parent is None


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
def test_a_span_of_embeddings(traced, spans, path):
    status, body = traced.post(path, {"model": "tiny", "input": ["a b", "c"]})
    assert status == 200
    (span,) = spans()
    n = body["usage"]["prompt_tokens"] if "usage" in body else body["prompt_eval_count"]
    assert (span.name, span.attributes["gen_ai.usage.input_tokens"]) == ("embeddings tiny", n)


def test_requests_that_generate_nothing(traced, spans):
    assert traced.http.get("/health").status_code == 200  # no span
    assert traced.post("/tokenize", {"content": "a"})[0] == 200
    assert traced.post(CHAT, {"messages": 3})[0] == 400
    assert traced.post("/unknown", {})[0] == 404
    found = spans(3)
    assert [span.name for span in found] == ["POST /tokenize", f"POST {CHAT}", "POST"]
    assert [span.attributes["http.response.status_code"] for span in found] == [200, 400, 404]
    assert all(span.status.is_unset for span in found)


def test_a_fault_of_the_server(traced, spans, monkeypatch):
    monkeypatch.setattr(traced.pool, "find", lambda name: 1 / 0)
    assert traced.post(CHAT, BODY)[0] == 500
    (span,) = spans()
    assert not span.status.is_ok
    assert span.attributes["error.type"] == "500"


def test_a_client_that_goes_away(traced, spans):
    with traced.http.stream("POST", CHAT, json={**BODY, "max_tokens": 400, "stream": True}) as response:
        next(response.iter_lines())
    (span,) = spans()
    assert span.attributes["gen_ai.response.finish_reasons"] == ("cancelled",)


@pytest.mark.parametrize("value", ["", "x", "00-0-0-01", f"00-{TRACE}-{'0' * 16}-01", "a" * 9999])
def test_headers_that_name_no_trace(traced, spans, value):
    assert traced.post("/tokenize", {"content": "a"}, traceparent=value)[0] == 200
    (span,) = spans()
    assert span.parent is None


def test_exporters_are_chosen_by_the_environment(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console, none")
    assert [type(each).__name__ for each in exporters()] == ["ConsoleSpanExporter"]
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "missing")
    with pytest.raises(ParameterError, match="missing"):
        list(exporters())


def test_nothing_is_imported_when_off():
    code = (
        "import sys; from realizar.server.app import create_app; from realizar.server.settings import read_settings\n"
        "create_app(read_settings({'models': ['smollm2']}))\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]\n"
        "sys.modules['opentelemetry.sdk'] = None\n"
        "create_app(read_settings({'models': ['smollm2'], 'traces': True}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(
        "realizar.errors.ParameterError: traces: needs the extra: pip install 'realizar[otel]'"
    )
