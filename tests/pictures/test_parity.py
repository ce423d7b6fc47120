"""Vision encoders against transformers, on tiny random models: pixels, rows and logits."""

import numpy as np
import pytest

from realizar import LLM, Embeddings, Tokens
from realizar.arch import Tile

from .cases import CASES, EXACT, IMAGE, PICTURES, TOKENS

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
STRIDE = 17
ROW_STEP = 3
"""Every third row is kept of the cases that are recipes."""


def padded(numbers, n_patch, blank):
    """Numbers of patches, each pixel's colors beside each other, and the blank patches up to `n_patch`."""
    flat = numbers.transpose(0, 2, 3, 1).reshape(len(numbers), -1)
    return np.concatenate([flat, np.full((n_patch - len(flat), flat.shape[1]), blank)]).reshape(-1)


PADDED = {"gemma4v": 630, "gemma4v-large": 630, "lfm2": 24}
"""Patches of a tile of the processors that add blank ones."""


def tiles(encoder, picture):
    pieces = encoder.file.projector.pieces(picture, encoder.file.hp, encoder.max_rows)
    return [piece for piece in pieces if isinstance(piece, Tile)]


def rows(parts):
    return np.concatenate([part.rows for part in parts if isinstance(part, Embeddings)])


@each_case
def test_pixels_are_those_of_the_processor(case):
    encoder = case.encoder()
    found = np.concatenate([as_the_processor(case, tile) for picture in PICTURES for tile in tiles(encoder, picture)])
    np.testing.assert_allclose(found[::STRIDE], case.golden["pixels"], atol=1e-5)


def as_the_processor(case, tile):
    """The numbers of a tile in the processor's order: patches, or channels of whole pictures."""
    side = int((tile.patches.shape[1] // 3) ** 0.5)
    cut = tile.patches.reshape(-1, 3, side, side)
    if case.name == "qwen2.5vl_merger":  # window after window
        encoder = case.encoder()
        order = np.argsort(encoder.file.projector.order(tile.grid, encoder.file.hp))
        cut = cut.reshape(len(order), -1, *cut.shape[1:])[order].reshape(cut.shape)
    if case.name.startswith("qwen"):
        return np.repeat(cut[:, :, None], 2, axis=2).reshape(-1)
    if case.name == "paddleocr":  # square after square
        return cut[np.lexsort(tile.positions[::-1])].reshape(-1)
    if case.name in PADDED:
        return padded((cut + 1) / 2 if case.name.startswith("gemma4v") else cut, PADDED[case.name], 0.0)
    if len(cut) > tile.grid[0] * tile.grid[1]:  # the class has a row without a patch
        cut = cut[:-1] if case.name == "llama4" else cut[1:]
    return cut.reshape(*tile.grid, 3, side, side).transpose(2, 0, 3, 1, 4).reshape(-1)


@each_case
def test_rows_are_those_of_transformers(case):
    golden = case.golden
    both = case.encoder(activations="f32").parts(PICTURES)
    for i, parts in enumerate(both):
        found, want = rows(parts), golden[f"rows_{i}"]
        found = found[:: ROW_STEP if "recipe" in golden else 1]
        np.testing.assert_allclose(found[:, : want.shape[1]], want, atol=1e-4)
    if "deepstack" in golden:
        found = np.concatenate([rows(parts)[:, 32:] for parts in both])
        np.testing.assert_allclose(found, golden["deepstack"], atol=1e-4)


@each_case
def test_pictures_encoded_together_have_the_bits_of_those_encoded_alone(case):
    together = case.encoder(max_rows=40)
    both = together.parts(PICTURES)
    for picture, parts in zip(PICTURES, both, strict=True):
        alone = case.encoder(max_rows=40)
        assert rows(alone.parts([picture])[0]).tobytes() == rows(parts).tobytes()
    assert together.stats().n_steps == 1, "one step"


@each_case
def test_the_backends_agree(case):
    found = rows(case.encoder(activations="f32").parts(PICTURES[1:])[0])
    want = rows(case.encoder(activations="f32", backend="numpy").parts(PICTURES[1:])[0])
    np.testing.assert_allclose(found, want, atol=1e-4)


def parts_of(case, pictures):
    """The prompt of the golden logits: tokens, with the rows of pictures in place of IMAGE."""
    tokens, prompt = case.golden["tokens"].tolist(), []
    rows_of = iter([part for parts in pictures for part in parts if isinstance(part, Embeddings)])
    start = 0
    while start < len(tokens):
        if tokens[start] == IMAGE:
            prompt.append(next(rows_of))
            start += len(prompt[-1].rows)
        else:
            end = next((i for i in range(start, len(tokens)) if tokens[i] == IMAGE), len(tokens))
            prompt.append(Tokens(tokens[start:end]))
            start = end
    return prompt


@each_case
@pytest.mark.parametrize("cut", [False, True], ids=["one step", "several steps"])
def test_logits_are_those_of_transformers(case, cut):
    """Also if the prompt is computed in chunks, which end inside pictures that are causal."""
    golden = case.golden
    prompt = parts_of(case, case.encoder(activations="f32").parts(PICTURES))
    whole = max((len(p.rows) for p in prompt if isinstance(p, Embeddings) and p.mask == "bidirectional"), default=16)
    with LLM(case.model, **EXACT, n_batch=whole if cut else 512) as llm:
        want = golden["logits"]
        np.testing.assert_allclose(llm.logits(prompt)[-len(want) :], want, atol=1e-4)


def test_pictures_of_chameleon_are_the_tokens_of_transformers():
    golden, encoder = TOKENS.golden, TOKENS.encoder(n_deepstack=0)
    both = [list(part.ids) for parts in encoder.parts(PICTURES) for part in parts if isinstance(part, Tokens)]
    assert both == [golden["codes_0"].tolist(), golden["codes_1"].tolist()]
    tokens = golden["tokens"].copy()
    tokens[tokens == IMAGE] = np.concatenate(both)
    with LLM(TOKENS.model, **EXACT) as llm:
        want = golden["logits"]
        found = llm.logits([Tokens(tokens.tolist())])[-len(want) :]
        seen = want > -1e30  # transformers hides the tokens of pictures
        np.testing.assert_allclose(found[seen], want[seen], atol=1e-4)
        assert (~seen).sum() == 16 * len(want)


def test_pixels_of_chameleon_are_those_of_the_processor():
    encoder = TOKENS.encoder(n_deepstack=0)
    projector, hp = encoder.file.projector, encoder.file.hp
    found = [projector.square(picture, hp).transpose(2, 0, 1).reshape(-1) for picture in PICTURES]
    np.testing.assert_allclose(np.concatenate(found)[::STRIDE], TOKENS.golden["pixels"], atol=1e-5)
