"""TextStream: the text of a request, piece by piece, while it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realizar.engine.output import Completion
    from realizar.engine.engine import Engine
    from realizar.engine.generation import Generation


class TextStream(Iterator[str]):
    """Pieces of a text as they come; giving it up (`close`, or dropping it) ends the request.

    Attributes
    ----------
    completion : Completion
        The answer as far as it has come.
    """

    def __init__(self, engine: Engine, request: Generation) -> None:
        self._engine = engine
        self._request = request

    @property
    def completion(self) -> Completion:
        """The answer as far as it has come: text, tokens, timings."""
        return self._request.completion()

    def __next__(self) -> str:
        request, output = self._request, self._request.answers[0].output
        if not output.has_new and not request.is_over:
            self._engine.wait(lambda: output.has_new or request.is_over)
        if output.has_new:
            return output.take_new()
        if request.error is not None:
            raise request.error
        raise StopIteration

    def close(self) -> None:
        """Give the rest up."""
        if not self._request.finished:
            self._request.cancel()

    def __del__(self) -> None:
        self.close()
