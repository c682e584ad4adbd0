"""`python -m benchmarks.serving`: what an answer costs, as ratios measured in one run. Writes `benchmarks/serving.md`.

The server has one core, wrk and PostgreSQL share the other. `--quick` runs every path for a moment on small forests
and prints; it fails on an answer that is not a 200 and on a lost prediction, never on a number.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.serving.load import Load, middle, press, require_wrk
from benchmarks.serving.proxy import Proxy
from benchmarks.serving.report import write
from benchmarks.serving.world import LOAD_CORE, ROOT, SERVER_CORE, Server, World, predictor, reference, world

FULL_TREES, QUICK_TREES = 50, 5
CONNECTIONS, QUICK_CONNECTIONS = (1, 8, 32, 128), (8, 128)
BATCHES = (24, 553)
STATES = ("up", "slow", "away")


def main() -> None:
    """Measure everything, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every path for a moment; writes nothing")
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS",
                        help="80 %% of capacity for this long")
    options = parser.parse_args()
    require_wrk()
    seconds, counts = (0.5, QUICK_CONNECTIONS) if options.quick else (4.0, CONNECTIONS)
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    with world(QUICK_TREES if options.quick else FULL_TREES) as made:
        found = measure(made, seconds, counts)
        if options.soak:
            found["soak"] = soak(made, options.soak)
    if options.quick:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        Path(ROOT / "benchmarks" / "serving.json").write_text(json.dumps(found, indent=1) + "\n")
        sys.stdout.write(write(found, ROOT / "benchmarks" / "serving.md"))


def measure(made: World, seconds: float, counts: Sequence[int]) -> dict[str, Any]:
    """Every table."""
    found: dict[str, Any] = {"loads": {}, "batches": {}, "log": {}}
    with reference(made, "echo") as echo, reference(made, "naive") as naive, predictor(made) as server:
        found["ready_seconds"] = round(server.ready_seconds, 2)
        found["loads"], found["of_echo"] = in_turns(
            {"echo": echo, "predictor": server, "naive": naive}, seconds, counts
        )
        found["batches"] = {rows: asdict(pressed(server.url, connections=4, seconds=seconds, rows=rows))
                            for rows in BATCHES}
        found["resident_mb"] = round(server.resident_mb)
    found["two"] = two_processes(made, seconds)
    found["log"] = log_states(made, seconds)
    return found


def in_turns(
    servers: Mapping[str, Server], seconds: float, counts: Sequence[int]
) -> tuple[dict[str, dict[int, Any]], dict[int, dict[str, list[float]]]]:
    """Medians of short turns per number of connections, and quartiles of the predictor's share of the echo.

    The machine changes more within minutes than the servers do, so shares are taken within a turn.
    """
    runs: dict[str, dict[int, list[Load]]] = {name: {} for name in servers}
    for server in servers.values():
        press(server.url, connections=8, seconds=seconds / 4)
    for turn in range(max(2, round(seconds * 4))):
        for count in counts:
            for name in sorted(servers, reverse=turn % 2 == 1):
                if name != "naive" or count == 8:
                    load = pressed(servers[name].url, connections=count, seconds=seconds / 4)
                    runs[name].setdefault(count, []).append(load)
                    # What a server still computes or logs for nobody would slow down the next one.
                    time.sleep(seconds / 8)
    pairs = {count: list(zip(runs["predictor"][count], runs["echo"][count], strict=True)) for count in counts}
    return (
        {name: {count: asdict(middle(loads)) for count, loads in turns.items()} for name, turns in runs.items()},
        {count: {"rps": quantiles([ours.rps / echo.rps for ours, echo in found]),
                 "p99": quantiles([ours.p99 / echo.p99 for ours, echo in found])} for count, found in pairs.items()},
    )


