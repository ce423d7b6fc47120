"""docs/limits.md lists the limits that the code has."""

import importlib
import re

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


def wrong_value(name, key, value, error, path):
    found = getattr(importlib.import_module(path.replace("/", ".")), name)
    found = found[key] if key else found
    want = tuple(float(number) for number in value.split(", "))
    same = want == tuple(map(float, found if isinstance(found, tuple) else (found,)))
    typed = issubclass(getattr(errors, error), errors.RealizarError)
    return [] if same and typed else [f"{path}.py: {name} {key} is {found}, error {error}"]


def test_every_limit_has_the_value_in_the_code():
    assert [line for row in ROWS for line in wrong_value(*row)] == []


def test_every_list_of_strings_is_listed():
    from realizar.params.sampling import STRINGS

    assert {key for _, key, *_ in ROWS if key} == set(STRINGS)
