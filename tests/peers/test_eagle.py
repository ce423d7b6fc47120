"""EAGLE-3 compared with the library speculators: new random drafts, converted from the checkpoints that it saves."""

import numpy as np
import pytest

from realizar.testing import relative_error
from tests.eagle import drafted_by_engine

pytest.importorskip("speculators", reason="speculators is not installed: pip install '.[peers]'")

from tests.tools.make_eagle_cases import CASES, TARGET, make


@pytest.mark.parametrize("name", CASES)
def test_new_weights(name, tmp_path, monkeypatch):
    folder = make(name, 1, tmp_path, check=False)
    golden = np.load(folder / "golden.npz")
    tokens = golden["tokens"].tolist()
    found, drafted = drafted_by_engine(TARGET, folder / "draft-q8_0.gguf", tokens, monkeypatch)
    assert relative_error(found, golden["logits"]) <= 1e-4
    assert drafted == golden["drafted"].tolist()[:3]
