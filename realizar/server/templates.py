"""Chat templates that the operator gives in place of a model's own: a file, or the name of another one in its file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from realizar.errors import ParameterError, TemplateError
from realizar.tokenizer import ChatTemplate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realizar.async_llm import AsyncLLM

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY = "tokenizer.chat_template"


def read_template(given: str) -> str:
    """Return the text of a template in a file, or the name of a template that is to be looked up in a model's file.

    Raises
    ------
    ParameterError
        If it is neither, or the file cannot be read, or is no template.
    """
    try:
        path = Path(given).expanduser()
        if not path.is_file():
            if _NAME.fullmatch(given):
                return given
            raise ParameterError(f"chat_template={given}: there is no such file, and it is no template's name")
        text = path.read_text(encoding="utf-8")
        if not ChatTemplate(text, "", "").variables:
            raise ParameterError(f"chat_template={given}: the file is no template: it uses no variable")
    except (OSError, RuntimeError, UnicodeDecodeError, TemplateError) as error:
        raise ParameterError(f"chat_template={given}: cannot be used: {error}") from None
    return text


def use_template(llm: AsyncLLM, template: str) -> None:
    """Let a model that was just loaded use what `read_template` returned, for conversations with tools, too.

    Raises
    ------
    ParameterError
        If the model's file has no template of this name.
    """
    if _NAME.fullmatch(template):
        template = _named(llm, template)
    llm.tokenizer.replace_template(template)


def _named(llm: AsyncLLM, name: str) -> str:
    metadata = llm.engine.model.file.metadata
    source = metadata.get(f"{_KEY}.{name}")
    if isinstance(source, str):
        return source
    known: Sequence[str] = [key.removeprefix(f"{_KEY}.") for key in metadata if key.startswith(f"{_KEY}.")]
    found = f"it has {', '.join(known)}" if known else "it has no named ones"
    raise ParameterError(f"chat_template={name}: there is no such file, and no such template in the model's; {found}")
