"""Functions of users over the logits of a whole batch, run before each sequence's own samplers."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from realizar.engine.request import TextRequest
from realizar.errors import short_repr
from realizar.runtime.logit_rows import LogitRows
from realizar.sampling import batch_logits_processors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Seq

    from realizar.engine.chunk import Chunk
    from realizar.engine.request import Request
    from realizar.sampling import BatchLogitsProcessor


def run_batch_functions(rows: dict[Request, LogitRows], work: Mapping[Request, Seq[Chunk]]) -> None:
    """Let each function change, once, a copy of the logits of all requests whose params name it.

    Parameters
    ----------
    rows : dict of Request to LogitRows
        Of the requests that get a token in this step; those of a function's requests become what it made of them.
    work : mapping of Request to chunks
        What was computed of each. A request whose function fails gets the error.
    """
    users: dict[BatchLogitsProcessor, list[TextRequest]] = {}
    for request in rows:
        if isinstance(request, TextRequest) and not request.is_reading:
            try:
                for function in batch_logits_processors(request.params):
                    users.setdefault(function, []).append(request)
            except BaseException as error:  # of its hash
                request.fail(error, "samplers: a function")
    for function, requests in users.items():
        try:
            joined = LogitRows.joined([rows[request] for request in requests])
            function(joined.values, [history for request in requests for history in request.histories(work[request])])
            ends = list(accumulate(len(rows[request]) for request in requests))
            for request, end in zip(requests, ends, strict=True):
                rows[request] = joined[end - len(rows[request]) : end]
        except BaseException as error:
            for request in requests:
                request.fail(error, f"samplers: {short_repr(function)}")
