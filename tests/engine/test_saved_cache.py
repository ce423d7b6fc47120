"""Caches saved to files and restored: the bits of computing them, and nothing is believed that a file says."""

import hashlib
import json
import os
import re

import numpy as np
import pytest

from realizar._kernels import table
from realizar.backends.cpu.backend import CPUBackend
from realizar.engine import saving
from realizar.engine.engine import Engine
from realizar.engine.saving import identity, read_cache, write_cache
from realizar.errors import CacheFileError, ContextFullError, ParameterError, RequestError
from realizar.params import Embeddings, EngineParams, SamplingParams, Tokens
from tests.engine.fake import N_EMBD, PLANS, FakeTokenizer, check_cache
from tests.engine.test_encoders import engine as engine_of_model
from tests.engine.test_encoders import t5, tiny  # noqa: F401 - a fixture
from tests.engine.test_engine import engine_of, finish, greedy
from tests.engine.test_same_bits import PROMPTS, make  # noqa: F401 - a fixture

GREEDY = SamplingParams(temperature=0.0, max_tokens=12, logprobs=8, ignore_eos=True)
PROMPT = PROMPTS[0]  # 100 tokens: six blocks of 16, and 4 tokens


def save(engine, path, prompt=PROMPT):
    request = engine.save(prompt)
    engine.complete([request])
    return len(write_cache(path, engine, request))


def load(engine, path):
    saved = read_cache(path, engine)
    engine.complete([engine.restore(saved)])
    return saved.n_tokens


def move(prompt, first, second):
    """Save a prompt from one engine and restore it in another."""
    request = first.save(prompt)
    first.complete([request])
    second.complete([second.restore(request.saved)])
    return request.saved.n_tokens


def test_a_restored_cache_has_the_bits_of_a_computed_one(make, tmp_path):  # noqa: F811
    first = make()
    (want,) = finish(first, first.generate(PROMPT, GREEDY))
    assert save(first, tmp_path / "a.cache") == 96
    check_cache(first.cache, [])
    second = make(n_seqs=3, n_batch=64, n_threads=1)
    assert load(second, tmp_path / "a.cache") == 96
    check_cache(second.cache, [])
    (found,) = finish(second, second.generate(PROMPT, GREEDY))
    assert found.timings.n_cached == 96
    assert (found.token_ids, found.logprobs) == (want.token_ids, want.logprobs)
    assert save(second, tmp_path / "b.cache") == 96
    assert (tmp_path / "a.cache").read_bytes() == (tmp_path / "b.cache").read_bytes()
    assert load(second, tmp_path / "a.cache") == 96  # all of it is there
    check_cache(second.cache, [])


def test_a_save_computes_what_is_not_in_the_cache(make, tmp_path):  # noqa: F811
    """A prompt of whole blocks is saved whole, though a prompt never continues from its own last row."""
    engine = make()
    assert save(engine, tmp_path / "a.cache", PROMPT[:64]) == 64
    n = engine.stats().n_computed
    assert n == 64
    save(engine, tmp_path / "a.cache", PROMPT[:64])
    assert engine.stats().n_computed == n + 16


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    with tiny("llama", tmp_path_factory.mktemp("tiny")) as model:
        model.__dict__["tokenizer"] = FakeTokenizer()
        yield model


@pytest.fixture(scope="module")
def saved(llama, tmp_path_factory):
    """The bytes of a file, 32 tokens of a tiny llama."""
    path = tmp_path_factory.mktemp("saved") / "a.cache"
    save(engine_of_model(llama), path, PROMPT[:32])
    return path.read_bytes()


def test_isa_levels_share_files(llama, saved, tmp_path):
    for level in table.available():
        engine = Engine(llama, EngineParams(n_ctx=80), backend=CPUBackend(1, isa=level))
        save(engine, tmp_path / level, PROMPT[:32])
        assert (tmp_path / level).read_bytes() == saved


def test_rows_that_are_embeddings():
    """Keys stand for what blocks hold, so that the same embeddings find them, and no others."""
    rows = np.arange(20 * N_EMBD, dtype=np.float32).reshape(20, N_EMBD)
    prompt = [Tokens([5, 6]), Embeddings(rows), Tokens(range(1, 20))]
    first, second = engine_of(), engine_of()
    assert move(prompt, first, second) == 32
    for asked, n in ((prompt, 32), ([Tokens([5, 6]), Embeddings(rows + 1), Tokens(range(1, 20))], 0)):
        found = finish(second, second.generate(asked, greedy()))[0]
        assert found.timings.n_cached == n
        assert found.token_ids == finish(first, first.generate(asked, greedy()))[0].token_ids


