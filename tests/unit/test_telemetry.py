"""Names from one table, counters that go on, files that are never half written."""

import http.server
import re
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bikeshare.adapters.telemetry import METRICS, PrometheusTelemetry
from bikeshare.errors import Unavailable
from tests.fakes.records import MemoryRecords


def read(path: Path) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(path.read_text())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_every_name_says_what_it_is() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"bikeshare_[a-z0-9_]+", name)
        assert name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")


def test_every_metric_of_the_table_is_measured_somewhere(root: Path) -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("bikeshare/steps", "services") for path in (root / folder).rglob("*.py")
    )

    assert [name for name in METRICS if f'"{name}"' not in code] == []


def test_counters_go_on_and_gauges_stay_between_processes(tmp_path: Path) -> None:
    records, path = MemoryRecords(), tmp_path / "metrics" / "monitor.prom"
    for number in (1, 2):
        telemetry = PrometheusTelemetry("monitor", textfile=path, records=records)
        telemetry.add("bikeshare_decisions_total", action="none")
        telemetry.add("bikeshare_decisions_total", 2, action="hold")
        telemetry.set("bikeshare_labels_lag_hours", 30 + number)
        if number == 1:
            telemetry.set("bikeshare_drift_score", 0.4, column="temp_c", method="w1")
        telemetry.flush()
        telemetry.flush()

    assert read(path) == {
        ("bikeshare_decisions_total", (("action", "none"),)): 2,
        ("bikeshare_decisions_total", (("action", "hold"),)): 4,
        ("bikeshare_labels_lag_hours", ()): 32,
        ("bikeshare_drift_score", (("column", "temp_c"), ("method", "w1"))): 0.4,
    }
    assert [item.name for item in path.parent.iterdir()] == ["monitor.prom"]


def test_without_records_counters_live_as_long_as_the_process(tmp_path: Path) -> None:
    path = tmp_path / "p.prom"
    telemetry = PrometheusTelemetry("pipeline", textfile=path)
    for _ in range(2):
        telemetry.add("bikeshare_pipeline_runs_total", result="promoted")
        telemetry.flush()

    assert read(path) == {("bikeshare_pipeline_runs_total", (("result", "promoted"),)): 2}


def test_jobs_do_not_share_totals(tmp_path: Path) -> None:
    records = MemoryRecords()
    for job in ("monitor", "pipeline"):
        telemetry = PrometheusTelemetry(job, textfile=tmp_path / f"{job}.prom", records=records)
        telemetry.add("bikeshare_pipeline_runs_total", result="refused")
        telemetry.flush()

    assert read(tmp_path / "pipeline.prom") == {("bikeshare_pipeline_runs_total", (("result", "refused"),)): 1}


@pytest.mark.parametrize(("name", "labels"), [
    ("bikeshare_unknown", {}), ("bikeshare_labels_lag_hours", {"x": "1"}), ("bikeshare_decisions_total", {}),
])
def test_only_the_table_can_be_measured(name: str, labels: dict[str, str]) -> None:
    telemetry = PrometheusTelemetry("monitor")
    with pytest.raises(KeyError):
        telemetry.set(name, 1, **labels)
    with pytest.raises(KeyError):
        telemetry.add(name, 1, **labels)


def test_a_metric_that_was_renamed_since_is_forgotten(tmp_path: Path) -> None:
    records = MemoryRecords()
    records.save_state("telemetry/monitor", {"gauges": {"bikeshare_old": 1.0}, "totals": {"bikeshare_x\ty": 2.0}}, 0)
    telemetry = PrometheusTelemetry("monitor", textfile=tmp_path / "m.prom", records=records)
    telemetry.set("bikeshare_labels_lag_hours", 1)
    telemetry.flush()

    assert read(tmp_path / "m.prom") == {("bikeshare_labels_lag_hours", ()): 1}


def test_a_pushgateway_gets_the_same_text_and_its_absence_is_surfaced(tmp_path: Path) -> None:
    seen: list[tuple[str, str, bytes]] = []

    class Gateway(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            seen.append((self.command, self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    telemetry = PrometheusTelemetry("monitor", url, tmp_path / "m.prom")
    telemetry.set("bikeshare_labels_lag_hours", 30)
    telemetry.flush()
    server.shutdown()
    server.server_close()

    assert seen == [("PUT", "/metrics/job/monitor", (tmp_path / "m.prom").read_bytes())]
    telemetry.set("bikeshare_labels_lag_hours", 31)
    with pytest.raises(Unavailable, match="Pushgateway"):
        telemetry.flush()
    assert read(tmp_path / "m.prom") == {("bikeshare_labels_lag_hours", ()): 31}
