"""A backend of a plugin: chosen by its name, checked by the conformance kit, and a member of staged backends."""

import pytest

from realizar import LLM, backends
from realizar.arch import hookimpl, registry
from realizar.backends.numpy.backend import NumpyBackend
from realizar.cli.options import backend_name
from realizar.errors import ParameterError, PluginError
from realizar.params import EngineParams, SamplingParams
from realizar.testing import ConformanceError, check_architecture
from tests.engine.test_same_bits import architecture
from tests.limits.models import LLAMA

GREEDY = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True)


class Counting(NumpyBackend):
    """The numpy backend, which counts what it compiles; its params are those of the engine."""

    def __init__(self, params):
        super().__init__()
        self.params, self.n_compiled = params, 0

    def compile(self, *args):
        self.n_compiled += 1
        return super().compile(*args)


class Careless(Counting):
    """Forgets that a step has several sequences, and gives the rows of the first one to all."""

    def compile(self, *args):
        program = super().compile(*args)
        run = program._run_rows
        program._run_rows = lambda batch, s, first, end, slot, given: {
            name: rows + 0.01 * s for name, rows in run(batch, s, first, end, slot, given).items()
        }
        return program


class Plugin:
    def __init__(self, **made):
        self.made = made

    @hookimpl
    def realizar_backends(self):
        return self.made


@pytest.fixture
def plugin(monkeypatch):
    own, shipped = registry.Registry(), registry.default()
    own.add("counting plugin", Plugin(counting=Counting, careless=Careless))
    own.architectures = shipped.architectures
    monkeypatch.setattr(registry, "default", lambda: own)
    return own


def test_an_llm_takes_it_by_name(plugin):
    with LLM(LLAMA, n_ctx=64, backend="numpy") as llm:
        want = llm.generate("Once", GREEDY)[0].token_ids
    with LLM(LLAMA, n_ctx=64, n_threads=3, backend="counting") as llm:
        made = llm.engine.runner.backend
        assert llm.generate("Once", GREEDY)[0].token_ids == want
    assert isinstance(made, Counting)
    assert (made.params.n_threads, made.n_compiled) == (3, 1)
    assert backend_name("counting") == "counting"


def test_the_conformance_kit_runs_on_it(plugin):
    check_architecture(architecture("llama"), types=("Q8_0",), backend="counting")
    with pytest.raises(ConformanceError, match=r"llama.decode on careless: logits is .* off beside other sequences"):
        check_architecture(architecture("llama"), types=("Q8_0",), backend="careless")


def test_an_unknown_name_lists_those_of_plugins(plugin):
    with pytest.raises(ParameterError, match="must be 'cpu' or 'numpy' or 'wgpu' or 'careless' or 'counting'"):
        backends.make(EngineParams(backend="cuda"))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda params: 1 // 0, "backend wrong: its plugin failed: .*division"),
        (lambda params: None, "backend wrong: its plugin returned a NoneType, which lacks n_threads, .*close"),
        (3, "backend wrong: its plugin failed: .*'int' object is not callable"),
    ],
)
def test_a_factory_that_fails(plugin, factory, message):
    plugin.add("wrong plugin", Plugin(wrong=factory))
    with pytest.raises(PluginError, match=message):
        LLM(LLAMA, n_ctx=64, backend="wrong")


def test_two_plugins_with_one_name_are_an_error(plugin):
    with pytest.raises(PluginError, match="backend counting is claimed by two plugins, counting plugin and another"):
        plugin.add("another", Plugin(counting=Counting))


def test_a_device_leaves_no_choice_of_a_backend():
    with pytest.raises(ParameterError, match="device='gpu': must be left out where backend='counting'"):
        EngineParams(backend="counting", device="gpu")
