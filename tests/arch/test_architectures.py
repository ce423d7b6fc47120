"""Every shipped architecture, and one of a third-party package, passes the conformance kit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from realizar.arch import ArchMetadata, registry
from realizar.errors import GGUFError, ParameterError
from realizar.testing import Session, check_architecture, check_same_bits, tiny_metadata, tiny_model
from tests.isa import LEVELS, TYPES, every

TOY = Path(__file__).parents[1] / "thirdparty" / "realizar_toy"


DENSE = (
    *("llama", "smollm3", "granite", "olmo2", "stablelm", "starcoder2", "phi2", "phi3", "qwen", "qwen2", "qwen3"),
    *("falcon", "gemma", "gemma2", "gemma3", "gpt2", "gptneox"),
)
LONGROPE = {
    "rope.scaling.type": "longrope",
    "rope.scaling.original_context_length": 64,
    "rope.scaling.attn_factor": 1.2,
}
VARIANTS = {
    "llama with a window": ("llama", {"attention.sliding_window": 16}),
    "llama with the long factors": ("llama", LONGROPE),
    "llama with the short factors": ("llama", {**LONGROPE, "rope.scaling.original_context_length": 128}),
    "smollm3 with a layer without positions": ("smollm3", {"block_count": 4}),
    "granite": (
        "granite",
        {"embedding_scale": 12.0, "residual_scale": 0.22, "attention.scale": 0.2, "logit_scale": 8.0},
    ),
    "granite without positions": ("granite", {"rope.scaling.finetuned": False}),
    "olmo2 with windows": (
        "olmo2",
        {"attention.sliding_window": 16, "attention.sliding_window_pattern": 2, "rope.scaling.type": "yarn",
         "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64},
    ),
    "stablelm with some elements rotated": ("stablelm", {"rope.dimension_count": 16}),
    "starcoder2 with a window": ("starcoder2", {"attention.sliding_window": 16}),
    "phi3 with the long factors, partly rotated": (
        "phi3",
        {"rope.dimension_count": 48, "rope.scaling.attn_factor": 1.2, "rope.scaling.original_context_length": 32},
    ),
    "phi3 with a window": ("phi3", {"attention.sliding_window": 16}),
    "falcon with one KV head": ("falcon", {"attention.head_count_kv": 1}),
    "gemma with a head size of its own": ("gemma", {"attention.key_length": 96, "attention.value_length": 96}),
    "gemma2 with a narrow window": (
        "gemma2",
        {"attention.sliding_window": 16, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 2.0},
    ),
    "gemma2 without caps": ("gemma2", {"attn_logit_softcapping": 0.0, "final_logit_softcapping": 0.0}),
    "gemma3 with a narrow window": (
        "gemma3",
        {"attention.sliding_window": 16, "block_count": 6, "rope.freq_base": 1e6, "rope.scaling.type": "linear",
         "rope.scaling.factor": 8.0, "final_logit_softcapping": 5.0},
    ),
    "gptneox one after the other": ("gptneox", {"use_parallel_residual": False, "rope.dimension_count": 16}),
}  # fmt: skip


@pytest.mark.parametrize("name", DENSE)
def test_shipped(name):
    check_architecture(registry.default().architecture(name), types=TYPES, isa_levels=LEVELS)


@pytest.mark.parametrize("name", every(2, DENSE))
def test_shipped_on_the_scalar_level(name, tmp_path):
    with tiny_model(registry.default().architecture(name), tiny_metadata(name), "Q8_0", tmp_path) as model:
        check_same_bits(model, "decode", ("scalar",))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("llama", {}),
        ("olmoe", {}),
        ("qwen2moe", {"expert_feed_forward_length": 256, "expert_shared_feed_forward_length": 512}),
        ("qwen3moe", {"expert_feed_forward_length": 256, "expert_weights_scale": 1.5}),
        ("phimoe", {}),
        ("gpt-oss", {"attention.sliding_window": 16}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_experts(name, keys):
    keys = {"expert_count": 4, "expert_used_count": 2, **keys}
    metadata = {f"{name}.{key}": value for key, value in keys.items()}
    types = ("Q8_0", "MXFP4" if name == "gpt-oss" else "Q4_K")
    check_architecture(registry.default().architecture(name), metadata, types=types, isa_levels=LEVELS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant):
    name, keys = VARIANTS[variant]
    metadata = {f"{name}.{key}": value for key, value in keys.items()}
    check_architecture(registry.default().architecture(name), metadata, types=("Q4_K",), isa_levels=LEVELS)


T5 = {"attention.relative_buckets_count": 32, "decoder_start_token_id": 0}
ENCODERS = {
    "bert": ("bert", {}),
    "bert with two types": ("bert", {"tokenizer.ggml.token_type_count": 2}),
    "nomic-bert": ("nomic-bert", {}),
    "jina-bert-v2": ("jina-bert-v2", {"attention.head_count_kv": 4}),
    "jina-bert-v2 with six heads": ("jina-bert-v2", {"attention.head_count": 6, "attention.head_count_kv": 6,
                                                     "attention.key_length": 32, "attention.value_length": 32}),
    "t5encoder": ("t5encoder", T5),
    "t5": ("t5", T5),
    "t5 with a short decoder and wide heads": (
        "t5",
        {**T5, "decoder_block_count": 1, "attention.relative_buckets_count": 20, "attention.key_length": 96,
         "attention.value_length": 96},
    ),
}  # fmt: skip


@pytest.mark.parametrize("variant", ENCODERS)
def test_encoders(variant):
    name, keys = ENCODERS[variant]
    metadata = {key if key.startswith("tokenizer.") else f"{name}.{key}": value for key, value in keys.items()}
    check_architecture(registry.default().architecture(name), metadata, types=("F32", "Q4_K"), isa_levels=LEVELS)


def test_sliding_window_flags():
    keys = {"attention.sliding_window": 16, "attention.sliding_window_pattern": np.array([True, False])}
    hp = hparams("gemma2", keys)
    assert [hp.windows[i] for i in range(2)] == [16, 0]
    for wrong in ({"block_count": 3}, *({"attention.sliding_window_pattern": v} for v in ("x", 1.5, ["a", "b"], True))):
        with pytest.raises(GGUFError, match="sliding_window_pattern"):
            hparams("gemma2", {**keys, **wrong})


def test_attention_scale_of_the_largest_gemmas():
    keys = {"block_count": 46, "attention.key_length": 128}
    assert hparams("gemma2", keys).attn_scale == 64**-0.5
    assert hparams("gemma2", {**keys, "block_count": 45}).attn_scale == 128**-0.5


def hparams(name, keys):
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in keys.items()}}
    return registry.default().architecture(name).hparams(ArchMetadata(metadata, name))


def test_context_longer_than_the_position_table(tmp_path):
    keys = {**tiny_metadata("gpt2"), "gpt2.context_length": 64}
    wrong = pytest.raises(ParameterError, match=r"n_ctx=128: position_embd\.weight has only 64 positions")
    with tiny_model(registry.default().architecture("gpt2"), keys, "F32", tmp_path) as model, wrong:
        Session(model, model.plan())


def test_rope_scaling_variants():
    llama = registry.default().architecture("llama")
    for scaling in ("linear", "yarn"):
        keys = {"rope.scaling.type": scaling, "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64}
        check_architecture(
            llama, {f"llama.{key}": value for key, value in keys.items()}, types=("Q8_0",), isa_levels=LEVELS
        )


@pytest.mark.slow
def test_third_party(tmp_path):
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*install, str(tmp_path), str(TOY)], check=True)
    code = (
        "from realizar.arch import registry\n"
        "from realizar.testing import check_architecture\n"
        "r = registry.default()\n"
        "assert r.origins['architecture toy'] == 'toy', r.origins\n"
        "check_architecture(r.architecture('toy'), types=('Q8_0',))\n"
        "print('passed')\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "passed", run.stderr
