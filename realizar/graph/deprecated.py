"""Builder methods under their names of plugin API 1.1, for one more release: each warns and calls its new name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

RENAMED = {
    "store_source": "cross_store",
    "attend_source": "cross_attention",
    "attend_latent": "mla_attention",
    "short_conv": "causal_conv1d",
    "linear_heads": "per_head_linear",
}
"""Old name -> new name."""


def _alias(old: str) -> Callable[..., Any]:
    new = RENAMED[old]

    def method(self: object, *args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"g.{old} is now g.{new}; the old name will be removed in plugin API 2.0", DeprecationWarning, stacklevel=2
        )
        return getattr(self, new)(*args, **kwargs)

    method.__name__ = old
    method.__doc__ = f"Deprecated since plugin API 1.2: use `{new}`."
    return method


class DeprecatedNames:
    """The old names, as methods that `Graph` inherits."""

    store_source = _alias("store_source")
    attend_source = _alias("attend_source")
    attend_latent = _alias("attend_latent")
    short_conv = _alias("short_conv")
    linear_heads = _alias("linear_heads")
