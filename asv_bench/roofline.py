"""Draws the roofline of a comparison: the machine's limits, and the programs as points below them."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # works without a display

from matplotlib import pyplot as plt

MARKERS = {"realizar": "o", "baseline": "+", "llama.cpp": "x"}


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw the results of `compare`.

    The roof at an arithmetic intensity (operations per byte read) is the smaller of bandwidth times intensity and the
    int8 rate. A point's distance to the roof is the unused performance.

    Parameters
    ----------
    found : list of dict
        Results, one per model.
    path : Path
        Output PNG file.
    """
    figure, axes = plt.subplots(figsize=(10, 6), layout="constrained")
    read = median(model["read_gb_s"] for model in found) * 1e9
    int8 = median(model["int8_tops"] for model in found) * 1e12
    points = [(model["model"], result) for model in found for result in model["phases"]]
    intensities = [result["operations"] / result["bytes"] for _, result in points]
    left, right = min(*intensities, int8 / read) / 2, max(*intensities, int8 / read) * 4
    label = f"{read / 1e9:.1f} GB/s, {int8 / 1e12:.2f} T int8 operations/s"
    axes.plot([left, int8 / read, right], [left * read, int8, int8], color="black", label=label)
    for i, ((model, result), x) in enumerate(zip(points, intensities, strict=True)):
        for name, speeds in result["tok_s"].items():
            speed = result["operations"] / result["n_tokens"] * median(speeds)
            label = f"{model} {result['phase']}" if name == "realizar" else None
            axes.plot(x, speed, MARKERS[name], color=f"C{i % 10}", label=label)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="operations per second")
    axes.set_title(f"{found[0]['n_threads']} threads; o realizar, + baseline, x llama.cpp")
    axes.grid(which="both", alpha=0.2)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
