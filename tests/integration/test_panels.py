"""Every panel's query against a real Prometheus that scraped a real predictor and a real Pushgateway during a play."""

import json
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bikeshare.adapters.telemetry import METRICS, PrometheusTelemetry
from tests.fakes.records import MemoryRecords
from tests.integration.monitor_world import MonitorWorld
from tests.integration.predictor.world import (
    NOW,
    Client,
    instance,
    make_world,
    predictor,
    train_artifacts,
    wait_until,
)
from tests.integration.prometheus import Prometheus, prometheus, pushgateway

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "bikeshare"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def ask_all_kinds(url: str, stopping: threading.Event) -> None:
    """Clients as they are: single hours, batches, forecasts, what-ifs, repeats and mistakes."""
    client = Client(url)
    number = 0
    while not stopping.wait(0.05):
        number += 1
        hour = NOW + timedelta(hours=number % 48)
        client.post("/predict", {"instances": [instance(hour)]}, X_Request_ID=f"play-{number - number % 3}")
        client.post("/predict", {"instances": [instance(hour + timedelta(hours=ahead)) for ahead in range(200)]})
        client.post("/predict", {"instances": [instance(hour)]}, X_What_If="true")
        client.post("/predict", {"instances": [instance(hour, humidity_pct=500)]})
        weather = {name: value for name, value in instance(hour).items() if name != "timestamp"}
        client.post("/forecast", {"weather": [weather] * 24})
        client.get("/model")
        client.get("/nowhere")
    client.close()


def play_the_loop(world: MonitorWorld, seen: Prometheus) -> None:
    """Quiet days, decay, a retrain that is promoted, then a sensor in Fahrenheit; each part is scraped."""
    def scraped() -> None:
        looks = len(world.decisions)
        wait_until(lambda: seen.value("sum(bikeshare_decisions_total)") == looks, 30, f"{looks} looks in Prometheus")

    world.days(15)
    scraped()
    for _ in range(12):
        retrain = world.day(ratio=1.35)
        if retrain.action == "retrain":
            break
    scraped()
    world.days(2, ratio=1.35)
    scraped()
    world.end_run(str(retrain.run_key), "promoted")
    world.days(2)
    scraped()
    world.days(2, inputs=lambda frame: frame.assign(
        temp_c=frame["temp_c"] * 9 / 5 + 32, feels_like_c=frame["feels_like_c"] * 9 / 5 + 32))
    scraped()


@pytest.fixture(scope="module")
def played(
    history: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, prometheus_bin: Path
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("panels")
    served = make_world(folder / "home", train_artifacts(history, folder / "artifacts"), history)
    rules = sorted((CHART / "alerts").glob("*.yaml"))
    stopping = threading.Event()
    with (
        pushgateway(prometheus_bin, folder) as gateway, predictor(served) as live,
        prometheus(
            prometheus_bin, folder,
            {"predictor": live.url.removeprefix("http://"), "pushgateway": gateway.removeprefix("http://")},
            rules=rules, honor=["pushgateway"],
        ) as seen,
    ):
        traffic = threading.Thread(target=ask_all_kinds, args=(live.url, stopping))
        traffic.start()
        try:
            telemetry = PrometheusTelemetry("monitor", gateway, records=MemoryRecords())
            world = MonitorWorld(
                folder / "loop", history, telemetry=telemetry, training=("2011-01-01", "2012-04-30")
            )
            play_the_loop(world, seen)
        finally:
            stopping.set()
            traffic.join()
        yield seen


def filled(expression: str) -> str:
    """An expression as Grafana would send it for a short time range."""
    return expression.replace("$__rate_interval", "10s").replace("$__range", "10m")


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CHART / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("name", ["service", "model", "loop"])
def test_every_query_of_every_panel_returns_data(name: str, played: Prometheus) -> None:
    counts = {
        f"{panel['title']} [{target['refId']}]": len(played.series(filled(target["expr"]), instant=target["instant"]))
        for panel in load(name)["panels"] if panel["type"] != "row" for target in panel["targets"]
    }
    sys.stdout.write("".join(f"{name:8} {count:4}  {title}\n" for title, count in counts.items()))

    assert counts
    assert [title for title, count in counts.items() if count == 0] == []


def test_every_annotation_marks_something(played: Prometheus) -> None:
    counts = {
        note["name"]: len(played.series(note["expr"], instant=False))
        for name in ("service", "model", "loop") for note in load(name)["annotations"]["list"]
    }

    assert counts == {"Roll-outs": 1, "Retrains": 1}


def test_every_rule_is_evaluated_without_an_error(played: Prometheus) -> None:
    rules = [rule for group in played.ask("rules")["groups"] for rule in group["rules"]]

    assert len(rules) == len(list((CHART / "alerts").glob("*.yaml")))
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}


def test_an_alert_of_the_play_is_worded_for_people(played: Prometheus) -> None:
    def broken_alerts() -> list[dict[str, Any]]:
        return [a for a in played.ask("alerts")["alerts"] if a["labels"]["alertname"] == "LiveDataBroken"]

    # Rules are evaluated a second after what they read was scraped.
    wait_until(lambda: bool(broken_alerts()), 30, "an alert about broken data")
    (broken,) = broken_alerts()

    assert broken["annotations"]["summary"] == "Live inputs or new observations break the rule unit"
    assert broken["annotations"]["runbook_url"] == "docs/runbooks/LiveDataBroken.md"


def test_every_metric_of_the_table_reached_prometheus(played: Prometheus) -> None:
    names = set(played.ask("label/__name__/values"))
    suffix = {"histogram": "_bucket"}

    assert [metric.name for metric in METRICS.values() if metric.name + suffix.get(metric.kind, "") not in names] == []
