"""Dashboards are fresh, readable, linked, and made of metrics that exist."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from bikeshare.adapters.telemetry import METRICS
from scripts.dashboards.__main__ import documents
from tests.alerts.test_rules import NAMES, metrics_in

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "charts" / "bikeshare" / "dashboards"
FILES = sorted(path.name for path in FOLDER.glob("*.json"))
CLIENT_METRICS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Exported by every Prometheus client; nothing that only a cluster has is drawn."""


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return document


def panels(name: str) -> list[dict[str, Any]]:
    return [panel for panel in load(name)["panels"] if panel["type"] != "row"]


def expressions(name: str) -> list[str]:
    drawn = [target["expr"] for panel in panels(name) for target in panel["targets"]]
    return [*drawn, *(note["expr"] for note in load(name)["annotations"]["list"])]


def test_the_files_are_what_the_generator_writes() -> None:
    """`python -m scripts.dashboards` writes them."""
    assert {name: (FOLDER / name).read_text(encoding="utf-8") for name in FILES} == documents()


def test_addresses_of_dashboards_never_change() -> None:
    assert {name: load(name)["uid"] for name in FILES} == {
        "service.json": "bikeshare-service", "model.json": "bikeshare-model", "loop.json": "bikeshare-loop",
    }


@pytest.mark.parametrize("name", FILES)
def test_only_metrics_that_somebody_measures_are_drawn(name: str) -> None:
    for expression in expressions(name):
        used = metrics_in(expression)
        assert used or "ALERTS" in expression, expression
        assert used <= set(METRICS) | CLIENT_METRICS, expression


@pytest.mark.parametrize("name", FILES)
def test_the_datasource_is_chosen_by_the_reader_and_nowhere_else(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")

    assert set(re.findall(r'"uid": "([^"]+)"', text)) == {"${datasource}", load(name)["uid"]}
    assert [item["type"] for item in load(name)["templating"]["list"]] == ["datasource", "constant"]


@pytest.mark.parametrize("name", FILES)
def test_no_panel_covers_another_or_leaves_the_grid(name: str) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in load(name)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken.update((x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"]))

    assert max(taken.values()) == 1


@pytest.mark.parametrize("name", FILES)
def test_rows_are_filled(name: str) -> None:
    """A gap at the end of a line of panels looks like a panel that failed to load."""
    by_line = Counter[int]()
    for panel in panels(name):
        by_line[panel["gridPos"]["y"]] += panel["gridPos"]["w"]

    assert set(by_line.values()) == {24}


@pytest.mark.parametrize("name", FILES)
def test_every_panel_explains_itself(name: str) -> None:
    titles = [panel["title"] for panel in panels(name)]

    assert len(set(titles)) == len(titles)
    assert len({panel["id"] for panel in load(name)["panels"]}) == len(load(name)["panels"])
    for panel in panels(name):
        assert panel["description"].endswith(".")
        assert [target["refId"] for target in panel["targets"]] == list("ABCD"[: len(panel["targets"])])


def test_every_alert_can_be_reached_from_a_panel_and_every_link_leads_to_a_runbook() -> None:
    linked = {
        link["url"].removeprefix("${runbooks}/").removesuffix(".md")
        for name in FILES for panel in panels(name) for link in panel["links"]
    }

    assert sorted(linked) == NAMES


def test_dashboards_and_panels_that_runbooks_name_exist() -> None:
    titles = {panel["title"] for name in FILES for panel in panels(name)}
    boards = {load(name)["title"].removeprefix("bikeshare / ") for name in FILES}
    named = {
        name
        for page in (ROOT / "docs" / "runbooks").glob("*.md")
        for text in re.findall(r"[Dd]ashboard [^;:.]*|panels? [^;:.]*", page.read_text(encoding="utf-8"))
        for name in re.findall(r"\*([^*]+)\*", text)
    }

    assert len(named) > 12
    assert named - titles - boards == set()


@pytest.mark.parametrize("name", FILES)
def test_dashboards_lead_to_each_other(name: str) -> None:
    document = load(name)

    assert document["tags"] == ["bikeshare"]
    assert {"dashboards", "link"} == {link["type"] for link in document["links"]}
    assert next(link["tags"] for link in document["links"] if link["type"] == "dashboards") == ["bikeshare"]


@pytest.mark.parametrize(("name", "title", "alert"), [
    ("loop.json", "Age of the newest label", "LabelsLate"), ("loop.json", "Refused in a row", "ChallengerRefused"),
    ("loop.json", "Retrains that did not help", "RetrainingNotHelping"),
    ("loop.json", "Since the last look", "MonitorStale"),
    ("model.json", "Age of its newest training hour", "ModelTooOld"), ("loop.json", "Labels", "LabelsLate"),
])
def test_a_panel_turns_red_where_its_alert_fires(name: str, title: str, alert: str) -> None:
    text = (ROOT / "charts" / "bikeshare" / "alerts" / f"{alert}.yaml").read_text(encoding="utf-8")
    expression = yaml.safe_load(text)["groups"][0]["rules"][0]["expr"]
    (panel,) = [panel for panel in panels(name) if panel["title"] == title]
    last = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]

    assert last["color"] == "red"
    assert last["value"] == float(re.findall(r">=? ([0-9.]+)", expression)[0])


@pytest.mark.parametrize(("title", "alert", "speed"), [
    ("Good answers", "AvailabilityBurnFast", 14.4), ("Fast answers", "LatencyBurnFast", 14.4),
])
def test_an_objective_is_green_where_the_burn_alerts_say(title: str, alert: str, speed: float) -> None:
    text = (ROOT / "charts" / "bikeshare" / "alerts" / f"{alert}.yaml").read_text(encoding="utf-8")
    budget = float(re.findall(r"> (0\.[0-9]+)", text)[0]) / speed
    (panel,) = [panel for panel in panels("service.json") if panel["title"] == title]

    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1] == {
        "value": pytest.approx(1 - budget), "color": "green"}
    assert f"{100 * (1 - budget):g} %" in panel["description"]
