"""SamplerContext: what the factory of a sampler may use of the model and the request."""

from __future__ import annotations

from dataclasses import dataclass

from realizar.errors import ParameterError, short_repr
from realizar.params import SamplingParams
from realizar.sampling.deprecated import warn
from realizar.sampling.grammar import Constraint, ConstraintFactory, OptionalPreamble, Preamble
from realizar.sampling.token_bytes import TokenBytes


@dataclass(frozen=True)
class SamplerContext:
    """The model and the request for which samplers are made.

    Attributes
    ----------
    n_vocab : int
        Number of logits for each token.
    token_bytes : TokenBytes | None
        The bytes of each token of the vocabulary.
    n_prompt : int
        Number of tokens in the history before the first sampled one.
    end_ids : frozenset of int
        Tokens that end a completion.
    constraints : ConstraintFactory | None
        Makes the sampler of a structured output.
    healed_prefix : bytes
        What the first token must begin with (`token_healing`).
    suppressed : tuple of int
        Tokens that must never be sampled, according to the model file.
    preamble : Preamble | None
        What may precede the structured output.
    """

    n_vocab: int
    token_bytes: TokenBytes | None = None
    n_prompt: int = 0
    end_ids: frozenset[int] = frozenset()
    constraints: ConstraintFactory | None = None
    healed_prefix: bytes = b""
    suppressed: tuple[int, ...] = ()
    preamble: Preamble | None = None

    def need_token_bytes(self, name: str) -> TokenBytes:
        """Return `token_bytes`; if it is None, raise a ParameterError that names the parameter that needs it."""
        if self.token_bytes is None:
            raise ParameterError(f"{name} needs the bytes of the tokens, and this chain was made without them")
        return self.token_bytes

    @property
    def token_texts(self) -> TokenBytes | None:
        """Deprecated since plugin API 1.2: use `token_bytes`."""
        warn("token_texts", "token_bytes")
        return self.token_bytes

    def texts(self, name: str) -> TokenBytes:
        """Deprecated since plugin API 1.2: use `need_token_bytes`."""
        warn("texts()", "need_token_bytes()")
        return self.need_token_bytes(name)

    def constraint(self, params: SamplingParams) -> Constraint | OptionalPreamble:
        """Return the constraint of these params; GrammarError if the grammar is rejected."""
        if self.constraints is None:
            raise ParameterError("a constraint needs the bytes of the tokens, and this chain was made without them")
        return self.constraints.from_params(params, self.preamble)

    def check(self, name: str, ids: tuple[int, ...]) -> None:
        """Raise a ParameterError that names the parameter if one of these ids is not a token of the model."""
        for token in ids:
            if not 0 <= token < self.n_vocab:
                raise ParameterError(
                    f"{name}: {short_repr(token)} is not a token id: the model has ids 0 to {self.n_vocab - 1}"
                )
