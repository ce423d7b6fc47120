"""Registry: what the installed plugins provide (entry points `realizar`): architectures, pre-tokenizers and so on.

A shipped plugin is imported when something is looked up that it provides (`realizar.arch.shipped` has the table), the
plugins of third parties when something is looked up that realizar does not provide (docs/decisions/0037).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import pluggy

from realizar.arch import hookspecs, shipped
from realizar.arch.architecture import Architecture
from realizar.arch.projector import Projector
from realizar.arch.shipped import GROUP
from realizar.errors import PluginError, UnknownArchitectureError, short_repr
from realizar.forks import Lock
from realizar.graph import OpSpec
from realizar.graph.plugin_ops import check_spec

T = TypeVar("T")

API_VERSION = "1.9"
"""Version of the plugin API, `realizar.arch` and `realizar.graph`: the minor number rises with additions, the major
number with incompatible changes (docs/plugins.md)."""

TABLES = {
    "architecture": "architectures", "pre-tokenizer": "pretokenizers", "sampler": "samplers", "op": "ops",
    "chat format": "chat_formats", "projector": "projectors", "backend": "backends",
}  # fmt: skip
"""What a plugin provides, as error messages call it -> the attribute of `Registry`."""

THIRD_PARTY = ("chat format ", "backend ")
"""What no shipped plugin provides: to list it, only those of third parties are loaded."""

MAX_NAMED = 6
"""Maximum number of architectures that an error lists."""


class ClaimedTwiceError(PluginError):
    """Two plugins provide an item with the same name."""


class _Hooks(pluggy.PluginManager):
    """Calls the hooks of one plugin at a time."""

    def __init__(self) -> None:
        super().__init__("realizar")
        self.add_hookspecs(hookspecs)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """The options of the implementation of a hook; pluggy's is slow, and is called for all names of a module."""
        is_marked = hasattr(getattr(plugin, name, None), "realizar_impl")
        return super().parse_hookimpl_opts(plugin, name) if is_marked else None

    def call(self, plugin_name: str, plugin: object) -> dict[str, list[tuple[str, Any]]]:
        """What the hooks of a plugin return: kind -> names and items."""
        self.register(plugin, plugin_name)
        try:
            self.check_pending()
            ops = [check_spec(spec) for specs in self.hook.realizar_ops() for spec in _sequence(specs)]
            return {
                "architecture": [(cls.name, cls()) for found in self.hook.realizar_architectures() for cls in found],
                "pre-tokenizer": [item for rows in self.hook.realizar_pretokenizers() for item in rows.items()],
                "sampler": [item for makers in self.hook.realizar_samplers() for item in makers.items()],
                "op": [(spec.name, spec) for spec in ops],
                "chat format": [(made.name, made) for found in self.hook.realizar_chat_formats() for made in found],
                "projector": [(cls.name, cls()) for found in self.hook.realizar_projectors() for cls in found],
                "backend": [item for makers in self.hook.realizar_backends() for item in makers.items()],
            }
        finally:
            self.unregister(plugin)


