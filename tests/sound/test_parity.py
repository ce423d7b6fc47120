"""A sound encoder against transformers, on a tiny random model: spectrogram, rows and logits (tests/peers has more)."""

import numpy as np
import pytest

from realizar import LLM, Embeddings, Tokens
from realizar.arch import SoundTile
from realizar.arch.mel import log_mel, mel_filters
from realizar.arch.sound_projector import convolved
from realizar.errors import GGUFError, SoundError, UnknownArchitectureError
from realizar.pictures.projector_file import ProjectorFile, modalities_of
from tests.limits.models import rewritten
from tests.sound.cases import AUDIO, EXACT, MMPROJ, MODEL, N_ROWS, SOUNDS, STRIDE, encoder, golden
from tests.sound.tones import tones


def rows(parts):
    return np.concatenate([part.rows for part in parts if isinstance(part, Embeddings)])


def test_the_spectrogram_is_that_of_transformers():
    """PyTorch's, in float32; tests/peers compares with the version in numpy, to 1e-5."""
    found = log_mel(np.pad(SOUNDS[0], (0, 16000 - len(SOUNDS[0]))), 80)
    np.testing.assert_allclose(found[::STRIDE], golden()["features"], atol=2e-4)


@pytest.mark.parametrize("n_mel", [80, 128])
def test_filters_have_equal_areas(n_mel):
    """Where they are wide: narrow ones fall between the frequencies."""
    areas = mel_filters(n_mel).sum(axis=0) * 40
    np.testing.assert_allclose(areas[n_mel // 2 :], 1, rtol=0.1)


def test_a_long_sound_is_computed_in_blocks():
    """Each frame is that of a sound around it, apart from the scale to the greatest power."""
    sound = tones(31)
    whole, end = log_mel(sound, 80), log_mel(sound[-16000:], 80)
    assert whole.shape == (3100, 80)
    np.testing.assert_allclose(np.clip(whole[-90:], -0.5, None), np.clip(end[-90:], -0.5, None), atol=1e-6)


def test_convolutions_see_three_rows_and_zeros_beyond_the_ends():
    x = np.arange(1.0, 9.0, dtype=np.float32).reshape(4, 2)
    assert convolved(x, 4)[0].tolist() == [0, 1, 3, 0, 2, 4]
    assert convolved(x, 4)[3].tolist() == [5, 7, 0, 6, 8, 0]
    assert convolved(x, 3)[2].tolist() == [3, 5, 7, 4, 6, 8], "the next row exists"
    assert convolved(x, 6)[4].tolist() == [7, 0, 0, 8, 0, 0]


def test_rows_are_those_of_transformers():
    both = encoder(activations="f32").parts(SOUNDS)
    assert [part if isinstance(part, str) else len(part.rows) for part in both[0]] == [
        "<|audio_bos|>", N_ROWS[0], "<|audio_eos|>",
    ]  # fmt: skip
    for i, parts in enumerate(both):
        np.testing.assert_allclose(rows(parts), golden()[f"rows_{i}"], atol=1e-4)


def test_sounds_encoded_together_have_the_bits_of_those_encoded_alone():
    together = encoder()
    for sound, parts in zip(SOUNDS, together.parts(SOUNDS), strict=True):
        assert rows(encoder().parts([sound])[0]).tobytes() == rows(parts).tobytes()
    assert together.stats().n_steps == 1


def test_the_backends_agree():
    found = rows(encoder(activations="f32").parts(SOUNDS[:1])[0])
    want = rows(encoder(activations="f32", backend="numpy").parts(SOUNDS[:1])[0])
    np.testing.assert_allclose(found, want, atol=1e-4)


@pytest.mark.parametrize("n_batch", [16, 512])
def test_logits_are_those_of_transformers(n_batch):
    own = iter([rows(parts) for parts in encoder(activations="f32").parts(SOUNDS)])
    tokens, prompt = golden()["tokens"].tolist(), []
    for token in tokens:
        if token != AUDIO:
            prompt.append(Tokens([token]))
        elif not isinstance(prompt[-1], Embeddings):
            prompt.append(Embeddings(next(own)))
    with LLM(MODEL, **EXACT, n_batch=n_batch) as llm:
        np.testing.assert_allclose(llm.logits(prompt)[-4:], golden()["logits"], atol=1e-4)


def test_long_sounds_are_runs():
    """The model's runs are 1 s, of 25 rows."""
    parts = encoder().parts([tones(2.3)])[0]
    assert [len(part.rows) for part in parts[1:-1]] == [25, 25, 7]


def test_a_sound_that_is_too_short_or_too_long():
    with pytest.raises(SoundError, match=r"0\.006 s: too short"):
        encoder().parts([tones(0.006)])
    with pytest.raises(SoundError, match=r"50 rows, but 40 fit into the context: raise n_ctx"):
        encoder(max_rows=40).parts([tones(2.0)])
    ends = [tile.chunks for tile in encoder().file.projector.tiles(tones(1.03), encoder().file.hp)]
    assert ends == [(100,), (4,)], "the second has one row"
    assert all(isinstance(tile, SoundTile) for tile in encoder().file.projector.tiles(tones(1), encoder().file.hp))


def test_files_with_other_encoders(tmp_path):
    assert modalities_of(MMPROJ) == ("audio",)
    with pytest.raises(GGUFError, match="has no vision encoder"):
        ProjectorFile(MMPROJ)
    both = {"clip.has_vision_encoder": True}
    rewritten(MMPROJ, tmp_path / "both.gguf", both)
    assert modalities_of(tmp_path / "both.gguf") == ("vision", "audio")
    with pytest.raises(GGUFError, match="'qwen2a' is no encoder of pictures"):
        ProjectorFile(tmp_path / "both.gguf")
    rewritten(MMPROJ, tmp_path / "unknown.gguf", {"clip.projector_type": "perceiver"})
    with pytest.raises(UnknownArchitectureError, match=r"'perceiver'.*known are .*voxtral"):
        ProjectorFile(tmp_path / "unknown.gguf", modality="audio")
    with pytest.raises(GGUFError, match="a model's; an mmproj file"):
        ProjectorFile(MODEL, modality="audio")


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_mel_bins", 0), ("attention.head_count", 3), ("block_count", 10**6), ("embedding_length", 0)],
)
def test_invalid_metadata_are_errors(key, value, tmp_path):
    rewritten(MMPROJ, tmp_path / "bad.gguf", {f"clip.audio.{key}": value})
    with pytest.raises(Exception, match=r"clip\.audio|tensors") as found:
        ProjectorFile(tmp_path / "bad.gguf", modality="audio")
    assert type(found.value).__module__ == "realizar.errors"
