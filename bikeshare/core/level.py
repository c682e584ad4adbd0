"""The level: how much busier the city is than the shape a forest learned. State, not training.

level(day) = Σ actual / Σ predicted shape over the trailing days whose labels have landed, refreshed at midnight.
A forest cannot extrapolate growth; this one number per forest carries it. Deterministic: the same artifact,
observations and day give the same level.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from bikeshare.core.grid import DAY, Floats, moment_of

Forest = Literal["stateless", "history"]
FORESTS: tuple[Forest, Forest] = ("stateless", "history")


@dataclass(frozen=True)
class LevelPolicy:
    """How the level follows demand.

    Attributes:
        stateless_days: Trailing days for the stateless forest; 7 covers each weekday once.
        history_days: Trailing days for the history forest, whose base already moves with demand.
        cap_per_day: Largest change of the logarithm per day; a hurricane moves the level by at most 10 %.
        max_missing_hours: A day with more missing hours than this says nothing about the level.
        stale_after_hours: An older level marks answers as degraded.
        expires_after_hours: An even older level is not used; the one frozen in the artifact answers.
    """

    stateless_days: int = 7
    history_days: int = 14
    cap_per_day: float = 0.10
    max_missing_hours: int = 6
    stale_after_hours: int = 72
    expires_after_hours: int = 28 * DAY

    def window_days(self, forest: Forest) -> int:
        """Trailing days of a forest."""
        return self.stateless_days if forest == "stateless" else self.history_days


@dataclass(frozen=True)
class Level:
    """The level of one forest.

    Attributes:
        level: Actual ÷ predicted shape, dimensionless.
        as_of: Midnight at which the newest label used was 24 hours old.
        labelled_hours: Hours behind the ratio.
        reason: Why it has this value.
    """

    level: float
    as_of: datetime
    labelled_hours: int
    reason: str


def trailing_ratio(
    actual: Floats, predicted: Floats, day: int, window_days: int, policy: LevelPolicy
) -> tuple[float, int, int]:
    """Uncapped ratio as of midnight of `day` (index into the first axis): days [day - 1 - window, day - 1).

    Args:
        actual: Demand per day and hour, shape (days, 24), NaN where unknown.
        predicted: Shape × base per day and hour, shape (days, 24), NaN where unknown.
        day: Day for which the level is wanted; may equal `days`, or exceed it by one.
        window_days: Length of the window.
        policy: Which days count.

    Returns:
        The ratio (NaN when no day counts), hours behind it, and the newest day that counted (-1 when none).
    """
    low, high = max(0, day - 1 - window_days), min(max(0, day - 1), actual.shape[0])
    both = ~np.isnan(actual[low:high]) & ~np.isnan(predicted[low:high])
    both &= (both.sum(axis=1) >= DAY - policy.max_missing_hours)[:, None]
    days = np.flatnonzero(both.any(axis=1))
    total = float(np.where(both, predicted[low:high], 0.0).sum())
    if days.size == 0 or total <= 0:
        return float("nan"), 0, -1
    seen = float(np.where(both, actual[low:high], 0.0).sum())
    return seen / total, int(both.sum()), low + int(days[-1])


def refresh_level(
    previous: Level, actual: Floats, predicted: Floats, first_day: int, day: int, window_days: int,
    policy: LevelPolicy,
) -> Level:
    """The level as of midnight of `day`, at most `cap_per_day` away from the previous one.

    Args:
        previous: Level of the day before.
        actual: Demand, shape (days, 24), first row is day number `first_day`.
        predicted: Shape × base on the same hours.
        first_day: Day number (days since 1970-01-01) of the first row.
        day: Day number to refresh for.
        window_days: Trailing days of this forest.
        policy: Cap and skip rules.
    """
    ratio, hours, newest = trailing_ratio(actual, predicted, day - first_day, window_days, policy)
    if not ratio > 0:
        return Level(previous.level, previous.as_of, 0, f"kept: no usable label in {window_days} days")
    as_of = moment_of((first_day + newest + 2) * DAY)
    wanted = float(np.log(ratio / previous.level))
    step = float(np.clip(wanted, -policy.cap_per_day, policy.cap_per_day))
    reason = f"actual / predicted over {hours} h"
    if step != wanted:
        reason += f", change of {wanted:+.0%} capped at {step:+.0%}"
    return Level(previous.level * float(np.exp(step)), as_of, hours, reason)


def level_chain(
    seed: Level, actual: Floats, predicted: Floats, first_day: int, start: int, end: int, window_days: int,
    policy: LevelPolicy,
) -> list[Level]:
    """Levels of days [start, end), refreshed day by day from the seed; days are day numbers."""
    levels, current = [], seed
    for day in range(start, end):
        current = refresh_level(current, actual, predicted, first_day, day, window_days, policy)
        levels.append(current)
    return levels


def centred_ratio(actual: Floats, predicted: Floats, half_hours: int = 14 * DAY) -> Floats:
    """g(t) = Σ actual / Σ predicted over the 28 days around t, on grid hours; 1 where nothing is known."""
    known = ~np.isnan(actual) & ~np.isnan(predicted)
    top = np.concatenate(([0.0], np.cumsum(np.where(known, actual, 0.0))))
    bottom = np.concatenate(([0.0], np.cumsum(np.where(known, predicted, 0.0))))
    place: npt.NDArray[np.int64] = np.arange(actual.size)
    low, high = np.maximum(place - half_hours, 0), np.minimum(place + half_hours, actual.size)
    total = bottom[high] - bottom[low]
    ratio = np.where(total > 0, (top[high] - top[low]) / np.where(total > 0, total, 1.0), 1.0)
    return np.where(ratio > 0, ratio, 1.0)
