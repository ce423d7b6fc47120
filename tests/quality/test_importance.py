"""Importance matrices of tiny models: what is summed, what is counted, and names in the file."""

import numpy as np
import pytest

from realizar.errors import RealizarError
from realizar.gguf.imatrix import read_imatrix, write_imatrix
from realizar.quality import Reader, measure_imatrix, sample_text
from realizar.quality.chunks import cut
from tests.limits.models import LLAMA, rewritten
from tests.shared import SHARED, needs_shared

N_CTX, N_CHUNKS = 80, 2  # more than a step of 64 tokens
SIZES = {"n_ctx": N_CTX, "n_chunks": N_CHUNKS}


def test_sums_of_squares_of_the_inputs():
    found = measure_imatrix(LLAMA, sample_text(), **SIZES, dataset="alice.txt")
    assert (found.datasets, found.chunk_count, found.chunk_size) == (("alice.txt",), N_CHUNKS, N_CTX)
    assert all(name.startswith("blk.") for name in found.entries)
    names = {"attn_q": "blk.0.attn_norm", "attn_k": "blk.0.attn_norm", "attn_output": "blk.0.attention"}
    sums = dict.fromkeys(names, 0.0)
    with Reader(LLAMA, N_CTX) as reader:
        for tokens in cut(reader.model.tokenizer, sample_text(), N_CTX, N_CHUNKS):
            for values in reader.values(tokens, list(dict.fromkeys(names.values())), N_CTX):
                for tensor, value in names.items():
                    rows = values[value].reshape(N_CTX, -1).astype(np.float64)
                    sums[tensor] += (rows**2).sum(axis=0)
    for tensor, want in sums.items():
        entry = found.entries[f"blk.0.{tensor}.weight"]
        np.testing.assert_allclose(entry.sums, [want], rtol=1e-6)
        assert entry.counts.tolist() == [N_CHUNKS * N_CTX]


def test_the_output_matrix_is_left_out_unless_asked_for():
    without = measure_imatrix(LLAMA, sample_text(), n_ctx=32, n_chunks=1)
    found = measure_imatrix(LLAMA, sample_text(), n_ctx=32, n_chunks=1, with_output=True)
    assert set(found.entries) - set(without.entries) == {"output.weight"}


@needs_shared
@pytest.mark.parametrize("case", ["mixtral", "qwen2moe"])
def test_experts_are_counted_one_by_one(case):
    path = SHARED / "parity" / case / "model-q4_k_m.gguf"
    found = measure_imatrix(path, sample_text(), n_ctx=64, n_chunks=1)
    with Reader(path, 64) as reader:
        n_expert, n_used = reader.model.hp.n_expert, reader.model.hp.n_expert_used
    ups, downs = (found.entries[f"blk.1.ffn_{kind}_exps.weight"] for kind in ("up", "down"))
    assert len(ups.counts) == len(ups.sums) == n_expert
    assert ups.counts.sum() == 64 * n_used
    np.testing.assert_array_equal(ups.counts, downs.counts)
    assert (ups.sums[ups.counts == 0] == 0).all()
    assert (downs.sums[downs.counts > 0].sum(axis=1) > 0).all()


@needs_shared
def test_heads_share_a_count():
    found = measure_imatrix(SHARED / "parity/deepseek2/model-q4_k_m.gguf", sample_text(), n_ctx=32, n_chunks=1)
    entry = found.entries["blk.0.attn_v_b.weight"]
    assert entry.sums.shape == (1, 4 * 64)  # 4 heads
    assert entry.counts.tolist() == [32]


@needs_shared
def test_fused_tensors_have_one_entry():
    found = measure_imatrix(SHARED / "parity/phi3/model-q4_k_m.gguf", sample_text(), n_ctx=32, n_chunks=1)
    layer = {name.split(".")[2] for name in found.entries if name.startswith("blk.0.")}
    assert layer == {"attn_qkv", "attn_output", "ffn_up", "ffn_down"}
    assert found.entries["blk.0.attn_qkv.weight"].counts.tolist() == [32]


def test_the_file(tmp_path):
    made = measure_imatrix(LLAMA, sample_text(), n_ctx=32, n_chunks=1, dataset="a.txt")
    write_imatrix(tmp_path / "imatrix.gguf", made)
    found = read_imatrix(tmp_path / "imatrix.gguf")
    assert list(found.entries) == sorted(made.entries)
    assert (found.datasets, found.chunk_count, found.chunk_size) == (("a.txt",), 1, 32)
    for name, entry in made.entries.items():
        np.testing.assert_array_equal(found.entries[name].sums, entry.sums)
        np.testing.assert_array_equal(found.entries[name].counts, entry.counts)


def test_inputs_that_are_not_finite(tmp_path):
    def broken(name, data, shape, type):
        return name, np.full_like(data, 0x7F) if name == "blk.1.attn_norm.weight" else data, shape, type

    path = rewritten(LLAMA, tmp_path / "large.gguf", tensors=broken)  # 3.4e38, whose square is infinite
    with pytest.raises(
        RealizarError, match=r"blk\.1\.\w+\.weight: an input is infinite or NaN; the file may be damaged"
    ):
        measure_imatrix(path, sample_text(), n_ctx=32, n_chunks=1)
