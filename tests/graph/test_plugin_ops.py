"""Ops that plugins provide: recording, shape rules, and results row by row."""

from dataclasses import replace

import numpy as np
import pytest

from realizar.arch.architecture import WeightRef
from realizar.errors import GraphError, PluginError
from realizar.graph import Graph, Node, OpSpec
from realizar.graph.plugin_ops import check_spec, evaluate_by_rows
from realizar.graph.reference import Inputs, run
from realizar.runtime.plan import lower


def same_shape(inputs, weights, attrs):
    if weights and weights[0] != inputs[0]:
        raise GraphError(f"moving_average: weight {weights[0]} for an input of shape {inputs[0]}")
    return [inputs[0]]


def smoothed(x, weights, attrs, state):
    state += (1 - attrs["decay"]) * (x[0][0] - state)
    return [state[None] * weights[0]]


AVERAGE = OpSpec(
    "moving_average", "s += (1 - decay) (x - s), y = s w", ("decay",), same_shape, rowwise=False, define=smoothed
)
EXTREMES = OpSpec(
    "extremes", "the least and the greatest element", (), lambda inputs, weights, attrs: [(1,), (1,)],
    define=lambda x, weights, attrs, state: [x[0].min(axis=1, keepdims=True), x[0].max(axis=1, keepdims=True)],
)  # fmt: skip


class Floats:
    type = "F32"

    def __init__(self, array):
        self.array = np.asarray(array, np.float32)

    def floats(self):
        return self.array


def weight(name, *shape, bias=None):
    return WeightRef(name, shape, bias)


@pytest.fixture
def g():
    return Graph({op.name: op for op in (AVERAGE, EXTREMES)})


def average(g, x, decay=0.75):
    return g.op("moving_average", [x], [weight("w", 4)], state=g.state(0, (4,)), decay=decay)[0]


def test_node_has_the_row_of_the_plugin(g):
    y = average(g, g.embed(weight("token_embd", 8, 4)))
    node = g.nodes[-1]
    assert (y.name, y.shape) == ("moving_average", (4,))
    assert (node.op, node.weights, node.attrs) == (
        "moving_average", ("w.weight",), {"decay": 0.75, "state": "blk.0.state"}
    )  # fmt: skip
    assert node.spec is AVERAGE
    assert g.nodes[0].spec.name == "embed"


def test_several_outputs_are_numbered(g):
    low, high = g.op("extremes", [g.embed(weight("token_embd", 8, 4))])
    assert (low.name, high.name, high.shape) == ("extremes.0", "extremes.1", (1,))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (lambda g, x: g.op("unheard_of", [x]), "'unheard_of': no installed plugin.*extremes, moving_average"),
        (lambda g, x: g.op("linear", [x]), "a built-in op is recorded by its own method"),
        (lambda g, x: g.op("extremes", [x, x]), "2 inputs; it takes x"),
        (lambda g, x: g.op("extremes", []), "0 inputs; it takes x"),
        (lambda g, x: g.op("extremes", [x], decay=0.5), "attributes decay; it has none"),
        (lambda g, x: g.op("moving_average", [x], state=g.state(0, (4,))), "attributes none; it has decay"),
        (lambda g, x: g.op("moving_average", [x], [weight("w", 3)], decay=0.5), r"weight \(3,\) for an input"),
        (lambda g, x: g.op("moving_average", [x], [weight("w", 4, bias="b")], decay=0.5), "w has a bias"),
        (lambda g, x: g.op("extremes", [x], state=g.state(0, (4,))), "rowwise=False"),
        (lambda g, x: g.op("extremes", [Graph().embed(weight("t", 8, 4))]), "another graph"),
    ],
)
def test_rejects(g, record, message):
    with pytest.raises(GraphError, match=message):
        record(g, g.embed(weight("token_embd", 8, 4)))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda inputs, weights, attrs: [inputs[7]], "its shape rule failed for inputs.*IndexError"),
        (lambda inputs, weights, attrs: inputs[0], "must return a list of shapes"),
        (lambda inputs, weights, attrs: [(4, 0)], "must return a list of shapes"),
        (lambda inputs, weights, attrs: None, "must return a list of shapes"),
    ],
)
def test_invalid_shape_rules(rule, message):
    g = Graph({"extremes": replace(EXTREMES, shape=rule)})
    with pytest.raises(GraphError, match=rf"'extremes'.*{message}"):
        g.op("extremes", [g.embed(weight("token_embd", 8, 4))])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("moving_average", "must return realizar.graph.OpSpec objects, found 'moving_average'"),
        (replace(AVERAGE, name="linear"), "'linear' is built in"),
        (replace(AVERAGE, name="two words"), "identifier"),
        (replace(AVERAGE, define=None), "must be functions"),
        (replace(AVERAGE, shape=(4,)), "must be functions"),
        (replace(AVERAGE, attrs=["decay"]), r"`attrs` must be a tuple of names, found \['decay'\]"),
        (replace(AVERAGE, attrs=("state",)), "cannot be called state"),
        (replace(AVERAGE, is_view=True), "sets `is_view`"),
    ],
)
def test_invalid_rows_are_rejected(spec, message):
    with pytest.raises(PluginError, match=message):
        check_spec(spec)


