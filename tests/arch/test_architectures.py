"""Every shipped architecture passes the conformance kit, and a third party's does from a package of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realizar.arch import registry
from realizar.testing import check_architecture

TOY = Path(__file__).parents[1] / "thirdparty" / "realizar_toy"


@pytest.mark.parametrize("name", ["llama", "phi2", "qwen2"])
def test_shipped(name):
    check_architecture(registry.default().architecture(name))


def test_rope_scaling_variants():
    llama = registry.default().architecture("llama")
    for scaling in ("linear", "yarn"):
        keys = {"rope.scaling.type": scaling, "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64}
        check_architecture(llama, {f"llama.{key}": value for key, value in keys.items()}, types=("Q8_0",))


def test_third_party(tmp_path):
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*install, str(tmp_path), str(TOY)], check=True)
    code = (
        "from realizar.arch import registry\n"
        "from realizar.testing import check_architecture\n"
        "r = registry.default()\n"
        "assert r.origins['architecture toy'] == 'toy', r.origins\n"
        "check_architecture(r.architecture('toy'))\n"
        "print('passed')\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "passed", run.stderr
