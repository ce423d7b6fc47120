"""ConstraintFactory: makes the constraints of each kind for one model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from realizar.errors import GrammarError
from realizar.forks import Lock
from realizar.sampling.grammar import gbnf, lark, runs
from realizar.sampling.grammar.compiled import Compiled
from realizar.sampling.grammar.constraint import Constraint
from realizar.sampling.grammar.optional import OptionalPreamble
from realizar.sampling.grammar.patterns import from_choice, from_regex
from realizar.sampling.grammar.preamble import Preamble
from realizar.sampling.grammar.schema import from_schema, refusal
from realizar.sampling.grammar.vocabulary import vocabulary
from realizar.sampling.grammar.worker import Workers

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from realizar.params import SamplingParams
    from realizar.tokenizer import Tokenizer


class ConstraintFactory:
    """Makes constraints; thread-safe.

    Each method raises GrammarError if the grammar is rejected, and OutOfTimeError if it is not compiled within `wall_s`
    seconds. With a preamble, the constraint holds for the text after it.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's tokenizer. llguidance's view of it is built for the first constraint.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: LLTokenizer | None = None
        self._lock = Lock()
        self._workers = Workers()

    def from_params(self, params: SamplingParams, preamble: Preamble | None = None) -> Constraint | OptionalPreamble:
        """Return the constraint of these params, which must have exactly one, on the text after a preamble."""
        t_end = math.inf if params.max_time is None else time.monotonic() + params.max_time

        def after(preamble: Preamble | None) -> Constraint:
            return self._from_params(params, t_end - time.monotonic(), preamble)

        if preamble is None or preamble.is_open:
            return after(preamble)
        return OptionalPreamble(after(None), after(preamble), preamble.opening, self._tokenizer.token_bytes)

    def _from_params(self, params: SamplingParams, wall_s: float, preamble: Preamble | None) -> Constraint:
        if params.grammar is not None:
            return self.grammar(params.grammar, wall_s, preamble)
        if params.json_schema is not None:
            return self.json_schema(params.json_schema, params.lenient, wall_s, preamble)
        if params.regex is not None:
            return self.regex(params.regex, wall_s, preamble)
        return self.choice(params.choice or (), wall_s, preamble)

    def grammar(self, text: str, wall_s: float = math.inf, preamble: Preamble | None = None) -> Constraint:
        """Return the constraint of a grammar: GBNF, or llguidance's Lark if it begins with %llguidance."""
        return self._constraint("grammar", partial(self._from_grammar, text), wall_s, preamble)

    def _from_grammar(self, text: str) -> str:
        if text.startswith(lark.MARK):
            return lark.checked(text)
        try:
            rules = runs.find(gbnf.parse(text, self._token_ids))
        except RecursionError:  # repetitions of repetitions have no limit
            raise GrammarError("grammar: groups and repetitions are nested too deeply; use rules") from None
        return lark.write(rules, self._tokenizer.n_vocab, self._tokenizer.eog_ids)

    def json_schema(
        self, schema: Mapping[str, Any] | str, lenient: bool = False, wall_s: float = math.inf,
        preamble: Preamble | None = None,
    ) -> Constraint:  # fmt: skip
        """Return the constraint of a JSON schema; see `from_schema`."""
        write, explain = partial(from_schema, schema, lenient), partial(refusal, schema)
        return self._constraint("json_schema", write, wall_s, preamble, explain)

    def regex(self, pattern: str, wall_s: float = math.inf, preamble: Preamble | None = None) -> Constraint:
        """Return the constraint of a regular expression, which must match the whole text; see `from_regex`."""
        return self._constraint("regex", partial(from_regex, pattern), wall_s, preamble)

    def choice(self, options: Sequence[str], wall_s: float = math.inf, preamble: Preamble | None = None) -> Constraint:
        """Return the constraint to one of these non-empty texts."""
        return self._constraint("choice", partial(from_choice, options), wall_s, preamble)

    def _constraint(
        self, name: str, write: Callable[[], str], wall_s: float, preamble: Preamble | None,
        explain: Callable[[str], str] | None = None,
    ) -> Constraint:  # fmt: skip
        def prepare() -> tuple[LLTokenizer, str]:
            text = lark.with_options(write())
            if preamble is not None:
                text = preamble.before(text, self._tokenizer.parts)
            return self._built(), text

        explain = explain or f"{name}: {{}}".format
        compiled = Compiled.read(prepare, self._tokenizer.n_vocab, name, explain, wall_s=wall_s)
        return Constraint(compiled, self._workers)

    def _token_ids(self, name: str) -> list[int]:
        return self._tokenizer.encode(name, add_special=False, parse_special=True)

    def _built(self) -> LLTokenizer:
        if self._vocabulary is not None:  # without the lock, which a child of fork() may find held forever
            return self._vocabulary
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = vocabulary(self._tokenizer)
            return self._vocabulary