def test_interpreter_runs_the_definition(g):
    x = g.embed(weight("token_embd", 8, 4))
    low, _ = g.op("extremes", [average(g, x)])
    g.outputs = {"low": low.id}
    rng = np.random.default_rng(0)
    tensors = {"token_embd.weight": Floats(rng.standard_normal((8, 4))), "w.weight": Floats([1, 2, 3, 4])}
    tokens, rows = np.array([3, 1, 4, 1, 5], np.int32), np.arange(5, dtype=np.int32)
    found = run(g, Inputs(tokens, rows[None], rows, tensors))
    state, want = np.zeros(4), []
    for row in tensors["token_embd.weight"].array[tokens]:
        state = 0.75 * state + 0.25 * row
        want.append(state * [1, 2, 3, 4])
    np.testing.assert_allclose(found["moving_average"], want, rtol=1e-5)
    np.testing.assert_array_equal(found["extremes.0"][:, 0], found["moving_average"].min(axis=1))


def node_of(spec, **attrs):
    return Node(spec.name, (0,), (1,), (), attrs, spec)


@pytest.mark.parametrize("cuts", [[], [1], [3], [2, 3, 7], [1, 2, 3, 4, 5, 6, 7, 8]])
def test_result_does_not_depend_on_chunks(cuts):
    x, w = np.random.default_rng(1).standard_normal((9, 4), np.float32), np.float32([1, 2, 3, 4])
    node = node_of(AVERAGE, decay=0.9, state="blk.0.state")
    (whole,) = evaluate_by_rows(node, [x], [w], np.zeros(4, np.float32))
    state = np.zeros(4, np.float32)
    parts = [evaluate_by_rows(node, [part], [w], state)[0] for part in np.split(x, cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_definition_gets_copies_of_its_inputs():
    x = np.ones((2, 4), np.float32)
    spec = replace(EXTREMES, define=lambda x, weights, attrs, state: [np.multiply(x[0], 0, out=x[0])[:, :1]] * 2)
    evaluate_by_rows(node_of(spec), [x], [])
    assert (x == 1).all()


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (
            lambda x, weights, attrs, state: [x[0]],
            r"shapes \[\(1, 4\)\], its shape rule \[\(1, 1\), \(1, 1\)\]",
        ),
        (lambda x, weights, attrs, state: weights[0], "its numpy definition failed: IndexError"),
        (lambda x, weights, attrs, state: None, "its numpy definition failed: TypeError"),
    ],
)
def test_failing_definitions(define, message):
    with pytest.raises(PluginError, match=rf"'extremes'.*{message}"):
        evaluate_by_rows(node_of(replace(EXTREMES, define=define)), [np.zeros((1, 4), np.float32)], [])


def test_row_pruning_stops_at_an_op_with_a_state(g):
    low, _ = g.op("extremes", [average(g, g.embed(weight("token_embd", 8, 4)))])
    g.outputs = {"low": low.id}
    plan = lower(g)
    assert [op.op for op in plan.ops] == ["embed", "moving_average", "gather_rows", "extremes"]
    assert plan.plugin_ops == ("extremes", "moving_average")
