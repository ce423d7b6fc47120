"""The models of these tests: tiny committed ones, known ones if they are in the cache, and OTHERS.

OTHERS are the files listed in the environment variable REALIZAR_TEST_MODELS, separated as in PATH; for example those
that tools/geometry.py writes, which are too large to be made in every run.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from realizar.store.cache import cache_dir
from realizar.store.models import MODELS

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
LLAMA = FIXTURES / "llama" / "model-q4_1.gguf"  # SentencePiece; all products in blocks of 32
QWEN2 = FIXTURES / "qwen2" / "model-q4_k_m.gguf"  # byte-level BPE; blocks of 256
SMOLLM2, CODER = "smollm2", "qwen2.5-coder-0.5b"
OTHERS = [path for path in os.environ.get("REALIZAR_TEST_MODELS", "").split(os.pathsep) if path]

TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}<s>assistant: "
"""A chat template for the tiny models, which have none."""


def real(name):
    """Return the file of a known model or of an entry of OTHERS; skip the test if it has not been downloaded."""
    if name in OTHERS:
        return Path(name)
    path = cache_dir() / MODELS[name].file
    if not path.is_file():
        pytest.skip(f"{name} is not in the cache ({path}); realizar pull {name}")
    return path


def rewritten(source, target, changes=None, tensors=None, more=None):
    """Write a copy of a model file with other metadata and tensors.

    Parameters
    ----------
    source, target : Path
    changes : dict
        Key -> value or (value, ValueType); None removes the key.
    tensors : callable
        Called with (name, data, shape, type), returns the tuple to write instead; None removes the tensor.
    more : dict
        Name -> float32 array of an additional tensor.
    """
    changes = changes or {}
    with GGUFFile(source) as file:
        writer = GGUFWriter(target)
        for key, value in {**file.metadata, **changes}.items():
            if value is not None:
                writer.add(key, *(value if isinstance(value, tuple) else (value,)))
        for name, info in file.tensors.items():
            row = (name, file.data(name), info.shape, info.type)
            if tensors is not None:
                row = tensors(*row)
            if row is not None:
                writer.add_tensor(*row)
        for name, values in (more or {}).items():
            data = np.ascontiguousarray(values, np.float32)
            writer.add_tensor(name, data.view(np.uint8), data.shape, GGMLType.F32)
        writer.write()
    return target
