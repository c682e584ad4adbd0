"""What evidence costs: streamed fixed bins beside plain Evidently, on the same rows. Writes `benchmarks/monitor.md`.

Each measurement is a process of its own; memory is its peak resident set, time is CPU seconds (user + system), which
a busy machine disturbs less than wall time. Rows are generated from the real record with a known shift.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROW_GROUP = 131_072
KEPT = ROOT / "benchmarks" / "monitor.json"
"""The last measurements; `--skip-plain` takes plain Evidently's from here (the rows are the same every time)."""

COLUMNS = ("temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh", "prediction", "weather")
SHIFTED = ("humidity_pct", "prediction", "temp_c")
NUMBERS = COLUMNS[:5]


def history() -> Any:
    """The real record; demand stands for the prediction."""
    from bikeshare.core.observations import load_uci

    frame = load_uci((ROOT / "data" / "hour.csv.gz").read_bytes())
    return frame.rename(columns={"demand": "prediction"})


def generate(rows: int, path: Path) -> None:
    """A log of 2011's hours drawn again and again, jittered; three columns shifted by 0.3 standard deviations."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = history()
    frame = frame[frame["timestamp"] < "2012"]
    rng = np.random.default_rng(7)
    weather = frame["weather"].to_numpy(dtype=str)
    writer = None
    for start in range(0, rows, ROW_GROUP):
        take = rng.integers(0, len(frame), min(ROW_GROUP, rows - start))
        columns: dict[str, Any] = {}
        for name in NUMBERS:
            values = frame[name].to_numpy(dtype="float64")
            shift = 0.3 * values.std() if name in SHIFTED else 0.0
            columns[name] = values[take] + rng.normal(shift, 0.01 * values.std(), len(take))
        table = pa.table({**columns, "weather": weather[take]})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=ROW_GROUP)
    if writer is not None:
        writer.close()


def batches(path: Path) -> Iterator[Any]:
    """Arrow batches of a Parquet file, one row group in memory at a time.

    `pre_buffer` must be off: it keeps every row group that was read until the file is closed (0.7 GB at 10^7 rows).
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, pre_buffer=False)
    for group in range(file.num_row_groups):
        yield from file.iter_batches(65_536, row_groups=[group], columns=list(COLUMNS), use_threads=False)


def streamed(path: Path, profile_path: Path) -> dict[str, Any]:
    """Our path: the profile is read from the artifact, the log is streamed into its bins."""
    from bikeshare.core.sketches import RAW_LIMIT, score_columns, sketch_batches

    profile = json.loads(profile_path.read_text())
    sketch = sketch_batches(profile, batches(path), seed=1)
    scores = score_columns(sketch, profile, 20)
    flagged = sorted(s.column for s in scores if s.method in ("w1", "js") and s.value >= RAW_LIMIT)
    return {"rows": sketch.rows, "flagged": flagged, "sample": len(sketch.sample())}


def streamed_with_report(path: Path, profile_path: Path) -> dict[str, Any]:
    """Our path when a report is due: Evidently on the sample of 20,000 rows."""
    from bikeshare.adapters.drift_report import EvidentlyReporter
    from bikeshare.core.sketches import sketch_batches

    sketch = sketch_batches(json.loads(profile_path.read_text()), batches(path), seed=1)
    frame = history()
    reference = frame[frame["timestamp"] < "2012"][list(COLUMNS)]
    with tempfile.TemporaryDirectory() as scratch:
        raw = EvidentlyReporter().write(sketch.sample(), reference, Path(scratch), title="benchmark", verdict={})
    return {"rows": sketch.rows, "flagged": raw["drifted"]}


