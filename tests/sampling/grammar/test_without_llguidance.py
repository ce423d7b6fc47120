"""Without llguidance (wheels for musl): models run, and a request with a grammar fails with the name of the package."""

import sys

import pytest

from realizar import LLM, SamplingParams
from realizar.errors import MissingExtraError
from tests.limits.models import LLAMA

ASKED = {"json_schema": {"type": "object"}, "regex": "a+", "choice": ("a", "b"), "grammar": 'root ::= "a"'}


@pytest.fixture
def llm(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with LLM(LLAMA, n_ctx=64) as llm:
        yield llm


@pytest.mark.parametrize("name", ASKED)
def test_structured_output_names_the_package(llm, name):
    with pytest.raises(MissingExtraError, match=rf"^{name}: structured output needs llguidance.*pip install"):
        llm.generate("x", SamplingParams(max_tokens=4, **{name: ASKED[name]}))


def test_other_requests_run(llm):
    (answer,) = llm.generate("x", SamplingParams(max_tokens=4, ignore_eos=True))
    assert len(answer.token_ids) == 4
