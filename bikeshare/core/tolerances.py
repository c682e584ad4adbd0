"""How much deviation validation accepts: the knobs that are not learned from history."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ValidationPolicy:
    """How much deviation is still normal.

    Attributes:
        min_hours: Fewest hours a day (24-hour window) must hold; 21, because hours without a trip have no row:
            ordinary days of the UCI record miss at most two.
        range_slack: Share of a range by which values may leave it on either side; 0.25 as measured.
        young_range_slack: The same while less than `range_full_hours` of a month were seen; twice as much.
        range_hours: Hours outside the range that make a failure; 2, so that one bad reading does not.
        unit_hours: Hours outside the range that make it a wrong unit when °F explains them; 6, because one warm
            afternoon "fits" in Fahrenheit too.
        range_full_hours: Hours after which a month's own range counts; before, its neighbours are added.
        range_min_hours: Hours (neighbours included) below which only the physical range holds; two weeks.
        min_run_hours: A run of one value shorter than this is never called frozen; 26, because the record holds
            19-27 h runs of temperature and humidity in steady rain. A day of one single value is always frozen.
        min_calm_hours: The same for zero wind, which only means "below the sensor's threshold".
        min_clear_run_hours: The same for clear sky; the longest in the record is 139 h, so frozen clear sky is
            found after six days and not earlier: neither humidity nor entropy tells it apart before.
        min_weather_run_hours: The same for the other weather classes; the longest in the record is 32 h.
        run_slack: Factor on the longest run seen in history; it replaces the minimum when it is longer.
        clock_match: Correlation with the shifted usual day that makes a clock error; 0.85 as measured.
        clock_gain: ... and by how much it must exceed the unshifted one; 0.30: the largest gain of an ordinary day in
            2012 is 0.27 (24 December).
        max_null_share: Largest share of missing values per column; rows with a hole are dropped.
        max_future_hours: How far a timestamp may lie after `now`.
        max_past_days: How far a timestamp may lie before the newest accepted hour; older is a wrong clock.
        forecast_hours: How far ahead served inputs may lie after `now`.
    """

    min_hours: int = 21
    range_slack: float = 0.25
    young_range_slack: float = 0.5
    range_hours: int = 2
    unit_hours: int = 6
    range_full_hours: int = 600
    range_min_hours: int = 336
    min_run_hours: int = 26
    min_calm_hours: int = 24
    min_clear_run_hours: int = 144
    min_weather_run_hours: int = 36
    run_slack: float = 1.0
    clock_match: float = 0.85
    clock_gain: float = 0.30
    max_null_share: float = 0.10
    max_future_hours: int = 1
    max_past_days: int = 3660
    forecast_hours: int = 72
