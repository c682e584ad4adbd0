"""Every alert fires when it must and not otherwise, names what exists, and is explained by a runbook that agrees."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bikeshare.adapters.telemetry import METRICS
from bikeshare.core.level import LevelPolicy
from bikeshare.core.retraining import RetrainingPolicy
from bikeshare.core.tally import RESULTS
from bikeshare.settings import Settings
from services.predictor.metrics import REQUEST_BUCKETS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "charts" / "bikeshare" / "alerts"
RUNBOOKS = ROOT / "docs" / "runbooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
DAY = 86_400
CLUSTER_METRICS = {
    "kube_statefulset_status_replicas_ready", "kube_deployment_status_replicas_available",
    "kube_pod_container_status_waiting_reason",
}
"""From kube-state-metrics; nothing else outside our own table may be used."""


@dataclass(frozen=True)
class Alert:
    text: str
    rule: dict[str, Any]

    @property
    def expr(self) -> str:
        return str(self.rule["expr"]).strip()


def alert(name: str) -> Alert:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    (group,) = yaml.safe_load(text)["groups"]
    (rule,) = group["rules"]
    assert group["name"] == f"bikeshare.{name}"
    return Alert(text, rule)


def runbook(name: str) -> dict[str, str]:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {"title": parts[0], **{parts[place]: parts[place + 1].strip() for place in range(1, len(parts), 2)}}


def metrics_in(expression: str) -> set[str]:
    """Names of our metrics and of the cluster's, without the suffixes of a histogram's series."""
    found = re.findall(r"\b(?:bikeshare|kube|container|node|process)_\w+", re.sub(r'"[^"]*"', "", expression))
    return {
        base if (base := re.sub(r"_(bucket|count|sum)$", "", name)) in METRICS else name for name in found
    }


def promtool(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [folder / "promtool", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def test_alerts_runbooks_and_tests_are_the_same_list() -> None:
    assert len(NAMES) >= 20
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == NAMES
    assert sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")) == NAMES


def test_the_rules_are_valid(prometheus_bin: Path) -> None:
    checked = promtool(prometheus_bin, "check", "rules", *sorted(FOLDER.glob("*.yaml")))

    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("SUCCESS: 1 rules found") == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_a_person_needs(name: str) -> None:
    rule = alert(name).rule

    assert rule["alert"] == name
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert re.fullmatch(r"\d+[mhd]", rule["for"])
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"


@pytest.mark.parametrize("name", NAMES)
def test_it_fires_when_it_must_and_stays_silent_otherwise(name: str, prometheus_bin: Path) -> None:
    tested = promtool(prometheus_bin, "test", "rules", Path(__file__).with_name(f"{name}.yaml"))
    cases = yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))["tests"]
    fires = {bool(expected["exp_samples"]) for case in cases for expected in case["promql_expr_test"]}

    assert tested.returncode == 0, tested.stdout
    assert fires == {True, False}


@pytest.mark.parametrize("expression", ["vector(1)", "vector(1) > 1"])
def test_rules_that_always_or_never_fire_would_be_found(
    expression: str, prometheus_bin: Path, tmp_path: Path
) -> None:
    for name in NAMES:
        document = yaml.safe_load(alert(name).text)
        document["groups"][0]["rules"][0]["expr"] = expression
        (tmp_path / f"{name}.rule").write_text(yaml.safe_dump(document))
        cases = Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8")
        (tmp_path / f"{name}.yaml").write_text(
            cases.replace(f"../../charts/bikeshare/alerts/{name}.yaml", f"{name}.rule")
        )
    tested = promtool(prometheus_bin, "test", "rules", *sorted(tmp_path.glob("*.yaml")))

    assert sorted(re.findall(r"(\w+)\.yaml\n  FAILED:", tested.stdout)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_only_metrics_that_somebody_measures_are_used(name: str) -> None:
    used = metrics_in(alert(name).expr)

    assert used
    assert used <= set(METRICS) | CLUSTER_METRICS


@pytest.mark.parametrize("name", NAMES)
def test_label_values_exist(name: str) -> None:
    expression = alert(name).expr
    for result in re.findall(r'result=~?"([^"]+)"', expression):
        assert set(result.split("|")) <= set(RESULTS)
    for bucket in re.findall(r'le="([^"]+)"', expression):
        assert bucket in {str(limit) for limit in REQUEST_BUCKETS}


@pytest.mark.parametrize("name", NAMES)
def test_the_runbook_shows_the_rule_and_no_other_numbers(name: str) -> None:
    found, page = alert(name), runbook(name)
    shown, prose = re.fullmatch(r"```promql\n(.+)\n```\n\n(.+)", page["Meaning"], flags=re.DOTALL).groups()  # type: ignore[union-attr]

    assert list(page) == ["title", "Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert page["title"].startswith(f"# {name}\n")
    assert f"Severity: {found.rule['labels']['severity']}." in page["title"]
    assert shown == f"{found.expr}\n# for {found.rule['for']}"
    numbers = set(re.findall(r"\d+(?:[.,]\d+)*", found.text))
    assert set(re.findall(r"\d+(?:[.,]\d+)*", prose.replace("4xx", "").replace("5xx", ""))) <= numbers
    assert all(page[part] for part in ("Impact", "Diagnosis", "Mitigation"))


def test_links_between_runbooks_lead_somewhere() -> None:
    for name in NAMES:
        for target in re.findall(r"\]\(([^)]+)\)", (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")):
            assert (RUNBOOKS / target).is_file(), f"{name} links to {target}"


def test_commands_in_runbooks_exist() -> None:
    import click
    from typer.main import get_command

    from bikeshare.cli import app

    group = get_command(app)
    context = click.Context(group)
    for name in NAMES:
        text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        for topic, command in re.findall(r"`bikeshare (\w+)(?: (\w+))?", text):
            found = group.get_command(context, topic)  # type: ignore[attr-defined]
            assert found is not None, f"{name}: bikeshare {topic}"
            if hasattr(found, "list_commands"):
                assert command in found.list_commands(context), f"{name}: bikeshare {topic} {command}"


def limit_of(name: str) -> float:
    """The number at the end of a one-comparison rule."""
    found = re.search(r"[<>]=? ([0-9.]+)$", alert(name).expr)
    assert found is not None
    return float(found[1])


def test_thresholds_follow_the_policies_they_repeat() -> None:
    policy, settings = RetrainingPolicy(), Settings()

    assert limit_of("LabelsLate") == policy.labels_late_hours
    assert limit_of("RetrainingNotHelping") == policy.unhelpful_limit
    assert limit_of("ModelTooOld") == (policy.max_age_days + 7) * DAY
    assert limit_of("LevelStale") == LevelPolicy().stale_after_hours
    assert limit_of("SpoolNearlyFull") == 0.75 * settings.spool_max_bytes
    assert limit_of("HistoryStale") == 15 * settings.refresh_seconds


@pytest.mark.parametrize(("name", "speed", "budget"), [
    ("AvailabilityBurnFast", 14.4, 0.005), ("AvailabilityBurnSlow", 6, 0.005),
    ("LatencyBurnFast", 14.4, 0.01), ("LatencyBurnSlow", 6, 0.01),
])
def test_burn_rates_are_speed_times_budget_in_both_windows(name: str, speed: float, budget: float) -> None:
    limits = [float(found) for found in re.findall(r"> ([0-9.]+)", alert(name).expr)]

    assert limits == [pytest.approx(speed * budget)] * 2


def test_the_runbook_numbers_check_sees_a_wrong_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(RUNBOOKS, tmp_path / "runbooks")
    page = tmp_path / "runbooks" / "LabelsLate.md"
    page.write_text(page.read_text().replace("more than 54 h", "more than 36 h"))
    monkeypatch.setattr("tests.alerts.test_rules.RUNBOOKS", tmp_path / "runbooks")

    with pytest.raises(AssertionError):
        test_the_runbook_shows_the_rule_and_no_other_numbers("LabelsLate")
    test_the_runbook_shows_the_rule_and_no_other_numbers("LevelStale")
