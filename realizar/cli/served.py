"""Options that `realizar serve` and `realizar batch` share, and the settings that are read from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from realizar.cli import options
from realizar.errors import RealizarError
from realizar.params import EngineParams

if TYPE_CHECKING:
    from realizar.server.settings import Settings

Alias = Annotated[
    list[str] | None, Option(help="NAME for the first model, or NAME=MODEL.", metavar="NAME[=MODEL]")
]  # fmt: skip
Memory = Annotated[float | None, Option(help="GiB for all loaded models.", show_default="no limit")]
Context = Annotated[int | None, Option("--n-ctx", help="Tokens of context.", show_default="model's, at most 4096")]
Sequences = Annotated[int | None, Option(help="Contexts that the KV cache holds.", show_default="4")]
Batch = Annotated[int | None, Option(help="Tokens computed in one step.", show_default="512")]
KVType = Annotated[str | None, Option(help="Type of the KV cache.", metavar="TYPE[/TYPE]", show_default="f16")]
Device = Annotated[
    str | None, Option(help="cpu, gpu, gpu:N of 'realizar devices', gpu:0,gpu:1, or auto.", show_default="cpu")
]  # fmt: skip
GPULayers = Annotated[
    int | None, Option("-ngl", "--n-gpu-layers", help="Layers that GPUs compute, the last.", show_default="what fits")
]
CPUExperts = Annotated[int | None, Option(help="Layers, from the first, with experts on the CPU.", show_default="0")]
TensorDevices = Annotated[
    list[str] | None,
    Option("-ot", "--tensor-device", help="Where products with such tensors run.", metavar="PATTERN=DEVICE"),
]
Encoders = Annotated[
    list[str] | None,
    Option(help="File with the encoders of pictures and sounds, of the first model or MODEL=FILE.", metavar="FILE"),
]
AllowedURLs = Annotated[
    list[str] | None,
    Option(help="Beginning of URLs of pictures and sounds that are read; * allows all.", metavar="URL"),
]
Speculate = Annotated[Literal["ngram"] | None, Option(help="Speculative decoding by prompt lookup.")]


def settings(command: str, given: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Return the settings of options, of the environment and of a TOML file; None and [] are options not given.

    Raises
    ------
    RealizarError
        If the extra is not installed.
    BadParameter
        If an option is invalid.
    """
    try:
        import realizar.server.app  # noqa: F401  (needs all of the extra)
        from realizar.server.settings import read_settings
    except ImportError as error:
        raise RealizarError(f"{command} needs the extra: pip install 'realizar[server]' ({error})") from None
    with options.usage_errors():
        found = read_settings({name: value for name, value in given.items() if value not in (None, [])}, config)
        EngineParams(**found.engine)
    return found