def test_a_span_is_not_cut():
    prompt = [Tokens(range(1, 25)), Tokens(range(1, 13), mask="bidirectional"), Tokens([1, 2, 3])]
    first, second = engine_of(), engine_of()
    assert move(prompt, first, second) == 16
    found, want = (finish(e, e.generate(prompt, greedy()))[0] for e in (second, first))
    assert (found.timings.n_cached, found.token_ids) == (16, want.token_ids)


@pytest.mark.parametrize("name", PLANS)
def test_restoring_while_others_run(name):
    """It waits for room as a prompt does, and what runs is not disturbed."""
    first, busy = engine_of(PLANS[name]), engine_of(PLANS[name], n_seqs=2, n_batch=40)
    tokens = [1 + i % 29 for i in range(70)]
    request = first.save(tokens)
    first.complete([request])
    prompts = [[1 + i, *tokens[: 7 * i]] for i in range(8)]
    requests = [busy.generate(prompt, greedy(40, ignore_eos=True)) for prompt in prompts]
    restored = [busy.restore(request.saved) for _ in range(3)]
    completions = finish(busy, *requests)
    busy.complete(restored)
    large = engine_of(PLANS[name], n_seqs=8)
    wanted = finish(large, *(large.generate(prompt, greedy(40, ignore_eos=True)) for prompt in prompts))
    assert [c.token_ids for c in completions] == [c.token_ids for c in wanted]
    check_cache(busy.cache, [])
    (again,) = finish(busy, busy.generate([*tokens, 3], greedy()))
    assert again.timings.n_cached >= 48


def test_a_failing_copy_fails_its_request_alone(monkeypatch):
    engine = engine_of()
    monkeypatch.setattr(engine.cache.storage, "save_blocks", lambda *_: 1 / 0)
    with pytest.raises(RequestError, match="ZeroDivisionError"):
        engine.complete([engine.save(list(range(1, 30)))])
    check_cache(engine.cache, [])
    assert len(finish(engine, engine.generate([1, 2], greedy(3, ignore_eos=True)))[0].token_ids) == 3


def test_prompts_that_cannot_be_saved(t5, tmp_path):  # noqa: F811
    engine = engine_of()
    with pytest.raises(ParameterError, match="15 tokens; whole blocks of 16"):
        engine.save(list(range(1, 16)))
    with pytest.raises(ContextFullError):
        engine.save([1] * 97)
    with pytest.raises(ParameterError, match="encoder"):
        engine_of_model(t5).save([1] * 40)


def test_a_cache_that_is_too_small(llama, saved, tmp_path):
    (tmp_path / "a").write_bytes(saved)
    with pytest.raises(ContextFullError, match="32 saved tokens do not fit into the context of 24"):
        read_cache(tmp_path / "a", engine_of_model(llama, n_ctx=24))


@pytest.mark.parametrize(
    ("params", "name"),
    [({"kv_type": "int8"}, "kv_type='f16/f16'"), ({"kv_type": ("f16", "f32")}, "kv_type"),
     ({"activations": "f32"}, "activations"), ({"backend": "numpy"}, "backend='CPUBackend'")],
)  # fmt: skip
def test_other_parameters(llama, saved, tmp_path, params, name):
    (tmp_path / "a").write_bytes(saved)
    with pytest.raises(CacheFileError, match=re.escape(name)):
        read_cache(tmp_path / "a", engine_of_model(llama, **params))


def test_another_model(t5, saved, tmp_path):  # noqa: F811
    (tmp_path / "a").write_bytes(saved)
    with pytest.raises(CacheFileError, match="was saved with model="):
        read_cache(tmp_path / "a", engine_of_model(t5))


def test_two_tables_of_rope_factors(llama, monkeypatch):
    """n_ctx is no part of the identity but where it chooses one of two tables."""
    monkeypatch.setattr(saving, "factors_for", lambda tables, scaling, n_ctx: ("short", "long")[n_ctx > 64])
    assert [identity(engine_of_model(llama, n_ctx=n))["rope_factors"] for n in (64, 80)] == ["short", "long"]


def changed(data, change):
    """A file with another header: `change` edits it, and may return what is written in its place."""
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    text = json.dumps(change(header) or header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + n :]


def at(*place, value):
    def change(header):
        found = header
        for key in place[:-1]:
            found = found[key]
        found[place[-1]] = value

    return change


