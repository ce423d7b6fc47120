"""One server for the tests that do not change it."""

import pytest


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    from tests.server.serving import write_model

    return write_model(tmp_path_factory.mktemp("served") / "tiny.gguf")


@pytest.fixture(scope="session")
def server(model_path):
    from tests.server.serving import serving

    with serving(model_path, alias="gpt-4o") as found:
        yield found


@pytest.fixture
def client(server):
    """OpenAI's own client."""
    import openai

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found
