"""BlockSpeculator: draft tokens of a draft block, in the model's file (multi-token prediction) or another (EAGLE-3)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from realizar.engine.cache.chunk import DraftRow
from realizar.engine.speculation.stepwise import LEAST_CHANCE, StepwiseDrafter, StepwiseSpeculator
from realizar.errors import CacheFullError

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    from realizar.engine.generation import Answer
    from realizar.engine.speculation.draft_block import DraftBlockRunner
    from realizar.params import EngineParams


class BlockSpeculator(StepwiseSpeculator):
    """Proposes the most probable tokens of a draft block.

    DeepSeek-AI, "DeepSeek-V3", 2024, section 2.2, for multi-token prediction; Li et al., "EAGLE-3", 2025
    (https://arxiv.org/abs/2503.01840), with a chain of draft tokens and no tree.

    The first draft token comes from the last token and the decoder's hidden state before it, each further one from the
    draft token and the draft block's own hidden state before it. The keys and values of draft tokens are written after
    those of the sequence; the next step of the decoder overwrites them.

    Parameters
    ----------
    runner : DraftBlockRunner
    params : EngineParams
    """

    def __init__(self, runner: DraftBlockRunner, params: EngineParams) -> None:
        tokens = runner.model.draft_tokens
        super().__init__(params.n_draft, params.n_batch, runner.model.hp.n_vocab if tokens is None else len(tokens))
        self._runner = runner
        self._tokens = tokens

    def drafter(self, answer: Answer) -> StepwiseDrafter:
        """Return one for a new answer."""
        return StepwiseDrafter()

    def forget_programs(self) -> None:
        """The engine's runner has them."""

    def close(self) -> None:
        """It has no memory of its own."""

    def _propose(self, pairs: Seq[tuple[Answer, int]]) -> None:
        most = {answer: n for answer, n in pairs if self._reserve(answer, n)}
        live = [(answer, row) for answer in most if (row := _first_row(answer)) is not None]
        while live:
            begin = time.perf_counter()
            logits, hidden = self._runner.draft([row for _, row in live])
            found = [self._best(own) for own in logits]
            if self._tokens is not None:
                found = [None if best is None else (int(self._tokens[best[0]]), best[1]) for best in found]
            states = hidden.copy()
            self._own_cost.learn(len(live), time.perf_counter() - begin)
            grown = []
            for (answer, row), best, state in zip(live, found, states, strict=True):
                drafter = answer.drafter
                if best is None or not isinstance(drafter, StepwiseDrafter):
                    continue
                if drafter.add(*best) >= LEAST_CHANCE and len(drafter.tokens) < most[answer]:
                    grown.append((answer, DraftRow(row.seq, best[0], row.n_past + 1, state)))
            live = grown

    @staticmethod
    def _reserve(answer: Answer, n: int) -> bool:
        """Allocate blocks for the last token and n draft tokens if they are free; no request is preempted for them."""
        try:
            answer.seq.reserve(answer.seq.n_left + n)
        except CacheFullError:
            return False
        return True


def _first_row(answer: Answer) -> DraftRow | None:
    """Return the last token of an answer; None if the hidden state before it is not known."""
    seq, last = answer.seq, answer.seq.n_tokens - 1
    hidden = None if seq.hidden is None else seq.hidden.at(last - 1)
    return None if hidden is None else DraftRow(seq, int(seq.tokens[last]), last, hidden)
