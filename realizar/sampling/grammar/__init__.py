"""Answers that keep to a grammar: which tokens may come next, by llguidance.

    gbnf.py ─▶ nodes.py, runs.py ─▶ lark.py ┐
    schema.py     JSON schema               ├─▶ compiled.py: read ─▶ constraint.py: mask, advance, is_over
    patterns.py   regex, choice             ┘   by llguidance, in threads that can be given up: worker.py

`factory.py` puts the pieces together for one model, whose tokens `vocabulary.py` hands over.
"""

from realizar.sampling.grammar.compiled import OutOfTimeError
from realizar.sampling.grammar.constraint import Constraint
from realizar.sampling.grammar.factory import ConstraintFactory

__all__ = ["Constraint", "ConstraintFactory", "OutOfTimeError"]
