"""The development tools are locked with hashes, and the SBOM lists them and what realizar requires."""

import importlib.util
import json
import re

import pytest

from tests.meta.house import ROOT

LOCK = (ROOT / "requirements-dev.lock").read_text()
PINS = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, re.MULTILINE))


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("lock", ROOT / "tools/lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_line_of_the_lock_has_a_version_and_hashes():
    entries = re.split(r"\n(?=\S)", LOCK)[1:]
    assert len(entries) == len(PINS) > 30
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+", entry)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_lock_has_every_tool_of_the_extra(tool):
    assert {re.match(r"[\w-]+", name)[0].lower() for name in tool.tools()} <= set(PINS)


def test_the_sbom_lists_the_lock_and_the_dependencies(tool):
    bill = json.loads((ROOT / "docs/sbom.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "realizar"
    listed = {(part["name"].lower(), part.get("version")) for part in bill["components"]}
    assert listed == {*PINS.items(), *((re.match(r"[\w-]+", one)[0], None) for one in tool.dependencies())}
    assert all(part["purl"].startswith("pkg:pypi/") for part in bill["components"])
    assert "http" not in json.dumps([bill["metadata"], bill["components"]])
