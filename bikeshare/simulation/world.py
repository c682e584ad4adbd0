"""The world the loop lives in: real history, with labelled scenarios on top."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import pandas as pd

from bikeshare.core.contract import NEVER_FEATURES
from bikeshare.core.scenarios import Scenario


@dataclass
class World:
    """What really happens (`reality`) and what the sensors say about it (`feed`).

    A scenario that changes the world changes both; one that breaks a sensor changes only the feed.
    """

    reality: pd.DataFrame
    feed: pd.DataFrame

    @classmethod
    def of(cls, history: pd.DataFrame) -> "World":
        """A world in which sensors tell the truth."""
        return cls(history, history)

    def change(self, scenario: Scenario) -> None:
        """The world itself changes, and the sensors see it."""
        self.reality = scenario(self.reality)
        self.feed = scenario(self.feed)

    def break_sensors(self, scenario: Scenario) -> None:
        """Only the feed changes; reality goes on."""
        self.feed = scenario(self.feed)

    def repair_sensors(self) -> None:
        """The feed tells the truth again, also about the past (the repaired data are delivered)."""
        self.feed = self.reality

    def observed(self, day: date) -> pd.DataFrame:
        """What is delivered about a day afterwards: weather and counts, hours without a trip missing."""
        return _of_day(self.feed, day)

    def truth(self, start: date, end: date) -> pd.DataFrame:
        """What really happened on start <= day < end."""
        return _between(self.reality, datetime.combine(start, time()), datetime.combine(end, time()))

    def forecast(self, day: date) -> pd.DataFrame:
        """The weather a client would send for a day: what the feed says, without any count."""
        return _of_day(self.feed, day).drop(columns=list(NEVER_FEATURES))


def _of_day(frame: pd.DataFrame, day: date) -> pd.DataFrame:
    start = datetime.combine(day, time())
    return _between(frame, start, start + timedelta(days=1))


def _between(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    first, last = frame["timestamp"].searchsorted([pd.Timestamp(start), pd.Timestamp(end)])
    return frame.iloc[first:last].reset_index(drop=True)


def days(start: date, end: date) -> list[date]:
    """Every day with start <= day < end."""
    return [start + timedelta(days=offset) for offset in range((end - start).days)]
