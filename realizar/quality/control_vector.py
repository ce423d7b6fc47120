"""make_control_vector: directions of hidden states that separate two lists of texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.errors import ParameterError
from realizar.quality.reader import Reader

if TYPE_CHECKING:
    import os

F32 = npt.NDArray[np.float32]


def make_control_vector(
    model: str | os.PathLike[str], positive: Sequence[str], negative: Sequence[str], *, n_ctx: int = 512, **how: Any
) -> dict[int, F32]:
    """Return a direction for each layer: from what is common to the second texts to what is common to the first.

    The first principal component of the differences between the hidden states of the last tokens of text i of both
    lists (A. Zou et al., Representation Engineering, 2023, section 3.1), of length 1, with the sign by which the first
    texts are ahead in most pairs.

    Parameters
    ----------
    model : str or PathLike
        As for `LLM`.
    positive, negative : sequence of str
        As many texts.
    n_ctx : int
        Maximum tokens of a text.
    **how
        n_threads, kv_type, activations and backend, as for `LLM`.

    Returns
    -------
    dict of float32 [n_embd]
        By layer, from 1 on: llama.cpp, too, leaves out layer 0.

    Raises
    ------
    ParameterError
        If the lists have no texts, or not as many, if their last tokens do not differ, or if the architecture has no
        single hidden state after its layers.
    """
    if len(positive) != len(negative) or not positive:
        raise ParameterError(
            f"control vector: as many positive as negative texts are needed; found {len(positive)} and {len(negative)}"
        )
    with Reader(model, n_ctx, **how) as reader:
        places = {int(place.rpartition(".")[2]): name for place, name in reader.runner.control_places.items()}
        places.pop(0, None)
        if not places:
            raise ParameterError(
                f"control vector: {reader.model.architecture.name} has no single hidden state after its layers"
            )
        states = [_last_states(reader, texts, list(places.values())) for texts in (positive, negative)]
    differences = states[0] - states[1]
    if not differences.any(axis=(0, 2)).all():
        raise ParameterError("control vector: the positive and the negative texts do not differ; give opposites")
    return {layer: direction(differences[:, i]) for i, layer in enumerate(places)}


def direction(differences: npt.NDArray[np.float64]) -> F32:
    """Return the first principal component of [n, n_embd] differences, taken from zero: float32 [n_embd], length 1."""
    _, _, components = np.linalg.svd(differences, full_matrices=False)
    component = components[0]
    ahead = differences @ component
    sign = 1.0 if (np.sum(ahead > 0), ahead.sum()) >= (np.sum(ahead < 0), -ahead.sum()) else -1.0
    out: F32 = (sign * component).astype(np.float32)
    return out


def _last_states(reader: Reader, texts: Iterable[str], names: list[str]) -> npt.NDArray[np.float64]:
    """Return these values at the last token of each text: float64 [n_texts, n_names, n_embd]."""
    out = []
    for text in texts:
        tokens = np.array(reader.model.tokenizer.encode(text), np.int32)
        if not len(tokens):
            raise ParameterError("control vector: a text has no tokens; give one text in each line")
        (values,) = reader.values(tokens, names, 1, len(tokens) - 1)
        out.append(np.stack([values[name][-1].astype(np.float64) for name in names]))
    return np.stack(out)
