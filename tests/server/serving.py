"""A server in a thread of the test process, on a free port of 127.0.0.1, with a tiny random model."""

import socket
import threading
from contextlib import contextmanager

import httpx
import uvicorn

from realizar.server.app import create_app
from realizar.server.connections import protocol
from realizar.server.run import Server
from realizar.server.settings import read_settings
from tests.calls import templates
from tests.clocks import wait_until
from tests.limits.models import QWEN2, rewritten

CITY = {"enum": ["Paris", "Rome", "Oslo"]}
SCHEMA = {"type": "object", "properties": {"city": CITY}, "required": ["city"], "additionalProperties": False}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "Of today.", "parameters": SCHEMA}}
    for name in ("weather", "time_of")
]
QUESTION = [{"role": "user", "content": "How is the weather in Rome?"}]


def write_model(path, template=templates.HERMES, **changes):
    """Write a tiny model with a chat template."""
    rewritten(QWEN2, path, {"tokenizer.chat_template": template, **changes})
    return path


class Serving:
    """A running server: its address, its app, and the engine of its first model."""

    def __init__(self, app, port, server):
        self.app = app
        self.server = server
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=None)

    @property
    def pool(self):
        return self.app.state.pool

    @property
    def engine(self):
        return self.pool.models[0].llm.engine

    def post(self, path, body, **headers):
        """Post JSON; returns status and body."""
        response = self.http.post(path, json=body, headers=headers)
        return response.status_code, response.json()


@contextmanager
def serving(*models, on_start=None, **options):
    """Run a server with these models and settings; it is ready. `on_start` is called with its URL before that."""
    settings = read_settings({"models": [str(model) for model in models], "n_threads": 1, "n_ctx": 512, **options})
    app = create_app(settings)
    with listening(app, protocol(settings.timeout)) as (port, server, thread):
        found = Serving(app, port, server)
        with found.http:
            if on_start is not None:
                on_start(found.url)
            wait_until(lambda: app.state.is_ready or not thread.is_alive())
            yield found


@contextmanager
def listening(app, http="auto"):
    """Run an application in a thread; yields its port, its server and the thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(uvicorn.Config(app, http=http, log_config=None, access_log=False, lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1], server, thread
    finally:
        server.should_exit = True
        thread.join()


class Gate:
    """Lets the steps of an engine pass one by one."""

    def __init__(self, engine):
        self._passes = threading.Semaphore(0)
        self.n_asked = 0
        self._is_open = False
        self._run, self._runner = engine.runner.run, engine.runner
        engine.runner.run = self._gated

    def _gated(self, *arguments):
        self.n_asked += 1
        if not self._is_open:
            self._passes.acquire()
        return self._run(*arguments)

    def let(self, n):
        """Let n more steps pass."""
        for _ in range(n):
            self._passes.release()

    def open(self):
        """Let all steps pass from now on."""
        self._is_open = True
        self.let(1)
        self._runner.run = self._run
