"""A weight that files hold whole or in parts: the parts are views of the whole one's rows, and give the same bits."""

import numpy as np
import pytest

from realizar.arch import registry
from realizar.errors import TensorError
from realizar.gguf import GGUFFile, GGUFWriter
from realizar.model import load
from realizar.testing import Session, random_tokens, tiny_metadata, tiny_model
from tests.limits.models import rewritten

QKV = ("attn_q", "attn_k", "attn_v")


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    with tiny_model(registry.default().architecture("phi2"), tiny_metadata("phi2"), "Q4_K", folder, optional=False):
        return folder / "phi2-Q4_K-False.gguf"


def fused(source, target, parts=QKV):
    """The same model with these of q, k and v in one tensor, and none of them beside it."""
    with GGUFFile(source) as file:
        writer = GGUFWriter(target)
        for key, value in file.metadata.items():
            writer.add(key, value)
        for name, info in file.tensors.items():
            if ".attn_q." in name:
                names = [name.replace("attn_q", part) for part in parts]
                axis = 0 if name.endswith("weight") else 1  # a bias is one row
                data = np.concatenate([file.data(n) for n in names], axis)
                shape = (sum(file.tensors[n].shape[0] for n in names), *info.shape[1:])
                writer.add_tensor(name.replace("attn_q", "attn_qkv"), data, shape, info.type)
            elif not any(f".{part}." in name for part in QKV):
                writer.add_tensor(name, file.data(name), info.shape, info.type)
        writer.write()
    return target


def logits(path):
    model = load(path)
    try:
        return Session(model, model.plan()).prompt(random_tokens(), 48)["logits"]
    finally:
        model.close()


def test_whole_and_parts_give_the_same_bits(in_parts, tmp_path):
    np.testing.assert_array_equal(logits(fused(in_parts, tmp_path / "whole.gguf")), logits(in_parts))


def test_parts_are_views(in_parts, tmp_path):
    model = load(fused(in_parts, tmp_path / "whole.gguf"))
    whole = model.file.data("blk.1.attn_qkv.weight")
    for part in QKV:
        assert np.shares_memory(model.tensors[f"blk.1.{part}.weight"].data, whole)
    model.close()


def test_errors_name_the_tensor(in_parts, tmp_path):
    with pytest.raises(TensorError, match=r"blk\.0\.attn_qkv\.(weight|bias): shape"):
        load(fused(in_parts, tmp_path / "short.gguf", QKV[:2]))
    no_q = rewritten(
        in_parts, tmp_path / "no_q.gguf", tensors=lambda name, *row: None if "attn_q." in name else (name, *row)
    )
    with pytest.raises(TensorError, match=r"blk\.0\.attn_q\.weight: the architecture needs it"):
        load(no_q)
