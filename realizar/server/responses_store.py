"""ResponseStore: answers of the Responses API that later requests may continue, in memory and bounded."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from realizar.server.errors import ApiError
from realizar.server.sse import as_json

MAX_RESPONSES = 1000
"""Responses that are kept; the least recently used one goes first."""
MAX_BYTES = 64 * 2**20
"""Bytes of them, each with its whole conversation."""


@dataclass(frozen=True)
class Stored:
    """A response, the items that were its input, and all items of the conversation up to its output."""

    response: dict[str, Any]
    given: list[dict[str, Any]]
    items: list[dict[str, Any]]


class ResponseStore:
    """Keeps responses until the server ends, or they are deleted, or there are too many.

    Each is kept as JSON with all of its conversation, and shares nothing with others: so its bytes are what it takes,
    and what is evicted is freed.
    """

    def __init__(self) -> None:
        self._stored: OrderedDict[str, bytes] = OrderedDict()
        self._n_bytes = 0

    def add(self, response: dict[str, Any], before: list[dict[str, Any]], given: list[dict[str, Any]]) -> None:
        """Keep a response to `given`, items that followed those of `before`."""
        kept = as_json([response, before, given]).encode()
        self._stored[response["id"]] = kept
        self._n_bytes += len(kept)
        while len(self._stored) > MAX_RESPONSES or self._n_bytes > MAX_BYTES:
            _, oldest = self._stored.popitem(last=False)
            self._n_bytes -= len(oldest)

    def find(self, response_id: str) -> Stored:
        """Return a response.

        Raises
        ------
        ApiError
            404 if it is not kept.
        """
        response, before, given = json.loads(self._kept(response_id))
        self._stored.move_to_end(response_id)
        return Stored(response, given, [*before, *given, *response["output"]])

    def delete(self, response_id: str) -> None:
        """Forget a response. Raises as `find`."""
        self._n_bytes -= len(self._kept(response_id))
        del self._stored[response_id]

    def _kept(self, response_id: str) -> bytes:
        if response_id not in self._stored:
            text = f"the response {response_id[:200]!r} is not kept here (any more)"
            raise ApiError(404, text, "response_not_found", "response_id")
        return self._stored[response_id]
