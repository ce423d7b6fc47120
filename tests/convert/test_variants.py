"""Converted tiny models with other hyperparameters give transformers' logits, whole, in chunks and token by token."""

from contextlib import closing

import numpy as np
import pytest

from realizar.convert import convert
from realizar.model import load
from realizar.testing import Session, relative_error
from tests.convert.families import FAMILIES, SIZES
from tests.convert.variants import VARIANTS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
fill = pytest.importorskip("tests.tools.make_parity_case").fill
Tiny = pytest.importorskip("tests.tools.parity_models").Tiny

N_TOKENS = 40  # more than windows, chunks of recurrences and original contexts
TOKENS = np.random.default_rng(0).integers(3, SIZES["vocab_size"], N_TOKENS).tolist()
ROWS = [(name, i) for name, rows in VARIANTS.items() for i in range(len(rows))]


def model_of(name, more):
    """A model whose logits depend on all of its weights; those of transformers' initialization hardly do."""
    cls, config = FAMILIES[name]
    kind = getattr(transformers, cls)
    torch.manual_seed(0)
    model = kind._from_config(
        kind.config_class(**{**SIZES, **config, **more}),
        attn_implementation="eager",
        experts_implementation="eager",
    )
    fill(model.float().eval(), Tiny(cls, {}, ""), np.random.default_rng(0))
    return model


def error(model, found, want):
    """Relative error of the whole array; with experts, the median over positions, as ties may choose other ones."""
    rows = [relative_error(a, b) for a, b in zip(found, want, strict=True)]
    return float(np.median(rows)) if getattr(model.hp, "n_expert", 0) else relative_error(found, want)


@pytest.mark.parametrize(("name", "i"), ROWS, ids=lambda value: str(value))
def test_logits(name, i, tmp_path):
    model = model_of(name, VARIANTS[name][i])
    with torch.no_grad():
        want = model(torch.tensor([TOKENS]), use_cache=False).logits[0].numpy()
    model.save_pretrained(tmp_path)
    convert(tmp_path, tmp_path / "model.gguf", "F32")
    with closing(load(tmp_path / "model.gguf")) as found:
        for chunk in (N_TOKENS, 7, 1):
            session = Session(found, found.plan(), activations="f32", kv_type="f32")
            assert error(found, session.prompt(TOKENS, chunk)["logits"], want) <= 2e-5, f"chunks of {chunk}"
