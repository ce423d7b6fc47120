"""SamplingParams: the parameters of a request, validated when created."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, Literal

from realizar.errors import ParameterError
from realizar.params.adapters import Control, Lora, checked_control, checked_lora
from realizar.params.checks import as_tuple, check, check_number, is_int, is_text, schema_text
from realizar.params.decoding_checks import check_completions, check_guidance
from realizar.params.names import SAMPLING_HINTS, explains_unknown_names
from realizar.params.structured import StructuredOutputsParams, constraint_of

# Parameter -> minimum, maximum, and requirement for the error message.
_RANGES = {
    "temperature": (0.0, 1e6, "a number >= 0"),
    "top_p": (0.0, 1.0, "a number in [0, 1]"),
    "min_p": (0.0, 1.0, "a number in [0, 1]"),
    "typical_p": (0.0, 1.0, "a number in [0, 1]"),
    "tfs_z": (0.0, 1.0, "a number in [0, 1]"),
    "top_a": (0.0, 1.0, "a number in [0, 1]"),
    "top_n_sigma": (0.0, 1e6, "a number >= 0 (0: off)"),
    "epsilon_cutoff": (0.0, 1.0, "a number in [0, 1]"),
    "eta_cutoff": (0.0, 1.0, "a number in [0, 1]"),
    "dynatemp_range": (0.0, 1e6, "a number >= 0 (0: off)"),
    "dynatemp_exponent": (0.0, 1e6, "a number >= 0"),
    "smoothing_factor": (0.0, 1e6, "a number >= 0 (0: off)"),
    "smoothing_curve": (1.0, 100.0, "a number in [1, 100]"),
    "dry_multiplier": (0.0, 1e6, "a number >= 0 (0: off)"),
    "dry_base": (1.0, 1e6, "a number >= 1"),
    "xtc_probability": (0.0, 1.0, "a number in [0, 1]"),
    "xtc_threshold": (0.0, 1.0, "a number in [0, 1]"),
    "mirostat_tau": (0.0, 1e3, "a number in [0, 1000]"),
    "mirostat_eta": (0.0, 1e3, "a number in [0, 1000]"),
    "repetition_penalty": (1e-6, 1e6, "a number > 0 (1: off)"),
    "presence_penalty": (-1e6, 1e6, "a finite number"),
    "frequency_penalty": (-1e6, 1e6, "a finite number"),
}
# Parameter -> smallest valid integer.
_MINIMUM = {"top_k": -1, "dry_allowed_length": 1, "no_repeat_ngram_size": 0, "min_tokens": 0}
DEFAULTS: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "penalty_last_n": 64,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
}
"""Fields for which a model file may have defaults -> value if neither the request nor the file sets them."""
STRINGS = {
    "stop": (1000, 1000),
    "bad_words": (1_000_000, 1000),
    "dry_sequence_breakers": (128, 64),
    "choice": (100_000, 100_000),
}
"""Parameter -> maximum number of strings, and maximum length of each."""
MAX_SAMPLERS = 256
"""Maximum length of `samplers`."""
CONSTRAINTS = ("grammar", "json_schema", "regex", "choice")
"""At most one of these can be set."""


@explains_unknown_names(SAMPLING_HINTS)
@dataclass(frozen=True)
class SamplingParams:
    """How the tokens of one request are sampled, and when it ends.

    Fields of `DEFAULTS` left unset (None) take the model file's value (general.sampling.*), else that of `DEFAULTS`.

    Attributes
    ----------
    temperature : float
        Divides the logits; 0 is greedy.
    top_k : int
        Keep the k best candidates; 0 (or -1, which becomes 0) keeps all.
    top_p : float
        Keep the smallest set of best candidates whose probabilities sum to at least this; 1 keeps all.
    min_p : float
        Keep candidates at least this fraction as probable as the best; 0 keeps all.
    repetition_penalty : float
        Divides positive and multiplies negative logits of tokens in the last `penalty_last_n`; 1 is off.
    presence_penalty, frequency_penalty : float
        Subtracted from the logits of tokens seen, once or once per occurrence; 0 is off.
    penalty_last_n : int
        Number of last tokens (including the prompt) that penalties consider; -1 is the whole context.
    typical_p : float
        Typical sampling: keep the candidates closest to the entropy up to this total probability; 1 keeps all.
    tfs_z : float
        Tail-free: cut where this share of the curvature of the sorted probabilities is reached; 1 keeps all.
    top_a : float
        Keep candidates at least this times the square of the best probability; 0 keeps all.
    top_n_sigma : float
        Keep candidates within this many standard deviations of the best logit; 0 keeps all.
    epsilon_cutoff : float
        Keep candidates of at least this probability; 0 keeps all.
    eta_cutoff : float
        The same with a bound that falls with the entropy: min(eta, sqrt(eta) * exp(-entropy)); 0 keeps all.
    dynatemp_range, dynatemp_exponent : float
        The temperature depends on the entropy, between temperature - range and temperature + range; range 0 is off.
    smoothing_factor, smoothing_curve : float
        Transform logits by the square (with curve > 1 also the cube) of their distance to the best; factor 0 is off.
    dry_multiplier, dry_base : float
        DRY: a token that would extend a repetition of n tokens is penalized by multiplier *
        base ** (n - dry_allowed_length), subtracted from its logit; multiplier 0 is off.
    dry_allowed_length : int
        Repetitions shorter than this are not penalized.
    dry_sequence_breakers : tuple[str, ...]
        Strings at which a repetition ends.
    no_repeat_ngram_size : int
        No n-gram of this many tokens occurs twice; 0 is off.
    logit_bias : tuple[tuple[int, float], ...]
        (token id, number added to its logit); also accepts a mapping. -inf bans a token.
    allowed_token_ids : tuple[int, ...] | None
        The only tokens that may be sampled; None allows all.
    bad_words : tuple[str, ...]
        Strings that must not occur in the text; also accepts a single string.
    min_tokens : int
        Tokens to generate before the text may end.
    xtc_probability, xtc_threshold : float
        XTC: with this probability, exclude candidates at or above the threshold except the least probable; 0 is off.
    mirostat : {0, 1, 2}
        Keep the surprise of the text near a target, with algorithm 1 or 2; 0 is off.
    mirostat_tau, mirostat_eta : float
        Target surprise in bits per token, and learning rate.
    samplers : tuple[str | Sampler, ...] | None
        Order of the samplers: names, and objects with the method `apply` of `realizar.sampling.Sampler`; None is the
        order in docs/sampling.md. A function f(logits, histories) in it is a batch logits processor: it modifies the
        logits of all sequences that use it, in place, before the samplers: float32 [n, n_vocab], n arrays of token ids.
    grammar : str | None
        Structured output: the text matches this grammar, in GBNF, or in llguidance's Lark if it starts with
        ``%llguidance``. At most one of this and the next three can be set; see docs/constraints.md.
    json_schema : str | None
        The text is JSON that is valid by this JSON schema; also accepts a mapping.
    regex : str | None
        The whole text matches this regular expression.
    choice : tuple[str, ...] | None
        The text is one of these.
    lenient : bool
        Ignore features of a JSON schema that cannot be enforced, instead of raising an error.
    seed : int | None
        Random numbers are keyed by (seed, position, draw number); None uses a new seed for every request.
    max_tokens : int | None
        Maximum number of tokens to generate; None continues to the end of the context.
    max_time : float | None
        Seconds from submission after which the text ends; a step in progress is completed first. None sets no limit.
    stop : tuple[str, ...]
        Strings that end the text and are not part of it; also accepts a single string.
    stop_token_ids : tuple[int, ...]
        Token ids that end the text, in addition to the model's end-of-generation ids.
    ignore_eos : bool
        Continue after end-of-generation ids (for benchmarks).
    logprobs : int | None
        Number of most probable tokens to report for each generated token; 0 reports only the sampled one, and -1 all
        tokens of the vocabulary.
    prompt_logprobs : int | None
        The same for each prompt token except the first, which has no probability; disables prefix caching of the
        prompt.
    echo : bool
        Start the text with that of the prompt, without control tokens.
    token_healing : bool
        Drop the prompt's last token and resample it among tokens starting with its text, so that a prompt may end in
        the middle of a token.
    n : int
        Completions to return (parallel sampling); they share the prompt's KV cache.
    best_of : int | None
        Completions to generate, of which the n with the highest score are returned. The score is the sum of the token
        logprobs / number of tokens ** length_penalty. None generates n.
    length_penalty : float
        Exponent of the length in the score: 1 ranks by mean logprob, 0 by their sum.
    n_beams : int
        Number of beams of beam search; 1 is off.
    n_beam_groups : int
        Number of groups for diverse beam search; beams compete only within their group.
    diversity_penalty : float
        Subtracted from a token's score for each earlier group that chose it at the same position.
    early_stopping : bool or "never"
        When beam search ends. True: when n_beams beams have finished. False: when no live beam's current score beats
        the worst finished one. "never": when none could beat it even at max_tokens.
    negative_prompt : str | tuple[int, ...] | None
        The negative prompt of classifier-free guidance; None is the last token of the prompt. Text is tokenized like a
        prompt.
    cfg_scale : float
        Classifier-free guidance: logits = negative + cfg_scale * (positive - negative). 0 uses only the negative
        prompt, 1 only the prompt (off), values above 1 extrapolate.
    truncate_prompt : int | "left" | None
        Keep only the last so many tokens of a longer prompt; "left" keeps as many as fit in the context together with
        `max_tokens` new ones, at least half of the context. A leading BOS token stays.
    context_shift : bool
        When the context is full, continue with the first `n_keep` tokens and the last half of the others, which are
        recomputed. If False, generation ends with finish_reason "context".
    n_keep : int
        Tokens at the beginning of the prompt that a context shift keeps.
    lora : str or mapping
        LoRA adapter to apply, or adapters with their scales, such as {"sql": 0.5}; by default none (docs/adapters.md).
    control_vector : str or mapping
        Control vector to add, or vectors with a scale, or with a scale, the first and the last layer.
    structured_outputs : StructuredOutputsParams or mapping, optional
        vLLM's way to write json_schema, regex, choice or grammar, one of which is set from it.

    Raises
    ------
    ParameterError
        If a value is invalid, for example a NaN temperature.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_last_n: int | None = None
    seed: int | None = None
    max_tokens: int | None = 256
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = field(default=())
    ignore_eos: bool = False
    logprobs: int | None = None
    typical_p: float = 1.0
    tfs_z: float = 1.0
    top_a: float = 0.0
    top_n_sigma: float = 0.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    smoothing_factor: float = 0.0
    smoothing_curve: float = 1.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    no_repeat_ngram_size: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    allowed_token_ids: tuple[int, ...] | None = None
    bad_words: tuple[str, ...] = ()
    min_tokens: int = 0
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    samplers: tuple[Any, ...] | None = None
    grammar: str | None = None
    json_schema: str | None = None
    regex: str | None = None
    choice: tuple[str, ...] | None = None
    lenient: bool = False
    n: int = 1
    best_of: int | None = None
    length_penalty: float = 1.0
    n_beams: int = 1
    n_beam_groups: int = 1
    diversity_penalty: float = 0.0
    early_stopping: bool | Literal["never"] = False
    negative_prompt: str | tuple[int, ...] | None = None
    cfg_scale: float = 1.0
    max_time: float | None = None
    prompt_logprobs: int | None = None
    echo: bool = False
    token_healing: bool = False
    truncate_prompt: int | Literal["left"] | None = None
    context_shift: bool = False
    n_keep: int = 0
    lora: Lora | tuple[Any, ...] = ()
    control_vector: Control | tuple[Any, ...] = ()
    structured_outputs: InitVar[StructuredOutputsParams | Mapping[str, Any] | None] = None

    @property
    def n_sequences(self) -> int:
        """Number of sequences that are generated."""
        if self.n_beams > 1:
            return self.n_beams
        return self.n if self.best_of is None else self.best_of

    @property
    def is_ranked(self) -> bool:
        """Whether completions are ranked by score."""
        return self.n_beams > 1 or self.n_sequences > self.n

    def __post_init__(self, structured_outputs: StructuredOutputsParams | Mapping[str, Any] | None) -> None:
        for name, (low, high, want) in _RANGES.items():
            check_number(name, self._or_default(name), low, high, want)
        for name, minimum in _MINIMUM.items():
            value = self._or_default(name)
            check(is_int(value) and value >= minimum, name, value, f"an integer >= {minimum}")
        for name in STRINGS:
            if name != "choice":
                self._make_strings(name)
        if self.top_k == -1:
            object.__setattr__(self, "top_k", 0)
        self._make_ids()
        self._make_constraint(structured_outputs)
        mirostat, last_n = self._or_default("mirostat"), self._or_default("penalty_last_n")
        check(is_int(mirostat) and 0 <= mirostat <= 2, "mirostat", mirostat, "0, 1 or 2")
        check(is_int(last_n) and last_n >= -1, "penalty_last_n", last_n, "an integer >= -1 (-1: the whole context)")
        check(self.seed is None or is_int(self.seed), "seed", self.seed, "an integer or None")
        tokens = self.max_tokens
        check(tokens is None or (is_int(tokens) and tokens >= 1), "max_tokens", tokens, "an integer >= 1 or None")
        check(tokens is None or self.min_tokens <= tokens, "min_tokens", self.min_tokens, f"<= max_tokens={tokens}")
        for name in ("ignore_eos", "lenient", "echo", "token_healing", "context_shift"):
            check(isinstance(getattr(self, name), bool), name, getattr(self, name), "True or False")
        check_number("max_time", 1 if self.max_time is None else self.max_time, 1e-6, 1e9, "seconds above 0, or None")
        for name in ("logprobs", "prompt_logprobs"):
            n = getattr(self, name)
            check(n is None or (is_int(n) and -1 <= n <= 1000), name, n, "an integer in [-1, 1000] or None")
        cut = self.truncate_prompt
        known = cut is None or (isinstance(cut, str) and cut == "left") or (is_int(cut) and cut >= 1)
        check(known, "truncate_prompt", cut, "an integer >= 1, 'left' or None")
        check(is_int(self.n_keep) and self.n_keep >= 0, "n_keep", self.n_keep, "an integer >= 0")
        check(self.n_keep == 0 or self.context_shift, "n_keep", self.n_keep, "0 without context_shift")
        object.__setattr__(self, "lora", checked_lora(self.lora))
        object.__setattr__(self, "control_vector", checked_control(self.control_vector))
        check_completions(self)
        check_guidance(self)
        if self.samplers is not None:
            want = "a sequence of sampler names, objects with a method apply, or batch logits processors"
            check(not isinstance(self.samplers, str), "samplers", self.samplers, want)
            order = as_tuple("samplers", self.samplers, want)
            check(len(order) <= MAX_SAMPLERS, "samplers", order, f"at most {MAX_SAMPLERS} samplers, not {len(order)}")
            check(all(isinstance(s, str) or hasattr(s, "apply") or callable(s) for s in order), "samplers", order, want)
            object.__setattr__(self, "samplers", order)

    def _or_default(self, name: str) -> Any:
        """Return a field's value, or its default if unset."""
        value = getattr(self, name)
        return DEFAULTS.get(name) if value is None else value

    def _make_strings(self, name: str) -> None:
        value, want = getattr(self, name), "non-empty strings of valid Unicode"
        strings = (value,) if isinstance(value, str) else as_tuple(name, value, want)
        check(all(isinstance(s, str) and is_text(s) for s in strings), name, strings, want)
        max_strings, max_length = STRINGS[name]
        check(len(strings) <= max_strings, name, strings, f"at most {max_strings} strings, not {len(strings)}")
        length = max(map(len, strings), default=0)
        check(length <= max_length, name, strings, f"strings of at most {max_length} characters, not of {length}")
        object.__setattr__(self, name, strings)

    def _make_constraint(self, structured: StructuredOutputsParams | Mapping[str, Any] | None) -> None:
        if structured is not None:
            name, value = constraint_of(structured)
            check(getattr(self, name) is None, name, getattr(self, name), "None where structured_outputs gives it")
            object.__setattr__(self, name, value)
        for name in ("grammar", "regex"):
            text = getattr(self, name)
            check(text is None or (isinstance(text, str) and is_text(text)), name, text, "a non-empty text or None")
        if self.json_schema is not None:
            object.__setattr__(self, "json_schema", schema_text("json_schema", self.json_schema))
        if self.choice is not None:
            self._make_strings("choice")
            check(bool(self.choice), "choice", self.choice, "one or more texts, or None")
        constraints = [name for name in CONSTRAINTS if getattr(self, name) is not None]
        if len(constraints) > 1:
            raise ParameterError(f"{' and '.join(constraints)}: only one constraint can be enforced; omit the others")
        if constraints and self.token_healing:
            raise ParameterError(
                f"token_healing and {constraints[0]}: a constraint starts after the prompt, which healing changes; "
                "omit one"
            )

    def _make_ids(self) -> None:
        ids = as_tuple("stop_token_ids", self.stop_token_ids, "integers")
        check(all(is_int(t) for t in ids), "stop_token_ids", ids, "integers")
        object.__setattr__(self, "stop_token_ids", ids)
        if self.allowed_token_ids is not None:
            ids = as_tuple("allowed_token_ids", self.allowed_token_ids, "token ids")
            check(bool(ids) and all(is_int(t) for t in ids), "allowed_token_ids", ids, "one or more token ids, or None")
            object.__setattr__(self, "allowed_token_ids", ids)
        want = "(token id, number) pairs with finite numbers or -inf"
        bias_of = self.logit_bias
        pairs = as_tuple("logit_bias", bias_of.items() if isinstance(bias_of, Mapping) else bias_of, want)
        check(
            all(isinstance(pair, tuple) and len(pair) == 2 and is_int(pair[0]) for pair in pairs),
            "logit_bias",
            bias_of,
            want,
        )
        for _, bias in pairs:
            check_number("logit_bias", 0.0 if bias == -math.inf else bias, -1e6, 1e6, want)
        check(len(dict(pairs)) == len(pairs), "logit_bias", bias_of, "one number for each token")
        object.__setattr__(self, "logit_bias", pairs)