def two_processes(made: World, seconds: float) -> dict[str, float]:
    """Two predictors, one per core, each with its own load from the same cores; and one under the same conditions."""
    from concurrent.futures import ThreadPoolExecutor

    both = f"{SERVER_CORE},{LOAD_CORE}"
    with predictor(made) as first, predictor(made, core=LOAD_CORE) as second, ThreadPoolExecutor(2) as pool:
        alone = pressed(first.url, connections=8, seconds=seconds, core=both)
        runs = [
            pool.submit(pressed, server.url, connections=8, seconds=seconds, core=both) for server in (first, second)
        ]
        together = sum(run.result().rps for run in runs)
    return {"one": alone.rps, "two": together}


def log_states(made: World, seconds: float) -> dict[str, Any]:
    """Latency with the database up, slow and away, in turns; afterwards every answered row must have arrived.

    As fast as the answers come, the latency follows from the throughput; the promise is about the same load, which
    is half of what the process can do. At a fixed rate a stall of the machine ends in refusals, which are answers.
    """
    closed: dict[str, list[Load]] = {state: [] for state in STATES}
    paced: dict[str, list[Load]] = {state: [] for state in STATES}
    before = rows_in(made.database_url)
    with Proxy(made.database_url).running() as proxy:
        changed = World(made.home, made.forests, made.artifact, proxy.url)
        with predictor(changed) as server:
            first = [pressed(server.url, connections=8, seconds=seconds / 4) for _ in range(3)]
            rate = min(load.rps for load in first) / 2
            for turn in range(max(2, round(seconds * 4))):
                for state in sorted(STATES, reverse=turn % 2 == 1):
                    proxy.become(state)
                    closed[state].append(pressed(server.url, connections=8, seconds=seconds / 4))
                    paced[state].append(press(server.url, connections=32, seconds=seconds / 2, rate=rate))
                proxy.become("up")
                arrived(server)
            answers = sum(load.answers for load in first) + sum(
                load.answers - load.refused for runs in (closed, paced) for state in STATES for load in runs[state]
            )
            # Not the log's own count: a commit whose answer was cut off is written, and a duplicate when repeated.
            kept = arrived(server) | {"written": rows_in(made.database_url) - before}
    if kept["dropped"] or kept["written"] < answers:
        raise RuntimeError(f"{answers} answers, but {kept} below the size of the spool")
    return {
        "to_up": {state: quantiles([load.p99 / up.p99 for load, up in zip(paced[state], paced["up"], strict=True)])
                  for state in STATES},
        "closed": {state: asdict(middle(closed[state])) for state in STATES},
        "paced": {state: asdict(middle(paced[state])) for state in STATES},
        "kept": kept | {"answers": answers}, "insert": insert_cost(made, 20_000 if seconds < 1 else 100_000),
    }


