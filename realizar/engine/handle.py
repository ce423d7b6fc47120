"""Handle: lets any thread read the events of a submitted request while the engine's loop computes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from realizar.engine.output import ErrorEvent, FinishEvent, TextEvent
from realizar.errors import RealizarError

if TYPE_CHECKING:
    from realizar.engine.engine import Engine
    from realizar.engine.output import Completion, Event
    from realizar.engine.request import Request, TextRequest

MOST_UNREAD = 64
"""Maximum number of steps with unread events."""
WAKE_S = 0.2
"""How often a waiting thread looks for signals where they do not wake it (Windows), and whether the loop is alive."""


class Feed:
    """A queue of one request's events, from the loop to the reader.

    Parameters
    ----------
    request : Request
    notify : callable, optional
        Called by the loop's thread when there are new events.
    most : int, optional
        Steps whose events may wait; then the request is paused.
    """

    def __init__(self, request: Request, notify: Callable[[], None] | None = None, most: int | None = None) -> None:
        self.request = request
        self._notify = notify
        self._most = most or MOST_UNREAD
        self._queue: SimpleQueue[list[Event]] = SimpleQueue()

    @property
    def is_empty(self) -> bool:
        """Whether no event waits to be read."""
        return self._queue.empty()

    def deliver(self) -> bool:
        """Queue the request's new events; return whether the last one is among them. Called by the loop."""
        request = self.request
        events, is_over = request.new_events(), request.is_over
        if is_over:
            events += self._last()
        if events:
            self._put(events)
        request.is_paused = not is_over and self._is_full()
        if request.is_paused and not self._is_full():
            request.is_paused = False  # it was read in between, by one who did not see the pause
        return is_over

    def _is_full(self) -> bool:
        return self._queue.qsize() >= self._most

    def _last(self) -> list[Event]:
        if self.request.error is not None:
            return [ErrorEvent(self.request.error)]
        try:
            return [*self.request.new_events(), FinishEvent(self.request.result())]
        except BaseException as error:
            return [ErrorEvent(error)]

    def fail(self, error: BaseException) -> None:
        """End the request with an error that it did not cause."""
        self.request.cancel()
        self._put([ErrorEvent(error)])

    def _put(self, events: list[Event]) -> None:
        self._queue.put(events)
        if self._notify is not None:
            try:
                self._notify()
            except RuntimeError:  # the event loop of the reader is closed
                self.request.cancel()

    def take(self, timeout: float | None = None) -> list[Event]:
        """Return the events of a step; [] if none arrive within the timeout. Without one it does not wait."""
        try:
            return self._queue.get(block=timeout is not None, timeout=timeout)
        except Empty:
            return []


class Handle(Iterator["Event"]):
    """A submitted request: its events in their order, the last of them a FinishEvent or an ErrorEvent.

    One thread at a time reads it. If no thread does, the request pauses once its queue is full; others go on.
    `cancel`, or dropping the last reference to it, ends the request.

    Attributes
    ----------
    request : Request
    has_ended : bool
        Whether the last event was read.
    """

    def __init__(self, engine: Engine, feed: Feed) -> None:
        self._engine = engine
        self._feed = feed
        self._events: deque[Event] = deque()
        self.has_ended = False
        self.request = feed.request

    def __next__(self) -> Event:
        if self.has_ended:
            raise StopIteration
        while not (event := self.poll()):
            self.wait()
        return event

    def poll(self) -> Event | None:
        """Return the next event if there is one.

        Raises
        ------
        RealizarError
            If the engine is closed.
        """
        if self.has_ended:
            return None
        if self._engine.is_closed:
            self.has_ended = True
            raise RealizarError("the model was closed before the request was done")
        if not self._events:
            self._keep(self._feed.take())
        if not self._events:
            return None
        event = self._events.popleft()
        self.has_ended = isinstance(event, (FinishEvent, ErrorEvent))
        return event

    def _keep(self, events: list[Event]) -> None:
        self._events.extend(events)
        if self.request.is_paused:
            self.request.is_paused = False
            self._engine.loop.wake()

    def wait(self) -> None:
        """Wait a while for events; where the loop can have no thread, step until there are some."""
        with self._engine.waiting():
            if self._engine.loop.start():
                self._keep(self._feed.take(WAKE_S))
            else:
                self._engine.loop.step_here_until_fed(self._feed)

    def cancel(self) -> None:
        """Cancel the request. Any thread may call this."""
        self._engine.cancel([self.request])

    def __del__(self) -> None:
        self.cancel()


class TextStream(Iterator[str]):
    """The pieces of a text as they are generated; `close`, or dropping the last reference to it, ends the request.

    Attributes
    ----------
    completion : Completion
        The answer as far as it has come.
    """

    def __init__(self, handle: Handle, request: TextRequest) -> None:
        self._handle = handle
        self._request = request

    @property
    def completion(self) -> Completion:
        """The completion so far: text, tokens, timings."""
        return self._request.completion()

    def __next__(self) -> str:
        for event in self._handle:
            if isinstance(event, TextEvent):
                return event.text
            if isinstance(event, ErrorEvent):
                raise event.error
        raise StopIteration

    def events(self) -> Iterator[Event]:
        """Yield the events from here on in place of the pieces: also reasoning and tool calls, as they are written."""
        for event in self._handle:
            if isinstance(event, ErrorEvent):
                raise event.error
            yield event

    def close(self) -> None:
        """Cancel the request."""
        self._handle.cancel()
