"""Chunk: the part of a sequence that one step computes; DraftRow: a row that only the draft block computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from realizar.engine.cache.sequence import Sequence

NO_DRAFTS: npt.NDArray[np.int32] = np.empty(0, np.int32)


class Chunk(NamedTuple):
    """The next n_tokens of a sequence, or its whole encoder input; the last n_outputs of them give outputs.

    Trailing `drafts`, int32 [n_drafts], are speculative and not in the sequence yet.
    """

    seq: Sequence
    n_tokens: int
    n_outputs: int
    is_encoder_input: bool = False
    drafts: npt.NDArray[np.int32] = NO_DRAFTS

    @property
    def n_past(self) -> int:
        """Rows of the sequence before these."""
        return 0 if self.is_encoder_input else self.seq.n_computed

    @property
    def adapter(self) -> int:
        """Number of the adapters that are applied to these rows; 0 for none."""
        return self.seq.adapter if self.n_past >= self.seq.adapter_from else 0

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """Token ids: int32 [n_tokens], 0 where embeddings enter."""
        if self.is_encoder_input:
            return self.seq.encoder_tokens
        tokens = self.seq.tokens[self.seq.n_computed :][: self.n_tokens]
        return np.concatenate([tokens, self.drafts]) if len(self.drafts) else tokens

    def reserve(self) -> None:
        """Allocate the blocks and slots that computing it writes."""
        if self.is_encoder_input:
            self.seq.reserve_encoder_input()
        else:
            self.seq.reserve(self.n_tokens, has_drafts=len(self.drafts) > 0)

    def fork(self) -> Sequence:
        """Fork the sequence as if this chunk were computed."""
        return self.seq.fork(self.n_tokens)

    def commit(self) -> None:
        """Record that it is computed; of the drafts, only the accepted ones."""
        if self.is_encoder_input:
            self.seq.encoder_computed = True
        elif len(self.drafts):
            self.seq.commit_drafts(self.n_tokens - len(self.drafts), len(self.drafts), self._n_accepted())
        else:
            self.seq.commit(self.n_tokens)

    def _n_accepted(self) -> int:
        end = self.n_past + self.n_tokens
        followed = self.seq.tokens[end - len(self.drafts) : end]
        others = np.flatnonzero(followed != self.drafts[: len(followed)])
        return int(others[0]) if len(others) else len(followed)


class DraftRow(NamedTuple):
    """A draft token, or the last token of a sequence, that the draft block reads: like a Chunk of one row.

    Attributes
    ----------
    seq : Sequence
    token : int
    n_past : int
        Its row.
    hidden : float32 [n_embd]
        The hidden state of the row before it.
    """

    seq: Sequence
    token: int
    n_past: int
    hidden: npt.NDArray[np.float32]
    n_tokens: int = 1
    n_outputs: int = 1
    is_encoder_input: bool = False
    drafts: npt.NDArray[np.int32] = NO_DRAFTS

    @property
    def adapter(self) -> int:
        """Number of the adapters of the sequence."""
        return self.seq.adapter

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """The token: int32 [1]."""
        return np.array([self.token], np.int32)
