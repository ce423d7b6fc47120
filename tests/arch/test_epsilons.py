"""Norms whose epsilon is a constant of the architecture, whatever the metadata says of the other norms."""

import pytest

from realizar.arch import registry
from realizar.testing import tiny_metadata, tiny_model
from tests.arch.test_deepseek import LATENT
from tests.arch.test_families import FAMILIES
from tests.arch.test_recurrent import DELTA, KIMI, SHARED

EPS = 0.25  # in the metadata
CONSTANT = 1e-6


def epsilons(tmp_path, name, keys):
    """Return the epsilon of each RMS norm by the last part of its weight's name, and those of norms without weights."""
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in keys.items()}}
    metadata[f"{name}.attention.layer_norm_rms_epsilon"] = EPS
    with tiny_model(registry.default().architecture(name), metadata, "F32", tmp_path) as model:
        norms = [node for graph in model.graphs.values() for node in graph.nodes if node.op == "rms_norm"]
    named = {node.weights[0].split(".")[-2]: node.attrs["eps"] for node in norms if node.weights}
    return named, {node.attrs["eps"] for node in norms if not node.weights}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("deepseek2", LATENT),
        ("mistral4", LATENT),
        ("kimi-linear", {**KIMI, **SHARED, "attention.q_lora_rank": 64}),
        FAMILIES["minicpm3"],
    ],
)
def test_norms_of_latents(tmp_path, name, keys):
    named, _ = epsilons(tmp_path, name, keys)
    latents = {named.pop("attn_q_a_norm"), named.pop("attn_kv_a_norm")}
    assert latents == {CONSTANT}
    assert set(named.values()) == {EPS}


@pytest.mark.parametrize(
    ("name", "keys"),
    [("qwen35", DELTA), ("qwen3next", {**DELTA, **SHARED}), ("kimi-linear", {**KIMI, **SHARED})],
    ids=["qwen35", "qwen3next", "kimi-linear"],
)
def test_norms_of_queries_and_keys_of_delta_nets(tmp_path, name, keys):
    named, unnamed = epsilons(tmp_path, name, keys)
    head_dim = keys.get("kda.head_dim") or keys["ssm.state_size"]
    assert unnamed == {CONSTANT / head_dim}  # of a mean over the head, not of a sum
    assert named["ssm_norm"] == EPS
