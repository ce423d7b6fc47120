"""Set-up of all tests: the package under test, an empty working directory, no time limits."""

import gc
import importlib.util
import math
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# Before numpy is imported: with small matrices, spinning BLAS threads take ten times the CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

N_EXAMPLES = 200 if os.environ.get("REALIZAR_TEST_ISA") == "all" else 25  # unless a test says how many
settings.register_profile(
    "realizar", settings(), max_examples=N_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("realizar")


def use_the_installed_package():
    """Remove the checkout, which `python -m pytest` adds, from the path unless its kernels are built."""
    kernels = ROOT / "realizar/_kernels"
    if any((kernels / f"plan{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
        return
    sys.path[:] = [path for path in sys.path if Path(path or os.curdir).resolve() != ROOT]
    if "PYTHONPATH" in os.environ:
        paths = os.environ["PYTHONPATH"].split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(p for p in paths if Path(p or os.curdir).resolve() != ROOT)


use_the_installed_package()


def pytest_configure():
    """Fail with one message instead of an error per test file."""
    if importlib.util.find_spec("realizar") is None:
        raise pytest.UsageError("realizar is not installed, nor are its kernels built here: run pip install '.[test]'")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector from traversing the half million objects of all tests again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)  # pytest also runs without xdist
def pytest_xdist_auto_num_workers():
    """Limit the processes of `-n auto`, which share memory and memory bandwidth."""
    return min(4, os.cpu_count() or 1)


@pytest.fixture(scope="session", autouse=True)
def empty_working_directory(tmp_path_factory):
    """A Python started by a test must import the installed package, not the sources in the checkout."""
    before, path = os.getcwd(), os.environ.get("PYTHONPATH")
    if path is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """Where Python writes no bytecode, let the Pythons that tests start share some instead of compiling all again."""
    import realizar

    with pytest.MonkeyPatch.context() as patch:
        if sys.dont_write_bytecode and not Path(importlib.util.cache_from_source(realizar.__file__)).exists():
            base = tmp_path_factory.getbasetemp()
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            patch.setenv(
                "PYTHONPYCACHEPREFIX", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pyc")
            )
        yield


@pytest.fixture(scope="session", autouse=True)
def no_time_limits():
    """Disable the time limits of the library; tests of these limits use fake clocks."""
    from realizar.sampling.grammar import worker
    from realizar.tokenizer import template_limits
    from tests.clocks import Clock, CpuClocks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "WALL_LIMIT_FACTOR", math.inf)
        patch.setattr(worker, "_cpu_clock", CpuClocks())
        patch.setattr(template_limits, "time", Clock())
        yield
