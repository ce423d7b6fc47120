"""The models of tools/geometry.py without experts, of families that came after those of tools/geometries.py."""

from __future__ import annotations

from geometries import LAYER, RMS, Geometry, _sizes

GRANITE = {"embedding_scale": 12.0, "residual_scale": 0.22, "logit_scale": 6.0}

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
    # Qwen3.5-0.8B
    "qwen35-0.8b": Geometry(
        "qwen35",
        _sizes(24, 1024, 3584, 8, 2, 256, context=262144, rope__freq_base=1e7, rope__dimension_count=64)
        | {"ssm.conv_kernel": 4, "ssm.inner_size": 2048, "ssm.state_size": 128}
        | {"ssm.time_step_rank": 16, "ssm.group_count": 16}
        | RMS,
        248320,
        tied=True,
    ),
    # ERNIE-4.5-0.3B
    "ernie4_5-0.3b": Geometry(
        "ernie4_5", _sizes(18, 1024, 3072, 16, 2, 128, context=131072, rope__freq_base=5e5) | RMS, 103424, tied=True
    ),
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
}
