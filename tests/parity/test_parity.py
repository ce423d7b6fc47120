"""Logits and greedy continuations against transformers and llama.cpp on tiny random models."""

from functools import cache

import numpy as np
import pytest

from realizar.arch import registry
from realizar.gguf import GGUFFile
from realizar.model import Model, load
from realizar.testing import Session, relative_error
from tests.isa import every

from . import cases

N_CTX = 256  # of the references; longrope depends on it
PATHS = cases.files(cases.FIXTURES)
if cases.WHOLE_SET.is_dir():
    PATHS = cases.files(cases.WHOLE_SET)
ALL_SETS = PATHS + cases.second_files("causal") + cases.own_files("causal")

each_file = pytest.mark.parametrize("path", ALL_SETS, ids=cases.name)
some_files = pytest.mark.parametrize("path", every(3, ALL_SETS), ids=cases.name)
# Cache formats do not depend on the architecture; the first set has every kind of attention.
each_file_of_the_first_set = pytest.mark.parametrize("path", PATHS, ids=cases.name)


@cache
def golden(folder):
    return dict(np.load(folder / "golden.npz"))


def exact(path):
    """Return the reference logits of a file and the error bound of the f32 path."""
    arrays, name = golden(path.parent), path.stem.removeprefix("model-")
    if f"logits_{name}_exact" in arrays:
        return arrays[f"logits_{name}_exact"], 5e-4 if path.parent.name in cases.GELU_TABLE else 1e-4
    return arrays["hf_logits"], cases.DEEP.get(path.parent.name, 2e-5)


def error(path, found, want):
    """Relative error of the whole array; with experts, the median over positions, as some may use other experts."""
    if not cases.has_experts(path):
        return relative_error(found, want)
    return float(np.median([relative_error(a, b) for a, b in zip(found, want, strict=True)]))


def llama_cpp(path):
    """Return llama.cpp's logits of the file; in our own cases those of transformers with rounded activations."""
    return golden(path.parent)[f"logits_{path.stem.removeprefix('model-')}"].astype(np.float32)


def logits(path, activations, kv_type, chunk=48):
    with_model = load(path)
    try:
        session = Session(with_model, with_model.plan(), activations=activations, kv_type=kv_type, n_ctx=N_CTX)
        return session.prompt([int(t) for t in golden(path.parent)["tokens"]], chunk)["logits"]
    finally:
        with_model.close()


@each_file
def test_f32(path):
    want, bound = exact(path)
    assert relative_error(logits(path, "f32", "f32"), want) <= bound


@each_file_of_the_first_set
def test_f16_cache(path):
    assert error(path, logits(path, "f32", "f16"), exact(path)[0]) <= 1.5e-3


@each_file_of_the_first_set
@pytest.mark.parametrize(("kv_type", "bound"), [("int8", 2e-2), (("f16", "int8"), 1.2e-2)], ids=str)
def test_int8_cache(path, kv_type, bound):
    sensitive = 1.5 if path.parent.name in cases.SENSITIVE else 1.0
    assert error(path, logits(path, "f32", kv_type), exact(path)[0]) <= bound * sensitive


@each_file
def test_int8(path):
    name = path.stem.removeprefix("model-")
    if name in cases.FLOAT_TYPES:
        pytest.skip("float weights have float activations: test_f32 checks them with the tighter bound")
    if path.parent.name in cases.REROUTED:
        pytest.skip("rounding changes the experts of an early token: compared with the experts of the exact run")
    want, factor = exact(path)[0], 1.25 if path.parent.name in cases.NOISY else 1.1
    assert error(path, logits(path, "int8", "f16"), want) <= factor * error(path, llama_cpp(path), want)


