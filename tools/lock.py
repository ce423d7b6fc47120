"""Writes requirements-dev.lock: exact versions of the tools in extra `dev`, resolved by pip for Python 3.10.

    python tools/lock.py

Versions for the oldest supported Python also work on newer ones. Dependencies of realizar itself are not locked: it is
tested with the versions that `pip install` gives a user.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Exact versions of the development tools; written by tools/lock.py, do not edit.\n"
OLDEST = "3.10"


def tools() -> list[str]:
    """Return the requirements of extra `dev`, without realizar itself."""
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dev = \[(.*?)\]$", text, re.DOTALL | re.MULTILINE)
    if listed is None:
        raise SystemExit("pyproject.toml has no extra called dev")
    return [name for name in re.findall(r'"([^"]+)"', listed[1]) if not name.startswith("realizar")]


def resolve(requirements: list[str]) -> dict[str, str]:
    """Return name -> version of all packages that pip would install."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", f"--python-version={OLDEST}", f"--target={folder}", f"--report={report}"]
        subprocess.run([*command, *requirements], check=True)
        installs = json.loads(report.read_text())["install"]
    return {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in installs}


if __name__ == "__main__":
    lines = [f"{name}=={version}\n" for name, version in sorted(resolve(tools()).items())]
    (ROOT / "requirements-dev.lock").write_text(HEAD + "".join(lines))
