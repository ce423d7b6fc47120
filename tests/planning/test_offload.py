"""Which layers GPUs get: by name, by memory, by speed; and what is done when memory is too small after all."""

import asyncio
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from realizar import LLM, AsyncLLM
from realizar.backends.cpu.backend import CPUBackend
from realizar.backends.staged.backend import StagedBackend
from realizar.backends.wgpu import device
from realizar.backends.wgpu.backend import WgpuBackend
from realizar.backends.wgpu.gpus import GPU
from realizar.engine.cache.kv_cache import KVCache
from realizar.errors import DeviceMemoryError, ParameterError, RealizarError
from realizar.params import EngineParams, SamplingParams
from realizar.planning import offload
from realizar.planning.device_rates import DeviceRates
from realizar.planning.devices import devices
from realizar.planning.floor import Rates, prompt_floor, step_floor
from realizar.planning.needs import RESERVE
from realizar.planning.offload import choose, device_needs, on_cpu
from realizar.testing import TOLERANCE, relative_error, tiny_metadata, tiny_model
from tests.backends.adapters import need_adapter
from tests.engine.test_same_bits import architecture
from tests.limits.models import LLAMA

GREEDY = SamplingParams(temperature=0.0, max_tokens=6, ignore_eos=True)
EXACT = {"n_threads": 1, "n_ctx": 64, "activations": "f32", "kv_type": "f32"}
N_LAYER = 6
EXPERTS = {"block_count": 3, "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 64}
SLOW = DeviceRates(Rates(1.0, 0.1, 0.1))
FAST = DeviceRates(Rates(100.0, 10.0, 10.0), op_s=1e-9)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keys = {**tiny_metadata("llama"), "llama.block_count": N_LAYER}
    with tiny_model(architecture("llama"), keys, "Q4_K", tmp_path_factory.mktemp("tiny")) as made:
        yield made


def card(number=0, kind="discrete", memory=None, free=None):
    return GPU(number, f"card {number}", kind, "Vulkan", "", ("subgroup",), memory, free)


@pytest.fixture
def cards(monkeypatch):
    """Return a function that sets which adapters there are, and their rates."""

    def give(*own, rates=FAST):
        monkeypatch.setattr(device, "list_gpus", lambda: list(own))
        monkeypatch.setattr(device, "open_device", lambda number: own[number])
        monkeypatch.setattr(offload, "rates_of", lambda name, n_threads=None: SLOW if name == "cpu" else rates)

    return give


def params(**given):
    return EngineParams(**{"n_ctx": 64, "n_seqs": 1, **given})


# ---- choosing


def test_all_layers_where_memory_is_unknown(model, cards):
    cards(card())
    found = choose(model, params(device="gpu"))
    assert (found.n_gpu_layers, found.only, str(found)) == (N_LAYER, "gpu:0", "gpu:0 (card 0): all 6 layers")


@pytest.mark.parametrize("n", [0, 1, 4, N_LAYER])
def test_as_many_layers_as_memory_has_room_for(model, cards, n):
    cards(card())
    need = dict(device_needs(choose(model, params(device="gpu", n_gpu_layers=n)), model, params()))
    room = need["gpu:0"].n_bytes if n else RESERVE
    cards(card(memory=10 * room, free=room))
    assert choose(model, params(device="gpu")).n_gpu_layers == n
    cards(card(memory=10 * room, free=room - 1))
    assert choose(model, params(device="gpu")).n_gpu_layers == max(0, n - 1)


def test_a_longer_context_leaves_room_for_fewer_layers(model, cards):
    cards(card(free=device_total(model, cards, n_ctx=64)))
    assert choose(model, params(device="gpu")).n_gpu_layers == N_LAYER
    assert choose(model, params(device="gpu", n_ctx=128, n_seqs=64)).n_gpu_layers < N_LAYER


def device_total(model, cards, **given):
    cards(card())
    return dict(device_needs(choose(model, params(device="gpu")), model, params(**given)))["gpu:0"].n_bytes


def test_several_gpus_by_their_memory(model, cards):
    cards(card(0, free=2**33), card(1, free=2**34))
    found = choose(model, params(device="gpu:0,gpu:1"))
    assert found.placement.layers == (1, 1, 2, 2, 2, 2)
    assert str(found) == "gpu:0 (card 0): layers 0 to 1; gpu:1 (card 1): layers 2 to 5"


def test_auto_takes_a_real_gpu_that_is_faster(model, cards):
    cards(card())
    found = choose(model, params(device="auto"))
    assert found.only == "gpu:0"
    assert "ms on card 0" in found.why
    cards(card(), rates=DeviceRates(Rates(0.5, 0.1, 0.1)))
    slower = choose(model, params(device="auto"))
    assert slower.only == "cpu"
    assert "on the CPU" in slower.why
    assert choose(model, params(device="auto", n_gpu_layers=2)).n_gpu_layers == 2


def test_auto_leaves_a_gpu_that_fails(model, cards, monkeypatch):
    def fail(name, n_threads=None):
        raise DeviceMemoryError("card 0 has no memory for 256 MiB more")

    cards(card())
    monkeypatch.setattr(offload, "rates_of", fail)
    found = choose(model, params(device="auto"))
    assert (found.only, found.why) == ("cpu", "card 0 has no memory for 256 MiB more")


def test_auto_takes_no_software_adapter(model, cards):
    cards(card(kind="software"))
    found = choose(model, params(device="auto"))
    assert (found.only, found.why) == ("cpu", "there is no GPU")
    assert choose(model, params(device="gpu:0")).only == "gpu:0"


def test_auto_without_the_package(model, monkeypatch):
    def refuse():
        raise RealizarError("GPUs need the package wgpu")

    monkeypatch.setattr(device, "list_gpus", refuse)
    found = choose(model, params(device="auto"))
    assert (found.only, found.why) == ("cpu", "GPUs need the package wgpu")
    listed, missing = devices()
    assert ([each.device for each in listed], missing) == (["cpu"], "GPUs need the package wgpu")


def test_devices_say_what_auto_takes(cards):
    cards(card(0), card(1), card(2, "software"))
    found, missing = devices()
    assert [(each.device, each.auto) for each in found] == [
        ("cpu", "else"), ("gpu:0", "if faster"), ("gpu:1", "no: not the best"), ("gpu:2", "no: software"),
    ]  # fmt: skip
    assert missing is None


@pytest.mark.parametrize("backend", ["cpu", "numpy", "wgpu"])
def test_a_backend_without_a_device_is_named(model, backend):
    assert str(choose(model, params(backend=backend))) == f"{backend}: all {N_LAYER} layers"


def test_a_tensor_on_a_device_that_the_model_has_not(model, cards):
    cards(card(), card(1))
    with pytest.raises(ParameterError, match="tensor_devices: 'ffn' is to be on gpu:1, but device='gpu:0'"):
        choose(model, params(device="gpu:0", tensor_devices={"ffn": "gpu:1"}))


def test_a_pattern_that_fits_no_tensor(model, cards):
    cards(card())
    with pytest.warns(UserWarning, match=r"tensor_devices: no tensor of .*\.gguf fits 'ffn_dwn'"):
        choose(model, params(device="gpu", tensor_devices={"ffn_dwn": "cpu"}))


def test_experts_of_more_layers_than_there_are(model, cards):
    cards(card())
    assert choose(model, params(device="gpu", n_cpu_moe=10**20)).n_cpu_moe == N_LAYER


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "tpu"}, "device='tpu': must be 'auto', 'cpu', 'gpu', 'gpu:N'"),
        ({"device": "gpu:0,cpu"}, "device='gpu:0,cpu': must be"),
        ({"device": "gpu:00"}, "device='gpu:00': must be"),
        ({"device": "gpu:\u0660"}, "device=.*: must be"),  # a digit zero of another script
        ({"device": "gpu:" + "9" * 5000}, "device=.*: must be"),
        ({"device": "gpu", "backend": "numpy"}, "device='gpu': must be left out where backend='numpy'"),
        ({"n_gpu_layers": 3}, "n_gpu_layers=3: must be 0 or None where device='cpu'; pass device='gpu'"),
        ({"device": "gpu", "n_gpu_layers": -1}, "n_gpu_layers=-1: must be an integer >= 0"),
        ({"n_cpu_moe": True}, "n_cpu_moe=True: must be an integer >= 0"),
        ({"tensor_devices": {"ffn": "cpu"}}, "tensor_devices=.*: must be left out where device='cpu'"),
        ({"tensor_devices": {"(": "cpu"}}, "tensor_devices=.*: must be regular expressions"),
        ({"tensor_devices": {"": "cpu"}}, "tensor_devices=.*: must be regular expressions"),
        ({"tensor_devices": {"(" * 5000 + ")" * 5000: "cpu"}}, "tensor_devices=.*: must be regular expressions"),
        ({"tensor_devices": {"a{99999999999}": "cpu"}}, "tensor_devices=.*: must be regular expressions"),
        ({"tensor_devices": {"ffn": "tpu"}}, "tensor_devices=.*: must be regular expressions"),
        ({"tensor_devices": 3}, "tensor_devices=3: must be regular expressions"),
    ],
)
def test_parameters_are_checked(given, message):
    with pytest.raises(ParameterError, match=message):
        EngineParams(**given)


