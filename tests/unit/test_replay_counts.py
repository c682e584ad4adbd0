"""What the replay counts as a reaction to a labelled change."""

from datetime import date, timedelta
from types import SimpleNamespace

import pandas as pd

from bikeshare.core.diary import Diary
from bikeshare.simulation.replay import Replayed

START = date(2012, 5, 1)


def played(changed_on: date, *made: tuple[str, str | None]) -> Replayed:
    decisions = [SimpleNamespace(action=action, trigger=trigger) for action, trigger in made]
    return Replayed("x", START, START + timedelta(days=len(made)), decisions, (), Diary(pd.DataFrame()), changed_on)


def test_what_came_before_the_change_and_renewals_by_age_are_no_reactions() -> None:
    found = played(
        START + timedelta(days=2),
        ("alert", None), ("retrain", "drift"), ("none", None), ("retrain", "age"), ("hold", "age"),
        ("retrain", "drift"),
    )

    assert found.reactions() == {"age renewal": 1, "hold": 1, "retrain": 1}
    assert found.detected_after_days == 2


def test_a_change_that_only_age_renewals_follow_was_never_noticed() -> None:
    assert played(START, ("none", None), ("retrain", "age")).detected_after_days is None
