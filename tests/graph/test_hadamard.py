"""The op hadamard: its shapes, and how products and look-ups with weights in a rotated basis record it."""

import pytest

from realizar.arch import WeightRef
from realizar.errors import GraphError
from realizar.graph import Graph, Rotation

SIGNS = WeightRef("signs", (32,), None, suffix="")


def rotated(name, shape, groups=None):
    return WeightRef(name, shape, None, rotation=Rotation(8, SIGNS, groups))


def names(g):
    return [node.op for node in g.nodes]


def test_shape():
    g = Graph()
    x = g.heads(g.embed(WeightRef("token_embd", (10, 32), None)), 4)
    assert g.hadamard(x, 16, SIGNS).shape == (4, 8)


@pytest.mark.parametrize(
    ("width", "signs", "says"),
    [
        (12, None, "width 12 for an input of shape"),
        (1, None, "width 1 for"),
        (64, None, "width 64 for an input of shape"),
        (8, WeightRef("signs", (16,), None), "signs"),
    ],
)
def test_shapes_that_do_not_match(width, signs, says):
    g = Graph()
    x = g.embed(WeightRef("token_embd", (10, 32), None))
    with pytest.raises(GraphError, match=says):
        g.hadamard(x, width, signs)


def test_products_share_the_rotated_input():
    g = Graph()
    x = g.embed(WeightRef("token_embd", (10, 32), None))
    for name in ("a", "b"):
        g.linear(x, rotated(name, (6, 32)))
    g.linear(x, WeightRef("c", (6, 32), None))
    assert names(g) == ["embed", "hadamard", "linear", "linear", "linear"]
    turned = g.nodes[1].outputs
    assert [node.inputs for node in g.nodes[2:]] == [turned, turned, (x.id,)]


def test_look_ups_undo_the_rotation_and_read_tokens_only():
    g = Graph()
    y = g.embed(rotated("token_embd", (10, 32)))
    embed, turn = g.nodes
    assert (embed.attrs["by"], turn.attrs["inverse"], y.shape) == ("id", True, (32,))


def test_heads_of_a_group_become_neighbours():
    """Four heads of 8 elements, of two groups: 0 2 1 3 in the product, whatever the shape of the input."""
    for n_head in (None, 4):
        g = Graph()
        x = g.embed(WeightRef("token_embd", (10, 32), None))
        x = x if n_head is None else g.heads(x, n_head)
        g.linear(x, rotated("out", (6, 32), (2, 2)))
        assert names(g)[-7:] == ["split", "reshape", "reshape", "concat", "reshape", "hadamard", "linear"]
        concat = next(node for node in g.nodes if node.op == "concat")
        assert [g.values[i].shape for i in (*concat.inputs, *concat.outputs)] == [(2, 8), (2, 8), (2, 16)]
