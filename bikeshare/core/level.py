"""The level: how much busier the city is than the shape a forest learned. State, not training.

level(day) = Σ w actual / Σ w predicted shape over the 28 days whose labels have landed, w halving every few days,
refreshed at midnight. A forest cannot extrapolate growth; this one number per forest carries it. Deterministic: the
same artifact, observations and day give the same level.
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
        stateless_half_life_days: Age at which a day counts half, stateless forest. Weighted days beat a plain
            7-day window by 1.5 RMSE on 2011-H2; 2 to 5 are ties.
        history_half_life_days: The same for the history forest, whose base already moves with demand.
        reach_days: Older days do not count.
        cap_per_day: Largest change of the logarithm per day; a hurricane moves the level by at most 10 %.
        max_missing_hours: A day with more missing hours than this says nothing about the level.
        stale_after_hours: An older level marks answers as degraded.
        expires_after_hours: An even older level is not used; the one frozen in the artifact answers.
    """

    stateless_half_life_days: float = 3.0
    history_half_life_days: float = 4.0
    reach_days: int = 28
    cap_per_day: float = 0.10
    max_missing_hours: int = 6
    stale_after_hours: int = 72
    expires_after_hours: int = 28 * DAY

    def half_life_days(self, forest: Forest) -> float:
        """Half-life of a forest's level."""
        return self.stateless_half_life_days if forest == "stateless" else self.history_half_life_days


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
    actual: Floats, predicted: Floats, day: int, half_life_days: float, policy: LevelPolicy
) -> tuple[float, int, int]:
    """Uncapped ratio as of midnight of `day` (index into the first axis), from days [day - 1 - reach, day - 1).

    Args:
        actual: Demand per day and hour, shape (days, 24), NaN where unknown.
        predicted: Shape × base per day and hour, shape (days, 24), NaN where unknown.
        day: Day for which the level is wanted; may lie beyond the last row.
        half_life_days: Weight of a day is 0.5^(age / half-life).
        policy: Which days count.

    Returns:
        The ratio (NaN when no day counts), hours behind it, and the newest day that counted (-1 when none).
    """
    low, high = max(0, day - 1 - policy.reach_days), min(max(0, day - 1), actual.shape[0])
    seen, guessed = actual[low:high], predicted[low:high]
    both = (seen == seen) & (guessed == guessed)
    hours = both.sum(axis=1)
    counts = hours >= DAY - policy.max_missing_hours
    both &= counts[:, None]
    weights = 0.5 ** ((day - 2 - np.arange(low, high)) / half_life_days)
    total = float(weights @ np.where(both, guessed, 0.0).sum(axis=1))
    if total <= 0:
        return float("nan"), 0, -1
    ratio = float(weights @ np.where(both, seen, 0.0).sum(axis=1)) / total
    return ratio, int(hours[counts].sum()), low + int(np.flatnonzero(counts)[-1])


def refresh_level(
    previous: Level, actual: Floats, predicted: Floats, first_day: int, day: int, half_life_days: float,
    policy: LevelPolicy,
) -> Level:
    """The level as of midnight of `day`, at most `cap_per_day` away from the previous one.

    Args:
        previous: Level of the day before.
        actual: Demand, shape (days, 24), first row is day number `first_day`.
        predicted: Shape × base on the same hours.
        first_day: Day number (days since 1970-01-01) of the first row.
        day: Day number to refresh for.
        half_life_days: Half-life of this forest.
        policy: Cap and skip rules.
    """
    ratio, hours, newest = trailing_ratio(actual, predicted, day - first_day, half_life_days, policy)
    if not ratio > 0:
        return Level(previous.level, previous.as_of, 0, f"kept: no usable label in {policy.reach_days} days")
    as_of = moment_of((first_day + newest + 2) * DAY)
    wanted = float(np.log(ratio / previous.level))
    step = float(np.clip(wanted, -policy.cap_per_day, policy.cap_per_day))
    reason = f"actual / predicted over {hours} h"
    if step != wanted:
        reason += f", change of {wanted:+.0%} capped at {step:+.0%}"
    return Level(previous.level * float(np.exp(step)), as_of, hours, reason)


def level_chain(
    seed: Level, actual: Floats, predicted: Floats, first_day: int, start: int, end: int,
    half_life_days: float, policy: LevelPolicy,
) -> list[Level]:
    """Levels of days [start, end), refreshed day by day from the seed; days are day numbers."""
    levels, current = [], seed
    for day in range(start, end):
        current = refresh_level(current, actual, predicted, first_day, day, half_life_days, policy)
        levels.append(current)
    return levels


def centred_ratio(actual: Floats, predicted: Floats, half_hours: int = 21 * DAY) -> Floats:
    """g(t) = Σ actual / Σ predicted over the 42 days around t, on grid hours; 1 where nothing is known."""
    known = ~np.isnan(actual) & ~np.isnan(predicted)
    top = np.concatenate(([0.0], np.cumsum(np.where(known, actual, 0.0))))
    bottom = np.concatenate(([0.0], np.cumsum(np.where(known, predicted, 0.0))))
    place: npt.NDArray[np.int64] = np.arange(actual.size)
    low, high = np.maximum(place - half_hours, 0), np.minimum(place + half_hours, actual.size)
    total = bottom[high] - bottom[low]
    ratio = np.where(total > 0, (top[high] - top[low]) / np.where(total > 0, total, 1.0), 1.0)
    return np.where(ratio > 0, ratio, 1.0)
