"""Shared by all tests: a home that is nobody's, and real history loaded once."""

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Nothing is asserted about speed, and that an example took 200 ms on a busy machine is no finding.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("DO_NOT_TRACK", "1")

ROOT = Path(__file__).resolve().parents[1]


class _OnePlay(LoadFileScheduling):
    """Files whose tests look at one played home share a process, so that it is played once."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/browser" if nodeid.startswith("tests/browser/") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """The scheduler of `--dist loadfile`; others stay as they are."""
    return _OnePlay(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: none of them begins when the other worker has nothing left to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _no_leaking_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own BIKESHARE_* variables must not change what a test sees."""
    vendor = ("MLFLOW_TRACKING_URI", "SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN", "SLACK_CHANNEL", "PUSHGATEWAY_URL")
    for name in list(os.environ):
        if name.startswith("BIKESHARE_") or name in vendor:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def history() -> pd.DataFrame:
    """All 17,379 real observations in physical units; do not modify, copy."""
    from bikeshare.core.observations import load_uci

    return load_uci((ROOT / "data" / "hour.csv.gz").read_bytes())


@pytest.fixture(scope="session")
def prometheus_bin() -> Path:
    """A folder with prometheus, promtool and prometheus-pushgateway, fetched once per machine."""
    done = subprocess.run([ROOT / "hack" / "prometheus.sh"], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())
