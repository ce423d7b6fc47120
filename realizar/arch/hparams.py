"""HParams: the hyperparameters that nearly every architecture has, the base class of those of one architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from realizar.forks import Lock
from realizar.graph import RopeScaling

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: object) -> Callable[[type], type]:
        """What tells type checkers that subclasses are dataclasses; typing has it since Python 3.11."""
        return lambda cls: cls


H = TypeVar("H", bound="HParams")
_lock = Lock()


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True)
class HParams:
    """The hyperparameters that nearly every architecture has; a plugin may subclass it.

    A subclass is a frozen dataclass without a decorator. It becomes one when it is first constructed or subclassed:
    importing all architectures would otherwise spend most of its time in `dataclass`.

    Attributes
    ----------
    n_layer, n_embd, n_ff, n_vocab, n_ctx_train : int
    n_head, n_head_kv, head_dim, head_dim_v : int
    norm_eps : float
    rope_dims : int
        Rotated dimensions of a head.
    rope_base : float
    rope_scaling : RopeScaling
    window : int
        Sliding-window size in keys, the query's own included; 0 if no layer has a window.
    rope_axes : tuple[int, ...] | None
        The axis of positions by which each rotary frequency turns (M-RoPE); None where positions have one axis.
    by_layer : dict[str, tuple[int, ...]]
        Those of `n_head`, `n_head_kv` and `n_ff` that differ from layer to layer (`Architecture.varies`), each with a
        value for each layer, which may be 0; the field itself is the greatest one.
    labels : tuple[str, ...]
        Names of the outputs of a classification head; empty if the file names none.
    n_deepstack : int
        Layers after which further rows of a picture are added to the hidden states (program "pictures").
    has_draft : bool
        Whether block n_layer of the file is a draft block that is to be computed (`realizar.arch.drafts`).
    """

    n_layer: int
    n_embd: int
    n_ff: int
    n_vocab: int
    n_ctx_train: int
    n_head: int
    n_head_kv: int
    head_dim: int
    head_dim_v: int
    norm_eps: float
    rope_dims: int
    rope_base: float
    rope_scaling: RopeScaling
    window: int
    by_layer: Mapping[str, tuple[int, ...]] = field(default_factory=dict, kw_only=True)
    labels: tuple[str, ...] = field(default=(), kw_only=True)
    rope_axes: tuple[int, ...] | None = field(default=None, kw_only=True)
    n_deepstack: int = field(default=0, kw_only=True)
    has_draft: bool = field(default=False, kw_only=True)
    _is_ready: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__bases__:
            if issubclass(base, HParams):
                _make_dataclass(base)  # whose fields cls inherits

    def __new__(cls: type[H], *args: Any, **kwargs: Any) -> H:
        """Return a new object, for which `__init__` is then called."""
        _make_dataclass(cls)
        return super().__new__(cls)

    def layer(self: H, i: int) -> H:
        """The hyperparameters of layer i, with its values instead of the maxima over layers."""
        own: dict[str, Any] = {name: values[i] for name, values in self.by_layer.items()}
        return replace(self, **own)


def _make_dataclass(cls: type[HParams]) -> None:
    """Make a subclass a frozen dataclass, unless it is one already."""
    if "_is_ready" not in vars(cls):
        with _lock:
            if "__dataclass_fields__" not in vars(cls):
                dataclass(frozen=True)(cls)
            cls._is_ready = True


@dataclass(frozen=True)
class Windows:
    """Which layers have sliding-window attention: all but every period-th, or those whose flag is set.

    Attributes
    ----------
    window : int
        Window size in keys; 0 if no layer has a window.
    pattern : int | tuple[bool, ...]
    rope : dict
        Those of `rope_dims`, `rope_base`, `rope_scaling`, `head_dim` and `head_dim_v` that differ in sliding-window
        layers.
    """

    window: int
    pattern: int | tuple[bool, ...]
    rope: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, layer: int) -> int:
        """Window size of this layer in keys; 0 for full attention."""
        flags = self.pattern
        narrow = (layer + 1) % flags != 0 if isinstance(flags, int) else flags[layer]
        return self.window if narrow else 0

    def rotation(self, hp: H, layer: int) -> H:
        """The hyperparameters with the rotary embedding and the head size of this layer."""
        return replace(hp, **self.rope) if self[layer] else hp
