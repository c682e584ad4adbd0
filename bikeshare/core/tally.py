"""How training runs ended: each counted once, whoever learns of its end first."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

RESULTS = ("promoted", "refused", "rolled_back", "failed", "abandoned", "skipped")
"""Every way a run can end; `abandoned`: promised and never started; `skipped`: scheduled, and nothing was due."""

_KEPT_KEYS = 200


@dataclass(frozen=True)
class Tally:
    """Ends of runs, of the monitor's requests, the schedule and people alike.

    Attributes:
        totals: Result -> runs.
        published: The part of `totals` that was already handed on.
        refused_in_a_row: Challengers the gate refused since the last one that was promoted.
        last_success: When a run last ended with a judged model, naive local time.
        keys: Runs already counted, newest last.
    """

    totals: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)
    refused_in_a_row: int = 0
    last_success: datetime | None = None
    keys: tuple[str, ...] = ()

    @property
    def news(self) -> dict[str, int]:
        """Result -> runs that were not handed on yet."""
        counts = {result: count - self.published.get(result, 0) for result, count in self.totals.items()}
        return {result: count for result, count in counts.items() if count}

    def to_dict(self) -> dict[str, Any]:
        """A JSON document."""
        return {
            "totals": dict(self.totals), "published": dict(self.published), "keys": list(self.keys),
            "refused_in_a_row": self.refused_in_a_row,
            "last_success": self.last_success.isoformat() if self.last_success else None,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Tally":
        """The inverse of `to_dict`; an empty document is an empty tally."""
        if not document:
            return cls()
        last = document["last_success"]
        return cls(document["totals"], document["published"], document["refused_in_a_row"],
                   datetime.fromisoformat(last) if last else None, tuple(document["keys"]))


def count_end(tally: Tally, run_key: str, result: str, at: datetime) -> Tally:
    """Count the end of a run; a run that was counted before changes nothing.

    A rolled back, failed, abandoned or skipped run says nothing about the gate and leaves the row of refusals as it is.

    Raises:
        ValueError: `result` is not one of `RESULTS`.
    """
    if result not in RESULTS:
        raise ValueError(f"a run cannot end as {result!r}: use one of {', '.join(RESULTS)}")
    if run_key in tally.keys:
        return tally
    rows = {"promoted": 0, "refused": tally.refused_in_a_row + 1}
    return replace(
        tally, totals={**tally.totals, result: tally.totals.get(result, 0) + 1},
        refused_in_a_row=rows.get(result, tally.refused_in_a_row),
        last_success=at if result in rows else tally.last_success,
        keys=(*tally.keys, run_key)[-_KEPT_KEYS:],
    )


def hand_on(tally: Tally) -> Tally:
    """The tally after its news were handed on."""
    return replace(tally, published=dict(tally.totals))
