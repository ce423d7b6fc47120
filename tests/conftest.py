"""Tests run in an empty folder: a Python that they start must find the installed package, not these sources."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory):
    before, path = os.getcwd(), os.environ.get("PYTHONPATH")
    if path is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)
