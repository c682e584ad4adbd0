"""wrk as a function: requests per second, percentiles and every answer that was not a 200."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.serving.world import LOAD_CORE, NOW

SCRIPT = Path(__file__).with_name("load.lua")
BODIES = 500
SHORTEST_SECONDS = 0.5
"""Time for every connection to be answered, whatever else the machine does."""


@dataclass(frozen=True)
class Load:
    """What one run saw; latencies in milliseconds.

    Attributes:
        rps: Answers per second.
        p50: Median latency.
        p99: 99th percentile.
        p999: 99.9th percentile.
        answers: Complete answers.
        refused: Answers with a status of 400 or more.
        broken: Connections that failed, were closed early or timed out.
    """

    rps: float
    p50: float
    p99: float
    p999: float
    answers: int
    refused: int
    broken: int


def middle(loads: Sequence[Load]) -> Load:
    """The median of each figure of several runs; counts are added up."""
    return Load(*(
        (sum if name in ("answers", "refused", "broken") else median)(getattr(load, name) for load in loads)
        for name in (field.name for field in fields(Load))
    ))


def require_wrk() -> None:
    """Stop with the way out when wrk is not installed."""
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        raise SystemExit("wrk or taskset is missing: `hack/wrk.sh` installs both (Debian: apt-get install wrk)")


def instances(rows: int, draw: random.Random) -> list[dict[str, Any]]:
    """Rows of plausible weather: hours around now, each once."""
    first = draw.randrange(-24, 48) if rows <= 48 else -168
    hours = range(first, first + rows)
    return [{
        "timestamp": (NOW + timedelta(hours=hour)).isoformat(timespec="minutes"),
        "temp_c": round(draw.uniform(15, 33), 1), "feels_like_c": round(draw.uniform(15, 36), 1),
        "humidity_pct": draw.randrange(30, 95), "windspeed_kmh": round(draw.uniform(0, 30), 1),
        "weather": draw.choice(["clear", "clear", "mist", "light_precip"]),
    } for hour in hours]


def press(
    url: str, *, connections: int, seconds: float, rows: int = 1, path: str = "/predict", core: str = LOAD_CORE,
    rate: float = 0.0,
) -> Load:
    """Ask over this many kept connections, as fast as the answers come or at a `rate` in requests per second."""
    draw = random.Random(rows)
    count = BODIES if rows <= 24 else 8
    bodies = [json.dumps({"instances": instances(rows, draw)}) for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        questions, answer = Path(folder) / "bodies", Path(folder) / "answer.json"
        questions.write_text("\n".join(bodies))
        # wrk counts whole seconds; told to stop, it reports what it has seen so far.
        running = subprocess.Popen(
            ["taskset", "-c", core, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s",
             "--timeout", "20s", "-s", str(SCRIPT), url + path, "--", str(questions), str(answer)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | ({"REQUESTS_PER_SECOND": str(rate)} if rate else {}),
        )
        if seconds < 1:
            time.sleep(max(SHORTEST_SECONDS, seconds))
            running.send_signal(signal.SIGINT)
        out, error = running.communicate()
        if running.returncode != 0 or not answer.exists():
            raise RuntimeError(f"wrk ended with {running.returncode}: {out[-500:]} {error[-500:]}")
        return Load(**json.loads(answer.read_text()))
