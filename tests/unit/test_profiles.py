"""Profiles, sketches and distances: they add up, match the exact statistic, and their limits are learned."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from bikeshare.core.profiles import (
    BINS,
    CATEGORIES,
    NUMERIC,
    OTHER,
    build_profile,
    decile_counts,
    jensen_shannon,
    population_stability,
    week_of_year,
)
from bikeshare.core.sketches import Sketch, raw_drift_share, score_columns, season_drift, sketch_batches


@pytest.fixture(scope="module")
def year(history: pd.DataFrame) -> pd.DataFrame:
    return history[history["timestamp"] < "2012"].rename(columns={"demand": "prediction"}).reset_index(drop=True)


@pytest.fixture(scope="module")
def profile(year: pd.DataFrame) -> dict:
    return build_profile(year)


def served(history: pd.DataFrame, start: str, hours: int) -> pd.DataFrame:
    frame = history.rename(columns={"demand": "prediction"})
    return frame[frame["timestamp"] >= start].head(hours).reset_index(drop=True)


def value(scores: tuple, column: str, method: str) -> float:
    return next(score.value for score in scores if (score.column, score.method) == (column, method))


def test_the_profile_is_json_and_counts_every_hour(profile: dict, year: pd.DataFrame) -> None:
    again = json.loads(json.dumps(profile))

    assert again == profile
    assert len(json.dumps(profile)) < 120_000
    for name in NUMERIC:
        assert sum(profile["numeric"][name]["counts"]) == len(year)
    assert sum(profile["categories"]["weather"].values()) == len(year)


@pytest.mark.parametrize(("start", "shift"), [("2012-01-10", 0.0), ("2012-06-01", 0.0), ("2012-10-01", 4.0)])
@pytest.mark.parametrize("column", ["temp_c", "humidity_pct", "prediction"])
def test_w1_from_bins_equals_the_exact_statistic(
    history: pd.DataFrame, year: pd.DataFrame, profile: dict, column: str, start: str, shift: float
) -> None:
    current = served(history, start, 168)
    current[column] += shift
    score = value(score_columns(sketch_batches(profile, [current]), profile, 20), column, "w1")
    exact = wasserstein_distance(year[column], current[column]) / year[column].std(ddof=0)

    assert score == pytest.approx(exact, abs=0.011)


def test_jensen_shannon_is_the_usual_one() -> None:
    first, second = np.array([10, 0, 30, 5]), np.array([1, 7, 12, 0])

    assert jensen_shannon(first, second) == pytest.approx(jensenshannon(first / 45, second / 20))
    assert jensen_shannon(first, first) == 0


def test_psi_is_zero_for_equal_shapes_and_grows_with_the_shift() -> None:
    rng = np.random.default_rng(1)
    bins = np.linspace(-8, 8, BINS + 1)
    reference, same, near, far = (
        np.histogram(rng.normal(shift, 1, 20_000), bins)[0] for shift in (0.0, 0.0, 0.3, 1.5)
    )

    scores = [population_stability(*decile_counts(current, reference)) for current in (same, near, far)]
    assert scores[0] < 0.01 < scores[1] < 0.25 < scores[2]
    assert all(group.sum() == 20_000 for group in decile_counts(near, reference))


def test_sketches_add_up_and_arrow_equals_pandas(history: pd.DataFrame, profile: dict) -> None:
    frame = served(history, "2012-03-01", 500)
    whole = sketch_batches(profile, [frame])
    parts = [sketch_batches(profile, [frame.iloc[:200]]), sketch_batches(profile, [frame.iloc[200:]])]
    parts[0].merge(parts[1])
    arrow = sketch_batches(profile, pa.Table.from_pandas(frame).to_batches(max_chunksize=100))

    for other in (parts[0], arrow):
        assert other.rows == whole.rows == 500
        assert other.categories == whole.categories
        assert all((other.counts[name] == whole.counts[name]).all() for name in NUMERIC)
    assert len(arrow.sample()) == 500


def test_missing_infinite_and_unknown_values_are_counted_apart(history: pd.DataFrame, profile: dict) -> None:
    frame = served(history, "2012-03-01", 100)
    frame.loc[:4, "temp_c"] = np.nan
    frame.loc[5, "temp_c"] = np.inf
    frame["weather"] = frame["weather"].astype(object)
    frame.loc[:2, "weather"] = None
    frame.loc[3:9, "weather"] = "frogs"
    for batches in ([frame], pa.Table.from_pandas(frame).to_batches()):
        sketch = sketch_batches(profile, batches)

        assert sketch.missing["temp_c"] == 6
        assert sketch.missing["weather"] == 3
        assert sketch.categories["weather"][OTHER] == 7
        assert sketch.counts["temp_c"].sum() == 94


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_no_value_is_lost_however_far_out(values: list[float]) -> None:
    profile = build_profile(pd.DataFrame({
        "timestamp": pd.date_range("2012-01-01", periods=3, freq="h"), "weather": "clear",
        **{name: [1.0, 2.0, 3.0] for name in NUMERIC},
    }))
    frame = pd.DataFrame({**dict.fromkeys(NUMERIC, values), "weather": "mist"})

    assert sketch_batches(profile, [frame]).counts["temp_c"].sum() == len(values)


def test_the_sample_is_bounded_and_uniform(profile: dict) -> None:
    rows = 50_000
    frame = pd.DataFrame({**{name: np.arange(rows, dtype=float) for name in NUMERIC}, "weather": "clear"})
    sketch = sketch_batches(profile, (frame.iloc[i : i + 1000] for i in range(0, rows, 1000)), sample_rows=2000, seed=3)
    sample = sketch.sample()["temp_c"]

    assert len(sample) == 2000
    assert sample.is_unique
    assert abs(sample.mean() - rows / 2) < 4 * rows / np.sqrt(12 * 2000)
    other = sketch_batches(profile, [frame], sample_rows=2000, seed=4).sample()["temp_c"]
    assert set(other) != set(sample)


def test_ordinary_weeks_are_drift_by_default_and_in_control_by_learned_limits(
    history: pd.DataFrame, profile: dict
) -> None:
    """Why the learned limits exist: the default threshold calls every ordinary week of 2012 drifted."""
    raw, learned = [], []
    for start in pd.date_range("2012-01-02", periods=50, freq="7D"):
        week = served(history, str(start), 168)
        scores = score_columns(sketch_batches(profile, [week]), profile, int(week_of_year(week["timestamp"])[84]))
        raw.append(raw_drift_share(scores) >= 0.5)  # type: ignore[operator]
        inputs = [score for score in season_drift(scores) if score.column != "prediction"]
        learned.append(len(inputs) >= 3)

    assert np.mean(raw) >= 0.9
    assert np.mean(learned) <= 0.08


def test_a_shifted_sensor_is_over_its_learned_limit(history: pd.DataFrame, profile: dict) -> None:
    week = served(history, "2012-05-07", 168)
    week["temp_c"] += 12
    broken = season_drift(score_columns(sketch_batches(profile, [week]), profile, 18))
    sound = season_drift(score_columns(sketch_batches(profile, [served(history, "2012-05-07", 168)]), profile, 18))

    assert "temp_c" in [score.column for score in broken]
    assert "temp_c" not in [score.column for score in sound]


def test_a_short_reference_has_no_seasonal_verdict(year: pd.DataFrame, history: pd.DataFrame) -> None:
    short = build_profile(year.head(400))
    scores = score_columns(sketch_batches(short, [served(history, "2012-07-01", 168)]), short, 26)

    assert set(short["limits"].values()) == {None}
    assert not [score for score in scores if score.method == "season"]
    assert raw_drift_share(scores) is not None
    assert raw_drift_share(()) is None


def test_demand_stands_for_the_prediction_when_there_is_none(history: pd.DataFrame) -> None:
    profile = build_profile(history.head(500))

    assert sum(profile["numeric"]["prediction"]["counts"]) == 500


def test_the_log_names_its_prediction_demand(history: pd.DataFrame, profile: dict) -> None:
    log = history.tail(100)
    sketch = sketch_batches(profile, [log], prediction="demand")

    assert "demand" in sketch.columns
    assert list(sketch.sample()["prediction"]) == list(log["demand"])


def test_an_empty_sketch_scores_nothing(profile: dict) -> None:
    assert score_columns(Sketch(profile), profile, 3) == ()
    assert list(Sketch(profile).sample().columns) == [*NUMERIC, *CATEGORIES]
