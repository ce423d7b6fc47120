"""Some hundred requests of good and bad clients, and a server that is killed, leave nothing behind."""

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from tests.tools.soak_server import main


@pytest.mark.slow
def test_soak():
    assert main(["--requests", "400"]) == 0
