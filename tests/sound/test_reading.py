"""Reading sounds: formats, rates, channels, limits, and files that are damaged."""

import base64
import io
import struct
import sys
import wave
from contextlib import suppress

import numpy as np
import pytest

from realizar.errors import MissingExtraError, SoundError
from realizar.pictures import read_sound
from realizar.pictures.sound_source import is_sound
from realizar.pictures.sound_source import read_sound as read
from tests.sound.tones import tones

SOUND = tones(0.5)


def wav(samples, rate=16000, width=2, n_channels=1):
    """The bytes of a WAV file of integers; `samples` are in [-1, 1]."""
    scaled = np.round(samples * ((1 << 8 * width - 1) - 1)).astype(np.int64)
    if width == 1:
        raw = (scaled + 128).astype(np.uint8).tobytes()
    else:
        raw = scaled.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(n_channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return out.getvalue()


def encoded(samples, format, rate=16000, **options):
    soundfile = pytest.importorskip("soundfile")
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=format, **options)
    return out.getvalue()


@pytest.mark.parametrize(("width", "atol"), [(1, 1 / 127), (2, 1 / 32000), (3, 1e-6), (4, 1e-6)])
def test_wav_files_of_integers(width, atol):
    found = read(wav(SOUND, width=width))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, SOUND, atol=atol)


def test_the_mean_of_the_channels():
    pair = np.stack([SOUND, -SOUND / 2], axis=1)
    np.testing.assert_allclose(read(wav(pair.reshape(-1), n_channels=2)), SOUND / 4, atol=1e-4)
    np.testing.assert_allclose(read(pair), SOUND / 4, atol=1e-6)


@pytest.mark.parametrize(
    ("format", "options", "atol"),
    [
        ("WAV", {"subtype": "FLOAT"}, 1e-7), ("WAVEX", {"subtype": "PCM_24"}, 1e-6), ("WAV", {"subtype": "ULAW"}, 0.03),
        ("FLAC", {}, 1e-4), ("OGG", {"subtype": "VORBIS"}, 0.15), ("MP3", {}, 0.3),
    ],
)  # fmt: skip
def test_other_formats_by_soundfile(format, options, atol):
    found = read(encoded(SOUND, format, **options))
    assert abs(len(found) - len(SOUND)) <= 2500, "mp3 has whole blocks"
    lag = max(range(1200), key=lambda i: float(np.dot(found[i : i + 5000], SOUND[: len(found[i : i + 5000])])))
    n = min(len(found) - lag, len(SOUND))
    np.testing.assert_allclose(found[lag : lag + n][500:-500], SOUND[:n][500:-500], atol=atol)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_are_resampled_as_librosa_does(rate):
    soxr = pytest.importorskip("soxr")
    sound = tones(1.5, rate=rate)
    found = read((sound, rate))
    want = soxr.resample(sound, rate, 16000)
    assert abs(len(found) - 24000) <= 1
    np.testing.assert_allclose(found, want[: len(found)], atol=1e-5)
    np.testing.assert_allclose(found[1000:-1000], tones(1.5)[: len(found)][1000:-1000], atol=0.05)


def test_the_block_size_does_not_matter(monkeypatch):
    pytest.importorskip("soxr")
    data = wav(tones(1.0, rate=44100), 44100)
    whole = read(data)
    monkeypatch.setattr(read_sound, "BLOCK", 1000)
    np.testing.assert_allclose(read(data), whole, atol=1e-6)


def test_integers_of_arrays_are_scaled():
    np.testing.assert_allclose(read(np.round(SOUND * 32767).astype(np.int16)), SOUND, atol=1e-4)


def test_openai_s_base64_and_data_urls(tmp_path):
    data = wav(SOUND)
    text = base64.b64encode(data).decode()
    path = tmp_path / "a sound.wav"
    path.write_bytes(data)
    forms = [{"data": text, "format": "wav"}, f"data:audio/wav;base64,{text}", path, str(path), path.as_uri(), data]
    assert len({read(form).tobytes() for form in forms}) == 1


def test_what_is_a_sound(tmp_path):
    assert all(map(is_sound, [wav(SOUND), SOUND, (SOUND, 8000), tmp_path / "a.MP3", b"fLaC\0\0", b"\xff\xfb\x90\0"]))
    pixels, number = np.zeros((4, 4), np.uint8), memoryview(np.array(1.0))
    others = [b"\x89PNG", b"\xff\xd8\xff\xe0", number, pixels, tmp_path / "a.png", 3]
    assert not any(map(is_sound, others))


