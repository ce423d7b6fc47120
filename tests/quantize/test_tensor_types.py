"""Which type each tensor gets: recipes, overrides, fall-backs."""

from __future__ import annotations

from typing import Any

import pytest

from realizar.errors import ParameterError
from realizar.gguf import GGMLType
from realizar.quantize.recipes import ALIASES, RECIPES, find_recipe
from realizar.quantize.tensor_types import plan_types

N_LAYER = 16


def llama(n_layer: int = N_LAYER, k: int = 256, **metadata: Any) -> tuple[list[Any], dict[str, Any]]:
    """Tensors of a llama with some metadata."""
    names = ["token_embd.weight", "output.weight", "output_norm.weight"]
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "attn_norm", "ffn_gate", "ffn_up", "ffn_down")
    names += [f"blk.{i}.{part}.weight" for i in range(n_layer) for part in parts]
    tensors = [(name, (k,) if "norm" in name else (8, k), GGMLType.F32) for name in names]
    keys = {"block_count": n_layer, "attention.head_count": 8, "attention.head_count_kv": 8, **metadata}
    return tensors, {"general.architecture": "llama", **{f"llama.{key}": value for key, value in keys.items()}}


def planned(recipe: str, model: tuple[list[Any], dict[str, Any]], **more: Any) -> dict[str, str]:
    return {plan.name: plan.target.name for plan in plan_types(*model, find_recipe(recipe), **more)}


def of(types: dict[str, str], part: str) -> list[str]:
    return [types[f"blk.{i}.{part}.weight"] for i in range(N_LAYER)]


def test_more_bits_for_half_of_the_layers() -> None:
    types = planned("Q4_K_M", llama())
    more = [i < 2 or i >= 14 or (i - 2) % 3 == 2 for i in range(N_LAYER)]
    wanted = ["Q6_K" if one else "Q4_K" for one in more]
    assert of(types, "ffn_down") == of(types, "attn_v") == wanted
    assert set(of(types, "attn_q") + of(types, "ffn_up")) == {"Q4_K"}
    assert types["output.weight"] == "Q6_K"
    assert types["token_embd.weight"] == "Q4_K"
    assert types["blk.0.attn_norm.weight"] == types["output_norm.weight"] == "F32"


def test_the_embedding_is_the_output_of_a_tied_model() -> None:
    tensors, metadata = llama()
    tied = [tensor for tensor in tensors if tensor[0] != "output.weight"]
    assert planned("Q4_K_M", (tied, metadata))["token_embd.weight"] == "Q6_K"
    assert planned("Q8_0", (tied, metadata))["token_embd.weight"] == "Q8_0"


def test_more_bits_for_a_small_v() -> None:
    assert set(of(planned("Q2_K", llama()), "attn_v")) == {"Q3_K"}
    assert set(of(planned("Q2_K", llama(**{"attention.head_count_kv": [2] * N_LAYER})), "attn_v")) == {"Q4_K"}
    large = planned("Q3_K_M", llama(80, **{"attention.head_count_kv": 1}))
    assert {large[f"blk.{i}.attn_v.weight"] for i in range(80)} == {"Q5_K"}


def test_experts() -> None:
    tensors, metadata = llama(expert_count=8)
    tensors += [(f"blk.{i}.ffn_down_exps.weight", (8, 8, 256), GGMLType.F32) for i in range(N_LAYER)]
    tensors += [("blk.0.ffn_gate_inp.weight", (8, 256), GGMLType.F32)]
    types = planned("Q4_K_M", (tensors, metadata))
    assert set(of(types, "attn_v") + of(types, "attn_k")) == {"Q8_0"}
    assert set(of(types, "attn_output")) == {"Q5_K"}
    assert of(types, "ffn_down_exps") == of(types, "ffn_down")  # by layer, not by order
    assert types["blk.0.ffn_gate_inp.weight"] == "F32"
    types = planned("MXFP4_MOE", (tensors, metadata))
    assert set(of(types, "ffn_down_exps")) == {"MXFP4"}
    assert set(of(types, "ffn_down")) == {"Q8_0"}


