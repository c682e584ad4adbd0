"""Every way to start pipeline runs behaves the same: kfp.local in a child process, the KFP API, and the fake."""

import fcntl
import functools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from kfp import compiler, dsl

from bikeshare.adapters.runs import KfpRuns, LocalRuns
from bikeshare.adapters.runs.local import folder_of, read_run, write_run
from bikeshare.errors import ConfigurationError, NotFound, Unavailable
from bikeshare.ports import PipelineRuns, Run
from tests.fakes.kfp_server import KfpServer, serve_kfp
from tests.fakes.runs import MemoryRuns

component = functools.partial(dsl.component, base_image="bikes:test", packages_to_install=[], install_kfp_package=False)


@component
def until_told(run_key: str, orders: str):
    """Wait for an order: `promoted` writes an outcome, `skip` does not, anything else raises."""
    import time
    from datetime import datetime
    from pathlib import Path

    from bikeshare.bootstrap import wire_store
    from bikeshare.settings import load_settings
    from bikeshare.steps.outcome import Outcome, write_outcome

    path = Path(orders) / run_key
    while not path.is_file():
        time.sleep(0.02)
    order = path.read_text()
    print("» told", order)  # noqa: T201
    if order == "promoted":
        outcome = Outcome(run_key, "promoted", "told so", datetime(2012, 1, 1), "7")
        write_outcome(wire_store(load_settings()), outcome)
    elif order != "skip":
        raise RuntimeError(order)


@dsl.pipeline(name="obedient")
def obedient(run_key: str = "", reason: str = "", orders: str = ""):
    until_told(run_key=run_key, orders=orders)


@dataclass
class World:
    """One implementation, and how to end its runs."""

    runs: PipelineRuns
    end: Callable[[str, bool], None]
    arguments: dict[str, str]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "obedient.yaml"
    compiler.Compiler().compile(obedient, str(path))
    return path


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    folder = tmp_path / "orders"
    folder.mkdir()
    return folder


@pytest.fixture
def local(tmp_path: Path, package: Path) -> LocalRuns:
    home = tmp_path / "home"
    return LocalRuns(home, {"BIKESHARE_HOME": str(home)}, package)


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with serve_kfp() as state:
        yield state


def remote(server: KfpServer, package: Path) -> KfpRuns:
    return KfpRuns(server.url, "bikes", package, attempts=3, timeout_seconds=3, sleep=lambda seconds: None)


@pytest.fixture(params=["memory", "kfp", "local"])
def world(request: pytest.FixtureRequest, package: Path, orders: Path) -> Iterator[World]:
    def tell(run_key: str, succeeded: bool) -> None:
        (orders / run_key).write_text("promoted" if succeeded else "boom")

    with ExitStack() as stack:
        if request.param == "memory":
            memory = MemoryRuns()
            yield World(memory, lambda key, ok: memory.end(key, succeeded=ok), {})
        elif request.param == "kfp":
            server = stack.enter_context(serve_kfp())
            yield World(remote(server, package), lambda key, ok: server.end(key, succeeded=ok), {})
        else:
            yield World(request.getfixturevalue("local"), tell, {"orders": str(orders)})


def until_ended(runs: PipelineRuns, run_id: str, seconds: float = 60) -> Run:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = runs.get(run_id)
        if run.status in ("succeeded", "failed"):
            return run
        time.sleep(0.05)
    raise AssertionError(f"{run_id} did not end within {seconds} s")


def test_a_run_is_found_by_key_and_id_until_and_after_its_end(world: World) -> None:
    assert world.runs.find("first") is None
    assert list(world.runs.active()) == []
    run = world.runs.submit(world.arguments, run_key="first", reason="manual")
    assert run.status in ("pending", "running")
    found = world.runs.find("first")
    assert found is not None
    assert (found.run_id, found.run_key) == (run.run_id, "first")
    assert [item.run_key for item in world.runs.active()] == ["first"]
    world.end("first", True)
    assert until_ended(world.runs, run.run_id).status == "succeeded"
    assert list(world.runs.active()) == []
    again = world.runs.find("first")
    assert again is not None
    assert again.status == "succeeded"


