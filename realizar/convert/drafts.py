"""Drafts for another model (EAGLE-3): what their GGUF files take from that of the model, and their tokens."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from realizar.arch import ArchMetadata
from realizar.arch.drafts import DRAFT_TOKENS
from realizar.convert.checkpoint_folder import CheckpointFolder
from realizar.convert.tensors import OutputTensor
from realizar.errors import TensorError
from realizar.gguf import GGMLType, GGUFFile


def take_from_target(checkpoint: CheckpointFolder, target: str | os.PathLike[str]) -> dict[str, Any]:
    """Add the sizes of a draft's model to the draft's config.json, and return the metadata of the model's tokenizer.

    Parameters
    ----------
    checkpoint : CheckpointFolder
    target : str or PathLike
        GGUF file of the model.

    Raises
    ------
    ModelNotFoundError, GGUFError
        If the file does not exist, or is damaged.
    """
    with GGUFFile(target) as file:
        md = ArchMetadata(file.metadata, file.architecture)
        checkpoint.config["target_num_hidden_layers"] = md.layers()
        if checkpoint.config.get("target_hidden_size") is None:
            checkpoint.config["target_hidden_size"] = md.positive("embedding_length")
        return {key: value for key, value in file.metadata.items() if key.startswith("tokenizer.")}


def token_tensors(checkpoint: CheckpointFolder, n_vocab: int) -> list[OutputTensor]:
    """Return the tensor with the token of each row of the output matrix; nothing if the rows are those of all tokens.

    The checkpoint has the distance of each token to the number of its row.

    Raises
    ------
    TensorError
        If a token does not exist, or occurs twice.
    """
    if DRAFT_TOKENS not in checkpoint.stored:
        return []
    checkpoint.used.add(DRAFT_TOKENS)
    distances = checkpoint.stored[DRAFT_TOKENS].floats().astype(np.int64).reshape(-1)
    tokens = distances + np.arange(len(distances))
    if tokens.min() < 0 or tokens.max() >= n_vocab or len(np.unique(tokens)) < len(tokens):
        raise TensorError(
            f"{DRAFT_TOKENS}: its distances give the tokens {tokens.min()} to {tokens.max()}, "
            f"{len(np.unique(tokens))} different ones of {len(tokens)}; all must be different and below {n_vocab}, the "
            "tokens of the target"
        )
    return [OutputTensor(DRAFT_TOKENS, tokens.shape, GGMLType.I64, lambda: tokens.view(np.uint8))]
