"""Estimates of a model's memory and speed from its metadata, without reading its weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from realizar.arch import registry
from realizar.backends.cpu.backend import CPUBackend
from realizar.backends.cpu.memory_plan import BindParams, MemoryPlan
from realizar.backends.cpu.threads import default_threads
from realizar.engine.cache.kv_cache import KVCache
from realizar.planning.device_estimates import DeviceEstimate, device_estimates
from realizar.planning.device_rates import rates_of
from realizar.planning.floor import Floor, Rates, prompt_floor, step_floor
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from realizar.model import Model
    from realizar.params import EngineParams

# Bytes of a built tokenizer per merge, or per token without merges; measured with vocabularies of 30,000 to 152,000:
# 550 to 720 for byte-level BPE, 470 for SentencePiece, 540 for WordPiece.
TOKENIZER_BYTES = {"gpt2": 630, "llama": 470, "bert": 540, "t5": 600}
FIXED_BYTES = 7 << 20
"""Lazily loaded code, graph, plan and sampler tables; measured with SmolLM2 and Qwen2.5."""


@dataclass(frozen=True)
class Speed:
    """Floor of a phase per token, and the resulting upper limit of tokens per second."""

    n_bytes: float
    operations: float
    tok_s: float


@dataclass(frozen=True)
class Estimate:
    """The results of `realizar plan`, and the keys of its JSON.

    Attributes
    ----------
    architecture : str
    n_parameters, n_tensors : int
    type_bytes : dict
        Bytes of tensors by type, descending.
    n_ctx, n_seqs : int
        Size of the KV cache.
    cache_bytes_per_token, state_bytes : float, int
        KV-cache bytes per token (without sliding windows); bytes of the recurrent states per sequence.
    memory : dict
        Bytes by part; "peak" is their sum, excluding the tokenizer.
    tokenizer_bytes : int
    read_gb_s, int8_tops, f32_tops : float
        The machine's measured limits.
    n_threads : int
    slow_ops : dict
        Ops that are computed in numpy, row by row -> the plugins that provide them.
    prefill, decode : Speed
        Per token, for a prompt of one step, and for one sequence with a half-full cache (None for encoders); on the
        CPU.
    devices : list of DeviceEstimate
        The CPU, and the GPUs that were asked for.
    """

    architecture: str
    n_parameters: int
    n_tensors: int
    type_bytes: dict[str, int]
    n_ctx: int
    n_seqs: int
    cache_bytes_per_token: float
    state_bytes: int
    memory: dict[str, int]
    tokenizer_bytes: int
    read_gb_s: float
    int8_tops: float
    f32_tops: float
    n_threads: int
    slow_ops: dict[str, str]
    prefill: Speed
    decode: Speed | None
    devices: list[DeviceEstimate]


def estimate(model: Model, params: EngineParams) -> Estimate:
    """Estimate memory and speed of a model with these parameters.

    Parameters
    ----------
    model : Model
        An opened model; its weights are not read.
    params : EngineParams
        `n_ctx` must be set.

    Raises
    ------
    ParameterError
        If the address space is too small for the cache of one sequence.
    """
    n_threads = params.n_threads or default_threads().n
    reads, writes = ("encode" if "encode" in model.graphs else "decode"), "decode" in model.graphs
    plan = model.plan("decode" if writes else reads)
    one = KVCache(plan.cache_groups, plan.states, replace(params, n_seqs=1), CPUBackend(1))
    rates = rates_of("cpu", n_threads).rates
    n_prompt = min(params.n_batch, one.n_ctx)
    activations = params.activations or model.default_activations
    prompt = prompt_floor(model, one, n_prompt, reads, activations)
    step = step_floor(model, one, one.n_ctx / 2, 1, activations=activations) if writes else None
    tensors = list(model.file.tensors.values())
    by_type: Counter[str] = Counter()
    for info in tensors:
        by_type[info.type.name] += info.n_bytes
    memory = _memory(model, params, one, n_threads)
    return Estimate(
        architecture=model.architecture.name,
        n_parameters=sum(info.n_elements for info in tensors),
        n_tensors=len(tensors),
        type_bytes=dict(by_type.most_common()),
        n_ctx=one.n_ctx,
        n_seqs=params.n_seqs,
        cache_bytes_per_token=sum(map(one.storage.block_bytes, range(len(one.pools)))) / BLOCK,
        state_bytes=4 * sum(prod(state.shape) for state in plan.states),
        memory={**memory, "peak": sum(memory.values())},
        tokenizer_bytes=_tokenizer_bytes(model),
        read_gb_s=rates.read_gb_s,
        int8_tops=rates.int8_tops,
        f32_tops=rates.f32_tops,
        n_threads=n_threads,
        slow_ops=_slow_ops(model),
        prefill=_speed(prompt, n_prompt, rates),
        decode=_speed(step, 1, rates) if step else None,
        devices=device_estimates(model, params),
    )


def _memory(model: Model, params: EngineParams, one: KVCache, n_threads: int) -> dict[str, int]:
    """Return the peak RAM: all pages of the file, a full KV cache, and the buffers of steps of `n_batch` tokens."""
    activations = params.activations or model.default_activations
    bind = BindParams(one.n_batch, one.n_ctx, activations, kv_type=params.kv_type)
    memory = [MemoryPlan(model.plan(name), model.tensors, bind, n_threads) for name in model.graphs]
    return {
        "weights": sum(info.n_bytes for info in model.file.tensors.values()),
        "metadata": model.file.n_bytes - sum(info.n_bytes for info in model.file.tensors.values()),
        "cache": one.n_bytes_for(params.n_seqs),
        "values": sum(m.peak_bytes(params.n_seqs) for m in memory),
        "rest": FIXED_BYTES,
    }


def _slow_ops(model: Model) -> dict[str, str]:
    names = {name for program in model.graphs for name in model.plan(program).plugin_ops}
    origins = registry.default().origins
    return {name: origins.get(f"op {name}", "unknown") for name in sorted(names)}


def _tokenizer_bytes(model: Model) -> int:
    metadata = model.file.metadata
    if "tokenizer.ggml.tokens" not in metadata:
        return 0
    kind = str(metadata.get("tokenizer.ggml.model"))
    key = "tokenizer.ggml.merges" if "tokenizer.ggml.merges" in metadata else "tokenizer.ggml.tokens"
    return TOKENIZER_BYTES.get(kind, max(TOKENIZER_BYTES.values())) * metadata.field(key).n


def _speed(floor: Floor, n_tokens: int, rates: Rates) -> Speed:
    operations = floor.operations + floor.f32_operations
    return Speed(floor.n_bytes / n_tokens, operations / n_tokens, n_tokens / floor.seconds(rates))
