"""The model card and the plots: what people see of a version."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from bikeshare.adapters.git import revision
from bikeshare.adapters.plots import draw_plots
from bikeshare.core.evaluation import Scores
from bikeshare.core.features import HISTORY, STATELESS
from bikeshare.core.model_card import CardFacts, model_card
from pipelines.local import step_seconds

FACTS = CardFacts(
    reason="drift", run_key="drift-2012-W20", window=(datetime(2011, 1, 1), datetime(2012, 5, 1)), rows=11_500,
    data_hash="d" * 64, git_revision="1f3a", library_version="0.1.0", trees=50, adapt_since=None,
    test_reason="judged on the newest 240 of 720 hours that the champion never saw",
    overall=Scores(240, 30.0, 0.15, 45.0, 0.3, -0.02, 0.9),
    slices={"rain": Scores(20, 40.0, 0.3, 50.0, 0.4, 0.1, 0.5), "holiday": Scores(0, 0, 0, 0, 0, 0, 0)},
    naive=Scores(240, 60.0, 0.3, 90.0, 0.5, 0.0, 0.5),
    backtest={"n_weeks": 8, "wape": 0.16, "wape_p50": 0.15, "wape_p90": 0.21},
    importance=pd.DataFrame({
        "feature": ["hour", "temp", "hour"], "importance": [0.5, 0.3, 0.2], "forest": ["a", "a", "b"]
    }),
)


def test_the_card_states_numbers_origin_and_limits() -> None:
    card = model_card(FACTS)
    assert "50% below the naive rule" in card
    assert "| all (240) | 30.0 | 15.0% | 45.0 | 0.300 | -2.0% |" in card
    assert "rain (20)" in card
    assert "| holiday" not in card
    assert "2011-01-01 to 2012-04-30 (11,500 hours)" in card
    assert "Over 8 backtested weeks: WAPE 16.0%" in card
    assert "`hour`, `temp`" in card
    assert "1f3a" in card
    assert "changed world" not in card


def test_the_card_has_one_full_stop_after_a_reason() -> None:
    texts = [model_card(replace(FACTS, reason=reason)) for reason in ("manual", "Decay confirmed.")]

    assert ["because: manual.\n" in texts[0], "because: Decay confirmed.\n" in texts[1]] == [True, True]


def test_the_card_tells_the_test_score_of_its_source_where_the_tests_are() -> None:
    told = model_card(replace(FACTS, test_score={"data": 6.0, "model": 5.5}))

    assert "data 6, model 5.5; the weakest counts, 5.5." in told
    assert "tests are not at hand" in model_card(FACTS)


def test_the_card_names_weak_slices_and_thin_ones() -> None:
    bad, fine = Scores(50, 40.0, 0.3, 50.0, 0.4, 0.1, 0.5), Scores(50, 30.0, 0.15, 45.0, 0.3, 0.0, 0.9)

    card = model_card(replace(FACTS, slices={"rush_hour": bad, "weekend": fine, "rain": replace(bad, rows=3)}))

    weak = card.split("## Weak where")[1].split("##")[0]
    assert "- rush hour: WAPE 30.0%, 2.0 times that of all rows (50 hours)" in weak
    assert "weekend" not in weak
    assert "- rain: fewer than 24 judged hours" in weak


def test_the_card_states_intervals_and_what_the_monitor_will_hold_it_to() -> None:
    card = model_card(replace(FACTS, inside={0.8: 0.78, 0.95: 0.931}))
    blind = model_card(replace(FACTS, backtest={}))

    assert "inside the 80% interval: 78%, inside the 95% interval: 93%." in card
    assert "7-day WAPE of what was served is over 20.0%" in card
    assert "no limits" in blind
    assert "inside the" not in blind


def test_the_card_names_every_input_and_what_is_never_one() -> None:
    card = model_card(FACTS)

    for feature in (*STATELESS, *HISTORY):
        assert f"`{feature.name}`" in card
    assert "Never inputs: `casual`, `registered`, `demand` of the predicted hour" in card


def test_an_adapted_version_says_so_and_a_short_history_admits_it() -> None:
    card = model_card(replace(FACTS, adapt_since=datetime(2012, 4, 10, 7), backtest={"n_weeks": 0}))
    assert "Rows since 2012-04-10 07:00 carry more weight" in card
    assert "No whole week could be backtested." in card


def test_three_pictures_are_drawn_from_whatever_hours_there_are(tmp_path: Path) -> None:
    hours = pd.date_range("2012-01-01", periods=30, freq="h")
    demand = np.linspace(0, 100, 30)
    frame = pd.DataFrame({
        "timestamp": hours, "demand": demand, "prediction": demand + 5, "lower_80": demand, "upper_80": demand + 10
    })
    folder = draw_plots(frame, FACTS.importance, tmp_path / "plots")
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["importance.png", "predicted_vs_actual.png", "residuals_by_hour.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in files)


def test_the_revision_comes_from_the_image_or_the_checkout(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("GIT_REVISION", raising=False)
    assert revision(tmp_path) == "unknown"
    monkeypatch.setenv("GIT_REVISION", "baked")
    assert revision(tmp_path) == "baked"


def test_steps_are_timed_from_the_engines_log_also_over_midnight(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text(
        "23:59:58.500 - INFO - Executing task \x1b[96m'ingest'\x1b[0m\n"
        "    23:59:59.000 - INFO - Executing task 'quoted by a task'\n"
        "00:00:01.000 - INFO - Task \x1b[96m'ingest'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m\n"
        "00:00:01.100 - INFO - Executing task 'train'\n"
        "00:00:04.100 - ERROR - Task 'train' finished with status FAILURE\n"
        "00:00:04.200 - INFO - Executing task 'evaluate'\n"
    )
    assert step_seconds(log) == {"ingest": 2.5, "train": 3.0}
