"""Registry: the architectures, pre-tokenizers, samplers and ops of the installed plugins (entry points `realizar`)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from realizar.arch import hookspecs
from realizar.arch.architecture import Architecture
from realizar.errors import PluginError, UnknownArchitectureError, short_repr
from realizar.graph import OpSpec
from realizar.graph.plugin_ops import check_spec

GROUP = "realizar"
API_VERSION = "1.5"
"""Version of the plugin API, `realizar.arch` and `realizar.graph`: the minor number rises with additions, the major
number with incompatible changes (docs/plugins.md)."""

MAX_NAMED = 6
"""Maximum number of architectures that an error lists."""


class ClaimedTwiceError(PluginError):
    """Two plugins provide an item with the same name."""


@dataclass
class Registry:
    """The architectures, pre-tokenizers, samplers and ops of the installed plugins.

    Attributes
    ----------
    architectures : dict[str, Architecture]
        By `general.architecture` name.
    pretokenizers : dict[str, Mapping]
        By `tokenizer.ggml.pre` name.
    samplers : dict[str, Callable]
        By name: factories, called with `SamplingParams` and a `realizar.sampling.SamplerContext`.
    ops : dict[str, OpSpec]
        By name; `Graph.op` records them.
    origins : dict[str, str]
        "architecture NAME", "op NAME" and so on -> plugin name.
    broken : dict[str, str]
        Plugin name -> why it could not be loaded.
    """

    architectures: dict[str, Architecture] = field(default_factory=dict)
    pretokenizers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    samplers: dict[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    ops: dict[str, OpSpec] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def architecture(self, name: str) -> Architecture:
        """The architecture of this name; UnknownArchitectureError names similar ones and the broken plugins."""
        if name in self.architectures:
            return self.architectures[name]
        near = sorted(get_close_matches(name, self.architectures, MAX_NAMED, cutoff=0.0))
        more = len(self.architectures) - len(near)
        known = ", ".join(near) + (f" and {more} more (`realizar plugins`)" if more else "")
        broken = "".join(f"; plugin {plugin} is broken: {why}" for plugin, why in self.broken.items())
        raise UnknownArchitectureError(
            f"architecture {short_repr(name)}: no installed plugin provides it; known are {known}{broken}. A plugin is "
            f"a package with an entry point in the group {GROUP!r} (docs/plugins.md)"
        )

    def add(self, plugin_name: str, plugin: object) -> None:
        """Add the items of one plugin.

        Raises
        ------
        ClaimedTwiceError
            If another plugin provides an item with the same name.
        PluginError
            If an op is invalid; then no item of the plugin is added.
        """
        manager = pluggy.PluginManager("realizar")
        manager.add_hookspecs(hookspecs)
        manager.register(plugin, plugin_name)
        manager.check_pending()
        ops = self._ops(plugin_name, manager.hook.realizar_ops())
        for classes in manager.hook.realizar_architectures():
            for cls in classes:
                self._claim(self.architectures, cls.name, plugin_name, "architecture")
                self.architectures[cls.name] = cls()
        for rows in manager.hook.realizar_pretokenizers():
            for name, row in rows.items():
                self._claim(self.pretokenizers, name, plugin_name, "pre-tokenizer")
                self.pretokenizers[name] = row
        for makers in manager.hook.realizar_samplers():
            for name, make in makers.items():
                self._claim(self.samplers, name, plugin_name, "sampler")
                self.samplers[name] = make

        for spec in ops:
            self._claim(self.ops, spec.name, plugin_name, "op")
            self.ops[spec.name] = spec

    def _ops(self, plugin_name: str, found: Iterable[object]) -> list[OpSpec]:
        """The checked ops that the hook `realizar_ops` of one plugin returned."""
        try:
            return [check_spec(spec) for specs in found for spec in _sequence(specs)]
        except PluginError as error:
            raise PluginError(f"plugin {plugin_name}: {error}") from error

    def _claim(self, table: Mapping[str, object], name: str, plugin_name: str, what: str) -> None:
        key = f"{what} {name}"
        if name in table:
            raise ClaimedTwiceError(
                f"{key} is claimed by two plugins, {self.origins[key]} and {plugin_name}; uninstall one of them "
                "or name those to load in REALIZAR_PLUGINS"
            )
        self.origins[key] = plugin_name


def _sequence(specs: object) -> Sequence[object]:
    if isinstance(specs, (list, tuple)):
        return specs
    raise PluginError(f"realizar_ops must return a list of realizar.graph.OpSpec, found {short_repr(specs)}")


def check_version(plugin: object) -> None:
    """Check the plugin API version that a plugin declares (`realizar_api`, by default the installed one).

    Raises
    ------
    ImportError
        If its major number differs, or its minor number is greater.
    """
    wanted = str(getattr(plugin, "realizar_api", API_VERSION))
    major, _, minor = wanted.partition(".")
    ours, _, latest = API_VERSION.partition(".")
    if major != ours or not minor.isdigit() or int(minor) > int(latest):
        raise ImportError(
            f"it is written for version {short_repr(wanted)} of the plugin API, and this realizar has {API_VERSION}; "
            "install versions of the plugin and of realizar that are compatible"
        )


def load(points: Iterable[EntryPoint]) -> Registry:
    """Load these entry points one by one into a registry; a broken plugin is recorded and does not stop the others.

    Raises
    ------
    ClaimedTwiceError
        If two plugins provide items with the same name.
    """
    registry = Registry()
    for point in sorted(points, key=lambda p: p.name):
        try:
            plugin = point.load()
            check_version(plugin)
            registry.add(point.name, plugin)
        except ClaimedTwiceError:
            raise
        except Exception as error:
            registry.broken[point.name] = f"{type(error).__name__}: {error}"
            warnings.warn(f"realizar plugin {point.name} ({point.value}) cannot be loaded: {error}", stacklevel=2)
    return registry


def selected() -> list[EntryPoint]:
    """The entry points to load: all, or those listed in REALIZAR_PLUGINS (comma-separated).

    Raises
    ------
    PluginError
        If REALIZAR_PLUGINS lists one that is not installed.
    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    wanted = os.environ.get("REALIZAR_PLUGINS")
    if wanted is None:
        return list(points.values())
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in points:
            raise PluginError(f"REALIZAR_PLUGINS names {name!r}; installed are {', '.join(sorted(points)) or 'none'}")
    return [points[name] for name in names]


@lru_cache(maxsize=1)
def default() -> Registry:
    """The registry of the installed plugins, built at its first use (never at import)."""
    return load(selected())
