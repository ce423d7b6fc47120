"""Makes parity cases in the form of tests/fixtures/parity2026: tiny random models, and what transformers computes.

pip install -e '.[peers]' && python -m tests.tools.make_parity_case NAME...   (names in parity_models.py)

The weights are numbers that Q8_0 holds without rounding, so transformers' float32 results are right for the file, too.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from realizar import LLM
from realizar.convert import convert
from realizar.gguf import GGUFFile
from realizar.testing import relative_error
from tests.tools.parity_models import SIZES, TINY, Tiny

TARGET = Path(__file__).parents[1] / "fixtures" / "parity2026"
N_TOKENS, N_GREEDY = 32, 16
BLOCK = 32  # elements of a Q8_0 block
LIMIT = 100_000  # bytes of a case
INSENSITIVE = 0.04  # smallest change of a logit or a state that a wrong tensor must cause
UNUSED = ("visual", "vision", "projector")  # parts for pictures
NO_EFFECT = ("k_proj.bias",)  # softmax ignores what is added to all scores of a query


def exact(shape: torch.Size, rms: float, rng: np.random.Generator) -> torch.Tensor:
    """Return random numbers that Q8_0 holds without rounding, whichever of the last two dimensions is that of blocks.

    All are integers of at most 127 times one power of two, and 127 itself is in each block.
    """
    numbers = np.clip(np.rint(rng.normal(0.0, 45.0, shape)), -127, 127)
    rows, columns = np.indices(shape[-2:])
    numbers[..., (rows + columns) % BLOCK == 0] = 127 * rng.choice([-1, 1])
    return torch.tensor(numbers * 2.0 ** round(math.log2(rms / 45.0)), dtype=torch.float32)


def fill(model: torch.nn.Module, tiny: Tiny, rng: np.random.Generator) -> None:
    """Set all weights: matrices by `exact`, vectors and single rows to what they were initialized to, plus noise."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if tiny.zero and name.endswith(tiny.zero):
                parameter.zero_()
            elif parameter.ndim >= 2 and len(parameter) > 1:
                is_table = "embed" in name or "wte" in name or "shared" in name
                parameter.copy_(
                    exact(parameter.shape, 1.0 if is_table else 1.5 * min(parameter.shape[-2:]) ** -0.5, rng)
                )
            else:
                parameter.add_(torch.tensor(rng.normal(0.0, 0.2, parameter.shape), dtype=torch.float32))


def computed(model: torch.nn.Module, tiny: Tiny, tokens: list[int]) -> np.ndarray:
    """Return the logits or hidden states of a text, (n_tokens, n_vocab or n_embd)."""
    more = {"attention_mask": torch.zeros(1, 1, len(tokens), len(tokens))} if tiny.bidirectional else {}
    with torch.no_grad():
        found = model(torch.tensor([tokens]), **more)
    return (found.logits if tiny.kind == "causal" else found.last_hidden_state)[0].float().numpy()


def rounded(x: torch.Tensor) -> torch.Tensor:
    """Return x rounded to int8 in blocks of 32, as llama.cpp rounds the inputs of products with Q8_0."""
    if x.shape[-1] % BLOCK:
        return x
    blocks = x.unflatten(-1, (-1, BLOCK))
    scales = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
    return (torch.round(blocks / scales) * scales).flatten(-2)


def with_rounding(model: torch.nn.Module, tiny: Tiny, tokens: list[int]) -> np.ndarray:
    """Return what `computed` does, with the inputs of all products with weights rounded."""
    linear = torch.nn.functional.linear
    torch.nn.functional.linear = lambda x, weight, bias=None: linear(rounded(x), weight, bias)
    try:
        return computed(model, tiny, tokens)
    finally:
        torch.nn.functional.linear = linear


def greedy(model: torch.nn.Module, tiny: Tiny, tokens: list[int]) -> tuple[list[int], list[float]]:
    """Return the greedy continuation, and at each step the best logit minus the second best."""
    ids, margins = list(tokens), []
    for _ in range(N_GREEDY):
        last = computed(model, tiny, ids)[-1]
        second, best = np.partition(last, -2)[-2:]
        ids.append(int(last.argmax()))
        margins.append(float(best - second))
    return ids[len(tokens) :], margins


def sensitivity(model: torch.nn.Module, tiny: Tiny, tokens: list[int], want: np.ndarray) -> dict[str, float]:
    """Return how far the results move when the rows of one parameter are rotated by one."""
    found = {}
    for name, parameter in model.named_parameters():
        if any(part in name for part in UNUSED) or len(parameter) == 1:
            continue
        before = parameter.detach().clone()
        parameter.data = torch.roll(before, 1, 0)
        found[name] = round(float(np.abs(computed(model, tiny, tokens) - want).max()), 4)
        parameter.data = before
    weak = {name: change for name, change in found.items() if change < INSENSITIVE and not name.endswith(NO_EFFECT)}
    if weak:
        raise SystemExit(f"a wrong tensor would not show: {weak}; change the sizes or the seed")
    return found


