"""The tiny vision-language models of tests/fixtures/pictures, and what transformers computes of them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from realizar.params import EngineParams
from realizar.pictures.encoder import PictureEncoder
from realizar.pictures.projector_file import ProjectorFile
from tests.pictures.painted import painted

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pictures"
SIZES = ((75, 50), (40, 64))
PICTURES = [painted(*size, seed=i) for i, size in enumerate(SIZES)]
IMAGE = 260
EXACT = {"activations": "f32", "kv_type": "f32"}


class Case(NamedTuple):
    """The files of a case."""

    name: str

    @property
    def model(self):
        return FIXTURES / self.name / "tiny-F16.gguf"

    @property
    def mmproj(self):
        return FIXTURES / self.name / "mmproj-tiny-F16.gguf"

    @property
    def golden(self):
        return dict(np.load(FIXTURES / self.name / "golden.npz"))

    def encoder(self, n_embd=32, n_deepstack=None, max_rows=4096, **params):
        file = ProjectorFile(self.mmproj)
        if n_deepstack is None:
            n_deepstack = len(file.graphs["project"].outputs) - 1
        return PictureEncoder(file, n_embd, n_deepstack, EngineParams(**params), max_rows)


CASES = [Case(path.name) for path in sorted(FIXTURES.iterdir())]
QWEN3 = Case("qwen3vl_merger")
