"""The C loops of sampling under the address and undefined-behaviour sanitizers; see tests/native/logits_harness.c."""

from pathlib import Path

from tests.native import build, run


def test_logits_harness(tmp_path: Path) -> None:
    run(build(tmp_path, "logits_harness", [], "address,undefined"))
