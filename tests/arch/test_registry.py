"""Plugin loading: a broken plugin does not stop the others; two plugins with one name are an error."""

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from realizar.arch import Architecture, hookimpl, registry, shipped
from realizar.errors import PluginError, UnknownArchitectureError
from realizar.graph import OpSpec


def plugin(module_name, arch_name, pre=None, ops=None):
    """Entry point of a new module that implements the hooks."""

    class Arch(Architecture):
        name = arch_name

        def tensors(self, hp):
            return {}

        def build(self, g, w, hp):
            return None

    module = types.ModuleType(module_name)
    module.realizar_architectures = hookimpl(lambda: [Arch], specname="realizar_architectures")
    if pre:
        module.realizar_pretokenizers = hookimpl(lambda: {pre: {}}, specname="realizar_pretokenizers")
    if ops is not None:
        module.realizar_ops = hookimpl(lambda: ops, specname="realizar_ops")
    sys.modules[module_name] = module
    return EntryPoint(module_name, module_name, registry.GROUP)


def test_loads_every_plugin():
    found = registry.load([plugin("plug_a", "a"), plugin("plug_b", "b", pre="words")])
    assert found.architecture("a").name == "a"
    assert set(found.pretokenizers) == {"words"}
    assert found.origins == {"architecture a": "plug_a", "architecture b": "plug_b", "pre-tokenizer words": "plug_b"}


def test_broken_plugin_does_not_stop_the_others():
    broken = EntryPoint("broken", "no_such_module_at_all", registry.GROUP)
    with pytest.warns(UserWarning, match="broken"):
        found = registry.load([broken, plugin("plug_a", "a")])
    assert found.architecture("a").name == "a"
    with pytest.raises(UnknownArchitectureError, match=r"'zebra'.*known are a.*broken.*no_such_module"):
        found.architecture("zebra")


def test_a_plugin_is_not_broken_if_memory_is_short():
    def fail():
        raise MemoryError

    point = plugin("plug_a", "a")
    sys.modules["plug_a"].realizar_architectures = hookimpl(fail, specname="realizar_architectures")
    with pytest.raises(MemoryError):
        registry.load([point])


def test_name_clash_names_both_plugins():
    with pytest.raises(PluginError, match=r"architecture a .*plug_a and plug_b"):
        registry.load([plugin("plug_b", "a"), plugin("plug_a", "a")])


def op(name):
    return OpSpec(name, "y = x", (), lambda inputs, weights, attrs: inputs, define=lambda x, weights, attrs, state: x)


def test_a_plugin_brings_ops():
    found = registry.load([plugin("plug_a", "a", ops=[op("copy"), op("copy2")]), plugin("plug_b", "b")])
    assert list(found.ops) == ["copy", "copy2"]
    assert found.origins["op copy"] == "plug_a"


def test_op_name_clash_names_both_plugins():
    with pytest.raises(PluginError, match=r"op copy is claimed by two plugins, plug_a and plug_b"):
        registry.load([plugin("plug_a", "a", ops=[op("copy")]), plugin("plug_b", "b", ops=[op("copy")])])


@pytest.mark.parametrize(
    ("ops", "says"),
    [
        ([op("linear")], "'linear' is built in"),
        (["copy"], "OpSpec"),
        (op("copy"), "a list"),
        ([op("a b")], "identifier"),
    ],
)
def test_plugin_with_an_invalid_op_is_broken(ops, says):
    with pytest.warns(UserWarning, match="plug_b"):
        found = registry.load([plugin("plug_a", "a", ops=[op("copy")]), plugin("plug_b", "b", ops=ops)])
    assert says in found.broken["plug_b"]
    assert "plugin plug_b" in found.broken["plug_b"]
    assert (set(found.architectures), set(found.ops)) == ({"a"}, {"copy"})


def test_environment_variable_selects_plugins(monkeypatch):
    monkeypatch.setenv("REALIZAR_PLUGINS", "llama")
    assert [p.name for p in registry.selected()] == ["llama"]
    monkeypatch.setenv("REALIZAR_PLUGINS", "llama,nobody")
    with pytest.raises(PluginError, match="nobody"):
        registry.selected()


