"""LoadedAdapters: the adapters of an engine by name, fitted to its model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.arch.architecture import WeightTable, expand
from realizar.errors import AdapterError, did_you_mean
from realizar.runtime.adapters import Adapter, AdapterSet, AdapterUse, Factors
from realizar.runtime.side_ops import EMBEDDING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar.engine.runner import Runner
    from realizar.model import Model
    from realizar.params import SamplingParams


class LoadedAdapters:
    """LoRA adapters and control vectors by name; those that a request uses stay until it is over.

    Parameters
    ----------
    model : Model
    runner : Runner
        Runs the model with them.
    """

    def __init__(self, model: Model, runner: Runner) -> None:
        self._model, self._runner = model, runner
        self._by_name: dict[str, dict[str, Adapter]] = {"lora": {}, "control vector": {}}

    def named(self, kind: str) -> Mapping[str, Adapter]:
        """Return the adapters of a kind ("lora" or "control vector") by name, in the order in which they were added."""
        return self._by_name[kind]

    def add(self, name: str, adapter: Adapter) -> None:
        """Add an adapter under a name.

        Raises
        ------
        AdapterError
            If the name is empty or taken, the adapter does not fit the model, or the backend applies none.
        """
        if not isinstance(name, str) or not name:
            raise AdapterError(f"{adapter.kind} {name!r}: a name that is not empty is needed")
        if name in self._by_name[adapter.kind]:
            raise AdapterError(f"{adapter.kind} {name!r}: is loaded already; remove it first, or take another name")
        if not self._runner.backend.applies_adapters:
            raise AdapterError(
                f"{adapter.kind} {name!r}: this backend applies no adapters; open the model with backend='cpu', or "
                "merge LoRA adapters into it (realizar lora merge)"
            )
        fit = fitted_lora if adapter.kind == "lora" else self._fitted_vector
        self._by_name[adapter.kind][name] = fit(adapter, self._model)

    def remove(self, kind: str, name: str) -> None:
        """Remove an adapter; requests that use it go on with it. AdapterError if there is none of this name."""
        self._found(kind, name)
        self._by_name[kind].pop(name, None)

    def set_of(self, params: SamplingParams) -> AdapterSet | None:
        """Return the adapters that params ask for; None if there are none.

        Raises
        ------
        AdapterError
            If one is not loaded.
        """
        lora: Any = params.lora
        control: Any = params.control_vector
        uses = [AdapterUse(self._found("lora", name), scale) for name, scale in lora if scale]
        uses += [
            AdapterUse(self._found("control vector", name), scale, layers) for name, scale, layers in control if scale
        ]
        if len(uses) > 1 and any(use.adapter.invocation for use in uses):
            raise AdapterError("lora: an adapter that is applied from its invocation tokens on (aLoRA) is used alone")
        return self._runner.adapters.set_of(tuple(uses)) if uses else None

    def _found(self, kind: str, name: str) -> Adapter:
        found = self._by_name[kind].get(name)
        if found is None:
            known = ", ".join(self._by_name[kind]) or "none"
            raise AdapterError(
                f"{kind} {name!r}: is not loaded; loaded are {known}{did_you_mean(name, self._by_name[kind])}"
            )
        return found

    def _fitted_vector(self, adapter: Adapter, model: Model) -> Adapter:
        """Raise AdapterError if a control vector is for a layer that the model lacks, or of another size."""
        for place, factors in adapter.factors.items():
            if place not in self._runner.control_places:
                raise AdapterError(
                    f"{adapter.path}: {place}: {model.architecture.name} with {model.hp.n_layer} layers has no single "
                    "hidden state after this layer, to which a vector could be added"
                )
            if len(factors.b) != model.hp.n_embd:
                raise AdapterError(
                    f"{adapter.path}: {place} has {len(factors.b)} numbers, the model's {model.hp.n_embd}"
                )
        return adapter


def fitted_lora(adapter: Adapter, model: Model) -> Adapter:
    """Return a LoRA adapter with the names and shapes of the weights that the model multiplies.

    Raises
    ------
    AdapterError
        If the model has no such weight, it has another shape, or its products cannot be updated.
    """
    found: dict[str, Factors] = {}
    declared = expand(model.architecture.tensors(model.hp), model.hp.n_layer)
    ops = _ops_of_weights(model)
    for name, factors in adapter.factors.items():
        parts = [(name, factors)] if name in model.tensors else _parts(name, factors, declared)
        for weight, part in parts:
            _check(adapter, weight, part, model, ops.get(weight, set()))
            scale = model.tensors[weight].scale  # the graph multiplies the updated product by it
            found[weight] = part if scale is None else part._replace(scale=part.scale / scale)
    return replace(adapter, factors=found)


def _ops_of_weights(model: Model) -> dict[str, set[str]]:
    """Return weight -> the names of the ops that read it."""
    found: dict[str, set[str]] = {}
    for graph in model.graphs.values():
        for node in graph.nodes:
            for name in node.weights:
                found.setdefault(name, set()).add(node.op)
    return found


def _parts(name: str, factors: Factors, declared: WeightTable) -> list[tuple[str, Factors]]:
    """Return factors for the parts of a fused weight, as the graph has them; unchanged if it is none."""
    whole = name.removesuffix(".weight")
    weight = declared.get(whole)
    if weight is None or not weight.parts or factors.b.shape[:-1] != weight.shape[:-1]:
        return [(name, factors)]
    ends = np.cumsum(list(weight.parts.values()))
    pieces = np.split(factors.b, ends[:-1], axis=-2)
    return [(part + weight.suffix, factors._replace(b=b)) for part, b in zip(weight.split(whole), pieces, strict=True)]


def _check(adapter: Adapter, name: str, factors: Factors, model: Model, ops: set[str]) -> None:
    tensor, file = model.tensors.get(name), model.file.path.name
    if tensor is None:
        raise AdapterError(
            f"{adapter.path}: {name}: {file} has no such weight{did_you_mean(name, model.tensors)}; the adapter is for "
            "another model, or for a part that this file lacks"
        )
    if tensor.rotation is not None:
        raise AdapterError(
            f"{adapter.path}: {name}: {file} stores it in a rotated basis, in which the adapter was not trained; use a "
            "file of the model without rotations"
        )
    is_known = ops in ({"linear"}, {"experts"}) or (name == EMBEDDING and ops <= {"embed", "linear"})
    if not is_known or factors.a is None:
        used = " and ".join(sorted(ops)) or "nothing"
        raise AdapterError(
            f"{adapter.path}: {name}: is used by {used}; adapters update products with matrices (linear), experts and "
            f"{EMBEDDING}; merge the adapter into the model: realizar lora merge"
        )
    shape = (*factors.b.shape[:-1], factors.a.shape[-1])
    if shape != tensor.shape:
        raise AdapterError(
            f"{adapter.path}: {name}: the adapter is for a weight of shape {shape}, but that of {file} has "
            f"{tensor.shape}; use the adapter with the model for which it was trained"
        )
