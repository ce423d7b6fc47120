"""Mixtures of experts in small test architectures: every kind of routing, activation and mix of formats."""

import numpy as np
import pytest

from realizar.arch import Architecture, Weight
from realizar.errors import ParameterError
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from realizar.model import Model
from realizar.quants import quantize
from realizar.testing import (
    Session,
    check_architecture,
    check_interpreter,
    check_same_bits,
    random_tokens,
    tiny_metadata,
    tiny_model,
)
from tests.isa import LEVELS

N_EXPERT = 8


class Mixture(Architecture):
    """Two layers of experts, without attention."""

    name = "mixture"

    def __init__(
        self, bias=False, activation="silu", gated=True, choice_bias=False, n_expert=N_EXPERT, n_used=3, **routing
    ):
        self.bias, self.activation, self.gated, self.choice_bias = bias, activation, gated, choice_bias
        self.n_expert, self.n_used, self.routing = n_expert, n_used, routing

    def tensors(self, hp):
        up = Weight((self.n_expert, hp.n_ff, hp.n_embd), bias=self.bias)
        table = {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "blk.{i}.norm": Weight((hp.n_embd,)),
            "blk.{i}.ffn_gate_inp": Weight((self.n_expert, hp.n_embd), bias=self.bias),
            **({"blk.{i}.ffn_gate_exps": up} if self.gated else {}),
            "blk.{i}.ffn_up_exps": up,
            "blk.{i}.ffn_down_exps": Weight((self.n_expert, hp.n_embd, hp.n_ff), bias=self.bias),
        }
        return {**table, **({"blk.{i}.choice": Weight((self.n_expert,))} if self.choice_bias else {})}

    def build(self, g, w, hp):
        x = g.embed(w.token_embd)
        for blk in w.blk:
            h = g.rms_norm(x, blk.norm, eps=hp.norm_eps)
            bias = blk.choice if self.choice_bias else None
            choice = g.route(g.linear(h, blk.ffn_gate_inp), self.n_used, bias=bias, **self.routing)
            gate = blk.ffn_gate_exps if self.gated else None
            x = x + g.experts(h, choice, gate=gate, up=blk.ffn_up_exps, down=blk.ffn_down_exps,
                              activation=self.activation)  # fmt: skip
        return x


@pytest.mark.parametrize(
    "architecture",
    [
        Mixture(normalize=True),
        Mixture(bias=True, activation="swiglu_oai", gating="softmax_chosen"),
        Mixture(choice_bias=True, gating="sigmoid", normalize=True, scale=2.5, n_group=4, n_group_used=2),
        Mixture(gating="softmax", n_group=2, n_group_used=1, n_group_best=1),
        Mixture(bias=True, activation="relu2", gated=False, gating="sigmoid"),
    ],
    ids=["mixtral", "gpt-oss", "deepseek-v3", "deepseek-v2", "nemotron"],
)
def test_conformance(architecture):
    check_architecture(architecture, types=("F16", "Q8_0", "Q4_K"), isa_levels=LEVELS)


def test_more_tokens_than_one_product_processes(tmp_path):
    """The tokens of an expert are divided into shares; a second run divides them into steps at other places."""
    tokens = random_tokens(2100)
    with tiny_model(Mixture(n_expert=2, n_used=1), tiny_metadata("mixture"), "Q8_0", tmp_path) as model:
        at_once, in_steps = (
            Session(model, model.plan(), n_seqs=1, n_ctx=2304).prompt(tokens, chunk)["logits"] for chunk in (2100, 500)
        )
    assert np.array_equal(at_once, in_steps)


@pytest.mark.parametrize("down", ["F16", "MXFP4"])
def test_mixed_formats(tmp_path, down):
    """Gate, up and down of an expert may have different formats, with different activation rows or floats."""
    architecture, metadata = Mixture(bias=True), tiny_metadata("mixture")
    types = {"ffn_gate_exps.weight": "Q4_K", "ffn_up_exps.weight": "Q5_0", "ffn_down_exps.weight": down}
    writer = GGUFWriter(tmp_path / "mixed.gguf")
    for key, value in metadata.items():
        writer.add(key, value)
    with tiny_model(architecture, metadata, "F32", tmp_path) as model:
        for name, tensor in model.tensors.items():
            type_name = next((chosen for end, chosen in types.items() if name.endswith(end)), "F32")
            writer.add_tensor(name, quantize(tensor.floats(), type_name), tensor.shape, GGMLType[type_name])
    writer.write()
    with GGUFFile(tmp_path / "mixed.gguf") as file:
        model = Model(file, architecture)
        check_interpreter(model, "int8", LEVELS)
        check_same_bits(model, "decode", LEVELS)
        model.close()


def test_overridden_choices(tmp_path):
    """A plan with the overridden choice of another run gives its results; another choice gives other results."""
    architecture, tokens = Mixture(normalize=True), [(0, 0, random_tokens(9))]
    with tiny_model(architecture, tiny_metadata("mixture"), "Q8_0", tmp_path) as model:
        ids = [f"blk.{i}.ffn_gate_inp.ids" for i in range(2)]
        taken = Session(model, model.plan(outputs=["logits", *ids])).step(tokens)
        replayed = Session(model, model.plan(overrides=ids))
        assert np.array_equal(replayed.step(tokens, overrides=taken)["logits"], taken["logits"])
        other = {name: (taken[name] + 1) % N_EXPERT for name in ids}
        assert not np.array_equal(replayed.step(tokens, overrides=other)["logits"], taken["logits"])
        for wrong in ({}, {**taken, ids[0]: taken[ids[0]][:4]}):
            with pytest.raises(ParameterError, match=r"overrides: blk\.0\.ffn_gate_inp\.ids must have shape \(9, 3\)"):
                replayed.step(tokens, overrides=wrong)
        wild = {
            name: np.full((9, 3), np.nan, np.float32) for name in ids
        }  # invalid ids select some expert and do not crash
        assert np.isfinite(replayed.step(tokens, overrides=wild)["logits"]).all()
