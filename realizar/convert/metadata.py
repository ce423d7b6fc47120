"""GGUF metadata of a converted file, from config.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from realizar.arch import Architecture
from realizar.arch.checkpoint import KEYS, Checkpoint, Config, Key, Keys
from realizar.arch.metadata import UNPREFIXED
from realizar.arch.registry import Registry
from realizar.convert.checkpoint_folder import read_json
from realizar.convert.supported import check_values
from realizar.errors import GGUFError, UnknownArchitectureError, short_repr

# general.file_type: llama.cpp's number of the type that most tensors have (llama.h, enum llama_ftype).
FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}

# {arch}.pooling_type: sentence-transformers' pooling mode -> llama.cpp's number (llama.h, enum llama_pooling_type).
POOLING = {"mean_tokens": 1, "cls_token": 2, "lasttoken": 3}


P = TypeVar("P", bound=Architecture)


def architecture_of(config: Config, registry: Registry) -> Architecture:
    """Return the architecture that supports the class named in config.json.

    Raises
    ------
    UnknownArchitectureError
        If none does; lists the supported classes.
    """
    advice = ". A plugin adds support with `checkpoint` (docs/plugins.md)"
    return plugin_of(config, registry.architectures.values(), "them", advice)


def plugin_of(config: Config, plugins: Iterable[P], what: str, advice: str = "") -> P:
    """Return the one of some architectures that supports the class named in config.json.

    Parameters
    ----------
    config : dict
    plugins : iterable of Architecture
    what : str
        What is to be converted, for the error.
    advice : str
        End of the error.

    Raises
    ------
    UnknownArchitectureError
        If none does; lists the supported classes.
    """
    classes = config.get("architectures") or []
    checkpoints = [(plugin, plugin.checkpoint) for plugin in plugins if plugin.checkpoint]
    for name in classes:
        for plugin, checkpoint in checkpoints:
            if name in checkpoint.classes and checkpoint.applies(config):
                return plugin
    known = sorted({name for _, checkpoint in checkpoints for name in checkpoint.classes})
    raise UnknownArchitectureError(
        f"config.json names the architectures {short_repr(classes)}: no installed plugin can convert {what}; "
        f"supported are {', '.join(known)}{advice}"
    )


def metadata(architecture: Architecture, config: Config, name: str, type_name: str) -> dict[str, Any]:
    """Return metadata keys and values, starting with `general.architecture`.

    Raises
    ------
    GGUFError
        If config.json lacks a value that the architecture needs, or has one that its equations do not follow.
    """
    checkpoint = architecture.checkpoint or Checkpoint(())
    check_values(architecture.name, config, checkpoint)
    general = general_metadata(architecture.name, name, type_name)
    return {**general, **keys_of(architecture.name, config, {**KEYS, **checkpoint.keys})}


def general_metadata(architecture: str, name: str, type_name: str) -> dict[str, Any]:
    """Return the keys `general.*` of a converted file."""
    return {
        "general.architecture": architecture,
        "general.name": name,
        "general.file_type": FILE_TYPES[type_name],
        "general.quantization_version": 2,
    }


def keys_of(prefix: str, config: Config, keys: Keys) -> dict[str, Any]:
    """Return the keys with a prefix, and their values from config.json, without those that it lacks.

    Raises
    ------
    GGUFError
        If config.json lacks a value that a function of it needs.
    """
    out = {}
    for key, source in keys.items():
        try:
            value = _value(config, source)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise GGUFError(
                f"{prefix}.{key}: config.json lacks a value that it needs, or has one that is not supported: {error!r}"
            ) from error
        if value is not None:
            out[key if key.startswith(UNPREFIXED) else f"{prefix}.{key}"] = value
    return out


def pooling(folder: Path) -> int | None:
    """Return the GGUF pooling type of a sentence-transformers model; None if the folder does not define one.

    modules.json names the folder of the pooling module.
    """
    if not (folder / "modules.json").is_file():
        return None
    try:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
        paths = [folder / row["path"] / "config.json" for row in modules if row["type"].endswith(".Pooling")]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise GGUFError(
            f"{folder / 'modules.json'}: is not in the format of sentence-transformers: {error!r}"
        ) from error
    config = read_json(paths[0]) if paths else {}
    return next((number for mode, number in POOLING.items() if config.get(f"pooling_mode_{mode}")), None)


def _value(config: Config, source: Key) -> Any:
    if source is None or callable(source):
        return None if source is None else source(config)
    names = (source,) if isinstance(source, str) else source
    return next((config[name] for name in names if config.get(name) is not None), None)
