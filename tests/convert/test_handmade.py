"""Checkpoints with the names of each family, made from tiny files: they convert to files with the same logits."""

import json

import numpy as np
import pytest

from realizar import LLM
from realizar.arch import registry
from realizar.arch.architecture import expand
from realizar.convert import convert
from realizar.errors import GGUFError, TensorError
from realizar.gguf import GGUFFile, GGUFWriter
from realizar.testing import tiny_metadata, tiny_model
from tests.convert.handmade import FAMILIES, LLAMA, SIZES, WHOLE

TOKENS = np.random.default_rng(0).integers(3, 288, 40).tolist()


def write(folder, arrays, config):
    header, body = {}, b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array, np.float32).tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(np.shape(array)), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    (folder / "config.json").write_text(json.dumps({**SIZES, **config}))


def tensors(model):
    """Return the tensors of a file, with the parts of fused ones."""
    out = {}
    with GGUFFile(model.file.path) as file:
        for name, info in file.tensors.items():
            out[name] = file.data(name).view(np.float32).reshape(info.shape).copy()
    for name, weight in expand(model.architecture.tensors(model.hp), model.hp.n_layer).items():
        for suffix, axis in ((".weight", -2), (".bias", -1)):
            if weight.parts and name + suffix in out and out[name + suffix].shape[axis] == sum(weight.parts.values()):
                ends = np.cumsum([*weight.parts.values()])[:-1]
                prefix = name[: name.rfind(".") + 1]
                parts = np.split(out[name + suffix], ends, axis=axis)
                out.update({f"{prefix}{part}{suffix}": x for part, x in zip(weight.parts, parts, strict=True)})
    return out


def made(table, t):
    """Return the tensors of a table that can be made from those of a file; the last name of a tensor counts."""
    out, last = {}, {source: name for name, source in table.items()}
    for name, source in table.items():
        if last[source] != name:
            continue
        try:
            out[name] = source(t) if callable(source) else t(source)
        except KeyError:  # of another kind of layer
            continue
    return out


def without_factors(path, keys):
    """Write the file without random divisors of rotary frequencies, which no config.json describes."""
    writer = GGUFWriter(path.with_name("plain.gguf"))
    for key, value in keys.items():
        writer.add(key, value)
    with GGUFFile(path) as file:
        for name, info in file.tensors.items():
            if name != "rope_freqs.weight":
                writer.add_tensor(name, file.data(name).copy(), info.shape, info.type)
    writer.write()
    return path.with_name("plain.gguf")


def checkpoint(family, folder):
    """Write a checkpoint, and return the path of the file with the same weights."""
    keys = {key if key.startswith("xielu.") else f"{family.arch}.{key}": value for key, value in family.keys.items()}
    keys, architecture = {**tiny_metadata(family.arch), **keys}, registry.default().architecture(family.arch)
    with tiny_model(architecture, keys, "F32", folder, optional=family.fused) as model:
        found, n_layer, path = tensors(model), model.hp.n_layer, model.file.path
    if found.pop("rope_freqs.weight", None) is not None:
        path = without_factors(path, keys)
    found.setdefault("output.weight", found["token_embd.weight"])
    arrays = made(family.whole, found.__getitem__)
    for i in range(n_layer):
        own = {name.removeprefix(f"blk.{i}."): x for name, x in found.items() if name.startswith(f"blk.{i}.")}
        own.update({key: np.float32(value[i]) for key, value in keys.items() if key.startswith("xielu.")})
        arrays.update({f"{family.prefix}{i}.{name}": x for name, x in made(family.layers, own.__getitem__).items()})
    write(folder, arrays, family.config)
    return path


def logits(path):
    with LLM(path, activations="f32", kv_type="f32") as llm:
        return llm.logits(TOKENS)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_logits(name, tmp_path):
    path = checkpoint(FAMILIES[name], tmp_path)
    convert(tmp_path, tmp_path / "model.gguf", "F32")
    found, want = logits(tmp_path / "model.gguf"), logits(path)
    assert np.linalg.norm(found - want) <= 1e-5 * np.linalg.norm(want)
