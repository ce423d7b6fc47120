"""Structured output: llguidance computes which tokens a grammar allows next.

    gbnf.py ─▶ nodes.py, runs.py ─▶ lark.py ┐
    schema.py     JSON schema               ├─▶ compiled.py: read ─▶ constraint.py: mask, advance, is_over
    patterns.py   regex, choice             ┘   by llguidance, in threads that can be abandoned: worker.py

`preamble.py` lets free text, such as reasoning, precede the text; `optional.py` where the model may omit it.
`factory.py` combines these for one model; `vocabulary.py` passes the model's tokens to llguidance.
"""

from realizar.sampling.grammar.compiled import OutOfTimeError
from realizar.sampling.grammar.constraint import Constraint
from realizar.sampling.grammar.factory import ConstraintFactory
from realizar.sampling.grammar.optional import OptionalPreamble
from realizar.sampling.grammar.preamble import Preamble

__all__ = ["Constraint", "ConstraintFactory", "OptionalPreamble", "OutOfTimeError", "Preamble"]
