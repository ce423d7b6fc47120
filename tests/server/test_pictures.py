"""Pictures in requests of all protocols, with a tiny vision-language model."""

import base64
import io

import pytest
from PIL import Image

from realizar.pictures.encoder import CACHE_BYTES
from realizar.pictures.kind import PICTURE
from tests.pictures.cases import PICTURES, QWEN3
from tests.server.serving import serving


@pytest.fixture(scope="module")
def server():
    with serving(QWEN3.model, mmproj=[str(QWEN3.mmproj)]) as found:
        yield found


def base64_png():
    out = io.BytesIO()
    Image.fromarray(PICTURES[0]).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


DATA = base64_png()
URL = f"data:image/png;base64,{DATA}"
ASK = "What is this?"
N_ROWS = 15


def post(server, path, body):
    return server.http.post(path, json={"temperature": 0, **body})


def test_every_protocol_reads_the_same_picture(server):
    """OpenAI's two, Anthropic's and Ollama's; the second one reads the picture's rows from the prefix cache."""
    parts = [{"type": "image_url", "image_url": {"url": URL}}, {"type": "text", "text": ASK}]
    chat = post(
        server, "/v1/chat/completions", {"messages": [{"role": "user", "content": parts}], "max_tokens": 4}
    ).json()
    text, n_prompt = chat["choices"][0]["message"]["content"], chat["usage"]["prompt_tokens"]
    plain = post(
        server, "/v1/chat/completions", {"messages": [{"role": "user", "content": ASK}], "max_tokens": 4}
    ).json()
    assert n_prompt == plain["usage"]["prompt_tokens"] + N_ROWS + 2, "rows, and the tokens around them"

    parts = [{"type": "input_image", "image_url": URL}, {"type": "input_text", "text": ASK}]
    body = {"input": [{"role": "user", "content": parts}], "max_output_tokens": 4}
    found = post(server, "/v1/responses", body).json()
    assert found["usage"]["input_tokens"] == n_prompt
    assert found["usage"]["input_tokens_details"]["cached_tokens"] >= 16

    source = {"type": "base64", "media_type": "image/png", "data": DATA}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": ASK}]
    body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 4}
    assert post(server, "/v1/messages/count_tokens", {"messages": body["messages"]}).json()["input_tokens"] == n_prompt
    assert post(server, "/v1/messages", body).json()["content"][0]["text"] == text

    options = {"model": "tiny-F16", "options": {"num_predict": 4, "temperature": 0}, "stream": False}
    body = {"messages": [{"role": "user", "content": ASK, "images": [DATA]}], **options}
    assert post(server, "/api/chat", body).json()["message"]["content"] == text
    assert post(server, "/api/generate", {"prompt": ASK, "images": [DATA], **options}).json()["response"] == text


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"type": "image_url", "image_url": {"url": "file:///etc/hostname"}}, "data URL"),
        ({"type": "image_url", "image_url": {"url": "/etc/hostname"}}, "data URL"),
        ({"type": "image", "path": "/etc/hostname"}, "data URL"),
        ({"type": "image_url", "image_url": {"url": "x"}, "path": "/etc/hostname"}, "data URL"),
        ({"type": "image_url", "path": "/etc/hostname"}, "data URL"),
        ({"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}, "reads no remote pictures"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "cannot be read"),
        ({"type": "file", "file": {}}, "only 'text', pictures"),
    ],
)
def test_bad_pictures_are_errors_of_the_request(server, part, problem):
    answer = post(server, "/v1/chat/completions", {"messages": [{"role": "user", "content": [part]}]})
    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]


def test_bad_sources_of_other_protocols(server):
    bad = [{"type": "image", "source": {"type": "file", "file_id": "x"}}]
    answer = post(server, "/v1/messages", {"messages": [{"role": "user", "content": bad}], "max_tokens": 1})
    assert answer.status_code == 400
    answer = post(
        server, "/api/chat", {"messages": [{"role": "user", "content": "a", "images": "x"}], "model": "tiny-F16"}
    )
    assert answer.status_code == 400
    answer = post(server, "/api/generate", {"prompt": "a", "images": [DATA], "raw": True, "model": "tiny-F16"})
    assert answer.status_code == 400


def test_memory_counts_the_encoder(server):
    served = server.pool.models[0]
    engine, encoder = served.llm.engine, served.llm._encoders[PICTURE]
    text = engine.model.file.n_bytes + engine.cache.n_bytes + engine.runner.program(None).n_bytes
    assert encoder.n_bytes >= QWEN3.mmproj.stat().st_size + CACHE_BYTES
    assert served.n_bytes == text + encoder.n_bytes
