"""StopFilter: finds stop strings in streamed text, and holds back text that may become one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable


class StopFilter:
    """Passes text on until a stop string is complete; drops that string and everything after it.

    The result does not depend on how the text is cut into pieces: the stop string that is complete first wins, and of
    several with the same end the longest.

    Parameters
    ----------
    stops : iterable of str
        Non-empty strings; without any, all text passes.

    Attributes
    ----------
    hit : str | None
        The stop string that was found.
    rest : str
        Text after it in the piece that completed it.
    """

    def __init__(self, stops: Iterable[str]):
        self._stops = sorted(set(stops))
        self._held = ""
        self.hit: str | None = None
        self.rest = ""

    def push(self, piece: str) -> tuple[str, str | None]:
        """Take the next piece; return the text that cannot become a stop string, and the stop string once found."""
        if self.hit is not None:
            return "", self.hit
        if not self._stops:
            return piece, None
        text = self._held + piece
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            end, at, self.hit = min(found)
            self._held, self.rest = "", text[end:]
            return text[:at], self.hit
        certain = len(text) - self._beginning(text)
        self._held = text[certain:]
        return text[:certain], None

    def flush(self) -> str:
        """End the stream; return the text that was held back."""
        held, self._held = self._held, ""
        return held

    def _beginning(self, text: str) -> int:
        """Return how many of the last characters are the beginning of a stop string."""
        longest = max(map(len, self._stops)) - 1
        for n in range(min(longest, len(text)), 0, -1):
            at = bisect_left(self._stops, text[-n:])
            if at < len(self._stops) and self._stops[at].startswith(text[-n:]):
                return n
        return 0
