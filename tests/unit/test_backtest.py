"""The honest error series: folds without overlap, whole weeks, signs and quantiles."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bikeshare.core.backtest import walk_forward, weekly_series

START = datetime(2011, 1, 1)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def frame(hours: int, demand: float = 100, prediction: float = 110, start: str = "2012-01-01") -> pd.DataFrame:
    return pd.DataFrame({
        "timestamp": pd.date_range(start, periods=hours, freq="h"), "demand": float(demand),
        "prediction": float(prediction),
    })


def test_folds_meet_and_the_last_one_is_the_gates() -> None:
    folds = walk_forward(day(0), day(337), day(365), weeks=10, fold_days=42, min_train_days=63)
    assert [(fold.start, fold.end) for fold in folds] == [(day(295), day(337)), (day(337), day(365))]


def test_long_spans_are_cut_into_folds() -> None:
    folds = walk_forward(day(0), day(358), day(365), weeks=12, fold_days=28, min_train_days=63)
    assert [fold.start for fold in folds] == [day(281), day(302), day(330), day(358)]


def test_a_fold_needs_enough_to_learn_from() -> None:
    short = walk_forward(day(0), day(75), day(100), weeks=10, fold_days=42, min_train_days=63)
    assert [fold.start for fold in short] == [day(63), day(75)]
    shorter = walk_forward(day(0), day(66), day(88), weeks=10, fold_days=42, min_train_days=63)
    assert [fold.start for fold in shorter] == [day(66)]


@settings(max_examples=60, deadline=None)
@given(st.integers(70, 700), st.integers(5, 28), st.integers(1, 20), st.integers(7, 60))
def test_folds_are_contiguous_and_never_reach_the_future(days: int, test: int, weeks: int, fold: int) -> None:
    folds = walk_forward(day(0), day(days - test), day(days), weeks=weeks, fold_days=fold, min_train_days=63)
    assert folds[-1].start == day(days - test)
    assert folds[-1].end == day(days)
    for earlier, later in zip(folds, folds[1:], strict=False):
        assert earlier.end == later.start
        assert earlier.start >= day(63)


def test_whole_weeks_are_counted_back_from_the_newest_hour() -> None:
    series = weekly_series(frame(168 * 3 + 50))
    assert series["n_weeks"] == 3
    assert [week["rows"] for week in series["weeks"]] == [168, 168, 168]
    newest = pd.Timestamp(series["weeks"][-1]["start"])
    assert newest + pd.Timedelta(hours=168) == frame(168 * 3 + 50)["timestamp"].iloc[-1] + pd.Timedelta(hours=1)


@pytest.mark.parametrize(("prediction", "bias", "wape"), [(110, 0.1, 0.1), (80, -0.2, 0.2)])
def test_too_many_bikes_are_a_positive_bias(prediction: float, bias: float, wape: float) -> None:
    series = weekly_series(frame(168 * 2, prediction=prediction))
    assert series["weeks"][0]["bias"] == pytest.approx(bias)
    assert series["bias_mu"] == pytest.approx(np.log(prediction / 100))
    assert series["wape"] == pytest.approx(wape)
    assert series["bias_sd"] == pytest.approx(0)


def test_quantiles_separate_a_bad_week() -> None:
    bad = frame(168, prediction=200, start="2012-02-01")
    series = weekly_series([frame(168 * 4, start="2012-01-04"), bad])
    assert series["wape_p50"] == pytest.approx(0.1)
    assert series["wape_p90"] > 0.5
    assert series["bias_sd"] > 0


def test_unlabelled_hours_and_thin_weeks_do_not_count() -> None:
    labelled = frame(336)
    labelled.loc[:99, "demand"] = np.nan
    series = weekly_series(labelled)
    assert series["n_weeks"] == 1
    assert weekly_series(frame(100))["n_weeks"] == 0
    assert weekly_series(frame(0)) == {
        "weeks": [], "mae": None, "wape": None, "wape_p50": None, "wape_p90": None, "bias_mu": 0.0, "bias_sd": 0.0,
        "n_weeks": 0,
    }
