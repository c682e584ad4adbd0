"""The whole loop in containers: history to S3, a run of the pipeline, the live API, the monitor's look."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from playwright.sync_api import expect, sync_playwright

from bikeshare.core.training import TrainingConfig
from tests.browser.conftest import PAGES, settled, started_browser, trouble
from tests.fakes.kfp_server import KfpServer, serve_kfp
from tests.images.conftest import STARTS
from tests.images.containers import Docker
from tests.images.stack import KFP_PORT, Stack, call, push_receiver, s3_server, start_postgres

pytestmark = [pytest.mark.images, pytest.mark.timeout(1800)]

START, TRAINED_AT = datetime(2011, 1, 1), datetime(2012, 1, 1)
LOOKED_AT = TRAINED_AT + timedelta(days=3, hours=6)
STALE_AT = TRAINED_AT + timedelta(weeks=10)
MEMORY = "512m"
"""What the chart allows a predictor; it requests less."""
ALLOWED_HOSTS = "mlflow:5000,localhost:*,127.0.0.1:*"


@pytest.fixture(scope="module")
def stack(docker: Docker, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, S3, MLflow and a Pushgateway that answer."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "clock").mkdir(mode=0o755)
    network = f"bikeshare-test-{folder.parent.name}"
    with ExitStack() as exits:
        exits.callback(docker.clean)
        made = Stack(docker, images, folder, network, docker.network(network))
        made.set_clock(TRAINED_AT)
        start_postgres(made)
        exits.enter_context(s3_server(made))
        exits.enter_context(push_receiver(made))
        _start_mlflow(made)
        yield made


def _start_mlflow(stack: Stack) -> None:
    backend = f"postgresql://mlflow:{stack.passwords['mlflow']}@postgresql:5432/mlflow"
    stack.job("mlflow", "mlflow", "db", "upgrade", backend)
    name = stack.serve(
        "mlflow", name="mlflow", MLFLOW_BACKEND_STORE_URI=backend, MLFLOW_ARTIFACTS_DESTINATION="s3://mlflow",
        MLFLOW_SERVE_ARTIFACTS="true", MLFLOW_S3_ENDPOINT_URL="http://minio:9000",
        MLFLOW_SERVER_ALLOWED_HOSTS=ALLOWED_HOSTS,
    )
    url = f"http://{stack.docker.address(name)}:5000"
    seconds = stack.docker.wait(name, "MLflow", lambda: call(f"{url}/health")[0] == 200, seconds=240)
    STARTS["mlflow"] = f"{seconds:.1f} s to its health address, with a new database"


@pytest.fixture(scope="module")
def outcome(stack: Stack) -> dict[str, Any]:
    """What the pipeline says of its run, from landed history to a first version in front of traffic.

    The roll-out is the embedded one: front and pipeline share the network and the home, like containers of one pod.
    """
    stack.job("pipeline", "bikeshare", "data", "land", "--start", f"{START:%F}", "--end", f"{TRAINED_AT:%F}")
    home = ("--volume", f"{stack.docker.volume(stack.container('home'))}:/shared")
    front = stack.serve(
        "predictor", "bikeshare", "serve", "--host", "0.0.0.0", name="front", options=home, BIKESHARE_HOME="/shared"
    )
    status = f"http://{stack.docker.address(front)}:3000/-/status"
    stack.docker.wait(front, "an open port", lambda: call(status)[0] == 200)
    printed = stack.docker.run(
        stack.images["pipeline"], "bikeshare", "pipeline", "run", "--run-key", "first", "--json",
        options=(*home, "--network", f"container:{front}", *stack.settings(BIKESHARE_HOME="/shared")), seconds=900,
    )
    assert stack.docker.stop(front) == 0
    return dict(json.loads(printed))


@dataclass(frozen=True)
class Live:
    """The predictor of one pinned version."""

    container: str
    url: str
    answer: dict[str, Any]


@pytest.fixture(scope="module")
def live(stack: Stack, outcome: dict[str, Any], history: pd.DataFrame) -> Live:
    """The predictor image alone, pinned and bounded as a pod is, after it answered the hours of three days."""
    name = stack.serve(
        "predictor", name="predictor", options=("--memory", MEMORY, "--memory-swap", MEMORY),
        BIKESHARE_MODEL_VERSION=outcome["outcome"]["version"],
    )
    url = f"http://{stack.docker.address(name)}:3000"
    seconds = stack.docker.wait(name, "readiness", lambda: call(f"{url}/readyz")[0] == 200)
    STARTS["predictor"] = f"{seconds:.1f} s until ready, with the champion's {TrainingConfig().trees} trees per forest"
    hours = history[(history["timestamp"] >= TRAINED_AT) & (history["timestamp"] < TRAINED_AT + timedelta(days=3))]
    names = ["timestamp", "temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh", "weather", "is_holiday"]
    instances = json.loads(hours[names].to_json(orient="records", date_format="iso", date_unit="s"))
    status, answer = call(f"{url}/predict", {"instances": instances})
    assert status == 200, answer
    return Live(name, url, answer)


@pytest.fixture(scope="module")
def kfp(stack: Stack) -> Iterator[KfpServer]:
    """A KFP API under the name of the Service."""
    with serve_kfp(stack.gateway, KFP_PORT) as server:
        yield server


def look(stack: Stack) -> dict[str, Any]:
    """One look of the monitor image, as the CronJob does it."""
    began = time.monotonic()
    printed = stack.job(
        "monitor", "python", "-m", "services.monitor", BIKESHARE_PIPELINES_URL=f"http://ml-pipeline:{KFP_PORT}",
        PUSHGATEWAY_URL="http://pushgateway:9091",
    )
    STARTS["monitor"] = f"{time.monotonic() - began:.1f} s for a whole look"
    return dict(json.loads(printed))


@pytest.fixture(scope="module")
def decision(stack: Stack, live: Live, kfp: KfpServer) -> dict[str, Any]:
    """The first look, three days later, when the truth of the answered hours has landed."""
    until = TRAINED_AT + timedelta(days=3)
    stack.job("pipeline", "bikeshare", "data", "land", "--start", f"{TRAINED_AT:%F}", "--end", f"{until:%F}")
    _await_rows(stack, live)
    stack.set_clock(LOOKED_AT)
    return look(stack)


def _await_rows(stack: Stack, live: Live) -> None:
    """The prediction log writes behind the answers; the roll-out's own check of the log is in it too."""
    name, count = stack.container("predictor"), len(live.answer["predictions"])
    stack.docker.wait(name, "logged rows", lambda: len(_logged(stack, live)) == count, 30)


