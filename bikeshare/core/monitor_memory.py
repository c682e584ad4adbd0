"""What the monitor remembers between two looks: a small JSON document in the records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where the loop is."""

    HEALTHY = "healthy"
    WATCH = "watch"
    BAD_DATA = "bad_data"
    DRIFT = "drift"
    RETRAINING = "retraining"
    COOLDOWN = "cooldown"
    ESCALATED = "escalated"


@dataclass(frozen=True)
class Check:
    """One daily check: the labelled day it judged, and whether it was over a limit."""

    day: date
    exceeded: bool


@dataclass(frozen=True)
class Request:
    """The newest retrain that was asked for, with the error that caused it."""

    run_key: str
    trigger: str
    reason: str
    at: datetime
    model_version: str
    adapt_since: datetime | None = None
    wape: float | None = None
    log_bias: float | None = None


@dataclass(frozen=True)
class Recovery:
    """A promoted retrain whose effect is not judged yet."""

    run_key: str
    promoted_at: datetime
    wape_before: float | None = None
    log_bias_before: float | None = None


@dataclass(frozen=True)
class Memory:
    """What one look leaves for the next.

    Attributes:
        state: State after the last look.
        since: When that state began.
        model_version: Champion at the last look.
        problem_at: Newest moment data were seen broken, None once the hold is over.
        problem_since: First moment of that spell.
        step_at: When a sudden step was seen, None once its hold is over.
        stepping: Whether the step was still over its limit when last measured: one step opens one hold.
        blind: Whether people were told that labels are late.
        checks: Newest daily checks of this champion, oldest first.
        request: The newest retrain asked for.
        recovery: A promoted retrain whose effect is still to be judged.
        unhelpful: Retrains in a row that did not help.
        retired: Version that was replaced because of its error; its answers are not held against the new one.
        settled: Keys of the ended runs that are still looked at and were already taken into account, newest last.
    """

    state: State = State.HEALTHY
    since: datetime | None = None
    model_version: str | None = None
    problem_at: datetime | None = None
    problem_since: datetime | None = None
    step_at: datetime | None = None
    stepping: bool = False
    blind: bool = False
    checks: tuple[Check, ...] = ()
    request: Request | None = None
    recovery: Recovery | None = None
    unhelpful: int = 0
    retired: str | None = None
    settled: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON document."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Memory":
        """The inverse of `to_dict`; an empty document is a fresh memory."""
        if not document:
            return cls()
        request, recovery = document["request"], document["recovery"]
        return cls(
            state=State(document["state"]),
            since=_moment(document["since"]),
            model_version=document["model_version"],
            problem_at=_moment(document["problem_at"]),
            problem_since=_moment(document["problem_since"]),
            step_at=_moment(document["step_at"]),
            stepping=document["stepping"],
            blind=document["blind"],
            checks=tuple(Check(date.fromisoformat(item["day"]), item["exceeded"]) for item in document["checks"]),
            request=Request(**{
                **request, "at": _moment(request["at"]), "adapt_since": _moment(request["adapt_since"])
            }) if request else None,
            recovery=Recovery(**{**recovery, "promoted_at": _moment(recovery["promoted_at"])}) if recovery else None,
            unhelpful=document["unhelpful"],
            retired=document["retired"],
            settled=tuple(document["settled"]),
        )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
