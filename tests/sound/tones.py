"""Sounds for tests, the same on every machine."""

import numpy as np

RATE = 16000


def tones(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Return a sound with several rising and falling tones and a pause, float32 [n]."""
    t = np.arange(int(seconds * rate)) / rate
    parts = [np.sin(2 * np.pi * (110 * (k + 2 + seed) * t + 90 * k * t * t)) / (k + 1) for k in range(5)]
    sound = 0.2 * sum(parts) * (0.6 + 0.4 * np.cos(2 * np.pi * (3 + seed) * t))
    sound[(t > 0.4) & (t < 0.5)] = 0
    return sound.astype(np.float32)
