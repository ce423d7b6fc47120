"""The tiny model of tests/fixtures/sound, which hears, and what transformers computes of two sounds."""

from pathlib import Path

import numpy as np

from realizar.params import EngineParams
from realizar.pictures.encoder import PictureEncoder
from realizar.pictures.projector_file import ProjectorFile
from tests.sound.tones import tones

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sound"
MODEL, MMPROJ = FIXTURES / "tiny-F16.gguf", FIXTURES / "mmproj-tiny-F16.gguf"
SOUNDS = [tones(0.803), tones(0.95, 1)]
STRIDE = 7
"""Every 7th frame of the spectrogram is kept."""
N_ROWS = [20, 24]
AUDIO = 260
EXACT = {"activations": "f32", "kv_type": "f32"}


def golden():
    return dict(np.load(FIXTURES / "golden.npz"))


def encoder(max_rows=4096, path=MMPROJ, **params):
    return PictureEncoder(ProjectorFile(path, modality="audio"), 16, 0, EngineParams(**params), max_rows)
