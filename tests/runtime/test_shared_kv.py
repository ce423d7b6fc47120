"""Layers that attend to the keys and values of an earlier layer: the same bits everywhere, no cache of their own."""

import numpy as np
import pytest

from realizar.arch import Architecture, Weight
from realizar.arch.blocks import gqa_tensors
from realizar.backends.numpy.backend import NumpyBackend
from realizar.errors import GraphError
from realizar.testing import Session, check_architecture, random_tokens, tiny_metadata, tiny_model
from tests.isa import LEVELS


class Shared(Architecture):
    """Two layers with keys and values, one with a window; two that read theirs, one each."""

    name = "shared"

    def tensors(self, hp):
        table = gqa_tensors(hp)
        kept = {name.replace("{i}", str(i)): weight for i in range(2) for name, weight in table.items()}
        q = Weight((hp.n_head * hp.head_dim, hp.n_embd))
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            **kept,
            **{f"blk.{i}.attn_norm": Weight((hp.n_embd,)) for i in (2, 3)},
            **{f"blk.{i}.attn_q": q for i in (2, 3)},
            **{f"blk.{i}.attn_output": Weight((hp.n_embd, hp.n_embd)) for i in (2, 3)},
        }

    def build(self, g, w, hp):
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h, window = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), 16 * (i % 2)
            q = g.rope(g.heads(g.linear(h, blk.attn_q), hp.n_head), style="neox", dims=32, base=1e4)
            if i < 2:
                k, v = (g.heads(g.linear(h, weight), hp.n_head_kv) for weight in (blk.attn_k, blk.attn_v))
                k = g.rope(k, style="neox", dims=32, base=1e4)
                a = g.attention(q, k, v, layer=i, scale=0.1, window=window)
            else:
                a = g.attention(q, layer=i, kv_of=i - 2, scale=0.1, window=window)
            x = x + g.linear(a, blk.attn_output)
        return x


METADATA = {"shared.block_count": 4}


@pytest.fixture
def model(tmp_path):
    with tiny_model(Shared(), {**tiny_metadata("shared"), **METADATA}, "Q8_0", tmp_path) as model:
        yield model


def test_conformance():
    check_architecture(Shared, METADATA, types=("Q8_0",), isa_levels=LEVELS)


def test_a_reading_layer_has_no_bytes(model):
    groups = model.plan().cache_groups
    assert [(group.kind, [cache.layer for cache in group.layers]) for group in groups] == [
        ("full", [0]),
        ("window", [1]),
    ]


@pytest.mark.parametrize("kv_type", ["f32", "f16", "int8", "q4"])
def test_it_reads_what_the_other_layer_stored(model, kv_type):
    """The same query finds the same in both layers."""
    tokens, names = random_tokens(), [f"blk.{i}.attention" for i in range(4)]
    (graph,) = model.graphs.values()
    queries = [graph.values[node.inputs[0]].name for node in graph.nodes if node.op == "attention"]
    plan = model.plan(outputs=[*names, *queries], overrides=queries[2:])
    found = Session(model, model.plan(outputs=[*names, *queries]), kv_type=kv_type).step([(0, 0, tokens)])
    given = dict(zip(queries[2:], (found[name] for name in queries[:2]), strict=True))
    again = Session(model, plan, kv_type=kv_type).step([(0, 0, tokens)], overrides=given)
    for i in range(2):
        assert np.array_equal(again[names[i + 2]], found[names[i]])


def test_what_stores_them_is_computed_where_its_own_result_is_not_wanted(model):
    """Layer 3 reads what layer 1 stores, and here it gets its query from elsewhere."""
    (graph,) = model.graphs.values()
    query = [graph.values[node.inputs[0]].name for node in graph.nodes if node.op == "attention"][3]
    plan = model.plan(outputs=["blk.3.attention"], overrides=[query])
    assert [op.attrs["cache"] for op in plan.ops if op.op == "attention"] == ["blk.0.kv", "blk.1.kv", "blk.1.kv"]
    with pytest.raises(GraphError, match=r"stores blk\.1\.kv, which another layer reads"):
        model.plan(overrides=["blk.1.attention"])


def test_layers_without_keys_and_values_run_for_the_outputs_only(model):
    plan = model.plan()
    kinds = [(op.op, plan.views[op.outputs[0]].m_rows) for op in plan.ops]
    assert [m for name, m in kinds if name == "attention"] == [False, False, True, True]
    assert [m for name, m in kinds if name == "rope"] == [True, True]  # the others are fused with attention
    assert not any(m for name, m in kinds if name == "embed")


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("outputs", [[], [44], [0, 7, 8, 30, 44], [*range(45)]])
def test_dropped_rows_do_not_change_the_others(model, outputs, n_threads):
    tokens, rows = random_tokens(), np.array(outputs, np.int32)
    every = model.plan(outputs=[*model.graphs["decode"].outputs, "blk.3.attention"])
    want = Session(model, every).step([(0, 0, tokens)])
    found = Session(model, every, n_threads=n_threads).step([(0, 0, tokens)], outputs=rows)
    for name, value in want.items():
        assert np.array_equal(found[name], value[rows])


def test_spans_reach_over_dropped_rows(model):
    tokens, rows = random_tokens(), np.array([9, 28], np.int32)
    spans = np.array([[8, 29]], np.int32)
    want = Session(model, model.plan()).step([(0, 0, tokens)], spans=spans)
    plain = Session(model, model.plan()).step([(0, 0, tokens)])
    found = Session(model, model.plan()).step([(0, 0, tokens)], spans=spans, outputs=rows)
    for name, value in want.items():
        assert np.array_equal(found[name], value[rows])
        assert not np.array_equal(found[name][0], plain[name][9])


def test_the_numpy_backend_drops_rows_too(model):
    tokens, rows = random_tokens(), np.array([0, 9, 44], np.int32)
    want = Session(model, model.plan(), backend=NumpyBackend()).step([(0, 0, tokens)])
    session = Session(model, model.plan(), backend=NumpyBackend())
    found = session.step([(1, 0, tokens[:5]), (0, 0, tokens)], outputs=rows + 5)
    for name, value in want.items():
        assert np.allclose(found[name], value[rows], rtol=0, atol=1e-5 * np.abs(value).max())
