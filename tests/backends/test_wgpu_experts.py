"""Products of experts and heads on the wgpu backend, with activations of float32 and int8, are those of the CPU."""

import numpy as np
import pytest

from realizar.backends.wgpu.backend import WgpuBackend
from realizar.testing import TOLERANCE, Session, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.arch.test_deepseek import LATENT
from tests.backends.adapters import need_adapter
from tests.engine.test_same_bits import architecture

EXPERTS = {**LATENT, "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 256}
N = 5


@pytest.fixture(autouse=True)
def _adapter():
    need_adapter()


def given(graph, node):
    """Random values for the inputs of an op by name, and ids of experts that are some."""
    rng = np.random.default_rng(0)
    rows = {graph.values[i].name: rng.standard_normal((N, *graph.values[i].shape), np.float32) for i in node.inputs}
    if node.op == "experts":
        rows[graph.values[node.inputs[1]].name] = np.array([[0, 1], [3, 2], [2, 0], [1, 3], [0, 3]], np.float32)
    return rows


def results(tiny, op, activations):
    """The outputs of every op of a kind whose inputs are given, by the wgpu and by the CPU backend."""
    graph = tiny.graphs["decode"]
    for node in graph.nodes:
        if node.op != op:
            continue
        name, rows, found = graph.values[node.outputs[0]].name, given(graph, node), []
        for own in (WgpuBackend(), None):
            passes = {} if own is None else {"passes": own.passes}
            plan = tiny.plan(outputs=[name], overrides=list(rows), **passes)
            made = Session(tiny, plan, backend=own, activations=activations, kv_type="f32")
            found.append(made.step([(0, 0, random_tokens(N))], rows)[name])
        yield found


@pytest.mark.parametrize("type_name", ["F16", "Q8_0", "Q4_K", "MXFP4", "IQ2_S"])
@pytest.mark.parametrize("op", ["experts", "per_head_linear"])
def test_products(type_name, op, tmp_path):
    keys = {f"deepseek2.{key}": value for key, value in EXPERTS.items()}
    with tiny_model(architecture("deepseek2"), {**tiny_metadata("deepseek2"), **keys}, type_name, tmp_path) as tiny:
        for activations in ("f32", "int8"):
            found = list(results(tiny, op, activations))
            assert len(found) > 0
            for wgpu, cpu in found:
                assert relative_error(wgpu, cpu) < TOLERANCE, activations
