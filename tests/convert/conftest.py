"""The fixture that runs a command, as the command line's own tests have it."""

from tests.cli.conftest import realizar  # noqa: F401
