"""The serving benchmark runs on every path; it fails on a broken answer or a lost prediction, never on a number."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_path_of_the_serving_benchmark_answers() -> None:
    subprocess.run([ROOT / "hack" / "wrk.sh"], check=True, timeout=300)

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", "--quick", "--soak", "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=500, check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout[done.stdout.index("{"):])
    assert set(found["loads"]) == {"echo", "naive", "predictor"}
    assert set(found["loads"]["predictor"]) == {"8", "128"}
    assert set(found["log"]) == {"closed", "paced", "to_up", "kept", "insert"}
    assert set(found["log"]["closed"]) == set(found["log"]["paced"]) == {"up", "slow", "away"}
    assert found["log"]["kept"]["written"] >= found["log"]["kept"]["answers"] > 0
    assert found["soak"]["answers"] > found["soak"]["broken"] == 0
    assert found["soak"]["compared"] == 500
    assert found["soak"]["relative_difference"] < 1e-4
