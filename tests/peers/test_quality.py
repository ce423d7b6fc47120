"""Perplexity, importance matrices and parts of files beside llama.cpp's programs, which must be in PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from realizar.gguf.edit import split
from realizar.gguf.imatrix import read_imatrix, write_imatrix
from realizar.quality import measure_imatrix, perplexity, sample_text
from realizar.store.models import MODELS
from tests.limits.models import real
from tests.peers.dequantized import write_dequantized

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(3600)]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "alice.txt"
    path.write_text(sample_text(), encoding="utf-8")
    return path


def run(program: str, *words: object) -> str:
    """Return the output of a program of llama.cpp."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} of llama.cpp is not in PATH")
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def theirs(model: Path, text: Path) -> float:
    found = re.search(r"PPL = ([\d.]+)", run("llama-perplexity", "-m", model, "-f", text, "-c", 512, "-t", 2))
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("name", list(MODELS))
def test_perplexity(name: str, text: Path, tmp_path: Path) -> None:
    """llama.cpp rounds activations to int8, which on few tokens moves the perplexity by some tenths of a percent."""
    path, exact = real(name), tmp_path / "f32.gguf"
    quantized = theirs(path, text)
    write_dequantized(path, exact)
    want = theirs(exact, text)
    exact.unlink()
    ours, floats = (perplexity(path, sample_text(), activations=a).perplexity.value for a in (None, "f32"))
    print(
        f"\n{name}: realizar {ours:.4f}, with f32 {floats:.4f}; llama.cpp {quantized:.4f}, with F32 weights {want:.4f}"
    )
    assert floats == pytest.approx(want, rel=2e-4)
    assert ours == pytest.approx(want, rel=1e-3)
    assert ours == pytest.approx(quantized, rel=1e-2)


def test_importance_matrices(text: Path, tmp_path: Path) -> None:
    """-b 512: with several chunks in a batch, llama-imatrix leaves out tokens whose products have less than 16 rows."""
    path = real("smollm2")
    run(
        "llama-imatrix",
        "-m",
        path,
        "-f",
        text,
        "-c",
        512,
        "-b",
        512,
        "-t",
        2,
        "--no-ppl",
        "-o",
        tmp_path / "theirs.gguf",
    )
    want, ours = read_imatrix(tmp_path / "theirs.gguf"), measure_imatrix(path, sample_text(), dataset="alice.txt")
    assert set(ours.entries) == set(want.entries)
    assert (ours.chunk_count, ours.chunk_size) == (want.chunk_count, want.chunk_size)
    errors = []
    for name, entry in want.entries.items():
        np.testing.assert_array_equal(ours.entries[name].counts, entry.counts)
        errors.append(float(np.linalg.norm(ours.entries[name].sums - entry.sums) / np.linalg.norm(entry.sums)))
    print(f"\nsums of {len(errors)} weights differ by {np.median(errors):.2e} in the median, {max(errors):.2e} at most")
    assert np.median(errors) < 5e-3
    write_imatrix(tmp_path / "ours.gguf", ours)
    said = run(
        "llama-quantize", "--allow-requantize", "--imatrix", tmp_path / "ours.gguf", path, tmp_path / "q.gguf", "Q4_0"
    )
    assert f"loaded {len(ours.entries)} importance matrix entries" in said


def test_parts(tmp_path: Path) -> None:
    path = real("smollm2")
    run("llama-gguf-split", "--split", "--split-max-size", "40M", path, tmp_path / "theirs")
    ours = split(path, tmp_path / "ours", max_bytes=40_000_000)
    assert len(ours) == 3
    for part in ours:
        assert part.read_bytes() == part.with_name(part.name.replace("ours", "theirs")).read_bytes()
