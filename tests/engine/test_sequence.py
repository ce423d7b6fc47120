"""Sequences without an engine: what a model reads through their block tables is their history, whatever came before."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from realizar.backends.cpu.backend import CPUBackend
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.sequence import NO_BLOCK, Sequence
from realizar.engine.runner import Runner
from realizar.errors import ContextFullError, ParameterError
from realizar.params import EngineParams
from tests.engine.fake import (
    FULL,
    PLANS,
    RECURRENT,
    STATEFUL,
    WINDOWS,
    FakeModel,
    check_cache,
    expected,
    fake_cache,
    symbol,
)

PROMPT = [1 + i % 29 for i in range(100)]


class Rig:
    """A cache, a program, and a way to compute some tokens of some sequences and check what comes out."""

    def __init__(self, plan, **params):
        self.plan = plan
        self.cache = fake_cache(plan, **params)
        self.runner = Runner(FakeModel(plan), self.cache, EngineParams(n_threads=2), CPUBackend(2))

    def compute(self, *parts):
        """One step over (sequence, n_tokens)."""
        for seq, n in parts:
            seq.reserve(n)
        logits = self.runner.run(self.runner.batch([Chunk(seq, n, n) for seq, n in parts]))["logits"].values
        want = [
            expected(self.plan, symbols(seq), span_of(seq, at), at)
            for seq, n in parts
            for at in range(seq.n_computed, seq.n_computed + n)
        ]
        np.testing.assert_array_equal(logits, want)
        for seq, n in parts:
            seq.commit(n)

    def finish(self, seq):
        while seq.n_left:
            self.compute((seq, seq.whole_spans(min(seq.n_left, self.cache.n_batch))))

    def sequence(self, tokens, content=None):
        seq = Sequence(self.cache, tokens, content=content)
        seq.match_prefix()
        return seq


def symbols(seq):
    """Token ids of a sequence, and what stands for its embeddings."""
    found = seq.tokens.tolist()
    if seq.content is not None and seq.content.embeddings is not None:
        for row, value in zip(seq.content.embeddings.rows, seq.content.embeddings.values, strict=True):
            found[row] = symbol(value)
    return found


def span_of(seq, row):
    """The bidirectional span that a row is in."""
    spans = () if seq.content is None else seq.content.spans
    return next((span for span in spans if span[0] <= row < span[1]), None)


@pytest.fixture(params=PLANS)
def rig(request):
    return Rig(PLANS[request.param])


@pytest.mark.parametrize("chunk", [1, 7, 16, 32])
def test_chunks_of_any_size(rig, chunk):
    seq = rig.sequence(PROMPT)
    while seq.n_left:
        rig.compute((seq, min(chunk, seq.n_left)))
    check_cache(rig.cache, [seq])


def test_a_prefix_is_taken_over_in_whole_blocks_but_not_the_last_token():
    rig = Rig(FULL)
    seq = rig.sequence(PROMPT[:48])
    rig.finish(seq)
    again = rig.sequence(PROMPT[:48])
    assert (again.n_cached, again.n_computed) == (32, 32)
    longer = rig.sequence(PROMPT[:49])
    assert longer.n_cached == 48
    assert longer.tables[0][:3] == seq.tables[0][:3]
    other = rig.sequence([*PROMPT[:20], 31, *PROMPT[21:48]])
    assert other.n_cached == 16
    for each in (again, longer, other):
        rig.finish(each)
    check_cache(rig.cache, [seq, again, longer, other])


def test_a_prefix_outlives_its_sequence_until_its_blocks_are_needed():
    rig = Rig(FULL, n_seqs=1)
    seq = rig.sequence(PROMPT[:40])
    rig.finish(seq)
    seq.free()
    again = rig.sequence(PROMPT[:40])
    assert again.n_cached == 32
    again.free()
    rig.finish(other := rig.sequence([30] * 128))
    other.free()
    assert rig.sequence(PROMPT[:40]).n_cached == 0


def test_a_window_group_needs_only_the_blocks_in_sight():
    rig = Rig(WINDOWS, n_seqs=1)
    seq = rig.sequence(PROMPT[:81])
    rig.finish(seq)
    assert seq.tables[1] == [NO_BLOCK] * 4 + seq.tables[1][4:]
    assert seq.tables[2][:2] == [NO_BLOCK, NO_BLOCK]
    again = rig.sequence(PROMPT[:81])
    assert again.n_cached == 80
    assert again.tables[1][:4] == [NO_BLOCK] * 4
    rig.finish(again)
    check_cache(rig.cache, [seq, again])


@pytest.fixture(params=[STATEFUL, RECURRENT], ids=["stateful", "recurrent"])
def with_state(request):
    return Rig(request.param, n_ctx=640)


def test_a_state_is_taken_over_where_it_was_kept(with_state):
    """At the end of a prompt and every 256 tokens; a step ends there."""
    long = [1 + i % 29 for i in range(600)]
    seq = with_state.sequence(long)
    ends = []
    while seq.n_left:
        with_state.compute((seq, seq.cut(min(seq.n_left, 32))))
        ends.append(seq.n_computed)
    assert {256, 512, 592} < set(ends)
    for n, n_cached in ((600, 592), (593, 592), (591, 512), (257, 256), (256, 0), (40, 0)):
        again = with_state.sequence(long[:n])
        assert (again.n_cached, again.n_computed) == (n_cached, n_cached)
        with_state.finish(again)
        again.free()
    check_cache(with_state.cache, [seq])


def test_a_state_that_was_kept_outlives_its_sequence(with_state):
    seq = with_state.sequence(PROMPT[:40])
    with_state.compute((seq, seq.cut(40)))
    seq.free()
    again = with_state.sequence(PROMPT[:40])
    assert again.n_cached == 32
    with_state.finish(again)
    assert seq.tokens.tolist() == again.tokens.tolist()


def test_the_state_used_least_recently_gives_way():
    rig = Rig(RECURRENT, n_seqs=1)  # room for one: its context is shorter than what lies between two
    for begin in (1, 2):
        seq = rig.sequence([begin] * 33)
        rig.compute((seq, 32))
        seq.free()
    assert len(rig.cache.snapshots) == 1
    assert rig.sequence([2] * 33).n_cached == 32
    assert rig.sequence([1] * 33).n_cached == 0


@pytest.mark.parametrize("name", PLANS)
def test_what_a_cache_for_more_sequences_takes(name):
    for n_seqs in (1, 3, 4):
        assert fake_cache(PLANS[name], n_seqs=1).n_bytes_for(n_seqs) == fake_cache(PLANS[name], n_seqs=n_seqs).n_bytes


def test_truncate_goes_back_to_a_state_that_was_kept(with_state):
    seq = with_state.sequence(PROMPT[:70])
    with_state.compute((seq, 32))
    with_state.compute((seq, 32))
    with_state.finish(seq)
    seq.truncate(66)
    assert seq.n_computed == 64
    fork = seq.fork()
    with_state.finish(seq)
    fork.append(3)
    with_state.finish(fork)
    seq.truncate(63)
    assert seq.n_computed == 0
    check_cache(with_state.cache, [seq, fork])


def test_fork_goes_its_own_way(rig):
    seq = rig.sequence(PROMPT[:21])
    rig.finish(seq)
    other = seq.fork()
    check_cache(rig.cache, [seq, other])
    seq.append(3)
    other.append(4)
    rig.compute((seq, 1), (other, 1))
    check_cache(rig.cache, [seq, other])
    third = other.fork()
    other.free()
    third.append(9)
    rig.finish(third)
    seq.append(5)
    rig.finish(seq)
    check_cache(rig.cache, [seq, third])


def test_fork_copies_one_block_and_only_when_it_is_written():
    rig = Rig(FULL)
    seq = rig.sequence(PROMPT[:21])
    rig.finish(seq)
    used = rig.cache.pools[0].n_free
    other = seq.fork()
    assert rig.cache.pools[0].n_free == used
    other.append(1)
    rig.finish(other)
    assert rig.cache.pools[0].n_free == used - 1
    assert other.tables[0][0] == seq.tables[0][0]
    assert other.tables[0][1] != seq.tables[0][1]


@pytest.mark.parametrize("keep", [0, 1, 15, 16, 17, 33, 64, 69, 70])
def test_truncate_and_go_on_equals_fresh(rig, keep):
    seq = rig.sequence(PROMPT[:70])
    rig.finish(seq)
    seq.truncate(keep)
    check_cache(rig.cache, [seq])
    for token in (7, 8, 9):
        seq.append(token)
    rig.finish(seq)
    assert seq.tokens.tolist() == [*PROMPT[:keep], 7, 8, 9]
    check_cache(rig.cache, [seq])


def test_truncate_keeps_what_is_computed():
    rig = Rig(FULL)
    seq = rig.sequence(PROMPT[:70])
    rig.finish(seq)
    seq.truncate(37)
    assert (seq.n_tokens, seq.n_computed, len(seq.tables[0])) == (37, 37, 3)


def test_a_block_that_changes_is_found_no_more_under_its_old_name():
    rig = Rig(FULL)
    seq = rig.sequence(PROMPT[:33])
    rig.finish(seq)
    seq.truncate(20)
    shared = rig.sequence(PROMPT[:33])
    assert shared.n_cached == 32
    shared.free()
    for _ in range(13):
        seq.append(30)
    rig.finish(seq)
    assert rig.sequence(PROMPT[:33]).n_cached == 16
    assert rig.sequence([*PROMPT[:20], *[30] * 13]).n_cached == 32


def test_an_interrupted_step_can_be_made_again(rig):
    seq = rig.sequence(PROMPT[:21])
    rig.finish(seq)
    other = seq.fork()
    other.append(5)
    other.reserve(1)
    other.reserve(1)
    rig.compute((other, 1))
    check_cache(rig.cache, [seq, other])


def test_errors():
    cache = fake_cache(FULL, n_ctx=32)
    with pytest.raises(ContextFullError, match="33 tokens do not fit into the context of 32"):
        Sequence(cache, [1] * 33)
    seq = Sequence(cache, [1] * 32)
    seq.append(1)
    with pytest.raises(ContextFullError, match="32"):
        seq.append(1)
    with pytest.raises(ParameterError, match=r"\[0, 33\]"):
        seq.truncate(34)
    with pytest.raises(ParameterError):
        seq.truncate(-1)


class SequenceMachine(RuleBasedStateMachine):
    """Sequences of one cache, made, grown, forked, cut and freed in any order."""

    sequences = Bundle("sequences")
    plan = FULL

    def __init__(self):
        super().__init__()
        self.rig = Rig(self.plan, n_ctx=96, n_seqs=4)
        self.alive = []

    @precondition(lambda self: len(self.alive) < 4)
    @rule(target=sequences, n=st.integers(1, 90), fill=st.integers(1, 3))
    def new(self, n, fill):
        seq = self.rig.sequence([*PROMPT[: n // 2], *[fill] * (n - n // 2)])
        self.alive.append(seq)
        return seq

    @rule(target=sequences, seq=consumes(sequences))
    def fork(self, seq):
        if len(self.alive) == 4:
            return seq
        self.alive.append(seq.fork())
        return multiple(seq, self.alive[-1])

    @rule(parts=st.lists(st.tuples(sequences, st.integers(1, 20)), max_size=3, unique_by=lambda part: id(part[0])))
    def compute(self, parts):
        parts = [(seq, seq.cut(min(seq.n_left, n))) for seq, n in parts if seq.n_left]
        parts = [(seq, n) for seq, n in parts if n]
        if parts and sum(n for _, n in parts) <= self.rig.cache.n_batch:
            self.rig.compute(*parts)

    @rule(seq=sequences, tokens=st.lists(st.integers(1, 3), max_size=18))
    def append(self, seq, tokens):
        for token in tokens[: 96 - seq.n_tokens]:
            seq.append(token)

    @rule(seq=sequences, share=st.floats(0, 1))
    def truncate(self, seq, share):
        seq.truncate(round(share * seq.n_tokens))

    @rule(seq=consumes(sequences))
    def free(self, seq):
        seq.free()
        self.alive.remove(seq)

    @invariant()
    def accounts_are_right(self):
        check_cache(self.rig.cache, self.alive)


@pytest.mark.parametrize("n_examples", [30, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PLANS)
def test_any_course_of_events(name, n_examples, monkeypatch):
    monkeypatch.setattr("realizar.engine.cache.sequence.SNAPSHOT_TOKENS", 16)
    machine = type("Machine", (SequenceMachine,), {"plan": PLANS[name]})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=n_examples, stateful_step_count=30, deadline=None)
    )
