"""Speculative decoding: draft tokens, guessed cheaply, are verified several in one step.

Read in this order: ``speculator`` (what a guess is, how often guesses are right, what more rows in a step cost, and how
many to verify), ``lookup`` (drafts from the text itself), ``stepwise`` (drafts made token by token), ``draft_model``
(drafts of a smaller model), ``draft_block`` and ``block_drafts`` (drafts of a draft block, in the model's file or
in one of its own).
docs/speculation.md says how to use it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from realizar.engine.speculation.block_drafts import BlockSpeculator
from realizar.engine.speculation.draft_block import DraftBlockRunner as DraftBlockRunner
from realizar.engine.speculation.draft_model import DraftModel
from realizar.engine.speculation.lookup import LookupSpeculator
from realizar.errors import ParameterError, short_repr
from realizar.runtime.draft_files import check_tokens

if TYPE_CHECKING:
    from realizar.engine.runner import Runner
    from realizar.engine.speculation.speculator import Speculator
    from realizar.model import Model
    from realizar.params import EngineParams


MAX_DIFFERENCE = 128
"""Tokens that one vocabulary may have more than the other: rows of padding, as llama.cpp takes them."""


def make_speculator(params: EngineParams, runner: Runner, draft: Model | None) -> Speculator | None:
    """Make the one that the params ask for, or that a draft model is given for.

    Raises
    ------
    ParameterError
        If the draft model generates no text, or has other tokens.
    """
    if draft is not None:
        _check_draft(runner.model, draft, f"draft={short_repr(params.draft)}")
        own = replace(params, n_ctx=runner.cache.n_ctx)
        return DraftModel(draft, own, runner.backend, runner.model.hp.n_vocab)
    if isinstance(runner, DraftBlockRunner):
        return BlockSpeculator(runner, params)
    return None if params.speculate is None else LookupSpeculator(params.n_draft, params.n_batch)


def _check_draft(model: Model, draft: Model, what: str) -> None:
    if draft.main != "decode" or draft.has_encoder or model.has_encoder:
        raise ParameterError(f"{what}: both models must be decoders, which read what they continue")
    tokens, others = model.tokenizer.tokens, draft.tokenizer.tokens
    if abs(len(tokens) - len(others)) > MAX_DIFFERENCE:
        raise ParameterError(
            f"{what}: the model has {len(tokens)} tokens and the draft model {len(others)}; "
            "take one of the same family, with the same vocabulary"
        )
    check_tokens(tokens, others, what)
