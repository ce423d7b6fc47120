"""BlockPool: who holds a block, what is found again by its name, and what goes first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.engine.block_pool import ROOT, BlockPool, chain_hash
from realizar.errors import RealizarError


def test_allocates_each_block_once_and_says_when_there_are_no_more():
    pool = BlockPool(5)
    assert sorted(pool.allocate() for _ in range(5)) == list(range(5))
    with pytest.raises(RealizarError, match="all 5 cache blocks"):
        pool.allocate()


def test_a_blank_block_is_used_again_before_a_fresh_one():
    pool = BlockPool(5)
    first = pool.allocate()
    pool.free(first)
    assert pool.allocate() == first


def test_named_blocks_are_lost_last_and_least_recently_freed_first():
    pool = BlockPool(4)
    blocks = [pool.allocate() for _ in range(4)]
    for block in blocks[:3]:
        pool.name(block, b"%d" % block)
    for block in (blocks[1], blocks[3], blocks[0], blocks[2]):
        pool.free(block)
    assert [pool.allocate() for _ in range(4)] == [blocks[3], blocks[1], blocks[0], blocks[2]]
    assert pool.n_named == 0


def test_a_free_named_block_comes_back_to_life():
    pool = BlockPool(2)
    block = pool.allocate()
    pool.name(block, b"x")
    pool.free(block)
    assert pool.find(b"x") == block
    assert pool.share(block) == block
    assert (pool.holders(block), pool.n_free) == (1, 1)
    assert pool.allocate() != block


def test_the_first_block_of_a_name_keeps_it():
    pool = BlockPool(2)
    a, b = pool.allocate(), pool.allocate()
    pool.name(a, b"x")
    pool.name(b, b"x")
    assert pool.find(b"x") == a
    pool.forget(b)
    assert pool.find(b"x") == a
    pool.forget(a)
    assert pool.find(b"x") is None


def test_shared_blocks_are_free_when_the_last_holder_lets_go():
    pool = BlockPool(1)
    block = pool.share(pool.allocate())
    pool.free(block)
    assert pool.n_free == 0
    pool.free(block)
    assert pool.n_free == 1


@given(st.lists(st.integers(0, 3), min_size=16, max_size=16), st.lists(st.integers(0, 3), min_size=16, max_size=16))
def test_names_tell_histories_apart(a, b):
    x, y = (np.array(t, np.int32) for t in (a, b))
    assert (chain_hash(ROOT, x) == chain_hash(ROOT, y)) == (a == b)
    assert chain_hash(chain_hash(ROOT, x), y) != chain_hash(ROOT, y)
