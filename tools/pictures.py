"""Draws the effect of each sampler on a real distribution, for docs/sampling.md: docs/pictures/*.png.

pip install '.[bench]' && realizar pull qwen2.5-coder-0.5b && python tools/pictures.py

Each panel shows the most probable next tokens of a text: the model's probabilities in grey, those after a sampler in
colour. Nothing is random, so every run gives the same pictures.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

mpl.use("Agg")
from matplotlib import pyplot as plt

from realizar import LLM, SamplingParams
from realizar._kernels.sampling import Candidates
from realizar.params import resolved
from realizar.sampling import AdaptiveP, TokenBytes
from realizar.sampling.context import SamplerContext
from realizar.sampling.order import samplers

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
N_TOKENS, LEAST = 48, 1e-5
STORY = "Once upon a time there was a little"
AGAIN = "The cat sat on the mat. The cat ran to the door. The cat sat on the"
SHEETS: dict[str, tuple[str, int, list[dict[str, object]]]] = {
    "truncation": (
        STORY, 3,
        [
            {"top_k": 10}, {"top_p": 0.8}, {"min_p": 0.1}, {"typical_p": 0.5}, {"tfs_z": 0.9}, {"top_a": 0.3},
            {"top_n_sigma": 1.0}, {"epsilon_cutoff": 0.005}, {"eta_cutoff": 0.01},
            {"xtc_probability": 1.0, "xtc_threshold": 0.05}, {"mirostat": 1, "mirostat_tau": 2.5},
            {"mirostat": 2, "mirostat_tau": 2.5},
        ],
    ),
    "temperature": (
        STORY, 3,
        [
            {"temperature": 0.5}, {"temperature": 1.5}, {"temperature": 0.0}, {"dynatemp_range": 0.8},
            {"smoothing_factor": 0.3}, {"min_p": 0.02, "samplers": ["min_p", AdaptiveP(0.1)]},
        ],
    ),
    "repetition": (
        AGAIN, 3,
        [
            {"repetition_penalty": 1.3}, {"presence_penalty": 1.5}, {"frequency_penalty": 1.0},
            {"dry_multiplier": 0.8}, {"no_repeat_ngram_size": 4}, {"bad_words": (" mat",)},
        ],
    ),
}  # fmt: skip


def after(
    given: dict[str, object], logits: NDArray[np.float32], history: list[int], context: SamplerContext
) -> NDArray[np.float64]:
    """Return the probabilities of all tokens after the samplers."""
    candidates = Candidates(context.n_vocab)
    candidates.load(logits)
    candidates.key(0, len(history), 0)
    for sampler in samplers(resolved(SamplingParams(**given)), context):  # type: ignore[arg-type]
        sampler.apply(candidates, history)
    p = np.zeros(context.n_vocab)
    p[candidates.token_ids] = softmax(candidates.logits)
    return p


def softmax(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities in float64."""
    e = np.exp(x.astype(np.float64) - float(x.max()))
    return np.asarray(e / e.sum())


def title(given: dict[str, object]) -> str:
    """Return the parameters as Python code."""
    return ", ".join(
        "AdaptiveP(0.1)" if name == "samplers" else f"{name}={value!r}".replace("(' mat',)", "' mat'")
        for name, value in given.items()
    )


def sheet(name: str, llm: LLM) -> None:
    """Draw one sheet of panels."""
    text, n_columns, panels = SHEETS[name]
    history = llm.tokenize(text)
    logits = llm.logits(history)[-1].copy()
    context = SamplerContext(len(logits), TokenBytes(llm.tokenizer, len(logits)), len(history))
    before = softmax(logits)
    best = np.argsort(-before, kind="stable")[:N_TOKENS]
    n_rows = -(-len(panels) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(9, 1.5 * n_rows + 0.4), sharex=True, sharey=True, layout="constrained"
    )
    for axis, given in zip(axes.flat, panels, strict=True):
        axis.bar(range(N_TOKENS), before[best], width=0.9, color="#cccccc")
        axis.bar(range(N_TOKENS), after(given, logits, history, context)[best], width=0.5, color="#d1495b")
        axis.set(yscale="log", ylim=(LEAST, 1.5), xlim=(-1, N_TOKENS))
        axis.set_title(title(given), fontsize=8, pad=3)
        axis.tick_params(labelsize=6, length=2)
    figure.supxlabel(f"rank of the token after “{text}”", fontsize=8)
    figure.supylabel("probability", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90)
    plt.close(figure)
    FOLDER.mkdir(exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(24).save(FOLDER / f"{name}.png", optimize=True)


def main() -> None:
    """Draw all sheets with the model in the first argument, or the default one."""
    with LLM(sys.argv[1] if len(sys.argv) > 1 else "qwen2.5-coder-0.5b", n_ctx=256) as llm:
        for name in SHEETS:
            sheet(name, llm)


if __name__ == "__main__":
    main()
