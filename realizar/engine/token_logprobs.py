"""TokenLogprobs: the log-probabilities at one position of a text, with the texts of the tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from realizar.sampling import Sampled


class Logprob(NamedTuple):
    """The logprob of a token, its rank at its position (1: the most probable), and its text."""

    logprob: float
    rank: int
    decoded_token: str


class TokenLogprobs(Mapping[int, Logprob]):
    """A token of a text with its logprob, and the most probable tokens at its position.

    As a mapping, it has the token and the most probable tokens: token id -> `Logprob`, as in vLLM.

    Attributes
    ----------
    token_id : int
    logprob : float
        Natural logarithm, of the model's probability before temperature, penalties and truncation.
    rank : int
        1 + the number of more probable tokens.
    top : list of (int, float)
        The id and logprob of the most probable tokens, best first; as many as were requested.
    """

    __slots__ = ("_bytes_of", "logprob", "rank", "token_id", "top")

    def __init__(
        self, token_id: int, logprob: float, rank: int, top: list[tuple[int, float]], bytes_of: Callable[[int], bytes]
    ) -> None:
        self.token_id = token_id
        self.logprob = logprob
        self.rank = rank
        self.top = top
        self._bytes_of = bytes_of

    @classmethod
    def of(cls, sampled: Sampled, bytes_of: Callable[[int], bytes]) -> TokenLogprobs:
        """Return the logprobs that a sampler reports; `bytes_of` is `Tokenizer.token_bytes`."""
        return cls(sampled.token_id, sampled.logprob or 0.0, sampled.rank, sampled.top, bytes_of)

    @property
    def token_bytes(self) -> bytes:
        """The bytes of the token: its part of a character that several tokens make up, too."""
        return self._bytes_of(self.token_id)

    @property
    def decoded_token(self) -> str:
        """The text of the token; U+FFFD in place of bytes that are no character."""
        return self._text(self.token_id)

    def _text(self, token_id: int) -> str:
        return self._bytes_of(token_id).decode(errors="replace")

    def __getitem__(self, token_id: int) -> Logprob:
        if token_id == self.token_id:
            return Logprob(self.logprob, self.rank, self.decoded_token)
        for i, (other, logprob) in enumerate(self.top):
            if other == token_id:
                return Logprob(logprob, i + 1, self._text(other))
        raise KeyError(token_id)

    def __iter__(self) -> Iterator[int]:
        yield self.token_id
        yield from (token_id for token_id, _ in self.top if token_id != self.token_id)

    def __len__(self) -> int:
        return len(self.top) + all(token_id != self.token_id for token_id, _ in self.top)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenLogprobs) and self._numbers == other._numbers

    __hash__ = None  # type: ignore[assignment]

    @property
    def _numbers(self) -> tuple[Any, ...]:
        return self.token_id, self.logprob, self.rank, self.top

    def __repr__(self) -> str:
        return f"TokenLogprobs({self.token_id}, {self.decoded_token!r}, logprob={self.logprob:.4g}, rank={self.rank})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the bytes of its tokens instead of the tokenizer."""
        return TokenLogprobs, (*self._numbers, {token_id: self._bytes_of(token_id) for token_id in self}.__getitem__)
