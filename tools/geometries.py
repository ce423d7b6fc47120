"""The models that tools/geometry.py writes: phi-2, Llama-3.2-1B, and one of about 1 B parameters per architecture.

Sizes are those of a published model of about that size, otherwise of a larger one with fewer and narrower layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Geometry:
    """Everything that defines a model file except the values of its weights.

    Attributes
    ----------
    architecture : str
    sizes : dict
        Metadata prefixed with the architecture's name.
    n_vocab : int
        Size of the vocabulary, padded with unused tokens.
    n_merges : int
        Number of tokens made by merges, after the 256 byte tokens.
    special : tuple[str, ...]
        Special tokens, after those.
    pretokenizer : str
    keys : dict
        Other metadata.
    tied : bool
        Whether the output matrix is tied to the embedding.
    optional : tuple of str
        Optional tensors that this file has: full names, or their last parts for all layers (the last two for biases).
    unused : dict
        Shapes of tensors that llama.cpp demands although no equation uses them; float32.
    n_draft_vocab : int
        Of a draft of EAGLE-3, the tokens of which it has logits: here the first ones.
    """

    architecture: str
    sizes: Mapping[str, Any]
    n_vocab: int
    n_merges: int = 30000
    special: tuple[str, ...] = ("<|endoftext|>",)
    pretokenizer: str = "gpt-2"
    keys: Mapping[str, Any] = field(default_factory=dict)
    tied: bool = False
    optional: tuple[str, ...] = ()
    unused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    n_draft_vocab: int = 0


ENCODER = {"attention.causal": False, "pooling_type": 1}
RMS, LAYER = {"attention.layer_norm_rms_epsilon": 1e-5}, {"attention.layer_norm_epsilon": 1e-5}


def _sizes(layers: int, embd: int, ff: int, heads: int = 0, kv: int = 0, head: int = 0, **more: Any) -> dict[str, Any]:
    """Return the keys that nearly all models have; `__` in `more` stands for a dot."""
    sizes: dict[str, Any] = {
        "block_count": layers,
        "embedding_length": embd,
        "feed_forward_length": ff,
        "context_length": more.pop("context", 4096),
        "attention.head_count": heads,
    }
    if kv:
        sizes["attention.head_count_kv"] = kv
    if head:
        sizes.update({"attention.key_length": head, "attention.value_length": head})
    return {**sizes, **{key.replace("__", "."): value for key, value in more.items()}}


def _moe(experts: int, used: int, ff: int) -> dict[str, int]:
    return {"expert_count": experts, "expert_used_count": used, "expert_feed_forward_length": ff}


def _ranks(decay: int, rate: int, values: int, gate: int) -> dict[str, int]:
    """Return RWKV's head size and ranks."""
    ranks = {"decay": decay, "iclr": rate, "value_residual_mix": values, "gate": gate}
    return {"wkv.head_size": 64, **{f"attention.{name}_lora_rank": rank for name, rank in ranks.items()}}


def _first_values(embd: int, rank: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors by which RWKV's first layer would mix its values with those of the first layer."""
    return {f"blk.0.time_mix_v{j}.weight": shape for j, shape in enumerate(((embd,), (rank, embd), (embd, rank)))}


def _bos(token: int, eos: int, add: bool) -> dict[str, Any]:
    return {
        "tokenizer.ggml.bos_token_id": token, "tokenizer.ggml.eos_token_id": eos, "tokenizer.ggml.add_bos_token": add,
    }  # fmt: skip


def _encoder(heads: int, **more: Any) -> dict[str, Any]:
    return {**_sizes(36, 1536, 6144, heads, context=512, **more), **LAYER, **ENCODER}


# https://huggingface.co/microsoft/phi-2/blob/main/config.json, as first converted, with fused q, k and v.
PHI_2 = Geometry(
    "phi2", _sizes(32, 2560, 10240, 32, 32, context=2048, rope__dimension_count=32) | LAYER, 51200, n_merges=50000,
    keys=_bos(50256, 50256, False),
)  # fmt: skip
# https://huggingface.co/meta-llama/Llama-3.2-1B/blob/main/config.json
LLAMA_3_2_1B = Geometry(
    "llama",
    _sizes(16, 2048, 8192, 32, 8, 64, context=131072, rope__dimension_count=64, rope__freq_base=5e5, vocab_size=128256)
    | RMS,
    128256,
    n_merges=127744,
    special=("<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{i}|>" for i in range(254))),
    pretokenizer="llama-bpe",
    keys=_bos(128000, 128001, True),
    tied=True,
    optional=("rope_freqs",),
)
LLAMA_3_2_1B_EAGLE3 = replace(
    LLAMA_3_2_1B,
    architecture="eagle3",
    sizes={**LLAMA_3_2_1B.sizes, "block_count": 1, "target_layers": [2, 8, 13], "target_hidden_size": 2048},
    tied=False,
    optional=("output",),
    n_draft_vocab=32000,
)
"""A draft with the sizes of published ones (yuhuili/EAGLE3-LLaMA3.1-Instruct-8B) for the narrower model."""
T5 = _sizes(24, 1024, 2816, 16, 0, 64, context=512, attention__relative_buckets_count=32) | LAYER | RMS
BIASES = ("attn_output.bias", "ffn_up.bias", "ffn_down.bias")
TYPES = {"tokenizer.ggml.token_type_count": 2}
GEMMA4 = {
    "context": 131072, "rope__freq_base": 1e6, "rope__dimension_count_swa": 256, "attention__sliding_window": 512,
    "attention__key_length_swa": 256, "attention__value_length_swa": 256, "final_logit_softcapping": 30.0,
    "attention__sliding_window_pattern": [i % 6 != 5 for i in range(12)],
}  # fmt: skip
SSM = {"ssm.conv_kernel": 4, "ssm.inner_size": 4096}