@pytest.mark.parametrize("path", [path for path in ALL_SETS if cases.has_experts(path)], ids=cases.name)
def test_int8_with_the_choices_of_the_f32_run(path):
    """With the experts and the keys that the f32 run chose, the whole array can be compared."""
    want, model = exact(path)[0], load(path)
    parts = [(0, 0, [int(t) for t in golden(path.parent)["tokens"]])]
    (graph,) = model.graphs.values()
    choices = [node for node in graph.nodes if node.op in ("choose_experts", "choose_keys")]
    ids = [graph.values[node.outputs[0]].name for node in choices]
    exactly = Session(model, model.plan(outputs=ids), activations="f32", kv_type="f32", n_ctx=N_CTX)
    replayed = Session(model, model.plan(overrides=ids), n_ctx=N_CTX)
    found = replayed.step(parts, overrides=exactly.step(parts))["logits"]
    bound = cases.SPARSE.get(path.parent.name) or 1.1 * relative_error(llama_cpp(path), want)
    assert relative_error(found, want) <= bound
    model.close()


@some_files
def test_token_by_token(path):
    assert np.array_equal(logits(path, "int8", "f16", chunk=1), logits(path, "int8", "f16"))


@some_files
def test_greedy(path):
    """Greedy decoding in f32 equals the reference up to a near tie of its best two logits."""
    arrays, name = golden(path.parent), path.stem.removeprefix("model-")
    kind = f"{name}_exact" if f"greedy_{name}_exact" in arrays else None
    want = arrays[f"greedy_{kind}"] if kind else arrays["hf_greedy"]
    margin = arrays[f"greedy_margin_{kind}"] if kind else arrays["hf_greedy_margin"]
    model = load(path)
    session = Session(model, model.plan(), activations="f32", kv_type="f32", n_ctx=N_CTX)
    tokens = [int(t) for t in arrays["tokens"]]
    for step, token in enumerate(want):
        past = 0 if step == 0 else len(tokens) - 1
        found = int(session.prompt(tokens[past:], len(tokens), past=past)["logits"][-1].argmax())
        if found != token:
            assert margin[step] < 1e-3, f"step {step}: {found}, not {token}, with a margin of {margin[step]}"
            return
        tokens.append(found)
    model.close()


@pytest.mark.parametrize("path", cases.files(cases.SECOND_SET, ("llama4",)), ids=cases.name)
def test_llama4_across_a_chunk(path):
    """Positions 8168 to 8214 of an empty cache: chunks end at 8192, where the scale of queries by position changes.

    Chunks are counted in rows, of which these are the first, so here a chunk has the 24 rows up to position 8192.
    """
    first, llama4 = 8168, type(registry.default().architecture("llama4"))
    early = type("EarlyEnd", (llama4,), {"CHUNK": llama4.CHUNK - first})
    arrays = golden(path.parent)
    tokens = [int(t) for t in arrays["tokens"][:47]]
    positions = np.arange(first, first + 47, dtype=np.int32)
    with GGUFFile(path) as file:
        model = Model(file, early())
        session = Session(model, model.plan(), activations="f32", kv_type="f32", n_ctx=8224, n_seqs=1)
        found = session.step([(0, 0, tokens)], positions=positions[None])["logits"]
        plain = session.step([(0, 0, tokens)])["logits"]
        model.close()
    assert relative_error(found, arrays["hf_logits_pos8168"]) <= 2e-5
    assert relative_error(found[24:], plain[24:]) > 1e-3


def test_all_parity_files():
    """Shows in the report whether the whole sets were compared."""
    missing = [str(folder) for folder in (cases.WHOLE_SET, cases.SECOND_SET) if not folder.is_dir()]
    if missing:
        pytest.skip(f"{', '.join(missing)}: missing; only the committed files were compared")
    assert len(PATHS) >= 19


@pytest.mark.parametrize("row", cases.second_set(), ids=lambda row: row["case"])
def test_case_is_compared(row):
    """Shows in the report which cases of the second set are not compared, and why."""
    if row["architecture"] not in registry.default().architectures:
        pytest.skip(f"{row['case']}: no plugin provides architecture {row['architecture']}")
    assert row["case"] in {path.parent.name for path in cases.second_files(row["kind"])}
