"""Prompts for editors: a gap in a file, after parts of other files, as many tokens as the context has room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from realizar.errors import ParameterError

if TYPE_CHECKING:
    from realizar.async_llm import AsyncLLM
    from realizar.tokenizer.fim import Fim

Encode = Callable[[str], list[int]]
_PREFIX_SHARE = 0.75
"""Share of the room that the prefix may take of the two, as in llama-server."""


def infill_ids(
    llm: AsyncLLM, prefix: str, suffix: str, begun: str, files: Sequence[tuple[str, str]], max_tokens: int | None
) -> list[int]:
    """Return the prompt that fills a gap.

    Parameters
    ----------
    llm : AsyncLLM
    prefix, suffix : str
        The text before the gap, of which the end counts, and the text after it, of which the beginning counts.
    begun : str
        The beginning of what fills it.
    files : sequence of (str, str)
        Name and text of parts of other files, the most important last. They are put before the prefix in the form of
        Qwen2.5-Coder, https://arxiv.org/abs/2409.12186 (section 3.2.2), if the model has the tokens for it, else as
        plain text.
    max_tokens : int or None
        Tokens that are to fit into the context after the prompt; None: a quarter of it.

    Raises
    ------
    ParameterError
        If the model has no fill-in-the-middle tokens.
    """
    tokenizer = llm.tokenizer
    fim = tokenizer.fim
    if fim is None:
        raise ParameterError("infill: this model has no fill-in-the-middle tokens; use completions")

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special=False)

    begun_ids = encode(begun)
    used = len(begun_ids) + len(tokenizer.ids_before) + 3
    room = max(llm.n_ctx - used - (llm.n_ctx // 4 if max_tokens is None else max_tokens), 8)
    before, after = encode(prefix), encode(suffix)
    n_after = max(room - int(room * _PREFIX_SHARE), room - len(before))
    after = after[:n_after]
    before = before[-(room - len(after)) :]
    context = _context(fim, encode, files, room - len(before) - len(after))
    return [*tokenizer.ids_before, *context, *fim.prompt(before, after, None), *begun_ids]


def _context(fim: Fim, encode: Encode, files: Sequence[tuple[str, str]], room: int) -> list[int]:
    """Return the parts of other files, without the first ones if there is no room for all."""
    if not files:
        return []
    if fim.repo is None or fim.separator is None:
        ids = [token for _, text in files for token in encode(text)]
        return ids[len(ids) - room :] if len(ids) > room else ids
    head, tail = [fim.repo, *encode("myproject\n")], [fim.separator, *encode("filename\n")]
    room -= len(head) + len(tail)
    chosen: list[int] = []
    for name, text in reversed(files):
        ids = [fim.separator, *encode(f"{name}\n"), *encode(f"{text}\n")]
        if len(ids) + len(chosen) > room:
            break
        chosen = ids + chosen
    return [*head, *chosen, *tail] if chosen else []
