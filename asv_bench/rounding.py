"""Effect of rounding activations on real models: error of the logits, KL divergence and top-1 agreement.

    python asv_bench/rounding.py smollm2 qwen2.5-coder-0.5b

The texts are this repository's prompts for speculative decoding and its README, about 2,000 tokens in total. Each is
computed with float32 activations and KV cache (exact), and with every other type. The error of a token is
|logits - exact| / |exact - mean(exact)|.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar import LLM, store
from realizar.quality.statistics import kl_divergence, log_softmax

Logits = npt.NDArray[np.float32]

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [*sorted((ROOT / "asv_bench" / "prompts").rglob("*.txt")), ROOT / "README.md"]
MAX_TOKENS = 400  # per text
KINDS = [(activations, kv) for activations in ("int8", "int16", "f32") for kv in ("f32", "f16")]


def differences(found: Logits, exact: Logits) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return per token: relative error, KL divergence of `found` from `exact`, and whether the top-1 tokens agree.

    Parameters
    ----------
    found, exact : float32 [n_tokens, n_vocab]
    """
    size = np.linalg.norm(exact - exact.mean(-1, keepdims=True), axis=-1)
    error = np.linalg.norm(found - exact, axis=-1) / size
    pairs = zip(exact, found, strict=True)
    kl = np.array([kl_divergence(log_softmax(p), log_softmax(q)) for p, q in pairs])
    return error, kl, found.argmax(-1) == exact.argmax(-1)


def read_all(path: Path, tokens: list[list[int]], activations: Any, kv_type: Any) -> list[Logits]:
    """Return the logits of every text."""
    with LLM(path, activations=activations, kv_type=kv_type, n_ctx=MAX_TOKENS, n_seqs=1) as llm:
        return [llm.logits(ids) for ids in tokens]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    for name in parser.parse_args().models:
        path = Path(store.resolve(name))
        with LLM(path) as llm:
            tokens = [llm.tokenize(text.read_text("utf-8"))[:MAX_TOKENS] for text in TEXTS]
        exact = read_all(path, tokens, "f32", "f32")
        print(f"{path.stem}: {sum(map(len, tokens))} tokens")
        print("activations cache  error: median    mean     max   KL: mean      max  same best")
        for activations, kv in KINDS[:-2] + KINDS[-1:]:
            rows = zip(read_all(path, tokens, activations, kv), exact, strict=True)
            error, kl, same = (np.concatenate(x) for x in zip(*(differences(*row) for row in rows), strict=True))
            print(
                f"{activations:11} {kv:5} {np.median(error):13.1e} {error.mean():8.1e} {error.max():7.1e}"
                f" {kl.mean():10.1e} {kl.max():8.1e} {100 * same.mean():8.2f} %"
            )


if __name__ == "__main__":
    main()
