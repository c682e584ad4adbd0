"""The API as an OpenAPI 3.1 document, generated from the types that validate requests."""

from typing import Any

from pydantic import TypeAdapter

from bikeshare import __version__
from services.predictor.schema import ErrorResponse, ForecastRequest, PredictRequest, PredictResponse

_REFERENCE = "#/components/schemas/{model}"


def document() -> dict[str, Any]:
    """The contract of the API."""
    schemas, definitions = TypeAdapter.json_schemas(
        [
            ("PredictRequest", "validation", TypeAdapter(PredictRequest)),
            ("ForecastRequest", "validation", TypeAdapter(ForecastRequest)),
            ("PredictResponse", "serialization", TypeAdapter(PredictResponse)),
            ("ErrorResponse", "serialization", TypeAdapter(ErrorResponse)),
        ],
        ref_template=_REFERENCE,
    )
    known: dict[str, Any] = dict(definitions.get("$defs", {}))
    for (name, _), schema in schemas.items():
        known.setdefault(str(name), schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bikeshare predictor", "version": __version__,
            "description": "Hourly bike demand with calibrated intervals. Times are naive local hours.",
        },
        "paths": {
            "/predict": {"post": _operation(
                "predict", "Predict the given hours.", "PredictRequest", "PredictResponse",
                (400, 401, 408, 413, 415, 422, 500, 503),
            )},
            "/forecast": {"post": _operation(
                "forecast", "Predict the hours that follow `start` (default: the next full hour).",
                "ForecastRequest", "PredictResponse", (400, 401, 408, 413, 415, 422, 500, 503),
            )},
            "/model": {"get": {
                "operationId": "model", "summary": "Version, contract, backtest, card and state of the model.",
                "security": [{}, {"apiKey": []}],
                "responses": {"200": _content({"type": "object"}, "The model."), **_errors((401, 500, 503))},
            }},
        },
        "components": {
            "schemas": known,
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        },
    }


def _operation(name: str, summary: str, request: str, response: str, errors: tuple[int, ...]) -> dict[str, Any]:
    return {
        "operationId": name, "summary": summary, "security": [{}, {"apiKey": []}],
        "parameters": [
            {"name": "X-Request-ID", "in": "header", "required": False, "schema": {"type": "string"},
             "description": "1-64 of A-Z a-z 0-9 . _ : -; repeated in the answer. A repeated id is logged once."},
            {"name": "X-What-If", "in": "header", "required": False, "schema": {"type": "string"},
             "description": "`true`: a hypothetical question; the answer stays out of the prediction log."},
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _reference(request)}}},
        "responses": {"200": _content(_reference(response), "The predictions, in the order asked."), **_errors(errors)},
    }


def _errors(codes: tuple[int, ...]) -> dict[str, Any]:
    return {str(code): _content(_reference("ErrorResponse"), "What was wrong and what is allowed.") for code in codes}


def _content(schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _reference(model: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model)}
