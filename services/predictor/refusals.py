"""What the API says about a request it cannot accept: code, field, reason, what is allowed."""

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from bikeshare.core.contract import NEVER_FEATURES, OBSERVATION, WEATHER_CLASSES

_CALENDAR = frozenset({"weekday", "workingday", "is_workingday", "hour", "hr", "month", "mnth", "season", "year", "yr"})


class InvalidRequest(Exception):
    """The client's mistake, with everything it needs to correct it."""

    def __init__(
        self, status: int, code: str, message: str, *, field: str | None = None, allowed: Any = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.allowed = allowed

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON document of the answer."""
        return {
            "error": {"code": self.code, "field": self.field, "message": self.message, "allowed": self.allowed},
            "request_id": request_id,
        }


def explain(error: ValidationError, request: type, row: type) -> InvalidRequest:
    """The first mistake of a request, as an answer; `request` and `row` name the fields that are allowed."""
    first = error.errors(include_url=False)[0]
    kind, location, value = first["type"], first["loc"], first.get("input")
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or None
    name = str(location[-1]) if location else ""
    if kind == "json_invalid":
        return InvalidRequest(400, "invalid_json", f"the body is not JSON: {first['ctx']['error']}")
    if kind == "extra_forbidden":
        return _unknown(name[:100], (field or "")[:200], list((row if len(location) > 1 else request).__annotations__))
    if kind == "missing":
        return InvalidRequest(422, "missing_field", f"{name} is required", field=field, allowed=_allowed(name))
    if kind in ("greater_than_equal", "less_than_equal", "finite_number"):
        code = "not_finite" if kind == "finite_number" else "out_of_range"
        return InvalidRequest(422, code, _range_message(name, value), field=field, allowed=_allowed(name))
    if kind == "literal_error":
        return InvalidRequest(
            422, "not_allowed", f"{_short(value)} is not a weather class", field=field, allowed=_allowed(name)
        )
    if kind == "too_long":
        return too_many_rows(first["ctx"]["max_length"], field)
    if kind == "too_short":
        return InvalidRequest(422, "empty_batch", "at least one row is needed", field=field, allowed={"minimum": 1})
    if kind == "string_pattern_mismatch":
        return _bad_timestamp(str(value), field)
    return InvalidRequest(
        422, "wrong_type", f"{first['msg']} (got {_short(value)})", field=field, allowed=_allowed(name)
    )


def too_many_rows(most: int, field: str | None) -> InvalidRequest:
    """What a request of more than `most` rows is told."""
    return InvalidRequest(
        413, "batch_too_large", f"more than {most} rows; split the request", field=field,
        allowed={"minimum": 1, "maximum": most},
    )


def _unknown(name: str, field: str, fields: list[str]) -> InvalidRequest:
    if name in NEVER_FEATURES:
        message = f"{name} is part of the answer: it is not known when demand is predicted; remove it"
    elif name in _CALENDAR:
        message = f"{name} is derived from timestamp on the server; remove it"
    else:
        message = f"{name!r} is not a field of this request; remove it"
    return InvalidRequest(422, "unknown_field", message, field=field, allowed=fields)


def _bad_timestamp(text: str, field: str | None) -> InvalidRequest:
    allowed = "YYYY-MM-DDTHH:00, local time of the city"
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return InvalidRequest(422, "bad_timestamp", f"{_short(text)} is not an hour", field=field, allowed=allowed)
    if parsed.tzinfo is not None:
        message = f"{_short(text)} carries a time zone; send the city's local hour without Z or offset"
        return InvalidRequest(422, "timezone_not_allowed", message, field=field, allowed=allowed)
    message = f"{_short(text)} is not the start of an hour"
    return InvalidRequest(422, "not_a_full_hour", message, field=field, allowed=allowed)


def _range_message(name: str, value: Any) -> str:
    column = OBSERVATION[name]
    message = f"{name} is {_short(value)}: allowed are {column.minimum:g} to {column.maximum:g} {column.unit}"
    if column.unit == "°C" and isinstance(value, int | float) and 50 < value <= 140:
        message += f"; {value:g} looks like °F, which would be {(value - 32) / 1.8:.1f} °C"
    return message


def _allowed(name: str) -> Any:
    column = OBSERVATION.get(name)
    if column is None:
        return None
    if column.kind == "number":
        return {"minimum": column.minimum, "maximum": column.maximum, "unit": column.unit}
    if column.kind == "category":
        return list(WEATHER_CLASSES)
    return "YYYY-MM-DDTHH:00, local time of the city" if column.kind == "timestamp" else [True, False, None]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
