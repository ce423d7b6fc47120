"""The code of docs/adapters.md runs."""

import shutil

import pytest

from realizar.model import load
from tests.adapters import write_random_lora, write_random_vector
from tests.limits.models import LLAMA
from tests.meta.house import ROOT
from tests.meta.test_documents import python_blocks


@pytest.mark.parametrize("code", python_blocks(ROOT / "docs/adapters.md"), ids=["lora", "control_vector"])
def test_the_code_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(LLAMA, "base.gguf")
    model = load(LLAMA)
    for seed, name in enumerate(("sql", "chat")):
        write_random_lora(tmp_path / f"{name}.gguf", model, seed=seed)
    write_random_vector(tmp_path / "happy.gguf", model, [0, 1])
    model.close()
    exec(code, {})
