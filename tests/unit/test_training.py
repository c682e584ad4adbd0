from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from bikeshare.core.forecasting import Forecaster
from bikeshare.core.training import ADAPTATION_RATIO, _weights, train
from bikeshare.errors import DataError
from tests.unit.model_world import CUT, SMALL, START, observations, trained


def test_training_uses_the_rows_given_and_says_so():
    model = trained()
    assert model.window == (START, CUT)
    assert model.rows == (observations()["timestamp"] < CUT).sum()
    assert set(model.importance["forest"]) == {"stateless", "history"}
    assert model.importance.groupby("forest")["importance"].sum().tolist() == pytest.approx([1.0, 1.0])
    assert 0.7 < model.frozen_level["stateless"] < 1.4
    assert model.oob_tail.demand.size == 28 * 24


def test_the_same_seed_gives_the_same_model_and_another_one_does_not():
    frame = observations()
    rows = frame[frame["timestamp"] < CUT]
    matrix = trained().training_matrix[-50:]
    lines: list[str] = []
    again = train(rows, SMALL, progress=lines.append)
    assert np.array_equal(again.shapes(matrix)[0], trained().shapes(matrix)[0])
    other = train(rows, replace(SMALL, seed=5))
    assert not np.array_equal(other.shapes(matrix)[0], trained().shapes(matrix)[0])
    assert len(lines) == 4


def test_casual_and_registered_change_nothing():
    frame = observations()
    rows = frame[frame["timestamp"] < CUT].copy()
    rows["casual"], rows["registered"] = 0.0, 0.0
    matrix = trained().training_matrix[-50:]
    assert np.array_equal(train(rows, SMALL).shapes(matrix)[1], trained().shapes(matrix)[1])


def test_too_little_data_is_refused_with_the_number():
    with pytest.raises(DataError, match="500 labelled rows"):
        train(observations().head(500), SMALL)


def test_rows_of_a_changed_world_get_weight_only_when_asked():
    hours = np.arange(1000, 2000)
    since = datetime(1970, 1, 1) + timedelta(hours=1900)
    assert _weights(hours, SMALL) is None
    weights = _weights(hours, replace(SMALL, adapt_since=since))
    assert weights is not None
    assert weights[900:].sum() == pytest.approx(ADAPTATION_RATIO * weights[:900].sum())
    assert _weights(hours, replace(SMALL, adapt_since=datetime(1971, 1, 1))) is None


def test_missing_history_is_answered_like_any_other_number():
    matrix = trained().training_matrix[-5:].copy()
    matrix[:, 25:] = np.nan
    stateless, history = trained().shapes(matrix)
    assert np.isfinite(stateless).all()
    assert np.isfinite(history).all()
    assert Forecaster.of(trained()).model.window[1] == CUT
