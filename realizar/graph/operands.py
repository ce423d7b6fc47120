"""What the matrices of an op are multiplied with, computed in numpy from the inputs of the op.

Importance matrices are statistics of these rows; `OpSpec.uses` says of the same products what they cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.graph import activations
from realizar.quants import dequantize

if TYPE_CHECKING:
    from realizar.graph.values import Node

F32 = npt.NDArray[np.float32]


class Operand(NamedTuple):
    """Rows that one matrix is multiplied with.

    Attributes
    ----------
    weight : int
        Index of the weight among those of the node.
    matrix : int
        Index of the matrix in the weight: the expert or the head, else 0.
    rows : float32 [n, k]
    """

    weight: int
    matrix: int
    rows: F32


Operands = Callable[["Node", Sequence[F32], Mapping[str, Any]], Iterator[Operand]]
"""(node, its inputs float32 [n, *shape], tensors by name) -> rows for each matrix that some row meets."""


def _of_linear(node: Node, x: Sequence[F32], tensors: Mapping[str, Any]) -> Iterator[Operand]:
    rows = x[0].reshape(len(x[0]), -1)
    for j in range(len(node.weights)):
        yield Operand(j, 0, rows)


def _of_heads(node: Node, x: Sequence[F32], tensors: Mapping[str, Any]) -> Iterator[Operand]:
    """The rows of each head; none for transposed matrices, whose rows in the file are no rows of the product."""
    if not node.attrs["transposed"]:
        for head in range(x[0].shape[1]):
            yield Operand(0, head, x[0][:, head])


def _of_experts(node: Node, x: Sequence[F32], tensors: Mapping[str, Any]) -> Iterator[Operand]:
    """The rows that chose an expert, for its last matrix the hidden values of these, in float32."""
    rows, ids = x[0].reshape(len(x[0]), -1), x[1]
    *ups, down = range(len(node.weights))
    activate: Callable[..., Any] = activations.OF_EXPERTS[node.attrs["activation"]]
    if node.attrs["limit"]:
        activate = partial(activations.limited_swiglu, limit=node.attrs["limit"])
    for e in np.unique(ids).astype(int).tolist():
        chosen = rows[np.nonzero(ids == e)[0]]
        hidden = []
        for j in ups:
            yield Operand(j, e, chosen)
            scale, bias = node.attrs["scales"][j], node.attrs["bias"][j]
            product = chosen @ _matrix(tensors[node.weights[j]], e).T
            product = product if scale is None else product * tensors[scale].floats()[e]
            hidden.append(product if bias is None else product + tensors[bias].floats()[e])
        yield Operand(down, e, activate(*hidden).astype(np.float32))


def _matrix(tensor: Any, e: int) -> F32:
    """Return one matrix of a weight of several: float32 [n_out, n_in]; the others stay as they are in the file."""
    shape = tensor.shape[-2:]
    data = tensor.data.reshape(prod(tensor.shape[:-2]), shape[0], -1)
    return dequantize(np.ascontiguousarray(data[e]), tensor.type).reshape(shape)


OPERANDS: dict[str, Operands] = {
    "linear": _of_linear,
    "per_head_linear": _of_heads,
    "experts": _of_experts,
}
"""Op name -> function; ops that multiply no matrix have none."""
