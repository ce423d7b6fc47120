"""OpenTelemetry traces (extra `otel`): a span for each request, with the attributes of the GenAI conventions.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/; `gen_ai.latency.*` are vLLM's. No attribute has a
prompt or a completion. Where spans go is configured by OpenTelemetry's own environment variables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.datastructures import Headers

from realizar import __version__
from realizar.errors import ParameterError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from realizar.server.answers import Answers

SPAN = "realizar.span"
"""Key of a request's span in its ASGI scope."""
IS_NAMED = "realizar.span_is_named"
"""Key that says whether the span has the name of an operation."""
_COMPLETIONS = frozenset({"/v1/completions", "/api/generate", "/infill"})
"""Paths whose gen_ai.operation.name is "text_completion"; those of others that generate is "chat"."""


def exporters() -> Iterator[SpanExporter]:
    """Yield the exporters that OTEL_TRACES_EXPORTER names: "otlp" by default, which the extra has; "none" is none.

    Raises
    ------
    ParameterError
        If one is not installed.
    """
    for given in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        name = given.strip()
        if name == "otlp":
            protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
        if name in ("", "none"):
            continue
        found = list(entry_points(group="opentelemetry_traces_exporter", name=name))
        if not found:
            raise ParameterError(
                f"traces: no exporter {name!r} of OpenTelemetry is installed; see OTEL_TRACES_EXPORTER"
            )
        yield found[0].load()()


class Traces:
    """Begins and ends the spans of the requests of a server.

    Attributes
    ----------
    provider : TracerProvider
        Its sampler and resource are those of OpenTelemetry's environment variables.
    """

    def __init__(self) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False)
        for exporter in exporters():
            self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("realizar", __version__)

    def begin(self, scope: Scope) -> Span:
        """Begin the span of a request, within the trace that its header `traceparent` names (W3C Trace Context)."""
        attributes = {
            "http.request.method": scope["method"], "url.path": scope["path"], "url.scheme": scope["scheme"],
        }  # fmt: skip
        parent = extract(Headers(scope=scope), getter=_HEADERS)
        return self._tracer.start_span(scope["method"], parent, SpanKind.SERVER, attributes)

    def close(self) -> None:
        """Send the spans that wait."""
        self.provider.shutdown()


class _HeaderGetter(Getter[Headers]):
    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """Return the values of a header."""
        return carrier.getlist(key) or None

    def keys(self, carrier: Headers) -> list[str]:
        """Return the names of all headers."""
        return list(carrier.keys())


_HEADERS = _HeaderGetter()


class TraceRequests:
    """ASGI middleware: a span for each POST; other requests compute nothing."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within a span."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        span = scope[SPAN] = self._traces.begin(scope)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    span.set_status(Status(StatusCode.ERROR))
                    span.set_attribute("error.type", str(message["status"]))
            await send(message)

        try:
            with trace.use_span(span):  # notes exceptions
                await self._app(scope, receive, noted)
        finally:
            route = scope.get("route")
            if route is not None and IS_NAMED not in scope:
                span.update_name(f"POST {route.path}")
            span.end()


def describe(scope: Scope, name: str, answers: Answers) -> None:
    """Set the attributes of the answers of a model in the span of a request."""
    params, usage = answers.params, answers.usage
    attributes = {
        "gen_ai.response.model": name,
        "gen_ai.request.max_tokens": params.max_tokens,
        "gen_ai.request.temperature": params.temperature,
        "gen_ai.request.top_p": params.top_p,
        "gen_ai.request.top_k": params.top_k,
        "gen_ai.request.seed": params.seed,
        "gen_ai.request.choice.count": params.n if params.n > 1 else None,
        "gen_ai.usage.output_tokens": usage.n_generated,
        "gen_ai.usage.cache_read.input_tokens": usage.n_cached,
        "gen_ai.response.finish_reasons": [reason for reason, _ in answers.finish_reasons()] or ["cancelled"],
        "gen_ai.latency.time_in_queue": answers.queue_s,
        "gen_ai.latency.time_to_first_token": answers.first_token_s,
    }
    operation = "text_completion" if scope["path"] in _COMPLETIONS else "chat"
    _set(scope, operation, name, usage.n_prompt, attributes)


def describe_embeddings(scope: Scope, name: str, n_tokens: int) -> None:
    """Set the attributes of embeddings of so many tokens in the span of a request."""
    _set(scope, "embeddings", name, n_tokens, {})


def _set(scope: Scope, operation: str, name: str, n_tokens: int, more: dict[str, Any]) -> None:
    span: Span | None = scope.get(SPAN)
    if span is None or not span.is_recording():
        return
    span.update_name(f"{operation} {name}")
    scope[IS_NAMED] = True
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "realizar",
        "gen_ai.request.model": name,
        "gen_ai.usage.input_tokens": n_tokens,
        **more,
    }
    span.set_attributes({key: value for key, value in attributes.items() if value is not None})
