"""LoRA adapters and control vectors: the methods of `LLM` and `AsyncLLM` that add and remove them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from realizar.convert.peft import read_peft
from realizar.errors import AdapterError, memory_for, short_repr
from realizar.loaded import LoadedModel
from realizar.runtime.adapter_files import open_control_vector, open_lora

if TYPE_CHECKING:
    from realizar.runtime.adapters import Adapter


class AdapterMethods(LoadedModel):
    """The methods that add and remove adapters, also while requests run."""

    def add_lora(self, name: str, path: str | os.PathLike[str]) -> None:
        """Load a LoRA adapter, which requests use by its name (docs/adapters.md).

        Parameters
        ----------
        name : str
        path : str or PathLike
            A GGUF file, or a PEFT folder with adapter_config.json and adapter_model.safetensors.

        Raises
        ------
        AdapterError
            If the name is taken, or the adapter does not fit the model or has parts that are not supported.
        GGUFError, ModelNotFoundError
            If it cannot be read.
        """
        engine = self.engine
        given = _checked_path("lora", name, path, "a GGUF file or a folder of PEFT")
        with memory_for(f"loading {short_repr(path)}", lambda: "remove other adapters"):
            model = engine.model
            if os.path.isdir(given):  # no error for a name that is too long
                adapter = read_peft(given, model.architecture, model.hp, model.tensors)
            else:
                adapter = open_lora(given, model.architecture.name)
            engine.adapters.add(name, adapter)

    def remove_lora(self, name: str) -> None:
        """Remove a LoRA adapter; requests that use it go on with it.

        Raises
        ------
        AdapterError
            If none of this name is loaded.
        """
        self.engine.adapters.remove("lora", name)

    @property
    def loras(self) -> Mapping[str, Adapter]:
        """The LoRA adapters by name, in the order in which they were added."""
        return dict(self.engine.adapters.named("lora"))

    def add_control_vector(self, name: str, path: str | os.PathLike[str]) -> None:
        """Load a control vector from a GGUF file, which requests use by its name (docs/adapters.md).

        Raises
        ------
        AdapterError
            If the name is taken, or the vector does not fit the model.
        GGUFError, ModelNotFoundError
            If it cannot be read.
        """
        engine = self.engine
        given = _checked_path("control vector", name, path, "a GGUF file")
        engine.adapters.add(name, open_control_vector(given, engine.model.architecture.name))

    def remove_control_vector(self, name: str) -> None:
        """Remove a control vector; requests that use it go on with it. AdapterError if none of this name is loaded."""
        self.engine.adapters.remove("control vector", name)


def _checked_path(kind: str, name: str, path: str | os.PathLike[str], needed: str) -> Path:
    """Return a path; raises AdapterError if it is none."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise AdapterError(f"{kind} {short_repr(name)}: path={short_repr(path)}; {needed} is needed")
    return Path(path)
