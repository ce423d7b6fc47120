"""Architecture: the base class of every model architecture, and its tensor declarations."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from realizar.arch.checkpoint import Checkpoint
from realizar.arch.hparams import HParams, Windows
from realizar.arch.metadata import ArchMetadata
from realizar.errors import GGUFError, TensorError
from realizar.graph import Graph, RopeScaling, Rotation, Value

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """Declaration of a tensor that an architecture expects.

    Attributes
    ----------
    shape : tuple[int, ...]
        Rows first: a linear weight is (n_out, n_in), expert weights are (n_expert, n_out, n_in).
    bias : bool | None
        Whether there is a `NAME.bias` of shape `bias_shape`; None if only some files have it.
    optional : bool
        The file may lack it; `build` then gets None.
    alias : str | None
        The tensor to use if the file lacks this one (tied embeddings).
    parts : dict[str, int] | None
        For a fused tensor: last component of each part's name -> its number of rows (per expert), in order. The file
        may hold the fused tensor or the parts; `build` always sees the parts, as views of a fused tensor's rows.
    optional_parts : tuple[str, ...]
        Parts that a file which holds the parts may lack.
    suffix : str
        Suffix of the name in the file: some tensors have ".bias" only, some none.
    where, unless : str | None
        Last component of the name of an optional tensor of the same layer. This tensor exists if and only if that one
        exists (`where`) or does not exist (`unless`), as with expert and dense feed-forward layers; else `build` gets
        None.
    negative : bool
        All elements are negative (decays); random test models respect it.
    """

    shape: Shape
    bias: bool | None = False
    optional: bool = False
    alias: str | None = None
    parts: Mapping[str, int] | None = None
    optional_parts: tuple[str, ...] = ()
    suffix: str = ".weight"
    where: str | None = None
    unless: str | None = None
    negative: bool = False

    @property
    def bias_shape(self) -> Shape:
        """One bias for each row of a matrix, (n_out,) or (n_expert, n_out), or for each element of a vector."""
        return self.shape[:-1] or self.shape

    def split(self, name: str) -> WeightTable:
        """Names and declarations of the parts of this weight, which is called `name`."""
        folder, parts = name[: name.rfind(".") + 1], self.parts or {}
        *experts, _, n_in = self.shape
        return {
            folder + part: replace(
                self, shape=(*experts, n, n_in), parts=None, optional_parts=(),
                optional=self.optional or part in self.optional_parts,
            )
            for part, n in parts.items()
        }  # fmt: skip


WeightTable = dict[str, Weight]


@dataclass(frozen=True)
class WeightRef:
    """Reference to a tensor of the file, as `build` gets it.

    Attributes
    ----------
    name : str
        Without ".weight".
    shape : tuple[int, ...]
    bias : str | None
        Name of its bias tensor, if any.
    suffix : str
    scale : float | None
        Factor for products with it, if the file has `NAME.scale`.
    expert_scales : str | None
        Of experts: name of the tensor with a factor for the products of each expert.
    rotation : Rotation | None
        Its basis, if the file stores it in a rotated one.
    """

    name: str
    shape: Shape
    bias: str | None
    suffix: str = ".weight"
    scale: float | None = None
    expert_scales: str | None = None
    rotation: Rotation | None = None

    @property
    def tensor(self) -> str:
        """Full name in the file."""
        return self.name + self.suffix


class Weights:
    """The tensors of a file by attribute: `w.output_norm`, `w.blk[3].attn_q`; a missing optional one is None.

    Blocks after the first n_layer are no layers: `w.draft` is the draft block, or None.
    """

    def __init__(self, refs: Mapping[str, WeightRef | None], n_layer: int | None = None) -> None:
        self.draft: Weights | None = None
        layers: dict[str, dict[int, dict[str, WeightRef | None]]] = {}
        for name, ref in refs.items():
            match = re.fullmatch(r"(.*?)(\w+)\.(\d+)\.(.+)", name)
            if match is None:
                setattr(self, name.replace(".", "_"), ref)
            else:
                group = (match[1] + match[2]).replace(".", "_")
                layers.setdefault(group, {}).setdefault(int(match[3]), {})[match[4]] = ref
        if n_layer is not None and n_layer in layers.get("blk", ()):
            self.draft = Weights(layers["blk"].pop(n_layer))
        for group, by_index in layers.items():
            setattr(self, group, [Weights(by_index[i]) for i in sorted(by_index)])

    def __getattr__(self, name: str) -> Any:
        raise TensorError(f"build() uses {name!r}, which tensors() does not declare")


def expand(table: WeightTable, n_layer: int) -> WeightTable:
    """The table with `{i}` expanded to every layer index."""
    out: WeightTable = {}
    for name, weight in table.items():
        if "{i}" in name:
            out.update({name.replace("{i}", str(i)): weight for i in range(n_layer)})
        else:
            out[name] = weight
    return out


LAYER_KEYS = {
    "n_head": "attention.head_count",
    "n_head_kv": "attention.head_count_kv",
    "n_ff": "feed_forward_length",
}
"""Metadata keys of the hyperparameters that `Architecture.varies` may name."""

LAYER_NORM_EPS = "attention.layer_norm_epsilon"
"""`norm_eps_key` of architectures with layer normalization."""
RMS_NORM_EPS = "attention.layer_norm_rms_epsilon"

IGNORED = ("*.input_scale", "v.*", "a.*", "mm.*", "resampler.*")
"""Tensors that no text architecture uses: static activation scales (activations are quantized dynamically here), and
image and audio encoders that are stored in the file of the language model."""

Program = Callable[[Graph, Weights, Any], "Value | Mapping[str, Value] | None"]


class Architecture(ABC):
    """A model architecture: its hyperparameters from the metadata, its tensors, and its equations.

    A subclass sets `name` and implements `tensors` and `build`; the defaults of `hparams` and `programs` fit most.
    `norm_eps_key` is the metadata key of the norm epsilon: that of RMS norm by default, or LAYER_NORM_EPS.
    `varies` names the hyperparameters that differ from layer to layer (`HParams.by_layer`), of those in LAYER_KEYS.
    `window_heads` says that sliding-window layers may have heads of another size ("attention.key_length_swa").
    `checkpoint` maps Hugging Face checkpoints to it, for `realizar convert`; None if that is not supported.
    `is_draft` says that its files are drafts for other models (programs "fuse" and "draft", `realizar.arch.drafts`).
    `draft_before_norm` says that a draft block reads the hidden state before the final norm, not after it.
    """

    name: ClassVar[str]
    norm_eps_key: ClassVar[str] = RMS_NORM_EPS
    varies: ClassVar[tuple[str, ...]] = ()
    window_heads: ClassVar[bool] = False
    checkpoint: ClassVar[Checkpoint | None] = None
    is_draft: ClassVar[bool] = False
    draft_before_norm: ClassVar[bool] = False

    def hparams(self, md: ArchMetadata) -> HParams:
        """Read the hyperparameters from the metadata.

        A file whose layers all have experts may lack the width of a dense feed-forward; then `n_ff` is an expert's.

        Raises
        ------
        GGUFError
            If a key is missing or has an invalid value.
        """
        by_layer = {name: md.per_layer(LAYER_KEYS[name]) for name in self.varies}
        greatest = {name: max(1, *values) for name, values in by_layer.items()}
        n_embd, n_head = md.positive("embedding_length"), greatest.get("n_head") or md.positive("attention.head_count")
        n_head_kv = greatest.get("n_head_kv") or md.positive("attention.head_count_kv", n_head)
        n_layer = md.layers()
        self._check_heads(
            by_layer.get("n_head", (n_head,) * n_layer), by_layer.get("n_head_kv", (n_head_kv,) * n_layer)
        )
        head_dim = md.positive("attention.key_length", max(1, n_embd // n_head))
        return HParams(
            n_layer=n_layer,
            n_embd=n_embd,
            n_ff=greatest.get("n_ff")
            or md.positive("feed_forward_length", md.integer("expert_feed_forward_length", 0) or None),
            n_vocab=md.n_vocab(),
            n_ctx_train=md.positive("context_length"),
            n_head=n_head,
            n_head_kv=n_head_kv,
            head_dim=head_dim,
            head_dim_v=md.positive("attention.value_length", head_dim),
            norm_eps=self.norm_eps(md),
            rope_dims=md.positive("rope.dimension_count", head_dim),
            rope_base=md.between("rope.freq_base", 2.0, 1e30, 10000.0),
            rope_scaling=self.rope_scaling(md),
            window=self.window(md),
            by_layer=by_layer,
            labels=md.strings("classifier.output_labels"),
            rope_axes=self.rope_axes(md),
        )

    def fitted(self, hp: Any, shapes: Mapping[str, Sequence[int]], target: Any = None) -> Any:
        """The hyperparameters, with those that only the shapes of the file's tensors tell; by default none.

        `target` are those of the model for which a draft in a file of its own drafts, if it is known.
        """
        return hp

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """The axis of each rotary frequency; None for plain positions. `mrope_axes` reads them from the file."""
        return None

    def _check_heads(self, n_head: Sequence[int], n_head_kv: Sequence[int]) -> None:
        for n, n_kv in zip(n_head, n_head_kv, strict=True):
            if n_kv and n % n_kv:
                raise GGUFError(f"{self.name}: {n} query heads are not a multiple of {n_kv} KV heads")

    def norm_eps(self, md: ArchMetadata) -> float:
        """The norm epsilon; if the file has the other key as well, its value must be valid too."""
        for key in (LAYER_NORM_EPS, RMS_NORM_EPS):
            md.between(key, 0.0, 1.0, 0.0)
        return md.between(self.norm_eps_key, 0.0, 1.0)

    def window(self, md: ArchMetadata) -> int:
        """Sliding-window size in keys; 0 for full attention."""
        window = md.integer("attention.sliding_window", 0)
        if window < 0:
            raise GGUFError(f"{self.name}.attention.sliding_window: an integer >= 0 is needed, found {window}")
        return min(window, 2**31 - 1)  # the kernels count in int32; no context is longer

    def windows(self, md: ArchMetadata, period: int, full_first: bool = False, **rope: Any) -> Windows:
        """Sliding-window layers: all but every period-th, unless the file has its own pattern.

        With `full_first`, the first layer of each period has full attention, else the last one.
        `rope` is as in `Windows`; the keys "rope.freq_base_swa" and "rope.dimension_count_swa" of the file win.
        """
        full = max(1, md.positive("embedding_length") // max(1, *md.per_layer("attention.head_count")))
        for name, key in (("head_dim", "attention.key_length"), ("head_dim_v", "attention.value_length")):
            wide = md.positive(key, full)
            if (narrow := md.positive(f"{key}_swa", wide)) == wide:
                continue
            if not self.window_heads:
                raise GGUFError(
                    f"{self.name}.{key}_swa: heads of {narrow} elements in sliding-window layers, of {wide} in the "
                    f"others; architecture {self.name} supports one head size only"
                )
            rope[name] = narrow
        dims, base = md.integer("rope.dimension_count_swa", 0), md.between("rope.freq_base_swa", 0.0, 1e30, 0.0)
        if dims:
            rope["rope_dims"] = md.positive("rope.dimension_count_swa")
        if base:
            rope["rope_base"] = md.between("rope.freq_base_swa", 2.0, 1e30)
        pattern = md.period_or_flags("attention.sliding_window_pattern", period)
        if full_first and isinstance(pattern, int):
            pattern = tuple(i % pattern != 0 for i in range(md.layers()))
        return Windows(self.window(md), pattern, rope)

    def kv_layers(self, md: ArchMetadata, windows: Windows) -> tuple[int, ...]:
        """For each layer the one whose keys and values it attends to (`kv_of` of `Graph.attention`), else itself.

        The last "attention.shared_kv_layers" layers share those of the last layer before them with the same window.

        Raises
        ------
        GGUFError
            If there is no such layer.
        """
        n_layer, key = md.layers(), "attention.shared_kv_layers"
        n_shared = md.integer(key, 0)
        own = range(n_layer - max(n_shared, 0))
        last = {windows[i]: i for i in own}
        if n_shared < 0 or any(windows[i] not in last for i in range(n_layer)):
            raise GGUFError(
                f"{self.name}.{key}: {n_shared} of {n_layer} layers are to have the keys and values of an earlier one "
                "with the same window, and for some there is none"
            )
        return (*own, *(last[windows[i]] for i in range(len(own), n_layer)))

    def ignored(self, md: ArchMetadata, hp: Any) -> Sequence[str]:
        """Names of tensors that a file may have although the equations do not use them; `*` matches any text.

        Any other tensor that `tensors` does not declare is an error, so that no part of a model is silently skipped.
        """
        drafts = range(md.layers(), md.layers() + md.draft_layers())
        return (*IGNORED, *(f"blk.{i}.*" for i in drafts))

    def rope_scaling(self, md: ArchMetadata) -> RopeScaling:
        """The `rope.scaling.*` keys; the old key `rope.scale_linear` counts as linear."""
        factor = md.between("rope.scaling.factor", 1e-3, 1e9, md.between("rope.scale_linear", 1e-3, 1e9, 1.0))
        default = "none" if factor == 1.0 else "linear"
        return RopeScaling(
            kind=md.string("rope.scaling.type", default),
            factor=factor,
            n_ctx_orig=md.positive("rope.scaling.original_context_length", md.positive("context_length")),
            attn_factor=md.between("rope.scaling.attn_factor", 1e-3, 1e3, 1.0),
            beta_fast=md.between("rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32.0),
            beta_slow=md.between("rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1.0),
            yarn_attn_factor=md.between("rope.scaling.yarn_attn_factor", 0.0, 1e3, 0.0) or None,
            yarn_truncate=md.boolean("rope.scaling.yarn_truncate", True),
            dynamic_factor=md.between("rope.scaling.dynamic_factor", 0.0, 1e9, 0.0) or None,
        )

    @abstractmethod
    def tensors(self, hp: Any) -> WeightTable:
        """GGUF tensor name without ".weight" -> Weight; `{i}` stands for each layer."""

    @abstractmethod
    def build(self, g: Graph, w: Weights, hp: Any) -> Value | Mapping[str, Value]:
        """Record the equations of the decoder; returns its logits, or outputs by name."""

    def draft(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value] | None:
        """Record the draft block, with `realizar.arch.drafts.draft`; None, the default, where there is none."""
        return None

    def programs(self) -> Mapping[str, Program]:
        """The programs by name; by default "decode", recorded by `build`, and "draft", recorded by `draft`.

        A program that only some files have returns None for the others.
        """
        return {"decode": self.build, "draft": self.draft}
