"""The front: switching, restarting, refusing, cleaning up; over stand-in predictors unless said otherwise."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bikeshare.adapters.live_api import HttpApi
from bikeshare.adapters.local_rollouts import LocalRollouts
from bikeshare.steps.rollout import roll_out
from bikeshare.steps.verify import verify_live
from services.predictor.front import FrontPolicy
from tests.fakes.front_thread import QUICK, FrontThread, front
from tests.fakes.registry import MemoryRegistry
from tests.integration.predictor.world import NOW, ROOT, Client, World, free_port, instance, started, wait_until


def promote(running: FrontThread, version: str) -> None:
    rollouts = LocalRollouts(running.control_url, running.home)
    rollouts.start_canary(version)
    rollouts.promote_canary(version)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"


class Load:
    """Clients that ask without pause and remember every outcome."""

    def __init__(self, url: str, clients: int = 4, body: Any = None, **headers: str) -> None:
        self.outcomes: list[tuple[Any, Any]] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(url, {} if body is None else body, headers))
            for _ in range(clients)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def count(self, version: str) -> int:
        return sum(1 for _, seen in self.outcomes if seen == version)

    def _ask(self, url: str, body: Any, headers: dict[str, str]) -> None:
        client = Client(url)
        while not self._stop.is_set():
            try:
                status, answer = client.post("/predict", body, **headers)
                self.outcomes.append((status, answer.get("model_version")))
            except (OSError, http.client.HTTPException) as error:
                self.outcomes.append((repr(error), None))
                client.close()


def test_before_the_first_roll_out_it_says_so(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        status, headers, content = Client(running.url).send("POST", "/predict", b"{}")

        assert (status, headers["retry-after"]) == (503, "1")
        assert "run the training pipeline" in json.loads(content)["error"]["message"]
        assert Client(running.url).get("/-/status")[1]["serving"] is None


def test_requests_pass_through_unchanged(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        client = Client(running.url)
        status, body = client.post("/predict?a=%20b", {"x": "ü"}, X_Request_ID="mine")

        assert status == 200
        assert body["path"] == "/predict?a=%20b"
        assert body["request_id"] == "mine"
        assert json.loads(body["echo"]) == {"x": "ü"}
        assert len(client.post("/predict", {})[1]["request_id"]) == 32


@pytest.mark.parametrize("path", [
    "/-/refresh", "/%2D/refresh", "/%2d/refresh", "/-/%72efresh", "/-%2Frefresh", "/%2D/state?x=1",
    "http://elsewhere/-/refresh", "http://elsewhere/%2D/refresh",
])
def test_what_is_for_this_machine_is_not_for_another_however_it_is_written(tmp_path: Path, path: str) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        # To the front, an address that is neither 127.0.0.1 nor ::1 is another machine's.
        status, _, content = Client(running.url, "127.0.0.2").send("POST", path, b"{}")

        assert status == 404
        assert "is only for this machine" in json.loads(content)["error"]["message"]
        assert Client(running.url).post(path, {})[0] == 200


def test_what_is_not_for_this_machine_only_passes_from_elsewhere(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        stranger = Client(running.url, "127.0.0.2")

        for path in ("/predict", "/%252D/refresh", "/a%2Fb", "/a?b=%2D"):
            assert stranger.post(path, {})[1]["path"] == path
        assert stranger.get("/-/status")[0] == 200


def test_an_oversized_body_is_refused_at_the_front(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        status, headers, content = Client(running.url).send("POST", "/predict", b" " * (2 * 1024 * 1024))

        assert (status, headers["connection"]) == (413, "close")
        assert json.loads(content)["error"]["code"] == "body_too_large"


def test_a_slow_body_is_ended(tmp_path: Path) -> None:
    with front(tmp_path, FrontPolicy(body_seconds=0.2)) as running:
        promote(running, "1")
        connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=10)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "10")
        connection.endheaders(b"{")

        assert connection.getresponse().status == 408


def test_switching_under_load_drops_nothing(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        with Load(running.url, clients=6, X_Delay="0.01") as load:
            for version in ("2", "3"):
                wait_until(lambda version=version: load.count(str(int(version) - 1)) > 50, 20, "load")
                promote(running, version)
            wait_until(lambda: load.count("3") > 50, 20, "load on 3")

        assert {status for status, _ in load.outcomes} == {200}
        assert load.count("1") > 0
        assert load.count("2") > 0


def test_a_request_in_flight_finishes_on_the_old_version(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        slow: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: slow.append(Client(running.url).post("/predict", {}, X_Delay="1")[1]))
        thread.start()
        wait_until(lambda: Client(running.url).get("/-/status")[1]["serving"]["in_flight"] == 1, 5, "in flight")
        old = Client(running.url).get("/-/status")[1]["serving"]["pid"]
        promote(running, "2")
        thread.join()

        assert slow[0]["model_version"] == "1"
        assert Client(running.url).post("/predict", {})[1]["model_version"] == "2"
        wait_until(lambda: not alive(old), 5, "the end of the old process")


def test_a_killed_predictor_comes_back_by_itself(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        pid = Client(running.url).get("/-/status")[1]["serving"]["pid"]
        with Load(running.url) as load:
            wait_until(lambda: load.count("1") > 20, 10, "load")
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: Client(running.url).get("/-/status")[1]["restarts"] == 1, 10, "a restart")
            seen = load.count("1")
            wait_until(lambda: load.count("1") > seen + 20, 10, "answers again")

        assert {status for status, _ in load.outcomes} <= {200, 503}
        assert Client(running.url).get("/-/status")[1]["serving"]["version"] == "1"


def test_a_hanging_predictor_is_replaced(tmp_path: Path) -> None:
    with front(tmp_path, FrontPolicy(answer_seconds=0.3)) as running:
        promote(running, "1")
        client = Client(running.url)
        pid = client.get("/-/status")[1]["serving"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        assert client.send("POST", "/predict", b"{}")[0] == 504

        wait_until(lambda: client.get("/-/status")[1]["restarts"] == 1, 20, "a restart")
        wait_until(lambda: client.send("POST", "/predict", b"{}")[0] == 200, 10, "an answer")
        assert not alive(pid)


def test_a_restarted_front_serves_the_promoted_version(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        promote(running, "2")
    with front(tmp_path) as running:
        resume(running)
        wait_until(lambda: Client(running.url).send("POST", "/predict", b"{}")[0] == 200, 10, "an answer")
        status = Client(running.url).get("/-/status")[1]
        assert (status["version"], status["previous"]) == ("2", "1")


def resume(running: FrontThread) -> None:
    """Serve what `serving.json` says, as `bikeshare serve` does."""

    async def begin() -> None:
        running.supervisor.resume(str(running.supervisor.remembered()))

    running.run(begin())


def test_a_version_that_refuses_at_a_restart_falls_back_to_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "serving.json").write_text(json.dumps({"version": "refuse-2", "previous": "1"}))
    with front(tmp_path) as running:
        resume(running)
        wait_until(lambda: Client(running.url).send("POST", "/predict", b"{}")[0] == 200, 10, "an answer")

        assert Client(running.url).get("/-/status")[1]["version"] == "1"
        assert json.loads((tmp_path / "serving.json").read_text()) == {"version": "1", "previous": None}


@pytest.mark.parametrize(("mishap", "problem"), [("mute", "was not ready after"), ("crash", "exit code 7")])
def test_a_start_that_fails_for_a_while_is_tried_again(tmp_path: Path, mishap: str, problem: str) -> None:
    remembered = {"version": "2", "previous": "1"}
    (tmp_path / "serving.json").write_text(json.dumps(remembered))
    (tmp_path / "mishap").write_text(mishap)
    with front(tmp_path) as running:
        resume(running)
        client = Client(running.url)
        wait_until(lambda: problem in str(client.get("/-/status")[1]["problem"]), 10, "a failed start")
        (tmp_path / "mishap").unlink()
        wait_until(lambda: client.send("POST", "/predict", b"{}")[0] == 200, 10, "an answer")

        assert client.post("/predict", {})[1]["model_version"] == "2"
        assert json.loads((tmp_path / "serving.json").read_text()) == remembered


def test_a_canary_that_died_or_was_forgotten_makes_room(tmp_path: Path) -> None:
    with front(tmp_path, quick=replace(QUICK, canary_seconds=0.5)) as running:
        rollouts = LocalRollouts(running.control_url, running.home)
        rollouts.start_canary("1")
        forgotten = rollouts.status()["canary"]["pid"]
        wait_until(lambda: rollouts.status()["canary"] is None, 5, "the end of the forgotten one")
        wait_until(lambda: not alive(forgotten), 5, "the end of its process")

    with front(tmp_path / "second") as running:
        rollouts = LocalRollouts(running.control_url, running.home)
        rollouts.start_canary("1")
        os.kill(rollouts.status()["canary"]["pid"], signal.SIGKILL)
        wait_until(lambda: rollouts.status()["canary"] is None, 5, "the end of the dead one")
        rollouts.start_canary("2")
        rollouts.promote_canary("2")
        assert rollouts.serving_version() == "2"


def test_a_spare_takes_the_next_version_and_is_replaced(tmp_path: Path) -> None:
    with front(tmp_path, quick=replace(QUICK, spare_seconds=0.0)) as running:
        rollouts = LocalRollouts(running.control_url, running.home)
        promote(running, "1")
        for version in ("2", "3"):
            spare = wait_until(lambda: rollouts.status()["spare"], 5, "a spare")["pid"]
            promote(running, version)
            serving = rollouts.status()["serving"]
            assert (serving["version"], serving["pid"]) == (version, spare)
            assert Client(running.url).post("/predict", {})[1]["model_version"] == version

        dead = wait_until(lambda: rollouts.status()["spare"], 5, "a spare")["pid"]
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: not alive(dead), 5, "its end")
        promote(running, "4")
        assert rollouts.serving_version() == "4"
        last = wait_until(lambda: rollouts.status()["spare"], 5, "a spare")["pid"]

    assert not alive(last)


def test_closing_leaves_no_process_behind(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        promote(running, "1")
        LocalRollouts(running.control_url, running.home).start_canary("2")
        status = Client(running.url).get("/-/status")[1]
        pids = [status["serving"]["pid"], status["canary"]["pid"]]
        assert all(alive(pid) for pid in pids)

    assert not any(alive(pid) for pid in pids)


def _registry(world: World) -> MemoryRegistry:
    registry = MemoryRegistry(world.home / "registry")
    run = registry.log_run(run_name="r", params={}, metrics={}, tags={})
    for _ in range(3):
        registry.register(run, world.artifacts["1"], {})
    registry.set_alias("champion", "1")
    return registry


def _serve(world: World, port: int, control: int, **more: str) -> tuple[list[str], dict[str, str]]:
    environment = world.environment(
        BIKESHARE_SUPERVISOR_PORT=str(control), MLFLOW_TRACKING_URI=f"sqlite:///{world.home / 'mlflow.db'}", **more
    )
    return [sys.executable, "-m", "bikeshare", "serve", "--port", str(port)], environment


@pytest.mark.timeout(180)
def test_the_real_command_switches_restarts_and_ends_cleanly(world: World) -> None:
    port, control = free_port(), free_port()
    arguments, environment = _serve(world, port, control, BIKESHARE_MODEL_VERSION="1")
    with started(arguments, environment, port, world.home / "front.log") as running:
        client = Client(running.url)
        rollouts = LocalRollouts(f"http://127.0.0.1:{control}", world.home)
        registry = _registry(world)
        inbox: list[Any] = []
        ports: Any = SimpleNamespace(
            rollouts=rollouts, records=world.records, registry=registry,
            notifier=SimpleNamespace(send=inbox.append), clock=world.clock,
        )
        with Load(running.url, clients=3, body={"instances": [instance()]}) as load:
            wait_until(lambda: load.count("1") > 20, 20, "load")
            rolled = roll_out(ports, "2", world.forecaster("2"), NOW, connect=HttpApi)
            wait_until(lambda: load.count("2") > 20, 20, "load on 2")
        assert rolled.accepted, rolled.reason
        assert {status for status, _ in load.outcomes} == {200}
        tested = verify_live(ports, "2", world.forecaster("2"), NOW, url=running.url, connect=HttpApi)
        assert tested.accepted, tested.reason
        assert registry.aliases == {"champion": "2", "previous": "1"}

        world.repackage("3", {"contract.json": json.dumps({"contract_version": "99"})})
        refused = roll_out(ports, "3", world.forecaster("2"), NOW, connect=HttpApi)
        assert not refused.accepted
        assert "contract version 99" in refused.reason
        assert rollouts.serving_version() == "2"

        pid = client.get("/-/status")[1]["serving"]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: client.send("GET", "/readyz")[0] == 200, 30, "the restart")
        assert client.get("/model")[1]["model_version"] == "2"
        pid = client.get("/-/status")[1]["serving"]["pid"]

        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 0
        assert not alive(pid)
        assert "listening on" in running.log.read_text()


@pytest.mark.timeout(120)
def test_a_second_command_on_the_same_home_is_refused(world: World) -> None:
    port, control = free_port(), free_port()
    arguments, environment = _serve(world, port, control, BIKESHARE_MODEL_VERSION="1")
    with started(arguments, environment, port, world.home / "front.log"):
        second, other = _serve(world, free_port(), free_port())
        done = subprocess.run(second, env=other, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

        assert done.returncode == 1
        assert f"another `bikeshare serve` runs on {world.home}" in done.stderr
        assert LocalRollouts(f"http://127.0.0.1:{control}", world.home).serving_version() == "1"


@pytest.mark.timeout(120)
def test_children_end_when_the_front_is_killed(world: World) -> None:
    port, control = free_port(), free_port()
    arguments, environment = _serve(world, port, control, BIKESHARE_MODEL_VERSION="1")
    with started(arguments, environment, port, world.home / "front.log") as running:
        pid = Client(running.url).get("/-/status")[1]["serving"]["pid"]
        running.process.kill()
        running.process.wait()

        wait_until(lambda: not alive(pid), 20, "the end of the child")


def test_a_taken_port_is_an_error_with_advice(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        taken = running.url.rsplit(":", 1)[1]
        environment = os.environ | {"BIKESHARE_HOME": str(tmp_path / "other"), "PYTHONPATH": str(ROOT),
                                    "BIKESHARE_SUPERVISOR_PORT": str(free_port())}
        done = subprocess.run(
            [sys.executable, "-m", "bikeshare", "serve", "--port", taken], env=environment, cwd=ROOT,
            capture_output=True, text=True, timeout=60, check=False,
        )

    assert done.returncode == 1
    assert f"port {taken} is taken" in done.stderr


