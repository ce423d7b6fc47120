"""The fixture that runs CLI commands, from the CLI tests."""

from tests.cli.conftest import realizar  # noqa: F401
