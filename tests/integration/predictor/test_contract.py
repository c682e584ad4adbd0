"""schemathesis: generated requests against the running predictor must obey its own OpenAPI document."""

from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.integration.predictor.world import NOW, Started

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    negative_data_rejection, unsupported_method,
]
"""Not `positive_data_acceptance`: which hours may be asked depends on the clock, which a schema cannot say."""

REFUSALS = {"checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 405, 406, 413, 415, 422]}}}
"""Statuses that refuse a request: schemathesis leaves out 413, which says that a batch is too large."""

SETTINGS = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def operations(live: Started) -> dict[str, Any]:
    config = SchemathesisConfig.from_dict(REFUSALS)
    schema = schemathesis.openapi.from_url(f"{live.url}/openapi.json", config=config)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.path: operation for operation in found}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", ["/predict", "/forecast"])
def test_generated_requests_obey_the_contract(operations: dict[str, Any], path: str, mode: GenerationMode) -> None:
    @SETTINGS
    @given(case=operations[path].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    check()


def test_the_model_obeys_the_contract(operations: dict[str, Any]) -> None:
    operations["/model"].Case().call_and_validate(checks=CHECKS)


def test_valid_hours_are_always_answered(operations: dict[str, Any]) -> None:
    seen: list[int] = []

    @SETTINGS
    @given(case=operations["/predict"].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def check(case: Any) -> None:
        for place, row in enumerate(case.body["instances"]):
            row["timestamp"] = (NOW + timedelta(hours=place)).isoformat(timespec="minutes")
        answer = case.call()
        seen.append(answer.status_code)
        assert answer.status_code == 200, answer.text

    check()
    assert len(seen) >= 20
