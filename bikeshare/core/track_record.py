"""How good the answers were, as numbers per day, rolling figures and charts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.charts import Area, Figure, Line, share, whole
from bikeshare.core.evaluation import Scores, coverage, score

WINDOW_DAYS = 7
"""The monitor judges seven days; people should see the same average."""


@dataclass(frozen=True)
class Rolling:
    """Error over the window that ends with each day; None where the window has no labelled hour."""

    days: Sequence[date]
    mae: Sequence[float | None]
    wape: Sequence[float | None]
    bias: Sequence[float | None]


def rolling(hours: pd.DataFrame, column: str, days: Sequence[date], window_days: int = WINDOW_DAYS) -> Rolling:
    """MAE, WAPE and bias of one column of answers over the days before and including each day.

    Args:
        hours: timestamp, demand and the column, one row per hour.
        column: Which answers; hours where it is missing do not count.
        days: Days to answer for.
        window_days: Length of the window.
    """
    usable = hours.dropna(subset=[column, "demand"])
    error = usable[column].to_numpy(dtype="float64") - usable["demand"].to_numpy(dtype="float64")
    sums = pd.DataFrame({
        "day": usable["timestamp"].dt.date, "n": 1.0, "demand": usable["demand"].to_numpy(dtype="float64"),
        "error": error, "absolute": np.abs(error),
    }).groupby("day").sum()
    rows: list[tuple[float | None, float | None, float | None]] = []
    for day in days:
        first = day - timedelta(days=window_days - 1)
        inside = sums[(sums.index >= first) & (sums.index <= day)].sum()
        n, demand = float(inside["n"]), float(inside["demand"])
        rows.append((
            float(inside["absolute"]) / n if n else None,
            float(inside["absolute"]) / demand if demand > 0 else None,
            float(inside["error"]) / demand if demand > 0 else None,
        ))
    mae, wape, bias = zip(*rows, strict=True) if rows else ((), (), ())
    return Rolling(list(days), list(mae), list(wape), list(bias))


@dataclass(frozen=True)
class Record:
    """One answerer over the whole span."""

    name: str
    scores: Scores
    inside_80: float | None = None
    inside_95: float | None = None


def records_of(hours: pd.DataFrame, names: Mapping[str, str]) -> list[Record]:
    """Scores of every answerer on the hours that all of them answered; served also with its coverage.

    Args:
        hours: Columns timestamp, demand, the answerers', and lower/upper bounds of what was served.
        names: Column -> name for people. A column without any answer is left out.
    """
    known = {column: name for column, name in names.items() if hours[column].notna().any()}
    common = hours.dropna(subset=["demand", *known])
    found = []
    for column, name in known.items():
        inside = {
            width: coverage(common["demand"], common[f"lower_{width}"], common[f"upper_{width}"])
            for width in (80, 95) if column == "served"
        }
        found.append(Record(name, score(common["demand"], common[column]), inside.get(80), inside.get(95)))
    return [record for record in found if record.scores.rows]


def rolling_figure(
    label: str, series: Sequence[tuple[str, str, Sequence[float | None]]], days: Sequence[date], *, percent: bool,
    limits: Sequence[float] = (), usual: tuple[float, float] | None = None,
) -> Figure:
    """A rolling error per day.

    Args:
        label: What is shown.
        series: (name, style class, values) each.
        days: The axis.
        percent: Whether values are shares.
        limits: The monitor's, of the present champion, drawn as lines.
        usual: What the backtest's own weeks did, drawn as a band.
    """
    count = len(days)
    lines = [Line(name, kind, values) for name, kind, values in series]
    for limit, name in zip(limits, ("limit of the champion", ""), strict=False):
        lines.insert(0, Line(name, "limit", [limit] * count))
    band = [Area("backtest's weeks", "ours", [usual[0]] * count, [usual[1]] * count)] if usual else []
    return Figure(
        label=label,
        positions=[f"{WINDOW_DAYS} days to {day:%a %d %b %Y}" for day in days],
        ticks=[(position, f"{day.day} {day:%b}") for position, day in enumerate(days)],
        form=share if percent else whole,
        lines=lines, areas=band, height=240,
    )


def hours_figure(hours: pd.DataFrame) -> Figure:
    """Predicted against actual, hour by hour, with the 80 % interval; a missing hour is a gap."""
    if hours.empty:
        return Figure("Predicted and actual demand", [], [], whole)
    span = pd.date_range(hours["timestamp"].min(), hours["timestamp"].max(), freq="h")
    on_grid = hours.set_index("timestamp").reindex(span)
    return Figure(
        label="Predicted and actual demand by hour, bikes",
        positions=[f"{hour:%a %d %b, %H:00}" for hour in span],
        ticks=[(position, f"{hour.day} {hour:%b}") for position, hour in enumerate(span) if hour.hour == 12],
        form=whole,
        lines=[
            Line("actual", "truth", optional(on_grid["demand"])),
            Line("predicted", "ours", optional(on_grid["served"])),
        ],
        areas=[Area("80% interval", "ours", optional(on_grid["lower_80"]), optional(on_grid["upper_80"]))],
        height=300,
    )


def forecast_figure(predictions: Sequence[Mapping[str, Any]], what_if: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """The answer of the live API with both intervals; beside it, dashed, what would change."""
    stamps = [pd.Timestamp(row["timestamp"]) for row in predictions]
    # Not more ticks than a wide drawing shows: thinned out, the midnights with their dates would be lost.
    every = 3 if len(stamps) <= 24 else 6

    def column(rows: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
        return [float(row[name]) for row in rows]

    lines = [Line("expected", "ours", column(predictions, "demand"))]
    if what_if:
        lines.append(Line("what if", "whatif", column(what_if, "demand")))
    return Figure(
        label="Expected bikes per hour",
        positions=[f"{stamp:%a %d %b, %H:00}" for stamp in stamps],
        ticks=[(position, f"{stamp:%H:00}" if stamp.hour else f"{stamp:%a} {stamp.day}")
               for position, stamp in enumerate(stamps) if stamp.hour % every == 0],
        form=whole,
        lines=lines,
        areas=[
            Area("95% interval", "ours outer", column(predictions, "lower_95"), column(predictions, "upper_95")),
            Area("80% interval", "ours", column(predictions, "lower_80"), column(predictions, "upper_80")),
        ],
        height=340,
    )


def usual_weeks(backtest: Mapping[str, Any]) -> tuple[float, float] | None:
    """WAPE of the middle eight tenths of the champion's backtested weeks, None without weeks."""
    weeks = [float(week["wape"]) for week in backtest.get("weeks", ()) if week.get("wape") is not None]
    if not weeks:
        return None
    low, high = np.quantile(weeks, [0.1, 0.9])
    return float(low), float(high)


def optional(values: pd.Series) -> list[float | None]:
    """A column with None for missing values."""
    return [None if pd.isna(value) else float(value) for value in values]
