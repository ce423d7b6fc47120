"""Quantizing a Hugging Face folder gives what quantizing its conversion gives."""

from pathlib import Path

import numpy as np

from realizar.convert import convert
from realizar.gguf import GGUFFile
from realizar.quantize import quantize_file
from tests.convert.handmade import LLAMA, SIZES, WHOLE
from tests.convert.test_handmade import write

ROWS = {"q": 256, "k": 128, "v": 128, "o": 256, "gate": 512, "up": 512, "down": 256}


def write_llama(folder: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for i in range(SIZES["num_hidden_layers"]):
        for name in LLAMA:
            part = name.rpartition(".weight")[0].rpartition(".")[2].removesuffix("_proj")
            shape = (256,) if part not in ROWS else (ROWS[part], 512 if part == "down" else 256)
            arrays[f"model.layers.{i}.{name}"] = rng.standard_normal(shape)
    for name in WHOLE:
        arrays[name] = rng.standard_normal((256,) if "norm" in name else (288, 256))
    write(folder, arrays, {"architectures": ["LlamaForCausalLM"], "model_type": "llama"})


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    write_llama(folder)
    convert(folder, tmp_path / "f32.gguf", "F32")
    quantize_file(folder, tmp_path / "direct.gguf", "Q4_K_M")
    quantize_file(tmp_path / "f32.gguf", tmp_path / "by_file.gguf", "Q4_K_M")
    with GGUFFile(tmp_path / "direct.gguf") as direct, GGUFFile(tmp_path / "by_file.gguf") as by_file:
        assert dict(direct.metadata) == dict(by_file.metadata)
        assert direct.metadata["general.file_type"] == 15
        for name, info in by_file.tensors.items():
            assert direct.tensors[name].type == info.type
            np.testing.assert_array_equal(direct.data(name), by_file.data(name))