def cut(data, n):
    return data[:-n]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (b"", "begin with b''"),
        (b"MThd\0\0\0\6", "WAV, FLAC, OGG, MP3 are supported"),
        (cut(wav(SOUND), 3000), "cut off: 13000 bytes of samples, but its header says 16000"),
        (wav(SOUND)[:30], "a WAV file, cannot be read"),
        (wav(np.zeros(0)), "no samples"),
        (wav(SOUND, rate=10), "10 samples in a second"),
        (wav(SOUND[:7920], n_channels=99), "99 channels"),
        ({"data": "%%%"}, "no samples|begin with|not base64"),
        ({"data": 3}, "a sound is"),
        ({}, "a sound is"),
        (3, "a sound is"),
        ("/no/such/file.wav", "No such file"),
        ("https://example.org/a.wav", "reads no remote sounds"),
        ("data:audio/wav;base64,", "has no data; data:audio/wav"),
        (np.zeros((2, 2, 2)), "must be floats"),
        (np.zeros(4, complex), "must be floats"),
        (np.array([0.1, np.nan]), "no finite number"),
        (np.full(500, 1e300), "no finite number"),
        ((np.tile([3e38, -3e38], 500), 44100), "a sample beyond 1e"),
        (memoryview(np.array(1.0)), "found 8 bytes"),
        ((SOUND, "fast"), "a number of samples"),
        ((SOUND, 10**9), "samples in a second"),
        (np.zeros(0), "must be floats"),
    ],
)
def test_bad_sounds_are_errors(given, problem):
    with pytest.raises(SoundError, match=problem):
        read(given)


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_writer_to_a_pipe_does_not_know_the_length(size):
    data = bytearray(wav(SOUND))
    data[4:8] = data[40:44] = struct.pack("<I", size)
    np.testing.assert_allclose(read(bytes(data)), SOUND, atol=1e-4)


@pytest.mark.parametrize(("format", "subtype"), [("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("WAV", "ULAW")])
def test_wav_files_of_every_encoding_that_are_cut_off(format, subtype):
    with pytest.raises(SoundError, match="cut off"):
        read(cut(encoded(SOUND, format, subtype=subtype), 1000))


def test_the_chunks_of_a_wav_file_are_bounded():
    data = wav(SOUND)

    def with_chunks(n):
        body = data[8:36] + n * b"JUNK\1\0\0\0\0\0" + data[36:]
        return b"RIFF" + struct.pack("<I", len(body)) + body

    np.testing.assert_array_equal(read(with_chunks(900)), read(data))
    with pytest.raises(SoundError, match="more than 1000 chunks"):
        read(with_chunks(1000))


def test_a_masked_array_is_an_array():
    found = read(np.ma.masked_array(SOUND, mask=SOUND > 0))
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, SOUND)


@pytest.mark.parametrize("format", ["FLAC", "OGG", "MP3"])
def test_damaged_files(format):
    """Every cut and every change gives samples or an error of the request."""
    data = encoded(SOUND, format)
    rng = np.random.default_rng(0)
    for _ in range(40):
        bad = bytearray(data[: rng.integers(1, len(data))])
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        with suppress(SoundError):
            assert np.isfinite(read(bytes(bad))).all()
    if format == "FLAC":
        with pytest.raises(SoundError, match=r"cut off|cannot be read"):
            read(cut(data, len(data) // 2))


def test_limits(monkeypatch):
    monkeypatch.setattr(read_sound, "MAX_SECONDS", 1)
    with pytest.raises(SoundError, match="more than 1 s"):
        read(tones(1.1))
    monkeypatch.setattr(read_sound, "MAX_SECONDS", 10)
    monkeypatch.setattr(read_sound, "MAX_NUMBERS", 1000)
    with pytest.raises(SoundError, match="1000 samples"):
        read(SOUND)
    monkeypatch.setattr(read_sound, "MAX_BYTES", 1000)
    with pytest.raises(SoundError, match="at most 1000 are read"):
        read(wav(SOUND))


def test_a_header_that_claims_many_hours_takes_no_memory():
    """A FLAC file's number of samples is 36 bits of its header; the samples of this one are few."""
    data = bytearray(encoded(SOUND, "FLAC"))
    data[22:26] = struct.pack(">I", 0xFFFFFFFF)
    with pytest.raises(SoundError, match=r"cut off|cannot be read"):
        read(bytes(data))


def test_missing_extras_are_named(monkeypatch):
    data = encoded(SOUND, "FLAC")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'realizar\[audio\]'"):
        read(data)
    with pytest.raises(MissingExtraError, match="a sound at 8000 Hz, not 16000"):
        read((SOUND, 8000))
    assert len(read(wav(SOUND))) == len(SOUND), "WAV files at 16 kHz need no extra"
