"""Parameters of requests and engines, validated when they are created."""

from realizar.params.engine import Activations, EngineParams, KVType, kv_types
from realizar.params.resolved import ResolvedParams, resolved
from realizar.params.sampling import SamplingParams

__all__ = ["Activations", "EngineParams", "KVType", "ResolvedParams", "SamplingParams", "kv_types", "resolved"]
