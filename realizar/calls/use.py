"""ToolUse: the tools that one answer may call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from realizar.calls.grammar import write
from realizar.calls.reader import CallReader
from realizar.calls.tool import choose, read_tools
from realizar.errors import GrammarError, ParameterError
from realizar.params.sampling import CONSTRAINTS, SamplingParams
from realizar.sampling.grammar.lark import MARK

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.calls.form import CallForm
    from realizar.sampling.grammar import ConstraintFactory
    from realizar.tokenizer import Tokenizer


class ToolUse:
    """What an answer may call, and how the model writes it.

    Parameters
    ----------
    form : CallForm
    tools : sequence of mapping
        See `read_tools`.
    choice : str or mapping
        See `choose`.
    tokenizer : Tokenizer
        The model's.

    Attributes
    ----------
    shown : frozenset of int
        Control tokens by which calls are told from text.

    Raises
    ------
    ParameterError
        These are no tools, or the choice is none of them.
    """

    def __init__(
        self, form: CallForm, tools: Sequence[Mapping[str, Any]], choice: object, tokenizer: Tokenizer
    ) -> None:
        self._form = form
        self._tools, self._how = choose(read_tools(tools), choice)
        self._split = tokenizer.parts
        texts = (form.opening, form.middle, form.between or "", form.closing)
        self.shown = frozenset(part for text in texts for part in tokenizer.parts(text) if isinstance(part, int))

    def constrain(self, params: SamplingParams) -> SamplingParams:
        """Return params that keep an answer to the form and the tools' schemas.

        Raises
        ------
        GrammarError
            A schema is too large.
        ParameterError
            The params have a constraint of their own, and calls are not ruled out; or they ask for beams.
        """
        if not isinstance(params, SamplingParams):
            return params  # the engine says what they should be
        if params.n_beams > 1 and self._how != "none":
            raise ParameterError(
                f"n_beams={params.n_beams} and tools: beams search texts; leave one out, or set tool_choice='none'"
            )
        own = [name for name in CONSTRAINTS if getattr(params, name) is not None]
        if own and self._how == "none":
            return params
        if own:
            raise ParameterError(
                f"{own[0]} and tools: an answer can keep to one of them alone; leave one out, or set tool_choice='none'"
            )
        grammar = write(self._form, self._tools, self._how, self._split, params.lenient)
        return replace(params, grammar=f"{MARK} {{}}\n{grammar}")

    def explain(self, error: GrammarError, lenient: bool, constraints: ConstraintFactory) -> GrammarError:
        """Return the error of a grammar of `constrain` with the tool at fault."""
        for tool in self._tools:
            try:
                constraints.json_schema(tool.parameters, lenient)
            except GrammarError as fault:
                return GrammarError(f"tool {tool.name}: {fault}")
        return GrammarError(f"tools: {error}")

    def reader(self, prompt: npt.NDArray[np.int32]) -> CallReader | None:
        """Return what parts the calls from the text of the answer to a prompt; None where there are to be no calls.

        The ids of calls are a function of the prompt, so that the next prompt, which may have them, is one, too.
        """
        if self._how == "none":
            return None
        digest = sha256(prompt.tobytes())

        def new_id(i: int) -> str:
            each = digest.copy()
            each.update(i.to_bytes(4, "little"))
            return each.hexdigest()[:9]

        names = [tool.name for tool in self._tools]
        return CallReader(self._form, names, new_id, calls_alone=self._how in ("required", "one"))
