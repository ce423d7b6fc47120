"""Pooling over whole texts, tanh and softmax: definitions, kernels, and what may not follow."""

import numpy as np
import pytest

from realizar.arch import Architecture, Weight
from realizar.arch.architecture import WeightRef
from realizar.errors import GraphError, ParameterError
from realizar.graph import Graph
from realizar.runtime.plan import lower
from realizar.testing import Session, check_architecture, random_tokens, tiny_metadata, tiny_model
from tests.isa import LEVELS

N_CLASS = 6
TEXTS = [random_tokens(n, seed) for seed, n in enumerate((5, 1, 37))]


class Pooled(Architecture):
    """An encoder without layers, and a head over its embeddings."""

    name = "pooled"

    def tensors(self, hp):
        return {"token_embd": Weight((hp.n_vocab, hp.n_embd)), "cls": Weight((N_CLASS, hp.n_embd), bias=True)}

    def head(self, g, w, pool):
        x = g.embed(w.token_embd)
        pooled = pool(g, x)
        return {"x": x, "pooled": pooled, "rank": g.softmax(g.linear(g.tanh(pooled), w.cls))}

    def build(self, g, w, hp):
        return self.head(g, w, Graph.pool_first)

    def programs(self):
        return {"encode": self.build, "rank": lambda g, w, hp: self.head(g, w, Graph.pool_mean)}


def test_conformance():
    check_architecture(Pooled, types=("F32", "Q8_0"), isa_levels=LEVELS)


@pytest.mark.parametrize("program", ["encode", "rank"])
def test_of_several_texts(program, tmp_path):
    with tiny_model(Pooled(), tiny_metadata("pooled"), "F32", tmp_path) as model:
        session = Session(model, model.plan(program), activations="f32")
        found = session.step([(i, 0, text) for i, text in enumerate(TEXTS)])
        w, b = (model.tensors[f"cls.{name}"].floats() for name in ("weight", "bias"))
        start = 0
        for text in TEXTS:
            rows = slice(start, start + len(text))
            x = found["x"][rows].astype(np.float64)
            want = x[:1] if program == "encode" else x.mean(axis=0, keepdims=True)
            np.testing.assert_array_equal(found["pooled"][rows], np.repeat(want.astype(np.float32), len(text), axis=0))
            y = np.exp(np.tanh(want) @ w.T + b)
            np.testing.assert_allclose(found["rank"][rows], np.repeat(y / y.sum(), len(text), axis=0), rtol=1e-5)
            start = rows.stop


def test_a_step_must_contain_whole_sequences(tmp_path):
    with tiny_model(Pooled(), tiny_metadata("pooled"), "F32", tmp_path) as model:
        session = Session(model, model.plan("rank"))
        with pytest.raises(ParameterError, match="each step must contain whole sequences"):
            session.step([(0, 3, TEXTS[0])])


def recorded(after):
    g = Graph()
    x = g.heads(g.embed(WeightRef("token_embd", (32, 8), None)), 2)
    g.outputs = {"y": after(g, x, g.pool_mean(x)).id}
    return g


def test_a_pooled_value_has_the_rows_of_outputs():
    plan = lower(recorded(lambda g, x, pooled: g.tanh(x + pooled)))
    assert [op.op for op in plan.ops] == ["embed", "pool_mean", "gather_rows", "add", "softcap"]


@pytest.mark.parametrize(
    "after",
    [
        lambda g, x, pooled: g.attention(pooled, x, x, scale=1.0, causal=False),
        lambda g, x, pooled: g.attention(x, x, pooled + x, scale=1.0, causal=False),
        lambda g, x, pooled: g.rope(g.tanh(pooled), style="neox", dims=4, base=1e4),
    ],
)
def test_what_works_on_tokens_cannot_follow(after):
    with pytest.raises(GraphError, match="reads a pooled value, which is one row for a text"):
        lower(recorded(after))
