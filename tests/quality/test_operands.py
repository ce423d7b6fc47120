"""The rows that matrices are multiplied with: the products with them are what the definitions of the ops compute."""

import numpy as np
import pytest

from realizar.arch import registry
from realizar.graph import reference
from realizar.model import load
from realizar.testing import N_CTX, tiny_metadata, tiny_model
from tests.arch.test_deepseek import FUSED, LATENT
from tests.limits.models import rewritten
from tests.runtime.test_weights import tiny as tiny_file

N = 9
EXPERTS = {"expert_count": 4, "expert_used_count": 2}
MODELS = {
    "qwen2moe": {**EXPERTS, "expert_feed_forward_length": 256, "expert_shared_feed_forward_length": 512},
    "gpt-oss": {**EXPERTS, "attention.sliding_window": 16},  # biases of experts, an activation of its own
    "deepseek2": LATENT,  # matrices of heads
    "phi3": {},  # fused matrices
}


def tiny(name, folder, **changes):
    own = {f"{name}.{key}": value for key, value in {**MODELS[name], **changes}.items()}
    keys = {key: value for key, value in {**tiny_metadata(name), **own}.items() if value is not None}
    return tiny_model(registry.default().architecture(name), keys, "F32", folder)


def evaluate(model, node, x):
    n = np.arange(N, dtype=np.int32)
    inputs = reference.Inputs(
        n, n[None], n, model.tensors, "f32", "f32", N_CTX, reference.NewKeyValues({}), {}, None, {}
    )  # fmt: skip
    return reference.evaluate(node, x, inputs)


def random_inputs(graph, node, rng):
    x = [rng.standard_normal((N, *graph.values[i].shape), np.float32) for i in node.inputs]
    if len(x) == 3:  # of experts: rows, ids, weights
        n_expert = graph_experts(graph, node)
        x[1] = np.stack([rng.permutation(n_expert)[: x[1].shape[1]] for _ in range(N)]).astype(np.float32)
    return x


def graph_experts(graph, node):
    logits = next(other for other in graph.nodes if other.op == "choose_experts" and node.inputs[1] in other.outputs)
    return graph.values[logits.inputs[0]].shape[0]


def products(model, node, x):
    """The outputs of a node, from its operands."""
    found = list(node.spec.operands(node, x, model.tensors))
    w = [model.tensors[name].floats().astype(np.float64) for name in node.weights]
    biases = [None if b is None else model.tensors[b].floats() for b in node.attrs.get("bias", [None] * len(w))]
    scales = [None if s is None else model.tensors[s].floats() for s in node.attrs.get("scales", [None] * len(w))]
    if node.op == "linear":
        rest = x[1] if node.attrs["residual"] else 0
        return [rows @ w[j].T + (0 if biases[j] is None else biases[j]) + rest for j, _, rows in found]
    if node.op == "per_head_linear":
        whole = w[0].reshape(len(found), -1, w[0].shape[-1])
        first, end = node.attrs["rows"] or (0, whole.shape[1])
        return [np.stack([rows @ whole[head, first:end].T for _, head, rows in found], axis=1)]
    out = np.zeros((N, w[-1].shape[1]))
    for j, e, rows in found:
        if j == len(w) - 1:
            row, rank = np.nonzero(x[1] == e)
            y = rows @ w[j][e].T * (1 if scales[j] is None else scales[j][e])
            y = y + (0 if biases[j] is None else biases[j][e])
            np.add.at(out, row, x[2][row, rank, None] * y)
    return [out]


def check_products(model):
    """Compare the products of all nodes of a decoder that multiply matrices; return their ops."""
    rng, seen, graph = np.random.default_rng(0), set(), model.graphs["decode"]
    for node in graph.nodes:
        if node.spec.operands is None or node.attrs.get("transposed"):
            continue
        x = random_inputs(graph, node, rng)
        for found, want in zip(products(model, node, x), evaluate(model, node, x), strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
        seen.add(node.op)
    return seen


def test_scales_of_experts(tmp_path):
    """One factor for each expert, as in NVFP4 files; the operands of the last matrix depend on those of the others."""
    path = tiny_file("gpt-oss", tmp_path, "F32", **EXPERTS)
    more = {f"blk.0.{part}.scale": np.linspace(0.5, 2, 4) for part in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")}
    model = load(rewritten(path, tmp_path / "scaled.gguf", more=more))
    assert "experts" in check_products(model)
    model.close()


@pytest.mark.parametrize("name", MODELS)
def test_products_with_the_operands_are_the_definitions(name, tmp_path):
    with tiny(name, tmp_path) as model:
        seen = check_products(model)
        assert "linear" in seen
        assert ("experts" in seen) == (name in ("qwen2moe", "gpt-oss", "deepseek2"))
        assert ("per_head_linear" in seen) == (name == "deepseek2")


def test_transposed_matrices_have_none(tmp_path):
    with tiny("deepseek2", tmp_path, **FUSED) as model:
        graph = model.graphs["decode"]
        node = next(node for node in graph.nodes if node.attrs.get("transposed"))
        x = random_inputs(graph, node, np.random.default_rng(0))
        assert list(node.spec.operands(node, x, model.tensors)) == []
