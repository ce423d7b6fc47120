"""The server of the clients; most clients need environments of their own, which `.ci/full clients` makes."""

import importlib.util
import os

import pytest

ENVIRONMENTS = {"frameworks": "litellm", "openai2": "llama_index", "aider": "aider"}
"""Folder of tests -> the package that shows that its environment is the present one."""
collect_ignore = [folder for folder, package in ENVIRONMENTS.items() if importlib.util.find_spec(package) is None]

# Clients that would otherwise report to their makers, or download prices or tokenizers.
QUIET = {
    "AGNO_TELEMETRY": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
}
if len(collect_ignore) < len(ENVIRONMENTS):  # not in the default suite, whose other tests would see them
    os.environ.update(QUIET)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A server with the scripted model, and a key."""
    from tests.clients.served import KEY, N_CTX, served, write_model

    folder = tmp_path_factory.mktemp("served")
    model = write_model(folder / "scripted.gguf")
    with served(model, folder / "log", "--api-key", KEY, "--n-ctx", str(N_CTX)) as found:
        yield found
