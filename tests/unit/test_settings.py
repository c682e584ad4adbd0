"""Settings: read once, unknown names refused, and passed on to children without loss."""

import importlib.util
from pathlib import Path

import pytest

from bikeshare.core.promotion import GatePolicy
from bikeshare.core.retraining import RetrainingPolicy
from bikeshare.errors import ConfigurationError
from bikeshare.settings import Settings, load_settings


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
