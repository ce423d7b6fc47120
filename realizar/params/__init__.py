"""Parameters of requests and engines, validated when they are created."""

from realizar.params.engine import Activations, BackendName, EngineParams, KVType, Speculation, kv_types
from realizar.params.prompt import Embeddings, Part, Tokens
from realizar.params.resolved import ResolvedParams, resolved
from realizar.params.sampling import SamplingParams
from realizar.params.structured import StructuredOutputsParams

__all__ = [
    "Activations", "BackendName", "Embeddings", "EngineParams", "KVType", "Part", "ResolvedParams", "SamplingParams",
    "Speculation", "StructuredOutputsParams", "Tokens", "kv_types", "resolved",
]  # fmt: skip
