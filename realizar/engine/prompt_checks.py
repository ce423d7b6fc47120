"""Checks of params that need the tokens of a prompt, which not every prompt has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.errors import ParameterError

if TYPE_CHECKING:
    from realizar.engine.intake import Prompt
    from realizar.params import SamplingParams


def check_reads_tokens(params: SamplingParams, prompt: Prompt) -> None:
    """Raise ParameterError if the params ask for what only rows that are tokens, attended to causally, have."""
    content = prompt.content
    if prompt.has_embeddings and params.echo:
        raise ParameterError("echo: some rows of the prompt are embeddings, which have no text; leave it at False")
    if params.prompt_logprobs is not None:
        raise ParameterError(
            "prompt_logprobs: rows of the prompt that are embeddings, or see what follows them, have none; LLM.score "
            "gives those of tokens after the prompt"
        )
    if params.context_shift:
        raise ParameterError(
            "context_shift: the prompt has embeddings, positions or masks of its own; leave it at False"
        )
    if (
        params.token_healing
        and content is not None
        and (content.ends_with_embedding or content.span_across(len(prompt.ids) - 1) is not None)
    ):
        raise ParameterError(
            "token_healing: the prompt ends with embeddings or a bidirectional part; leave it at False"
        )


def need_no_prompt(params: SamplingParams, why: str) -> None:
    """Raise ParameterError if the params need the token of every row of the prompt."""
    for name in ("echo", "prompt_logprobs", "token_healing"):
        value = getattr(params, name)
        if value is not None and value is not False:
            raise ParameterError(f"{name}: {why}")
