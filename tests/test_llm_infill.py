"""LLM.infill on Qwen2.5-Coder, if it is in the cache: what fits between two texts, in both orders."""

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


def test_it_fills_in(llm):
    for order in (None, "psm"):
        assert llm.infill(PREFIX, SUFFIX, GREEDY, order=order).text.startswith("width")
    # The other way round, which it was not trained with, it goes on behind the suffix.
    assert "width * height" not in llm.infill(PREFIX, SUFFIX, GREEDY, order="spm").text[:12]


def test_the_sampler_ends_it(llm):
    completion = llm.infill(PREFIX, SUFFIX, SHORT)
    assert (completion.text, completion.finish_reason) == ("width", "eos")


def test_streamed_equals_whole(llm):
    assert "".join(llm.infill(PREFIX, SUFFIX, GREEDY, stream=True)) == llm.infill(PREFIX, SUFFIX, GREEDY).text


def test_an_order_that_there_is_not(llm):
    with pytest.raises(ParameterError, match="must be 'psm', 'spm' or None"):
        llm.infill("a", "b", order="pms")
