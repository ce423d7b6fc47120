"""The committed build of the page is what its locked sources give; types, format and the lock are right."""

import json
import subprocess

from tests.web.conftest import SOURCES


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_build_is_that_of_the_sources(node_sources, tmp_path):
    subprocess.run(["npm", "run", "build", "--", str(tmp_path / "dist")], cwd=node_sources, check=True)
    made, committed = files(node_sources / "dist"), files(SOURCES / "dist")
    assert sorted(made) == sorted(committed)
    assert [name for name in made if made[name] != committed[name]] == []


def test_types_and_format(node_sources):
    done = subprocess.run(["npm", "run", "check"], cwd=node_sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_has_checksums_and_no_addresses():
    packages = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    assert len(packages) > 10
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert name == "" or package["integrity"].startswith("sha512-"), name


def test_versions_are_exact():
    package = json.loads((SOURCES / "package.json").read_text())
    for version in {**package["dependencies"], **package["devDependencies"]}.values():
        assert version[0].isdigit(), version
