"""Sound encoders against transformers, on tiny random models that it makes: spectrograms, rows and logits."""

import numpy as np
import pytest

from realizar import LLM, Embeddings, Tokens
from realizar.arch import SoundTile
from realizar.arch.mel import log_mel
from realizar.params import EngineParams
from realizar.pictures.encoder import PictureEncoder
from realizar.pictures.projector_file import ProjectorFile
from tests.sound.tones import tones

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from tests.tools.sound_models import AUDIO, TINY  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*added token:realizar.errors.ModelFileWarning")
SOUNDS = {
    "qwen2a": [tones(1.303), tones(1.9, 1)],  # transformers cuts longer ones
    "voxtral": [tones(1.303), tones(2.9, 1)],
    "qwen2.5o": [tones(1.303), tones(12.07, 1)],
    "ultravox": [tones(1.303), tones(2.9, 1)],
}


class Case:
    """A tiny model's files, and what transformers computes of two sounds."""

    def __init__(self, name, folder):
        tiny = TINY[name]()
        self.name, self.sounds = name, SOUNDS[name]
        self.model, self.mmproj = tiny.write(folder)
        self.heard = tiny.heard(self.sounds)

    def encoder(self, **params):
        file = ProjectorFile(self.mmproj, modality="audio")
        return PictureEncoder(file, 32, 0, EngineParams(**{"activations": "f32", **params}), 4096)


@pytest.fixture(scope="module", params=TINY)
def case(request, tmp_path_factory):
    return Case(request.param, tmp_path_factory.mktemp(request.param))


def rows(parts):
    return np.concatenate([part.rows for part in parts if isinstance(part, Embeddings)])


@pytest.mark.parametrize("n_mel", [80, 128])
@pytest.mark.parametrize("seconds", [0.03, 1.0, 7.3])
def test_spectrograms_are_those_of_transformers(n_mel, seconds):
    """Of its numpy version; that of PyTorch sums in float32, which shows where a sound is 70 dB quieter than its peak.

    Measured: at most 8e-5 from our numbers, and as much from transformers' own other version.
    """
    extractor = transformers.WhisperFeatureExtractor(feature_size=n_mel)
    sound = tones(seconds)
    want = extractor._np_extract_fbank_features(sound[None], "cpu")[0]
    np.testing.assert_allclose(log_mel(sound, n_mel).T, want, atol=1e-5)
    usual = extractor(sound, sampling_rate=16000, padding=False, return_tensors="np").input_features[0]
    np.testing.assert_allclose(log_mel(sound, n_mel).T, usual, atol=2e-4)


def test_frames_are_those_of_the_processor(case):
    encoder = case.encoder()
    projector, hp = encoder.file.projector, encoder.file.hp
    for sound, want in zip(case.sounds, case.heard.features, strict=True):
        tiles = [piece for piece in projector.pieces(sound, hp, 4096) if isinstance(piece, SoundTile)]
        middle = [projector.given("frames", {"patches": t.patches}, t, hp)["patches"] for t in tiles]
        found = []
        for tile, windows in zip(tiles, middle, strict=True):
            own = windows.reshape(len(windows), hp.n_mel, 3)[:, :, 1]  # a window is before, at and after a frame
            ends = np.cumsum([2 * n for n in tile.counts])
            found += [run[:n] for run, n in zip(np.split(own, ends[:-1]), tile.chunks, strict=True)]
        together = np.concatenate(found).T
        np.testing.assert_allclose(together, want[:, : together.shape[1]], atol=2e-4)


def test_rows_are_those_of_transformers(case):
    for parts, want in zip(case.encoder().parts(case.sounds), case.heard.rows, strict=True):
        np.testing.assert_allclose(rows(parts), want, atol=1e-4)


def test_logits_are_those_of_transformers(case):
    prompt, tokens, start = [], case.heard.tokens, 0
    own = iter([rows(parts) for parts in case.encoder().parts(case.sounds)])
    while start < len(tokens):
        if tokens[start] == AUDIO:
            prompt.append(Embeddings(next(own)))
            start += len(prompt[-1].rows)
        else:
            end = next((i for i in range(start, len(tokens)) if tokens[i] == AUDIO), len(tokens))
            prompt.append(Tokens(tokens[start:end]))
            start = end
    with LLM(case.model, activations="f32", kv_type="f32") as llm:
        np.testing.assert_allclose(llm.logits(prompt), case.heard.logits, atol=1e-4)


def test_sounds_encoded_together_have_the_bits_of_those_encoded_alone(case):
    together = case.encoder(activations="int8").parts(case.sounds)
    for sound, parts in zip(case.sounds, together, strict=True):
        assert rows(case.encoder(activations="int8").parts([sound])[0]).tobytes() == rows(parts).tobytes()


def test_the_backends_agree(case):
    found = rows(case.encoder().parts(case.sounds[:1])[0])
    want = rows(case.encoder(backend="numpy").parts(case.sounds[:1])[0])
    np.testing.assert_allclose(found, want, atol=1e-4)


@pytest.mark.parametrize("type_name", ["F16", "BF16", "Q8_0"])
def test_other_types_are_close(type_name, tmp_path):
    """The widths are multiples of 32, so that matrices are Q8_0."""
    from tests.tools import sound_models

    tiny = sound_models.Qwen2Audio(n_mel=128, n_embd=32)
    _, mmproj = tiny.write(tmp_path, type_name)
    encoder = PictureEncoder(ProjectorFile(mmproj, modality="audio"), 32, 0, EngineParams(), 4096)
    sound = tones(1.3)
    want = tiny.rows(sound)[1].detach().numpy()
    found = rows(encoder.parts([sound])[0])
    assert np.linalg.norm(found - want) < 0.05 * np.linalg.norm(want)
