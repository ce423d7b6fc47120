"""Small variants of tools/geometry.py's files: formats as in llama.cpp, reproducible by seed, and they run."""

import importlib
from collections import Counter
from dataclasses import replace
from math import prod

import numpy as np
import pytest

from realizar import LLM
from realizar.arch import ArchMetadata, registry
from realizar.gguf import GGUFFile
from realizar.quants import FORMATS
from tests.meta.house import ROOT

SHIPPED = {
    name
    for point in registry.selected()
    if point.value.startswith("realizar_plugins.")
    for cls in getattr(point.load(), "realizar_architectures", list)()
    for name in [cls.name]
}
SMALL = {
    "embedding_length": 256,
    "feed_forward_length": 512,
    "attention.head_count": 4,
    "attention.head_count_kv": 4,
    "context_length": 64,
}


@pytest.fixture(scope="module")
def geometry():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module("geometry")


def small(geometry, name):
    """Return a geometry with all layers and types, but narrow layers and a small vocabulary."""
    whole = geometry.GEOMETRIES[name]
    n_vocab = 256 + 100 + len(whole.special) + 8
    ids = {key: 0 for key in whole.keys if key.endswith("token_id")}
    keys = {**whole.keys, **ids}
    return replace(whole, sizes={**whole.sizes, **SMALL}, n_merges=100, n_vocab=n_vocab, keys=keys)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        # 32 layers; in ffn_down, Q6_K for 4 + 4 at the ends and every third of the 24 between
        ("phi-2", {"attn_qkv": {"Q5_K": 32}, "ffn_down": {"Q4_K": 16, "Q6_K": 16}, "ffn_up": {"Q4_K": 32}}),
        # 16 layers; Q6_K for 2 + 2 at the ends and 4 of the 12 between
        (
            "llama-3.2-1b",
            {"attn_v": {"Q4_K": 8, "Q6_K": 8}, "ffn_down": {"Q4_K": 8, "Q6_K": 8}, "attn_q": {"Q4_K": 16}},
        ),
    ],
)
def test_formats_and_sizes(geometry, name, types, tmp_path):
    path = tmp_path / "model.gguf"
    geometry.write(small(geometry, name), path)
    with GGUFFile(path) as file:
        for kind, counts in types.items():
            found = [t.type.name for n, t in file.tensors.items() if n.endswith(f"{kind}.weight")]
            assert Counter(found) == counts
        output = "token_embd.weight" if name.startswith("llama") else "output.weight"
        assert file.tensors[output].type.name == "Q6_K"
        rows = file.data("blk.3.ffn_down.weight")
        assert len(np.unique(rows, axis=0)) == len(rows)
    with LLM(path) as llm:
        logits = llm.logits(llm.tokenize("Hello there"))
    assert 0.5 < logits.std() < 2


def test_every_architecture_has_a_row(geometry):
    known = set(registry.default().architectures) & set(SHIPPED)
    assert known <= {row.architecture for row in geometry.GEOMETRIES.values()}


def test_a_row_is_about_a_billion_parameters(geometry):
    for name, row in geometry.GEOMETRIES.items():
        if row.architecture not in registry.default().architectures or name == "phi-2":
            continue
        metadata = {f"{row.architecture}.{key}": value for key, value in row.sizes.items()}
        metadata |= {f"{row.architecture}.vocab_size": row.n_vocab, **row.keys}
        hp = registry.default().architecture(row.architecture).hparams(ArchMetadata(metadata, row.architecture))
        n = sum(prod(tensor.weight.shape) for tensor in geometry.tensors(row, hp))
        assert 0.3e9 < n < 1.8e9, (name, n)
        assert {tensor.type for tensor in geometry.tensors(row, hp)} <= {*FORMATS}, name


def test_one_format_and_reproducible_files(geometry, tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / folder).mkdir()
        geometry.write(small(geometry, "llama-3.2-1b"), tmp_path / folder / "model.gguf", "Q5_0", seed)
    one, same, other = ((tmp_path / folder / "model.gguf").read_bytes() for folder in "abc")
    assert one == same
    assert one != other
    with GGUFFile(tmp_path / "a" / "model.gguf") as file:
        layers = {t.type.name for n, t in file.tensors.items() if n.startswith("blk.") and len(t.shape) == 2}
    assert layers == {"Q5_0"}
