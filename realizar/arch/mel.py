"""Log-mel spectrograms as Whisper computes them: 16 kHz, windows of 25 ms every 10 ms."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

RATE = 16000
"""Samples of a second."""
HOP = 160
"""Samples from one frame to the next."""
WINDOW = 400
"""Samples of a frame."""
BLOCK = 3000
"""Frames that are computed at once."""


def log_mel(samples: F32, n_mel: int) -> F32:
    """Return the log-mel spectrogram of a sound, float32 [len(samples) // 160, n_mel].

    Frames are centered; the sound is reflected at both ends. Powers are in decades relative to the greatest, of which 8
    remain, scaled to (x + 4) / 4: `WhisperFeatureExtractor` of transformers, and `log_mel_spectrogram` of
    https://github.com/openai/whisper/blob/main/whisper/audio.py. Sums are in float64, as in the former's numpy version.

    Parameters
    ----------
    samples : float32 [n]
        At 16 kHz, more than 200.
    n_mel : int
    """
    padded = np.pad(samples.astype(np.float64), WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(samples) // HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    filters = mel_filters(n_mel)
    out = np.empty((len(frames), n_mel))
    for start in range(0, len(frames), BLOCK):
        spectrum = np.fft.rfft(frames[start : start + BLOCK] * window)
        power = spectrum.real**2 + spectrum.imag**2
        out[start : start + BLOCK] = np.log10(np.maximum(power @ filters, 1e-10))
    return np.asarray((np.maximum(out, out.max() - 8.0) + 4.0) / 4.0, np.float32)


@functools.cache
def mel_filters(n_mel: int) -> F64:
    """Return triangular filters of equal area on the Slaney mel scale, float64 [201, n_mel], from 0 to 8000 Hz.

    As `mel_filter_bank` of transformers with norm and mel_scale "slaney", which follow librosa's.
    """
    frequencies = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    edges = _hertz(np.linspace(0.0, _mel(RATE / 2), n_mel + 2))
    widths = np.diff(edges)
    distance = edges - frequencies[:, None]
    filters = np.minimum(-distance[:, :-2] / widths[:-1], distance[:, 2:] / widths[1:])
    return np.asarray(np.maximum(filters, 0) * (2.0 / (edges[2:] - edges[:-2])))


LINEAR, LOG_FROM, LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27
"""Slaney's scale: Hz of a mel below 1000 Hz, and the logarithm of the ratio of a mel above."""


def _mel(hertz: float) -> float:
    if hertz < LOG_FROM:
        return hertz / LINEAR
    return float(LOG_FROM / LINEAR + np.log(hertz / LOG_FROM) / LOG_STEP)


def _hertz(mel: F64) -> F64:
    above = mel - LOG_FROM / LINEAR
    return np.where(above < 0, mel * LINEAR, LOG_FROM * np.exp(LOG_STEP * above))
