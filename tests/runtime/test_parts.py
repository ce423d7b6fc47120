"""Steps with embeddings, bidirectional spans and multi-axis positions, on a toy prefix LM."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from realizar._kernels import table
from realizar.arch import Architecture, Weight, registry
from realizar.errors import ParameterError
from realizar.graph import reference, section_axes
from realizar.testing import N_CTX, TOLERANCE, Session, random_tokens, relative_error, tiny_metadata, tiny_model

SCALE = 16.0
N = 64
KV_TYPES = ["f32", "f16", "int8", "q4"]


class PrefixLM(Architecture):
    """Causal attention of four kinds: full, sliding-window, MLA, and with relative position biases."""

    name = "prefix"

    def tensors(self, hp):
        square, half = Weight((hp.n_embd, hp.n_embd)), Weight((hp.n_embd // 2, hp.n_embd))
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "blk.{i}.attn_q": square, "blk.{i}.attn_k": half, "blk.{i}.attn_v": half, "blk.{i}.attn_output": square,
        }  # fmt: skip

    def attend(self, g, h, blk, layer):
        q = g.heads(g.linear(h, blk.attn_q), 4)
        k, v = (g.heads(g.linear(h, w), 2) for w in (blk.attn_k, blk.attn_v))
        if layer == 3:
            return g.attention(q, k, v, layer=layer, scale=0.1, alibi=8.0, softcap=5.0)
        axes = section_axes([16, 8, 8], interleaved=layer == 1)
        q, k = (g.rope(x, style="neox" if layer else "norm", dims=64, base=1e4, axes=axes) for x in (q, k))
        if layer == 2:
            return g.mla_attention(q, k, layer=layer, scale=0.1, head_dim_v=64)
        return g.attention(q, k, v, layer=layer, scale=0.1, window=9 * layer)

    def build(self, g, w, hp):
        x = g.embed(w.token_embd, scale=SCALE)
        for layer, blk in enumerate(w.blk):
            x = x + g.linear(self.attend(g, g.rms_norm(x, None, eps=1e-5), blk, layer), blk.attn_output)
        return g.linear(x, w.token_embd)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    metadata = {**tiny_metadata("prefix"), "prefix.block_count": 4}
    with tiny_model(PrefixLM(), metadata, "Q8_0", tmp_path_factory.mktemp("prefix")) as model:
        yield model


@dataclass
class Prompt:
    """The rows of one sequence: tokens, embeddings instead of some, spans and positions."""

    tokens: list
    embeddings: dict
    spans: list
    positions: np.ndarray


def plain(n, seed):
    """Rows of tokens only."""
    return Prompt(random_tokens(n, seed), {}, [], np.arange(n, dtype=np.int32)[None].repeat(3, 0))


def mixed():
    """A prompt with a bidirectional prefix, and a later span of tokens around embeddings."""
    rows = np.random.default_rng(5).standard_normal((12, 256), np.float32)
    tokens = [0 if 30 <= row < 42 else token for row, token in enumerate(random_tokens(N))]
    positions = np.stack([np.arange(N), np.arange(N) // 3, 7 * np.arange(N) % 19]).astype(np.int32)
    return Prompt(tokens, dict(zip(range(30, 42), rows, strict=True)), [(0, 25), (28, 45)], positions)


def step(session, *parts):
    """Return the logits of parts (sequence, prompt, first row, end) of prompts, all run in one step."""
    rows, spans, before = {}, [], 0
    for _, prompt, first, end in parts:
        rows.update({before + row - first: x for row, x in prompt.embeddings.items() if first <= row < end})
        spans += [(before + a - first, before + b - first) for a, b in prompt.spans if first <= a < end]
        before += end - first
    fields = {"positions": np.hstack([prompt.positions[:, first:end] for _, prompt, first, end in parts])}
    if rows:
        fields.update(embeddings=np.stack(list(rows.values())), embedding_rows=np.array(list(rows), np.int32))
    if spans:
        fields["spans"] = np.array(spans, np.int32)
    found = session.step([(s, first, prompt.tokens[first:end]) for s, prompt, first, end in parts], **fields)
    return np.split(found["logits"], np.cumsum([end - first for _, _, first, end in parts])[:-1])


def logits(session, prompt, cuts=(0, N)):
    """Return the logits of all rows of a prompt, run in steps that end at these rows."""
    return np.concatenate([step(session, (0, prompt, first, end))[0] for first, end in pairwise(cuts)])


@pytest.mark.parametrize("isa", table.available())
@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_every_op_agrees_with_the_interpreter(model, isa, kv_type):
    graph, prompt = model.graphs["decode"], mixed()
    session = Session(model, model.plan("decode", [value.name for value in graph.values]), kv_type=kv_type, isa=isa)
    found = session.step([(0, 0, prompt.tokens)], positions=prompt.positions, spans=np.array(prompt.spans, np.int32),
                         embeddings=np.stack(list(prompt.embeddings.values())),
                         embedding_rows=np.array(list(prompt.embeddings), np.int32))  # fmt: skip
    inputs = reference.Inputs(
        np.array(prompt.tokens), prompt.positions, np.arange(N, dtype=np.int32), model.tensors, "int8", kv_type, N_CTX,
        embeddings=prompt.embeddings, spans=prompt.spans,
    )  # fmt: skip
    # keys near the middle of two integers may be rounded apart
    bound = {"int8": 1e-4, "q4": 1e-3}.get(kv_type, TOLERANCE)
    for node in graph.nodes:
        x = [found[graph.values[i].name] for i in node.inputs]
        for i, want in zip(node.outputs, reference.evaluate(node, x, inputs), strict=True):
            assert relative_error(found[graph.values[i].name], want) <= bound, (kv_type, graph.values[i].name)


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_same_bits_for_all_ways_to_compute_a_prompt(model, kv_type):
    """For any ISA level, number of threads, and chunks that do not cut spans, and without fusion."""
    session, prompt = partial(Session, model, model.plan(), kv_type=kv_type), mixed()
    want = logits(session(), prompt)
    for isa in table.available():
        assert np.array_equal(logits(session(isa=isa), prompt), want), isa
    for n_threads in (1, 3):
        assert np.array_equal(logits(session(n_threads=n_threads), prompt), want), n_threads
    for cuts in ((0, 25, 28, 45, N), (0, 27, 50, N), (0, *range(25, 29), *range(45, N + 1))):
        assert np.array_equal(logits(session(), prompt, cuts), want), cuts
    every = model.plan("decode", ["logits", *(value.name for value in model.graphs["decode"].values)])
    assert np.array_equal(logits(Session(model, every, kv_type=kv_type), prompt), want)


def test_same_bits_in_a_batch(model):
    """In a batch with a decoding sequence, a prefilling one, and another one with parts."""
    session, prompt, other = Session(model, model.plan()), mixed(), plain(40, seed=9)
    want, alone = logits(session, prompt), logits(session, other, (0, 40))
    late = replace(prompt, tokens=prompt.tokens[28:], positions=prompt.positions[:, 28:].copy(),
                   embeddings={row - 28: x for row, x in prompt.embeddings.items()}, spans=[(0, 17)])  # fmt: skip
    want_late = logits(session, late, (0, 30))
    first = step(session, (1, other, 0, 39), (0, prompt, 0, 28), (2, late, 0, 20))
    second = step(session, (2, late, 20, 30), (1, other, 39, 40), (0, prompt, 28, N), (3, other, 0, 40))
    assert np.array_equal(np.concatenate([first[1], second[2]]), want)
    assert np.array_equal(np.concatenate([first[0], second[1]]), alone)
    assert np.array_equal(np.concatenate([first[2], second[0]]), want_late)
    assert np.array_equal(second[3], alone)


def test_a_span_changes_its_rows_and_the_following_ones(model):
    prompt = mixed()
    spans, causal = (logits(Session(model, model.plan()), replace(prompt, spans=spans)) for spans in ([(28, 45)], []))
    assert np.array_equal(spans[:28], causal[:28])
    assert (spans[28:] != causal[28:]).any(axis=1).all()


def test_embeddings_are_not_scaled(model):
    """Embeddings are not scaled: table rows times the embedding scale equal the tokens, table rows alone do not."""
    prompt, session = plain(N, seed=3), Session(model, model.plan())
    table = model.tensors["token_embd.weight"].floats()
    rows = {row: table[prompt.tokens[row]] for row in range(10, 31)}
    tokens = [0 if row in rows else token for row, token in enumerate(prompt.tokens)]
    scaled = replace(prompt, tokens=tokens, embeddings={row: x * np.float32(SCALE) for row, x in rows.items()})
    want = logits(session, prompt)
    assert np.array_equal(logits(session, scaled), want)
    raw = logits(session, replace(scaled, embeddings=rows))
    assert np.array_equal(raw[:10], want[:10])
    assert (raw[10:] != want[10:]).any(axis=1).all()


def test_one_row_of_positions_applies_to_every_axis(model):
    prompt, session = plain(N, seed=3), Session(model, model.plan())
    want = session.step([(0, 0, prompt.tokens)])["logits"]
    assert np.array_equal(logits(session, prompt), want)
    for axis in range(3):
        prompt.positions[axis, 20:] += 5
        assert not np.array_equal(logits(session, prompt)[20:], want[20:])


def test_causality_follows_the_order_of_rows(model):
    """Positions may jump, repeat and decrease: masks, windows and ALiBi do not depend on them."""
    prompt = plain(N, seed=3)
    prompt.positions[:] = np.random.default_rng(0).integers(0, 1000, (3, N))
    session = Session(model, model.plan())
    want = logits(session, prompt)
    changed = replace(prompt, tokens=[*prompt.tokens[:50], *random_tokens(14, seed=7)])
    assert np.array_equal(logits(session, changed)[:50], want[:50])


def test_inputs_of_a_program(model):
    assert model.graphs["decode"].inputs == model.plan().inputs == ("tokens", "embeddings", "positions")
    assert model.graphs["decode"].n_axes == model.plan().n_axes == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"positions": np.zeros((2, N), np.int32)}, r"positions: 2 axes; this program has 3"),
        ({"positions": np.array([[0] * N, [0] * N, [-1] * N], np.int32)}, r"positions: ids must be in \[0, "),
        ({"spans": np.array([[60, 65]], np.int32)}, r"spans must be ranges of rows up to 64"),
        ({"adapters": np.array([2], np.int32)}, r"adapters: 2; this program was compiled without adapters, use 0"),
        ({"embeddings": np.zeros((1, 128), np.float32), "embedding_rows": np.array([3], np.int32)},
         r"embeddings: rows of 128 numbers; this program needs 256"),
        ({"embeddings": np.zeros((1, 256), np.float32)}, r"embeddings must come with embedding_rows"),
    ],
)  # fmt: skip
def test_invalid_parts(model, fields, message):
    session = Session(model, model.plan())
    batch = replace(session.batch([(0, 0, [0] * N)]), **fields)
    with pytest.raises(ParameterError, match=r"Batch\." + message):
        session.compiled.run(batch)


def test_a_program_without_tokens_rejects_embeddings(model):
    """The embedded rows are an override, not computed from tokens."""
    session = Session(model, model.plan(overrides=["token_embd"]))
    embeddings, rows = np.zeros((1, 256), np.float32), np.array([3], np.int32)
    with pytest.raises(ParameterError, match=r"embeddings: this program does not read them; it reads .*positions"):
        session.step([(0, 0, [0] * N)], {"token_embd": np.zeros((N, 256), np.float32)}, embeddings=embeddings,
                     embedding_rows=rows)  # fmt: skip


def test_positions_beyond_computed_scales(tmp_path):
    """The CPU backend has a table of `position_scale` for n_ctx positions."""
    more = {"mistral3.rope.scaling.original_context_length": 16, "mistral3.attention.temperature_scale": 0.1}
    metadata = {**tiny_metadata("mistral3"), **more}
    with tiny_model(registry.default().architecture("mistral3"), metadata, "Q8_0", tmp_path) as mistral:
        session = Session(mistral, mistral.plan())
        session.step([(0, 0, [0])], positions=np.array([[N_CTX - 1]], np.int32))
        with pytest.raises(ParameterError, match=rf"positions: ids must be in \[0, {N_CTX}\)"):
            session.step([(0, 0, [0])], positions=np.array([[N_CTX]], np.int32))
