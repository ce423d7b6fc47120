"""DraftBlockRunner: runs a decoder and, along with it, a draft block: of its file, or in a file of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.arch.drafts import FEATURES, HIDDEN
from realizar.engine.cache.history import Hidden
from realizar.engine.runner import Runner
from realizar.runtime.batch import Batch
from realizar.runtime.logit_rows import LogitRows

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.engine.cache.chunk import Chunk, DraftRow

    F32 = npt.NDArray[np.float32]


class DraftBlockRunner(Runner):
    """A Runner that computes the keys and values of the draft block for every row that the decoder computes.

    The draft block is a layer of the same cache group, so blocks are shared, cached and copied with its part. It reads
    the hidden states of all rows of a step; so the decoder gives these, and logits are computed from some of them, by
    the ops after them. A draft of EAGLE-3 reads what its program "fuse" makes of the hidden states before three layers.
    """

    def output(self, batch: Batch, chunks: Seq[Chunk], output: str, program: str) -> Any:
        """Compute a step of the decoder and then of the draft block; return logits or hidden states of the decoder."""
        hidden = self.model.hidden
        if program != self.model.main or output not in ("logits", hidden):
            return super().output(batch, chunks, output, program)
        every = np.arange(batch.n_tokens, dtype=np.int32)
        inputs = self.model.layer_inputs
        names = dict.fromkeys((hidden, *inputs))
        found = self.run(replace(batch, outputs=every), names, program)
        rows: F32 = found[hidden].copy()
        own = replace(batch, n_drafts=None, draft_slots=None)
        states = found[inputs[0]].copy() if inputs else rows
        if "fuse" in self.model.graphs:
            own = replace(own, embeddings=None, embedding_rows=None)  # it reads token ids only
            features = {FEATURES: np.concatenate([found[name] for name in inputs], axis=1)}
            states = self.run(replace(own, outputs=every), None, "fuse", features)["hidden"].copy()
        self.run(replace(own, outputs=every[:0]), ["hidden"], "draft", {HIDDEN: _shifted(states, batch, chunks)})
        for chunk, end in zip(chunks, batch.seq_start[1:], strict=True):
            n = min(chunk.n_tokens, 1 + len(chunk.drafts))  # the last row that is kept in any case, and those after it
            chunk.seq.hidden = Hidden(chunk.n_past + chunk.n_tokens - n, states[end - n : end].copy())
        wanted = rows[batch.outputs]
        return self._logits(wanted) if output == "logits" else wanted

    def _logits(self, hidden: F32) -> LogitRows:
        """Return the logits of hidden states, float32 [m, n_embd]."""
        m = len(hidden)
        if not m:
            return LogitRows(np.empty((0, self.model.hp.n_vocab), np.float32))
        zeros = np.zeros(max(m, 2), np.int32)
        batch = Batch(
            tokens=zeros[:m], positions=zeros[None, :m], seq_start=np.array([0, m], np.int32), seq_past=zeros[:1],
            block_tables=(zeros[None, :1],) * len(self.cache.pools), state_slots=zeros[:1],
            outputs=np.arange(m, dtype=np.int32),
        )  # fmt: skip
        logits: LogitRows = self.run(batch, ["logits"], None, {self.model.hidden: hidden})["logits"]
        return logits

    def draft(self, rows: Seq[DraftRow]) -> tuple[F32, F32]:
        """Run the draft block on rows of different sequences, whose blocks are reserved.

        Returns
        -------
        logits, hidden : float32 [n, n_draft_vocab], [n, n_embd]
            Of the token after each of them; valid until the next run.
        """
        batch = self.batch(rows)
        given = {HIDDEN: np.stack([row.hidden for row in rows])}
        found = self.run(batch, ["logits", "hidden"], "draft", given)
        return found["logits"].values, found["hidden"]


def _shifted(rows: F32, batch: Batch, chunks: Seq[Chunk]) -> F32:
    """Return the hidden state before each row of a step, given those of the rows.

    Before the first row of a sequence, and where it continues after blocks of the prefix cache, that is zero: drafts
    become a little worse, and completions do not depend on them.
    """
    before = np.empty_like(rows)
    before[1:] = rows[:-1]
    for first, chunk in zip(batch.seq_start, chunks, strict=False):
        known = None if chunk.seq.hidden is None or chunk.n_past == 0 else chunk.seq.hidden.at(chunk.n_past - 1)
        before[first] = 0.0 if known is None else known
    return before
