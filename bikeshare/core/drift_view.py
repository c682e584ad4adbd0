"""Drift as people see it: judged quantities against their limits over time, columns of the newest look. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from bikeshare.core.charts import Figure, Line, share
from bikeshare.core.profiles import CATEGORIES, NUMERIC
from bikeshare.core.sketches import RAW_LIMIT

Looks = Sequence[tuple[datetime, Mapping[str, Any]]]
"""(when, evidence of the decision), oldest first."""

_SCORE, _LIMIT = "bikeshare_drift_score", "bikeshare_drift_limit"


@dataclass(frozen=True)
class ColumnNow:
    """One served column against training; None where it was not compared."""

    column: str
    season: float | None
    season_limit: float | None
    raw: float | None

    @property
    def over_limit(self) -> bool | None:
        """Against the limit learned from training's own weeks."""
        return None if self.season is None or self.season_limit is None else self.season > self.season_limit

    @property
    def raw_drifted(self) -> bool | None:
        """What Evidently's default rule says."""
        return None if self.raw is None else self.raw >= RAW_LIMIT


def finding_figure(looks: Looks, name: str) -> Figure:
    """One judged quantity (`wape`, `bias`, `step`) and its limit, look by look."""
    found = [
        (at, next((item for item in evidence.get("findings", ()) if item["name"] == name), None))
        for at, evidence in looks
    ]
    if not any(item for _, item in found):
        return _figure(name, [], [])
    values = [None if item is None else float(item["value"]) for _, item in found]
    limits = [None if item is None else float(item["limit"]) for _, item in found]
    return _figure(name, [at for at, _ in found], [Line("limit", "limit", limits), Line("seen", "ours", values)])


def raw_figure(looks: Looks) -> Figure:
    """Share of columns that a plain comparison with training calls drifted, look by look."""
    known = [(at, evidence.get("raw_drift_share")) for at, evidence in looks]
    if all(value is None for _, value in known):
        return _figure("drifted columns", [], [])
    values = [None if value is None else float(value) for _, value in known]
    return _figure("drifted columns", [at for at, _ in known], [Line("drifted columns", "frozen", values)])


def columns_now(gauges: Mapping[str, float]) -> list[ColumnNow]:
    """Columns of the newest look from the monitor's published metrics (name, column and method, tab-separated)."""
    scores, limits = _by_column(gauges, _SCORE), _by_column(gauges, _LIMIT)
    rows = []
    for column in dict.fromkeys(column for column, _ in scores):
        raw = scores.get((column, "w1"), scores.get((column, "js")))
        rows.append(ColumnNow(column, scores.get((column, "season")), limits.get((column, "season")), raw))
    order = {name: place for place, name in enumerate((*NUMERIC, *CATEGORIES))}
    return sorted(rows, key=lambda row: order.get(row.column, len(order)))


def report_name(key: str) -> str:
    """A report's store key as people read it; a key of another form is shown as it is."""
    match key.split("/"):
        case ["reports", "weekly", file]:
            return f"summary of week {file.removesuffix('.html')}"
        case ["reports", day, folder, _]:
            time, _, kind = folder.partition("-")
            return f"{day.removeprefix('date=')} {time[:2]}:{time[2:]}, {kind.replace('_', ' ')}"
    return key


def report_key(url: str) -> str:
    """Store key of a report from its address, whatever folder or bucket the store lies in."""
    _, mark, rest = url.rpartition("reports/")
    return unquote(mark + rest)


def _by_column(gauges: Mapping[str, float], name: str) -> dict[tuple[str, str], float]:
    found = {}
    for key, value in gauges.items():
        parts = key.split("\t")
        if parts[0] == name and len(parts) == 3:
            found[(parts[1], parts[2])] = value
    return found


def _figure(label: str, moments: Sequence[datetime], lines: Sequence[Line]) -> Figure:
    first_of_day = {at.date(): place for place, at in reversed(list(enumerate(moments)))}
    return Figure(
        label=label, positions=[f"{at:%a %d %b %Y, %H:%M}" for at in moments],
        ticks=[(place, f"{day.day} {day:%b}") for day, place in sorted(first_of_day.items())],
        form=share, lines=lines, height=220,
    )
