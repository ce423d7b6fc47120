"""SamplingParams: what a request can be asked for, checked when made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from realizar.errors import ParameterError
from realizar.params.checks import as_tuple, check, check_number, is_int, is_text, schema_text
from realizar.params.decoding_checks import check_answers, check_guidance

# Parameter -> the least and the greatest that make sense, and how an error says it.
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
# Parameter -> the least integer that makes sense.
_LEAST = {"top_k": 0, "dry_allowed_length": 1, "no_repeat_ngram_size": 0, "min_tokens": 0}
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
"""Fields that a model's file may have defaults for -> what they are where neither the request nor the file says it."""
STRINGS = {
    "stop": (1000, 1000),
    "bad_words": (1_000_000, 1000),
    "dry_sequence_breakers": (128, 64),
    "choice": (100_000, 100_000),
}
"""Parameter -> how many strings it may have, and how many characters each."""
MAX_SAMPLERS = 256
"""Samplers in an order of the request's own."""
CONSTRAINTS = ("grammar", "json_schema", "regex", "choice")
"""Of these one can be set."""


@dataclass(frozen=True)
class SamplingParams:
    """How the tokens of one request are chosen and when it ends.

    Fields of `DEFAULTS` left unset (None) take the model file's value (general.sampling.*), else that of `DEFAULTS`.

    Attributes
    ----------
    temperature : float
        Divides the logits; 0 is greedy.
    top_k : int
        Keep the k best candidates; 0 keeps all.
    top_p : float
        Keep the smallest set of best candidates whose probabilities sum to at least this; 1 keeps all.
    min_p : float
        Keep candidates at least this fraction as probable as the best; 0 keeps all.
    repetition_penalty : float
        Divides positive and multiplies negative logits of tokens seen in the last `penalty_last_n`; 1 is off.
    presence_penalty, frequency_penalty : float
        Subtracted once, and once per occurrence, from the logits of tokens seen; 0 is off.
    penalty_last_n : int
        How many of the last tokens (prompt included) the penalties look at; -1 is the whole context.
    typical_p : float
        Keep the candidates nearest to the expected surprise whose probabilities sum to at least this; 1 keeps all.
    tfs_z : float
        Tail-free: cut where this share of the curvature of the sorted probabilities is reached; 1 keeps all.
    top_a : float
        Keep candidates at least this times the square of the best probability; 0 keeps all.
    top_n_sigma : float
        Keep candidates within so many standard deviations of the best logit; 0 keeps all.
    epsilon_cutoff : float
        Keep candidates of at least this probability; 0 keeps all.
    eta_cutoff : float
        The same with a bound that falls with the entropy: min(eta, sqrt(eta) * exp(-entropy)); 0 keeps all.
    dynatemp_range, dynatemp_exponent : float
        The temperature goes with the entropy from temperature - range to temperature + range; range 0 is off.
    smoothing_factor, smoothing_curve : float
        Bend the logits by the square (with a curve above 1 also the cube) of how far they are below the best; 0 is off.
    dry_multiplier, dry_base : float
        A token that would lengthen a repetition of n tokens has multiplier * base ** (n - dry_allowed_length)
        subtracted from its logit; multiplier 0 is off.
    dry_allowed_length : int
        Shorter repetitions are free.
    dry_sequence_breakers : tuple[str, ...]
        Strings that no repetition goes across.
    no_repeat_ngram_size : int
        No run of so many tokens is there twice; 0 is off.
    logit_bias : tuple[tuple[int, float], ...]
        (token id, number added to its logit); a mapping is taken too. -inf bans a token.
    allowed_token_ids : tuple[int, ...] | None
        The only tokens that may be chosen; None allows all.
    bad_words : tuple[str, ...]
        Strings that the text must not have; a single string is taken too.
    min_tokens : int
        Tokens to generate before one may end the text.
    xtc_probability, xtc_threshold : float
        With this probability, exclude all candidates of at least the threshold but the least probable; 0 is off.
    mirostat : {0, 1, 2}
        Keep the surprise of the text near a target, by algorithm 1 or 2; 0 is off.
    mirostat_tau, mirostat_eta : float
        The target in bits per token, and how fast to correct.
    samplers : tuple[str | Sampler, ...] | None
        The order of the samplers: names, and objects with the method `apply` of `realizar.sampling.Sampler`; None takes
        that of docs/sampling.md. A function f(logits, histories) among them changes the logits of all sequences of a
        batch that name it, in place and before all samplers: float32 [n, n_vocab], and n arrays of token ids.
    grammar : str | None
        The text keeps to this grammar, in GBNF, or in llguidance's Lark if it begins with ``%llguidance``. Of this and
        the next three, one can be set; docs/constraints.md says what each takes.
    json_schema : str | None
        The text is JSON that this JSON schema describes; a mapping is taken too.
    regex : str | None
        The whole text matches this regular expression.
    choice : tuple[str, ...] | None
        The text is one of these.
    lenient : bool
        Ignore what of a JSON schema cannot be enforced, instead of refusing it.
    seed : int | None
        Draws are keyed by (seed, position, draw number); None takes a fresh seed for every request.
    max_tokens : int | None
        Tokens to generate at most; None goes on to the end of the context.
    max_time : float | None
        Seconds, from when the request is handed in, after which the text ends where it is; the step of the engine that
        is under way then is still waited for. None sets no limit.
    stop : tuple[str, ...]
        Strings that end the text (they are not part of it); a single string is taken too.
    stop_token_ids : tuple[int, ...]
        Token ids that end the text, beside the model's own end-of-generation ids.
    ignore_eos : bool
        Go on after end-of-generation ids (benchmarks).
    logprobs : int | None
        How many of the most probable tokens to report for each generated one; 0 reports the chosen one alone.
    prompt_logprobs : int | None
        The same for each token of the prompt but the first, of which nothing says how likely it is; the prompt is then
        computed whole, whatever of it the cache has.
    echo : bool
        Begin the text with that of the prompt, without its control tokens.
    token_healing : bool
        Take the prompt's last token back and choose again, among the tokens that begin with its text: a prompt that
        ends inside what the model would write as one token goes on as if it did not.
    n : int
        Texts to return; they share what the cache holds of the prompt.
    best_of : int | None
        Texts to write, of which the n best are returned: those with the greatest score, the sum of their tokens'
        logprobs / number of tokens ** length_penalty. None writes n.
    length_penalty : float
        With what power of the length the logprobs of texts that compete are divided: 1 ranks by the mean, 0 by the sum.
    n_beams : int
        Texts that beam search goes on with at each token: the best, of all that those before it could become. 1 is off.
    n_beam_groups : int
        Groups of beams that compete among themselves alone.
    diversity_penalty : float
        What a token costs, each time that a group before has taken it at the same place.
    early_stopping : bool or "never"
        When a search ends: True, when n_beams texts have ended; False, when moreover none of the others looks like
        beating them, by its score as it is; "never", by the best score that a text of max_tokens could come to.
    negative_prompt : str | tuple[int, ...] | None
        What guidance leads away from; None takes the last token of the prompt. Text becomes tokens as a prompt's does.
    cfg_scale : float
        Classifier-free guidance: logits are those behind the negative prompt and so many times their difference to
        those behind the prompt. 1 is off.

    Raises
    ------
    ParameterError
        If a value makes no sense, for example a NaN temperature.
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

    @property
    def n_texts(self) -> int:
        """Texts that are written at once."""
        if self.n_beams > 1:
            return self.n_beams
        return self.n if self.best_of is None else self.best_of

    @property
    def is_ranked(self) -> bool:
        """Whether the texts compete."""
        return self.n_beams > 1 or self.n_texts > self.n

    def __post_init__(self) -> None:
        for name, (low, high, want) in _RANGES.items():
            check_number(name, self._or_ours(name), low, high, want)
        for name, least in _LEAST.items():
            value = self._or_ours(name)
            check(is_int(value) and value >= least, name, value, f"an integer >= {least}")
        for name in STRINGS:
            if name != "choice":
                self._make_strings(name)
        self._make_ids()
        self._make_constraint()
        mirostat, last_n = self._or_ours("mirostat"), self._or_ours("penalty_last_n")
        check(is_int(mirostat) and 0 <= mirostat <= 2, "mirostat", mirostat, "0, 1 or 2")
        check(is_int(last_n) and last_n >= -1, "penalty_last_n", last_n, "an integer >= -1 (-1: the whole context)")
        check(self.seed is None or is_int(self.seed), "seed", self.seed, "an integer or None")
        tokens = self.max_tokens
        check(tokens is None or (is_int(tokens) and tokens >= 1), "max_tokens", tokens, "an integer >= 1 or None")
        check(tokens is None or self.min_tokens <= tokens, "min_tokens", self.min_tokens, f"<= max_tokens={tokens}")
        for name in ("ignore_eos", "lenient", "echo", "token_healing"):
            check(isinstance(getattr(self, name), bool), name, getattr(self, name), "True or False")
        check_number("max_time", 1 if self.max_time is None else self.max_time, 1e-6, 1e9, "seconds above 0, or None")
        for name in ("logprobs", "prompt_logprobs"):
            n = getattr(self, name)
            check(n is None or (is_int(n) and 0 <= n <= 1000), name, n, "an integer in [0, 1000] or None")
        check_answers(self)
        check_guidance(self)
        if self.samplers is not None:
            want = "samplers in their order: names, objects with a method apply, or functions of a batch"
            check(not isinstance(self.samplers, str), "samplers", self.samplers, want)
            order = as_tuple("samplers", self.samplers, want)
            check(len(order) <= MAX_SAMPLERS, "samplers", order, f"at most {MAX_SAMPLERS} samplers, not {len(order)}")
            check(all(isinstance(s, str) or hasattr(s, "apply") or callable(s) for s in order), "samplers", order, want)
            object.__setattr__(self, "samplers", order)

    def _or_ours(self, name: str) -> Any:
        """Return a field's value, or what it is by default where it is unset."""
        value = getattr(self, name)
        return DEFAULTS.get(name) if value is None else value

    def _make_strings(self, name: str) -> None:
        value, want = getattr(self, name), "non-empty strings that UTF-8 can express"
        strings = (value,) if isinstance(value, str) else as_tuple(name, value, want)
        check(all(isinstance(s, str) and is_text(s) for s in strings), name, strings, want)
        most, longest = STRINGS[name]
        check(len(strings) <= most, name, strings, f"at most {most} strings, not {len(strings)}")
        length = max(map(len, strings), default=0)
        check(length <= longest, name, strings, f"strings of at most {longest} characters, not of {length}")
        object.__setattr__(self, name, strings)

    def _make_constraint(self) -> None:
        for name in ("grammar", "regex"):
            text = getattr(self, name)
            check(text is None or (isinstance(text, str) and is_text(text)), name, text, "a text, not empty, or None")
        if self.json_schema is not None:
            object.__setattr__(self, "json_schema", schema_text("json_schema", self.json_schema))
        if self.choice is not None:
            self._make_strings("choice")
            check(bool(self.choice), "choice", self.choice, "one text or more, or None")
        given = [name for name in CONSTRAINTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ParameterError(f"{' and '.join(given)}: a text can keep to one of them alone; leave the others out")
        if given and self.token_healing:
            raise ParameterError(f"token_healing and {given[0]}: what keeps to it begins behind the prompt; choose one")

    def _make_ids(self) -> None:
        ids = as_tuple("stop_token_ids", self.stop_token_ids, "integers")
        check(all(is_int(t) for t in ids), "stop_token_ids", ids, "integers")
        object.__setattr__(self, "stop_token_ids", ids)
        if self.allowed_token_ids is not None:
            ids = as_tuple("allowed_token_ids", self.allowed_token_ids, "token ids")
            check(bool(ids) and all(is_int(t) for t in ids), "allowed_token_ids", ids, "one token id or more, or None")
            object.__setattr__(self, "allowed_token_ids", ids)
        want = "token ids with a number each, finite or -inf"
        given = self.logit_bias
        pairs = as_tuple("logit_bias", given.items() if isinstance(given, Mapping) else given, want)
        check(
            all(isinstance(pair, tuple) and len(pair) == 2 and is_int(pair[0]) for pair in pairs),
            "logit_bias",
            given,
            want,
        )
        for _, bias in pairs:
            check_number("logit_bias", 0.0 if bias == -math.inf else bias, -1e6, 1e6, want)
        check(len(dict(pairs)) == len(pairs), "logit_bias", given, "one number for each token")
        object.__setattr__(self, "logit_bias", pairs)