HOSTILE = {
    "empty": lambda data: b"",
    "short": lambda data: data[:7],
    "no header": lambda data: data[:100],
    "truncated": lambda data: data[:-1],
    "longer": lambda data: data + b"a",
    "a huge header": lambda data: (2**63).to_bytes(8, "little") + data[8:],
    "no JSON": lambda data: data[:8] + b"[" + data[9:],
    "no UTF-8": lambda data: data[:8] + b"\xff" + data[9:],
    "deep JSON": lambda data: (10**5).to_bytes(8, "little") + b"[" * 10**5 + data,
    "a list": lambda data: changed(data, lambda header: [1]),
    "no metadata": lambda data: changed(data, lambda header: header.pop("__metadata__") and None),
    "a number for metadata": lambda data: changed(data, at("__metadata__", value=1)),
    "another format": lambda data: changed(data, at("__metadata__", "format", value="pt")),
    "another version": lambda data: changed(data, at("__metadata__", "realizar", value="0.0.1")),
    "another model": lambda data: changed(data, at("__metadata__", "model", value="0" * 64)),
    "another program": lambda data: changed(data, at("__metadata__", "program", value=None)),
    "another checksum": lambda data: changed(data, at("__metadata__", "sha256", value=["a"])),
    "no keys": lambda data: changed(data, lambda header: header.pop("keys") and None),
    "keys of another type": lambda data: changed(data, at("keys", value="a")),
    "no shape": lambda data: changed(data, at("keys", "shape", value=[])),
    "a text for a shape": lambda data: changed(data, at("keys", "shape", value=["2", 16])),
    "no blocks": lambda data: changed(data, at("keys", "shape", value=[0, 16])),
    "fewer blocks": lambda data: changed(data, at("keys", "shape", value=[1, 16])),
    "true blocks": lambda data: changed(data, at("keys", "shape", value=[True, 16])),
    "an array more": lambda data: changed(data, at("more", value={"dtype": "U8", "shape": [], "data_offsets": [0, 1]})),
    "another offset": lambda data: changed(data, at("keys", "data_offsets", value=[-(2**70), 2])),
    "another byte": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(llama, saved, tmp_path, name):
    (tmp_path / "a").write_bytes(HOSTILE[name](saved))
    engine = engine_of_model(llama)
    with pytest.raises(CacheFileError, match=re.escape(str(tmp_path / "a"))):
        read_cache(tmp_path / "a", engine)
    assert [pool.n_cached for pool in engine.cache.pools] == [0] * len(engine.cache.pools)


def test_more_blocks_than_the_context_has_allocate_nothing(llama, saved, tmp_path):
    (tmp_path / "a").write_bytes(changed(saved, at("keys", "shape", value=[2**60, 16])))
    with pytest.raises(ContextFullError):
        read_cache(tmp_path / "a", engine_of_model(llama))


def test_paths_that_are_no_files(llama, saved, tmp_path):
    engine = engine_of_model(llama)
    os.mkfifo(tmp_path / "pipe")
    for name, text in (("missing", "No such file"), ("", "not a regular file"), ("pipe", "not a regular file")):
        with pytest.raises(CacheFileError, match=text):
            read_cache(tmp_path / name, engine)
    with pytest.raises(ParameterError, match="path=3"):
        read_cache(3, engine)
    with pytest.raises(CacheFileError, match="cannot be written"):
        save(engine, tmp_path / "missing" / "a", PROMPT[:32])


def test_a_file_is_replaced_when_the_new_one_is_complete(llama, saved, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"before")

    def full(stream):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("realizar.store.cache.os.fsync", full)
        with pytest.raises(CacheFileError, match="No space left"):
            save(engine_of_model(llama), path, PROMPT[:32])
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"before"
    save(engine_of_model(llama), path, PROMPT[:32])
    assert path.read_bytes() == saved


def test_files_are_safetensors(saved):
    n = int.from_bytes(saved[:8], "little")
    header = json.loads(saved[8 : 8 + n])
    metadata = header.pop("__metadata__")
    assert all(isinstance(value, str) for value in metadata.values())
    ends = sorted(row["data_offsets"] for row in header.values())
    assert [begin for begin, _ in ends] == [0, *(end for _, end in ends[:-1])]
    assert ends[-1][1] == len(saved) - 8 - n
    assert {row["dtype"] for row in header.values()} == {"U8", "I32"}
    assert list(header)[:2] == ["keys", "tokens"]
    assert metadata["sha256"] == hashlib.sha256(saved[8 + n :]).hexdigest()
