"""Writes requirements-dev.lock, the tools of extra `dev` with the hashes of their files, and docs/sbom.json.

    pip install uv cyclonedx-bom && python tools/lock.py

uv resolves for every system and every Python from 3.10 on, with one version for all where there is one. pip refuses a
file whose hash is not listed. Dependencies of realizar itself are not locked: it is tested with the versions that
`pip install` gives a user. The SBOM (CycloneDX 1.6) has the locked tools, and those dependencies without versions.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK, SBOM = ROOT / "requirements-dev.lock", ROOT / "docs/sbom.json"
HEAD = "# Exact versions of the development tools, with hashes; written by tools/lock.py, do not edit.\n"
OLDEST = "3.10"


def tools() -> list[str]:
    """Return the requirements of extra `dev`, without realizar itself."""
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dev = \[(.*?)\]$", text, re.DOTALL | re.MULTILINE)
    if listed is None:
        raise SystemExit("pyproject.toml has no extra called dev")
    return [name for name in re.findall(r'"([^"]+)"', listed[1]) if not name.startswith("realizar")]


def dependencies() -> list[str]:
    """Return what realizar requires, from setup.py."""
    found: list[str] = []
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").startswith("DEPENDENCIES"):
            found += ast.literal_eval(node.value)
    return found


def resolve(requirements: list[str]) -> str:
    """Return the text of a lock: each package with its version, its markers and its hashes."""
    with tempfile.TemporaryDirectory() as folder:
        asked, lock = Path(folder) / "dev.in", Path(folder) / "dev.lock"
        asked.write_text("\n".join(requirements))
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--fork-strategy=fewest"]
        command += [
            f"--python-version={OLDEST}",
            "--generate-hashes",
            "--no-annotate",
            "--no-header",
            f"--output-file={lock}",
            str(asked),
        ]
        subprocess.run(command, check=True)
        return lock.read_text()


def bill(lock: str) -> str:
    """Return the SBOM of a lock and of realizar's dependencies, as JSON; the hashes of files are in the lock."""
    command = ["cyclonedx-py", "requirements", "--output-reproducible", "--spec-version=1.6", "--of=JSON"]
    command += [f"--pyproject={ROOT / 'pyproject.toml'}", "-"]
    listed = "\n".join([*dependencies(), lock])
    made = json.loads(subprocess.run(command, input=listed, capture_output=True, text=True, check=True).stdout)
    del made["metadata"]["tools"]  # with addresses of their pages
    for component in made["components"]:
        component.pop("externalReferences", None)  # guesses of a registry's addresses
        component.pop("description", None)  # the line of the lock
    return json.dumps(made, indent=1) + "\n"


if __name__ == "__main__":
    text = resolve(tools())
    LOCK.write_text(HEAD + text)
    SBOM.write_text(bill(text))
