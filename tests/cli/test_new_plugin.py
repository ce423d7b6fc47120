"""The distribution written by `plugins new` can be installed and passes its test."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["my-model", pytest.param("zebra2", marks=pytest.mark.slow)])
def test_it_installs_and_passes(name, tmp_path, realizar):
    status, out, err = realizar("plugins", "new", name, "--in", str(tmp_path))
    assert (status, err) == (0, "")
    root, site = tmp_path / f"realizar-{name}", tmp_path / "site"
    assert f"pip install -e '{root}[test]'" in out
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*install, str(site), str(root)], check=True)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests"], cwd=root, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    code = "import sys; from realizar.cli import main; sys.exit(main(['plugins']))"
    listed = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert f"architecture {name}  from {name}" in listed.stdout


def test_invalid_names_and_existing_folder(tmp_path, realizar):
    assert realizar("plugins", "new", "zebra", "--in", str(tmp_path))[0] == 0
    for name, expected, says in (
        ("zebra", 1, "already exists"), ("My Model", 2, "lower-case"), ("../x", 2, "lower-case")
    ):  # fmt: skip
        status, _, err = realizar("plugins", "new", name, "--in", str(tmp_path))
        assert status == expected
        assert says in err
