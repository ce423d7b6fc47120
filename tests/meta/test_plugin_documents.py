"""The documents for plugin authors: their code runs, and no hook or method is missing."""

import inspect
import re

import numpy as np
import pytest

from realizar.arch import hookspecs, registry
from realizar.arch.registry import Registry
from realizar.gguf import GGUFFile
from realizar.graph import Graph
from realizar.graph.deprecated import DeprecatedNames
from realizar.model import Model
from realizar.testing import Session
from tests.limits.models import FIXTURES
from tests.meta.house import ROOT

HOOKS = [name for name, f in vars(hookspecs).items() if inspect.isfunction(f) and name.startswith("realizar_")]
METHODS = [
    name
    for cls in (Graph, *Graph.__bases__)
    if cls is not DeprecatedNames
    for name, member in vars(cls).items()
    if inspect.isfunction(member) and not name.startswith("_") and name not in ("value", "emit")
]


def sections(document):
    """Heading -> what stands under it."""
    parts = re.split(r"^#{2,3} (.+)$", (ROOT / "docs" / document).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def tutorial():
    """The names that the code of docs/plugins.md defines, run from top to bottom."""
    names = {"__name__": "tutorial"}
    for code in blocks((ROOT / "docs/plugins.md").read_text()):
        exec(compile(code, "docs/plugins.md", "exec"), names)
    return names


def test_the_code_of_the_tutorial_runs(tutorial):
    assert {"Phi2", "Short", "Experts", "Converted"} <= set(tutorial)


def test_phi_2_of_the_tutorial_equals_the_shipped_one(tutorial):
    with GGUFFile(FIXTURES / "phi/model-q4_k_m.gguf") as file:
        logits = []
        for architecture in (tutorial["Phi2"](), registry.default().architecture("phi2")):
            model = Model(file, architecture)
            logits.append(Session(model, model.plan()).prompt(list(range(3, 40)), 37)["logits"])
            del model
    np.testing.assert_array_equal(*logits)


def test_tensor_names_of_the_tutorial_equal_the_shipped_ones(tutorial):
    assert tutorial["Converted"].checkpoint.names == registry.default().architecture("phi2").checkpoint.names


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_an_example_that_runs(name):
    (code,) = blocks(sections("hooks.md")[name])
    found = {}
    exec(compile(code, "docs/hooks.md", "exec"), found)
    brought = Registry()
    brought.add("example", type("Plugin", (), {name: staticmethod(found[name])}))
    assert any(getattr(brought, table) for table in registry.TABLES.values())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_an_entry(name):
    """With its parameters, and the shapes in words or numbers."""
    (heading,) = [h for h in sections("graph.md") if h.startswith(f"`g.{name}(")]
    entry = sections("graph.md")[heading]
    assert "shape" in entry or "head_dim" in heading or re.search(r"\([\w\[\]]+( \* \w+)?,", entry), entry
    for parameter in list(inspect.signature(getattr(Graph, name)).parameters)[1:]:
        assert parameter in heading


def test_the_api_version_is_documented():
    assert f'realizar_api = "{registry.API_VERSION}"' in sections("plugins.md")["What is stable"]
