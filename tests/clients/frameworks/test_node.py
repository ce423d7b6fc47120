"""The clients for Node: the tests of tests/clients/node, in a copy of that folder that has their packages."""

import os
import subprocess

import pytest

FOLDER = os.environ.get("REALIZAR_TEST_NODE")


@pytest.mark.skipif(FOLDER is None, reason="REALIZAR_TEST_NODE: not set to a copy of tests/clients/node with packages")
@pytest.mark.parametrize("file", ["ai", "sdks", "agents"])
def test_node(served, file):
    environment = {**os.environ, "REALIZAR_URL": served.url, "REALIZAR_KEY": served.key, "AI_SDK_LOG_WARNINGS": "false"}
    done = subprocess.run(
        ["node", "--test", f"{file}.test.mjs"], cwd=FOLDER, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
