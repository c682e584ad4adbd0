"""The honest error of a recipe, week by week: what the monitor compares live weeks with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

WEEK_HOURS = 168


@dataclass(frozen=True)
class Fold:
    """One step of a walk-forward: train on everything before `start`, answer start <= timestamp < end."""

    start: datetime
    end: datetime


def walk_forward(
    data_start: datetime, test_start: datetime, data_end: datetime, *, weeks: int, fold_days: int, min_train_days: int
) -> tuple[Fold, ...]:
    """Folds whose last one is the test of the gate, so that its model is fitted once; oldest first.

    Args:
        data_start: First hour of the data.
        test_start: Start of the gate's test rows.
        data_end: End of the data, exclusive.
        weeks: Length of the series wanted; fewer when there is too little data.
        fold_days: Longest fold before the last.
        min_train_days: A fold needs this much data before it.
    """
    folds = [Fold(test_start, data_end)]
    wanted = data_end - timedelta(weeks=weeks)
    earliest = data_start + timedelta(days=min_train_days)
    while folds[0].start > wanted:
        start = max(folds[0].start - timedelta(days=fold_days), wanted, earliest)
        if folds[0].start - start < timedelta(days=7):
            break
        folds.insert(0, Fold(start, folds[0].start))
    return tuple(folds)


def weekly_series(forecasts: Sequence[pd.DataFrame] | pd.DataFrame, *, min_rows: int = 120) -> dict[str, Any]:
    """Summarise honest forecasts in whole weeks counted back from the newest hour; JSON-able.

    `log_bias` is log(sum prediction / sum demand): positive means too many bikes promised. `bias` is the same as a
    share, sum(prediction - demand) / sum demand.

    Args:
        forecasts: Columns timestamp, demand, prediction (bikes/h); rows without demand do not count.
        min_rows: Weeks with fewer rows are left out; a week has 168.
    """
    frame = forecasts if isinstance(forecasts, pd.DataFrame) else pd.concat(list(forecasts), ignore_index=True)
    frame = frame.dropna(subset=["demand", "prediction"]).sort_values("timestamp")
    weeks = []
    if len(frame):
        newest = frame["timestamp"].iloc[-1]
        age = ((newest - frame["timestamp"]) / pd.Timedelta(hours=WEEK_HOURS)).astype(int)
        for week, rows in frame.groupby(age, sort=True):
            if len(rows) >= min_rows and rows["demand"].sum() > 0:
                start = newest - pd.Timedelta(hours=WEEK_HOURS * (int(str(week)) + 1) - 1)
                weeks.append({"start": start.isoformat(), "rows": len(rows), **_errors(rows)})
    weeks.reverse()
    wape = np.array([week["wape"] for week in weeks])
    log_bias = np.array([week["log_bias"] for week in weeks])
    overall = _errors(frame) if len(frame) and frame["demand"].sum() > 0 else {}
    return {
        "weeks": weeks,
        "mae": overall.get("mae"),
        "wape": overall.get("wape"),
        "wape_p50": float(np.quantile(wape, 0.5)) if weeks else None,
        "wape_p90": float(np.quantile(wape, 0.9)) if weeks else None,
        "bias_mu": float(log_bias.mean()) if weeks else 0.0,
        "bias_sd": float(log_bias.std(ddof=1)) if len(weeks) > 1 else 0.0,
        "n_weeks": len(weeks),
    }


def _errors(rows: pd.DataFrame) -> dict[str, float]:
    demand = rows["demand"].to_numpy(dtype=float)
    prediction = rows["prediction"].to_numpy(dtype=float)
    error = prediction - demand
    return {
        "mae": float(np.abs(error).mean()),
        "wape": float(np.abs(error).sum() / demand.sum()),
        "bias": float(error.sum() / demand.sum()),
        "log_bias": float(np.log(max(prediction.sum(), 1e-9) / demand.sum())),
    }
