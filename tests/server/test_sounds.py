"""Sounds in requests of the protocols that have them, with a tiny model that hears."""

import base64

import pytest

from tests.server.serving import serving
from tests.sound.cases import MMPROJ, MODEL, N_ROWS, SOUNDS
from tests.sound.test_reading import wav


@pytest.fixture(scope="module")
def server():
    with serving(MODEL, mmproj=[str(MMPROJ)]) as found:
        yield found


DATA = base64.b64encode(wav(SOUNDS[0])).decode()
ASK = "What is this?"


def post(server, path, body):
    return server.http.post(path, json={"temperature": 0, **body})


def test_both_protocols_of_openai_read_the_same_sound(server):
    """The second finds the sound's rows in the prefix cache. Anthropic's and Ollama's have no sounds."""
    sound = {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}
    url = {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{DATA}"}}
    counts, texts = [], []
    for part in (sound, url, None):
        content = [*([part] if part else []), {"type": "text", "text": ASK}]
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 4}
        answer = post(server, "/v1/chat/completions", body).json()
        counts.append(answer["usage"]["prompt_tokens"])
        texts.append(answer["choices"][0]["message"]["content"])
    assert counts[0] == counts[1] == counts[2] + N_ROWS[0] + 2, "rows, and the tokens around them"
    assert texts[0] == texts[1]
    parts = [sound, {"type": "input_text", "text": ASK}]
    found = post(
        server, "/v1/responses", {"input": [{"role": "user", "content": parts}], "max_output_tokens": 4}
    ).json()
    assert found["usage"]["input_tokens"] == counts[0]
    assert found["usage"]["input_tokens_details"]["cached_tokens"] >= 16
    again = {"input": "And now?", "previous_response_id": found["id"], "max_output_tokens": 4}
    assert post(server, "/v1/responses", again).json()["usage"]["input_tokens"] > counts[0], "the sound is kept"


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"type": "audio_url", "audio_url": {"url": "file:///etc/hostname"}}, "must be of type input_audio"),
        ({"type": "audio_url", "audio_url": {"url": "/etc/hostname"}}, "must be of type input_audio"),
        ({"type": "audio", "path": "/etc/hostname"}, "must be of type input_audio"),
        ({"type": "input_audio", "input_audio": "/etc/hostname"}, "must be of type input_audio"),
        ({"type": "input_audio", "input_audio": {"url": "/etc/hostname"}}, "must be of type input_audio"),
        (
            {"type": "input_audio", "input_audio": {"data": DATA}, "path": "/etc/hostname"},
            "must be of type input_audio",
        ),
        ({"type": "audio_url", "audio_url": {"url": "http://127.0.0.1:1/a.wav"}}, "reads no remote sounds"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}, "cannot be read"),
        ({"type": "input_audio", "input_audio": {"data": DATA[:4000], "format": "wav"}}, "cut off"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "no encoder of pictures"),
    ],
)
def test_bad_sounds_are_errors_of_the_request(server, part, problem):
    answer = post(server, "/v1/chat/completions", {"messages": [{"role": "user", "content": [part]}]})
    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]
