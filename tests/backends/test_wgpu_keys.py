"""Sparse attention on the wgpu backend chooses the keys that the CPU backend chooses; and no op needs the host."""

import numpy as np
import pytest

from realizar.backends.wgpu.backend import WgpuBackend
from realizar.model import load
from realizar.testing import TOLERANCE, Session, random_tokens, relative_error
from tests.arch.test_sparse import LONG, VARIANTS, tiny
from tests.backends.adapters import need_adapter
from tests.shared import SHARED, needs_shared

CHANGES = {
    "nine keys": {},
    "odd sizes": VARIANTS["odd sizes"],
    "more keys than tokens": VARIANTS["more keys than tokens"],
}


@pytest.fixture(autouse=True)
def _adapter():
    need_adapter()


def session(model, backend, overrides=(), **options):
    names = [value.name for value in model.graphs["decode"].values if value.name.endswith(".keys")]
    passes = {} if backend is None else {"passes": backend.passes}
    plan = model.plan(outputs=["logits", *names], overrides=overrides, **passes)
    return names, Session(model, plan, backend=backend, **{"activations": "f32", "kv_type": "f32", **options})


def both(model, n, **options):
    """The outputs of n tokens in two steps, the first with another sequence, by both backends."""
    ids, found = random_tokens(n), []
    for own in (WgpuBackend(), None):
        names, made = session(model, own, **options)
        first = made.step([(1, 0, ids[:7]), (0, 0, ids[: n - 10])])
        last = made.step([(0, n - 10, ids[n - 10 :])])
        found.append({name: np.concatenate([first[name], last[name]]) for name in ("logits", *names)})
    return names, *found


@pytest.mark.parametrize("changes", CHANGES)
def test_the_same_keys_are_chosen(changes, tmp_path):
    with tiny("deepseek32", tmp_path, **CHANGES[changes]) as model:
        names, found, want = both(model, 60)
        for name in names:
            np.testing.assert_array_equal(found[name], want[name])
        assert relative_error(found["logits"], want["logits"]) < TOLERANCE


@pytest.mark.parametrize("kv_type", ["f16", "int8", "q4"])
def test_every_type_of_the_cache(kv_type, tmp_path):
    with tiny("deepseek32", tmp_path) as model:
        names, found, want = both(model, 40, kv_type=kv_type)
        np.testing.assert_array_equal(found[names[0]], want[names[0]])
        assert relative_error(found["logits"], want["logits"]) < 2e-3


def test_more_keys_than_a_workgroup_has_invocations(tmp_path):
    with tiny("deepseek32", tmp_path, **LONG) as model:
        names, found, want = both(model, 700, n_ctx=1024)
        np.testing.assert_array_equal(found[names[0]], want[names[0]])
        assert relative_error(found["logits"], want["logits"]) < TOLERANCE


def test_of_equal_scores_the_first_keys_are_chosen(tmp_path):
    """Weights of zero or NaN make all scores equal."""
    with tiny("deepseek32", tmp_path) as model:
        graph, n = model.graphs["decode"], 30
        weights = [graph.values[node.inputs[2]].name for node in graph.nodes if node.op == "choose_keys"]
        names, made = session(model, WgpuBackend(), weights)
        for number in (0.0, np.nan, -0.0):
            found = made.step([(0, 0, random_tokens(n))], {name: np.full((n, 6), number) for name in weights})
            want = [[j if j <= i else -1 for j in range(9)] for i in range(n)]
            for name in names:
                np.testing.assert_array_equal(found[name], want)


def test_overridden_keys(tmp_path):
    """Other keys change what attention sees; ids that are no keys are not seen."""
    ids = random_tokens(20)
    with tiny("deepseek32", tmp_path) as model:
        names, plain = session(model, WgpuBackend())
        chosen = plain.step([(0, 0, ids)])
        made = session(model, WgpuBackend(), names)[1]
        given = {name: chosen[name] for name in names}
        np.testing.assert_array_equal(made.step([(0, 0, ids)], given)["logits"], chosen["logits"])
        for wrong in (np.nan, 1e30, -1.0, 44.0):
            made.step([(0, 0, ids)], {name: np.full_like(rows, wrong) for name, rows in given.items()})
        newest = {name: np.maximum(np.arange(20.0)[:, None] - np.arange(9.0), -1.0) for name in names}
        found = made.step([(0, 0, ids)], newest)["logits"]
        assert relative_error(found[:9], chosen["logits"][:9]) < TOLERANCE
        assert relative_error(found[15:], chosen["logits"][15:]) > 0.01


@needs_shared
def test_no_op_of_a_shipped_architecture_runs_on_the_host():
    """But those that a plugin defines, which the CPU backend computes in numpy, too."""
    n = 0
    for folder in sorted(SHARED.glob("parity*/*/meta.json")):
        for path in sorted(folder.parent.glob("model-*.gguf"))[:1]:
            model, backend = load(path), WgpuBackend()
            for name in model.graphs:
                program = Session(model, model.plan(program=name, passes=backend.passes), backend=backend).compiled
                assert set(program.on_host) <= set(program.plan.plugin_ops), path
                n += 1
            backend.close()
            model.close()
    assert n > 90
