"""compare(): against the definition of the Kullback-Leibler divergence, and of a model with itself."""

import numpy as np
import pytest

from realizar import LLM
from realizar.errors import ParameterError
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from realizar.quality import compare, perplexity, sample_text
from realizar.quality.chunks import cut
from realizar.quality.divergence import PERCENTILES
from realizar.quants import dequantize, quantize
from tests.limits.models import LLAMA, QWEN2

N_CTX, N_CHUNKS = 40, 2
SIZES = {"n_ctx": N_CTX, "n_chunks": N_CHUNKS}


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    """A copy of the model with coarser weights in two tensors."""
    path = tmp_path_factory.mktemp("coarse") / "coarse.gguf"
    with GGUFFile(LLAMA) as file:
        writer = GGUFWriter(path)
        for key, value in file.metadata.items():
            field = file.metadata.field(key)
            writer.add(key, value, field.element or field.type)
        for name, info in file.tensors.items():
            data = file.data(name)
            if name.endswith("ffn_down.weight"):
                data = quantize(dequantize(data, info.type.name), "Q4_0")
                writer.add_tensor(name, data, info.shape, GGMLType.Q4_0)
            else:
                writer.add_tensor(name, data, info.shape, info.type)
        writer.write()
    return path


def logprobs(path):
    with LLM(path, n_ctx=N_CTX) as llm:
        chunks = cut(llm.tokenizer, sample_text(), N_CTX, N_CHUNKS)
        logits = np.stack([llm.logits(tokens.tolist()) for tokens in chunks]).astype(np.float64)
    wide = logits[:, N_CTX // 2 : -1]
    return chunks[:, N_CTX // 2 + 1 :], wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


def test_against_the_definition(coarse):
    found = compare(LLAMA, coarse, sample_text(), **SIZES, n_worst=4)
    (targets, p), (_, q) = logprobs(LLAMA), logprobs(coarse)
    want = (np.exp(p) * (p - q)).sum(axis=-1).ravel()
    np.testing.assert_allclose(found.divergences, want, atol=1e-6)
    assert found.divergence.value == pytest.approx(want.mean(), rel=1e-5)
    assert found.same_top.value == (p.argmax(-1) == q.argmax(-1)).mean()
    of_p, of_q = (np.take_along_axis(x, targets[..., None], -1).ravel() for x in (p, q))
    change = np.exp(of_q) - np.exp(of_p)
    assert found.rms_change.value == pytest.approx(np.sqrt((change**2).mean()), rel=1e-4)
    assert found.mean_change.value == pytest.approx(change.mean(), rel=1e-3)
    assert found.log_ratio.value == pytest.approx((of_p - of_q).mean(), rel=1e-4)
    assert found.log_ratio.error == pytest.approx((of_p - of_q).std() / np.sqrt(want.size - 1), rel=1e-3)
    assert list(found.percentiles()) == list(PERCENTILES)
    assert found.percentiles()[50.0] == pytest.approx(np.median(want), rel=1e-4)

    worst = np.argsort(-want)[:4]
    per_chunk = targets.shape[1]
    places = [(place.chunk, place.index - N_CTX // 2 - 1) for place in found.worst]
    assert places == [divmod(int(i), per_chunk) for i in worst]
    for place, i in zip(found.worst, worst, strict=True):
        assert place.divergence == pytest.approx(want[i], rel=1e-4)
        assert place.probabilities == (
            pytest.approx(np.exp(of_p[i]), rel=1e-4),
            pytest.approx(np.exp(of_q[i]), rel=1e-4),
        )
        chances = [chance for _, chance in place.reference_top]
        np.testing.assert_allclose(chances, np.sort(np.exp(p).reshape(-1, p.shape[-1])[i])[::-1][:3], rtol=1e-4)


def test_perplexities_are_those_of_each_model(coarse):
    found = compare(LLAMA, coarse, sample_text(), **SIZES)
    for path, other in ((LLAMA, found.reference_perplexity), (coarse, found.model_perplexity)):
        alone = perplexity(path, sample_text(), **SIZES).perplexity
        assert other == (pytest.approx(alone.value), pytest.approx(alone.error))


def test_a_model_and_itself():
    found = compare(LLAMA, LLAMA, sample_text(), **SIZES, n_worst=0)
    assert found.divergence == (0.0, 0.0)
    assert found.same_top == (1.0, 0.0)
    assert found.rms_change == found.log_ratio == (0.0, 0.0)
    assert found.worst == []
    assert found.summary()["largest"] == 0.0


def test_wrong_numbers():
    with pytest.raises(ParameterError, match="n_worst=-1: must be an integer >= 0"):
        compare(LLAMA, LLAMA, sample_text(), n_worst=-1)


def test_other_vocabularies_are_refused():
    with pytest.raises(ParameterError, match=r"have different vocabularies \(512 and 384 tokens\)"):
        compare(LLAMA, QWEN2, sample_text(), **SIZES)