def test_one_key_is_one_run_also_after_it_failed(world: World) -> None:
    first = world.runs.submit(world.arguments, run_key="same", reason="drift")
    second = world.runs.submit(world.arguments, run_key="same", reason="drift")
    assert first.run_id == second.run_id
    assert len(list(world.runs.active())) == 1
    world.end("same", False)
    assert until_ended(world.runs, first.run_id).status == "failed"
    third = world.runs.submit(world.arguments, run_key="same", reason="drift")
    assert (third.run_id, third.status) == (first.run_id, "failed")


def test_different_keys_are_different_runs(world: World) -> None:
    one = world.runs.submit(world.arguments, run_key="one", reason="manual")
    two = world.runs.submit(world.arguments, run_key="two", reason="manual")
    assert one.run_id != two.run_id
    world.end("one", True)
    until_ended(world.runs, one.run_id)
    assert [run.run_key for run in world.runs.active()] == ["two"]
    world.end("two", True)
    until_ended(world.runs, two.run_id)


def test_an_unknown_run_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.runs.get("no-such-run")
    assert world.runs.find("no-such-run") is None


# kfp.local


def test_a_local_run_that_skipped_its_work_has_failed(local: LocalRuns, orders: Path) -> None:
    (orders / "skipped").write_text("skip")
    run = local.submit({"orders": str(orders)}, run_key="skipped", reason="manual")
    assert until_ended(local, run.run_id).status == "failed"
    document = read_run(Path(run.url.removeprefix("file://")))
    assert "a branch was skipped" in document["reason_of_end"]


def test_a_local_run_writes_down_why_it_failed_and_leaves_no_temporary_files(local: LocalRuns, orders: Path) -> None:
    (orders / "broken").write_text("out of rain")
    run = local.submit({"orders": str(orders)}, run_key="broken", reason="manual")
    assert until_ended(local, run.run_id).status == "failed"
    folder = Path(run.url.removeprefix("file://"))
    assert "until-told" in read_run(folder)["error"]
    assert "out of rain" in (folder / "run.log").read_text()
    assert not (folder / "tmp").exists()


def test_a_killed_local_run_has_failed_although_nobody_wrote_it_down(local: LocalRuns, orders: Path) -> None:
    run = local.submit({"orders": str(orders)}, run_key="killed", reason="manual")
    folder = Path(run.url.removeprefix("file://"))
    pid = read_run(folder)["pid"]
    os.killpg(pid, signal.SIGKILL)
    ended = until_ended(local, run.run_id)
    assert ended.status == "failed"
    assert read_run(folder)["status"] in ("pending", "running")
    assert list(local.active()) == []


