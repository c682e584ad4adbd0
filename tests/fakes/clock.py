"""A clock that stands until a test moves it."""

from datetime import datetime, timedelta


class FixedClock:
    """`bikeshare.ports.Clock` with a settable time."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, **delta: float) -> datetime:
        self.moment += timedelta(**delta)
        return self.moment
