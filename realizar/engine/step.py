"""After a program has run: processes logits, and gives each request its outputs."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from realizar.engine.guidance import mix
from realizar.engine.request import TextRequest
from realizar.errors import short_repr
from realizar.runtime.logit_rows import LogitRows
from realizar.sampling import batch_logits_processors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Seq

    from realizar.engine.cache.chunk import Chunk
    from realizar.engine.request import Request
    from realizar.sampling import BatchLogitsProcessor


def advance(output: str, values: Any, work: Mapping[Request, Seq[Chunk]]) -> None:
    """Give each request its outputs, and commit the computed chunks; a request whose own code fails ends alone.

    Parameters
    ----------
    output : str
        Name of the program's output.
    values : LogitRows [m, n_vocab], or float32 [m, n]
        The outputs of all chunks, in the order of `work`.
    work : mapping of Request to chunks
        The computed chunks of each.
    """
    rows = _split(values, work)
    if output == "logits":
        for request, own_rows in rows.items():
            rows[request] = mix(own_rows, work[request])
        run_batch_processors(rows, work)
    for request, chunks in work.items():
        try:
            if request in rows and request.error is None:
                request.take(chunks, rows[request])
        except BaseException as error:
            request.fail(error)
        for chunk in chunks:
            chunk.commit()
    for request in work:
        try:
            if not request.is_over:
                request.settle()
        except BaseException as error:
            request.fail(error)


def _split(values: Any, work: Mapping[Request, Seq[Chunk]]) -> dict[Request, Any]:
    """Return the rows of each request that has any."""
    rows = {}
    end = 0
    for request, chunks in work.items():
        begin = end
        for chunk in chunks:
            end += chunk.n_outputs
        if end > begin:
            rows[request] = values[begin:end]
    return rows


def run_batch_processors(rows: dict[Request, LogitRows], work: Mapping[Request, Seq[Chunk]]) -> None:
    """Apply each batch logits processor once, to a copy of the logits of all requests that use it.

    Parameters
    ----------
    rows : dict of Request to LogitRows
        Logits of the requests that get a token in this step; replaced by the processed ones.
    work : mapping of Request to chunks
        The computed chunks of each. If a function fails, its requests fail.
    """
    users: dict[BatchLogitsProcessor, list[TextRequest]] = {}
    for request in rows:
        if isinstance(request, TextRequest) and not request.is_reading:
            try:
                for function in batch_logits_processors(request.params):
                    users.setdefault(function, []).append(request)
            except BaseException as error:  # raised by its __hash__
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
