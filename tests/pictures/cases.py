"""The tiny vision-language models of tests/fixtures/pictures, and what transformers computes of them."""

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from realizar.convert import convert
from realizar.params import EngineParams
from realizar.pictures.encoder import PictureEncoder
from realizar.pictures.projector_file import ProjectorFile
from tests.pictures.checkpoint import recipe_of, write_checkpoint
from tests.pictures.painted import painted

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pictures"
SIZES = ((75, 50), (40, 64))
PICTURES = [painted(*size, seed=i) for i, size in enumerate(SIZES)]
IMAGE = 260
EXACT = {"activations": "f32", "kv_type": "f32"}


@cache
def made_files(name: str) -> tuple[Path, tempfile.TemporaryDirectory]:
    """Make the files of a case that is stored as a recipe; the folder lasts as long as the process."""
    folder = tempfile.TemporaryDirectory()
    files, checkpoint = Path(folder.name, name), Path(folder.name, "checkpoint")
    files.mkdir()
    checkpoint.mkdir()
    write_checkpoint(checkpoint, recipe_of(np.load(FIXTURES / name / "golden.npz")["recipe"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ids of added tokens, which transformers would number itself
        convert(checkpoint, files / "tiny-F16.gguf", "F16")
    convert(checkpoint, files / "mmproj-tiny-F16.gguf", "F16", mmproj=True)
    return files, folder


class Case(NamedTuple):
    """The files of a case."""

    name: str

    @property
    def folder(self):
        stored = FIXTURES / self.name
        return stored if (stored / "tiny-F16.gguf").is_file() else made_files(self.name)[0]

    @property
    def model(self):
        return self.folder / "tiny-F16.gguf"

    @property
    def mmproj(self):
        return self.folder / "mmproj-tiny-F16.gguf"

    @property
    def golden(self):
        return dict(np.load(FIXTURES / self.name / "golden.npz"))

    def encoder(self, n_embd=32, n_deepstack=None, max_rows=4096, **params):
        file = ProjectorFile(self.mmproj)
        if n_deepstack is None:
            n_deepstack = len(file.graphs["project"].outputs) - 1
        return PictureEncoder(file, n_embd, n_deepstack, EngineParams(**params), max_rows, n_ctx=4096)


TOKENS = Case("chameleon")
"""Its pictures become tokens, not rows."""
CASES = [Case(path.name) for path in sorted(FIXTURES.iterdir()) if path.name != TOKENS.name]
RECIPES = [case.name for case in [*CASES, TOKENS] if not (FIXTURES / case.name / "tiny-F16.gguf").is_file()]
QWEN3 = Case("qwen3vl_merger")
