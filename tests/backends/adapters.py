"""Whether a test of the wgpu backend can run: it needs the package wgpu and an adapter, which may be in software."""

from functools import cache

import pytest

from realizar.backends.wgpu.device import open_device
from realizar.errors import RealizarError


@cache
def missing():
    """Return what is missing, or None."""
    try:
        open_device()
    except RealizarError as error:
        return str(error)
    return None


def need_adapter():
    """Skip the test, with the reason, if something is missing."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
