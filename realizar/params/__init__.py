"""What a request and an engine can be asked for; each value is checked when the params are made."""

from realizar.params.engine import Activations, EngineParams, KVType, kv_types
from realizar.params.sampling import SamplingParams

__all__ = ["Activations", "EngineParams", "KVType", "SamplingParams", "kv_types"]