def test_a_dead_run_is_dead_for_everybody_who_looks_at_once(local: LocalRuns, orders: Path) -> None:
    run = local.submit({"orders": str(orders)}, run_key="killed", reason="manual")
    folder = Path(run.url.removeprefix("file://"))
    os.killpg(read_run(folder)["pid"], signal.SIGKILL)
    until_ended(local, run.run_id)
    with (folder / "run.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert local.get(run.run_id).status == "failed"


def test_a_lost_document_does_not_stop_those_who_ask_about_other_runs(local: LocalRuns, tmp_path: Path) -> None:
    lost = tmp_path / "home" / "runs" / "lost"
    lost.mkdir(parents=True)
    (lost / "run.json").touch()

    assert local.active() == []
    found = local.find("lost")
    assert found is not None
    assert (found.status, found.created_at) == ("failed", None)


def test_a_run_outlives_the_process_that_asked_for_it(local: LocalRuns, orders: Path, package: Path) -> None:
    run = local.submit({"orders": str(orders)}, run_key="kept", reason="manual")
    other = LocalRuns(Path(run.url.removeprefix("file://")).parents[1], {}, package)
    assert [item.run_key for item in other.active()] == ["kept"]
    (orders / "kept").write_text("promoted")
    assert until_ended(other, "kept").status == "succeeded"


def test_a_submitter_killed_before_it_started_the_run_leaves_the_key_free(local: LocalRuns, orders: Path) -> None:
    folder = orders.parent / "home" / "runs" / "half"
    folder.mkdir(parents=True)
    write_run(folder, {
        "run_key": "half", "reason": "manual", "status": "pending", "pid": None, "arguments": {}, "package": "",
        "created_at": "2026-01-01T00:00:00",
    })
    assert local.find("half") is None
    (orders / "half").write_text("promoted")
    local.submit({"orders": str(orders)}, run_key="half", reason="manual")
    assert until_ended(local, "half").status == "succeeded"


@pytest.mark.parametrize("key", ["", "../escape", "a b", ".hidden", "a/b"])
def test_a_key_that_is_no_file_name_is_refused(local: LocalRuns, key: str) -> None:
    with pytest.raises(ConfigurationError, match="run key"):
        local.submit({}, run_key=key, reason="manual")


def test_a_missing_package_is_a_configuration_error(tmp_path: Path) -> None:
    runs = LocalRuns(tmp_path, {}, Path("pipelines/compiled/absent.yaml"))
    with pytest.raises(ConfigurationError, match="pipeline compile"):
        runs.submit({}, run_key="x", reason="manual")


# The KFP API


def test_arguments_reason_and_the_package_itself_reach_the_server(server: KfpServer, package: Path) -> None:
    remote(server, package).submit({"now": "2012-01-01T00:00:00", "trees": 5}, run_key="k", reason="drift")
    (run,) = server.runs.values()
    assert run["runtime_config"]["parameters"] == {
        "now": "2012-01-01T00:00:00", "trees": 5, "run_key": "k", "reason": "drift"
    }
    assert run["display_name"] == "k"
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "obedient"
    (experiment,) = server.experiments.values()
    assert run["experiment_id"] == experiment["experiment_id"]


def test_a_published_version_is_preferred_to_the_package(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    first = runs.publish("image-1")
    assert runs.publish("image-1") == first
    second = runs.publish("image-2")
    assert (first != second, len(server.pipelines)) == (True, 1)
    runs.submit({}, run_key="k", reason="manual")
    (run,) = server.runs.values()
    assert run["pipeline_version_reference"]["pipeline_version_id"] == second
    assert run.get("pipeline_spec") is None


def test_a_lost_answer_does_not_start_a_second_run(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    runs.submit({}, run_key="warm-up", reason="manual")
    server.trouble = [("POST", "drop")]
    run = runs.submit({}, run_key="once", reason="manual")
    assert [item["display_name"] for item in server.runs.values()].count("once") == 1
    assert run.run_key == "once"


def test_a_server_that_recovers_is_waited_for(server: KfpServer, package: Path) -> None:
    server.trouble = [("*", "503"), ("*", "503")]
    assert remote(server, package).submit({}, run_key="k", reason="manual").run_key == "k"
    assert len(server.runs) == 1


@pytest.mark.parametrize(("trouble", "error", "tries"), [("503", Unavailable, 3), ("401", ConfigurationError, 1)])
def test_refusals_are_told_apart(
    server: KfpServer, package: Path, trouble: str, error: type[Exception], tries: int
) -> None:
    server.trouble = [("*", trouble)] * 10
    with pytest.raises(error, match=trouble):
        remote(server, package).find("k")
    assert len(server.requests) == tries


def test_a_login_page_is_not_a_success(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    runs.submit({}, run_key="warm-up", reason="manual")
    server.trouble = [("POST", "html")]
    with pytest.raises(Unavailable, match="KFP API"):
        runs.submit({}, run_key="k", reason="manual")


def test_a_server_that_is_not_there_is_unavailable(package: Path) -> None:
    pauses: list[float] = []
    runs = KfpRuns("http://127.0.0.1:9", "bikes", package, attempts=3, backoff_seconds=0.5, sleep=pauses.append)
    with pytest.raises(Unavailable, match="127.0.0.1:9"):
        runs.active()
    assert pauses == [0.5, 1.0]


def test_active_runs_are_read_page_by_page(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    runs.submit({}, run_key="first", reason="manual")
    (experiment,) = server.experiments
    for number in range(130):
        server.runs[str(number)] = {
            "run_id": str(number), "display_name": f"r{number}", "state": "RUNNING" if number % 2 else "SUCCEEDED",
            "created_at": "2026-01-01T00:00:00Z", "experiment_id": experiment,
        }
    assert len(runs.active()) == 66


def test_runs_of_other_experiments_are_not_ours(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    server.runs["foreign"] = {
        "run_id": "foreign", "display_name": "their-training", "state": "RUNNING", "experiment_id": "theirs",
        "created_at": "2026-01-01T00:00:00Z",
    }
    assert list(runs.active()) == []
    assert server.experiments == {}
    runs.submit({}, run_key="ours", reason="manual")
    assert [run.run_key for run in runs.active()] == ["ours"]


def test_a_scheduled_run_counts_as_ours(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    runs.schedule("image-1", "0 30 3 * * *", {})
    (recurring,) = server.recurring.values()
    server.runs["scheduled"] = {
        "run_id": "scheduled", "display_name": "bikeshare-training-schedule-1", "state": "RUNNING",
        "experiment_id": recurring["experiment_id"], "created_at": "2026-01-01T00:00:00Z",
    }
    assert [run.run_id for run in runs.active()] == ["scheduled"]


def test_a_version_beyond_the_first_page_is_known(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    first = runs.publish("image-1")
    pipeline = server.versions[first]["pipeline_id"]
    for number in range(2, 130):
        server.versions[f"v{number}"] = {
            "pipeline_version_id": f"v{number}", "pipeline_id": pipeline, "display_name": f"image-{number}",
            "name": f"image-{number}", "created_at": f"2026-02-01T00:{number // 60:02d}:{number % 60:02d}Z",
        }
    count = len(server.versions)
    assert runs.publish("image-1") == first
    assert len(server.versions) == count
    runs.schedule("image-1", "0 30 3 * * *", {})
    assert started_version(server, runs, "a") == "image-1"


def test_scheduling_keeps_one_recurring_run_of_the_newest_version(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    first = runs.schedule("image-1", "0 30 3 * * *", {"reason": "schedule"})
    assert runs.schedule("image-1", "0 30 3 * * *", {"reason": "schedule"}) == first
    second = runs.schedule("image-2", "0 30 3 * * *", {"reason": "schedule"})
    (kept,) = server.recurring.values()
    assert (kept["recurring_run_id"], second != first) == (second, True)
    assert (kept["max_concurrency"], kept["no_catchup"]) == ("1", True)
    assert kept["trigger"]["cron_schedule"]["cron"] == "0 30 3 * * *"
    assert json.loads(json.dumps(kept["runtime_config"]["parameters"])) == {"reason": "schedule"}


def test_going_back_to_an_older_release_goes_back_to_its_version(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    runs.schedule("image-1", "0 30 3 * * *", {})
    runs.schedule("image-2", "0 30 3 * * *", {})
    assert started_version(server, runs, "a") == "image-2"
    runs.schedule("image-1", "0 30 3 * * *", {})
    assert started_version(server, runs, "b") == "image-1"


def test_a_schedule_whose_version_was_deleted_does_not_decide(server: KfpServer, package: Path) -> None:
    runs = remote(server, package)
    runs.schedule("image-1", "0 30 3 * * *", {})
    runs.publish("image-2")
    server.versions.pop(version_of(server, "image-1"))
    assert started_version(server, runs, "a") == "image-2"


def version_of(server: KfpServer, name: str) -> str:
    (found,) = [key for key, item in server.versions.items() if item["display_name"] == name]
    return found


def started_version(server: KfpServer, runs: KfpRuns, run_key: str) -> str:
    run = server.runs[runs.submit({}, run_key=run_key, reason="x").run_id]
    return server.versions[run["pipeline_version_reference"]["pipeline_version_id"]]["display_name"]


def test_a_runs_folder_is_found_whatever_its_path_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "my bikes, größer"
    assert folder_of(folder.as_uri()) == folder
    assert folder_of("http://kfp.example/#/runs/details/1") is None
