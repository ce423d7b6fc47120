"""llama-quantize, if it is in PATH or LLAMA_QUANTIZE: the same types, our files are read, and errors are no larger."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from realizar.quantize import RECIPES, quantize_file
from realizar.quants import dequantize
from tests.shared import SHARED

PROGRAM = os.environ.get("LLAMA_QUANTIZE") or shutil.which("llama-quantize")
ARCHITECTURES = (
    "llama",
    "falcon7b",
    "falcon40b",
    "mixtral",
    "qwen3moe",
    "phi",
    "gpt_oss",
    "deepseek2",
    "mamba",
    "bert",
)
COARSE = {"Q2_K_S", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS"}
"""Recipes that need an importance matrix."""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="llama-quantize is neither in PATH nor LLAMA_QUANTIZE")


def run(*words):
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def types_of(text):
    """Return the type of each tensor that a dry run prints."""
    out = {}
    for name, before, rest in re.findall(r"\] (\S+)\s+- \[[^\]]*\], type =\s*(\w+), size =(.*)", text):
        after = re.search(r"\((\w+)\)\s*$", rest)
        out[name] = (after[1] if after else before).upper()
    return out


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_types_of_every_recipe(architecture):
    path = next((SHARED / "parity" / architecture).glob("model*.gguf"))
    for recipe in RECIPES.keys() - {"Q1_0"}:  # llama-quantize stops at rows that are no multiple of 128
        theirs = types_of(run("--allow-requantize", "--dry-run", path, recipe)[1])
        ours = {plan.name: plan.target.name for plan in quantize_file(path, None, recipe).plans}
        assert ours == theirs, recipe


def with_large_rows(path: Path) -> Path:
    """Write the llama of the parity set with random weights."""
    rng = np.random.default_rng(0)
    with GGUFFile(SHARED / "parity/llama/model-f32.gguf") as file:
        writer = GGUFWriter(path)
        for key in file.metadata:
            writer.copy(file.metadata, key)
        for info in file.tensors.values():
            x = rng.standard_t(5, info.shape).astype(np.float32) * np.float32(0.05)
            writer.add_tensor(info.name, x.view(np.uint8), info.shape, GGMLType.F32)
        writer.write()
    return path


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in COARSE])
def test_errors_are_no_larger_and_files_are_read(recipe, tmp_path):
    source = with_large_rows(tmp_path / "model.gguf")
    ours, theirs, again = (tmp_path / f"{name}.gguf" for name in ("ours", "theirs", "again"))
    quantize_file(source, ours, recipe, n_threads=1)
    assert run(source, theirs, recipe, 1)[0] == 0
    assert run("--allow-requantize", ours, again, "Q8_0", 1)[0] == 0
    with GGUFFile(source) as exact, GGUFFile(ours) as a, GGUFFile(theirs) as b:
        for name, info in exact.tensors.items():
            x = dequantize(exact.data(name), "F32")
            errors = [
                np.sqrt(np.mean(np.square(dequantize(f.data(name), f.tensors[name].type.name) - x, dtype=np.float64)))
                for f in (a, b)
            ]
            assert a.tensors[name].type == b.tensors[name].type
            assert errors[0] <= 1.001 * errors[1] + 1e-12, (name, info.type)
