"""What every `Rollouts` does: the fake, and the local one over a real supervisor with real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bikeshare.adapters.local_rollouts import LocalRollouts
from bikeshare.errors import RolloutRefused, Unavailable
from bikeshare.ports import Rollouts
from tests.contract.rollouts import RolloutsContract
from tests.fakes.front_thread import front
from tests.fakes.rollouts import MemoryRollouts


@pytest.fixture(params=["memory", "local"])
def rollouts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rollouts]:
    if request.param == "memory":
        yield MemoryRollouts(refuse={"refuse-1"})
        return
    with front(tmp_path) as running:
        yield LocalRollouts(running.control_url, tmp_path)


class TestRollouts(RolloutsContract):
    """The contract, with the fixture above; tests/cluster runs it against a real API server."""


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
