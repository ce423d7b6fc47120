"""`realizar list`: the known models, and those downloaded from the Hugging Face hub."""

from __future__ import annotations

from realizar import store

EXAMPLE = "Example: realizar list"


def command() -> None:
    """List the known models with size, licence, and whether they are downloaded."""
    rows = [("NAME", "SIZE", "LICENCE", "FETCHED", "ABOUT")]
    for model in store.stored_models():
        size = f"{model.n_bytes / 1e6:.0f} MB"
        rows.append((model.name, size, model.licence, "yes" if model.path else "no", model.about))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\ncache folder: {store.cache_dir()}")
