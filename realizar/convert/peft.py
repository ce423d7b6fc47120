"""Reading LoRA adapters of the library PEFT: adapter_config.json and adapter_model.safetensors.

Formats: PEFT's LoraConfig (src/peft/tuners/lora/config.py) and its names of tensors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.arch import Architecture
from realizar.arch.architecture import expand
from realizar.arch.checkpoint import Checkpoint, Names, Transform
from realizar.convert import safetensors
from realizar.convert.checkpoint_folder import PREFIXES, read_json
from realizar.convert.tensors import name_of, source_of
from realizar.errors import AdapterError, ModelNotFoundError, did_you_mean, short_repr
from realizar.params.checks import is_int
from realizar.runtime.adapters import Adapter, Factors, checked

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
Array = npt.NDArray[Any]

REFUSED: Mapping[str, str] = {
    "use_dora": "DoRA scales the rows of the weights anew",
    "fan_in_fan_out": "the weights are transposed",
    "modules_to_save": "whole modules were trained",
    "trainable_token_indices": "rows of single tokens were trained",
    "target_parameters": "parameters that are no modules were trained",
    "lora_bias": "the factors have biases",
    "layer_replication": "layers are repeated",
    "corda_config": "the base weights are changed",
    "kasa_config": "the base weights are changed",
    "use_qalora": "inputs are averaged in groups",
    "use_bdlora": "the factors are block-diagonal",
    "arrow_config": "a router chooses among adapters",
}
"""Keys of adapter_config.json that must not be set, and what they mean."""

CHANGES_BASE = ("pissa", "corda", "olora", "loftq", "lora_ga")
"""Beginnings of `init_lora_weights` that take a part out of the base weights. PEFT writes true instead if it saves the
adapter for the original weights (`path_initial_model_for_weight_conversion`)."""


def is_peft(folder: Path) -> bool:
    """Whether a folder has an adapter of PEFT."""
    return (folder / CONFIG).is_file()


def read_peft(folder: Path, architecture: Architecture, hp: Any, weights: Mapping[str, Any]) -> Adapter:
    """Read a PEFT folder for a model.

    Parameters
    ----------
    folder : Path
    architecture : Architecture
        Of the model; its `checkpoint` maps the names.
    hp : HParams
    weights : mapping
        The model's weights by GGUF name.

    Raises
    ------
    AdapterError
        If it is no LoRA adapter, has parts that are not supported or values that are not finite, or a module is not
        one of the model's.
    ModelNotFoundError, GGUFError
        If a file is missing or damaged.
    """
    if not is_peft(folder):
        raise ModelNotFoundError(f"{folder / CONFIG}: no such file; an adapter is a GGUF file, or a folder of PEFT")
    config = read_json(folder / CONFIG)
    _check(folder, config)
    if not (folder / TENSORS).is_file():
        raise ModelNotFoundError(f"{folder / TENSORS}: no such file; save the adapter with safe_serialization=True")
    stored = safetensors.read(folder / TENSORS)
    modules, other = _modules(stored)
    if other:
        raise AdapterError(f"{folder}: {', '.join(other[:4])}: only the factors lora_A and lora_B are supported")
    names = _names_of_modules(architecture, hp, weights)
    factors: dict[str, Factors] = {}
    experts: dict[str, dict[int, Factors]] = {}
    for module, (a, b) in modules.items():
        short = _short(module, names)
        if short is None:
            known = {name.rpartition(".")[2] for name in names}
            raise AdapterError(
                f"{folder}: {module}: is no weight of architecture {architecture.name} that products read"
                f"{did_you_mean(module.rpartition('.')[2], known)}; adapters of such modules are not supported"
            )
        name, transform, expert = names[short]
        found = Factors(a, _rows(b, transform, hp, module), _scale(folder, config, module, len(a)))
        if expert is None:
            factors[name] = found
        else:
            experts.setdefault(name, {})[expert] = found
    for name, of_experts in experts.items():
        n_expert = 1 + max(expert for other, _, expert in names.values() if other == name and expert is not None)
        factors[name] = _stacked(folder, name, of_experts, n_expert)
    if not factors:
        raise AdapterError(f"{folder}: {TENSORS} has no factors")
    return checked(Adapter("lora", factors, str(folder), tuple(config.get("alora_invocation_tokens") or ())))


def _check(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise AdapterError if the config asks for what is not supported."""
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"{folder}: peft_type is {short_repr(config.get('peft_type'))}; only LORA is supported")
    for key, meaning in REFUSED.items():
        if config.get(key):
            raise AdapterError(
                f"{folder}: {key}={short_repr(config[key])}: {meaning}, which is not supported; merge the adapter with "
                "PEFT (merge_and_unload), and convert the model"
            )
    if config.get("bias") not in (None, "none"):
        raise AdapterError(f"{folder}: bias={short_repr(config['bias'])}: biases were trained, which is not supported")
    tokens = config.get("alora_invocation_tokens")
    if tokens is not None and not (isinstance(tokens, list) and all(map(is_int, tokens))):
        raise AdapterError(f"{folder}: alora_invocation_tokens={short_repr(tokens)}: a list of tokens is needed")
    how = config.get("init_lora_weights")
    if isinstance(how, str) and how.lower().startswith(CHANGES_BASE):
        raise AdapterError(
            f"{folder}: init_lora_weights={short_repr(how)}: the adapter is for changed base weights; save it for the "
            "original ones with PEFT (path_initial_model_for_weight_conversion)"
        )


