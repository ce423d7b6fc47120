"""Reads a sound that somebody else made to samples at 16 kHz: bytes of a file, or an array."""

from __future__ import annotations

import sys
import wave
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.arch.mel import RATE
from realizar.errors import MissingExtraError, SoundError, describe_exception, short_repr
from realizar.pictures.kind import MAX_BYTES

if TYPE_CHECKING:
    import numpy.typing as npt

    F32 = npt.NDArray[np.float32]
    Blocks = Iterator[F32]

MAX_SECONDS = 1800
"""Most seconds of a sound; a file of few bytes may claim many."""
MAX_RATE, MAX_CHANNELS = 384_000, 16
MAX_NUMBERS = 200_000_000
"""Most samples of all channels: 30 minutes of two at 48 kHz are 173 million."""
MAX_SAMPLE = 1e10
"""Greatest sample, above unscaled integers of 32 bits; sums of the greatest floats overflow in the resampler."""
FORMATS = ("WAV", "FLAC", "OGG", "MP3")
"""Formats that are read; others are more code that hostile files can reach."""
MAX_CHUNKS = 1000
"""Most chunks of a WAV file before its samples; each costs time."""
UNKNOWN_SIZE = 0x7FFF0000
"""Least size that writers to a pipe leave for samples: SoX 0x7ffff000, others 2^31 - 1 or 2^32 - 1."""
BLOCK = 1 << 18
"""Numbers that are decoded at once."""
EXTRA = "pip install 'realizar[audio]'"


