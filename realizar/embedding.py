"""Vectors, ranks and classes of texts: the methods of `LLM` that embed, rerank and classify."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from realizar.loaded import LoadedModel, Pooling, Prompt, ranked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class EmbeddingMethods(LoadedModel):
    """The methods of `LLM` that embed, rerank and classify texts."""

    @overload
    def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: Literal["auto"] = "auto", normalize: bool = True, *,
        prompt: str | None = None, dimensions: int | None = None, use_tqdm: bool = False, priority: int = 0,
    ) -> Any: ...  # fmt: skip
    @overload
    def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: Literal["mean", "cls", "last", "rank"], normalize: bool = True,
        *, prompt: str | None = None, dimensions: int | None = None, use_tqdm: bool = False, priority: int = 0,
    ) -> npt.NDArray[np.float32]: ...  # fmt: skip
    @overload
    def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: None, normalize: bool = True, *,
        prompt: str | None = None, dimensions: int | None = None, use_tqdm: bool = False, priority: int = 0,
    ) -> list[npt.NDArray[np.float32]]: ...  # fmt: skip
    def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: Pooling = "auto", normalize: bool = True, *,
        prompt: str | None = None, dimensions: int | None = None, use_tqdm: bool = False, priority: int = 0,
    ) -> npt.NDArray[np.float32] | list[npt.NDArray[np.float32]]:  # fmt: skip
        """Return embeddings: pooled hidden states of an encoder, or of a decoder after its final norm.

        Parameters
        ----------
        texts : str, list of str, token ids, or list of token ids
            The special tokens that the model expects are added to text.
        pooling : {"auto", "mean", "cls", "last", "rank"} or None
            The mean of all tokens, the first token or the last one. "auto" is the pooling of the model file (which may
            be None), else the mean for an encoder and the last token for a decoder. None returns the states of all
            tokens, "rank" the output of a reranker's classification head.
        normalize : bool
            Scale pooled vectors to length 1, so that their dot products are cosine similarities.
        prompt : str, optional
            A text that is put before each text: the prefix for queries, or that for documents, of the model's card
            (docs/embeddings.md).
        dimensions : int, optional
            Keep the first elements of each vector, for models that were trained for it (Matryoshka embeddings).
        use_tqdm, priority
            See `generate`.

        Returns
        -------
        float32 [n_texts, n_embd]
            Or [n_texts, dimensions]; with pooling="rank" [n_texts, n_class], as the head gives it. Without pooling, a
            list of float32 [n_tokens, n_embd], one array for each text.

        Raises
        ------
        ParameterError
            If a text is empty, a token id does not exist, a text does not fit in one step (n_batch) of an encoder,
            pooling is "auto" and the model is a reranker, which has scores and no embeddings, or "rank" and the model
            has no head; if there is a prompt, and a text is not a str.
        ContextFullError
            If a text is longer than the context.
        """
        pool = self._pooler(pooling, normalize, dimensions)
        requests = self._vector_requests(texts, pooling, prompt, priority)
        self._complete(requests, use_tqdm)
        vectors: npt.NDArray[np.float32] | list[npt.NDArray[np.float32]] = pool([r.hidden for r in requests])
        return vectors

    def rerank(
        self, query: str, documents: Sequence[str], *, prompt: str | None = None, priority: int = 0
    ) -> list[tuple[int, float]]:
        """Rank documents by their relevance to a query, with the scores of a reranker model.

        Parameters
        ----------
        query : str
        documents : list of str
        prompt : str, optional
            What the model reads, with {query} and {document} in it, in place of the file's template or of the two texts
            with the tokenizer's separators. Control tokens in it count as such, those in the texts as plain text.
        priority : int
            See `generate`.

        Returns
        -------
        list of (int, float)
            Index of a document and its score, best first: the raw output of the head, or of Qwen3-Reranker the
            probability of "yes".

        Raises
        ------
        ParameterError
            If the model has no classification head, or one of several classes; if the documents are no list of str, or
            the prompt lacks {query} or {document}.
        ContextFullError
            If a pair is longer than the context.
        """
        requests = self._pair_requests(query, documents, prompt, priority)
        self.engine.complete(requests)
        return ranked(requests)

    def classify(
        self, texts: Prompt | Sequence[Prompt], *, use_tqdm: bool = False, priority: int = 0
    ) -> list[dict[str, float]]:
        """Return the probability of each class, for each text, by the model's classification head.

        Parameters
        ----------
        texts : str, list of str, token ids, or list of token ids
            The special tokens that the model expects are added to text.
        use_tqdm, priority
            See `generate`.

        Returns
        -------
        list of dict
            For each text its classes, most probable first: name to probability. The names are those of the file, else
            "LABEL_0" and so on. The probabilities of several classes add up to one (softmax); that of one class is its
            own (sigmoid).

        Raises
        ------
        ParameterError
            If the model has no classification head; else as `embed`.
        ContextFullError
            If a text is longer than the context.
        """
        requests = self._class_requests(texts, priority)
        self._complete(requests, use_tqdm)
        return self._classes(requests)
