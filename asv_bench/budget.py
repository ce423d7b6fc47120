"""Compares `realizar quantize --budget` with recipes of the same size: the table and the picture of docs/budget.md.

    python asv_bench/budget.py measure smollm2 ruth.txt topics.txt --recipes Q2_K IQ4_XS Q3_K_M --out smollm2.json
    python asv_bench/budget.py draw smollm2.json qwen.json

measure: a file of each recipe, and one of the recipe's size or less that `quantize_to_budget` makes, without and with
an importance matrix. Divergences from the model itself are measured on the texts, which must not be the sample text:
that one chooses the types. The measured sensitivities are kept in OUT.sensitivities.json. draw: the picture,
docs/pictures/budget.png, and the rows of the table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realizar import store
from realizar.gguf.imatrix import write_imatrix
from realizar.quality import Reader, measure_imatrix, measure_sensitivities, quantize_to_budget, sample_text
from realizar.quality.chunks import cut, first_scored
from realizar.quality.statistics import small_divergences
from realizar.quantize import quantize_file

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "budget.png"
N_CTX, SCORE_ROWS = 256, 64


class Judge:
    """Measures files against the logits of the original model on some texts, which are computed once."""

    def __init__(self, model: Path, texts: list[str], n_chunks: int, n_threads: int) -> None:
        self._n_threads = n_threads
        with Reader(model, N_CTX, n_threads=n_threads) as reader:
            self._chunks = np.concatenate([cut(reader.model.tokenizer, text, N_CTX, n_chunks) for text in texts])
        self._reference = self._logits(model)

    def _logits(self, model: Path) -> list[NDArray[np.float32]]:
        with Reader(model, N_CTX, n_threads=self._n_threads) as reader:
            first = first_scored(N_CTX)
            return [
                np.concatenate([rows.copy() for rows in reader.logits(tokens[:-1], first, SCORE_ROWS)])
                for tokens in self._chunks
            ]

    def divergence(self, model: Path) -> tuple[float, float]:
        """Return the mean divergence of a file, in nats, and its standard error."""
        pairs = zip(self._reference, self._logits(model), strict=True)
        found = np.concatenate([small_divergences(reference, logits) for reference, logits in pairs])
        return float(found.mean()), float(found.std() / np.sqrt(len(found) - 1))


def measure(args: argparse.Namespace) -> None:
    """Write the figures of a model."""
    model = Path(store.resolve(args.model))
    kept = args.out.with_suffix(".sensitivities.json")
    if not kept.exists():
        start = time.perf_counter()
        found = measure_sensitivities(model, sample_text(), n_threads=args.threads)
        print(f"{len(found)} tensors measured in {time.perf_counter() - start:.0f} s")
        kept.write_text(json.dumps(found))
    sensitivities = json.loads(kept.read_text())
    judge = Judge(model, [Path(path).read_text("utf-8") for path in args.texts], args.chunks, args.threads)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        matrix, file = Path(folder, "imatrix.gguf"), Path(folder, "model.gguf")
        write_imatrix(matrix, measure_imatrix(model, sample_text(), n_ctx=N_CTX, n_threads=args.threads))
        for imatrix in (None, matrix):
            for recipe in args.recipes:
                quantize_file(model, file, recipe, imatrix, n_threads=args.threads)
                size, by_recipe = file.stat().st_size, judge.divergence(file)
                made = quantize_to_budget(
                    model, file, f"{size / 1e6}MB", imatrix=imatrix, sensitivities=sensitivities, n_threads=args.threads
                )
                row = {
                    "model": args.model, "recipe": recipe, "imatrix": imatrix is not None, "bytes": size,
                    "budget_bytes": file.stat().st_size, "recipe_divergence": by_recipe,
                    "budget_divergence": judge.divergence(file), "predicted": sum(made.divergences.values()),
                    "kept": sum(plan.source == plan.target for plan in made.plans if len(plan.shape) > 1),
                    "types": {plan.name: plan.target.name for plan in made.plans if len(plan.shape) > 1},
                }  # fmt: skip
                rows.append(row)
                print({key: value for key, value in row.items() if key != "types"}, flush=True)
                args.out.write_text(json.dumps(rows, indent=1))


def draw(args: argparse.Namespace) -> None:
    """Draw the picture, and print the rows of the table."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for path in args.results for row in json.loads(path.read_text())]
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = plt.subplots(1, len(models), figsize=(4.5 * len(models), 3.4), layout="constrained", squeeze=False)
    for axis, model in zip(axes.flat, models, strict=True):
        for imatrix, style in ((False, "-"), (True, "--")):
            some = sorted((row for row in rows if (row["model"], row["imatrix"]) == (model, imatrix)), key=_size)
            if not some:
                continue
            more = ", importances" if imatrix else ""
            for key, name, colour in (("recipe", "recipe", "#888888"), ("budget", "budget", "#d1495b")):
                sizes = [row["bytes" if key == "recipe" else "budget_bytes"] / 1e6 for row in some]
                values = [row[f"{key}_divergence"][0] for row in some]
                axis.plot(sizes, values, style, color=colour, marker="o", markersize=3, label=name + more)
            if not imatrix:
                for row in some:
                    at = row["bytes"] / 1e6, row["recipe_divergence"][0]
                    axis.annotate(row["recipe"], at, xytext=(3, 5), textcoords="offset points", fontsize=7)
        axis.set(yscale="log", xlabel="MB", title=model)
        axis.margins(0.14)
        axis.tick_params(labelsize=7, which="both")
    axes[0, 0].set_ylabel("divergence in nats")
    axes[0, 0].legend(fontsize=7, handlelength=4)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    for row in rows:
        (recipe, _), (budget, _) = row["recipe_divergence"], row["budget_divergence"]
        print(
            f"| {row['model']} | {row['recipe']} | {'yes' if row['imatrix'] else 'no'} | {row['bytes'] / 1e6:.1f} "
            f"| {row['budget_bytes'] / 1e6:.1f} | {recipe:.4f} | {budget:.4f} | {budget / recipe:.2f} "
            f"| {row['predicted']:.4f} |"
        )


def _size(row: dict[str, Any]) -> int:
    return int(row["bytes"])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("measure")
    one.add_argument("model")
    one.add_argument("texts", nargs="+")
    one.add_argument("--recipes", nargs="+", required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--chunks", type=int, default=4, help=f"of {N_CTX} tokens, of each text")
    one.add_argument("--threads", type=int)
    one.set_defaults(run=measure)
    two = commands.add_parser("draw")
    two.add_argument("results", type=Path, nargs="+")
    two.set_defaults(run=draw)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
