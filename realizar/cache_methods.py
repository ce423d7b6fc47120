"""Saving and restoring the KV cache of a prompt: the methods of `LLM` for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.engine.saving import read_cache, write_cache
from realizar.loaded import LoadedModel, Prompt

if TYPE_CHECKING:
    import os


class CacheMethods(LoadedModel):
    """The methods of `LLM` that save and restore the KV cache of a prompt."""

    def save_cache(self, path: str | os.PathLike[str], prompt: Prompt, *, priority: int = 0) -> list[int]:
        """Write the KV cache of a prompt to a file (docs/cache.md).

        What is not in the prefix cache is computed first. Whole blocks of 16 tokens are written.

        Parameters
        ----------
        path : str or PathLike
            An existing file is replaced, once the new one is complete.
        prompt : str, token ids, or list of parts
            See `generate`. Of a conversation: the ids of `chat_prompt`; with its answer: both ids, one after the other.
        priority : int
            See `generate`.

        Returns
        -------
        list of int
            The tokens that were saved; 0 where embeddings enter.

        Raises
        ------
        ParameterError
            If the prompt is shorter than a block, or the model has an encoder.
        ContextFullError
            If the prompt is longer than the context.
        CacheFileError
            If the file cannot be written.
        """
        request = self.engine.save(self._ids(prompt, is_continued=True), priority)
        self.engine.complete([request])
        return write_cache(path, self.engine, request)

    def load_cache(self, path: str | os.PathLike[str], *, priority: int = 0) -> list[int]:
        """Restore the KV cache of a prompt from a file of `save_cache` (docs/cache.md).

        The blocks enter the prefix cache: later prompts that begin with the same tokens continue from there, with the
        same bits as if all were computed.

        Parameters
        ----------
        path : str or PathLike
        priority : int
            See `generate`.

        Returns
        -------
        list of int
            The tokens that were restored; 0 where embeddings enter.

        Raises
        ------
        CacheFileError
            If the file cannot be read, is damaged, or was saved by another version, or for another model, kv_type,
            activations or backend.
        ContextFullError
            If it has more tokens than the context.
        """
        saved = read_cache(path, self.engine)
        self.engine.complete([self.engine.restore(saved, priority)])
        return saved.token_ids
