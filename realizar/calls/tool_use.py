"""ToolUse: the tools available to one completion, its grammar and its parser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from realizar.calls.grammar import completion_grammar
from realizar.calls.parser import ToolCallParser
from realizar.calls.tool import choose, read_tools
from realizar.errors import GrammarError, ParameterError
from realizar.params.sampling import CONSTRAINTS, SamplingParams
from realizar.sampling.grammar import ConstraintFactory, OutOfTimeError
from realizar.sampling.grammar.lark import MARK

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.calls.tool_format import ToolCallFormat
    from realizar.tokenizer import Tokenizer


class ToolUse:
    """The tools available to one completion, and the format in which the model calls them.

    Parameters
    ----------
    tool_format : ToolCallFormat
    tools : sequence of mapping or None
        See `read_tools`. None: no calls are possible; only the headers of messages are removed from the text.
    choice : str or mapping
        See `choose`.
    tokenizer : Tokenizer
        The model's tokenizer.

    Attributes
    ----------
    delimiter_ids : frozenset of int
        Ids of control tokens that delimit tool calls; the decoder must keep them in the text.

    Raises
    ------
    ParameterError
        The tools or the choice are invalid.
    """

    def __init__(
        self,
        tool_format: ToolCallFormat,
        tools: Sequence[Mapping[str, Any]] | None,
        choice: object,
        tokenizer: Tokenizer,
    ) -> None:
        self._tool_format = tool_format
        self._has_tools = tools is not None
        self._tools, self._mode = choose([] if tools is None else read_tools(tools), choice)
        self._split = tokenizer.parts
        self.delimiter_ids = frozenset(
            part for text in tool_format.texts for part in tokenizer.parts(text) if isinstance(part, int)
        )

    @property
    def calls_alone(self) -> bool:
        """Whether the completion consists of calls only."""
        return self._mode in ("required", "one")

    def constrain(self, params: SamplingParams) -> SamplingParams:
        """Return params whose grammar enforces the tool-call format and the tools' schemas.

        Raises
        ------
        GrammarError
            A schema is too large.
        ParameterError
            The params already have a constraint or ask for beam search, and the choice is not "none".
        """
        if not isinstance(params, SamplingParams):
            return params  # the engine raises the error
        if params.n_beams > 1 and self._mode != "none":
            raise ParameterError(
                f"n_beams={params.n_beams} and tools: beam search does not support tool calls; "
                "use n_beams=1 or tool_choice='none'"
            )
        if not self._has_tools:
            return params
        own = [name for name in CONSTRAINTS if getattr(params, name) is not None]
        if own and self._mode == "none":
            return params
        if own:
            raise ParameterError(
                f"{own[0]} and tools: only one constraint can be enforced; omit one, or set tool_choice='none'"
            )
        grammar = completion_grammar(self._tool_format, self._tools, self._mode, self._split, params.lenient)
        return replace(params, grammar=f"{MARK} {{}}\n{grammar}")

    def explain(self, error: GrammarError, params: SamplingParams, constraints: ConstraintFactory) -> GrammarError:
        """Return an error for the grammar of `constrain` that names the invalid tool, if `max_time` allows."""
        wall_s = math.inf if params.max_time is None else params.max_time
        for tool in self._tools:
            try:
                constraints.json_schema(tool.parameters, params.lenient, wall_s)
            except GrammarError as fault:
                return GrammarError(f"tool {tool.name}: {fault}")
            except OutOfTimeError:
                break
        return GrammarError(f"tools: {error}")

    def reader(self, prompt: npt.NDArray[np.int32]) -> ToolCallParser | None:
        """Return a tool-call parser for the completion of a prompt; None if all of it is text.

        Call ids are derived from the prompt, so repeated conversations hit the prefix cache.
        """
        if self._mode == "none" and not self._tool_format.headers:
            return None
        digest = sha256(prompt.tobytes())

        def new_id(i: int) -> str:
            each = digest.copy()
            each.update(i.to_bytes(4, "little"))
            return each.hexdigest()[:9]

        tools = () if self._mode == "none" else self._tools
        return ToolCallParser(self._tool_format, tools, new_id, calls_alone=self.calls_alone)
