"""Functions of users over the logits of a whole batch, run before each sequence's own samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realizar.engine.request import TextRequest
from realizar.errors import shown
from realizar.sampling import batch_functions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.engine.request import Request
    from realizar.engine.sequence import Chunk
    from realizar.sampling import BatchFunction

    Logits = npt.NDArray[np.float32]


def run_batch_functions(logits: Logits, given: Iterable[tuple[Request, Seq[Chunk], slice]]) -> None:
    """Let each function change, once, the logits of all sequences whose params name it.

    Parameters
    ----------
    logits : float32 [n_rows, n_vocab]
        Changed in place. A function gets a view of its rows where they lie side by side, else a copy that is put back.
    given : iterable of (Request, chunks, slice)
        Those that get a token in this step, what was computed of them, and where their rows are. One whose function
        fails gets the error.
    """
    users: dict[BatchFunction, list[tuple[TextRequest, Seq[Chunk], slice]]] = {}
    for request, chunks, at in given:
        if isinstance(request, TextRequest) and not request.is_reading:
            try:
                for function in batch_functions(request.params):
                    users.setdefault(function, []).append((request, chunks, at))
            except BaseException as error:  # of its hash
                request.fail(error, "samplers: a function")
    for function, work in users.items():
        rows = [row for _, _, at in work for row in range(at.start, at.stop)]
        together = rows[-1] - rows[0] + 1 == len(rows)
        where: slice | list[int] = slice(rows[0], rows[-1] + 1) if together else rows
        try:
            part = logits[where]
            function(part, [history for request, chunks, _ in work for history in request.histories(chunks)])
            if not together:
                logits[where] = part
        except BaseException as error:
            for request, _, _ in work:
                request.fail(error, f"samplers: {shown(function)}")
