"""Random LoRA adapters and control vectors for the tiny models of the tests."""

import numpy as np

from realizar.runtime.adapter_files import write_control_vector, write_lora
from realizar.runtime.adapters import Adapter, Factors


def random_lora(shapes, rank=8, seed=0, dtype=np.float32, size=0.5):
    """Return factors for weights of these shapes, by name; products of about `size` times the weight's."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, (*several, n_out, n_in) in shapes.items():
        a = (rng.standard_normal((*several, rank, n_in)) / np.sqrt(n_in)).astype(dtype)
        b = (size * rng.standard_normal((*several, n_out, rank)) / np.sqrt(rank)).astype(dtype)
        found[name] = Factors(a, b, 2.0)
    return found


def shapes_of(model, *parts):
    """Return name -> shape of the matrices whose names contain one of these parts, by default of products of layers."""
    wanted = parts or ("attn_q.", "attn_k.", "attn_v.", "attn_output.", "ffn_gate.", "ffn_up.", "ffn_down.")
    return {
        name: t.shape for name, t in model.tensors.items() if any(part in name for part in wanted) and len(t.shape) > 1
    }


def write_random_lora(path, model, *parts, **how):
    """Write a random adapter for a model to a GGUF file, and return its path."""
    write_lora(path, Adapter("lora", random_lora(shapes_of(model, *parts), **how), str(path)), model.architecture.name)
    return path


def write_random_vector(path, model, layers, seed=0):
    """Write a random control vector for some layers, and return its path."""
    rng = np.random.default_rng(seed)
    vectors = {layer: rng.standard_normal(model.hp.n_embd).astype(np.float32) for layer in layers}
    write_control_vector(path, vectors, model.architecture.name)
    return path
