"""Ops of plugins in compiled plans: equal to the interpreter, and the same bits for any batch and chunks."""

import numpy as np
import pytest

from realizar import LLM
from realizar.arch import Architecture, Weight, hookimpl, registry
from realizar.arch.blocks import embedding_tensors, gqa, gqa_tensors
from realizar.errors import PluginError
from realizar.graph import OpSpec
from realizar.testing import check_architecture, tiny_metadata, tiny_model
from tests.isa import LEVELS


def same_shape(inputs, weights, attrs):
    return [inputs[0]]


FAILS = []


def smoothed(x, weights, attrs, state):
    if FAILS:
        raise ValueError("by hand")
    state += (1 - np.float32(attrs["decay"])) * (x[0][0] - state)
    return [(state * weights[0])[None]]


SQUARE = OpSpec("square", "y = x^2", (), same_shape, define=lambda x, weights, attrs, state: [x[0] * x[0]])
AVERAGE = OpSpec("moving_average", "s += (1 - decay) (x - s), y = s w", ("decay",), same_shape, rowwise=False,
                 define=smoothed)  # fmt: skip


class Smooth(Architecture):
    """A decoder with an op before its first layer, one with a state, and one that computes only output rows."""

    name = "smooth"

    def tensors(self, hp):
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp),
            "blk.{i}.smooth": Weight((hp.n_embd,)),
            "blk.{i}.ffn_up": Weight((hp.n_ff, hp.n_embd)),
            "blk.{i}.ffn_down": Weight((hp.n_embd, hp.n_ff)),
        }

    def build(self, g, w, hp):
        x = g.embed(w.token_embd)
        x = x + g.op("square", [x])[0]
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + g.op("moving_average", [x], [blk.smooth], state=g.state(i, (hp.n_embd,)), decay=0.75)[0]
            up = g.op("square", [g.linear(x, blk.ffn_up)])[0]  # quantized for the product by a separate op
            x = x + g.linear(up, blk.ffn_down)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Plugin:
    @hookimpl
    def realizar_architectures(self):
        return [Smooth]

    @hookimpl
    def realizar_ops(self):
        return [SQUARE, AVERAGE]


@pytest.fixture
def plugin(monkeypatch):
    own = registry.Registry()
    own.add("smooth plugin", Plugin())
    monkeypatch.setattr(registry, "default", lambda: own)
    return own


def test_conformance_of_an_architecture_with_plugin_ops(plugin):
    check_architecture(Smooth, types=("F32", "Q4_K"), isa_levels=LEVELS)


def test_a_failing_definition_is_a_typed_error(plugin, tmp_path, monkeypatch):
    with tiny_model(Smooth(), tiny_metadata("smooth"), "F32", tmp_path) as model:
        path = model.file.path
        assert model.plan().plugin_ops == ("moving_average", "square")
    with LLM(path, n_threads=1, n_ctx=64) as llm:
        logits = llm.logits([1, 2, 3, 4])
        monkeypatch.setitem(globals(), "FAILS", ["now"])
        with pytest.raises(PluginError, match=r"moving_average.*ValueError: by hand"):
            llm.logits([1, 2, 3, 4])
    assert np.isfinite(logits).all()
