"""Architectures with recurrent states, alone or with attention, in every variant of their tensors."""

import numpy as np
import pytest

from realizar.arch import ArchMetadata, registry
from realizar.errors import GGUFError, GraphError
from realizar.gguf import GGUFFile, GGUFWriter
from realizar.model import load
from realizar.testing import Session, check_architecture, random_tokens, tiny_metadata, tiny_model
from tests.isa import LEVELS

MAMBA = {
    "attention.head_count": 0,
    "feed_forward_length": 0,
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 512,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 32,
}


def check(name, keys, **options):
    check_architecture(
        registry.default().architecture(name), {f"{name}.{k}": v for k, v in keys.items()}, **options, isa_levels=LEVELS
    )


def test_mamba():
    check("mamba", MAMBA)


def test_mamba_of_odd_sizes_with_normed_parts():
    sizes = {"ssm.conv_kernel": 3, "ssm.inner_size": 328, "ssm.state_size": 5, "ssm.time_step_rank": 7}
    check("mamba", {**MAMBA, **sizes, "ssm.dt_b_c_rms": True}, types=("Q8_0",))


def test_mamba2():
    check("mamba2", {**MAMBA, "ssm.state_size": 32, "ssm.time_step_rank": 8, "ssm.group_count": 1})


@pytest.mark.parametrize("n_head", [4, 16, 512])
def test_mamba2_in_groups(n_head):
    sizes = {"ssm.inner_size": 640 if n_head < 512 else 512, "ssm.state_size": 9, "ssm.group_count": 4}
    check("mamba2", {**MAMBA, **sizes, "ssm.time_step_rank": n_head}, types=("Q8_0",))


def test_jamba():
    sizes = {
        "block_count": 3,
        "attention.head_count": 4,
        "attention.head_count_kv": [0, 2, 0],
        "feed_forward_length": 96,
    }
    check("jamba", {**MAMBA, **sizes, "attention.head_count": 4, "expert_count": 4, "expert_used_count": 2})


DELTA = {
    "full_attention_interval": 2,
    "rope.dimension_count": 16,
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 128,
    "ssm.state_size": 32,
    "ssm.time_step_rank": 4,
    "ssm.group_count": 2,
}
SHARED = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 64}
ODD = {"ssm.inner_size": 150, "ssm.state_size": 20, "ssm.time_step_rank": 6, "ssm.conv_kernel": 3}


def test_qwen35():
    check("qwen35", DELTA)


def test_qwen35_of_odd_sizes_with_other_recurrent_layers():
    check("qwen35", {**DELTA, **ODD, "attention.recurrent_layers": [False, True]}, types=("Q8_0",))


def test_qwen35moe():
    check("qwen35moe", {**DELTA, **SHARED, "feed_forward_length": None}, types=("Q8_0",))


def test_qwen3next():
    check("qwen3next", {**DELTA, **SHARED}, types=("Q8_0",))


def test_qwen3next_with_the_input_tensor_of_early_files(tmp_path):
    """One tensor with the rows of two, ordered by key heads."""
    name = "qwen3next"
    keys = {**tiny_metadata(name), **{f"{name}.{k}": v for k, v in {**DELTA, **SHARED}.items()}}
    with tiny_model(registry.default().architecture(name), keys, "Q8_0", tmp_path, optional=False) as model:
        want = Session(model, model.plan("decode")).prompt(random_tokens(), 45)
        path = model.file.path
    early = tmp_path / "early.gguf"
    with GGUFFile(path) as file:
        writer = GGUFWriter(early)
        for key, value in keys.items():
            writer.add(key, value)
        for tensor, info in file.tensors.items():
            if not tensor.startswith("blk.0.attn_") or "norm" in tensor:
                writer.add_tensor(tensor, file.data(tensor), info.shape, info.type)
        qkv, gate = (file.data(f"blk.0.attn_{part}.weight") for part in ("qkv", "gate"))
        parts = [part.reshape(2, -1, qkv.shape[1]) for part in (qkv[:64], qkv[64:128], qkv[128:], gate)]
        rows = np.concatenate(parts, axis=1).reshape(-1, qkv.shape[1])
        writer.add_tensor("blk.0.ssm_in.weight", rows, (len(rows), 256), file.tensors["blk.0.attn_gate.weight"].type)
        writer.write()
    model = load(early)
    found = Session(model, model.plan("decode")).prompt(random_tokens(), 45)
    model.close()
    np.testing.assert_array_equal(found["logits"], want["logits"])


RWKV = {
    "attention.head_count": 0,
    "wkv.head_size": 64,
    "attention.decay_lora_rank": 32,
    "attention.iclr_lora_rank": 32,
    "attention.value_residual_mix_lora_rank": 16,
    "attention.gate_lora_rank": 64,
}


def test_rwkv7():
    check("rwkv7", RWKV)


def test_rwkv7_of_odd_sizes_in_three_layers():
    check("rwkv7", {**RWKV, "block_count": 3, "embedding_length": 240, "wkv.head_size": 40}, types=("Q8_0",))


@pytest.mark.parametrize("rank", [0, 64], ids=["no gate", "gate"])
def test_arwkv7(rank):
    check("arwkv7", {**RWKV, "attention.gate_lora_rank": rank}, types=("Q8_0",))


def test_rwkv_heads_must_divide_the_channels():
    with pytest.raises(GraphError, match=r"generalized_delta_rule: .* for a state \(4, 60, 60\)"):
        check("rwkv7", {**RWKV, "wkv.head_size": 60})


KIMI = {
    "block_count": 3,
    "attention.head_count_kv": [0, 1, 0],
    "attention.key_length_mla": 48,
    "attention.value_length_mla": 32,
    "attention.kv_lora_rank": 64,
    "rope.dimension_count": 16,
    "ssm.conv_kernel": 4,
    "kda.head_dim": 40,
    "leading_dense_block_count": 1,
    "expert_shared_count": 1,
    "expert_weights_scale": 2.446,
}


@pytest.mark.parametrize("queries", [{}, {"attention.q_lora_rank": 96}], ids=["whole queries", "compressed queries"])
def test_kimi_linear(queries):
    check("kimi-linear", {**KIMI, **SHARED, **queries}, types=("Q8_0",))


LING3 = {
    **KIMI,
    "kda.gate_lower_bound": -5.0,
    "expert_group_count": 2,
    "expert_group_used_count": 1,
    "expert_weights_norm": True,
}
LIMITS = {"swiglu_clamp_exp": [0.0, 0.5, 0.0], "swiglu_clamp_shexp": [0.5, 0.0, 0.25]}
AXES = {"rope.dimension_sections": [4, 2, 2, 0], "attention.q_lora_rank": 96}


@pytest.mark.parametrize("more", [{}, LIMITS, AXES], ids=["plain", "limits", "axes"])
def test_bailingmoe3(more):
    check("bailingmoe3", {**LING3, **SHARED, **more}, types=("Q8_0",))


def test_bailingmoe3_has_bounded_decays():
    name = "bailingmoe3"
    keys = {**LING3, **SHARED, "kda.safe_gate": False}
    metadata = {**tiny_metadata(name), **{f"{name}.{k}": v for k, v in keys.items()}}
    with pytest.raises(GGUFError, match=r"kda\.safe_gate: one of True is needed, found False"):
        registry.default().architecture(name).hparams(ArchMetadata(metadata, name))