def _logged(stack: Stack, live: Live) -> list[tuple[Any, ...]]:
    request = live.answer["request_id"]
    return stack.sql(f"SELECT model_version, demand FROM predictions WHERE request_id = '{request}' ORDER BY timestamp")


def test_mlflow_answers_its_own_names_only(stack: Stack) -> None:
    url = f"http://{stack.docker.address(stack.container('mlflow'))}:5000/api/2.0/mlflow/experiments/search?max_results=1"

    assert call(url, headers={"Host": "mlflow:5000"})[0] == 200
    assert call(url, headers={"Host": "mlflow.evil.example:5000"})[0] == 403


def test_pipeline_image_trains_and_rolls_out_a_version(stack: Stack, outcome: dict[str, Any]) -> None:
    version = outcome["outcome"]["version"]

    assert (outcome["status"], outcome["outcome"]["result"]) == ("succeeded", "promoted")
    assert f"loop/models/{version}/package.json" in stack.objects("bikeshare")
    assert stack.sql("SELECT count(*) FROM observations")[0][0] > 8000


def test_artifacts_go_through_mlflow_into_its_own_bucket(stack: Stack, outcome: dict[str, Any]) -> None:
    source = stack.sql("SELECT source, current_stage FROM model_versions", "mlflow", "mlflow")[0][0]

    assert source.startswith("mlflow-artifacts:/")
    assert [key for key in stack.objects("mlflow") if key.endswith("model/model.onnx")]
    assert not [key for key in stack.objects("bikeshare") if key.endswith("model/model.onnx")]


