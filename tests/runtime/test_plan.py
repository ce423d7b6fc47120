"""Passes and memory plan: what is fused, what is pruned, and that no two live values share a slot."""

from hypothesis import given
from hypothesis import strategies as st

from realizar.arch.architecture import WeightRef
from realizar.graph import Graph
from realizar.runtime.plan import assign_slots, lower


def weight(name, *shape, bias=None):
    return WeightRef(name, shape, bias)


def block(g, x, i):
    """One llama layer of width 8."""
    h = g.rms_norm(x, weight(f"blk.{i}.attn_norm", 8), eps=1e-5)
    rope = {"style": "neox", "dims": 4, "base": 1e4}
    q, k = (g.rope(g.heads(g.linear(h, weight(f"blk.{i}.{n}", 8, 8)), 2), **rope) for n in "qk")
    v = g.heads(g.linear(h, weight(f"blk.{i}.v", 8, 8)), 2)
    x = x + g.linear(g.attention(q, k, v, layer=i, scale=0.5), weight(f"blk.{i}.o", 8, 8))
    h = g.rms_norm(x, weight(f"blk.{i}.ffn_norm", 8), eps=1e-5)
    up = g.linear(h, weight(f"blk.{i}.up", 16, 8))
    return x + g.linear(g.silu(g.linear(h, weight(f"blk.{i}.gate", 16, 8))) * up, weight(f"blk.{i}.down", 8, 16))


def model(n_layer=2):
    g = Graph()
    x = g.embed(weight("token_embd", 32, 8))
    for i in range(n_layer):
        x = block(g, x, i)
    y = g.linear(g.rms_norm(x, weight("output_norm", 8), eps=1e-5), weight("output", 32, 8))
    g.outputs = {"logits": y.id}
    return g


def test_fused_ops_of_a_layer():
    ops = [op.op for op in lower(model(1)).ops]
    assert ops == ["embed", "rms_norm", "linear", "attention", "gather_rows", "gather_rows", "linear",
                   "rms_norm", "linear", "swiglu", "linear", "rms_norm", "linear"]  # fmt: skip


def test_without_passes_only_views_and_row_pruning_change_the_ops():
    g = model(1)
    ops = [op.op for op in lower(g, passes=()).ops if op.op != "gather_rows"]
    assert ops == [node.op for node in g.nodes if not node.spec.is_view]


def test_qkv_is_one_product_and_residuals_are_added_inside():
    plan = lower(model(1))
    linears = [op for op in plan.ops if op.op == "linear"]
    assert [len(op.weights) for op in linears] == [3, 1, 2, 1, 1]
    assert [op.attrs["residual"] for op in linears] == [False, True, False, True, False]


def test_rows_are_pruned_after_the_last_attention():
    plan = lower(model(2))
    names = [op.op for op in plan.ops]
    assert names.index("gather_rows") > [i for i, n in enumerate(names) if n == "attention"][-1]
    assert all(plan.views[i].m_rows for i in plan.outputs.values())


def test_an_intermediate_output_prevents_the_fusion_that_would_remove_it():
    plan = lower(model(1), ["logits", "silu"])
    assert set(plan.outputs) == {"logits", "silu"}
    assert "swiglu" not in [op.op for op in plan.ops]


def test_unused_values_are_dropped():
    plan = lower(model(2), ["blk.0.attention"])
    assert [op.op for op in plan.ops] == ["embed", "rms_norm", "linear", "attention", "gather_rows"]


def test_rows_are_pruned_before_a_rotation_of_no_key():
    """It turns a row by the position of the step's row, not by that of its place among the outputs."""
    plan = lower(model(1), ["rope"])
    assert [op.op for op in plan.ops] == ["embed", "gather_rows", "rms_norm", "linear", "rope"]


def test_sliding_windows_make_cache_groups():
    g = Graph()
    q = g.heads(g.embed(weight("token_embd", 32, 8)), 2)
    a = g.attention(q, q, q, layer=0, scale=1.0)
    b = g.attention(g.heads(a, 2), q, q, layer=1, scale=1.0, window=4)
    g.outputs = {"y": b.id}
    plan = lower(g)
    assert [(group.kind, group.window) for group in plan.cache_groups] == [("full", 0), ("window", 4)]
    assert plan.cache("blk.1.kv")[0] == 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10), st.integers(1, 100)), max_size=30))
def test_live_values_do_not_share_slots(spans):
    life = {key: (first, first + length) for key, (first, length, _) in enumerate(spans)}
    width = {key: w for key, (_, _, w) in enumerate(spans)}
    slots = assign_slots(life, width)
    for a in life:
        assert slots.width[slots.slot[a]] >= width[a]
        for b in life:
            if a < b and slots.slot[a] == slots.slot[b]:
                assert life[a][1] < life[b][0] or life[b][1] < life[a][0]
