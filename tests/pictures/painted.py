"""Pictures for tests, the same on every machine, and the tokens of the tiny models that read them."""

import numpy as np


def painted(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a picture with structure at several scales, uint8 [height, width, 3]."""
    y, x = np.indices((height, width))
    channels = [(x * (3 + c) + y * (5 + seed) + x * y * (c + 1) // 7 + 64 * ((x // 9 + y // 7) % 2)) for c in range(3)]
    return (np.stack(channels, axis=-1) % 256).astype(np.uint8)