def plain(path: Path, _: Path) -> dict[str, Any]:
    """What the tutorials do: everything into pandas, everything into Evidently."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    current = pd.read_parquet(path)
    frame = history()
    reference = frame[frame["timestamp"] < "2012"][list(COLUMNS)]
    definition = DataDefinition(numerical_columns=list(NUMBERS), categorical_columns=["weather"])
    snapshot = Report([DataDriftPreset(columns=list(COLUMNS))], include_tests=True).run(
        Dataset.from_pandas(current, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    tests = json.loads(snapshot.json())["tests"]
    failed = [test["metric_config"]["params"].get("column") for test in tests if test["status"] == "FAIL"]
    return {"rows": len(current), "flagged": sorted(name for name in failed if name)}


def sql(path: Path, profile_path: Path) -> dict[str, Any]:
    """The same rows through `Records.iter_predictions` on SQLite; only reading is measured."""
    from datetime import datetime

    from bikeshare.adapters.records import SqlRecords
    from bikeshare.core.sketches import RAW_LIMIT, Sketch, score_columns

    profile = json.loads(profile_path.read_text())
    sketch = Sketch(profile, prediction="demand", seed=1)
    records = SqlRecords(f"sqlite:///{path.with_suffix('.db')}")
    for batch in records.iter_predictions(
        datetime(2012, 1, 1), datetime(2013, 1, 1), columns=list(sketch.columns), batch_rows=65_536
    ):
        sketch.add(batch)
    scores = score_columns(sketch, profile, 20)
    return {"rows": sketch.rows,
            "flagged": sorted(s.column for s in scores if s.method in ("w1", "js") and s.value >= RAW_LIMIT)}


def fill_database(path: Path, _: Path) -> dict[str, Any]:
    """Write the rows of a Parquet file into the prediction log of a SQLite database, as one busy week."""
    import sqlite3

    from bikeshare.adapters.records import SqlRecords

    database = path.with_suffix(".db")
    SqlRecords(f"sqlite:///{database}").migrate()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA synchronous=OFF")
    rows = 0
    for batch in batches(path):
        columns = batch.to_pydict()
        values = [
            (f"r{rows + i}", 0, "2012-05-01 00:00:00.000000", "1",
             f"2012-05-{1 + (rows + i) % 7:02d} {(rows + i) % 24:02d}:00:00.000000",
             *(columns[name][i] for name in NUMBERS[:4]), columns["weather"][i], False, "h", columns["prediction"][i],
             0.0, 0.0, 0.0, 0.0, "mean", False, 1.0)
            for i in range(batch.num_rows)
        ]
        connection.executemany(f"INSERT INTO predictions VALUES ({', '.join('?' * len(values[0]))})", values)
        rows += batch.num_rows
    connection.commit()
    connection.close()
    return {"rows": rows}


def generate_child(path: Path, _: Path) -> dict[str, Any]:
    """`generate`, with the number of rows taken from the file's name."""
    generate(int(path.stem), path)
    return {"rows": int(path.stem)}


WORK: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "streamed": streamed, "streamed + report": streamed_with_report, "plain Evidently": plain, "SQLite": sql,
    "fill": fill_database, "generate": generate_child,
}


def peak_mb() -> float:
    """Peak resident set of this process; `ru_maxrss` would also count what its parent held before exec."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def child(name: str, path: Path, profile: Path) -> None:
    """Do one piece of work in this process and print what it cost."""
    started = time.monotonic()
    result = WORK[name](path, profile)
    used = resource.getrusage(resource.RUSAGE_SELF)
    sys.stdout.write("\n" + json.dumps({
        **result, "cpu_s": used.ru_utime + used.ru_stime, "wall_s": time.monotonic() - started,
        "peak_mb": peak_mb(), "evidently": "evidently" in sys.modules,
    }) + "\n")


def measure(name: str, path: Path, profile: Path, *, timeout: float = 1500) -> dict[str, Any]:
    """Run `child` in a process of its own."""
    sys.stderr.write(f"{name}, {path.stem} ...\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--child", name, str(path), str(profile)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=timeout,
    )
    if done.returncode:
        return {"failed": f"exit {done.returncode}: {done.stderr[-200:]}"}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


QUIET = """
import json, resource, sys
from bikeshare.bootstrap import wire
from bikeshare.settings import load_settings
from services.monitor.check import run_once
settings = load_settings()
ports = wire(settings, job="monitor")
decision = run_once(ports, settings, ports.clock.now())
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"reason": decision.reason, "state": decision.state.value, "cpu_s": used.ru_utime + used.ru_stime,
    "peak_mb": int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024,
    "imported": sorted(name for name in ("evidently", "mlflow", "kfp", "sklearn", "onnxruntime", "slack_sdk")
                       if name in sys.modules)}))
