"""Training and judging for real on eleven weeks with three trees: what is written, and who is compared with whom."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from bikeshare.adapters.artifacts import load_artifact
from bikeshare.adapters.artifacts.writing import save_artifact
from bikeshare.adapters.plots import draw_plots
from bikeshare.core.promotion import GatePolicy
from bikeshare.errors import ArtifactError, DataError, NotFound
from bikeshare.steps.evaluate import evaluate_challenger
from bikeshare.steps.gate import judge
from bikeshare.steps.train import Challenger, request_of, train_challenger
from tests.fakes.registry import MemoryRegistry

POLICY = GatePolicy()


@dataclass
class Lab:
    """A registry and what was trained into it."""

    folder: Path
    history: pd.DataFrame
    registry: MemoryRegistry

    def rows(self, end: str) -> pd.DataFrame:
        kept = self.history[(self.history["timestamp"] >= "2012-03-15") & (self.history["timestamp"] < end)]
        return kept.reset_index(drop=True)

    def train(self, name: str, end: str, *, trees: int = 3, adapt_since: str = "") -> Challenger:
        return train_challenger(
            self.rows(end), self.registry,
            request_of(name, "test", datetime.fromisoformat(end), adapt_since, 14, trees, 1, "1f3a", GatePolicy()),
            artifact=self.folder / name / "artifact", trial=self.folder / name / "trial", save=save_artifact,
            draw=draw_plots,
        )


def test_the_gate_of_the_settings_says_what_judges_unless_the_run_does() -> None:
    gate = GatePolicy(holdout_days=9, min_rows=240)

    def asked(holdout_days: int) -> GatePolicy:
        return request_of("r", "test", datetime(2012, 6, 1), "", holdout_days, 3, 1, "1f3a", gate).gate

    assert asked(0) == gate
    assert asked(14) == GatePolicy(holdout_days=14, min_rows=240)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, history: pd.DataFrame) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    made = Lab(folder, history, MemoryRegistry(folder / "registry"))
    first = made.train("first", "2012-06-01")
    made.registry.set_alias("champion", first.version)
    made.train("second", "2012-06-11")
    return made


def test_a_first_challenger_is_registered_with_its_lineage(lab: Lab) -> None:
    version = lab.registry.get("1")
    assert version.tags["window_start"] == "2012-03-15T00:00:00"
    assert version.tags["window_end"] == "2012-06-01T00:00:00"
    assert (version.tags["git_revision"], version.tags["run_key"]) == ("1f3a", "first")
    run = lab.registry.runs[version.run_id]
    assert run["params"]["trees"] == 3
    assert {"test_mae", "test_wape", "test_rush_hour_mae", "backtest_wape", "backtest_bias_mu"} <= set(run["metrics"])
    assert (lab.folder / "registry" / version.run_id / "plots" / "importance.png").is_file()


def test_the_artifact_carries_card_backtest_profile_and_hash(lab: Lab) -> None:
    artifact = load_artifact(lab.folder / "first" / "artifact")
    assert artifact.content_hash == lab.registry.get("1").tags["content_hash"]
    assert artifact.contract["data_hash"] == lab.registry.get("1").tags["data_hash"]
    assert artifact.backtest["n_weeks"] >= 2
    assert artifact.backtest["weeks"][0].keys() >= {"start", "rows", "mae", "wape", "bias", "log_bias"}
    assert {"numeric", "validation_limits"} <= set(artifact.reference_profile)
    assert "Made by run `first`" in artifact.card


def test_the_judged_rows_lie_after_everything_the_recipe_saw(lab: Lab) -> None:
    plan = json.loads((lab.folder / "first" / "trial" / "plan.json").read_text())
    judged = pd.read_parquet(lab.folder / "first" / "trial" / "forecast.parquet")
    assert plan["test_start"] == "2012-05-18T00:00:00"
    assert str(judged["timestamp"].min()) >= "2012-05-18"
    assert {"demand", "prediction", "naive", "weather", "is_holiday", "lower_80", "upper_80"} <= set(judged.columns)


def test_a_first_version_is_judged_without_a_champion(lab: Lab) -> None:
    found = evaluate_challenger(
        lab.rows("2012-06-01"), lab.folder / "first" / "artifact", lab.folder / "first" / "trial", load_artifact,
        policy=POLICY, seed=1,
    )
    assert (found.champion, found.champion_version, found.paired) == (None, None, None)
    assert found.champion_row_ms is None
    assert found.row_ms > 0
    assert 0 < found.artifact_mb < 15
    assert "first version" in judge(found, POLICY).reason


def test_champion_and_challenger_answer_the_same_rows_that_neither_saw(lab: Lab) -> None:
    found = evaluate_challenger(
        lab.rows("2012-06-11"), lab.folder / "second" / "artifact", lab.folder / "second" / "trial", load_artifact,
        policy=POLICY, seed=1,
    )
    assert found.champion is not None
    assert found.champion_version == "1"
    assert found.champion_row_ms is not None
    assert found.champion_row_ms > 0
    assert found.champion.overall.rows == found.challenger.overall.rows == found.naive.overall.rows == 120
    assert found.champion.overall.mae != found.challenger.overall.mae
    plan = json.loads((lab.folder / "second" / "trial" / "plan.json").read_text())
    assert plan["test_start"] > lab.registry.get("1").tags["window_end"]
    names = [check.name for check in judge(found, POLICY).checks]
    assert {"naive", "champion", "bias", "size", "latency", "bootstrap"} <= set(names)


def test_a_corrupt_champion_is_refused(lab: Lab) -> None:
    trial = lab.folder / "second" / "trial"
    model = next(trial.glob("champion/**/model.onnx"))
    original = model.read_bytes()
    try:
        model.write_bytes(original[:-1])
        with pytest.raises(ArtifactError, match=r"model\.onnx"):
            evaluate_challenger(
                lab.rows("2012-06-11"), lab.folder / "second" / "artifact", trial, load_artifact, policy=POLICY, seed=1
            )
    finally:
        model.write_bytes(original)


def test_with_few_fresh_rows_the_champions_backtest_stands_for_it(lab: Lab) -> None:
    lab.train("soon", "2012-06-03")
    found = evaluate_challenger(
        lab.rows("2012-06-03"), lab.folder / "soon" / "artifact", lab.folder / "soon" / "trial", load_artifact,
        policy=POLICY, seed=1,
    )
    assert found.champion is None
    assert found.champion_backtest_wape is not None
    decision = judge(found, POLICY)
    assert "champion_backtest" in [check.name for check in decision.checks]
    assert "only 48 fresh hours" in decision.reason


def test_hours_of_a_changed_world_that_the_recipe_did_not_know_are_no_promise(lab: Lab) -> None:
    def weeks_until(name: str) -> list[str]:
        backtest = load_artifact(lab.folder / name / "artifact").backtest
        return [str(pd.Timestamp(week["start"]) + pd.Timedelta(days=7)) for week in backtest["weeks"]]

    lab.train("steady", "2012-07-01")
    lab.train("adapted", "2012-07-01", adapt_since="2012-06-20T00:00:00")

    assert max(weeks_until("steady")) == "2012-07-01 00:00:00"
    assert max(weeks_until("adapted")) == "2012-06-17 00:00:00"
    plan = json.loads((lab.folder / "adapted" / "trial" / "plan.json").read_text())
    assert plan["test_start"] > "2012-06-20"
    assert "not judged" not in plan["reason"]


def test_an_adaptation_that_no_row_can_judge_is_said_to_be_unjudged(lab: Lab) -> None:
    lab.train("young", "2012-07-01", adapt_since="2012-06-28T00:00:00")
    plan = json.loads((lab.folder / "young" / "trial" / "plan.json").read_text())
    assert plan["test_start"] < "2012-06-28"
    assert "the change of 2012-06-28 is younger than these" in plan["reason"]


def test_too_little_history_is_refused_before_anything_is_registered(lab: Lab) -> None:
    before = len(lab.registry.versions())
    with pytest.raises(DataError):
        lab.train("short", "2012-04-20")
    assert len(lab.registry.versions()) == before


def test_a_champion_of_unknown_window_cannot_be_compared_with(lab: Lab, tmp_path: Path) -> None:
    registry = MemoryRegistry(tmp_path / "other")
    run_id = registry.log_run(run_name="r", params={}, metrics={}, tags={})
    registry.set_alias("champion", registry.register(run_id, lab.folder / "first" / "artifact", {}))
    with pytest.raises(NotFound, match="window_end"):
        Lab(tmp_path, lab.history, registry).train("x", "2012-06-11")
