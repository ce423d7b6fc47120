"""`realizar list`: the known models, and those downloaded from the Hugging Face hub."""

from __future__ import annotations

from realizar import store
from realizar.cli.tables import write_table

EXAMPLE = "Example: realizar list"


def command() -> None:
    """List the known models with size, licence, and whether they are downloaded."""
    rows = [
        (m.name, f"{m.n_bytes / 1e6:.0f} MB", m.licence, "yes" if m.path else "no", m.about)
        for m in store.stored_models()
    ]
    write_table(("NAME", "SIZE", "LICENCE", "FETCHED", "ABOUT"), rows, right={"SIZE"})
    print(f"\ncache folder: {store.cache_dir()}")
