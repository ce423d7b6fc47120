"""Location and names of the parity files: the whole sets next to the checkout or the committed subset, and our own."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from realizar.arch import registry
from realizar.gguf import GGUFFile

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
WHOLE_SET = Path(__file__).parents[3] / "shared" / "parity"
SECOND_SET = WHOLE_SET.parent / "parity2026"  # architectures of 2025 and 2026
OWN_SET = FIXTURES.with_name("parity2026")  # made by tests/tools/make_parity_case.py
EAGLE = FIXTURES.with_name("eagle")  # drafts, made by tests/tools/make_eagle_cases.py
CASES = (
    *("llama", "llama_mha", "llama_tied", "llama3_rope", "llama_linear_rope", "mistral"),
    *("smollm3", "granite", "olmo2", "stablelm", "starcoder2"),
    *("phi", "phi3", "phi3_longrope_long", "phi3_longrope_short"),
    *("mixtral", "qwen2moe", "qwen3moe", "olmoe", "phimoe", "gpt_oss"),
    *("qwen1", "qwen2", "qwen3", "falcon7b", "falcon40b", "gemma", "gemma2", "gemma3", "gpt2", "gptneox"),
    *("mamba", "mamba2", "jamba", "deepseek2", "deepseek3"),
)
ENCODERS = ("bert", "roberta", "xlm_roberta", "nomic_bert")
ANSWERERS = ("t5", "flan_t5")
KINDS = ("causal", "encoder", "rank")  # of the second set; each has a test
GELU_TABLE = ("phi", "falcon7b", "gemma2", "gemma3")  # llama.cpp computes gelu with a table of float16 values
SENSITIVE = ("smollm3",)  # int8 rounding changes its logits by 3.7 % in llama.cpp, those of llama by 1.4 %
REROUTED = ("glm4moe",)  # rounding in the cache changes the experts of an early token, so all logits after it
# Cases in which int8 errors of two implementations differ by more than 10 % by chance: 64 layers of 32 elements, and
# a median over 48 positions, some of which use other experts or attend to other keys. With int16 all errors are below
# 3e-3.
NOISY = ("exaone4_32b", "cohere2moe", "laguna", "glm_dsa")
# Rounding changes the chosen keys in llama.cpp, too, so its error says little where ours is with the keys of the exact
# run; then it is about as large as that of deepseek3.
SPARSE = {"deepseek32": 3e-2, "glm_dsa": 3e-2}
# Transformers' float32 and the rounding of stored logits alone are 2e-5, as is the error of the definitions in float64.
DEEP = {"gemma3n": 3e-5}
FLOAT_TYPES = ("f32", "f16", "bf16")
K_TYPES = ("q2_k", "q3_k_s", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k")
IQ_TYPES = ("iq4_nl", "iq4_xs", "iq3_xxs", "iq3_s", "iq2_xxs", "iq2_xs", "iq2_s", "iq1_s", "iq1_m")
TERNARY_TYPES = ("q1_0", "q2_0", "tq1_0", "tq2_0")
TYPES = (*FLOAT_TYPES, "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", *K_TYPES, "mxfp4_moe", *IQ_TYPES, *TERNARY_TYPES)


def files(root: Path, names: tuple[str, ...] = CASES) -> list[Path]:
    """Return the files under a root of these cases and of the tested types."""
    paths = [root / case / f"model-{name}.gguf" for case in names for name in TYPES]
    return [path for path in paths if path.is_file()]


def compared() -> dict[str, list[str]]:
    """Return the compared cases of each architecture, from the indices of both whole sets."""
    first = json.loads((WHOLE_SET / "index.json").read_text())
    rows = [row for row in first if row["case"] in (*CASES, *ENCODERS, *ANSWERERS)]
    rows += [row for row in second_set() if row["kind"] in KINDS]
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["architecture"], []).append(row["case"])
    return {name: sorted(found[name]) for name in sorted(found)}


@cache
def second_set() -> tuple[dict[str, Any], ...]:
    """Return the rows of the index of the second set: case, architecture, kind and so on."""
    return _rows(SECOND_SET)


@cache
def own_set() -> tuple[dict[str, Any], ...]:
    """Return the rows of the index of the cases that were made for the repository."""
    return _rows(OWN_SET)


def _rows(root: Path) -> tuple[dict[str, Any], ...]:
    index = root / "index.json"
    return tuple(json.loads(index.read_text())) if index.is_file() else ()


def own_files(kind: str) -> list[Path]:
    """Return the files of this kind that were made for the repository."""
    return files(OWN_SET, tuple(row["case"] for row in own_set() if row["kind"] == kind))


def second_files(kind: str) -> list[Path]:
    """Return the files of the second set of this kind whose architecture is registered."""
    known = registry.default().architectures
    return files(
        SECOND_SET,
        tuple(row["case"] for row in second_set() if row["kind"] == kind and row["architecture"] in known),
    )


@cache
def has_experts(path: Path) -> bool:
    """Return whether the model has experts: rounding may then choose other ones, which changes the logits a lot."""
    with GGUFFile(path) as file:
        return bool(file.metadata.get(f"{file.metadata['general.architecture']}.expert_count", 0))


def name(path: Path) -> str:
    """Return a name such as llama/q4_1."""
    return f"{path.parent.name}/{path.stem.removeprefix('model-')}"