def samples_of_bytes(data: bytes) -> F32:
    """Return the samples of a sound's file, float32 [n] at 16 kHz: the mean of its channels.

    WAV files of integers need no extra, if they are at 16 kHz.

    Raises
    ------
    SoundError
        If the file is too large or too long, damaged, cut off, or of a format that is not read.
    MissingExtraError
        If soundfile or soxr is needed and not installed.
    """
    if len(data) > MAX_BYTES:
        raise SoundError(f"a sound of {len(data)} bytes; at most {MAX_BYTES} are read, so make it shorter")
    kind = format_of(data)
    if kind is None:
        raise SoundError(
            f"the sound cannot be read; {', '.join(FORMATS)} are supported, found {len(data)} bytes that begin with "
            f"{short_repr(data[:8])}"
        )
    try:
        if kind == "WAV":
            _check_whole(data)
            if (found := _wave(data)) is not None:
                return found
        return _decoded(data)
    except (SoundError, MissingExtraError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything for hostile files
        raise SoundError(f"the sound, a {kind} file, cannot be read: {describe_exception(error)}") from None


def samples_of_array(given: npt.NDArray[Any], rate: Any = RATE) -> F32:
    """Return the samples of an array [n] or [n, channels], float32 [n] at 16 kHz. Integers are scaled to [-1, 1].

    Raises
    ------
    SoundError
        If its type, shape or rate is not supported, it is too long, or a number is not finite.
    MissingExtraError
        If soxr is needed and not installed.
    """
    given = np.asarray(given)  # a subclass may mean something else by a mean
    if given.dtype.kind not in "fi" or given.ndim not in (1, 2) or not given.size:
        raise SoundError(f"a sound as an array must be floats [n] or [n, channels], found {given.dtype} {given.shape}")
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)):
        raise SoundError(f"rate={short_repr(rate)}: must be a number of samples of a second")
    scale = 1.0 if given.dtype.kind == "f" else 1.0 / (1 << 8 * given.dtype.itemsize - 1)
    rows = given.reshape(len(given), -1)
    _check_shape(int(rate), rows.shape[1])
    step = max(1, BLOCK // rows.shape[1])
    with np.errstate(over="ignore"):  # what is no float32 becomes infinite, which is an error
        blocks = ((rows[i : i + step] * scale).astype(np.float32) for i in range(0, len(rows), step))
        return _mixed(blocks, int(rate))


def format_of(data: bytes) -> str | None:
    """Return which of FORMATS a file begins like; None: another."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "WAV"
    if data[:4] in (b"fLaC", b"OggS"):
        return "FLAC" if data[:4] == b"fLaC" else "OGG"
    is_frame = len(data) > 2 and data[0] == 0xFF and data[1] & 0xE6 in (0xE2,)  # MPEG audio, layer 3
    return "MP3" if data[:3] == b"ID3" or is_frame else None


def _check_whole(data: bytes) -> None:
    """Raise SoundError if a WAV file ends before the samples do, or has too many chunks before them."""
    at = 12
    for _ in range(MAX_CHUNKS):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            if (found := len(data) - at - 8) < size < UNKNOWN_SIZE:
                raise SoundError(f"the sound is cut off: {found} bytes of samples, but its header says {size}")
            return
        at += 8 + size + size % 2
        if at >= len(data):
            return  # what reads it says what is missing
    raise SoundError(f"a WAV file with more than {MAX_CHUNKS} chunks before its samples")


def _wave(data: bytes) -> F32 | None:
    """Return the samples of a WAV file of integers; None if it is of another encoding."""
    at = data.find(b"fmt ", 12, 4096)
    if at < 0 or data[at + 8 : at + 10] != b"\x01\0":  # PCM
        return None
    with wave.open(BytesIO(data)) as file:
        width, n_channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
        if width not in (1, 2, 3, 4):
            raise SoundError(f"a WAV file of {8 * width} bits; 8, 16, 24 and 32 are read")
        _check_shape(rate, n_channels)

        def blocks() -> Blocks:
            while raw := file.readframes(max(1, BLOCK // n_channels)):
                whole = len(raw) // (width * n_channels) * width * n_channels
                yield _integers(raw[:whole], width).reshape(-1, n_channels)

        return _mixed(blocks(), rate)


def _integers(raw: bytes, width: int) -> F32:
    """Little-endian integers as floats in [-1, 1]; those of 8 bits are unsigned."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if width == 3:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        raw, width = wide.tobytes(), 4
    return (np.frombuffer(raw, f"<i{width}") / float(1 << 8 * width - 1)).astype(np.float32)


def _decoded(data: bytes) -> F32:
    """Return the samples of a file that libsndfile decodes."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: its library is not installed
        raise MissingExtraError(f"sounds of this format need the extra: {EXTRA} ({error})") from None
    with soundfile.SoundFile(BytesIO(data)) as file:
        kind = {"WAVEX": "WAV", "MPEG": "MP3"}.get(file.format, file.format)
        if kind not in FORMATS:
            raise SoundError(f"a sound of format {short_repr(file.format)}; {', '.join(FORMATS)} are supported")
        _check_shape(file.samplerate, file.channels)
        n = 0

        def blocks() -> Blocks:
            nonlocal n
            while len(block := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
                n += len(block)
                yield block

        samples = _mixed(blocks(), file.samplerate)
        if kind == "FLAC" and n < file.frames < sys.maxsize:
            raise SoundError(f"the sound is cut off: {n} samples, but its header says {file.frames}")
        return samples


def _check_shape(rate: int, n_channels: int) -> None:
    if not 1000 <= rate <= MAX_RATE or not 1 <= n_channels <= MAX_CHANNELS:
        raise SoundError(
            f"a sound of {n_channels} channels and {rate} samples in a second; 1 to {MAX_CHANNELS} channels and 1000 "
            f"to {MAX_RATE} samples are read"
        )


def _mixed(blocks: Blocks, rate: int) -> F32:
    """Return the mean of the channels of blocks [n, channels], resampled to 16 kHz block by block."""
    resample = None if rate == RATE else _resampler(rate)
    out, n, n_numbers = [], 0, 0
    for block in blocks:
        n += len(block)
        n_numbers += block.size
        if n > MAX_SECONDS * rate or n_numbers > MAX_NUMBERS:
            raise SoundError(f"a sound of more than {MAX_SECONDS} s, or {MAX_NUMBERS} samples; make it shorter")
        if not np.isfinite(block).all():
            raise SoundError("the sound has a sample that is no finite number")
        if np.abs(block).max(initial=0.0) > MAX_SAMPLE:
            raise SoundError(f"the sound has a sample beyond {MAX_SAMPLE:g}; floats are from -1 to 1, so scale them")
        mono = block.mean(axis=1, dtype=np.float32)
        out.append(mono if resample is None else resample.resample_chunk(mono))
    if resample is not None:
        out.append(resample.resample_chunk(np.zeros(0, np.float32), last=True))
    samples = np.concatenate([np.zeros(0, np.float32), *out])
    if not len(samples):
        raise SoundError("the sound has no samples")
    return samples


def _resampler(rate: int) -> Any:
    """What resamples to 16 kHz, as librosa does by default: soxr's high quality."""
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError(f"a sound at {rate} Hz, not {RATE}, needs the extra: {EXTRA} ({error})") from None
    return soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ")
