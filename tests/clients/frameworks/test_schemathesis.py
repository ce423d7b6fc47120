"""schemathesis: requests made of /openapi.json never fail the server, and its answers follow the schema."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.clients.served import MODEL

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="session")
def described(served):
    return schemathesis.openapi.from_url(
        f"{served.url}/openapi.json", headers={"Authorization": f"Bearer {served.key}"}
    )


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_answers_follow_the_schema(case, served):
    if isinstance(case.body, dict):
        if isinstance(case.body.get("model"), str):  # made-up names would all be answered by 404
            case.body["model"] = MODEL
        case.body |= {name: 4 for name in ("max_tokens", "n_predict") if isinstance(case.body.get(name), int)}
    case.call_and_validate(headers={"Authorization": f"Bearer {served.key}"}, checks=CHECKS)