@dataclass
class Registry:
    """The architectures, pre-tokenizers, samplers, ops, chat formats, projectors and backends of the
    installed plugins.

    Attributes
    ----------
    architectures : Mapping[str, Architecture]
        By `general.architecture` name.
    pretokenizers : Mapping[str, Mapping]
        By `tokenizer.ggml.pre` name.
    samplers : Mapping[str, Callable]
        By name: factories, called with `SamplingParams` and a `realizar.sampling.SamplerContext`.
    ops : Mapping[str, OpSpec]
        By name; `Graph.op` records them.
    chat_formats : Mapping[str, ChatFormat]
        By name: forms of tool calls (`realizar.calls`), those of third parties.
    projectors : Mapping[str, Projector]
        By `clip.projector_type` name: encoders of pictures and of sounds.
    backends : Mapping[str, Callable]
        By name: factories, called with `EngineParams` (docs/backends.md).
    origins : Mapping[str, str]
        "architecture NAME", "op NAME" and so on -> plugin name.
    broken : dict[str, str]
        Plugin name -> why it could not be loaded; of the plugins that were tried.
    """

    architectures: Mapping[str, Architecture] = field(default_factory=dict)
    pretokenizers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    samplers: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    ops: Mapping[str, OpSpec] = field(default_factory=dict)
    chat_formats: Mapping[str, Any] = field(default_factory=dict)
    projectors: Mapping[str, Projector] = field(default_factory=dict)
    backends: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    _hooks: _Hooks = field(default_factory=_Hooks, init=False, repr=False, compare=False)

    def architecture(self, name: str) -> Architecture:
        """The architecture of this name; UnknownArchitectureError names similar ones and the broken plugins."""
        if name in self.architectures:
            return self.architectures[name]
        if name == "clip":
            raise UnknownArchitectureError(
                "the file has encoders of pictures or sounds and no language model; give it as `mmproj` beside one "
                "(docs/multimodal.md)"
            )
        near = sorted(get_close_matches(name, self.architectures, MAX_NAMED, cutoff=0.0))
        more = len(self.architectures) - len(near)
        known = ", ".join(near) + (f" and {more} more (`realizar plugins`)" if more else "")
        broken = "".join(f"; plugin {plugin} is broken: {why}" for plugin, why in self.broken.items())
        raise UnknownArchitectureError(
            f"architecture {short_repr(name)}: no installed plugin provides it; known are {known}{broken}. A plugin is "
            f"a package with an entry point in the group {GROUP!r} (docs/plugins.md)"
        )

    def projector(self, name: str) -> Projector:
        """The projector of this name; UnknownArchitectureError names those that are known."""
        if name in self.projectors:
            return self.projectors[name]
        raise UnknownArchitectureError(
            f"projector {short_repr(name)}: no installed plugin provides this encoder; known are "
            f"{', '.join(sorted(self.projectors))}"
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
        try:
            found = self._hooks.call(plugin_name, plugin)
        except PluginError as error:
            raise PluginError(f"plugin {plugin_name}: {error}") from error
        for what, items in found.items():
            table, origins = dict(getattr(self, TABLES[what])), dict(self.origins)
            for name, item in items:
                key = f"{what} {name}"
                if name in table:
                    raise _claimed_twice(key, origins[key], plugin_name)
                table[name], origins[key] = item, plugin_name
            setattr(self, TABLES[what], table)
            self.origins = origins


def _claimed_twice(what: str, one: str, other: str) -> ClaimedTwiceError:
    return ClaimedTwiceError(
        f"{what} is claimed by two plugins, {one} and {other}; uninstall one of them or name those to load in "
        "REALIZAR_PLUGINS"
    )


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
    MemoryError
    """
    registry = Registry()
    for point in sorted(points, key=lambda p: p.name):
        try:
            plugin = point.load()
            check_version(plugin)
            registry.add(point.name, plugin)
        except (ClaimedTwiceError, MemoryError):  # a plugin is not broken if memory is short: it may load next time
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


class _OnDemand(Mapping[str, T]):
    """A table of the installed plugins: a lookup loads the plugin that has the name, iteration loads all plugins.

    Parameters
    ----------
    table : dict
        The items of the plugins loaded so far.
    what : str
        The beginning of the keys of `Registry.origins` for these items, such as "architecture ".
    load : callable
        Loads what provides a key of `Registry.origins`, or all plugins if it gets None.
    """

    def __init__(self, table: Mapping[str, T], what: str, load: Callable[[str | None], None]) -> None:
        self._table, self._what, self._load = table, what, load
        self._all = self._what if what in THIRD_PARTY else None

    def __getitem__(self, name: str) -> T:
        if name not in self._table:
            self._load(self._what + name)
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        self._load(self._all)
        return iter(self._table)

    def __len__(self) -> int:
        self._load(self._all)
        return len(self._table)


class _Installed:
    """Loads the installed plugins when they are needed; what is found does not depend on the order of lookups."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tables: dict[str, dict[str, Any]] = {name: {} for name in (*TABLES.values(), "origins", "broken")}
        self._shipped: set[str] = set()
        self._has_third_parties = False

    def registry(self) -> Registry:
        """The registry whose lookups load plugins."""
        found = self._tables
        views = {name: _OnDemand(found[name], f"{what} ", self._load) for what, name in TABLES.items()}
        return Registry(**views, origins=_OnDemand(found["origins"], "", self._load), broken=found["broken"])

    def _load(self, key: str | None) -> None:
        """Load what provides a key of `Registry.origins`, or everything."""
        with self._lock:
            if key is None:
                self._load_shipped(set(shipped.origins().values()))
                self._load_third_parties()
            elif key in shipped.origins():
                self._load_shipped({shipped.origins()[key]})
            else:
                self._load_third_parties()

    def _load_shipped(self, plugins: set[str]) -> None:
        new = plugins - self._shipped - {shipped.REALIZAR}
        self._keep(load(map(shipped.entry_point, new)))
        self._shipped |= new

    def _load_third_parties(self) -> None:
        if self._has_third_parties:
            return
        found = load(point for point in entry_points(group=GROUP) if not shipped.is_shipped(point))
        for key, plugin in found.origins.items():
            if key in shipped.origins():
                raise _claimed_twice(key, shipped.origins()[key], plugin)
        self._keep(found)
        self._has_third_parties = True

    def _keep(self, found: Registry) -> None:
        for name, table in self._tables.items():
            table.update(getattr(found, name))


@lru_cache(maxsize=1)
def default() -> Registry:
    """The registry of the installed plugins, which are imported when they are needed (never at import).

    If REALIZAR_PLUGINS is set, the plugins that it lists are loaded at once, and may claim names of shipped ones that
    it does not list.
    """
    return load(selected()) if "REALIZAR_PLUGINS" in os.environ else _Installed().registry()
