"""Setting: what samplers are told of the model and the request that they are made for."""

from __future__ import annotations

from dataclasses import dataclass

from realizar.errors import ParameterError, shown
from realizar.params import SamplingParams
from realizar.sampling.grammar import Constraint, ConstraintFactory
from realizar.sampling.texts import TokenTexts


@dataclass(frozen=True)
class Setting:
    """What a sampler may need to know when it is made.

    Attributes
    ----------
    n_vocab : int
        Logits of each token.
    token_texts : TokenTexts | None
        What the tokens add to a text.
    n_prompt : int
        Tokens in the history before the first one that is sampled.
    end_ids : frozenset of int
        Tokens that end the text.
    constraints : ConstraintFactory | None
        Makes what keeps the text to a grammar.
    known : bytes
        What the text of the first token begins with.
    suppressed : tuple of int
        Tokens that the model's file says are never to be sampled.
    """

    n_vocab: int
    token_texts: TokenTexts | None = None
    n_prompt: int = 0
    end_ids: frozenset[int] = frozenset()
    constraints: ConstraintFactory | None = None
    known: bytes = b""
    suppressed: tuple[int, ...] = ()

    def texts(self, name: str) -> TokenTexts:
        """Return the texts of the tokens; ParameterError names the parameter that needs them where there are none."""
        if self.token_texts is None:
            raise ParameterError(f"{name} needs the texts of the tokens, and this chain was made without them")
        return self.token_texts

    def constraint(self, params: SamplingParams) -> Constraint:
        """Return what keeps a text to the grammar that these params have; raises as `ConstraintFactory.from_params`."""
        if self.constraints is None:
            raise ParameterError("a constraint needs the texts of the tokens, and this chain was made without them")
        return self.constraints.from_params(params)

    def check(self, name: str, ids: tuple[int, ...]) -> None:
        """Raise ParameterError if one of these is no token."""
        for token in ids:
            if not 0 <= token < self.n_vocab:
                raise ParameterError(f"{name}: {shown(token)} is no token: the model has ids 0 to {self.n_vocab - 1}")
