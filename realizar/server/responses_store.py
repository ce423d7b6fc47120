"""ResponseStore: answers of the Responses API that later requests may continue, in memory and bounded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from realizar.server.errors import ApiError
from realizar.server.sse import as_json

MAX_RESPONSES = 1000
"""Responses that are kept; the least recently used one goes first."""
MAX_BYTES = 64 * 2**20
"""Bytes of their items as JSON."""


@dataclass(frozen=True)
class Stored:
    """A response, the items that were its input, and all items of the conversation up to its output."""

    response: dict[str, Any]
    given: list[dict[str, Any]]
    items: list[dict[str, Any]]
    n_bytes: int


class ResponseStore:
    """Keeps responses until the server ends, or they are deleted, or there are too many."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, Stored] = OrderedDict()
        self._n_bytes = 0

    def add(self, response: dict[str, Any], before: list[dict[str, Any]], given: list[dict[str, Any]]) -> None:
        """Keep a response to `given`, items that followed those of `before`."""
        n_bytes = len(as_json([given, response]))  # what came before is shared with the response that it was kept for
        own = Stored(response, given, [*before, *given, *response["output"]], n_bytes)
        self._stored[response["id"]] = own
        self._n_bytes += n_bytes
        while len(self._stored) > MAX_RESPONSES or self._n_bytes > MAX_BYTES:
            _, oldest = self._stored.popitem(last=False)
            self._n_bytes -= oldest.n_bytes

    def find(self, response_id: str) -> Stored:
        """Return a response.

        Raises
        ------
        ApiError
            404 if it is not kept.
        """
        if response_id not in self._stored:
            text = f"the response {response_id[:200]!r} is not kept here (any more)"
            raise ApiError(404, text, "response_not_found", "response_id")
        self._stored.move_to_end(response_id)
        return self._stored[response_id]

    def delete(self, response_id: str) -> None:
        """Forget a response. Raises as `find`."""
        self._n_bytes -= self.find(response_id).n_bytes
        del self._stored[response_id]
