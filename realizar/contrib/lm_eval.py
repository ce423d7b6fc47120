"""RealizarLM: a model of realizar for EleutherAI's lm-eval (extra `lm-eval`)."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window, simple_parse_args_string

from realizar.errors import ParameterError, TemplateError, shown
from realizar.llm import LLM
from realizar.params import SamplingParams, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lm_eval.api.instance import Instance

MAX_GEN_TOKS = 256
"""Tokens to generate where a task does not say: what lm-eval's own models take."""


@register_model("realizar")
class RealizarLM(TemplateLM):  # type: ignore[misc]  # lm-eval is an extra and has no types here
    """Answers lm-eval's three questions: how likely is a continuation, how likely a text, what comes next.

    The engine makes the batches, so lm-eval's batch_size means nothing. Texts are tokenized as by lm-eval's model of
    transformers: names of special tokens in them count as such.

    Parameters
    ----------
    llm : LLM
        Its n_ctx bounds the texts; longer ones lose their beginning.
    """

    def __init__(self, llm: LLM) -> None:
        super().__init__()
        self.llm = llm

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: Any = None) -> RealizarLM:
        """Load the model of LLM's arguments; of what lm-eval adds (batch_size, device) nothing is needed."""
        return cls(LLM(**arg_dict))

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Any = None) -> RealizarLM:
        """The same for "model=smollm2,n_ctx=2048"."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string))

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self._token(self.llm.tokenizer.eos_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands in front of a text that has nothing in front of it: BOS, or else what ends one."""
        bos = self.llm.tokenizer.bos_id
        return self.eot_token_id if bos is None else bos

    @staticmethod
    def _token(token: int | None) -> int:
        if token is None:
            raise ParameterError("lm-eval needs a token that begins or ends a text, and this model's file names none")
        return token

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval's caches know the tokenizer by."""
        return self.llm.engine.model.file.path.name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the prompt that the model's own template makes of messages."""
        template = self.llm.tokenizer.chat_template
        if template is None:
            raise TemplateError("this model has no chat template; run lm-eval without --apply_chat_template")
        return template.render(chat_history, add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return token ids; by default with BOS where the model wants one and the text does not bring it."""
        ids = self.llm.tokenize(string, add_special=False, parse_special=True)
        if add_special_tokens is None:
            add_special_tokens = ids[:1] != [self.llm.tokenizer.bos_id]
        return self.llm.tokenize(string, add_special_tokens, parse_special=True)

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        """Score continuations; those of one context together, which is computed once."""
        found: dict[int, tuple[float, bool]] = {}
        order = sorted(range(len(requests)), key=lambda i: requests[i][1])
        for _context, group in groupby(order, key=lambda i: requests[i][1]):
            same = list(group)
            longest = max(len(requests[i][2]) for i in same)
            # The last token of a text is scored and not computed: it may be one longer than the context.
            context = requests[same[0]][1][-max(1, self.llm.n_ctx + 1 - longest) :]
            for i, score in zip(same, self.llm.score(context, [requests[i][2] for i in same]), strict=True):
                found[i] = score.logprob, score.is_greedy
                if requests[i][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[i][0], found[i])
        return [found[i] for i in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Score whole texts, in windows of the context where they are longer."""
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
        """Continue prompts."""
        texts: list[str] = []
        at_once = 4 * self.llm.params.n_seqs
        for begin in range(0, len(requests), at_once):
            asked = [request.args for request in requests[begin : begin + at_once]]
            params = [self._params(kwargs) for _, kwargs in asked]
            prompts = [
                self.tok_encode(context)[-max(1, self.llm.n_ctx - (its.max_tokens or 0)) :]
                for (context, _), its in zip(asked, params, strict=True)
            ]
            for key, completion in zip(asked, self.llm.generate(prompts, params), strict=True):
                texts.append(completion.text)
                self.cache_hook.add_partial("generate_until", key, completion.text)
        return texts

    @staticmethod
    def _params(kwargs: Mapping[str, Any]) -> SamplingParams:
        """Return what a task's generation_kwargs ask for: greedy, unless they say do_sample.

        What the model's file says of sampling has no part in it.
        """
        asked = {key: value for key, value in kwargs.items() if value is not None}
        until = asked.pop("until", ())
        stop = [until] if isinstance(until, str) else until
        max_tokens = asked.pop("max_gen_toks", MAX_GEN_TOKS)
        if not asked.pop("do_sample", asked.get("temperature", 0.0) > 0.0):
            asked["temperature"] = 0.0
        unknown = sorted(set(asked) - set(SamplingParams.__dataclass_fields__))
        if unknown:
            raise ParameterError(f"generation_kwargs: {shown(unknown)} are no parameters of SamplingParams")
        return resolved(SamplingParams(stop=tuple(filter(None, stop)), max_tokens=max_tokens, **asked))
