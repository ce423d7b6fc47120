"""Where the parity files are: the whole sets next to the checkout if they are there, else those that are committed."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from realizar.arch import registry
from realizar.gguf import GGUFFile

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
WHOLE_SET = Path(__file__).parents[3] / "shared" / "parity"
SECOND_SET = WHOLE_SET.parent / "parity2026"  # architectures of 2025 and 2026
CASES = (
    *("llama", "llama_mha", "llama_tied", "llama3_rope", "llama_linear_rope", "mistral"),
    *("smollm3", "granite", "olmo2", "stablelm", "starcoder2"),
    *("phi", "phi3", "phi3_longrope_long", "phi3_longrope_short"),
    *("mixtral", "qwen2moe", "qwen3moe", "olmoe", "phimoe", "gpt_oss"),
    *("qwen1", "qwen2", "qwen3", "falcon7b", "falcon40b", "gemma", "gemma2", "gemma3", "gpt2", "gptneox"),
    *("mamba", "mamba2", "jamba", "deepseek2", "deepseek3"),
)
GELU_TABLE = ("phi", "falcon7b", "gemma2", "gemma3")  # llama.cpp looks gelu up in a table of float16 numbers
SENSITIVE = ("smollm3",)  # roundings to int8 move its logits by 3.7 % in llama.cpp, those of llama by 1.4 %
# Transformers' float32 and the rounding of stored logits alone are 2e-5: as far off is the numpy definition in float64.
DEEP = {"gemma3n": 3e-5}
FLOAT_TYPES = ("f32", "f16", "bf16")
K_TYPES = ("q2_k", "q3_k_s", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k")
TYPES = (*FLOAT_TYPES, "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", *K_TYPES, "mxfp4_moe")


def files(root: Path, names: tuple[str, ...] = CASES) -> list[Path]:
    """Model files under a root that are of these cases and of the types that are computed."""
    paths = [root / case / f"model-{name}.gguf" for case in names for name in TYPES]
    return [path for path in paths if path.is_file()]


@cache
def second_set() -> tuple[dict[str, Any], ...]:
    """The rows of the index of the second set: case, architecture, kind and so on."""
    index = SECOND_SET / "index.json"
    return tuple(json.loads(index.read_text())) if index.is_file() else ()


def second_files(kind: str) -> list[Path]:
    """Model files of the second set that are of this kind and whose architecture is registered."""
    known = registry.default().architectures
    return files(
        SECOND_SET,
        tuple(row["case"] for row in second_set() if row["kind"] == kind and row["architecture"] in known),
    )


@cache
def has_experts(path: Path) -> bool:
    """Whether one rounding may send a token to another expert, which moves its logits a lot."""
    with GGUFFile(path) as file:
        return bool(file.metadata.get(f"{file.metadata['general.architecture']}.expert_count", 0))


def name(path: Path) -> str:
    """llama/q4_1."""
    return f"{path.parent.name}/{path.stem.removeprefix('model-')}"
