"""LLM.infill (fill-in-the-middle) on Qwen2.5-Coder, if it is in the cache, in both orders."""

import pytest

from realizar import LLM, SamplingParams
from realizar.errors import ParameterError
from tests.tokenizer.vocabularies import real

PATH = real("qwen2.5-coder-0.5b")
pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not PATH.is_file(), reason=f"Qwen2.5-Coder is not in the cache ({PATH})"),
]
PREFIX = "def area(width, height):\n    return "
SUFFIX = " * height\n\nprint(area(2, 3))\n"
GREEDY = SamplingParams(temperature=0.0, max_tokens=12)
SHORT = SamplingParams(
    temperature=0.0, max_tokens=12, top_k=40, top_p=0.99, samplers=("top_k", "top_p", "infill", "temperature")
)


@pytest.fixture(scope="module")
def llm():
    with LLM(PATH, n_ctx=512) as llm:
        yield llm


def test_infill(llm):
    for order in (None, "psm"):
        assert llm.infill(PREFIX, SUFFIX, GREEDY, order=order).text.startswith("width")
    # In the other order, which the model was not trained with, it continues after the suffix.
    assert "width * height" not in llm.infill(PREFIX, SUFFIX, GREEDY, order="spm").text[:12]


def test_infill_sampler_ends_the_text(llm):
    completion = llm.infill(PREFIX, SUFFIX, SHORT)
    assert (completion.text, completion.finish_reason) == ("width", "eos")


def test_streaming_gives_the_same_text(llm):
    assert "".join(llm.infill(PREFIX, SUFFIX, GREEDY, stream=True)) == llm.infill(PREFIX, SUFFIX, GREEDY).text


def test_invalid_order(llm):
    with pytest.raises(ParameterError, match="must be 'psm', 'spm' or None"):
        llm.infill("a", "b", order="pms")
