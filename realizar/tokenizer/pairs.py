"""Pairs of texts: the tokens that a reranker reads for a query and a document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from realizar.errors import ParameterError, short_repr

if TYPE_CHECKING:
    from realizar.tokenizer.tokenizer import Tokenizer


def pair_ids(tokenizer: Tokenizer, query: str, document: str, template: str | None = None) -> list[int]:
    """Return the tokens of a query and a document.

    Without a template, of the caller or of the file, these are the two texts with the separators of the tokenizer: CLS,
    query, SEP, document, SEP for BERT; BOS, query, EOS, SEP, document, EOS for RoBERTa.

    Parameters
    ----------
    tokenizer : Tokenizer
    query, document : str
        Control tokens in them are plain text.
    template : str, optional
        A text with {query} and {document}, in place of the file's; control tokens in it count as such.

    Raises
    ------
    ParameterError
        If the template lacks one of the two, or there is none and the tokenizer puts nothing between two texts.
    TokenizerError
        If a text is not valid Unicode.
    """
    template = tokenizer.rerank_template if template is None else template
    if template is None:
        return _joined(tokenizer, query, document)
    texts = {"{query}": query, "{document}": document}
    if not isinstance(template, str) or not all(name in template for name in texts):
        raise ParameterError(f"prompt={short_repr(template)}: a text with {{query}} and {{document}} is needed")
    ids: list[int] = []
    for part in tokenizer.parts(template):  # tokens may reach over the ends of the texts, but for control tokens
        if isinstance(part, int):
            ids.append(part)
        else:
            filled = re.sub(r"\{query\}|\{document\}", lambda found: texts[found.group()], part)
            ids += tokenizer.encode(filled, add_special=False)
    return ids


def _joined(tokenizer: Tokenizer, query: str, document: str) -> list[int]:
    if not tokenizer.ids_after and not tokenizer.ids_between:
        raise ParameterError(
            "rerank: the file has no template for pairs of texts, and its tokenizer puts no token between two; give "
            "prompt='...{query}...{document}...', as the model was trained"
        )
    first, second = (tokenizer.encode(text, add_special=False) for text in (query, document))
    before, after = tokenizer.ids_before, tokenizer.ids_after
    return [*before, *first, *after, *tokenizer.ids_between, *second, *after]
