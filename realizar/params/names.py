"""Names of parameters: the error for an unknown one says which one was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import signature
from types import MappingProxyType
from typing import Any, TypeVar

from realizar.errors import did_you_mean

T = TypeVar("T")

NO_HINTS: Mapping[str, str] = MappingProxyType({})


def unknown_name(what: str, name: str, known: Iterable[str], hints: Mapping[str, str] = NO_HINTS) -> TypeError:
    """Return the error for a parameter that does not exist.

    Parameters
    ----------
    what : str
        What was called.
    name : str
        The name that was passed.
    known : iterable of str
        The names that exist.
    hints : mapping
        Names in other libraries -> what to do here.
    """
    hint = f"; {hints[name]}" if name in hints else did_you_mean(name, known)
    return TypeError(f"{what} has no parameter {name!r}{hint}")


def explains_unknown_names(hints: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Return a class decorator: an unknown keyword of its `__init__` raises the TypeError of `unknown_name`."""

    def decorate(cls: type[T]) -> type[T]:
        init: Callable[..., None] = cls.__init__
        known = list(signature(init).parameters)[1:]

        @wraps(init)
        def checked(self: T, *args: Any, **kwargs: Any) -> None:
            for name in kwargs:
                if name not in known:
                    raise unknown_name(type(self).__name__, name, known, hints)
            init(self, *args, **kwargs)

        cls.__init__ = checked  # type: ignore[method-assign, assignment]
        return cls

    return decorate


SAMPLING_HINTS = {
    "max_new_tokens": "here it is max_tokens",
    "min_new_tokens": "here it is min_tokens",
    "num_beams": "here it is n_beams",
    "num_return_sequences": "here it is n",
    "stop_sequences": "here it is stop",
    "repeat_penalty": "here it is repetition_penalty",
    "mirostat_mode": "here it is mirostat",
    "truncate_prompt_tokens": "here it is truncate_prompt",
    "guided_decoding": "pass structured_outputs, or json_schema, regex, choice or grammar",
    "logits_processors": "pass functions f(logits, histories) in samplers (docs/sampling.md)",
    "do_sample": "temperature=0 is greedy, any other temperature samples",
    "skip_special_tokens": "control tokens are never part of the text; llm.detokenize can show them",
    "include_stop_str_in_output": "the stop string is in the completion's stop_reason",
    "use_beam_search": "pass n_beams",
}
"""Parameters of sampling in other libraries -> what to do here."""

_BY_DEVICE = "pass device='gpu:0,gpu:1' to divide the layers among GPUs (docs/gpu.md)"
_BY_FILE = "the file decides; leave it out"
ENGINE_HINTS = {
    "max_model_len": "here it is n_ctx",
    "max_num_seqs": "here it is n_seqs",
    "max_num_batched_tokens": "here it is n_batch",
    "kv_cache_dtype": "here it is kv_type",
    "speculative_config": "pass speculate='ngram' or draft='MODEL' (docs/speculation.md)",
    "seed": "pass seed to SamplingParams, for each request",
    "model_path": "it is the first parameter, model; realizar.compat.Llama has the names of llama-cpp-python",
    "enable_prefix_caching": "it is always on; leave it out",
    "enforce_eager": "there is no graph capture to turn off; leave it out",
    "trust_remote_code": "no code comes with a GGUF file; leave it out",
    "gpu_memory_utilization": "n_ctx and n_seqs determine the memory of the KV cache",
    "tensor_parallel_size": _BY_DEVICE,
    "pipeline_parallel_size": _BY_DEVICE,
    "tensor_split": _BY_DEVICE,
    "main_gpu": "pass device='gpu:N' (docs/gpu.md)",
    "device_map": "pass device='auto', and tensor_devices for single tensors (docs/gpu.md)",
    "override_tensor": "here it is tensor_devices",
    "dtype": _BY_FILE,
    "quantization": _BY_FILE,
    "tokenizer": _BY_FILE,
    "chat_format": _BY_FILE,
}
"""Parameters of loading a model in other libraries -> what to do here."""
