"""A fake LLM, so that commands are tested without a model."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from realizar import store
from realizar.cli import main
from realizar.engine.output import ReasoningEvent, TextEvent
from realizar.errors import ContextFullError, ModelNotFoundError


class FakeStream:
    """Streams the words of its text; `during` maps an index to a callback before that piece."""

    def __init__(self, text, during):
        self.words, self.during, self.said, self.closed = text.split(" "), during, [], False

    def __iter__(self):
        for i, word in enumerate(self.words):
            if i in self.during:
                self.during[i]()
            if self.closed:
                return
            self.said.append(word if i == 0 else f" {word}")
            yield self.said[-1]

    def events(self):
        yield ReasoningEvent(0, "Hm.", 1)
        for piece in self:
            yield TextEvent(0, piece)

    def close(self):
        self.closed = True

    @property
    def completion(self):
        timings = SimpleNamespace(
            n_prompt=12, n_cached=2, n_generated=5, prefill_tok_s=100.0, decode_tok_s=50.0, n_drafted=0, n_accepted=0
        )
        return SimpleNamespace(text="".join(self.said), timings=timings)


class FakeLLM:
    """Records the calls; answers with the last prompt."""

    chat_template = "a template"
    sampling_defaults: dict = {}  # noqa: RUF012
    n_ctx = 1000
    during: dict = {}  # noqa: RUF012
    made: list = []  # noqa: RUF012

    def __init__(self, model, **engine):
        if model == "missing":
            raise ModelNotFoundError("missing: is neither\na file nor a known name")
        self.model, self.engine_params, self.asked, self.closed = model, engine, [], False
        template = self.chat_template
        self.tokenizer = SimpleNamespace(chat_template=template and SimpleNamespace(source=template))
        self.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.closed = True

    def tokenize(self, text):
        return []

    def stream(self, text, params):
        self.asked.append(("raw", text, params))
        return FakeStream(f"raw {text}", self.during)

    def chat(self, messages, params, chat_template_kwargs, stream):
        assert stream
        self.variables = chat_template_kwargs
        if sum(len(m["content"]) for m in messages) > self.n_ctx:
            raise ContextFullError("too long")
        self.asked.append(("chat", [dict(m) for m in messages], params))
        return FakeStream(f"you said {messages[-1]['content']}", self.during)


@pytest.fixture
def fake_llm(monkeypatch):
    """The class that replaces realizar.llm.LLM; `made` lists its instances."""
    module = ModuleType("realizar.llm")
    module.LLM = type("LLM", (FakeLLM,), {"made": [], "during": {}})
    monkeypatch.setitem(sys.modules, "realizar.llm", module)
    monkeypatch.setattr(store, "resolve", lambda name: name)
    return module.LLM


@pytest.fixture
def realizar(capfd):
    """Run a command; returns (status, standard output, standard error)."""

    def run(*arguments):
        status = main(list(arguments))
        out, err = capfd.readouterr()
        return status, out, err

    return run


@pytest.fixture
def typed(monkeypatch):
    """Set the content of standard input: str or bytes."""
    import io

    def set_input(text):
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    return set_input
