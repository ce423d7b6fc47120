"""LoRA adapters in the server: as models, by the field lora, and by /lora-adapters."""

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.errors import ParameterError
from realizar.model import load
from realizar.server.models import ModelPool
from realizar.server.settings import read_settings
from tests.adapters import write_random_lora
from tests.server.serving import serving, write_model

BODY = {"prompt": "The sky is", "max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora")
    path = write_model(folder / "tiny.gguf")
    model = load(path)
    files = [write_random_lora(folder / f"{name}.gguf", model, seed=seed) for seed, name in enumerate("ab")]
    model.close()
    with serving(path, lora=[f"first={files[0]}", f"second={files[1]}"]) as found:
        yield found


def text(server, **more):
    status, body = server.post("/v1/completions", {**BODY, **more})
    assert status == 200, body
    return body["choices"][0]["text"]


def test_adapters_are_models(server):
    rows = server.http.get("/v1/models").json()["data"]
    assert [(row["id"], row.get("parent")) for row in rows] == [("tiny", None), ("first", "tiny"), ("second", "tiny")]
    texts = [text(server, model=name) for name in ("tiny", "first", "second")]
    assert len(set(texts)) == 3
    messages = [{"role": "user", "content": "Hello"}]
    answers = [
        server.post("/v1/chat/completions", {"model": name, "messages": messages, "max_tokens": 8, "temperature": 0})
        for name in ("tiny", "first")
    ]
    assert answers[0][1]["choices"] != answers[1][1]["choices"]
    status, body = server.post("/v1/completions", {**BODY, "model": "third"})
    assert status == 404
    status, refused = server.post("/v1/embeddings", {"input": "a", "model": "first"})
    assert status == 400
    assert "is a LoRA adapter, which this endpoint does not apply" in refused["error"]["message"]
    assert "third" in body["error"]["message"]


def test_the_field_of_a_request(server):
    want = text(server, model="second")
    assert text(server, lora="second") == want
    assert text(server, lora={"second": 1.0}) == want
    assert text(server, lora=[{"id": 1, "scale": 1.0}]) == want
    assert text(server, model="first", lora="second") == want
    status, body = server.post("/v1/completions", {**BODY, "lora": [{"id": 2, "scale": 1.0}]})
    assert status == 400
    assert "id 2: there are 2 adapters" in body["error"]["message"]
    status, body = server.post("/v1/completions", {**BODY, "lora": "secondd"})
    assert status == 400
    assert "did you mean second?" in body["error"]["message"]


def test_scales_for_all_requests(server):
    base, first = text(server), text(server, model="first")
    assert server.http.get("/lora-adapters").json() == [
        {"id": 0, "path": "first", "scale": 0.0}, {"id": 1, "path": "second", "scale": 0.0},
    ]  # fmt: skip
    assert server.post("/lora-adapters", [{"id": 0, "scale": 1.0}]) == (200, {"success": True})
    try:
        assert server.http.get("/lora-adapters").json()[0]["scale"] == 1.0
        assert text(server) == first
        assert text(server, lora=[{"id": 0, "scale": 0.0}]) == base
    finally:
        assert server.post("/lora-adapters", [])[0] == 200
    assert text(server) == base
    assert server.post("/lora-adapters", [{"id": 5, "scale": 1.0}])[0] == 400
    assert server.post("/lora-adapters", [{"id": 0, "scale": 1e99}])[0] == 400


@pytest.mark.parametrize("entry", [{"id": True, "scale": 1.0}, {"id": "0", "scale": 1.0}, {"id": 0, "scale": True}])
def test_values_of_other_types(entry, server):
    assert server.post("/lora-adapters", [entry])[0] in (400, 422)
    assert server.post("/v1/completions", {**BODY, "lora": [entry]})[0] in (400, 422)
    assert server.post("/v1/completions", {**BODY, "lora": {"first": True}})[0] in (400, 422)


def test_the_same_adapter_twice(server):
    status, body = server.post("/lora-adapters", [{"id": 0, "scale": 1.0}, {"id": 0, "scale": 0.5}])
    assert status == 400
    assert "each adapter once" in body["error"]["message"]


@pytest.mark.parametrize("given", ["name", "=path", "name=", "tiny=path"])
def test_invalid_options(given):
    with pytest.raises(ParameterError, match=r"lora|models, alias"):
        ModelPool(read_settings({"models": ["tiny"], "lora": [given]}))
