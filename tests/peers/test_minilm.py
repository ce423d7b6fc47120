"""all-MiniLM-L6-v2 as converted by tests/tools/minilm.py reproduces the vectors of sentence-transformers."""

import json

import numpy as np
import pytest

from realizar import LLM
from tests.tools.minilm import MODEL, REFERENCE

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not MODEL.is_file(), reason=f"{MODEL} is not there; python -m tests.tools.minilm makes it"),
]


@pytest.mark.parametrize("activations", ["int8", "f32"])
def test_ten_sentences(activations):
    rows = json.loads(REFERENCE.read_text("utf-8"))
    assert len(rows) == 10
    with LLM(MODEL, activations=activations) as llm:
        vectors = llm.embed([row["text"] for row in rows])
    for row, vector in zip(rows, vectors, strict=True):
        want = np.array(row["vector"])
        assert vector @ want >= 0.9999 * np.linalg.norm(want), row["text"]
        assert vector @ want == pytest.approx(1.0, abs=1e-5)
