"""The rendered ConfigMap, the Secrets and the settings of the program name the same variables."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices

from bikeshare.settings import PREFIX, Settings, load_settings
from components import _runtime
from tests.charts import manifests as check
from tests.charts import secrecy
from tests.charts.helm import MATRIX, Case, find, matrix, objects

OF_A_POD = {"BIKESHARE_HOME", "BIKESHARE_MODEL_VERSION"}
"""Set in the pod template: a folder of the pod, and the promoter's annotation."""

EMBEDDED_ONLY = {"BIKESHARE_SUPERVISOR_PORT"}
"""There is no supervisor on a cluster."""


BIKESHARE = [case for case in MATRIX if case.chart == "bikeshare"]


def variables() -> set[str]:
    """Every variable that `Settings` reads."""
    return {
        str(field.validation_alias.choices[0]) if isinstance(field.validation_alias, AliasChoices)
        else PREFIX + name.upper()
        for name, field in Settings.model_fields.items()
    }


def secret_variables() -> set[str]:
    """Those that hold a secret."""
    return {name for name in _runtime.SECRETS if name in variables()}


def made_secrets(root: Path) -> dict[tuple[str, str], set[str]]:
    """Keys of the Secrets that bootstrap makes, by namespace and name; optional ones only when they are given."""
    spec = importlib.util.spec_from_file_location("make_secrets", root / "hack" / "make_secrets.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: set(data) for name, data in module.wanted({}, {}, lambda: "x").items()}


@pytest.mark.parametrize("case", BIKESHARE, ids=str)
def test_every_setting_has_one_home(charts: Path, case: Case) -> None:
    keys = set(find(objects(charts, case), "ConfigMap", "bikeshare")["data"]) - {"TZ"}

    assert keys | secret_variables() | OF_A_POD | EMBEDDED_ONLY == variables()
    assert keys & (secret_variables() | OF_A_POD | EMBEDDED_ONLY) == set()


def test_both_namespaces_have_the_same_settings(charts: Path) -> None:
    rendered = objects(charts, Case("bikeshare", "default"))
    ours = find(rendered, "ConfigMap", "bikeshare", "bikeshare")["data"]
    theirs = find(rendered, "ConfigMap", "bikeshare", "kubeflow")["data"]

    assert ours == theirs
    assert set(_runtime.CONFIG) <= set(theirs)


@pytest.mark.parametrize("case", BIKESHARE, ids=str)
def test_the_program_accepts_what_is_rendered(charts: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in find(objects(charts, case), "ConfigMap", "bikeshare")["data"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()

    assert settings.rollout == "kubernetes"
    assert settings.namespace == "bikeshare"
    assert settings.store.startswith("s3://")
    assert settings.gate == Settings.model_fields["gate"].default


def test_limits_reach_the_program(charts: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text(
        "settings: {refreshSeconds: 5, spoolMaxBytes: 1073741824, policies: {gate: {max_mae_ratio: 1.05}}}",
        encoding="utf-8",
    )
    case = Case("bikeshare", "limits", (str(file),))
    data = find(objects(charts, case), "ConfigMap", "bikeshare")["data"]
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()

    assert json.loads(data["BIKESHARE_GATE"]) == {"max_mae_ratio": 1.05}
    assert settings.gate.max_mae_ratio == 1.05
    assert settings.refresh_seconds == 5
    assert settings.spool_max_bytes == 1073741824


def test_a_changed_setting_restarts_the_pods_that_read_it(charts: Path) -> None:
    def checksums(*sets: str) -> dict[str, str]:
        rendered = objects(charts, Case("bikeshare", "sum", sets=sets))
        pods = [(each["metadata"]["name"], pod) for each in rendered if (pod := check.pod_template(each))]
        return {
            name: pod["metadata"]["annotations"]["checksum/config"] for name, pod in pods
            if any("configMapRef" in str(each.get("envFrom")) for each in check.containers(pod))
        }

    before, after = checksums(), checksums("settings.refreshSeconds=61")
    assert set(before) == {"predictor", "predictor-canary", "monitor", "retention", "dashboard"}
    assert before == checksums()
    assert all(before[name] != after[name] for name in before)


@matrix
def test_every_secret_key_is_made_by_bootstrap(charts: Path, root: Path, case: Case) -> None:
    rendered = objects(charts, case)
    made = {name: keys for (namespace, name), keys in made_secrets(root).items() if namespace == "bikeshare"}

    assert list(check.secret_keys(rendered))
    assert secrecy.unmade(rendered, made, {"BIKESHARE_API_KEY", "SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN"}) == []


def test_each_component_gets_only_the_secrets_it_uses(charts: Path) -> None:
    rendered = objects(charts, Case("bikeshare", "default"))
    keys = {
        each["metadata"]["name"]: {key for _, key, _ in check.secret_keys([each])}
        for each in rendered if check.pod_template(each)
    }
    store = {"BIKESHARE_DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

    assert keys == {
        "predictor": store | {"BIKESHARE_API_KEY"},
        "predictor-canary": store | {"BIKESHARE_API_KEY"},
        "monitor": store | {"SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN"},
        "retention": {"BIKESHARE_DATABASE_URL"},
        "dashboard": store | {"BIKESHARE_API_KEY"},
        "test-prediction": {"BIKESHARE_API_KEY"},
    }


def test_secret_references_are_found_wherever_they_hide() -> None:
    pod = {
        "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "containers": [{
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "k"}}}],
                "envFrom": [{"secretRef": {"name": "b", "optional": True}}],
            }],
            "volumes": [{"secret": {"secretName": "c"}}],
        },
    }

    assert list(check.secret_keys([pod])) == [("a", "k", False), ("b", "*", True), ("c", "*", False)]
