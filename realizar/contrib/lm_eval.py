"""RealizarLM: adapter that runs EleutherAI's lm-eval on a realizar model (extra `lm-eval`)."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window, simple_parse_args_string

from realizar.errors import ParameterError, TemplateError, short_repr
from realizar.llm import LLM
from realizar.params import SamplingParams, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lm_eval.api.instance import Instance

MAX_GEN_TOKS = 256
"""Default number of tokens to generate, as in lm-eval's own models."""


@register_model("realizar")
class RealizarLM(TemplateLM):  # type: ignore[misc]  # lm-eval is an optional, untyped dependency
    """Implements lm-eval's three request types: loglikelihood, loglikelihood_rolling and generate_until.

    The engine batches requests itself, so lm-eval's batch_size has no effect. As in lm-eval's transformers model,
    special tokens in texts are parsed.

    Parameters
    ----------
    llm : LLM
        Texts longer than its n_ctx are truncated on the left.
    """

    def __init__(self, llm: LLM) -> None:
        super().__init__()
        self.llm = llm

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: Any = None) -> RealizarLM:
        """Create the LLM from its arguments; lm-eval's additional config (batch_size, device) is ignored."""
        return cls(LLM(**arg_dict))

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Any = None) -> RealizarLM:
        """Create the LLM from a string such as "model=smollm2,n_ctx=2048"."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string))

    @property
    def eot_token_id(self) -> int:
        """The EOS token."""
        return self._token(self.llm.tokenizer.eos_id)

    @property
    def prefix_token_id(self) -> int:
        """The token before a text without context: BOS, otherwise EOS."""
        bos = self.llm.tokenizer.bos_id
        return self.eot_token_id if bos is None else bos

    @staticmethod
    def _token(token: int | None) -> int:
        if token is None:
            raise ParameterError("lm-eval requires a BOS or EOS token, but this model has neither")
        return token

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer in lm-eval's caches."""
        return self.llm.engine.model.file.path.name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render messages with the model's chat template."""
        template = self.llm.tokenizer.chat_template
        if template is None:
            raise TemplateError("this model has no chat template; run lm-eval without --apply_chat_template")
        return template.render(chat_history, add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return token ids; by default with BOS if the model uses it and the text does not already start with it."""
        ids = self.llm.tokenize(string, add_special=False, parse_special=True)
        if add_special_tokens is None:
            add_special_tokens = ids[:1] != [self.llm.tokenizer.bos_id]
        return self.llm.tokenize(string, add_special_tokens, parse_special=True)

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        """Score continuations; those with the same context share its computation."""
        found: dict[int, tuple[float, bool]] = {}
        order = sorted(range(len(requests)), key=lambda i: requests[i][1])
        for _context, group in groupby(order, key=lambda i: requests[i][1]):
            same = list(group)
            longest = max(len(requests[i][2]) for i in same)
            # The last token is scored but not computed, so a text may have n_ctx + 1 tokens.
            context = requests[same[0]][1][-max(1, self.llm.n_ctx + 1 - longest) :]
            for i, score in zip(same, self.llm.score(context, [requests[i][2] for i in same]), strict=True):
                found[i] = score.logprob, score.is_greedy
                if requests[i][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[i][0], found[i])
        return [found[i] for i in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Score whole texts; longer ones in windows of the context length."""
        found = []
        for (text,) in (request.args for request in requests):
            windows = get_rolling_token_windows(
                self.tok_encode(text, add_special_tokens=False), self.prefix_token_id, self.llm.n_ctx, context_len=1
            )
            parts = self._loglikelihood_tokens([(None, *make_disjoint_window(window)) for window in windows])
            found.append(sum(logprob for logprob, _ in parts))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), found[-1])
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Generate continuations of prompts."""
        texts: list[str] = []
        at_once = 4 * self.llm.params.n_seqs
        for begin in range(0, len(requests), at_once):
            arguments = [request.args for request in requests[begin : begin + at_once]]
            params = [self._params(kwargs) for _, kwargs in arguments]
            prompts = [
                self.tok_encode(context)[-max(1, self.llm.n_ctx - (its.max_tokens or 0)) :]
                for (context, _), its in zip(arguments, params, strict=True)
            ]
            for key, completion in zip(arguments, self.llm.generate(prompts, params), strict=True):
                texts.append(completion.text)
                self.cache_hook.add_partial("generate_until", key, completion.text)
        return texts

    @staticmethod
    def _params(kwargs: Mapping[str, Any]) -> SamplingParams:
        """Convert a task's generation_kwargs: greedy unless do_sample is set.

        Sampling defaults of the model file are ignored.
        """
        arguments = {key: value for key, value in kwargs.items() if value is not None}
        until = arguments.pop("until", ())
        stop = [until] if isinstance(until, str) else until
        max_tokens = arguments.pop("max_gen_toks", MAX_GEN_TOKS)
        if not arguments.pop("do_sample", arguments.get("temperature", 0.0) > 0.0):
            arguments["temperature"] = 0.0
        unknown = sorted(set(arguments) - set(SamplingParams.__dataclass_fields__))
        if unknown:
            raise ParameterError(f"generation_kwargs: {short_repr(unknown)} are not fields of SamplingParams")
        return resolved(SamplingParams(stop=tuple(filter(None, stop)), max_tokens=max_tokens, **arguments))
