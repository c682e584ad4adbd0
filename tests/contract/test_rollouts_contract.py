"""What every `Rollouts` does: the fake, and the local one over a real supervisor with real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bikeshare.adapters.local_rollouts import LocalRollouts
from bikeshare.errors import Conflict, RolloutRefused, Unavailable
from bikeshare.ports import Rollouts
from tests.fakes.front_thread import front
from tests.fakes.rollouts import MemoryRollouts


@pytest.fixture(params=["memory", "local"])
def rollouts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rollouts]:
    if request.param == "memory":
        yield MemoryRollouts(refuse={"refuse-1"})
        return
    with front(tmp_path) as running:
        yield LocalRollouts(running.control_url, tmp_path)


def test_nothing_serves_before_the_first_promotion(rollouts: Rollouts) -> None:
    assert rollouts.serving_version() is None
    rollouts.start_canary("1")
    assert rollouts.serving_version() is None


def test_a_promoted_canary_serves_and_the_next_one_replaces_it(rollouts: Rollouts) -> None:
    for version in ("1", "2"):
        assert version in rollouts.start_canary(version) or rollouts.start_canary(version).startswith("http")
        rollouts.promote_canary(version)
        assert rollouts.serving_version() == version


def test_an_aborted_canary_leaves_the_serving_version(rollouts: Rollouts) -> None:
    rollouts.start_canary("1")
    rollouts.promote_canary("1")
    rollouts.start_canary("2")
    rollouts.abort_canary("2")

    assert rollouts.serving_version() == "1"
    with pytest.raises(RolloutRefused, match="not the canary"):
        rollouts.promote_canary("2")


def test_a_version_that_refuses_is_refused_with_its_reason(rollouts: Rollouts) -> None:
    with pytest.raises(RolloutRefused, match="refuse-1 refuses to serve"):
        rollouts.start_canary("refuse-1")
    rollouts.start_canary("1")
    rollouts.promote_canary("1")

    assert rollouts.serving_version() == "1"


def test_one_canary_at_a_time(rollouts: Rollouts) -> None:
    rollouts.start_canary("1")
    with pytest.raises(Conflict):
        rollouts.start_canary("2")


def test_starting_and_promoting_may_be_repeated(rollouts: Rollouts) -> None:
    assert rollouts.start_canary("1") == rollouts.start_canary("1")
    rollouts.promote_canary("1")
    rollouts.promote_canary("1")

    assert rollouts.serving_version() == "1"


def test_aborting_what_does_not_run_is_no_error(rollouts: Rollouts) -> None:
    rollouts.abort_canary("9")
    assert rollouts.serving_version() is None


def test_without_a_supervisor_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="bikeshare serve"):
        LocalRollouts("http://127.0.0.1:9", tmp_path).serving_version()
    (tmp_path / "supervisor.token").write_text("stale")
    with pytest.raises(Unavailable, match="bikeshare serve"):
        LocalRollouts("http://127.0.0.1:9", tmp_path).start_canary("1")


def test_a_wrong_token_is_refused(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        assert (tmp_path / "supervisor.token").stat().st_mode & 0o777 == 0o600
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "supervisor.token").write_text("guess")
        with pytest.raises(Unavailable, match="401"):
            LocalRollouts(running.control_url, elsewhere).serving_version()


def test_canaries_that_crash_or_never_get_ready_are_refused(tmp_path: Path) -> None:
    with front(tmp_path) as running:
        rollouts = LocalRollouts(running.control_url, tmp_path)
        with pytest.raises(RolloutRefused, match="exit code 7"):
            rollouts.start_canary("crash-1")
        with pytest.raises(RolloutRefused, match="still loading"):
            rollouts.start_canary("mute-1")
        assert rollouts.status()["canary"] is None
