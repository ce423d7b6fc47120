"""Functions of users over the logits of a whole batch, run before each sequence's own samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realizar.engine.request import Generation
from realizar.errors import RealizarError
from realizar.sampling import batch_functions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from realizar.engine.request import Request
    from realizar.sampling import BatchFunction

    Logits = npt.NDArray[np.float32]


def run_batch_functions(logits: Logits, rows: Mapping[Request, int]) -> None:
    """Let each function change, once, the logits of all sequences whose params name it.

    Parameters
    ----------
    logits : float32 [n_rows, n_vocab]
        Changed in place. A function gets a view of its rows where they lie side by side, else a copy that is put back.
    rows : mapping of Request to int
        Those that get a token in this step, and where its logits are. One whose function fails gets the error.
    """
    users: dict[BatchFunction, list[tuple[Generation, int]]] = {}
    for request, row in rows.items():
        if isinstance(request, Generation):
            for function in batch_functions(request.params):
                users.setdefault(function, []).append((request, row))
    for function, work in users.items():
        first, last = work[0][1], work[-1][1]
        together = last - first + 1 == len(work)
        at: slice | list[int] = slice(first, last + 1) if together else [row for _, row in work]
        try:
            part = logits[at]
            function(part, [request.seq.tokens for request, _ in work])
            if not together:
                logits[at] = part
        except Exception as error:
            for request, _ in work:
                request.error = RealizarError(f"samplers: {function!r} failed: {type(error).__name__}: {error}")