"""


def quiet_path(home: Path) -> dict[str, Any]:
    """A whole `python` process that looks an hour after another look and finds nothing to do; the best of five."""
    from benchmarks.monitor_world import prepare

    prepare(home)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("BIKESHARE_")},
        "PYTHONPATH": str(ROOT), "BIKESHARE_HOME": str(home), "BIKESHARE_CLOCK": f"file:{home / 'clock.txt'}",
    }
    answers = []
    for _ in range(5):
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", QUIET], cwd=ROOT, env=environment, capture_output=True, text=True,
            check=True,
        )
        answers.append({**json.loads(done.stdout.strip().splitlines()[-1]), "wall_s": time.monotonic() - started})
    return min(answers, key=lambda answer: answer["wall_s"])


def table(rows: list[tuple[str, str, dict[str, Any]]]) -> str:
    """Markdown of the measurements."""
    lines = ["| rows | how | CPU s | wall s | peak RSS MB | flagged |", "| --- | --- | --- | --- | --- | --- |"]
    for count, how, found in rows:
        if "failed" in found:
            lines.append(f"| {count} | {how} | | | | {found['failed'].splitlines()[0]} |")
        else:
            lines.append(f"| {count} | {how} | {found['cpu_s']:.1f} | {found['wall_s']:.1f} | {found['peak_mb']:.0f} | "
                         f"{', '.join(found['flagged'])} |")
    return "\n".join(lines)


def main() -> int:
    """Measure and write the page; exits 1 when a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--skip-plain", action="store_true", help="Keep plain Evidently's last numbers.")
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]), Path(options.child[2]))
        return 0
    from bikeshare.core.profiles import build_profile

    rows: list[tuple[str, str, dict[str, Any]]] = []
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    with tempfile.TemporaryDirectory() as scratch:
        frame = history()
        profile = Path(scratch) / "profile.json"
        profile.write_text(json.dumps(build_profile(frame[frame["timestamp"] < "2012"])))
        quiet = quiet_path(Path(scratch) / "home")
        for count in options.rows:
            path = Path(scratch) / f"{count}.parquet"
            measure("generate", path, profile)
            for how in ("streamed", "streamed + report"):
                rows.append((f"{count:.0e}", how, measure(how, path, profile)))
            if not options.skip_plain:
                rows.append((f"{count:.0e}", "plain Evidently", measure("plain Evidently", path, profile)))
            elif f"{count:.0e}" in kept:
                rows.append((f"{count:.0e}", "plain Evidently", kept[f"{count:.0e}"]))
            if count <= 1_000_000:
                measure("fill", path, profile)
                rows.append((f"{count:.0e}", "SQLite", measure("SQLite", path, profile)))
            path.unlink()
    KEPT.write_text(json.dumps(kept | {
        count: found for count, how, found in rows if how == "plain Evidently" and "failed" not in found
    }, indent=1) + "\n")
    ours = [found for _, how, found in rows if how in ("streamed", "SQLite")]
    promises = {
        "Peak memory of evidence at most 300 MB": all(found.get("peak_mb", 1e9) <= 300 for found in ours),
        "Same verdicts as plain Evidently": len({
            tuple(found["flagged"]) for _, _, found in rows if "flagged" in found
        }) == 1,
        "Evidence does not import Evidently": not any(found.get("evidently", True) for found in ours),
        "Quiet path under 3 s": quiet["wall_s"] < 3,
        "Quiet path imports neither Evidently nor MLflow": not {"evidently", "mlflow"} & set(quiet["imported"]),
    }
    page = f"""# What the monitor's evidence costs

Written by `python -m benchmarks.monitor`. Each line is a process of its own; CPU is user + system.
The log repeats real hours of 2011 with jitter; {', '.join(SHIFTED)} are shifted by 0.3 standard deviations.

{table(rows)}

"streamed" reads Parquet batches into the fixed bins of the reference profile and keeps a uniform sample of 20,000
rows. "streamed + report" also writes Evidently's page from that sample. "SQLite" reads the same rows from the
prediction log. "plain Evidently" loads everything, with default settings; it takes minutes and gigabytes, so
`--skip-plain` shows its last measurement.

**Quiet path.** A whole process that looks, finds nothing new and records it: {quiet['wall_s']:.2f} s wall,
{quiet['cpu_s']:.2f} s CPU, {quiet['peak_mb']:.0f} MB (best of five).
Heavy packages imported: {', '.join(quiet['imported']) or 'none'}.
It said:

> {quiet['reason']}

| promise | holds |
| --- | --- |
""" + "".join(f"| {name} | {'yes' if holds else '**no**'} |\n" for name, holds in promises.items())
    (ROOT / "benchmarks" / "monitor.md").write_text(page)
    sys.stdout.write(page)
    return 0 if all(promises.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
