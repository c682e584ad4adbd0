"""What a task's pod gets on a cluster: environment, labels, rights, a writable home."""

from typing import Any

import pytest
import yaml
from pydantic import AliasChoices

from bikeshare.settings import PREFIX, Settings
from components._runtime import CONFIG, CONFIG_MAP, HOME, LABELS, SECRET, SECRETS
from tests.components.test_dialect import COMPILED

NOT_FOR_TASKS = {
    "BIKESHARE_HOME": "the image says where, kfp.local inherits it",
    "BIKESHARE_CLOCK": "virtual clocks are files; a cluster has the system's",
    "BIKESHARE_IMAGE": "fixed when the pipeline is compiled",
    "BIKESHARE_PIPELINE_PACKAGE": "for whoever requests a run",
    "BIKESHARE_PREDICTOR_PORT": "for the predictor",
    "BIKESHARE_SUPERVISOR_PORT": "for the local roll-out",
    "BIKESHARE_DASHBOARD_PORT": "for the dashboard",
    "BIKESHARE_MODEL_VERSION": "for the predictor",
    "BIKESHARE_REFRESH_SECONDS": "for the predictor",
    "BIKESHARE_SPOOL_MAX_BYTES": "for the predictor",
    "BIKESHARE_RETENTION_DAYS": "for the retention job",
}


@pytest.fixture(scope="module")
def executors() -> dict[str, dict[str, Any]]:
    _, platform = yaml.safe_load_all(COMPILED.read_text())
    return platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_every_setting_reaches_the_tasks_or_is_not_theirs() -> None:
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names.add(str(alias.choices[0]) if isinstance(alias, AliasChoices) else PREFIX + name.upper())

    handed_over = {*CONFIG, *SECRETS}
    assert names - handed_over == set(NOT_FOR_TASKS)
    assert not handed_over & set(NOT_FOR_TASKS)


def test_every_task_has_a_pod_specification(executors: dict[str, dict[str, Any]]) -> None:
    spec, _ = yaml.safe_load_all(COMPILED.read_text())

    assert set(executors) == set(spec["deploymentSpec"]["executors"])


def test_environment_comes_from_one_config_map_and_one_secret(executors: dict[str, dict[str, Any]]) -> None:
    for name, pod in executors.items():
        [config], [secret] = pod["configMapAsEnv"], pod["secretAsEnv"]
        assert (config["configMapName"], secret["secretName"]) == (CONFIG_MAP, SECRET), name
        assert {item["envVar"]: item["configMapKey"] for item in config["keyToEnv"]} == {key: key for key in CONFIG}
        assert {item["envVar"]: item["secretKey"] for item in secret["keyToEnv"]} == {key: key for key in SECRETS}
        assert config["optional"], name
        assert secret["optional"], name


def test_pods_run_as_the_user_of_our_images_and_can_write_their_home(executors: dict[str, dict[str, Any]]) -> None:
    for name, pod in executors.items():
        context = {key: str(value) for key, value in pod["securityContext"].items()}
        assert context == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": "True"}, name
        assert [mount["mountPath"] for mount in pod["emptyDirMounts"]] == [HOME], name


def test_loaded_images_are_not_looked_for_in_a_registry(executors: dict[str, dict[str, Any]]) -> None:
    assert {pod["imagePullPolicy"] for pod in executors.values()} == {"IfNotPresent"}


def test_network_policies_can_tell_task_pods(executors: dict[str, dict[str, Any]]) -> None:
    assert all(pod["podMetadata"]["labels"] == LABELS for pod in executors.values())