# ---- estimates


def test_the_floor_of_a_step_on_the_cpu_is_that_of_the_plan(model):
    given = params(activations="int8")
    ((_, found),) = device_needs(on_cpu(model), model, given)
    plan = model.plan()
    cache = KVCache(plan.cache_groups, plan.states, given, CPUBackend(1))
    want = step_floor(model, cache, given.n_ctx / 2, 1, activations="int8")
    assert found.decode.operations == want.operations
    assert found.decode.n_bytes == pytest.approx(want.n_bytes, rel=0.05)  # blocks of the CPU's cache are padded
    prompt = prompt_floor(model, cache, given.n_ctx, activations="int8")
    assert found.prefill.operations == pytest.approx(prompt.operations, rel=0.05)  # that of the head is left out there
    assert found.prefill.n_bytes == pytest.approx(prompt.n_bytes, rel=0.05)


@pytest.mark.parametrize("n", [2, N_LAYER])
def test_predicted_memory_is_what_is_taken(model, n):
    need_adapter()
    given = params(device="gpu", n_gpu_layers=n)
    with LLM(model.file.path, n_ctx=64, n_seqs=1, device="gpu", n_gpu_layers=n) as llm:
        own = llm.engine.runner.backend
        gpu = own if n == N_LAYER else own.members[1]
        storage = llm.engine.cache.storage if n == N_LAYER else llm.engine.cache.storage.members[1]
        need = dict(device_needs(llm.engine.offload, model, given))["gpu:0"]
        assert need.weights == gpu._weights.n_bytes
        assert need.cache == storage.n_bytes
        program = llm.engine.runner.program(None)
        values = program.n_bytes if n == N_LAYER else program._stages[-1][1].n_bytes
        assert need.values == pytest.approx(values, rel=0.25)


