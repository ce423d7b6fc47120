"""How far the load of a model has come: in the log, at /ready, and in the list of models."""

import asyncio
import logging
import threading

import httpx
import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar import store
from realizar.engine.engine import Engine
from realizar.errors import ParameterError
from realizar.server import page
from realizar.server.app import create_app
from realizar.server.loading import LoadProgress, load_aside
from realizar.server.settings import read_settings
from realizar.store.progress import download_progress
from tests.clocks import wait_until
from tests.server.serving import serving, write_model


class Download:
    """A download in place of `store.resolve`, which goes on when it is told to."""

    def __init__(self, path):
        self.path, self.has_begun, self.goes_on = path, threading.Event(), threading.Event()

    def __call__(self, model):
        with download_progress() as progress:
            task = progress.add_task("fetching", total=200)
            progress.add_task("of unknown size", total=None)
            progress.update(task, completed=90)
            self.has_begun.set()
            self.goes_on.wait()
        return self.path


def test_a_download_tells_how_far_it_is(model_path, monkeypatch, caplog):
    download = Download(model_path)
    with caplog.at_level(logging.INFO, "realizar.server"), serving(model_path, "other") as server:
        monkeypatch.setattr(store, "resolve", download)
        asks = threading.Thread(target=server.post, args=("/tokenize", {"content": "a", "model": "other"}))
        asks.start()
        download.has_begun.wait()
        row = server.http.get("/v1/models/other").json()
        assert row["status"] == {"value": "loading", "stage": "fetching", "progress": 0.45}
        assert server.pool.models[1].progress.text == "fetching, 45%"
        download.goes_on.set()
        asks.join()
        assert server.http.get("/v1/models/other").json()["status"] == {"value": "loaded"}
    stages = [record.getMessage() for record in caplog.records if record.getMessage().startswith("other: ")]
    assert stages == ["other: fetching", "other: opening", "other: building the tokenizer"]


def test_a_server_that_is_not_ready_says_why(model_path, monkeypatch):
    download = Download(model_path)
    monkeypatch.setattr(store, "resolve", download)
    found = []

    def ask():
        download.has_begun.wait()
        found.append(httpx.get(f"{url()}/ready"))
        download.goes_on.set()

    def url():
        wait_until(lambda: servers)
        return servers[0]

    servers, thread = [], threading.Thread(target=ask)
    thread.start()
    with serving(model_path, on_start=servers.append) as server:
        assert server.http.get("/ready").status_code == 200
    thread.join()
    (response,) = found
    assert response.status_code == 503
    assert "(fetching, 45%)" in response.json()["error"]["message"]


def test_chat_templates_of_the_operator(tmp_path, model_path):
    file = tmp_path / "given.jinja"
    file.write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ tools or '' }}", encoding="utf-8"
    )
    named = {"tokenizer.chat_template.brief": "{{ messages[0].content }}!", "tokenizer.chat_template.tool_use": "no"}
    second = write_model(tmp_path / "second.gguf", **named)
    given = [str(file), "second=brief"]
    with serving(model_path, second, chat_template=given, alias=["first"]) as server:
        for model, prompt in (("first", "<user>Hi"), ("second", "Hi!")):
            body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
            assert server.post("/apply-template", body) == (200, {"prompt": prompt})
            assert server.post("/v1/chat/completions", {**body, "max_tokens": 1})[0] == 200
        assert server.http.get("/props").json()["chat_template"] == file.read_text("utf-8")


def test_a_name_that_the_model_does_not_know(model_path):
    async def load():
        await load_aside(str(model_path), {"n_threads": 1, "n_ctx": 64}, LoadProgress("m"), "brief")

    with pytest.raises(ParameterError, match="no such template in the model's; it has no named ones"):
        asyncio.run(load())


def test_a_model_that_nobody_waits_for_is_closed_beside_the_event_loop(model_path, monkeypatch):
    download = Download(model_path)
    monkeypatch.setattr(store, "resolve", download)
    closed, close = [], Engine.close
    monkeypatch.setattr(Engine, "close", lambda self: closed.append(threading.current_thread()) or close(self))

    async def give_up():
        loading = asyncio.create_task(load_aside("m", {"n_threads": 1, "n_ctx": 64}, LoadProgress("m")))
        await asyncio.to_thread(download.has_begun.wait)
        loading.cancel()
        download.goes_on.set()
        await asyncio.to_thread(wait_until, lambda: closed)

    asyncio.run(give_up())
    assert [thread.name for thread in closed] == ["realizar-unload"]


def test_an_application_that_is_not_served_reads_no_page(model_path):
    page.page_files.cache_clear()
    create_app(read_settings({"models": [str(model_path)]}))
    assert page.page_files.cache_info().currsize == 0
