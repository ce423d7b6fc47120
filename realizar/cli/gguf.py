"""`realizar gguf`: splits, merges, edits, hashes and compares GGUF files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, BadParameter, Option, Typer

from realizar import store
from realizar.cli import options
from realizar.cli.inspect import format_entry
from realizar.cli.tables import write_line
from realizar.errors import RealizarError

if TYPE_CHECKING:
    from realizar.gguf.differences import Difference

SPLIT = "Example: realizar gguf split model.gguf parts/model --max-size 4G"
MERGE = "Example: realizar gguf merge parts/model-00001-of-00003.gguf model.gguf"
SET = "Example: realizar gguf set model.gguf tokenizer.ggml.eos_token_id 151645"
HASH = "Example: realizar gguf hash model.gguf"
DIFF = "Example: realizar gguf diff old.gguf new.gguf"
app = Typer(
    epilog="Example: realizar gguf diff old.gguf new.gguf", add_completion=False,
    help="Split, merge, edit, hash and compare GGUF files.",
)  # fmt: skip

_UNITS = {"": 1, "M": 10**6, "G": 10**9}


def _n_bytes(text: str) -> int:
    """Parse a size: 500M or 4G, decimal as in llama-gguf-split."""
    match = re.fullmatch(r"([1-9]\d*)([MG]?)", text)
    if match is None:
        raise BadParameter(f"{text!r} is no size; write 500M or 4G")
    return int(match[1]) * _UNITS[match[2]]


@app.command("split", epilog=SPLIT)
def split(
    model: options.Model,
    prefix: Annotated[Path, Argument(metavar="PREFIX", help="Path of the parts, without -00001-of-00003.gguf.")],
    max_size: Annotated[
        int | None, Option("--max-size", metavar="SIZE", parser=_n_bytes, help="Bytes of tensors in a part: 500M, 4G.")
    ] = None,
    max_tensors: Annotated[
        int | None, Option("--max-tensors", min=1, help="Tensors in a part.", show_default="128, without --max-size")
    ] = None,
) -> None:
    """Write a model as parts, named as llama-gguf-split names them."""
    from realizar.gguf.edit import split

    n = 128 if max_tensors is None and max_size is None else max_tensors
    with options.usage_errors():
        paths = split(store.resolve(model), prefix, max_tensors=n, max_bytes=max_size)
    for path in paths:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@app.command("merge", epilog=MERGE)
def merge(
    first: Annotated[Path, Argument(metavar="FIRST_PART", help="The part whose name ends in -00001-of-....gguf.")],
    out: Annotated[Path, Argument(metavar="OUT.gguf", help="The file to write.")],
) -> None:
    """Write the parts of a model as one file."""
    from realizar.gguf.edit import merge

    with options.usage_errors():
        merge(first, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


@app.command("set", epilog=SET)
def set_(
    file: Annotated[Path, Argument(metavar="FILE", help="A GGUF file.")],
    key: Annotated[str, Argument(metavar="KEY", help="For example general.name.")],
    value: Annotated[str, Argument(metavar="VALUE", help="A number, true, false, text, or a JSON list.")],
    type_name: Annotated[
        str | None, Option("--type", metavar="TYPE", help="Type of a new key: UINT32, FLOAT32, BOOL, STRING and so on.")
    ] = None,
    out: Annotated[
        Path | None, Option("-o", "--output", metavar="OUT.gguf", help="Where to write.", show_default="replace FILE")
    ] = None,
) -> None:
    """Set a metadata value, which must fit the type that the key has; the file is replaced when its copy is whole."""
    from realizar.gguf import GGUFFile
    from realizar.gguf.edit import set_value
    from realizar.gguf.summary import summarize_value

    with options.usage_errors():
        set_value(file, key, value, type_name, out)
    with GGUFFile(file if out is None else out) as changed:
        write_line(f"{key} = {format_entry(summarize_value(changed.metadata, key))}", 4)


@app.command("hash", epilog=HASH)
def hash_(
    model: options.Model,
    no_layer: Annotated[bool, Option("--no-layer", help="Print only the hash of all tensors.")] = False,
) -> None:
    """Print the sha256 of each tensor and of all, in the form of llama-gguf-hash; metadata do not change them."""
    from realizar.gguf import GGUFFile
    from realizar.gguf.differences import hash_tensors

    with GGUFFile(store.resolve(model)) as file:
        for name, digest in hash_tensors(file):
            if name is None or not no_layer:
                print(f"{'sha256':<8}  {digest}  {model}{'' if name is None else f':{name}'}")


@app.command("diff", epilog=DIFF)
def diff(
    first: Annotated[str, Argument(metavar="A", help=options.MODEL_HELP, autocompletion=options.model_names)],
    second: Annotated[str, Argument(metavar="B", help=options.MODEL_HELP, autocompletion=options.model_names)],
) -> int:
    """Print the metadata and tensors that differ; the exit status is 0 if none do, 1 if some do, and 2 at an error."""
    from realizar.gguf import GGUFFile
    from realizar.gguf.differences import differences

    n = 0
    try:
        with GGUFFile(store.resolve(first)) as a, GGUFFile(store.resolve(second)) as b:
            for difference in differences(a, b):
                n += 1
                for line in _lines(difference):
                    write_line(line, 4)
    except RealizarError as error:
        raise _Trouble(str(error)) from error
    return int(n > 0)


class _Trouble(RealizarError):
    """An error of `diff`, whose status 1 says that files differ, as that of diff(1)."""

    exit_code = 2


def _lines(found: Difference) -> list[str]:
    """Return a line for each file that has the value or tensor, marked - for A and + for B."""
    show = format_entry if found.kind == "metadata" else _format_tensor
    change = "" if found.change is None else f"  # relative difference {found.change:.3g}"
    sides = (("-", found.first, ""), ("+", found.second, change))
    return [f"{sign} {found.name} = {show(value)}{note}" for sign, value, note in sides if value is not None]


def _format_tensor(entry: dict[str, Any]) -> str:
    return f"{entry['type']} {tuple(entry['shape'])}, {entry['n_bytes']} bytes"
