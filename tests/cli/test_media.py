"""`realizar run` with pictures and sounds, with tiny models that read them."""

import pytest
from PIL import Image

from tests.pictures.cases import PICTURES, QWEN3
from tests.sound.cases import MODEL, SOUNDS
from tests.sound.test_reading import wav

ANSWER = ("--temperature", "0", "--max-tokens", "4", "--stats")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a photo.png"
    Image.fromarray(PICTURES[0]).save(path)
    return str(path)


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "a sound.wav"
    path.write_bytes(wav(SOUNDS[0]))
    return str(path)


def test_files_before_the_prompt(realizar, picture, sound):
    for model, option, file in ((QWEN3.model, "-i", picture), (MODEL, "--audio", sound)):
        status, _, err = realizar("run", str(model), "What is this?", option, file, *ANSWER)
        assert status == 0, err
        plain = realizar("run", str(model), "What is this?", *ANSWER)[2]
        assert n_prompt(err) > n_prompt(plain) + 10


def n_prompt(stats):
    """The number of tokens of the prompt in what --stats writes."""
    return int(stats.split("prefill ")[1].split()[0])


def test_what_is_wrong_with_a_file_is_one_line(realizar, picture):
    status, _, err = realizar("run", str(MODEL), "What is this?", "--audio", picture)
    assert (status, err.count("\n")) == (1, 1)
    assert "WAV, FLAC, OGG, MP3 are supported" in err
    status, _, err = realizar("run", str(MODEL), "What is this?", "--audio", picture, "--raw")
    assert status == 2
    assert "--image and --audio need the chat template" in err


def test_an_empty_name_is_a_usage_error(realizar):
    for option in ("--image", "--audio"):
        status, _, err = realizar("run", str(MODEL), "What is this?", option, "")
        assert (status, "not an empty text" in err) == (2, True)