def arrived(server: Server, patience: float = 60.0) -> dict[str, float]:
    """What the log says about itself, once nothing waits in its queue or on disk."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = counted(server)
        if not found["queued"] and not found["spooled"]:
            return found
        time.sleep(0.1)
    raise RuntimeError(f"{found} after {patience:g} s with the database up")


def rows_in(database_url: str) -> int:
    """Logged predictions in the database."""
    import psycopg

    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT count(*) FROM predictions").fetchone()
    return int(found[0]) if found else 0


def counted(server: Server) -> dict[str, float]:
    """Rows written, queued and dropped, and bytes in the spool."""
    import urllib.request

    prefix = "bikeshare_prediction_log_"
    wanted = {"written_total": "written", "dropped_total": "dropped", "spooled_bytes": "spooled"}
    found = dict.fromkeys(wanted.values(), 0.0)
    with urllib.request.urlopen(server.url + "/-/state", timeout=10) as page:
        found["queued"] = float(json.load(page)["log"]["queued_rows"])
    with urllib.request.urlopen(server.url + "/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            name = wanted.get(line.split("{")[0].split(" ")[0].removeprefix(prefix))
            if name:
                found[name] += float(line.rsplit(" ", 1)[1])
    return found


def insert_cost(made: World, rows: int) -> dict[str, float]:
    """Rows per second through the log into PostgreSQL, and the processor time of this side per row."""
    import tempfile

    from prometheus_client import CollectorRegistry

    from benchmarks.serving.world import NOW
    from bikeshare.adapters.records import SqlRecords
    from bikeshare.core.single_hour import SingleForecast, SingleHour
    from services.predictor.logged import LoggedHour
    from services.predictor.metrics import Metrics
    from services.predictor.prediction_log import PredictionLog
    from services.predictor.spool import Spool

    records = SqlRecords(made.database_url)
    before = rows_in(made.database_url)
    answer = SingleForecast(312.4871937, 251.1873621, 380.9918273, 208.1726354, 441.8827364, 0, False, 9.0)
    logged = [
        LoggedHour(f"insert-{rows}-{number}", NOW, "1", SingleHour(372_000, 24.1, 25.3, 55.0, 12.7, 0), answer)
        for number in range(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        log = PredictionLog(lambda: records, Spool(Path(folder), 0), Metrics(CollectorRegistry()))
        log.start()
        began, used = time.perf_counter(), time.process_time()
        for start in range(0, rows, 10_000):
            log.extend(logged[start:start + 10_000])
            while log.queued_rows > 10_000:
                time.sleep(0.01)
        log.close()
        wall, cpu = time.perf_counter() - began, time.process_time() - used
    stored = rows_in(made.database_url) - before
    records.delete_predictions_before(NOW + timedelta(seconds=1))
    records.close()
    if stored != rows:
        raise RuntimeError(f"{stored} of {rows} rows arrived")
    return {"rows_per_second": round(rows / wall), "cpu_us_per_row": round(cpu / rows * 1e6, 1)}


def soak(made: World, seconds: float) -> dict[str, float]:
    """A long time at 80 % of what the process can do, after a tenth of the time at full load."""
    with predictor(made) as server:
        capacity = press(server.url, connections=8, seconds=max(1.0, seconds / 10)).rps
        before = server.resident_mb
        load = press(server.url, connections=32, seconds=seconds, rate=0.8 * capacity)
        after = server.resident_mb
        arrived(server)
    return asdict(load) | {"seconds": seconds, "capacity": capacity, "resident_mb_before": round(before, 1),
                           "resident_mb_after": round(after, 1)} | compared(made, 500)


def compared(made: World, count: int) -> dict[str, float]:
    """A sample of the logged answers beside those of the scikit-learn forests, each question asked alone."""
    import joblib
    import pandas as pd
    import psycopg

    from benchmarks.serving.world import NOW
    from bikeshare.adapters.records import SqlRecords
    from bikeshare.core.batch import WeatherBatch
    from bikeshare.core.forecasting import Forecaster

    columns = ("timestamp", "temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh", "weather", "demand")
    with psycopg.connect(made.database_url) as connection:
        rows = connection.execute(
            f"SELECT {', '.join(columns)} FROM predictions ORDER BY random() LIMIT %s", (count,)
        ).fetchall()
    forecaster = Forecaster.of(joblib.load(made.forests))
    records = SqlRecords(made.database_url)
    snapshot = forecaster.snapshot(records.observations(), NOW)
    records.close()
    logged = pd.DataFrame(rows, columns=list(columns))
    offline = [forecaster.predict(WeatherBatch.from_frame(logged.iloc[[row]]), snapshot, NOW).demand[0]
               for row in range(len(logged))]
    apart = (logged["demand"] / offline - 1).abs().max()
    return {"compared": len(logged), "relative_difference": float(apart)}


def pressed(url: str, **how: Any) -> Load:
    """A load whose every answer was a 200.

    A quick run may share its machine: a stall ends in refusals, so it asks again. What is measured never does.
    """
    tries = 5 if how["seconds"] < 1 else 1
    for _ in range(tries):
        load = press(url, **how)
        if load.broken or not load.refused:
            break
    if load.refused or load.broken or not load.answers:
        raise RuntimeError(f"{load.refused} refused, {load.broken} broken of {load.answers} answers")
    return load


if __name__ == "__main__":
    main()
