"""Chains of row ops: which ops join, that joined ops give the bits of separate ones, and what a program refuses."""

import numpy as np
import pytest

from realizar._kernels.plan import Pool, Program
from realizar.arch import registry
from realizar.arch.architecture import WeightRef
from realizar.backends.cpu import bind, chains
from realizar.graph import Graph
from realizar.runtime.passes import FUSIONS, fuse_conv
from realizar.runtime.plan import lower
from realizar.testing import Session, random_tokens, tiny_metadata, tiny_model

DELTA = {
    "full_attention_interval": 2,
    "rope.dimension_count": 16,
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 150,
    "ssm.state_size": 20,
    "ssm.time_step_rank": 6,
    "ssm.group_count": 2,
    "expert_count": 4,
    "expert_used_count": 2,
    "expert_feed_forward_length": 64,
}


@pytest.fixture
def model(tmp_path):
    """Return a model with chains of norms, gates, slices, decays and routing."""
    name = "qwen35moe"
    keys = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in DELTA.items()}}
    with tiny_model(registry.default().architecture(name), keys, "Q8_0", tmp_path) as model:
        yield model


def logits(model, passes=FUSIONS, n_threads=2):
    session = Session(model, model.plan("decode", passes=passes), n_threads=n_threads, activations="int8")
    return session.prompt(random_tokens(), 45)["logits"]


def test_consecutive_row_ops_are_a_chain():
    g = Graph()
    x = g.embed(WeightRef("token_embd", (32, 8), None))
    y = g.linear(g.scale(g.silu(x), 2.0), WeightRef("up", (8, 8), None))
    z = g.rms_norm(g.sigmoid(y), None, eps=1e-5) * x
    g.outputs = {"z": z.id}
    plan = lower(g)
    assert [op.op for op in plan.ops] == [
        "embed",
        "gather_rows",
        "silu",
        "scale",
        "linear",
        "sigmoid",
        "rms_norm",
        "mul",
    ]
    assert chains.chain_spans(plan) == [(0, 0), (1, 1), (2, 3), (2, 3), (4, 4), (5, 7), (5, 7), (5, 7)]


@pytest.mark.parametrize("n_threads", [1, 4])
def test_joined_ops_give_the_bits_of_separate_ones(model, monkeypatch, n_threads):
    spans = chains.chain_spans(model.plan("decode"))
    assert max(last - first for first, last in spans) >= 5
    joined = logits(model, n_threads=n_threads)
    monkeypatch.setattr(chains, "ROW_OPS", frozenset())
    monkeypatch.setattr(bind, "ROW_OPS", frozenset())
    np.testing.assert_array_equal(joined, logits(model, n_threads=n_threads))


def test_a_convolution_with_silu_gives_the_bits_of_both_ops(model):
    others = tuple(rewrite for rewrite in FUSIONS if rewrite is not fuse_conv)
    ops = [[op.op for op in model.plan("decode", passes=passes).ops] for passes in (FUSIONS, others)]
    assert [names.count("silu") for names in ops] == [0, ops[1].count("causal_conv1d")]
    assert ops[0].count("causal_conv1d") == ops[1].count("causal_conv1d") > 0
    np.testing.assert_array_equal(logits(model), logits(model, others))


def test_a_convolution_that_is_an_output_keeps_its_silu_apart(model):
    conv = next(node for node in model.graphs["decode"].nodes if node.op == "causal_conv1d")
    name = model.graphs["decode"].values[conv.outputs[0]].name
    plan = model.plan("decode", ["logits", name])
    assert "silu" in [op.op for op in plan.ops]


def test_a_program_refuses_to_join_ops_that_are_not_row_by_row():
    program = Program(Pool(1), np.zeros(4096, np.uint8), 4)
    program.add_rowwise("silu", 16, x=(0, 16), y=(1024, 16))
    program.add_rowwise("silu", 16, x=(0, 16), y=(2048, 16), m_rows=True)
    with pytest.raises(ValueError, match="op 1 does not compute the same rows"):
        program.join(first=1)
    program.add_rowwise("take_rows", 16, x=(0, 16), y=(1024, 16))
    with pytest.raises(ValueError, match="op 2 does not compute the same rows"):
        program.join(first=2)
