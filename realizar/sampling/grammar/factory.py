"""ConstraintFactory: constraints of each kind for the texts of one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from realizar.errors import GrammarError, shown
from realizar.sampling.grammar import gbnf, lark
from realizar.sampling.grammar.constraint import Constraint
from realizar.sampling.grammar.patterns import from_choice, from_regex
from realizar.sampling.grammar.schema import from_schema, refusal
from realizar.sampling.grammar.vocabulary import vocabulary

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from realizar.tokenizer import Tokenizer


class ConstraintFactory:
    """Makes constraints; may be used by many threads at once. Each method raises GrammarError for what it refuses.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's; what llguidance needs of it is built at the first constraint.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: LLTokenizer | None = None
        self._lock = Lock()

    def grammar(self, text: str) -> Constraint:
        """Return a constraint to the texts of a GBNF grammar."""
        if not isinstance(text, str):
            raise GrammarError(f"grammar={shown(text)}: must be a str, a grammar in GBNF")
        rules = gbnf.parse(text, self._token_ids)
        return self._constraint(lark.write(rules, self._tokenizer.n_vocab, self._tokenizer.eog_ids), _named("grammar"))

    def json_schema(self, schema: Mapping[str, Any] | str, lenient: bool = False) -> Constraint:
        """Return a constraint to the JSON texts of a schema; see `from_schema`."""
        return self._constraint(from_schema(schema, lenient), partial(refusal, schema))

    def regex(self, pattern: str) -> Constraint:
        """Return a constraint to the texts that a regular expression matches as a whole; see `from_regex`."""
        return self._constraint(from_regex(pattern), _named("regex"))

    def choice(self, options: Sequence[str]) -> Constraint:
        """Return a constraint to one of some texts."""
        return self._constraint(from_choice(options), _named("choice"))

    def _constraint(self, grammar: str, explain: Callable[[str], str]) -> Constraint:
        return Constraint(self._built(), grammar, self._tokenizer.n_vocab, explain)

    def _token_ids(self, name: str) -> list[int]:
        return self._tokenizer.encode(name, add_special=False, parse_special=True)

    def _built(self) -> LLTokenizer:
        if self._vocabulary is not None:  # no lock then, which a child of fork() could find held for ever
            return self._vocabulary
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = vocabulary(self._tokenizer)
            return self._vocabulary


def _named(parameter: str) -> Callable[[str], str]:
    """Return what puts a parameter's name in front of a reason."""
    return lambda reason: f"{parameter}: {reason}"
