"""Evidently's page with our verdict on top, and frames that would crash it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bikeshare.adapters.drift_report import EvidentlyReporter
from bikeshare.core.profiles import build_profile
from bikeshare.core.sketches import score_columns, sketch_batches
from bikeshare.errors import DataError

COLUMNS = ["temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh", "prediction", "weather"]
VERDICT = {
    "state": "retraining", "action": "retrain", "reason": "Decay <confirmed>.",
    "scores": [{"column": "temp_c", "method": "season", "value": 0.2, "limit": None}],
    "findings": [{"name": "wape", "value": 0.31, "limit": 0.15, "exceeded": True, "sentence": "7-day WAPE 31.0%."}],
}


@pytest.fixture(scope="module")
def year(history: pd.DataFrame) -> pd.DataFrame:
    return history[history["timestamp"] < "2012"].rename(columns={"demand": "prediction"})


@pytest.fixture(scope="module")
def week(history: pd.DataFrame) -> pd.DataFrame:
    frame = history.rename(columns={"demand": "prediction"})
    return frame[frame["timestamp"] >= "2012-06-01"].head(168)


def test_the_page_explains_below_our_verdict(year: pd.DataFrame, week: pd.DataFrame, tmp_path: Path) -> None:
    raw = EvidentlyReporter().write(week[COLUMNS], year[COLUMNS], tmp_path, title="drift, version 3", verdict=VERDICT)
    page = (tmp_path / "report.html").read_text()
    document = json.loads((tmp_path / "report.json").read_text())

    assert page.index("<body") < page.index("bikeshare-verdict") < page.index("drift, version 3")
    assert "Decay &lt;confirmed&gt;." in page
    assert "<td>season</td><td>0.200</td><td>-</td>" in page
    assert document["verdict"]["findings"][0]["name"] == "wape"
    assert set(raw["columns"]) == set(COLUMNS)
    assert "temp_c" in raw["drifted"]
    assert "windspeed_kmh" not in raw["drifted"]
    assert raw["share"] == len(raw["drifted"]) / 6


def test_our_scores_are_evidentlys_scores(year: pd.DataFrame, week: pd.DataFrame, tmp_path: Path) -> None:
    raw = EvidentlyReporter().write(week[COLUMNS], year[COLUMNS], tmp_path, title="t", verdict={})
    profile = build_profile(year)
    ours = {s.column: s.value for s in score_columns(sketch_batches(profile, [week]), profile, 22)
            if s.method in ("w1", "js")}

    assert raw["columns"] == pytest.approx(ours, abs=0.011)


def test_what_would_crash_evidently_is_left_out_and_said(
    year: pd.DataFrame, week: pd.DataFrame, tmp_path: Path
) -> None:
    broken = week[COLUMNS].drop(columns="windspeed_kmh").assign(temp_c=np.nan)
    broken["humidity_pct"] = broken["humidity_pct"].astype(object)
    broken.iloc[0, broken.columns.get_loc("humidity_pct")] = "wet"
    broken.iloc[0, broken.columns.get_loc("feels_like_c")] = np.inf
    raw = EvidentlyReporter().write(broken, year[COLUMNS], tmp_path, title="t", verdict={})

    assert raw["dropped"] == {"temp_c": "fewer than 24 usable values", "windspeed_kmh": "not served"}
    assert {"humidity_pct", "feels_like_c", "weather"} <= set(raw["columns"])


@pytest.mark.parametrize("rows", [0, 5])
def test_too_few_rows_are_an_error_with_a_sentence(
    year: pd.DataFrame, week: pd.DataFrame, tmp_path: Path, rows: int
) -> None:
    with pytest.raises(DataError, match="no column can be compared"):
        EvidentlyReporter().write(week[COLUMNS].head(rows), year[COLUMNS], tmp_path, title="t", verdict={})
    assert list(tmp_path.iterdir()) == []