GEOMETRIES = {
    "phi-2": PHI_2,
    "llama-3.2-1b": LLAMA_3_2_1B,
    "llama-3.2-1b-eagle3": LLAMA_3_2_1B_EAGLE3,
    "mixtral-1b": Geometry("llama", _sizes(12, 1024, 3584, 16, 8) | _moe(8, 2, 3584) | RMS, 32000),
    "granite-1b": Geometry(
        "granite",
        _sizes(
            20, 2048, 6144, 32, 8, attention__scale=0.015625, embedding_scale=12.0, residual_scale=0.22, logit_scale=8.0
        )
        | RMS,
        49152,
        tied=True,
    ),
    "smollm3-1b": Geometry("smollm3", _sizes(16, 2048, 8192, 16, 4, rope__freq_base=5e6) | RMS, 49152, tied=True),
    "olmo2-1b": Geometry("olmo2", _sizes(16, 2048, 8192, 16, 16, rope__freq_base=5e5) | RMS, 100352),
    "stablelm-1.6b": Geometry(
        "stablelm",
        _sizes(24, 2048, 5632, 32, 32, rope__dimension_count=16, use_parallel_residual=False) | LAYER,
        100352,
        optional=("ffn_norm",),
    ),
    "starcoder2-1b": Geometry(
        "starcoder2",
        _sizes(24, 2048, 8192, 16, 2, rope__freq_base=1e5) | LAYER,
        49152,
        tied=True,
        optional=tuple(f"{name}.bias" for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down")),
    ),
    "phi3-1b": Geometry(
        "phi3",
        _sizes(16, 2048, 8192, 32, 32, rope__dimension_count=64, rope__scaling__original_context_length=4096) | RMS,
        32000,
    ),
    "phimoe-1b": Geometry(
        "phimoe", _sizes(12, 1024, 1792, 16, 4, rope__dimension_count=64) | _moe(16, 2, 1792) | RMS, 32000
    ),
    "qwen-1b": Geometry("qwen", _sizes(20, 2048, 10240, 16) | LAYER | RMS, 50176),
    "qwen2-1b": Geometry("qwen2", _sizes(20, 1536, 8960, 12, 2, rope__freq_base=1e6) | RMS, 151936, tied=True),
    "qwen2moe-1b": Geometry(
        "qwen2moe",
        _sizes(16, 1024, 2816, 16, 16, rope__freq_base=1e6, expert_shared_feed_forward_length=2048)
        | _moe(32, 4, 512)
        | RMS,
        50176,
    ),
    "qwen3-1b": Geometry("qwen3", _sizes(20, 2048, 6144, 16, 8, 128, rope__freq_base=1e6) | RMS, 50176, tied=True),
    "qwen3moe-1b": Geometry(
        "qwen3moe", _sizes(18, 1024, 3072, 16, 4, 128, rope__freq_base=1e6) | _moe(32, 8, 512) | RMS, 50176
    ),
    "olmoe-1b": Geometry("olmoe", _sizes(12, 1024, 1024, 16, 16) | _moe(24, 8, 1024) | RMS, 50176),
    "falcon-1b": Geometry("falcon", _sizes(22, 2048, 8192, 32, 1, context=2048) | LAYER, 65024, tied=True),
    "falcon-40b-like-1b": Geometry(
        "falcon", _sizes(20, 2048, 8192, 32, 8, context=2048) | LAYER, 65024, optional=("attn_norm_2",)
    ),
    "gemma-1b": Geometry("gemma", _sizes(12, 2048, 8192, 8, 1, 256) | RMS, 256000, tied=True),
    "gemma2-1b": Geometry(
        "gemma2",
        _sizes(
            12,
            2048,
            8192,
            8,
            4,
            256,
            attention__sliding_window=4096,
            attn_logit_softcapping=50.0,
            final_logit_softcapping=30.0,
        )
        | RMS,
        256000,
        tied=True,
    ),
    "gemma3-1b": Geometry(
        "gemma3",
        _sizes(26, 1152, 6912, 4, 1, 256, context=32768, rope__freq_base=1e6, attention__sliding_window=512) | RMS,
        262144,
        tied=True,
    ),
    # E4B with 12 of 42 layers, of which 6 of 18 share keys and values, and the width of E2B
    "gemma4-e4b-like-1b": Geometry(
        "gemma4",
        _sizes(12, 1536, 6144, 8, 2, 512, **GEMMA4, attention__shared_kv_layers=6, embedding_length_per_layer_input=256)
        | RMS,
        262144,
        tied=True,
        optional=("attn_v", "layer_output_scale"),
    ),
    # 26B-A4B with 12 of 30 layers, a quarter of the experts and little more than a third of the width
    "gemma4-26b-like-1b": Geometry(
        "gemma4",
        _sizes(12, 1024, 2112, 16, 0, 512, **GEMMA4)
        | {"attention.head_count_kv": [2 if i % 6 == 5 else 8 for i in range(12)]}
        | _moe(32, 8, 704)
        | RMS,
        262144,
        tied=True,
        optional=(*(f"blk.{i}.attn_v" for i in range(12) if i % 6 != 5), "layer_output_scale"),
    ),
    "gemma3n-1b": Geometry(
        "gemma3n",
        _sizes(
            10,
            1536,
            8192,
            8,
            2,
            256,
            context=32768,
            rope__freq_base=1e6,
            attention__sliding_window=512,
            attention__shared_kv_layers=5,
            embedding_length_per_layer_input=256,
            activation_sparsity_scale=[1.6448536] * 3 + [-float("inf")] * 7,
        )
        | RMS,
        262144,
        tied=True,
        optional=("attn_v",),
    ),
    "gpt2-1b": Geometry("gpt2", _sizes(32, 1536, 6144, 24, context=1024) | LAYER, 50304, tied=True),
    "pythia-1b": Geometry(
        "gptneox", _sizes(16, 2048, 8192, 8, rope__dimension_count=64, use_parallel_residual=True) | LAYER, 50304
    ),
    "gpt-oss-1b": Geometry(
        "gpt-oss",
        _sizes(10, 1024, 1024, 16, 4, 64, attention__sliding_window=128, rope__freq_base=150000.0)
        | _moe(32, 4, 1024)
        | RMS,
        50176,
    ),
    "deepseek2-1b": Geometry(
        "deepseek2",
        _sizes(
            12,
            1024,
            5632,
            16,
            1,
            rope__dimension_count=64,
            leading_dense_block_count=1,
            expert_shared_count=2,
            expert_weights_scale=1.0,
            expert_gating_func=1,
            attention__q_lora_rank=768,
            attention__kv_lora_rank=512,
            attention__key_length=576,
            attention__value_length=512,
            attention__key_length_mla=192,
            attention__value_length_mla=128,
        )
        | _moe(32, 6, 768)
        | RMS,
        50176,
    ),
    "mamba-1.4b": Geometry(
        "mamba", _sizes(48, 2048, 0) | SSM | {"ssm.state_size": 16, "ssm.time_step_rank": 128} | RMS, 50304, tied=True
    ),
    "mamba2-1.3b": Geometry(
        "mamba2",
        _sizes(48, 2048, 0) | SSM | {"ssm.state_size": 128, "ssm.time_step_rank": 64, "ssm.group_count": 1} | RMS,
        50304,
        tied=True,
    ),
    # RWKV7-Goose-World3-1.5B
    "rwkv7-1.5b": Geometry(
        "rwkv7",
        _sizes(24, 2048, 8192, context=1 << 20) | LAYER | _ranks(96, 96, 64, 256),
        65536,
        unused=_first_values(2048, 96),
    ),
    # ARWKV-R1-1B5 with 20 of 28 layers
    "arwkv7-1.5b": Geometry(
        "arwkv7",
        _sizes(20, 1536, 8960, context=1 << 20, token_shift_count=1) | RMS | _ranks(64, 64, 32, 128),
        151936,
        optional=("time_mix_ln",),
        unused=_first_values(1536, 64),
    ),
    "jamba-1b": Geometry(
        "jamba",
        _sizes(16, 1024, 2304, 16, expert_count=16, expert_used_count=2)
        | {"attention.head_count_kv": [4 if i % 8 == 4 else 0 for i in range(16)], "ssm.conv_kernel": 4}
        | {"ssm.inner_size": 2048, "ssm.state_size": 16, "ssm.time_step_rank": 64}
        | RMS,
        65536,
        optional=tuple(f"blk.{i}.ffn_gate_inp" for i in range(1, 16, 2)),
    ),
    "bert-1b": Geometry("bert", _encoder(24), 30720, keys=TYPES, optional=("token_types", "attn_qkv.bias", *BIASES)),
    "nomic-bert-1b": Geometry(
        "nomic-bert", _encoder(24, rope__freq_base=1000.0), 30720, keys=TYPES, optional=("token_types",)
    ),
    "jina-bert-v2-1b": Geometry("jina-bert-v2", _encoder(24), 30720, keys=TYPES, optional=("token_types", *BIASES)),
    # nomic-embed-text-v2-moe
    "nomic-bert-moe-0.5b": Geometry(
        "nomic-bert-moe",
        _sizes(12, 768, 3072, 12, context=512, moe_every_n_layers=2) | _moe(8, 2, 3072) | LAYER | ENCODER,
        250048,
        keys={"tokenizer.ggml.token_type_count": 1},
        optional=("token_types", "attn_qkv.bias", *BIASES, *(f"blk.{i}.ffn_gate_inp" for i in range(1, 12, 2))),
    ),
    # jina-embeddings-v3
    "jina-bert-v3-0.6b": Geometry(
        "jina-bert-v3",
        _sizes(24, 1024, 4096, 16, context=8192, rope__freq_base=2e4) | LAYER | ENCODER,
        250002,
        keys={"tokenizer.ggml.token_type_count": 1},
        optional=("token_types", "attn_qkv.bias", *BIASES),
    ),
    # ModernBERT-large
    "modern-bert-0.4b": Geometry(
        "modern-bert",
        _sizes(28, 1024, 2624, 16, context=8192, rope__freq_base=1.6e5, rope__freq_base_swa=1e4)
        | {"attention.sliding_window": 128}
        | LAYER
        | ENCODER,
        50368,
    ),
    # NeoBERT with twice the width
    "neo-bert-1b": Geometry("neo-bert", _sizes(28, 1536, 4096, 24) | RMS | ENCODER, 30592),
    # EuroBERT-610m
    "eurobert-0.6b": Geometry(
        "eurobert", _sizes(26, 1152, 4096, 18, 6, context=8192, rope__freq_base=2.5e5) | RMS | ENCODER, 128256
    ),
    # Llama-Embed-Nemotron-8B with the sizes of Llama-3.2-1B
    "llama-embed-1b": Geometry("llama-embed", {**LLAMA_3_2_1B.sizes, **ENCODER}, 128256, optional=("rope_freqs",)),
    # embeddinggemma-300m
    "gemma-embedding-0.3b": Geometry(
        "gemma-embedding",
        _sizes(24, 768, 1152, 3, 1, 256, context=2048, rope__freq_base=1e6, attention__sliding_window=512)
        | {"dense_2_feat_in": 768, "dense_2_feat_out": 3072, "dense_3_feat_in": 3072, "dense_3_feat_out": 768}
        | RMS
        | ENCODER,
        262144,
        optional=("dense_2", "dense_3"),
    ),
    "flan-t5-large": Geometry(
        "t5", T5 | {"decoder_block_count": 24, "decoder_start_token_id": 0}, 32128, optional=("ffn_gate",)
    ),
    "t5encoder-1b": Geometry(
        "t5encoder",
        T5 | {"embedding_length": 2048, "feed_forward_length": 5120, "attention.head_count": 32},
        32128,
        optional=("ffn_gate",),
    ),
}
