"""`realizar plugins`: the installed plugins and what they bring."""

from __future__ import annotations

import warnings

EXAMPLE = "Example: realizar plugins"


def command() -> None:
    """List architectures and pre-tokenizers with the plugins that bring them; broken plugins with their errors."""
    from realizar.arch.registry import default

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be loaded stands in the list below
        found = default()
    for what, plugin in sorted(found.origins.items()):
        print(f"{what}  from {plugin}")
    for plugin, why in sorted(found.broken.items()):
        print(f"plugin {plugin}  BROKEN: {why}")
