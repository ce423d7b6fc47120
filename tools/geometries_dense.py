"""The models of tools/geometry.py without experts, of families that came after those of tools/geometries.py."""

from __future__ import annotations

from geometries import BIASES, LAYER, RMS, Geometry, _sizes

GRANITE = {"embedding_scale": 12.0, "residual_scale": 0.22, "logit_scale": 6.0}
QKV_BIASES = ("attn_q.bias", "attn_k.bias", "attn_v.bias")
OPENELM_KV = [3 + n for n, count in enumerate((3, 7, 8, 6, 4), 1) for _ in range(count)]  # of each layer
MROPE = {"rope.dimension_sections": [24, 20, 20, 0]}


def hybrid(pattern: str, ff: int, kv: int) -> dict[str, list[int]]:
    """Return Nemotron's per-layer sizes: "M" for a recurrence, "*" for attention, "-" or "E" for a feed-forward."""
    return {
        "feed_forward_length": [ff if kind in "-E" else 0 for kind in pattern],
        "attention.head_count_kv": [kv if kind == "*" else 0 for kind in pattern],
    }


GEOMETRIES = {
    # LFM2-1.2B
    "lfm2-1.2b": Geometry(
        "lfm2",
        _sizes(16, 2048, 8192, 32, context=128000, rope__freq_base=1e6, shortconv__l_cache=3)
        | {"attention.head_count_kv": [8 if i in (2, 5, 8, 10, 12, 14) else 0 for i in range(16)]}
        | RMS,
        65536,
        tied=True,
    ),
    # the defaults of transformers' GraniteSWAConfig with 16 of 24 layers and four fifths of the width
    "granite_swa-1b": Geometry(
        "granite_swa",
        _sizes(16, 2048, 6144, 16, 4, context=8192, attention__sliding_window=128)
        | {"attention.sliding_window_pattern": [i % 4 != 0 for i in range(16)]}
        | RMS,
        100352,
        tied=True,
    ),
    # granite-4.0-h-1b
    "granitehybrid-1b": Geometry(
        "granitehybrid",
        _sizes(40, 1536, 4096, 12, context=131072, attention__scale=0.0078125, rope__scaling__finetuned=False)
        | GRANITE
        | {"attention.head_count_kv": [4 if i % 10 == 5 else 0 for i in range(40)], "ssm.conv_kernel": 4}
        | {"ssm.inner_size": 3072, "ssm.state_size": 128, "ssm.time_step_rank": 48, "ssm.group_count": 1}
        | RMS,
        100352,
        tied=True,
    ),
    # Qwen3.5-0.8B: 24 layers and a draft block
    "qwen35-0.8b": Geometry(
        "qwen35",
        _sizes(25, 1024, 3584, 8, 2, 256, context=262144, rope__freq_base=1e7, rope__dimension_count=64)
        | {"nextn_predict_layers": 1}
        | {"ssm.conv_kernel": 4, "ssm.inner_size": 2048, "ssm.state_size": 128}
        | {"ssm.time_step_rank": 16, "ssm.group_count": 16, "rope.dimension_sections": [11, 11, 10, 0]}
        | RMS,
        248320,
        tied=True,
        optional=("shared_head_norm",),
    ),
    # ERNIE-4.5-0.3B
    "ernie4_5-0.3b": Geometry(
        "ernie4_5", _sizes(18, 1024, 3072, 16, 2, 128, context=131072, rope__freq_base=5e5) | RMS, 103424, tied=True
    ),
    # The language model of PaddleOCR-VL-0.9B
    "paddleocr-0.4b": Geometry(
        "paddleocr",
        _sizes(18, 1024, 3072, 16, 2, 128, context=131072, rope__freq_base=5e5)
        | {"rope.dimension_sections": [16, 24, 24, 0]}
        | RMS,
        103424,
    ),
    # Chameleon-7B with 10 of 32 layers and half the width
    "chameleon-1b": Geometry("chameleon", _sizes(10, 2048, 5504, 16, 16, context=4096) | RMS, 65536),
    # EXAONE-3.5-2.4B with 12 of 30 layers
    "exaone-1b": Geometry(
        "exaone",
        _sizes(12, 2560, 7168, 32, 8, 80, context=32768, rope__freq_base=1e6) | RMS,
        102400,
        tied=True,
        optional=("rope_freqs",),
    ),
    # EXAONE-4.0-1.2B
    "exaone4-1.2b": Geometry(
        "exaone4",
        _sizes(30, 2048, 4096, 32, 8, 64, context=65536, rope__freq_base=1e6) | RMS,
        102400,
        tied=True,
        optional=("rope_freqs",),
    ),
    # Command R (35B) with a quarter of the layers and of the width
    "command-r-1b": Geometry(
        "command-r",
        _sizes(10, 2048, 5632, 16, 16, context=8192, rope__freq_base=8e6, logit_scale=0.0625) | LAYER,
        256000,
        tied=True,
    ),
    # Command R7B with 12 of 32 layers and half the width
    "cohere2-1b": Geometry(
        "cohere2",
        _sizes(12, 2048, 7168, 16, 4, context=8192, rope__freq_base=5e4)
        | {"attention.sliding_window": 4096, "logit_scale": 0.25}
        | LAYER,
        256000,
        tied=True,
    ),
    # Minitron-4B with 16 of 32 layers and half the width
    "nemotron-1b": Geometry("nemotron", _sizes(16, 1536, 4608, 12, 4, 128, rope__dimension_count=64) | LAYER, 256000),
    # Nemotron-3-Nano-4B with 24 of 42 layers and half the width
    "nemotron_h-1b": Geometry(
        "nemotron_h",
        _sizes(24, 1536, 0, 20, 0, 128, context=262144)
        | hybrid("M-M-M*-M-M*-M-M*-M-M*-M-", 6144, 4)
        | {"ssm.conv_kernel": 4, "ssm.inner_size": 3840, "ssm.state_size": 128}
        | {"ssm.time_step_rank": 48, "ssm.group_count": 8}
        | RMS
        | LAYER,
        131072,
    ),
    # Falcon-H1-1.5B
    "falcon-h1-1.5b": Geometry(
        "falcon-h1",
        _sizes(24, 2048, 4096, 8, 2, 128, context=131072, rope__freq_base=1e11)
        | {"ssm.conv_kernel": 4, "ssm.inner_size": 3072, "ssm.state_size": 256}
        | {"ssm.time_step_rank": 48, "ssm.group_count": 1}
        | RMS,
        65537,
    ),
    # glm-edge-1.5b-chat
    "chatglm-1.5b": Geometry(
        "chatglm", _sizes(28, 2048, 6144, 16, 4, 128, context=8192, rope__dimension_count=64) | RMS, 59264
    ),
    # GLM-4-32B-0414 with 12 of 61 layers and a quarter of the width
    "glm4-1b": Geometry(
        "glm4", _sizes(12, 1536, 5888, 12, 2, 128, context=32768, rope__dimension_count=64) | RMS, 151552
    ),
    # Ministral-3-3B with 14 of 26 layers and two thirds of the width
    "mistral3-1b": Geometry(
        "mistral3",
        _sizes(14, 2048, 6144, 20, 4, 128, context=262144, rope__freq_base=1e6)
        | {"rope.scaling.type": "yarn", "rope.scaling.factor": 16.0, "rope.scaling.original_context_length": 16384}
        | {"rope.scaling.yarn_log_multiplier": 1.0, "attention.temperature_scale": 0.1}
        | RMS,
        131072,
        tied=True,
    ),
    # the language model of Qwen2-VL-2B
    "qwen2vl-1.5b": Geometry(
        "qwen2vl",
        _sizes(28, 1536, 8960, 12, 2, 128, context=32768, rope__freq_base=1e6)
        | {"rope.dimension_sections": [16, 24, 24, 0]}
        | RMS,
        151936,
        tied=True,
    ),
    # the language model of Qwen3-VL-2B
    "qwen3vl-1.7b": Geometry(
        "qwen3vl",
        _sizes(28, 2048, 6144, 16, 8, 128, context=262144, rope__freq_base=5e6) | MROPE | RMS,
        151936,
        tied=True,
    ),
    # Muse-Glimmer-30B with 12 of 52 layers and a quarter of the width
    "muse-glimmer-1b": Geometry(
        "muse-glimmer",
        _sizes(12, 1536, 4608, 16, 2, 128, context=131072, attention__sliding_window=2048)
        | {"final_logit_softcapping": 20.0, "logit_scale": 0.19611613513818404}
        | RMS,
        202048,
    ),
    # Apertus-8B with 10 of 32 layers and half the width
    "apertus-1b": Geometry(
        "apertus",
        _sizes(10, 2048, 10752, 16, 4, context=65536, rope__freq_base=1.2e7) | RMS,
        131072,
        keys={"xielu.alpha_p": 0.2034, "xielu.alpha_n": -1.0502, "xielu.beta": 0.5, "xielu.eps": -1e-6},
        optional=("rope_freqs",),
    ),
    # AFM-4.5B with 10 of 36 layers and four fifths of the width
    "arcee-1b": Geometry("arcee", _sizes(10, 2048, 14336, 16, 4, 128, context=65536) | RMS, 128000),
    # bitnet_b1_58-large, in other formats
    "bitnet-0.7b": Geometry("bitnet", _sizes(24, 1536, 4096, 16, 16, context=2048) | RMS, 32002, tied=True),
    # bloom-1b1
    "bloom-1.1b": Geometry("bloom", _sizes(24, 1536, 6144, 16, 16, context=2048) | LAYER, 250880, tied=True),
    # mpt-7b with 20 of 32 layers and half the width
    "mpt-1b": Geometry(
        "mpt",
        _sizes(20, 2048, 8192, 16, 16, context=2048, attention__max_alibi_bias=8.0) | LAYER,
        50432,
        tied=True,
    ),
    # Hunyuan-1.8B with 20 of 32 layers
    "hunyuan-dense-1b": Geometry(
        "hunyuan-dense",
        _sizes(20, 2048, 6144, 16, 4, 128, context=262144, rope__freq_base=1.1e7) | RMS,
        120818,
        tied=True,
    ),
    # Jais-2-8B with 12 of 32 layers and less than half the width
    "jais2-1b": Geometry(
        "jais2",
        _sizes(12, 1536, 12288, 12, 12, context=8192, rope__freq_base=5e5) | LAYER,
        150272,
        optional=(*QKV_BIASES, *BIASES),
    ),
    # internlm2-1.8b with 12 of 24 layers
    "internlm2-1b": Geometry(
        "internlm2", _sizes(12, 2048, 8192, 16, 8, context=32768, rope__freq_base=1e6) | RMS, 92544
    ),
    # Maincoder-1B
    "maincoder-1b": Geometry(
        "maincoder", _sizes(32, 1536, 4096, 16, 4, 96, context=2048, rope__freq_base=1e6) | RMS, 151936, tied=True
    ),
    # Orion-14B with 12 of 40 layers and two fifths of the width
    "orion-1b": Geometry("orion", _sizes(12, 2048, 6144, 16, 16) | LAYER, 84608),
    # Seed-OSS-36B with 12 of 64 layers and three tenths of the width
    "seed_oss-1b": Geometry(
        "seed_oss",
        _sizes(12, 1536, 8192, 20, 2, 128, context=524288, rope__freq_base=1e7) | RMS,
        155136,
        optional=QKV_BIASES,
    ),
    # XVERSE-7B with 12 of 32 layers and half the width
    "xverse-1b": Geometry("xverse", _sizes(12, 2048, 5632, 16, 16, context=8192, rope__freq_base=5e5) | RMS, 100534),
    # MiniCPM-1B
    "minicpm-1.4b": Geometry(
        "minicpm",
        _sizes(52, 1536, 3840, 24, 8, embedding_scale=12.0, residual_scale=1.4 / 52**0.5, logit_scale=6.0) | RMS,
        73440,
        tied=True,
    ),
    # MiniCPM3-4B with 14 of 62 layers
    "minicpm3-1b": Geometry(
        "minicpm3",
        _sizes(14, 2560, 6400, 40, 40, context=32768, rope__dimension_count=32)
        | {"attention.q_lora_rank": 768, "attention.kv_lora_rank": 256}
        | {"attention.key_length": 96, "attention.value_length": 64}
        | {"rope.scaling.original_context_length": 32768}
        | RMS,
        73448,
        tied=True,
        optional=("rope_factors_short",),
    ),
    # PLM-1.8B with 20 of 32 layers
    "plm-1b": Geometry(
        "plm",
        _sizes(20, 2048, 8192, 16, 16, rope__freq_base=1e5, rope__dimension_count=64, attention__kv_lora_rank=512)
        | {"attention.key_length": 192, "attention.value_length": 128}
        | RMS,
        151936,
        tied=True,
    ),
    # OLMo-1B
    "olmo-1b": Geometry("olmo", _sizes(16, 2048, 8192, 16, 16, context=2048) | LAYER, 50304, tied=True),
    # OpenELM-1_1B
    "openelm-1b": Geometry(
        "openelm",
        _sizes(28, 2048, 0, head=64, context=2048)
        | {"attention.head_count": [4 * n for n in OPENELM_KV], "attention.head_count_kv": OPENELM_KV}
        | {"feed_forward_length": [256 * round(8 * (0.5 + 3.5 * i / 27)) for i in range(28)]}
        | RMS,
        32000,
        tied=True,
    ),
}
