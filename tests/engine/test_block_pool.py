"""BlockPool: reference counts, blocks that the prefix cache finds by their keys, and what is evicted first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.engine.cache.block_pool import BlockPool, chain_hash, chain_root
from realizar.errors import RealizarError


def test_allocates_each_block_once_and_says_when_there_are_no_more():
    pool = BlockPool(5)
    assert sorted(pool.allocate() for _ in range(5)) == list(range(5))
    with pytest.raises(RealizarError, match="all 5 cache blocks"):
        pool.allocate()


def test_a_free_block_that_is_not_cached_is_used_before_a_fresh_one():
    pool = BlockPool(5)
    first = pool.allocate()
    pool.free(first)
    assert pool.allocate() == first


def test_cached_blocks_are_evicted_last_and_least_recently_used_first():
    pool = BlockPool(4)
    blocks = [pool.allocate() for _ in range(4)]
    for block in blocks[:3]:
        pool.cache(block, b"%d" % block)
    for block in (blocks[1], blocks[3], blocks[0], blocks[2]):
        pool.free(block)
    assert [pool.allocate() for _ in range(4)] == [blocks[3], blocks[1], blocks[0], blocks[2]]
    assert pool.n_cached == 0


def test_never_used_and_freed_blocks_are_both_free():
    pool = BlockPool(3)
    block, _ = pool.allocate(), pool.allocate()
    pool.free(block)
    assert pool.n_free == 2  # one of each


def test_a_free_cached_block_is_taken_back():
    pool = BlockPool(2)
    block = pool.allocate()
    pool.cache(block, b"x")
    pool.free(block)
    assert pool.find(b"x") == block
    assert pool.share(block) == block
    assert (pool.ref_count(block), pool.n_free) == (1, 1)
    assert pool.allocate() != block


def test_the_first_block_of_a_key_keeps_it():
    pool = BlockPool(2)
    a, b = pool.allocate(), pool.allocate()
    pool.cache(a, b"x")
    pool.cache(b, b"x")
    assert pool.find(b"x") == a
    pool.evict(b)
    assert pool.find(b"x") == a
    pool.evict(a)
    assert pool.find(b"x") is None


def test_shared_blocks_are_free_without_references():
    pool = BlockPool(1)
    block = pool.share(pool.allocate())
    pool.free(block)
    assert pool.n_free == 0
    pool.free(block)
    assert pool.n_free == 1


@given(st.lists(st.integers(0, 3), min_size=16, max_size=16), st.lists(st.integers(0, 3), min_size=16, max_size=16))
def test_keys_tell_histories_apart(a, b):
    x, y = (np.array(t, np.int32) for t in (a, b))
    assert (chain_hash(chain_root("decode"), x) == chain_hash(chain_root("decode"), y)) == (a == b)
    assert chain_hash(chain_hash(chain_root("decode"), x), y) != chain_hash(chain_root("decode"), y)


def test_keys_tell_programs_adapters_and_content_apart():
    tokens = np.zeros(16, np.int32)
    roots = [chain_root("decode"), chain_root("decode", 1), chain_root("decode", 2), chain_root("other")]
    keys = [chain_hash(root, tokens, content) for root in roots for content in (b"", b"a" * 16, b"b" * 16)]
    assert len(set(keys)) == 12
    assert {len(key) for key in keys} == {16}  # 128 bits: collisions need not be considered
    assert keys[0] == chain_hash(chain_root("decode", adapter=0), tokens)
