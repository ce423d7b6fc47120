"""Reading: what a model says of texts that are there; the half of `LLM` that writes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, overload

from realizar.engine.pooling import pooler
from realizar.errors import ParameterError, shown
from realizar.params.per_prompt import as_prompts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.engine.engine import Engine
    from realizar.engine.likelihood import Score, Scored
    from realizar.engine.scoring import Encoding
    from realizar.tokenizer import Tokenizer

    Prompt = str | Sequence[int]


class Reading(ABC):
    """Tokens of texts, their logits and likelihoods, vectors that stand for them."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """The engine behind it, for tools that need more than text."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; built when first used."""
        return self.engine.model.tokenizer

    @property
    def n_ctx(self) -> int:
        """Tokens that one sequence may have."""
        return self.engine.n_ctx

    def logits(self, token_ids: Sequence[int], decoder_tokens: Sequence[int] | None = None) -> npt.NDArray[np.float32]:
        """Return the logits after every token of a text.

        Parameters
        ----------
        token_ids : sequence of int
            At least one, at most n_ctx.
        decoder_tokens : sequence of int, optional
            For models with an encoder, which reads token_ids: the answer whose logits are wanted.

        Returns
        -------
        float32 [n_tokens, n_vocab]

        Raises
        ------
        ParameterError, ContextFullError
            As `generate`.
        """
        if decoder_tokens is None:
            request = self.engine.score(token_ids)
        else:
            request = self.engine.score(decoder_tokens, source=token_ids)
        self.engine.complete([request])
        return request.logits

    @overload
    def score(self, prompt: Prompt, continuation: Prompt, logprobs: int = 1) -> Score: ...
    @overload
    def score(self, prompt: Prompt, continuation: list[str] | list[list[int]], logprobs: int = 1) -> list[Score]: ...
    def score(
        self, prompt: Prompt, continuation: Prompt | list[str] | list[list[int]], logprobs: int = 1
    ) -> Score | list[Score]:
        """Return how likely the model finds a text, or each of several, behind a prompt.

        Of logits no more is kept than the step that computes them gives: memory does not grow with the text.

        Parameters
        ----------
        prompt : str or token ids
            Text gets the BOS token where the model wants one. Where the model has an encoder, that reads it.
        continuation : str or token ids, or a list of either
            Where both are text they are read as one: what is scored are all tokens behind those that are the prompt's
            own, too. Give token ids for a cut of your own.
        logprobs : int
            How many of the most probable tokens to report in each place, 1 at least.

        Returns
        -------
        Score, or list of Score

        Raises
        ------
        ParameterError
            If either has no tokens, or a token id does not exist.
        ContextFullError
            If both are longer than the context.
        """
        single = not isinstance(continuation, list) or all(isinstance(item, Integral) for item in continuation)
        pairs = [self._ids_of_both(prompt, text) for text in ([continuation] if single else continuation)]
        requests: list[Scored] = []
        try:
            for batch in (pairs[:1], pairs[1:]):  # the others find in the cache what the first one computed
                now = [self.engine.likelihood(*pair, logprobs) for pair in batch]
                requests += now
                self.engine.complete(now)
        finally:
            for request in requests:
                request.cancel()
        scores = [request.score() for request in requests]
        return scores[0] if single else scores

    def _ids_of_both(self, prompt: Prompt, continuation: Any) -> tuple[Sequence[int], Sequence[int]]:
        """Return the tokens of a prompt, and of what comes behind it."""
        if not isinstance(continuation, str):
            return self._ids(prompt), continuation
        if not isinstance(prompt, str) or self.engine.model.has_encoder:
            return self._ids(prompt), self.tokenize(continuation, add_special=False)
        alone, both = self.tokenize(prompt), self.tokenize(prompt + continuation)
        n = next((i for i, (a, b) in enumerate(zip(alone, both, strict=False)) if a != b), min(len(alone), len(both)))
        if alone and not n:
            raise ParameterError(
                f"score: {shown(prompt)} and {shown(continuation)} begin with one token that both have a part in, so "
                "that nothing stands before what is to be scored; give a longer prompt, or token ids"
            )
        return both[:n], both[n:]

    @overload
    def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: Literal["auto"] = "auto", normalize: bool = True
    ) -> Any: ...
    @overload
    def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: Literal["mean", "cls", "last"], normalize: bool = True
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: None, normalize: bool = True
    ) -> list[npt.NDArray[np.float32]]: ...
    def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: Literal["auto", "mean", "cls", "last"] | None = "auto",
        normalize: bool = True,
    ) -> npt.NDArray[np.float32] | list[npt.NDArray[np.float32]]:  # fmt: skip
        """Return vectors that stand for texts: pooled hidden states, of an encoder or behind a decoder's final norm.

        Parameters
        ----------
        texts : str, list of str, token ids, or list of token ids
            Text gets the special tokens that the model wants around it.
        pooling : {"auto", "mean", "cls", "last"} or None
            The mean of all tokens, the first or the last; "auto" as the file says (which may be None), else the mean of
            an encoder's and the last of a decoder's. None returns the states themselves.
        normalize : bool
            Give pooled vectors length 1, so that their products are cosines.

        Returns
        -------
        float32 [n_texts, n_embd]
            Without pooling, a list of float32 [n_tokens, n_embd], one for each text.

        Raises
        ------
        ParameterError
            If a text is empty, a token id does not exist, an encoder cannot take a text in one step (n_batch), or
            pooling is "auto" and the file is a reranker's, which has scores and no vectors.
        ContextFullError
            If a text is longer than the context.
        """
        pool = pooler(self.engine.model.pooling if pooling == "auto" else pooling, normalize)
        requests: list[Encoding] = []
        try:
            requests.extend(self.engine.encode(self._ids(text)) for text in as_prompts(texts))
            self.engine.complete(requests)
        finally:
            for request in requests:
                request.cancel()
        vectors: npt.NDArray[np.float32] | list[npt.NDArray[np.float32]] = pool([r.hidden for r in requests])
        return vectors

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Return the token ids of a text.

        Parameters
        ----------
        text : str
        add_special : bool
            Add BOS and EOS where the model wants them.
        parse_special : bool
            Read the names of special tokens as these tokens; never do it with text of a stranger.
        """
        return self.tokenizer.encode(text, add_special, parse_special)

    def detokenize(self, token_ids: Sequence[int], skip_special: bool = True) -> str:
        """Return the text of token ids, by default without special tokens."""
        return self.tokenizer.decode(token_ids, skip_special)

    def _ids(self, prompt: Prompt) -> Sequence[int]:
        return self.tokenize(prompt) if isinstance(prompt, str) else prompt
