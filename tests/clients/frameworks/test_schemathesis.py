"""schemathesis: requests made of /openapi.json never fail the server, and its answers follow the schema."""

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.clients.served import MODEL

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_answers_follow_the_schema(served):
    headers = {"Authorization": f"Bearer {served.key}"}
    described = schemathesis.openapi.from_url(f"{served.url}/openapi.json", headers=headers)
    operations = [result.ok() for result in described.get_all_operations()]
    assert len(operations) >= 30
    for operation in operations:
        check(operation, headers)


def check(operation, headers):
    """Send requests for one operation; raises what schemathesis finds."""

    @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy())
    def answered(case):
        if isinstance(case.body, dict):
            if isinstance(case.body.get("model"), str):  # made-up names would all be answered by 404
                case.body["model"] = MODEL
            case.body |= {name: 4 for name in ("max_tokens", "n_predict") if isinstance(case.body.get(name), int)}
        case.call_and_validate(headers=headers, checks=CHECKS)

    answered()
