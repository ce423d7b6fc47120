"""A small file with every value type and several tensor types."""

import numpy as np
import pytest

from realizar.gguf import GGMLType, GGUFWriter, ValueType
from realizar.quants import quantize

VALUES = {
    "general.architecture": "llama",
    "general.name": "a tiny model: é▁😀",
    "empty": "",
    "u8": np.uint8(200),
    "i8": np.int8(-100),
    "u16": np.uint16(60000),
    "i16": np.int16(-30000),
    "u32": 4_000_000_000,
    "i32": -5,
    "u64": 2**64 - 1,
    "i64": -(2**63),
    "f32": 0.5,
    "f64": np.float64(1 / 3),
    "yes": True,
    "no": False,
    "tokens": ["<s>", "", "▁the", "\n", "😀"],
    "scores": np.array([0.0, -1.5, np.inf], np.float32),
    "token_type": np.array([1, 2, 3, -1], np.int32),
    "flags": np.array([True, False]),
    "wide": np.array([1.0, 2.0]),
}
SHAPES = {"Q4_K": (3, 256), "F32": (5,), "Q8_0": (2, 3, 64), "F16": (1, 1, 1, 7)}


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Return the path of the file, and the bytes of its tensors by name."""
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    rng = np.random.default_rng(0)
    data = {n: quantize(rng.standard_normal(s).astype(np.float32), n) for n, s in SHAPES.items()}
    writer = GGUFWriter(path)
    for key, value in VALUES.items():
        writer.add(key, value)
    writer.add("nothing", [], ValueType.STRING)
    for name, shape in SHAPES.items():
        writer.add_tensor(name, data[name], shape, GGMLType[name])
    writer.write()
    return path, data
