"""Alert rules and dashboards are embedded as they are, valid, and about metrics that exist."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from bikeshare.adapters.telemetry import METRICS
from tests.charts.helm import CHARTS, Case, find, objects, run

KIND = Case("bikeshare", "kind", ("values-kind.yaml",))

ALERT = """\
groups:
  - name: bikeshare.Example
    rules:
      - alert: Example
        expr: bikeshare_model_wape > 0.2
        for: 1h
        labels: {severity: warning}
        annotations: {summary: "WAPE is {{ $value | humanizePercentage }} on {{ $labels.instance }}"}
"""


@pytest.fixture
def with_files(charts: Path, tmp_path: Path) -> Path:
    """The chart with one more alert and one more dashboard."""
    copy = tmp_path / "charts"
    shutil.copytree(charts, copy)
    for folder, name, text in (
        ("alerts", "Example.yaml", ALERT),
        ("dashboards", "example.json", json.dumps({"uid": "example", "title": "{{ legend }}"})),
    ):
        (copy / "bikeshare" / folder).mkdir(exist_ok=True)
        (copy / "bikeshare" / folder / name).write_text(text, encoding="utf-8")
    return copy


def test_alert_files_are_embedded_unchanged(with_files: Path) -> None:
    files = sorted((with_files / "bikeshare" / "alerts").glob("*.yaml"))
    expected = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]

    rule = find(objects(with_files, KIND), "PrometheusRule", "bikeshare")

    assert rule["spec"]["groups"] == expected
    assert len(expected) == len(files)


def test_dashboard_files_are_embedded_unchanged(with_files: Path) -> None:
    files = sorted((with_files / "bikeshare" / "dashboards").glob("*.json"))
    rendered = objects(with_files, KIND)

    for file in files:
        each = find(rendered, "ConfigMap", f"grafana-{file.stem}")
        assert json.loads(each["data"][file.name]) == json.loads(file.read_text(encoding="utf-8"))
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert len([e for e in rendered if e["metadata"]["name"].startswith("grafana-")]) == len(files)


def test_promtool_accepts_the_rendered_rules(with_files: Path, tmp_path: Path) -> None:
    rule = find(objects(with_files, KIND), "PrometheusRule", "bikeshare")
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": rule["spec"]["groups"]}), encoding="utf-8")
    run("promtool", "check", "rules", file)

    file.write_text(file.read_text().replace("bikeshare_model_wape > 0.2", "bikeshare_model_wape >"), encoding="utf-8")
    run("promtool", "check", "rules", file, expect=1)


def test_what_grafana_and_prometheus_look_for_is_what_the_charts_set() -> None:
    stack = yaml.safe_load((CHARTS / "values" / "kube-prometheus-stack.yaml").read_text(encoding="utf-8"))
    ours = yaml.safe_load((CHARTS / "bikeshare" / "values.yaml").read_text(encoding="utf-8"))["monitoring"]
    pushgateway = yaml.safe_load((CHARTS / "values" / "pushgateway.yaml").read_text(encoding="utf-8"))

    assert stack["grafana"]["sidecar"]["dashboards"]["label"] == ours["dashboardLabel"]
    assert stack["grafana"]["sidecar"]["dashboards"]["labelValue"] == "1"
    spec = stack["prometheus"]["prometheusSpec"]
    ignored = [key for key, value in spec.items() if key.endswith("SelectorNilUsesHelmValues") and value is not False]
    assert ignored == []
    assert len([key for key in spec if key.endswith("SelectorNilUsesHelmValues")]) == 4
    assert ours["pushgatewayUrl"] == f"http://{pushgateway['fullnameOverride']}.{ours['namespace']}.svc:9091"


def test_only_one_service_is_scraped(charts: Path) -> None:
    """Three Services select the same pods: each scraped one would count every request again."""
    rendered = objects(charts, KIND)
    wanted = find(rendered, "ServiceMonitor", "predictor")["spec"]["selector"]["matchLabels"]
    scraped = [
        each["metadata"]["name"] for each in rendered
        if each["kind"] == "Service" and wanted.items() <= each["metadata"]["labels"].items()
    ]

    assert scraped == ["predictor"]


def test_keda_scales_by_a_metric_that_exists(charts: Path) -> None:
    case = Case("bikeshare", "keda", ("values-kind.yaml", "values-keda.yaml"))
    trigger = find(objects(charts, case), "ScaledObject", "predictor")["spec"]["triggers"][0]["metadata"]
    named = re.findall(r"bikeshare_[a-z_]+", trigger["query"])

    assert named
    assert set(named) <= set(METRICS)
    assert 'namespace="bikeshare"' in trigger["query"]


def test_prometheus_keeps_what_the_rules_look_back_on() -> None:
    hours = {"m": 1 / 60, "h": 1, "d": 24}
    looked_back = max(
        float(number) * hours[unit]
        for rule in (CHARTS / "bikeshare" / "alerts").glob("*.yaml")
        for number, unit in re.findall(r"\[(\d+)([mhd])\]", rule.read_text())
    )
    values = yaml.safe_load((CHARTS / "values" / "kube-prometheus-stack.yaml").read_text())
    number, unit = re.fullmatch(r"(\d+)([mhd])", values["prometheus"]["prometheusSpec"]["retention"]).groups()

    assert looked_back == 48
    assert float(number) * hours[unit] > looked_back
