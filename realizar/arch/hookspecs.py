"""The hooks that a plugin may implement, and the marker to implement them with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from realizar.arch.architecture import Architecture
    from realizar.arch.projector import Projector
    from realizar.graph import OpSpec

    Maker = Callable[[Any, Any], Any]

hookspec = pluggy.HookspecMarker("realizar")
hookimpl = pluggy.HookimplMarker("realizar")


@hookspec
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures that the plugin provides: classes, one for each `general.architecture` name."""
    raise AssertionError("a specification; pluggy never calls it")


@hookspec
def realizar_pretokenizers() -> Mapping[str, Mapping[str, Any]]:
    """Rows for `tokenizer.ggml.pre`: name -> a row as in `realizar/tokenizer/pretokenizers.json`."""
    raise AssertionError("a specification; pluggy never calls it")


@hookspec
def realizar_samplers() -> Mapping[str, Maker]:
    """Samplers for `SamplingParams(samplers=[...])`: name -> factory, called with the params and a `SamplerContext`."""
    raise AssertionError("a specification; pluggy never calls it")


@hookspec
def realizar_ops() -> Sequence[OpSpec]:
    """Ops that the architectures of the plugin record by `g.op`: rows with a shape rule and a numpy definition."""
    raise AssertionError("a specification; pluggy never calls it")


@hookspec
def realizar_chat_formats() -> Sequence[Any]:
    """Forms of tool calls of chat templates: `realizar.calls.ChatFormat` objects."""
    raise AssertionError("a specification; pluggy never calls it")


@hookspec
def realizar_projectors() -> Sequence[type[Projector]]:
    """The encoders of pictures or sounds that the plugin provides: classes, one for each `clip.projector_type` name."""
    raise AssertionError("a specification; pluggy never calls it")


@hookspec
def realizar_backends() -> Mapping[str, Callable[[Any], Any]]:
    """Backends for `LLM(backend=...)`: name -> factory, called with `EngineParams`, of a `runtime.backend.Backend`."""
    raise AssertionError("a specification; pluggy never calls it")
