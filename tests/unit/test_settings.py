"""Settings: read once, unknown names refused, and passed on to children without loss."""

import importlib.util
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from bikeshare.core.promotion import GatePolicy
from bikeshare.core.retraining import RetrainingPolicy
from bikeshare.errors import ConfigurationError
from bikeshare.settings import AT_LEAST_ONE, POLICIES, Settings, load_settings
from bikeshare.simulation.rehearsal import Rehearsal
from bikeshare.simulation.stage import Stage
from bikeshare.simulation.world import World

OTHER_SYSTEM = {
    "MLFLOW_TRACKING_URI": "https://mlflow.example", "BIKESHARE_DATABASE_URL": "postgresql://example/records",
    "BIKESHARE_STORE_URL": "s3://example", "BIKESHARE_PIPELINES_URL": "https://kfp.example",
    "PUSHGATEWAY_URL": "https://push.example", "SLACK_WEBHOOK_URL": "https://slack.example",
}
"""Variables of somebody who also works on a real system."""


def test_an_unknown_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIKESHARE_STORE_ULR", "file:/tmp/x")

    with pytest.raises(ConfigurationError, match="BIKESHARE_STORE_ULR"):
        load_settings()


def test_a_wrong_value_is_named_with_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIKESHARE_PREDICTOR_PORT", "99999")

    with pytest.raises(ConfigurationError, match=r"predictor_port.*99999"):
        load_settings()


def test_a_misspelt_policy_field_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIKESHARE_RETRAINING__COOLDOWN_DAY", "3")

    with pytest.raises(ConfigurationError, match="cooldown_day"):
        load_settings()


@pytest.mark.parametrize(("variable", "value", "problem"), [
    ("BIKESHARE_GATE", "{bad", '"gate".*JSON object'),
    ("BIKESHARE_GATE__SLICE_RATIOS", "{bad", "slice_ratios is '{bad', which is not JSON"),
    ("BIKESHARE_GATE__MIN_ROWS", "0", "min_rows is 0, a number of 1 or more"),
    ("BIKESHARE_GATE__TEST_SHARE", "1.5", "test_share is 1.5, a number from 0 to 1"),
    ("BIKESHARE_GATE__SLICE_RATIOS", '{"rain": -1}', "slice_ratios is -1"),
    ("BIKESHARE_DRIFT__SPREAD", "nan", "spread is nan"),
    ("BIKESHARE_DRIFT__STEP_LIMIT", "inf", "step_limit is inf"),
    ("BIKESHARE_RETRAINING__HOLD_HOURS", "-1", "hold_hours is -1"),
    ("BIKESHARE_RETRAINING__CONFIRM", "4", "4 checks .* the last 3"),
])
def test_a_policy_that_cannot_be_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match=problem):
        load_settings()


def test_every_field_of_a_policy_can_be_set_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIKESHARE_GATE__SLICE_RATIOS", '{"rain": 1.3}')
    monkeypatch.setenv("BIKESHARE_GATE__JUDGED_SLICES", '["rain", "weekend"]')
    monkeypatch.setenv("BIKESHARE_RETRAINING__COOLDOWN_DAYS", "0")

    found = load_settings()
    assert found.gate == GatePolicy(slice_ratios={"rain": 1.3}, judged_slices=("rain", "weekend"))
    assert found.retraining == RetrainingPolicy(cooldown_days=0)


def test_the_lists_of_policies_and_of_their_fields_are_complete() -> None:
    policies = {name: field.default for name, field in Settings.model_fields.items() if is_dataclass(field.default)}
    assert set(policies) == set(POLICIES)
    assert {name for policy in policies.values() for name in asdict(policy)} >= AT_LEAST_ONE


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b"])
def test_a_home_that_no_database_url_can_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("BIKESHARE_HOME", str(tmp_path / name))

    with pytest.raises(ConfigurationError, match="BIKESHARE_HOME.*choose another folder"):
        load_settings()


def test_a_home_that_is_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BIKESHARE_HOME", str(tmp_path / "file"))

    with pytest.raises(ConfigurationError, match="is a file: name a folder"):
        load_settings()


def test_a_bot_token_without_a_channel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-secret-value")

    with pytest.raises(ConfigurationError, match="SLACK_CHANNEL") as refused:
        load_settings()
    assert "xoxb-secret-value" not in str(refused.value)


def test_children_get_exactly_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = Settings(
        home=tmp_path,
        predictor_port=4000,
        slack_bot_token="t",
        slack_channel="C1",
        pushgateway_url="http://push",
        gate=GatePolicy(max_mae_ratio=1.5, slice_ratios={"rain": 1.4}),
        retraining=RetrainingPolicy(cooldown_days=3),
    )
    for name, value in mine.to_environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings() == mine


def test_children_take_no_default_from_what_they_inherit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in OTHER_SYSTEM:
        monkeypatch.setenv(name, OTHER_SYSTEM[name])
    for name, value in Settings.isolated(home=tmp_path).to_environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings().model_dump() == Settings.isolated(home=tmp_path).model_dump()


def test_a_play_reaches_nothing_that_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in OTHER_SYSTEM:
        monkeypatch.setenv(name, OTHER_SYSTEM[name])
    with Stage(tmp_path / "stage", port=3999, supervisor_port=3998, with_slack=False) as stage:
        rehearsal = Rehearsal(World.of(pd.DataFrame()), date(2012, 1, 1))
        rehearsal._wire(tmp_path / "rehearsal")

        for settings in (stage.settings, rehearsal.settings):
            assert settings.tracking == f"sqlite:///{settings.home}/mlflow.db"
            assert settings.database == f"sqlite:///{settings.home}/records.db"
            assert settings.store == f"file:{settings.home}/store"
            assert settings.pipelines_url == "local:"
            assert settings.pushgateway_url == settings.slack_webhook_url.get_secret_value() == ""
        child = stage.environment()
        assert {name: child[name] for name in OTHER_SYSTEM} == dict.fromkeys(OTHER_SYSTEM, "") | {
            "BIKESHARE_PIPELINES_URL": "local:"
        }


def test_empty_urls_mean_the_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    assert settings.store == f"file:{tmp_path}/store"
    assert settings.database == f"sqlite:///{tmp_path}/records.db"
    assert Settings(home=tmp_path, store_url="s3://bucket/x").store == "s3://bucket/x"


def test_the_settings_page_is_fresh(root: Path) -> None:
    spec = importlib.util.spec_from_file_location("document_settings", root / "scripts" / "document_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert (root / "docs" / "configuration.md").read_text(encoding="utf-8") == module.document()


def test_a_play_empties_only_what_a_play_left(tmp_path: Path) -> None:
    def play(home: Path) -> None:
        with Stage(home, port=3999, supervisor_port=3998, with_slack=False):
            (home / "left").touch()

    thesis = tmp_path / "mine" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years")
    with pytest.raises(ConfigurationError, match="no play made"):
        play(thesis.parent)
    assert thesis.read_text() == "years"

    played = tmp_path / "played"
    play(played)
    (played / "stale").touch()
    play(played)
    assert not (played / "stale").exists()
