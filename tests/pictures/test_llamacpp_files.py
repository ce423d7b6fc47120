"""mmproj files as llama.cpp's converters write them: without our own keys, or with other names of matrices."""

import pytest

from realizar.arch import Tile
from realizar.errors import GGUFError, RealizarError
from realizar.params import EngineParams
from realizar.pictures.encoder import PictureEncoder
from realizar.pictures.projector_file import ProjectorFile
from tests.limits.models import rewritten

from .cases import PICTURES, Case

OWN = ("position_count", "projector.hidden_size", "projector.output_size")
"""Keys of `realizar convert`, which llama.cpp's files have as shapes of tensors."""
SWAPPED = {"ffn_up": "ffn_down", "ffn_down": "ffn_up"}


def swapped(name, *row):
    """Exchange the names of the matrices of feed-forwards, as the first converter of LLaVA did."""
    found = next((word for word in SWAPPED if word in name), None)
    return (name if found is None else name.replace(found, SWAPPED[found]), *row)


def rows_of(path, tiles):
    encoder = PictureEncoder(ProjectorFile(path), 32, 0, EngineParams(activations="f32"), 4096)
    return [rows.tobytes() for rows in encoder.rows(tiles)]


@pytest.mark.parametrize(
    ("name", "keys", "tensors"),
    [
        ("gemma4v", OWN, None),
        ("lfm2", OWN, None),
        ("llama4", OWN, None),
        ("paddleocr", ("spatial_merge_size",), None),
        ("mlp", (), swapped),
    ],
)
def test_other_files_give_the_same_rows(name, keys, tensors, tmp_path):
    case, other = Case(name), tmp_path / "mmproj-other.gguf"
    file = ProjectorFile(case.mmproj)
    removed = {f"clip.vision.{key}": None for key in keys if f"clip.vision.{key}" in file.file.metadata}
    assert len(removed) > 0 or tensors is not None
    rewritten(case.mmproj, other, removed, tensors)
    tiles = [piece for piece in file.projector.pieces(PICTURES[0], file.hp, 4096) if isinstance(piece, Tile)]
    assert rows_of(other, tiles) == rows_of(case.mmproj, tiles)


def test_llava_1_6_is_refused(tmp_path):
    other = tmp_path / "mmproj-other.gguf"
    rewritten(Case("mlp").mmproj, other, {"clip.vision.mm_patch_merge_type": "spatial_unpad"})
    with pytest.raises(GGUFError, match=r"LLaVA 1\.6 is not supported"):
        ProjectorFile(other)


@pytest.mark.parametrize("name", ["gemma4v", "lfm2", "llama4", "internvl", "chameleon"])
def test_bad_numbers_of_a_file_are_errors(name, tmp_path):
    """Each number of the file in turn is changed to one that cannot be right."""
    case, other = Case(name), tmp_path / "mmproj-other.gguf"
    metadata = ProjectorFile(case.mmproj).file.metadata
    numbers = [key for key, value in metadata.items() if key.startswith("clip.vision.") and isinstance(value, int)]
    assert len(numbers) > 3
    for key in numbers:
        if not isinstance(metadata[key], bool):
            rewritten(case.mmproj, other, {key: -1})
            with pytest.raises(RealizarError):
                ProjectorFile(other)