def _modules(stored: Mapping[str, safetensors.StoredTensor]) -> tuple[dict[str, tuple[Array, Array]], list[str]]:
    """Return module -> A and B, and the names of tensors that are neither.

    Factors of embeddings (A [rank, n_vocab], B [n_embd, rank]) are returned as those of a matrix [n_vocab, n_embd].
    PEFT saves the base weights of adapted embeddings, which did not change.
    """
    found: dict[str, dict[str, Array]] = {}
    other = []
    for name, tensor in stored.items():
        match = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight", name)
        table = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_embedding_([AB])(?:\.default)?", name)
        if table is not None:
            factor = _array(tensor)
            found.setdefault(table[1], {})["BA"["AB".index(table[2])]] = np.ascontiguousarray(factor.T)
        elif match is not None:
            found.setdefault(match[1], {})[match[2]] = _array(tensor)
        elif not name.endswith(".base_layer.weight"):
            other.append(name)
    out = {}
    for module, pair in found.items():
        if len(pair) < 2 or pair["A"].ndim != 2 or not pair["A"].size or pair["B"].shape[1:] != pair["A"].shape[:1]:
            shapes = {factor: array.shape for factor, array in pair.items()}
            raise AdapterError(
                f"{module}: A [rank, n_in] and B [n_out, rank] are needed, for an embedding PEFT's B and A, "
                f"found {shapes}"
            )
        a, b = pair["A"], pair["B"]
        out[module] = (a, b) if a.dtype == b.dtype else (a.astype(np.float32), b.astype(np.float32))
    return out, other


def _array(tensor: safetensors.StoredTensor) -> Array:
    """Return a tensor: F32 and F16 as they are, others as float32."""
    if tensor.type in ("F32", "F16"):
        dtype = np.float32 if tensor.type == "F32" else np.float16
        return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)
    return tensor.floats()


def _stacked(folder: Path, name: str, found: Mapping[int, Factors], n_expert: int) -> Factors:
    """Return the factors of all experts as those of one weight; zeros for experts without an adapter."""
    kinds = {(f.a.shape, f.b.shape, f.scale) for f in found.values() if f.a is not None}
    if len(kinds) > 1:
        raise AdapterError(f"{folder}: {name}: its experts have factors of different ranks, sizes or scales")
    ((shape_a, shape_b, scale),) = kinds
    dtype = np.result_type(*(f.b for f in found.values()))
    a, b = np.zeros((n_expert, *shape_a), dtype), np.zeros((n_expert, *shape_b), dtype)
    for expert, factors in found.items():
        a[expert], b[expert] = factors.a, factors.b
    return Factors(a, b, scale)


def _names_of_modules(
    architecture: Architecture, hp: Any, weights: Mapping[str, Any]
) -> dict[str, tuple[str, Transform | None, int | None]]:
    """Return module -> the GGUF name of its weight, how the converter orders its rows, and the number of its expert."""
    checkpoint = architecture.checkpoint or Checkpoint(())
    try:
        names: Names = checkpoint.all_names({})
    except KeyError as error:
        raise AdapterError(
            f"{architecture.name}: names of modules depend on {error} of the model's config.json, which an adapter "
            "lacks; convert it to GGUF with llama.cpp's convert_lora_to_gguf.py"
        ) from None
    out: dict[str, tuple[str, Transform | None, int | None]] = {}
    for name, weight in expand(architecture.tensors(hp), hp.n_layer).items():
        for each in (name, *(weight.split(name) if weight.parts else ())):
            source = source_of(names, each)
            found = name_of(source)
            is_fused = each == name and weight.parts is not None
            if found is None or not (is_fused or each + weight.suffix in weights):
                continue
            transform = source[1] if isinstance(source, tuple) else None
            for module in found.split("|"):
                for expert in range(weight.shape[0]) if "{e}" in module else [None]:
                    out[module.replace("{e}", str(expert))] = (each + weight.suffix, transform, expert)
    return out


def _short(module: str, names: Mapping[str, Any]) -> str | None:
    """Return a module's name without the prefix of the base model, as in `names`; None if it is not there."""
    found = (module.removeprefix(prefix) for prefix in PREFIXES if module.startswith(prefix))
    return next((name for name in found if name in names), None)


def _scale(folder: Path, config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return alpha / rank, or alpha / sqrt(rank) of rsLoRA (https://arxiv.org/abs/2312.03732)."""
    alpha = _alpha(folder, config, module)
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise AdapterError(f"{folder}: {module}: alpha is {short_repr(alpha)}; a finite number is needed")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _alpha(folder: Path, config: Mapping[str, Any], module: str) -> Any:
    """Return the value of the first pattern that matches the end of a module's name, as PEFT finds it, or of all."""
    patterns = config.get("alpha_pattern") or {}
    try:
        found = (value for pattern, value in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", module))
        return next(found, config.get("lora_alpha", 8))  # PEFT's default
    except (AttributeError, re.error) as error:
        raise AdapterError(f"{folder}: alpha_pattern={short_repr(patterns)}: {error}") from None


def _rows(b: Array, transform: Transform | None, hp: Any, module: str) -> Array:
    """Return the rows of B in the order of the converted weight.

    Raises
    ------
    AdapterError
        If the converter does more to the weight than to order its rows.
    """
    if transform is None:
        return b
    index = np.arange(len(b) * 2, dtype=np.float64).reshape(-1, 2)
    try:
        ordered = transform(index, hp)
        order = ordered[:, 0].astype(np.int64) // 2
        is_order = np.array_equal(ordered, index[order])
    except (ValueError, IndexError):  # it depends on the columns, or is no order
        is_order = False
    if not is_order:
        raise AdapterError(f"{module}: the converter changes this weight, and not only the order of its rows")
    return np.ascontiguousarray(b[order])
