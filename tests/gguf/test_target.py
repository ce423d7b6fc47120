"""Paths that a file cannot or should not be written to are named before the work begins."""

import os
import stat

import pytest

from realizar.errors import ParameterError
from realizar.gguf import GGUFWriter
from realizar.gguf.edit import merge, split
from realizar.gguf.target import check_target
from realizar.quantize import quantize_file
from tests.limits.models import LLAMA


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "is no name of a file"), ("/", "is no name"), ("absent/m.gguf", "there is no folder"), (".", "is no name")],
)
def test_no_file(path, message):
    with pytest.raises(ParameterError, match=message):
        check_target(path)


def test_folders_and_pipes_are_kept(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "pipe", "is a device, pipe or socket")):
        with pytest.raises(ParameterError, match=message):
            GGUFWriter(path).write()
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


def test_what_is_read_is_not_replaced(tmp_path):
    model = tmp_path / "model.gguf"
    model.write_bytes(LLAMA.read_bytes())
    link = tmp_path / "link.gguf"
    link.symlink_to(model)
    for target in (model, link):
        with pytest.raises(ParameterError, match="is a file that is read; give another name"):
            quantize_file(model, target, "Q8_0")
    parts = split(model, tmp_path / "part", max_tensors=8)
    for target in parts:
        with pytest.raises(ParameterError, match="is a file that is read"):
            merge(parts[0], target)
    assert model.read_bytes() == LLAMA.read_bytes()


def test_links_and_permissions_stay(tmp_path):
    model, link = tmp_path / "model.gguf", tmp_path / "link.gguf"
    GGUFWriter(model).write()
    model.chmod(0o600)
    link.symlink_to(model)
    writer = GGUFWriter(link)
    writer.add("general.name", "x")
    writer.write()
    assert link.is_symlink()
    assert b"general.name" in model.read_bytes()
    assert stat.S_IMODE(model.stat().st_mode) == 0o600


@pytest.mark.parametrize("alignment", [7, 48, 1 << 21])
def test_alignment(tmp_path, alignment):
    with pytest.raises(ParameterError, match="must be a power of two from 8 to 1048576"):
        GGUFWriter(tmp_path / "m.gguf").add("general.alignment", alignment)
