"""What every `Rollouts` does; each implementation brings a fixture `rollouts` and subclasses this.

Versions that begin with `refuse` must refuse to serve.
"""

import pytest

from bikeshare.errors import Conflict, RolloutRefused
from bikeshare.ports import Rollouts


class RolloutsContract:
    def test_nothing_serves_before_the_first_promotion(self, rollouts: Rollouts) -> None:
        assert rollouts.serving_version() is None
        rollouts.start_canary("1")
        assert rollouts.serving_version() is None

    def test_a_promoted_canary_serves_and_the_next_one_replaces_it(self, rollouts: Rollouts) -> None:
        for version in ("1", "2"):
            assert version in rollouts.start_canary(version) or rollouts.start_canary(version).startswith("http")
            rollouts.promote_canary(version)
            assert rollouts.serving_version() == version

    def test_an_aborted_canary_leaves_the_serving_version(self, rollouts: Rollouts) -> None:
        rollouts.start_canary("1")
        rollouts.promote_canary("1")
        rollouts.start_canary("2")
        rollouts.abort_canary("2")

        assert rollouts.serving_version() == "1"
        with pytest.raises(RolloutRefused, match="not the canary"):
            rollouts.promote_canary("2")

    def test_a_version_that_refuses_is_refused_with_its_reason(self, rollouts: Rollouts) -> None:
        with pytest.raises(RolloutRefused, match="refuse-1 refuses to serve"):
            rollouts.start_canary("refuse-1")
        rollouts.start_canary("1")
        rollouts.promote_canary("1")

        assert rollouts.serving_version() == "1"

    def test_one_canary_at_a_time(self, rollouts: Rollouts) -> None:
        rollouts.start_canary("1")
        with pytest.raises(Conflict):
            rollouts.start_canary("2")

    def test_the_canary_is_known_until_it_is_promoted_or_removed(self, rollouts: Rollouts) -> None:
        assert rollouts.canary_version() is None
        for version, end in (("1", rollouts.promote_canary), ("2", rollouts.abort_canary)):
            rollouts.start_canary(version)
            assert rollouts.canary_version() == version
            end(version)
            assert rollouts.canary_version() is None

    def test_starting_and_promoting_may_be_repeated(self, rollouts: Rollouts) -> None:
        assert rollouts.start_canary("1") == rollouts.start_canary("1")
        rollouts.promote_canary("1")
        rollouts.promote_canary("1")

        assert rollouts.serving_version() == "1"

    def test_aborting_what_does_not_run_is_no_error(self, rollouts: Rollouts) -> None:
        rollouts.abort_canary("9")
        assert rollouts.serving_version() is None
