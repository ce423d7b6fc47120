"""What holds for all tests: they run in an empty folder, and no clock decides a result."""

import math
import os

import pytest
from hypothesis import HealthCheck, settings

from realizar.sampling.grammar import worker
from realizar.tokenizer import bounds
from tests.clocks import Clock, ProcessorClocks

settings.register_profile("realizar", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("realizar")


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory):
    """A Python that a test starts must find the installed package, not these sources."""
    before, path = os.getcwd(), os.environ.get("PYTHONPATH")
    if path is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session", autouse=True)
def no_time_limits():
    """What the library stops after some seconds may take any time here; tests of those limits move a clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "PATIENCE", math.inf)
        patch.setattr(worker, "_processor_clock", ProcessorClocks())
        patch.setattr(bounds, "time", Clock())
        yield
