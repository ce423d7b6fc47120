"""Structured output: llguidance computes which tokens a grammar allows next.

    gbnf.py ─▶ nodes.py, runs.py ─▶ lark.py ┐
    schema.py     JSON schema               ├─▶ compiled.py: read ─▶ constraint.py: mask, advance, is_over
    patterns.py   regex, choice             ┘   by llguidance, in threads that can be abandoned: worker.py

`factory.py` combines these for one model; `vocabulary.py` passes the model's tokens to llguidance.
"""

from realizar.sampling.grammar.compiled import OutOfTimeError
from realizar.sampling.grammar.constraint import Constraint
from realizar.sampling.grammar.factory import ConstraintFactory

__all__ = ["Constraint", "ConstraintFactory", "OutOfTimeError"]
