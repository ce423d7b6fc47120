"""Storages of a KV cache as arrays: copies of blocks and state slots in host memory, and back."""

from types import SimpleNamespace

import numpy as np
import pytest

from realizar.backends.cpu.storage import CPUStorage
from realizar.backends.numpy.storage import NumpyStorage
from realizar.runtime.backend import StorageParams

LAYER = SimpleNamespace(key="blk.0.kv", n_head_kv=2, head_dim_k=4, head_dim_v=4)
STATE = SimpleNamespace(key="blk.1.state", shape=(3,))


@pytest.fixture(params=["full", "latent"])
def kind(request):
    return request.param


@pytest.fixture(params=[CPUStorage, NumpyStorage])
def storage(request, kind):
    group = SimpleNamespace(kind=kind, window=0, layers=(LAYER,))
    return request.param([group], [STATE], StorageParams((4,), 2, "f32"))


def test_saved_blocks_can_be_loaded_into_others(storage):
    (layer,) = storage.layers
    for array in (layer.k, layer.v):
        array[...] = np.arange(4).reshape(-1, *[1] * (array.ndim - 1))
    saved = storage.save_blocks(0, [2, 1])
    storage.load_blocks(0, [0, 3], saved)
    for array in (layer.k, layer.v):
        assert array.reshape(4, -1)[:, 0].tolist() == [2, 1, 2, 1]


def test_memory_that_k_and_v_share_is_copied_once(storage):
    (layer,) = storage.layers
    saved = storage.save_blocks(0, [1])
    assert sum(array.nbytes for array in saved.values()) == storage.block_bytes(0)
    assert ("blk.0.kv.v" in saved) != np.shares_memory(layer.k, layer.v)


def test_a_saved_state_can_be_loaded_into_another_slot(storage):
    (state,) = storage.states
    state.data[:] = [[1, 2, 3], [0, 0, 0]]
    storage.load_slot(1, storage.save_slot(0))
    assert state.data[1].tolist() == [1, 2, 3]
