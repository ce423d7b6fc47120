"""History: the rows of a sequence: its token ids, and what else determines them; Hidden: the states of some."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from realizar.engine.cache.block_pool import chain_hash, chain_root
from realizar.errors import ContextFullError
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from realizar.engine.cache.content import Content


class Hidden(NamedTuple):
    """Hidden states of consecutive rows of a sequence: float32 [n, n_embd], from row `first` on."""

    first: int
    rows: npt.NDArray[np.float32]

    def at(self, row: int) -> npt.NDArray[np.float32] | None:
        """Return the state of a row, float32 [n_embd], if it is here."""
        return self.rows[row - self.first] if self.first <= row < self.first + len(self.rows) else None


class History:
    """Token ids, the content of the first of them, and the keys of their blocks in the prefix cache.

    Parameters
    ----------
    n_ctx : int
        Rows that it may have; so many positions are there, too.
    tokens : iterable of int
        The prompt; 0 where embeddings enter.
    content : Content, optional
        Embeddings, positions and spans of the first rows.
    adapter : int
        Number of its low-rank adapter; 0 for none.
    program : str
        The program that computes it.
    adapter_from : int
        The first row for which the adapters are applied.

    Attributes
    ----------
    n_tokens : int
        Number of rows.
    content : Content | None
        None where the rows are tokens, attended to causally.

    Raises
    ------
    ContextFullError
        If the prompt or its positions do not fit into the context.
    """

    def __init__(
        self, n_ctx: int, tokens: Iterable[int], content: Content | None, adapter: int, program: str,
        adapter_from: int = 0,
    ) -> None:  # fmt: skip
        self.n_ctx = n_ctx
        # One more than the context: the last token generated is given out but never computed.
        self._tokens = np.empty(n_ctx + 1, np.int32)
        ids = self._fitting(tokens)
        self._tokens[: len(ids)] = ids
        self.n_tokens = self._n_prompt = len(ids)
        self.adapter = adapter
        self.adapter_from = adapter_from
        self._root = chain_root(program, 0 if adapter_from else adapter)
        self._keys: list[bytes] = []
        self._set_content(content)

    def _set_content(self, content: Content | None) -> None:
        """Set the content of the first rows; their positions must fit into the context."""
        self.content = content
        ahead = 0 if content is None else max(0, content.offset)
        self._n_max = self.n_ctx + 1 - ahead
        if self.n_tokens >= self._n_max and ahead:
            raise ContextFullError(
                f"positions up to {self.n_tokens + ahead - 1} do not fit into the context of {self.n_ctx}; give "
                "smaller ones or ask for more n_ctx"
            )

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """Token ids, 0 where embeddings enter: int32 [n_tokens], a view."""
        return self._tokens[: self.n_tokens]

    @property
    def history(self) -> npt.NDArray[np.int32]:
        """Token ids without the rows that are embeddings, as samplers see them: int32 [n]."""
        if self.content is None or self.content.embeddings is None:
            return self.tokens
        return np.delete(self.tokens, self.content.embeddings.rows)

    @property
    def last_token(self) -> int | None:
        """The token of the last row; None where that is an embedding."""
        found = self.content and self.content.embeddings
        return None if found and self.n_tokens - 1 in found.rows[-1:] else int(self._tokens[self.n_tokens - 1])

    @property
    def n_last(self) -> int:
        """Rows of the step that gives the last output, at least: 1, or those of a span that ends the sequence."""
        return self.n_tokens - self.uncut(self.n_tokens - 1)

    @property
    def room(self) -> int:
        """Number of tokens that can still be appended."""
        return self._n_max - self.n_tokens

    @property
    def is_full(self) -> bool:
        """Whether the context has no room to compute one more token."""
        return self.n_tokens >= self._n_max

    def append(self, token: int) -> None:
        """Append a token; it is not computed yet.

        Raises
        ------
        ContextFullError
            If the sequence is full.
        """
        if self.is_full:
            raise ContextFullError(f"the sequence fills the context of {self.n_ctx} tokens; ask for more n_ctx")
        self._tokens[self.n_tokens] = token
        self.n_tokens += 1

    def _fitting(self, tokens: Iterable[int]) -> npt.NDArray[np.int32]:
        ids = np.fromiter(tokens, np.int32)
        if len(ids) > self.n_ctx:
            raise ContextFullError(
                f"{len(ids)} tokens do not fit into the context of {self.n_ctx}; shorten them or ask for more n_ctx",
                len(ids),
                self.n_ctx,
            )
        return ids

    def uncut(self, n: int) -> int:
        """Return n, or the first row of the span that would be cut after n rows."""
        span = None if self.content is None else self.content.span_across(n)
        return n if span is None else span[0]

    def whole_blocks(self, n: int) -> int:
        """Return how many of the first n rows are in whole blocks, the last of which cuts no span."""
        end = n // BLOCK * BLOCK
        while self.uncut(end) < end:
            end = self.uncut(end) // BLOCK * BLOCK
        return end

    def block_keys(self, n_blocks: int) -> list[bytes]:
        """Keys of the first n_blocks blocks; each is computed once."""
        for i in range(len(self._keys), n_blocks):
            parent = self._keys[i - 1] if i else self._root
            first, end = i * BLOCK, (i + 1) * BLOCK
            more = b"" if self.content is None else self.content.key(first, end)
            if adapter_from := self.adapter_from * (first <= self.adapter_from < end):
                more += f"adapter {self.adapter} from {adapter_from}".encode()
            self._keys.append(chain_hash(parent, self._tokens[first:end], more))
        return self._keys[:n_blocks]

    def _forget_rows(self, n: int) -> None:
        """Drop all rows after the first n, and the keys of blocks that contained them."""
        del self._keys[self.uncut(n) // BLOCK :]
        self.n_tokens, self._n_prompt = n, min(n, self._n_prompt)
        self._set_content(self.content and self.content.beginning(n))
