"""The JSON Schema Test Suite: no schema is enforced only partly; the results match docs/constraints.md."""

import subprocess
from pathlib import Path

import pytest

from tests.sampling.grammar.suite import fetch, table, verdicts

pytest.importorskip("jsonschema", reason="jsonschema is not installed (extra: test)")
DOCUMENT = Path(__file__).parents[3] / "docs" / "constraints.md"


@pytest.mark.slow
def test_each_schema_is_enforced_or_rejected_as_documented(tmp_path):
    try:
        draft = fetch(tmp_path)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the suite, a part of jsonschema's source distribution, cannot be fetched: {error}")
    counts, wrong = verdicts(draft)
    assert wrong == []
    assert "\n".join(table(counts)) in DOCUMENT.read_text(encoding="utf-8")
