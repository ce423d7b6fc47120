"""Makes tests/fixtures/eagle: tiny random EAGLE-3 drafts, and what the library speculators computes with them.

pip install -e '.[peers]' && python -m tests.tools.make_eagle_cases

The drafts are for the model of parity case xverse. Hidden states and draft tokens are those of torch, from the model
in transformers on; the weights are numbers that Q8_0 holds without rounding, as in make_parity_case.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # speculators compiles its forward pass

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from speculators import SpeculatorsConfig, VerifierConfig
from speculators.models.eagle3 import Eagle3DraftModel, Eagle3SpeculatorConfig
from speculators.proposals.greedy import GreedyTokenProposalConfig
from transformers import LlamaConfig

from realizar.convert import convert
from tests.tools.make_parity_case import fill, random_model
from tests.tools.parity_models import SIZES, TINY

TARGET_CASE = "xverse"
FIXTURES = Path(__file__).parents[1] / "fixtures"
TARGET = FIXTURES / "parity2026" / TARGET_CASE / "model-q8_0.gguf"
N_TOKENS, N_DRAFTS, N_DRAFT_VOCAB = 24, 4, 64
MASK_WIDTH = 128  # tokens of a block of torch's flex_attention
SENSITIVE = 0.04  # smallest change of a logit that a wrong tensor must cause

CASES = {
    "plain": {"eagle_aux_hidden_state_layer_ids": [0, 1, 1]},
    "norms": {"eagle_aux_hidden_state_layer_ids": [0, 1, 2], "norm_before_residual": True, "norm_before_fc": True},
}
"""Name -> the options of the draft: the layers whose inputs it reads, and two norms."""


def random_draft(options: dict[str, object], target: torch.nn.Module, rng: np.random.Generator) -> Eagle3DraftModel:
    """Return a draft with random weights and draft tokens, and the embedding of its target."""
    layer = LlamaConfig(**{**SIZES, "num_hidden_layers": 1, "intermediate_size": 32, "head_dim": 16})
    verifier = VerifierConfig(name_or_path=None, architectures=["LlamaForCausalLM"])
    greedy = GreedyTokenProposalConfig(speculative_tokens=N_DRAFTS)
    config = Eagle3SpeculatorConfig(
        transformer_layer_config=layer, draft_vocab_size=N_DRAFT_VOCAB, **options,
        speculators_config=SpeculatorsConfig(
            algorithm="eagle3", proposal_methods=[greedy], default_proposal_method="greedy", verifier=verifier
        ),
    )  # fmt: skip
    model = Eagle3DraftModel(config).float().eval()
    fill(model, TINY[TARGET_CASE], rng)
    tokens = np.sort(rng.choice(np.arange(3, SIZES["vocab_size"]), N_DRAFT_VOCAB, replace=False))
    d2t = torch.tensor(tokens - np.arange(N_DRAFT_VOCAB))
    model.load_vocab_mappings(torch.isin(torch.arange(SIZES["vocab_size"]), torch.tensor(tokens)), d2t)
    with torch.no_grad():
        model.embed_tokens.weight.copy_(target.model.embed_tokens.weight)
    return model


def inputs_of_layers(target: torch.nn.Module, layers: list[int], tokens: list[int]) -> torch.Tensor:
    """Return the inputs of layers of a model of transformers, one after the other, (1, n_tokens, len(layers) * n)."""
    found: dict[int, torch.Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(lambda module, x, number=i: found.update({number: x[0]}))
        for i, module in enumerate([*target.model.layers, target.model.norm])
    ]
    with torch.no_grad():
        target(torch.tensor([tokens]))
    for hook in hooks:
        hook.remove()
    return torch.cat([found[layer] for layer in layers], -1)


def drafted(model: Eagle3DraftModel, features: torch.Tensor, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (N_DRAFTS, N_DRAFT_VOCAB) and the draft tokens after a text.

    The row of a token's features has the next token, so the last features are not needed. speculators continues each
    row by the tokens that follow in its input ("training-time test"): for the last row of the text, by draft tokens.
    Rows after it, up to the width of a mask, do not change it.
    """
    last, rows, ids = len(tokens) - 2, [], list(tokens[1:])
    features = torch.nn.functional.pad(features[:, :-1], (0, 0, 0, MASK_WIDTH - last - 1))
    found: list[torch.Tensor] = []
    hook = model.lm_head.register_forward_hook(lambda module, x, y: found.append(y[0, last]))
    for step in range(N_DRAFTS):
        found.clear()
        padded = torch.tensor([ids + [0] * (MASK_WIDTH - len(ids))])
        with torch.no_grad():
            model(features, padded, torch.zeros_like(padded), ttt_steps=step + 1)
        rows.append(found[step].numpy())
        best = int(rows[-1].argmax())
        ids.append(best + int(model.d2t[best]))
    hook.remove()
    return np.stack(rows), np.array(ids[-N_DRAFTS:], np.int32)


def check_sensitivity(model: Eagle3DraftModel, features: torch.Tensor, tokens: list[int], want: np.ndarray) -> None:
    """Exit if logits hardly change when the rows of a parameter are rotated by one."""
    for name, parameter in model.named_parameters():
        if name.startswith("verifier"):
            continue
        before = parameter.detach().clone()
        parameter.data = torch.roll(before, 1, 0)
        change = np.abs(drafted(model, features, tokens)[0] - want).max()
        parameter.data = before
        if change < SENSITIVE:
            raise SystemExit(f"a wrong {name} would not show: {change}; change the sizes or the seed")


def converted(model: Eagle3DraftModel, path: Path) -> None:
    """Write a draft as a checkpoint of speculators without its embedding, which is the target's, and convert it."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, path.parent.name)  # which the file is named after
        model.save_pretrained(folder)
        stored = load_file(folder / "model.safetensors")
        del stored["embed_tokens.weight"]
        save_file(stored, folder / "model.safetensors")
        done = convert(folder, path, "Q8_0", TARGET)
    if set(done.unused) - {"t2d"}:
        raise SystemExit(f"realizar convert did not use {done.unused}")


def make(name: str, seed: int, parent: Path, check: bool = True) -> Path:
    """Make one case, and return its folder, PARENT/NAME."""
    rng = np.random.default_rng(seed)
    target, _ = random_model(TARGET_CASE, 0)
    options = CASES[name]
    model = random_draft(options, target, rng)
    tokens = rng.integers(3, SIZES["vocab_size"], N_TOKENS).tolist()
    features = inputs_of_layers(target, options["eagle_aux_hidden_state_layer_ids"], tokens)
    logits, ids = drafted(model, features, tokens)
    if check:
        check_sensitivity(model, features, tokens, logits)
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    converted(model, folder / "draft-q8_0.gguf")
    np.savez_compressed(folder / "golden.npz", tokens=np.array(tokens, np.int32), logits=logits, drafted=ids)
    print(f"{name}: {sum(f.stat().st_size for f in folder.iterdir())} bytes, std {logits.std():.2f}, drafts {ids}")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for case in CASES:
        make(case, arguments.seed, FIXTURES / "eagle")