def converted(model: torch.nn.Module, tiny: Tiny, path: Path) -> str:
    """Write the model as GGUF with `realizar convert`; return its architecture."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, path.parent.name)  # which the file is named after
        model.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        if tiny.checkpoint:
            config["architectures"] = [tiny.checkpoint]
        (folder / "config.json").write_text(json.dumps({**config, **tiny.keys}))
        tensors = tiny.rename(load_file(folder / "model.safetensors"), model.config)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
        done = convert(folder, path, "Q8_0")
    unused = [name for name in done.unused if not any(part in name for part in UNUSED)]
    if unused:
        raise SystemExit(f"realizar convert did not use {unused}")
    return done.architecture


def golden(model: torch.nn.Module, tiny: Tiny, tokens: list[int]) -> dict[str, np.ndarray]:
    """Return the arrays of golden.npz, with the names of the second parity set.

    `logits_q8_0` and `hidden_q8_0`, which are llama.cpp's there, show how much rounded activations may change.
    """
    want = (np.round(computed(model, tiny, tokens) * 2**16) / 2**16).astype(np.float32)  # these numbers compress
    with_int8 = with_rounding(model, tiny, tokens).astype(np.float16)
    arrays = {"tokens": np.array(tokens, np.int32)}
    if tiny.kind == "encoder":
        pooled = {"hf_pooled_mean": want.mean(0), "hf_pooled_cls": want[0]}
        return {**arrays, "hf_hidden": want, **pooled, "hidden_q8_0": with_int8}
    ids, margins = greedy(model, tiny, tokens)
    continued = {"hf_greedy": np.array(ids, np.int32), "hf_greedy_margin": np.array(margins, np.float32)}
    return {**arrays, "hf_logits": want, **continued, "logits_q8_0": with_int8}


def compared(path: Path, tiny: Tiny, arrays: dict[str, np.ndarray]) -> float:
    """Return the relative error of realizar with float32 activations."""
    tokens = arrays["tokens"].tolist()
    with LLM(path, activations="f32", kv_type="f32") as llm:
        if tiny.kind == "causal":
            return relative_error(llm.logits(tokens), arrays["hf_logits"])
        return relative_error(llm.embed(tokens, pooling=None)[0], arrays["hf_hidden"])


def random_model(name: str, seed: int) -> tuple[torch.nn.Module, np.random.Generator]:
    """Return the model of a case, and the generator of its weights."""
    tiny, rng = TINY[name], np.random.default_rng(seed)
    options = {key: value for key, value in {**SIZES, **tiny.config}.items() if value is not None}
    config = getattr(transformers, tiny.config_class)(**options)
    kind = getattr(transformers, tiny.model_class)
    make_model = kind.from_config if tiny.model_class.startswith("Auto") else kind._from_config
    model = make_model(config, attn_implementation="eager", experts_implementation="eager").float().eval()
    fill(model, tiny, rng)
    return model, rng


def make(name: str, seed: int) -> None:
    """Make one case, in TARGET/NAME."""
    tiny, (model, rng) = TINY[name], random_model(name, seed)
    tokens = rng.integers(3, SIZES["vocab_size"], N_TOKENS).tolist()
    folder = TARGET / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model-q8_0.gguf"
    architecture, arrays = converted(model, tiny, path), golden(model, tiny, tokens)
    np.savez_compressed(folder / "golden.npz", **arrays)
    results = arrays["hf_logits" if tiny.kind == "causal" else "hf_hidden"]
    meta = {
        "case": name, "kind": tiny.kind, "note": tiny.note, "architecture": architecture, "seed": seed,
        "hf_class": type(model).__name__, "transformers": transformers.__version__, "torch": torch.__version__,
        "std": float(results.std()), "sensitivity": min(sensitivity(model, tiny, tokens, results).values()),
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    with GGUFFile(path) as file:
        types = sorted({tensor.type.name for tensor in file.tensors.values()})
    print(f"{name}: {size} bytes, {'/'.join(types)}, std {meta['std']:.2f}, error {compared(path, tiny, arrays):.1e}")
    if size > LIMIT:
        raise SystemExit(f"{name} is larger than {LIMIT} bytes; make it smaller")


def write_index() -> None:
    """Write index.json from the meta.json of all cases."""
    rows = []
    for path in sorted(TARGET.glob("*/meta.json")):
        meta, model = json.loads(path.read_text()), path.with_name("model-q8_0.gguf")
        files = {model.name: {"exact_weights": True, "bytes": model.stat().st_size}}
        rows.append(
            {**{key: meta[key] for key in ("case", "architecture", "kind")}, "gelu_table": False, "files": files}
        )
    (TARGET / "index.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=TINY)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.names:
        make(name, arguments.seed)
    write_index()
