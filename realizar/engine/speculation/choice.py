"""Which speculator an engine gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.engine.speculation.lookup import LookupSpeculator
from realizar.errors import ParameterError

if TYPE_CHECKING:
    from realizar.engine.kv_cache import KVCache
    from realizar.engine.speculation.speculator import Speculator
    from realizar.params import EngineParams


def speculator(params: EngineParams, cache: KVCache) -> Speculator | None:
    """Make the one that the params ask for.

    Raises
    ------
    ParameterError
        If the model has recurrent states: they cannot go back from a guess that was wrong.
    """
    if params.speculate is None:
        return None
    if cache.states:
        raise ParameterError(
            f"speculate={params.speculate!r}: this model has recurrent states, which cannot go back behind a wrong "
            "guess; leave it out"
        )
    return LookupSpeculator(params.n_draft, cache.n_batch)