def test_predictor_image_serves_the_pinned_version_and_logs_to_postgresql(
    stack: Stack, outcome: dict[str, Any], live: Live
) -> None:
    answered = [item["demand"] for item in live.answer["predictions"]]
    _await_rows(stack, live)

    assert live.answer["model_version"] == outcome["outcome"]["version"]
    assert len(answered) == 71  # the published history lacks one hour of these days
    assert len(set(answered)) > 60
    logged = _logged(stack, live)
    assert {row[0] for row in logged} == {live.answer["model_version"]}
    assert [row[1] for row in logged] == pytest.approx(answered)


def test_full_forests_start_and_answer_within_the_memory_that_the_chart_allows(
    stack: Stack, live: Live, root: Path
) -> None:
    values = yaml.safe_load((root / "charts" / "bikeshare" / "values.yaml").read_text())
    trees = stack.sql("SELECT DISTINCT value FROM params WHERE key = 'trees'", "mlflow", "mlflow")
    container = stack.docker.inspect(live.container)

    assert values["predictor"]["resources"]["limits"]["memory"] == f"{MEMORY.removesuffix('m')}Mi"
    assert trees == [(str(TrainingConfig().trees),)]
    assert (container["HostConfig"]["Memory"], container["HostConfig"]["MemorySwap"]) == (512 << 20, 512 << 20)
    assert (container["State"]["Running"], container["State"]["OOMKilled"]) == (True, False)
    assert len(live.answer["predictions"]) > 60


def test_less_memory_than_the_program_needs_ends_the_container(
    stack: Stack, outcome: dict[str, Any], live: Live
) -> None:
    """The limit above is one that this daemon enforces."""
    name = stack.serve(
        "predictor", name="starved", options=("--memory", "64m", "--memory-swap", "64m"),
        BIKESHARE_MODEL_VERSION=outcome["outcome"]["version"],
    )
    stack.docker("wait", name)

    assert stack.docker.inspect(name)["State"]["OOMKilled"] is True


def test_predictor_image_exports_metrics(live: Live) -> None:
    status, text = call(f"{live.url}/metrics")

    assert status == 200
    assert 'bikeshare_requests_total{code="200",route="/predict"} 1.0' in text


def test_monitor_image_judges_and_records(stack: Stack, decision: dict[str, Any], kfp: KfpServer) -> None:
    assert (decision["state"], decision["action"]) == ("cooldown", "none"), decision
    assert "Run first ended as promoted" in decision["reason"]
    assert stack.sql("SELECT action, reason FROM decisions ORDER BY decided_at")[0] == ("none", decision["reason"])
    assert [key for key in stack.objects("bikeshare") if key.startswith("loop/decisions/")]
    assert b"bikeshare_" in stack.pushed[-1]
    assert not kfp.runs


def test_dashboard_image_shows_every_page(stack: Stack, live: Live, decision: dict[str, Any]) -> None:
    name = stack.serve(
        "dashboard", name="dashboard", BIKESHARE_PREDICTOR_URL="http://predictor:3000", BIKESHARE_ROLLOUT="kubernetes"
    )
    url = f"http://{stack.docker.address(name)}:8501"
    stack.docker.wait(name, "a healthy dashboard", lambda: call(f"{url}/_stcore/health")[0] == 200)
    with sync_playwright() as driver, started_browser(driver) as browser:
        page = browser.new_page()
        for path, title in PAGES.items():
            page.goto(f"{url}/{path}")
            settled(page)
            expect(page.locator(".page-title h1")).to_have_text(title)
            assert trouble(page) == [], title
            if path == "models":
                assert "Nothing to roll back to" in page.content()


def test_monitor_image_requests_a_run_from_kfp_when_the_model_is_stale(
    stack: Stack, decision: dict[str, Any], kfp: KfpServer
) -> None:
    stack.set_clock(STALE_AT)

    asked = look(stack)

    assert asked["action"] == "retrain", asked
    run = kfp.runs[asked["run_id"]]
    assert run["display_name"] == asked["run_key"]
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "bikeshare-training"
    assert "platform_spec" in run["pipeline_spec"]


def test_predictor_image_stops_within_its_grace(stack: Stack, decision: dict[str, Any], live: Live) -> None:
    assert stack.docker.stop(live.container) == 0
