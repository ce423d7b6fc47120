"""docs/limits.md says what the code's limits are."""

import importlib
import re

import pytest

from realizar import errors
from tests.meta.house import ROOT

ROWS = re.findall(
    r"^\| `(\w+)(?:\[\"(\w+)\"\])?` \| ([\d., ]+) \| .* \| (\w+)[^|]* \| `(realizar/[\w/]+)\.py` \|$",
    (ROOT / "docs" / "limits.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_every_row_is_read():
    text = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    assert len(ROWS) == text.count("| `realizar/") > 20


@pytest.mark.parametrize(("name", "key", "value", "error", "path"), ROWS, ids=[" ".join((r[4], *r[:2])) for r in ROWS])
def test_a_limit_is_that_of_the_code(name, key, value, error, path):
    found = getattr(importlib.import_module(path.replace("/", ".")), name)
    found = found[key] if key else found
    numbers = tuple(float(number) for number in value.split(", "))
    assert numbers == tuple(map(float, found if isinstance(found, tuple) else (found,)))
    assert issubclass(getattr(errors, error), errors.RealizarError)


def test_every_list_of_strings_is_there():
    from realizar.params.sampling import STRINGS

    assert {key for _, key, *_ in ROWS if key} == set(STRINGS)
