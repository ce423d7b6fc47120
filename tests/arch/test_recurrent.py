"""Architectures with recurrent states, alone or with attention, in every variant of their tensors."""

import pytest

from realizar.arch import registry
from realizar.testing import check_architecture
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
