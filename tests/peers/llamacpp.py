"""llama.cpp through its C interface: tokenization, logits and batched greedy completion."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GGML_TYPE = {"f32": 0, "f16": 1}
FLASH_ATTN = {False: 0, True: 1}


class LlamaCpp:
    """A model in llama.cpp on the CPU; close it after use.

    Parameters
    ----------
    path : Path
        GGUF file.
    kv_type : {"f32", "f16"}
        Type of cached keys and values.
    n_ctx, n_seqs : int
        Maximum tokens per sequence, and number of sequences.
    flash : bool
        Use its flash attention, which sums in another order and, with a float16 cache, in float16.
    """

    def __init__(self, path: Path, kv_type: str, n_ctx: int, n_seqs: int, flash: bool = False) -> None:
        import llama_cpp as lib

        self._lib = lib
        self._quiet = lib.llama_log_callback(lambda *_: None)  # llama.cpp keeps a pointer to it
        lib.llama_log_set(self._quiet, ctypes.c_void_p(0))
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        # Weights as they are in the file: no repacking, no AMX (some compilers break it: docs/performance-notes.md).
        params.use_extra_bufts = False
        self._model = lib.llama_model_load_from_file(str(path).encode(), params)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self.n_vocab = lib.llama_vocab_n_tokens(self._vocab)
        context = lib.llama_context_default_params()
        context.n_ctx, context.n_seq_max = n_ctx * n_seqs, n_seqs
        # One thread: OpenMP threads spin while they wait, which is very slow on a busy CPU.
        context.n_threads = context.n_threads_batch = 1
        context.type_k = context.type_v = GGML_TYPE[kv_type]
        context.flash_attn_type = FLASH_ATTN[flash]
        self._context = lib.llama_init_from_model(self._model, context)
        self._batch = lib.llama_batch_init(max(n_ctx, n_seqs), 0, 1)

    def close(self) -> None:
        """Free the memory."""
        self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text, with the special tokens that the model adds."""
        raw = text.encode()
        ids = (self._lib.llama_token * (len(raw) + 2))()
        n = self._lib.llama_tokenize(self._vocab, raw, len(raw), ids, len(ids), True, False)
        return list(ids[:n])

    def greedy(self, prompts: Sequence[Sequence[int]], n_tokens: int) -> list[list[int]]:
        """Continue each prompt by its most probable tokens, up to an end-of-generation token (included)."""
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), True)
        out: list[list[int]] = []
        for seq, prompt in enumerate(prompts):
            rows = [(seq, pos, token, pos == len(prompt) - 1) for pos, token in enumerate(prompt)]
            out.append(self._best(rows))
        for step in range(n_tokens - 1):
            live = [
                (seq, len(prompts[seq]) + step, ids[-1], True)
                for seq, ids in enumerate(out)
                if not self._lib.llama_vocab_is_eog(self._vocab, ids[-1])
            ]
            if not live:
                break
            for (seq, *_), token in zip(live, self._best(live), strict=True):
                out[seq].append(token)
        return out

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Return the logits after each token: float32 [n_tokens, n_vocab]."""
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), True)
        self._run([(0, pos, token, True) for pos, token in enumerate(tokens)])
        return np.stack([self._logits(row) for row in range(len(tokens))])

    def _best(self, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Run rows; return the best token of each output."""
        self._run(rows)
        return [int(self._logits(i).argmax()) for i, row in enumerate(rows) if row[3]]

    def _run(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """Run rows of (sequence, position, token, whether to compute its logits)."""
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, (seq, pos, token, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, pos, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, seq
        if status := self._lib.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode: {status}")

    def _logits(self, row: int) -> np.ndarray:
        return np.ctypeslib.as_array(self._lib.llama_get_logits_ith(self._context, row), (self.n_vocab,))