def test_shipped_plugins_are_entry_points():
    assert {"llama", "qwen"} <= {p.name for p in registry.selected()}


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("1.0", True),
        ("1.1", True),
        ("1.2", True),
        ("1.3", True),
        ("1.4", True),
        ("1.5", True),
        ("1.6", True),
        ("1", False),
        ("1.9", True),
        ("1.10", False),
        ("2.0", False),
        (3, False),
    ],
)
def test_api_version_is_checked(version, fits):
    point = plugin("plug_v", "versioned")
    sys.modules["plug_v"].realizar_api = version
    if fits:
        assert registry.load([point]).broken == {}
        return
    with pytest.warns(UserWarning, match="plugin API"):
        found = registry.load([point])
    assert f"written for version {str(version)!r}" in found.broken["plug_v"]
    assert "versioned" not in found.architectures


def installed(monkeypatch, *third_parties):
    """A registry of the shipped plugins and these, as `default` makes it, and the shipped ones that it loads."""
    loaded = []
    monkeypatch.delenv("REALIZAR_PLUGINS", raising=False)
    monkeypatch.setattr(registry, "entry_points", lambda group: [*map(shipped.entry_point, ["llama"]), *third_parties])
    load = registry.load

    def recorded(points):
        points = list(points)
        loaded.extend(point.name for point in points)
        return load(points)

    monkeypatch.setattr(registry, "load", recorded)
    return registry.default.__wrapped__(), loaded


def test_a_lookup_loads_one_shipped_plugin(monkeypatch):
    found, loaded = installed(monkeypatch, plugin("plug_a", "a"))
    assert found.architecture("smollm3").name == "smollm3"
    assert found.origins["architecture llama"] == "llama"
    assert found.ops["rescale"].name == "rescale"
    assert "llama-bpe" not in found.pretokenizers  # the tokenizers have it
    assert loaded == ["llama", "gemma3n"]


@pytest.mark.parametrize(
    ("table", "name"), [("architectures", "a"), ("pretokenizers", "words"), ("ops", "copy"), ("origins", "op copy")]
)
def test_third_parties_are_loaded_for_names_that_realizar_does_not_have(monkeypatch, table, name):
    found, loaded = installed(monkeypatch, plugin("plug_a", "a", "words", [op("copy")]), plugin("plug_b", "b"))
    assert name in getattr(found, table)
    assert "nobody's" not in getattr(found, table)
    assert loaded == ["plug_a", "plug_b"]


def test_iteration_and_an_unknown_name_load_all(monkeypatch):
    found, loaded = installed(monkeypatch, plugin("plug_a", "a"))
    assert {"a", "llama", "bert"} <= set(found.architectures)
    assert sorted(loaded) == sorted({*shipped.origins().values(), "plug_a"} - {shipped.REALIZAR})
    with pytest.raises(UnknownArchitectureError, match=rf"'llamas'.*llama.* and {len(found.architectures) - 6} more"):
        found.architecture("llamas")


@pytest.mark.parametrize(("name", "what"), [("llama", "architecture llama"), ("a", "pre-tokenizer llama-bpe")])
def test_a_shipped_name_is_not_claimed_by_third_parties(monkeypatch, name, what):
    """Whatever was looked up before, a shipped name has the same meaning."""
    found, _ = installed(monkeypatch, plugin("plug_a", name, pre="llama-bpe"))
    assert found.architecture("llama").name == "llama"
    for _ in range(2):
        with pytest.raises(
            PluginError, match=rf"{what} is claimed by two plugins, (llama|realizar) and plug_a.*REALIZAR_PLUGINS"
        ):
            found.architecture("zebra")


def test_selected_plugins_may_claim_shipped_names(monkeypatch):
    installed(monkeypatch, plugin("plug_a", "llama", pre="llama-bpe"))
    monkeypatch.setenv("REALIZAR_PLUGINS", "plug_a")
    found = registry.default.__wrapped__()
    assert found.origins == {"architecture llama": "plug_a", "pre-tokenizer llama-bpe": "plug_a"}


def test_a_broken_shipped_plugin_is_tried_once(monkeypatch):
    found, loaded = installed(monkeypatch)
    monkeypatch.setitem(sys.modules, "realizar_plugins.llama", None)  # its import fails
    with pytest.warns(UserWarning, match="llama"), pytest.raises(UnknownArchitectureError, match="llama is broken"):
        found.architecture("llama")
    assert "smollm3" not in found.architectures
    assert loaded.count("llama") == 1


def test_a_file_of_encoders_is_no_language_model():
    with pytest.raises(UnknownArchitectureError, match="give it as `mmproj` beside one"):
        registry.default().architecture("clip")
