"""Templates of a new plugin distribution: pyproject.toml with the entry point, one architecture, and its test."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from realizar.arch.registry import API_VERSION
from realizar.errors import ParameterError, RealizarError

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "realizar-$dashed"
version = "0.1.0"
description = "The architecture $name for realizar"
requires-python = ">=3.10"
dependencies = ["realizar"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.realizar]
$name = "$module"

[tool.setuptools.packages.find]
where = ["src"]
"""

PLUGIN = '''\
"""$class_name: the architecture "$name" of GGUF files."""

from collections.abc import Sequence

from realizar.arch import Architecture, Graph, HParams, Value, Weight, Weights, WeightTable, hookimpl
from realizar.arch.blocks import embedding_tensors, gqa, gqa_tensors, swiglu_ffn, swiglu_tensors

realizar_api = "$api"


class $class_name(Architecture):
    """Rotary attention and a gated feed-forward network, each with an RMS pre-norm. Adapt it to your model."""

    name = "$name"  # general.architecture

    def tensors(self, hp: HParams) -> WeightTable:
        """The required tensors: name without ".weight" -> shape; `{i}` is the layer index."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp),
            "blk.{i}.ffn_norm": Weight((hp.n_embd,)),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """Record the computation graph; called once when a model is loaded."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox")
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this plugin."""
    return [$class_name]
'''

TEST = '''\
"""The architecture passes realizar's conformance kit and is registered."""

from $module import $class_name

from realizar.arch import registry
from realizar.testing import check_architecture


def test_conformance():
    check_architecture($class_name)


def test_architecture_is_registered():
    assert isinstance(registry.default().architecture("$name"), $class_name)
'''

README = """\
# realizar-$dashed

The architecture `$name` for realizar.

    pip install -e '.[test]'
    pytest
    realizar plugins
"""


def write(name: str, folder: Path) -> Path:
    """Write the distribution realizar-NAME to a new folder of that name.

    Parameters
    ----------
    name : str
        `general.architecture` of the model files.
    folder : Path
        Parent of the new folder.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    ParameterError
        If the name is invalid.
    RealizarError
        If the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name):
        raise ParameterError(
            f"plugin name {name!r}: must consist of lower-case letters, digits, - and _, such as my-model"
        )
    module = "realizar_" + name.replace("-", "_")
    class_name = "".join(word.capitalize() for word in re.split("[-_]", name))
    words = {
        "name": name, "dashed": name.replace("_", "-"), "module": module, "class_name": class_name, "api": API_VERSION,
    }  # fmt: skip
    files = {
        "pyproject.toml": PYPROJECT,
        f"src/{module}/__init__.py": PLUGIN,
        f"tests/test_{module}.py": TEST,
        "README.md": README,
    }
    root = folder / f"realizar-{words['dashed']}"
    if root.exists():
        raise RealizarError(f"{root} already exists; choose another name or folder")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(Template(text).substitute(words), "utf-8")
    return root
