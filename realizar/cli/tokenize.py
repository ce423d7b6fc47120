"""`realizar tokenize`: prints the tokens of a text."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from realizar import store
from realizar.cli import options
from realizar.cli.text import read_text

EXAMPLE = 'Example: realizar tokenize "Hello world" -m smollm2'


def command(
    text: Annotated[str, Argument(metavar="TEXT", help="The text; - reads standard input.")],
    model: options.ModelOption = None,
    parse_special: Annotated[bool, Option("--parse-special", help="Parse special tokens in the text.")] = False,
    add_special: Annotated[bool, Option(help="Add BOS and EOS if the model uses them.")] = True,
) -> None:
    """Print one token per line: its id, and its bytes as a Python literal."""
    from realizar.arch.registry import default
    from realizar.gguf import GGUFFile
    from realizar.tokenizer import Tokenizer

    content = read_text(text)
    with GGUFFile(store.resolve(model or options.MODEL)) as file:
        tokenizer = Tokenizer.from_gguf(file.metadata, default().pretokenizers)
        for token in tokenizer.encode(content, add_special=add_special, parse_special=parse_special):
            print(f"{token}\t{tokenizer.token_bytes(token)!r}")
