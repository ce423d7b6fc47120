"""`realizar pull`: downloads a model into the cache."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from realizar import store

EXAMPLE = "Example: realizar pull qwen2.5-coder-0.5b"


def command(
    name: Annotated[str, Argument(metavar="NAME", help="A name of 'realizar list' or hf:owner/repo:Q4_K_M.")],
) -> None:
    """Download and verify a model, and print its path; a model in the cache is only verified."""
    print(store.pull(name))
