"""Sounds in conversations: any form and place, the prefix cache, and errors of one request."""

import base64

import numpy as np
import pytest

from realizar import LLM, Embeddings, SamplingParams, Tokens
from realizar.errors import PictureError, SoundError, TemplateError
from realizar.pictures import conversation
from realizar.pictures.kind import SOUND
from tests.limits.models import rewritten
from tests.sound.cases import MMPROJ, MODEL, N_ROWS, SOUNDS
from tests.sound.test_reading import wav
from tests.sound.tones import tones

GREEDY = SamplingParams(temperature=0.0, max_tokens=6)


def text(words):
    return {"type": "text", "text": words}


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


def input_audio(samples):
    data = base64.b64encode(wav(samples)).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


@pytest.fixture(scope="module")
def llm():
    with LLM(MODEL) as llm:  # its mmproj file is beside it
        yield llm


def test_the_rows_are_between_the_tokens_of_the_template(llm):
    prompt = llm.chat_prompt(user(text("Listen: "), input_audio(SOUNDS[0]), text("and tell.")))
    before, rows, after = prompt.ids
    assert [type(part) for part in prompt.ids] == [Tokens, Embeddings, Tokens]
    assert llm.detokenize(before.ids, skip_special=False).endswith("user\nListen: <|audio_bos|>")
    assert llm.detokenize(after.ids, skip_special=False).startswith("<|audio_eos|>and tell.<|im_end|>")
    assert rows.rows.shape == (N_ROWS[0], 16)
    assert prompt.n_tokens == len(before.ids) + N_ROWS[0] + len(after.ids)


def test_every_form_of_a_sound_is_the_same(llm, tmp_path):
    path = tmp_path / "a sound.wav"
    path.write_bytes(wav(SOUNDS[0]))
    exact = np.round(SOUNDS[0] * 32767).astype(np.int16)
    url = "data:audio/wav;base64," + base64.b64encode(path.read_bytes()).decode()
    forms = [
        input_audio(SOUNDS[0]), {"type": "audio_url", "audio_url": {"url": url}}, path, path.read_bytes(), exact,
        {"type": "audio_url", "audio_url": {"url": path.as_uri()}}, {"type": "audio", "path": str(path)},
        {"type": "audio", "audio": exact}, {"type": "audio", "audio": (exact, 16000)}, (exact, 16000),
        {"type": "audio", "audio_url": str(path)},
    ]  # fmt: skip
    prompts = [llm.chat_prompt(user(form, text("What is it?"))).ids for form in forms]
    assert len({parts[1].rows.tobytes() for parts in prompts}) == 1
    assert len({parts[1].key for parts in prompts}) == 1


def test_a_sound_that_comes_again_is_neither_encoded_nor_prefilled():
    with LLM(MODEL) as llm:
        encoder = llm._encoder_of(SOUND)
        first = llm.chat(user(SOUNDS[0], text("What is this?")), GREEDY)
        assert (first.timings.n_cached, encoder.stats().n_encoded) == (0, 1)
        second = llm.chat(user(SOUNDS[0], text("Who speaks?")), GREEDY)
        assert second.timings.n_cached >= 16, "the block with most of the sound"
        assert (encoder.stats().n_encoded, encoder.stats().n_hits) == (1, 1)
        other = tones(0.803, seed=5)
        third = llm.chat(user(other, text("What is this?")), GREEDY)
        assert third.timings.n_cached == 0, "the tokens are the same, the sound is not"
        with LLM(MODEL) as alone:
            assert alone.chat(user(other, text("What is this?")), GREEDY).text == third.text


def test_several_sounds_in_several_turns(llm):
    messages = [
        *user(SOUNDS[0], text("One"), SOUNDS[1]),
        {"role": "assistant", "content": "Two sounds."},
        *user(text("And this? "), SOUNDS[0]),
    ]
    parts = llm.chat_prompt(messages).ids
    assert [len(part.rows) for part in parts if isinstance(part, Embeddings)] == [N_ROWS[0], N_ROWS[1], N_ROWS[0]]


def test_a_template_that_knows_no_sounds(llm):
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    parts = llm.chat_prompt(user(text("Hear"), SOUNDS[0], text("this")), chat_template=template).ids
    assert llm.detokenize(parts[0].ids, skip_special=False) == "[user] Hear\n<|audio_bos|>"
    assert llm.detokenize(parts[2].ids, skip_special=False) == "<|audio_eos|>\nthis\n"
    assert "<|AUDIO|>" in llm.chat_text(user(SOUNDS[0]), chat_template=template)


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"type": "input_audio", "input_audio": {}}, "a sound is"),
        ({"type": "input_audio"}, "a part with a sound must be"),
        (
            {"type": "audio_url", "audio_url": {"url": "https://example.org/a.wav"}},
            r"reads no remote sounds.*allow_urls",
        ),
        (wav(SOUNDS[0])[:3000], "cut off"),
        (tones(0.001), "too short"),
        (tones(60), "fit into the context"),
        ({"type": "audio", "audio": "/no/such/file.wav"}, "No such file"),
    ],
)
def test_a_bad_sound_is_an_error_of_its_request(llm, part, problem):
    with pytest.raises(SoundError, match=problem):
        llm.chat(user(part, text("What is it?")))
    assert llm.chat(user(text("Hello")), GREEDY).outputs


def test_sounds_have_limits_together(llm, monkeypatch):
    with LLM(MODEL, n_ctx=64) as small, pytest.raises(SoundError, match=r"3 of 3 sounds have 75 rows, but 64 fit"):
        small.chat(user(*(tones(1.0, seed) for seed in range(3))))
    monkeypatch.setattr(conversation, "MAX_SECONDS", 2)
    with pytest.raises(SoundError, match="more than 2 s of sounds"):
        llm.chat(user(*(tones(0.9, seed) for seed in range(3))))


def test_a_marker_in_the_text_is_an_error(llm):
    with pytest.raises(TemplateError, match=r"1 sounds, but .* 2 times"):
        llm.chat(user(SOUNDS[0], text("<|audio_bos|><|AUDIO|><|audio_eos|>")))


def test_a_model_without_an_encoder_says_so(llm, tmp_path):
    with pytest.raises(PictureError, match=r"mmproj-tiny-F16\.gguf, .* has no encoder of pictures"):
        llm.chat(user(np.zeros((40, 40, 3), np.uint8)))
    path = tmp_path / "text.gguf"
    path.write_bytes(MODEL.read_bytes())
    with LLM(path) as deaf, pytest.raises(SoundError, match="no encoder of them: give its mmproj"):
        deaf.chat(user(SOUNDS[0]))


def test_a_file_for_another_model(tmp_path):
    rewritten(MMPROJ, tmp_path / "mmproj.gguf", {"clip.projector_type": "voxtral"})
    with pytest.raises(Exception, match=r"stack_factor") as found:
        LLM(MODEL, mmproj=tmp_path / "mmproj.gguf")
    assert type(found.value).__module__ == "realizar.errors"
    with LLM(MODEL, mmproj=MMPROJ) as llm:
        assert SOUND in llm._encoders, "a file that is named is loaded at once"
