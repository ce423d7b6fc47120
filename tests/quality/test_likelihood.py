"""Perplexity: compared with the definition, computed from all logits; chunks, BOS, errors."""

import numpy as np
import pytest

from realizar import LLM
from realizar.errors import ParameterError, RealizarError
from realizar.quality import Reader, perplexity, sample_text
from realizar.quality.chunks import cut
from realizar.quality.statistics import Estimate, Mean, log_softmax, target_logprobs
from tests.limits.models import LLAMA, QWEN2, rewritten
from tests.parity.cases import OWN_SET

N_CTX, N_CHUNKS = 48, 3


def chunks_of(path, n_ctx=N_CTX):
    with Reader(path, n_ctx) as reader:
        return cut(reader.model.tokenizer, sample_text(), n_ctx, N_CHUNKS)


def defined(path, chunks):
    """The log-probability of each scored token, from the logits of whole chunks."""
    with LLM(path, n_ctx=chunks.shape[1]) as llm:
        logits = [llm.logits(tokens.tolist()).astype(np.float64) for tokens in chunks]
    first = chunks.shape[1] // 2
    rows = [wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)) for wide in logits]
    return np.array([[r[i, t[i + 1]] for i in range(first, len(t) - 1)] for r, t in zip(rows, chunks, strict=True)])


@pytest.mark.parametrize("path", [LLAMA, QWEN2], ids=["llama", "qwen2"])
@pytest.mark.parametrize("n_ctx", [N_CTX, 47])
def test_against_the_definition(path, n_ctx):
    want, seen = defined(path, chunks_of(path, n_ctx)), []
    found = perplexity(path, sample_text(), n_ctx=n_ctx, n_chunks=N_CHUNKS, progress=lambda *at: seen.append(at))
    np.testing.assert_allclose(found.logprobs, want, atol=1e-5)
    assert found.nll.value == pytest.approx(-want.mean())
    assert found.nll.error == pytest.approx(want.std() / np.sqrt(want.size - 1))
    assert found.perplexity.value == pytest.approx(np.exp(-want.mean()))
    assert found.n_scored == want.size == N_CHUNKS * (n_ctx - n_ctx // 2 - 1)
    assert [at[:2] for at in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[-1][2] == found.perplexity
    assert found.summary()["perplexity"] == {"value": found.perplexity.value, "error": found.perplexity.error}


def test_bos_replaces_the_first_token_of_each_chunk():
    with Reader(LLAMA, N_CTX) as reader:
        tokenizer = reader.model.tokenizer
        whole = tokenizer.encode(sample_text())
        found = cut(tokenizer, sample_text(), N_CTX)
    assert whole[0] == tokenizer.bos_id
    assert (found[:, 0] == tokenizer.bos_id).all()
    assert found[1, 1:].tolist() == whole[N_CTX + 1 : 2 * N_CTX]
    assert found.size == len(whole) // N_CTX * N_CTX


def test_no_bos_without_the_model_wanting_it():
    with Reader(QWEN2, N_CTX) as reader:
        whole = reader.model.tokenizer.encode(sample_text())
        found = cut(reader.model.tokenizer, sample_text(), N_CTX)
    assert found.ravel().tolist() == whole[: found.size]


def test_rows_come_in_blocks_and_do_not_depend_on_their_size():
    tokens = chunks_of(LLAMA)[0]
    with Reader(LLAMA, N_CTX) as reader:
        whole = [rows.copy() for rows in reader.logits(tokens, 0, N_CTX)]
        small = [rows.copy() for rows in reader.logits(tokens, 20, 7)]
    assert [len(rows) for rows in whole] == [N_CTX]
    assert [len(rows) for rows in small] == [7, 7, 7, 7]
    np.testing.assert_array_equal(np.concatenate(small), whole[0][20:])


def test_a_text_that_is_abandoned_frees_its_blocks():
    tokens = chunks_of(LLAMA)[0]
    with Reader(LLAMA, N_CTX) as reader:
        for _ in range(5):
            rows = reader.logits(tokens, 0, 7)
            next(rows)
            rows.close()
        assert sum(len(rows) for rows in reader.logits(tokens, 0, 7)) == N_CTX


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_ctx": 3}, r"n_ctx=3: must be an integer >= 4"),
        ({"n_ctx": "512"}, "n_ctx='512': must be an integer >= 4"),
        ({"n_chunks": 0}, "n_chunks=0: must be an integer >= 1 or None"),
        ({"text": "too short", "n_ctx": 100}, "the text has .* tokens, but a chunk needs 100; give a longer text"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ParameterError, match=message):
        perplexity(LLAMA, **{"text": sample_text(), **arguments})


def test_encoders_are_refused():
    with pytest.raises(ParameterError, match="t5encoder is or has an encoder; only decoders predict"):
        perplexity(OWN_SET / "t5encoder/model-q8_0.gguf", sample_text())


def test_logits_that_are_not_finite(tmp_path):
    def broken(name, data, shape, type):
        return name, np.full_like(data, 0xFF) if name == "output_norm.weight" else data, shape, type

    path = rewritten(LLAMA, tmp_path / "nan.gguf", tensors=broken)
    with pytest.raises(RealizarError, match=r"nan\.gguf: a logit is infinite or NaN; the file may be damaged"):
        perplexity(path, sample_text(), n_ctx=N_CTX, n_chunks=1)


def test_means_and_errors():
    values, mean = np.random.default_rng(0).standard_normal(100), Mean()
    mean.add(values[:30])
    mean.add(values[30:])
    found = mean.estimate()
    assert found == (pytest.approx(values.mean()), pytest.approx(values.std() / np.sqrt(99)))
    assert found.exp() == (pytest.approx(np.exp(found.value)), pytest.approx(np.exp(found.value) * found.error))
    assert Estimate(4.0, 1.0).sqrt() == (2.0, 0.25)
    assert str(Estimate(1.5, 0.25)) == "1.5000 ± 0.2500"


def test_logprobs_of_extreme_logits():
    rows = np.array([[1000.0, 0.0, -np.inf], [-1000.0, -1000.0, -1000.0]], np.float32)
    np.testing.assert_allclose(target_logprobs(rows, np.array([0, 2], np.int32)), [0.0, -np.log(3)])
    np.testing.assert_allclose(log_softmax(rows[0]), [0.0, -1000.0, -np.inf])


def test_an_infinite_perplexity():
    """Damaged weights may give a mean of more nats than a float64 can be the exponential of."""
    assert Estimate(1000.0, 1.0).exp().value == np.inf
    assert np.isfinite(Estimate(700.0, 1.0).exp().value)
