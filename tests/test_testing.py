"""The conformance kit fails if an architecture is wrong."""

from dataclasses import replace

import pytest

from realizar.arch import Weight, registry
from realizar.graph.ops import OPS
from realizar.testing import ConformanceError, check_architecture
from tests.isa import LEVELS

Llama = type(registry.default().architecture("llama"))


class UnusedTensor(Llama):
    def tensors(self, hp):
        return {**super().tensors(hp), "extra": Weight((hp.n_embd,))}


def test_unused_tensor_is_named():
    with pytest.raises(ConformanceError, match=r"extra\.weight"):
        check_architecture(UnusedTensor, isa_levels=LEVELS)


def test_a_wrong_kernel_is_found(monkeypatch):
    for name, evaluate in (("swiglu", lambda node, x, inputs: [x[0] * x[1]]), ("silu", lambda node, x, inputs: [x[0]])):
        monkeypatch.setitem(OPS, name, replace(OPS[name], evaluate=evaluate))
    with pytest.raises(ConformanceError, match=r"silu.*off the interpreter"):
        check_architecture(Llama, types=("Q8_0",), isa_levels=LEVELS)
