"""Rows that are not plain tokens: how a batch has them, and that the prefix cache takes nothing for what it is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import multiple, precondition, rule, run_state_machine_as_test

from realizar import Embeddings, Tokens
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.content import Content
from realizar.engine.cache.sequence import Sequence
from realizar.errors import ParameterError
from realizar.runtime.batch import BLOCK
from tests.engine.fake import FULL, N_EMBD, PLANS, check_cache
from tests.engine.test_sequence import Rig, SequenceMachine


def picture(value, n, **fields):
    """Embeddings whose rows are value, value + 1 and so on."""
    return Embeddings(np.arange(value, value + n)[:, None].repeat(N_EMBD, 1), **fields)


def sequence(rig, *parts, **fields):
    content = Content.of(parts)
    seq = Sequence(rig.cache, content.tokens, content=None if content.is_plain else content, **fields)
    seq.match_prefix()
    return seq


def computed(rig, *parts, **fields):
    seq = sequence(rig, *parts, **fields)
    rig.finish(seq)
    return seq


@pytest.fixture
def rig():
    return Rig(FULL)


# ---- batches


def test_batch_of_parts(rig):
    """Embeddings, positions and spans are where the rows are; generated tokens go on after the greatest position."""
    grid = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]])
    first = sequence(rig, Tokens([5, 6, 7]), picture(1, 4, positions=grid, mask="bidirectional"), Tokens([8, 9]))
    second = sequence(rig, Tokens([1, 2, 3], "bidirectional"), picture(9, 1))
    for seq, n in ((first, 9), (second, 4)):
        seq.reserve(n)
    batch = rig.runner.batch([Chunk(first, 9, 1), Chunk(second, 4, 1)])
    batch.check()
    assert batch.tokens.tolist() == [5, 6, 7, 0, 0, 0, 0, 8, 9, 1, 2, 3, 0]
    assert batch.positions.tolist() == [
        [0, 1, 2, 3, 3, 3, 3, 5, 6, 0, 1, 2, 3],
        [0, 1, 2, 3, 3, 4, 4, 5, 6, 0, 1, 2, 3],
        [0, 1, 2, 3, 4, 3, 4, 5, 6, 0, 1, 2, 3],
    ]
    assert batch.spans.tolist() == [[3, 7], [9, 12]]
    assert batch.embedding_rows.tolist() == [3, 4, 5, 6, 12]
    assert batch.embeddings[:, 0].tolist() == [1, 2, 3, 4, 9]
    for seq, n in ((first, 9), (second, 4)):
        seq.commit(n)
        seq.append(30)
        seq.reserve(1)
    batch = rig.runner.batch([Chunk(first, 1, 1), Chunk(second, 1, 1)])
    batch.check()
    assert batch.positions.tolist() == [[7, 4]] * 3
    assert (batch.embeddings, batch.embedding_rows, batch.spans, batch.adapters) == (None,) * 4


def test_positions_for_all_axes_next_to_positions_for_each():
    grid = np.array([[0, 0], [0, 1], [1, 1]])
    mixed = Content.of([picture(1, 2, positions=[[3, 0]]), Tokens([5]), picture(1, 2, positions=grid)])
    whole = Content.of([picture(1, 2, positions=[[3, 0]] * 3), Tokens([5]), picture(1, 2, positions=grid)])
    assert mixed.positions(0, 6).tolist() == [[3, 0, 4, 5, 5, 7], [3, 0, 4, 5, 6, 7], [3, 0, 4, 6, 6, 7]]
    assert mixed.key(0, BLOCK) == whole.key(0, BLOCK)


def test_batch_of_adapters(rig):
    seqs = [Sequence(rig.cache, [1, 2], adapter=adapter) for adapter in (0, 3)]
    for seq in seqs:
        seq.reserve(2)
    assert rig.runner.batch([Chunk(seq, 2, 1) for seq in seqs]).adapters.tolist() == [0, 3]
    assert rig.runner.batch([Chunk(seqs[0], 2, 1)]).adapters is None


def test_chunks_keep_spans_whole(rig):
    seq = sequence(rig, Tokens([1] * 5), Tokens([2] * 20, "bidirectional"), Tokens([3] * 4))
    assert [seq.cut(n) for n in (1, 5, 6, 24, 25, 27)] == [1, 5, 5, 5, 25, 27]
    rig.compute((seq, 5))
    assert [seq.cut(n) for n in (1, 19, 20, 21)] == [0, 0, 20, 21]
    assert seq.chunks(19) == []
    assert seq.whole_spans(10, most=20) == 20


@pytest.mark.parametrize("name", ["stateful", "recurrent"])
def test_snapshots_are_taken_outside_spans(name, monkeypatch):
    monkeypatch.setattr("realizar.engine.cache.sequence.SNAPSHOT_TOKENS", 32)
    rig = Rig(PLANS[name])
    parts = [Tokens([1] * 30), Tokens([2] * 20, "bidirectional"), Tokens([3] * 21)]
    seq, ends = sequence(rig, *parts), []
    while seq.n_left:
        rig.compute((seq, seq.cut(min(seq.n_left, 32))))
        ends.append(seq.n_computed)
    assert ends == [30, 50, 64, 71]
    again = sequence(rig, *parts)
    assert again.n_cached == 64
    again.free()
    assert sequence(rig, *parts[:2]).n_cached == 0
    check_cache(rig.cache, [seq])


# ---- the prefix cache

TEXT = Tokens(list(range(1, 21)))
END = Tokens([7] * 20)


def n_cached(rig, *parts, **fields):
    seq = sequence(rig, *parts, **fields)
    n = seq.n_cached
    seq.free()
    return n


def test_the_same_embeddings_hit_and_others_do_not(rig):
    computed(rig, TEXT, picture(1, 12), END)
    assert n_cached(rig, TEXT, picture(1, 12), END) == 48
    assert n_cached(rig, TEXT, picture(2, 12), END) == 16
    assert n_cached(rig, TEXT, Tokens([0] * 12), END) == 16
    assert n_cached(rig, TEXT, picture(1, 11), END) == 16
    assert n_cached(rig, Tokens(TEXT.ids[:16])) == 0  # the last row is always computed
    assert n_cached(rig, TEXT) == 16


def test_a_key_stands_for_embeddings(rig):
    computed(rig, TEXT, picture(1, 12, key=b"cat"), END)
    assert n_cached(rig, TEXT, picture(1, 12, key=b"cat"), END) == 48
    assert n_cached(rig, TEXT, picture(1, 12, key=b"dog"), END) == 16
    assert n_cached(rig, TEXT, picture(1, 12), END) == 16
    assert n_cached(rig, Tokens([*TEXT.ids, 1]), picture(1, 11, key=b"cat"), END) == 16


def test_positions_count(rig):
    zeros, steps = np.zeros((1, 12), int), np.arange(12)[None]
    computed(rig, TEXT, picture(1, 12, positions=zeros), END)
    assert n_cached(rig, TEXT, picture(1, 12, positions=zeros), END) == 48
    assert n_cached(rig, TEXT, picture(1, 12, positions=zeros.repeat(3, 0)), END) == 48  # the same on every axis
    assert n_cached(rig, TEXT, picture(1, 12), END) == 16
    computed(rig, TEXT, picture(1, 12), END)
    assert n_cached(rig, TEXT, picture(1, 12, positions=steps), END) == 48


def test_a_conversation_goes_on_after_a_picture(rig):
    """What was generated is found again, although it is now part of a prompt with positions of its own."""
    seq = computed(rig, TEXT, picture(1, 12, positions=np.zeros((1, 12), int)), END)
    for token in range(40):
        seq.append(1 + token % 20)
    rig.finish(seq)
    parts = [TEXT, picture(1, 12, positions=np.zeros((1, 12), int)), END, Tokens([1 + i % 20 for i in range(40)])]
    assert n_cached(rig, *parts, picture(5, 12, positions=np.zeros((1, 12), int))) == 80


def test_masks_count_for_each_block_that_a_span_touches(rig):
    span = Tokens([3] * 20, "bidirectional")
    computed(rig, TEXT, span, END)
    assert n_cached(rig, TEXT, span, END) == 48
    assert n_cached(rig, TEXT, Tokens([3] * 20), END) == 16
    assert n_cached(rig, TEXT, Tokens([*[3] * 19, 4], "bidirectional"), END) == 16  # it differs in a later block
    assert n_cached(rig, TEXT, Tokens([3] * 19, "bidirectional"), Tokens([3]), END) == 16
    assert n_cached(rig, TEXT, span) == 16  # not a part of the span, which is to give an output


def test_a_match_does_not_end_inside_a_span(rig):
    seq = computed(rig, TEXT, Tokens([3] * 30, "bidirectional"), END)
    pool = rig.cache.pools[0]
    pool.evict(seq.tables[0][3])  # rows 48 to 63, the first two of the span
    assert n_cached(rig, TEXT, Tokens([3] * 30, "bidirectional"), END) == 16


def test_a_span_of_one_row_is_no_span(rig):
    computed(rig, TEXT, Tokens([3], "bidirectional"), END)
    assert n_cached(rig, TEXT, Tokens([3]), END) == 32


def test_adapters_and_programs_keep_apart(rig):
    computed(rig, TEXT, END, adapter=1)
    assert n_cached(rig, TEXT, END, adapter=1) == 32
    assert n_cached(rig, TEXT, END, adapter=2) == 0
    assert n_cached(rig, TEXT, END) == 0
    assert n_cached(rig, TEXT, END, adapter=1, program="other") == 0


def test_truncation_into_a_span_computes_it_again_from_its_start(rig):
    seq = computed(rig, TEXT, Tokens([3] * 20, "bidirectional"), END)
    seq.truncate(30)
    assert (seq.n_tokens, seq.n_computed, seq.content.spans) == (30, 20, ((20, 30),))
    for token in range(40):
        seq.append(1 + token % 9)
    rig.finish(seq)
    assert n_cached(rig, TEXT, Tokens([3] * 10, "bidirectional"), Tokens([1 + i % 9 for i in range(40)])) == 64
    seq.truncate(20)
    assert (seq.n_computed, seq.content) == (20, None)
    check_cache(rig.cache, [seq])


def test_forks_go_their_own_ways_after_embeddings(rig):
    seq = computed(rig, TEXT, picture(1, 12))
    fork = seq.fork()
    fork.truncate(25)
    for each, token in ((seq, 4), (fork, 5)):
        each.append(token)
        rig.finish(each)
    assert (seq.history.tolist(), fork.history.tolist()) == ([*TEXT.ids, 4], [*TEXT.ids, 5])
    assert len(fork.content.embeddings.rows) == 5
    beginning = seq.beginning(25)
    assert len(beginning.content.embeddings.rows) == 5
    check_cache(rig.cache, [seq, fork])


def test_the_beginning_of_a_sequence_does_not_cut_a_span(rig):
    seq = sequence(rig, TEXT, Tokens([3] * 20, "bidirectional"), END)
    assert [seq.beginning(n).n_tokens for n in (19, 20, 21, 39, 40, 41)] == [19, 20, 20, 20, 40, 41]


MASKS = st.sampled_from(["causal", "bidirectional"])
PARTS = st.one_of(
    st.builds(Tokens, st.lists(st.integers(0, 1), min_size=1, max_size=20), MASKS),
    st.builds(
        lambda value, n, mask, key, flat: picture(
            value, n, mask=mask, key=key, positions=np.zeros((3, n), int) if flat else None
        ),
        st.integers(0, 1), st.integers(1, 20), MASKS, st.sampled_from([None, None, b"a", b"b"]), st.booleans(),
    ),
)  # fmt: skip
PROMPTS = st.lists(PARTS, min_size=1, max_size=5)


def rows_of(parts):
    """All that determines each row, as plainly as can be, and the rows after which no span is cut."""
    rows, start, whole = [], 0, {0}
    for part in parts:
        is_picture = isinstance(part, Embeddings)
        own = part.rows if is_picture else part.ids
        span = (len(rows), len(rows) + len(own)) if part.mask == "bidirectional" and len(own) > 1 else None
        positions = np.arange(len(own))[None] if not is_picture or part.positions is None else part.positions
        positions = np.broadcast_to(positions, (3, len(own))) + start
        start = positions.max() + 1
        what = [
            (row.tobytes() if part.key is None else (i, part.key)) if is_picture else row for i, row in enumerate(own)
        ]
        for i, each in enumerate(what):
            rows.append((each, tuple(positions[:, i].tolist()), span, span and tuple(what)))
            if span is None:
                whole.add(len(rows))
        whole.add(len(rows))
    return rows, whole


@given(PROMPTS, PROMPTS, st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_what_is_taken_over_is_all_that_is_equal(one, other, n_common):
    """Never more: each row taken over has equal content. Never less: the longest such prefix in whole blocks."""
    other = [*one[:n_common], *other]
    rig = Rig(FULL, n_ctx=256)  # 8 parts of 20 rows at most
    computed(rig, *one)
    (rows, _), (others, whole) = rows_of(one), rows_of(other)
    n = next((i for i, (a, b) in enumerate(zip(rows, others, strict=False)) if a != b), min(len(rows), len(others)))
    want = max(i for i in range(0, min(n, len(others) - 1) + 1, BLOCK) if i in whole)
    assert n_cached(rig, *other) == want


class PartsMachine(SequenceMachine):
    """As its base, with prompts of parts."""

    @precondition(lambda self: len(self.alive) < 4)
    @rule(target=SequenceMachine.sequences, parts=PROMPTS)
    def new_of_parts(self, parts):
        if sum(len(getattr(part, "rows", getattr(part, "ids", ()))) for part in parts) > 90:
            return multiple()
        self.alive.append(sequence(self.rig, *parts))
        return self.alive[-1]


@pytest.mark.parametrize("n_examples", [30, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PLANS)
def test_any_course_of_events(name, n_examples, monkeypatch):
    monkeypatch.setattr("realizar.engine.cache.sequence.SNAPSHOT_TOKENS", 16)
    machine = type("Machine", (PartsMachine,), {"plan": PLANS[name]})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=n_examples, stateful_step_count=30, deadline=None)
    )


def test_errors():
    with pytest.raises(ParameterError, match=r"rows of \[2, 3\] numbers; all must have n_embd"):
        Content.of([picture(1, 2), Embeddings(np.zeros((2, 2)))])
    with pytest.raises(ParameterError, match=r"positions with \[2, 3\] axes; all must have as many, or 1"):
        Content.of([picture(1, 2, positions=np.zeros((n, 2), int)) for n in (1, 2, 3)])
    far = picture(1, 1, positions=[[2**31 - 1]])
    with pytest.raises(ParameterError, match="the prompt has positions up to 2147483648; at most 2147483647"):
        Content.of([Tokens([1]), far])
