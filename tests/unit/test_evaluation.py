from datetime import datetime

import numpy as np
import pytest

from bikeshare.core.evaluation import BAR, coverage, naive_forecasts, score, score_slices
from bikeshare.core.splits import kaggle_split, monthly_folds, p3_folds
from tests.unit.model_world import observations


def test_scores_by_hand():
    scores = score([10.0, 20.0, np.nan], [12.0, 16.0, 5.0])
    assert scores.rows == 2
    assert scores.mae == pytest.approx(3.0)
    assert scores.wape == pytest.approx(0.2)
    assert scores.rmse == pytest.approx(np.sqrt(10))
    assert scores.bias == pytest.approx(-2 / 30)
    assert scores.r2 == pytest.approx(1 - 20 / 50)
    assert scores.rmsle == pytest.approx(np.sqrt((np.log(13 / 11) ** 2 + np.log(17 / 21) ** 2) / 2))
    assert score([1.0, 2.0], [-5.0, 2.0]).mae == pytest.approx(0.5)
    assert np.isnan(score([], []).mae)
    assert np.isnan(score([0.0], [1.0]).wape)


def test_slices_separate_what_they_name():
    frame = observations().head(24 * 14).assign(prediction=lambda rows: rows["demand"])
    frame.loc[frame["weather"].isin(["light_precip", "heavy_precip"]), "prediction"] += 7
    found = score_slices(frame)
    assert set(found) == {"rush_hour", "night", "weekend", "working_day", "holiday", "clear", "rain"}
    assert found["clear"].mae == 0.0
    assert found["rain"].mae == pytest.approx(7.0)
    assert found["weekend"].rows + found["working_day"].rows == len(frame)


def test_naive_rules_read_yesterday_and_older_only():
    frame = observations()
    moment = frame["timestamp"].iloc[2000]
    forged = frame.copy()
    forged.loc[forged["timestamp"] > moment - np.timedelta64(24, "h"), "demand"] = 1e6
    plain, other = naive_forecasts(frame, [moment]), naive_forecasts(forged, [moment])
    assert {name: value.tolist() for name, value in plain.items()} == {n: v.tolist() for n, v in other.items()}
    at = frame.set_index("timestamp")["demand"]
    assert plain["yesterday"][0] == at[moment - np.timedelta64(24, "h")]
    assert plain["last_week"][0] == at[moment - np.timedelta64(168, "h")]
    assert plain[BAR][0] not in (plain["yesterday"][0], plain["global_mean"][0])


def test_coverage_counts_the_inside():
    assert coverage([1.0, 5.0, np.nan], [0.0, 0.0, 0.0], [2.0, 2.0, 2.0]) == 0.5
    assert np.isnan(coverage([np.nan], [0.0], [1.0]))


def test_folds_are_ordered_and_never_overlap():
    folds = p3_folds()
    assert [fold.name for fold in folds] == [f"2012-{month:02d}" for month in range(1, 13)]
    assert all(one.end == two.start for one, two in zip(folds, folds[1:], strict=False))
    fold = monthly_folds(datetime(2011, 9, 15), 1)[0]
    assert fold.train_rows(observations())["timestamp"].max() < fold.start
    assert fold.test_rows(observations())["timestamp"].min() == fold.start


def test_kaggle_split_is_by_day_of_month():
    early, late = kaggle_split(observations())
    assert early["timestamp"].dt.day.max() == 19
    assert late["timestamp"].dt.day.min() == 20