def test_the_smallest_recipes() -> None:
    types = planned("IQ2_M", llama(), has_imatrix=True)
    assert of(types, "ffn_down") == ["IQ3_S"] * 2 + ["IQ2_S"] * 14
    assert set(of(types, "attn_v") + of(types, "attn_output")) == {"IQ3_S"}
    assert (types["output.weight"], types["token_embd.weight"]) == ("Q5_K", "IQ3_S")
    types = planned("IQ3_XS", llama(expert_count=4))
    assert of(types, "ffn_up") == ["IQ3_S"] * 2 + ["IQ3_XXS"] * 12 + ["IQ3_S"] * 2
    assert set(of(planned("IQ3_XXS", llama(), has_imatrix=True), "attn_v")) == {"IQ3_XXS"}
    assert set(of(planned("IQ3_XXS", llama()), "attn_v")) == {"IQ3_S"}


def test_ternary_recipes() -> None:
    types = planned("TQ1_0", llama())
    assert (types["token_embd.weight"], types["output.weight"]) == ("Q4_K", "Q6_K")
    assert set(of(types, "attn_v") + of(types, "ffn_down")) == {"TQ1_0"}
    assert planned("Q1_0", llama())["token_embd.weight"] == "Q1_0"
    assert set(of(planned("TQ2_0", llama(k=96)), "ffn_up") + of(planned("Q2_0", llama(k=96)), "ffn_up")) == {"Q4_0"}


def test_importances_change_the_legacy_recipes() -> None:
    assert of(planned("Q4_0", llama(), has_imatrix=True), "ffn_down") == ["Q4_1"] * 2 + ["Q4_0"] * 14
    assert set(of(planned("Q4_0", llama()), "ffn_down")) == {"Q4_0"}


@pytest.mark.parametrize(
    ("recipe", "k", "wanted"),
    [
        ("Q2_K", 96, "Q4_0"), ("IQ4_XS", 96, "IQ4_NL"), ("Q3_K_S", 96, "Q4_0"), ("Q4_K_S", 96, "Q5_0"),
        ("Q5_K_S", 96, "Q5_1"), ("Q6_K", 96, "Q8_0"), ("Q4_0", 80, "F16"), ("Q4_K_S", 80, "F16"), ("Q8_0", 80, "F16"),
        ("F16", 80, "F16"),
    ],
)  # fmt: skip
def test_rows_that_are_no_multiple_of_the_block(recipe: str, k: int, wanted: str) -> None:
    tensors, metadata = llama(k=k)
    plans = {plan.name: plan for plan in plan_types(tensors, metadata, find_recipe(recipe))}
    found = plans["blk.9.ffn_up.weight"]
    assert found.target.name == wanted
    assert found.refused == (None if recipe == "F16" else RECIPES[find_recipe(recipe).name].base)
    assert found.n_bytes == 8 * GGMLType[wanted].row_bytes(k)


def test_overrides() -> None:
    types = planned("Q4_K_S", llama(), overrides=[("blk.1*.ffn_up*", "q8_0"), ("ffn_up", "Q6_K")])
    assert of(types, "ffn_up") == ["Q6_K", "Q8_0"] + ["Q6_K"] * 8 + ["Q8_0"] * 6
    assert types["blk.0.attn_norm.weight"] == "F32"  # vectors are never quantized


def test_a_whole_name_fits_no_longer_one() -> None:
    types = planned("Q4_K_S", llama(), overrides=[("output.weight", "Q8_0")])
    assert types["output.weight"] == "Q8_0"
    assert "Q8_0" not in of(types, "attn_output")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (("ffn_up", "Q4_KM"), "'Q4_KM' cannot be written; did you mean Q4_K"),
        (("ffn_uq", "Q4_K"), "no tensor's name"),
        (("norm", "Q4_K"), "keeps its type, as norms and routers do; name matrices"),
    ],
)
def test_wrong_overrides(override: tuple[str, str], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        planned("Q4_K_S", llama(), overrides=[override])


def test_names_of_recipes() -> None:
    assert find_recipe("q4_k").name == "Q4_K_M"
    assert set(ALIASES.values()) <= set(RECIPES)
    with pytest.raises(ParameterError, match="did you mean Q4_K_M"):
        find_recipe("Q4KM")
    assert len({recipe.file_type for recipe in RECIPES.values()}) == len(RECIPES)


def test_tensors_that_are_no_matrices_of_floats() -> None:
    tensors, metadata = llama()
    odd = [("blk.0.ffn_gate_tid2eid.weight", (4, 256), GGMLType.I32), ("blk.0.x.bias", (4, 256), GGMLType.F32),
           ("blk.0.time_mix_w1.weight", (4, 256), GGMLType.F16), ("v.weight", (1, 256), GGMLType.F16)]  # fmt: skip
    types = planned("Q4_K_M", (tensors + odd, metadata))
    assert [types[name] for name, *_ in odd] == ["I32", "F32", "F16", "F16"]