# ---- running


def logits(**given):
    with LLM(LLAMA, **{**EXACT, **given}) as llm:
        return llm.logits([1, 5, 9, 7]), llm.engine.runner.backend


@pytest.mark.parametrize(
    "given",
    [{"n_gpu_layers": 1}, {"n_gpu_layers": 99}, {"n_gpu_layers": 0}, {"tensor_devices": {"ffn_down": "cpu"}},
     {"device": "gpu:0,gpu:0"}],
    ids=str,
)  # fmt: skip
def test_logits_do_not_depend_on_devices(given):
    need_adapter()
    found, backend = logits(**{"device": "gpu", **given})
    assert relative_error(found, logits()[0]) < TOLERANCE
    kinds = {0: CPUBackend, 99: WgpuBackend}
    assert isinstance(backend, kinds.get(given.get("n_gpu_layers"), StagedBackend))


def test_experts_of_the_first_layers_stay_on_the_cpu(tmp_path):
    need_adapter()
    keys = {f"qwen3moe.{key}": value for key, value in EXPERTS.items()}
    with tiny_model(architecture("qwen3moe"), {**tiny_metadata("qwen3moe"), **keys}, "Q8_0", tmp_path) as made:
        path = made.file.path
    with LLM(path, **EXACT) as llm:
        want = llm.logits([1, 2, 3, 4])
    for n, n_stages in ((1, 3), (2, 5), (3, 7)):
        with LLM(path, **EXACT, device="gpu", n_cpu_moe=n) as llm:
            found, program = llm.logits([1, 2, 3, 4]), llm.engine.runner.program(None)
            assert f"experts of the first {n} layers on the CPU" in str(llm.engine.offload)
        assert relative_error(found, want) < TOLERANCE
        assert [stage.member for stage in program.stages] == [1, *[0, 1] * (n_stages // 2)]


def test_a_saved_cache_and_a_pickled_model_keep_their_devices(tmp_path):
    need_adapter()
    prompt = [1, *range(5, 45)]
    with LLM(LLAMA, **EXACT, device="gpu", n_gpu_layers=1, tensor_devices={"ffn_up": "cpu"}) as llm:
        want = llm.generate(prompt, GREEDY)[0].token_ids
        llm.save_cache(tmp_path / "cache", prompt)
        again = pickle.loads(pickle.dumps(llm))
    with again:
        assert again.params.tensor_devices == (("ffn_up", "cpu"),)
        again.load_cache(tmp_path / "cache")
        found = again.generate(prompt, GREEDY)[0]
        assert (found.token_ids, found.timings.n_cached > 0) == (want, True)


def test_async_llm():
    need_adapter()

    async def ask():
        async with AsyncLLM(LLAMA, **EXACT, device="gpu", n_gpu_layers=1) as llm:
            return (await llm.generate("Once", GREEDY))[0].token_ids

    with LLM(LLAMA, **EXACT) as llm:
        want = llm.generate("Once", GREEDY)[0].token_ids
    assert asyncio.run(ask()) == want


# ---- too little memory


@pytest.fixture
def small(monkeypatch):
    """Return a function that limits the bytes of the buffers that a device has at a time."""
    need_adapter()

    def limit(n_bytes):
        taken, make = [0], device.Device.buffer

        def buffer(self, size, **given):
            taken[0] += size
            if taken[0] > n_bytes:
                taken[0] = 0  # the backend is closed, and with it the others
                raise DeviceMemoryError(f"{self.name} has no memory for {size} bytes more")
            return make(self, size, **given)

        monkeypatch.setattr(device.Device, "buffer", buffer)

    return limit


def test_too_little_memory_leaves_fewer_layers(model, small):
    ((_, need),) = device_needs(choose(model, params(device="gpu")), model, params(n_batch=64))
    small((need.n_bytes - RESERVE) * 3 // 4)
    with pytest.warns(UserWarning, match=r"has no memory for .* bytes more; trying n_gpu_layers=4 of 6 instead of 6"):
        llm = LLM(model.file.path, n_ctx=64, n_batch=64, n_seqs=1, device="gpu", activations="f32", kv_type="f32")
    with llm:
        assert llm.engine.offload.n_gpu_layers < N_LAYER
        found = llm.logits([1, 2, 3])
    with LLM(model.file.path, n_ctx=64, activations="f32", kv_type="f32") as llm:
        assert relative_error(found, llm.logits([1, 2, 3])) < TOLERANCE


def test_no_memory_at_all_leaves_the_cpu(small):
    small(64)
    with pytest.warns(UserWarning, match="trying n_gpu_layers=0"):
        llm = LLM(LLAMA, **EXACT, device="gpu")
    with llm:
        assert llm.engine.offload.only == "cpu"
        assert isinstance(llm.engine.runner.backend, CPUBackend)


def test_an_error_of_the_driver_is_typed():
    need_adapter()
    import wgpu

    def refuse(**_):
        raise wgpu.GPUOutOfMemoryError("not enough memory left")

    opened = device.open_device()
    own = device.Device(**{**vars(opened), "gpu": SimpleNamespace(create_buffer=refuse)})
    with pytest.raises(DeviceMemoryError, match=r"has no memory for 1 MiB more .*not enough memory left"):
        own.buffer(1 << 20)
    assert np.isscalar(own.pid)
