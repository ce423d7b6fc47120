"""Names of models on the hub: their parts, and the file that a quantization means."""

import pytest

from realizar.errors import ModelNotFoundError
from realizar.store.hub_names import choose, parse, parts, quantization

FILES = [
    "README.md", "mmproj-model-f16.gguf", "imatrix.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-q8_0.gguf",
    "m-UD-Q4_K_XL.gguf", "BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("hf:o/r", ("o/r", None, None, None)),
        ("hf:o/r:Q4_K_M", ("o/r", None, "Q4_K_M", None)),
        ("hf:o/r@v1.0:Q4_K_M", ("o/r", "v1.0", "Q4_K_M", None)),
        ("hf:o/r@refs%2Fpr%2F1/a/b.gguf", ("o/r", "refs/pr/1", None, "a/b.gguf")),
        ("hf:o/r.x-GGUF/b.gguf", ("o/r.x-GGUF", None, None, "b.gguf")),
    ],
)
def test_parts_of_a_name(name, want):
    assert parse(name) == want


@pytest.mark.parametrize(
    "name", ["hf:", "hf:o", "hf:o/", "hf:o/r:", "hf:o/r@", "hf:o/r/f.txt", "hf:o/r:Q4/f.gguf", "hf:o/r:Q 4", "hf:/r:Q4"]
)
def test_malformed_names(name):
    with pytest.raises(ModelNotFoundError, match="must have the form hf:owner/repo:QUANTIZATION"):
        parse(name)


@pytest.mark.parametrize(
    ("wanted", "want"),
    [
        ("Q4_K_M", "m-Q4_K_M.gguf"),
        ("q4_k_s", "m-Q4_K_S.gguf"),
        ("Q8_0", "m-q8_0.gguf"),
        ("UD-Q4_K_XL", "m-UD-Q4_K_XL.gguf"),
        ("Q4_K_XL", "m-UD-Q4_K_XL.gguf"),
        ("bf16", "BF16/m-BF16-00001-of-00002.gguf"),
    ],
)
def test_quantization_names_a_file(wanted, want):
    assert choose(f"hf:o/r:{wanted}", FILES) == want
    assert choose(f"hf:o/r:{wanted}", FILES[::-1]) == want


def test_no_such_quantization_lists_what_there_is():
    with pytest.raises(ModelNotFoundError) as error:
        choose("hf:o/r:Q4_K_L", FILES)
    assert "has no Q4_K_L, but BF16, Q4_K_M, Q4_K_S, UD-Q4_K_XL, q8_0; did you mean Q4_K_" in str(error.value)
    with pytest.raises(ModelNotFoundError, match="has no Q4, but"):
        choose("hf:o/r:Q4", FILES)  # not all of Q4_K_M, Q4_K_S ...


def test_ambiguous_names_list_the_candidates():
    two = ["a-Q4_K_M.gguf", "b-Q4_K_M.gguf", "b-Q8_0.gguf"]
    with pytest.raises(ModelNotFoundError, match=r"names 2 files.*hf:o/r/FILE: a-Q4_K_M\.gguf, b-Q4_K_M\.gguf$"):
        choose("hf:o/r:Q4_K_M", two)
    with pytest.raises(ModelNotFoundError, match="names 3 files"):
        choose("hf:o/r", two)
    with pytest.raises(ModelNotFoundError, match=r"add one of these, as in hf:o/r:BF16: BF16, Q4_K_M"):
        choose("hf:o/r", FILES)
    many = [f"m{i}-Q4_0.gguf" for i in range(100)]
    with pytest.raises(ModelNotFoundError, match=r"m35-Q4_0\.gguf and 70 more"):
        choose("hf:o/r:Q4_0", many)


def test_repository_with_one_model_or_none():
    assert choose("hf:o/r", ["README.md", "mmproj-a.gguf", "model.gguf"]) == "model.gguf"
    with pytest.raises(ModelNotFoundError, match="no GGUF file"):
        choose("hf:o/r:Q4_0", ["model.safetensors"])


def test_quantization_of_file_names():
    names = ["x.Q4_K_M.gguf", "Q6_K/x-00001-of-00002.gguf", "x-IQ2_XXS.gguf", "x-fp16.gguf", "x-MXFP4.gguf", "x.gguf"]
    assert [quantization(name) for name in names] == ["Q4_K_M", "Q6_K", "IQ2_XXS", "fp16", "MXFP4", None]
    names = ["x-PQ2_0.gguf", "x-PTQ1_0.gguf", "x-NVFP4.gguf", "x-Q1_0.gguf"]
    assert [quantization(name) for name in names] == ["PQ2_0", "PTQ1_0", "NVFP4", "Q1_0"]
    assert parts("a/x-00002-of-00002.gguf") == ["a/x-00001-of-00002.gguf", "a/x-00002-of-00002.gguf"]
