"""Location and names of the parity files: the whole set next to the checkout, or the committed subset."""

from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
WHOLE_SET = Path(__file__).parents[3] / "shared" / "parity"
CASES = (
    *("llama", "llama_mha", "llama_tied", "llama3_rope", "llama_linear_rope", "mistral"),
    *("smollm3", "granite", "olmo2", "stablelm", "starcoder2"),
    *("phi", "phi3", "phi3_longrope_long", "phi3_longrope_short"),
    *("mixtral", "qwen2moe", "qwen3moe", "olmoe", "phimoe", "gpt_oss"),
    *("qwen1", "qwen2", "qwen3", "falcon7b", "falcon40b", "gemma", "gemma2", "gemma3", "gpt2", "gptneox"),
    *("mamba", "mamba2", "jamba", "deepseek2", "deepseek3"),
)
GELU_TABLE = ("phi", "falcon7b", "gemma2", "gemma3")  # llama.cpp computes gelu with a table of float16 values
SENSITIVE = ("smollm3",)  # int8 rounding changes its logits by 3.7 % in llama.cpp, those of llama by 1.4 %
# In these, rounding may route a token to another expert, which changes its logits a lot.
EXPERTS = ("mixtral", "qwen2moe", "qwen3moe", "olmoe", "phimoe", "gpt_oss", "jamba", "deepseek2", "deepseek3")
FLOAT_TYPES = ("f32", "f16", "bf16")
K_TYPES = ("q2_k", "q3_k_s", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k")
TYPES = (*FLOAT_TYPES, "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", *K_TYPES, "mxfp4_moe")


def files(root: Path) -> list[Path]:
    """Return the files under a root whose case and type are tested."""
    paths = [root / case / f"model-{name}.gguf" for case in CASES for name in TYPES]
    return [path for path in paths if path.is_file()]


def name(path: Path) -> str:
    """Return a name such as llama/q4_1."""
    return f"{path.parent.name}/{path.stem.removeprefix('model-')}"
