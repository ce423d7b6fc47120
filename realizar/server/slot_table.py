"""SlotTable: numbers for the requests of a model, each with the tokens of the last request under it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from realizar.server.errors import ApiError

if TYPE_CHECKING:
    from realizar.engine.request import TextRequest
    from realizar.server.answers import Answers


class Slot:
    """A number under which requests are answered.

    Attributes
    ----------
    number : int
    tokens : list of int
        Prompt and completion of the last request that has ended under it.
    n_tasks : int
        Requests that it has had.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.tokens: list[int] = []
        self.n_tasks = 0
        self._answers: list[Answers] = []

    @property
    def is_processing(self) -> bool:
        """Whether a request is answered under it."""
        return bool(self._answers)

    @property
    def request(self) -> TextRequest | None:
        """The last request that is answered under it."""
        requests = self._answers[-1].requests if self._answers else []
        return requests[0] if requests else None

    @contextmanager
    def used_by(self, answers: Answers) -> Iterator[None]:
        """Answer a request in this context; then note its tokens, of the first prompt and completion if it has more."""
        self._answers.append(answers)
        self.n_tasks += 1
        try:
            yield
        finally:
            if self.request is not None:
                self.tokens = self.request.seq.tokens.tolist()
            self._answers.remove(answers)


class SlotTable:
    """The slots of a model, the one that was used least recently first."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []

    def all(self, n: int) -> list[Slot]:
        """Return the slots by number, `n` of them."""
        self._slots += [Slot(number) for number in range(len(self._slots), n)]
        return sorted(self._slots, key=lambda slot: slot.number)

    def take(self, n: int, number: int = -1) -> Slot | None:
        """Return the slot of a number, or of -1 the one that has been idle longest; None if all are processing.

        Raises
        ------
        ApiError
            400 if there is no such slot.
        """
        found = self.all(n)
        if not -1 <= number < n:
            raise ApiError(400, f"id_slot={number}: there are slots 0 to {n - 1}", "invalid_value", "id_slot")
        idle = [slot for slot in self._slots if not slot.is_processing]
        slot = found[number] if number >= 0 else idle[0] if idle else None
        if slot is not None:
            self._slots.remove(slot)
            self._slots.append(slot)
        return slot
