"""A small home in which the monitor has something to look at: three weeks of traffic, a champion, one earlier look."""

import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from bikeshare.bootstrap import wire
from bikeshare.core.limits import learn_limits
from bikeshare.core.observations import load_uci
from bikeshare.core.profiles import build_profile
from bikeshare.ports import PredictionRow, Records
from bikeshare.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2012, 5, 22, 6)


def reference_documents(training: pd.DataFrame, wape: float = 0.12) -> dict[str, dict[str, object]]:
    """The documents of an artifact that the monitor reads."""
    window = [training["timestamp"].iloc[0].isoformat(),
              (training["timestamp"].iloc[-1] + pd.Timedelta(hours=1)).isoformat()]
    weeks = [{"wape": wape + 0.01 * (-1) ** number, "log_bias": 0.0} for number in range(8)]
    return {
        "reference_profile.json": {
            **build_profile(training), "validation_limits": learn_limits(training).to_dict(),
        },
        "backtest.json": {"weeks": weeks, "wape": wape, "bias_mu": 0.0, "bias_sd": 0.02, "n_weeks": 8},
        "contract.json": {"contract_version": "1", "window": window},
    }


def serve(records: Records, frame: pd.DataFrame, *, version: str, ratio: float = 1.0, seed: int = 0) -> None:
    """Log one prediction per hour of `frame`, made at midnight of its day, `ratio` times the truth, jittered."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in frame.itertuples(index=False):
        hour = row.timestamp.to_pydatetime()
        value = float(row.demand) * ratio * float(rng.uniform(0.85, 1.15))
        rows.append(PredictionRow(
            f"{version}-{hour:%Y%m%d}", hour.hour, hour.replace(hour=0), version, hour, row.temp_c, row.feels_like_c,
            row.humidity_pct, row.windspeed_kmh, row.weather, bool(row.is_holiday), "h", value, 0.7 * value,
            1.3 * value + 1, 0.5 * value, 1.6 * value + 1, "mean", False, 24.0,
        ))
    records.insert_predictions(rows)


def prepare(home: Path) -> None:
    """Fill a home and look once, so that the next look is a quiet one."""
    from services.monitor.check import run_once

    home.mkdir(parents=True, exist_ok=True)
    (home / "clock.txt").write_text((NOW + timedelta(hours=1)).isoformat())
    settings = Settings.isolated(home=home, clock=f"file:{home / 'clock.txt'}")
    ports = wire(settings, job="monitor")
    history = load_uci((ROOT / "data" / "hour.csv.gz").read_bytes())
    training = history[history["timestamp"] < NOW - timedelta(days=30)]
    ports.records.upsert_observations(history[history["timestamp"] < NOW - timedelta(hours=30)])
    recent = history[(history["timestamp"] >= NOW - timedelta(days=21)) & (history["timestamp"] < "2012-05-23")]
    serve(ports.records, recent, version="1")
    with tempfile.TemporaryDirectory() as scratch:
        for name, document in reference_documents(training).items():
            (Path(scratch) / name).write_text(json.dumps(document))
        run = ports.registry.log_run(run_name="first", params={}, metrics={}, tags={})
        version = ports.registry.register(run, Path(scratch), {})
    ports.registry.set_alias("champion", version)
    run_once(ports, settings, NOW)
