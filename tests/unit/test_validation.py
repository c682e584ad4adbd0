"""Validation: every rule fires on its fault, names what to do, and spares ordinary days."""

import ast
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bikeshare.core import rules
from bikeshare.core.limits import ValidationLimits, extend_limits, learn_limits
from bikeshare.core.sensors import allowed_range
from bikeshare.core.validation import ValidationPolicy, validate, validate_inputs, validate_values
from bikeshare.steps.announce import DQ_RULES

NOW = datetime(2013, 1, 1)
POLICY = ValidationPolicy()
Fault = Callable[[pd.DataFrame], pd.DataFrame]

REAL_INCIDENTS_2012 = {
    date(2012, 8, 17): "apparent temperature stuck at 32 degF",
    date(2012, 10, 29): "hurricane Sandy, one hour",
    date(2012, 10, 30): "hurricane Sandy, eleven hours",
    date(2012, 12, 29): "apparent temperature stuck at 32 degF",
}
REAL_INCIDENTS_2011 = {
    date(2011, 1, 18): "shutdown", date(2011, 1, 26): "shutdown", date(2011, 1, 27): "shutdown",
    date(2011, 2, 22): "shutdown", date(2011, 3, 10): "humidity 0 all day",
    date(2011, 8, 27): "hurricane Irene", date(2011, 8, 28): "hurricane Irene",
    date(2011, 9, 6): "temperature one single value all day",
}


@pytest.fixture(scope="module")
def year_2011(history: pd.DataFrame) -> pd.DataFrame:
    return history[history["timestamp"] < "2012"].reset_index(drop=True)


@pytest.fixture(scope="module")
def limits(year_2011: pd.DataFrame) -> ValidationLimits:
    return learn_limits(year_2011)


def days_of(frame: pd.DataFrame) -> list[tuple[date, pd.DataFrame]]:
    return [(day, rows.reset_index(drop=True)) for day, rows in frame.groupby(frame["timestamp"].dt.date)]


@pytest.fixture(scope="module")
def days_2012(history: pd.DataFrame) -> list[tuple[date, pd.DataFrame]]:
    return days_of(history[history["timestamp"] >= "2012"])


@pytest.fixture
def day(history: pd.DataFrame) -> pd.DataFrame:
    return history[history["timestamp"].dt.date == date(2012, 1, 18)].reset_index(drop=True)


def set_to(column: str, value: object, rows: slice = slice(None)) -> Fault:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        frame[column] = frame[column].astype(object if isinstance(value, str) else frame[column].dtype)
        frame.loc[frame.index[rows], column] = value
        return frame
    return change


def scaled(factor: float, offset: float, *columns: str) -> Fault:
    return lambda frame: frame.assign(**{name: frame[name] * factor + offset for name in columns})


def test_an_ordinary_day_passes(day: pd.DataFrame, limits: ValidationLimits) -> None:
    verdict = validate(day, limits, NOW)
    assert verdict.passed
    assert verdict.failures == ()
    assert verdict.rows == 24
    assert "24 rows passed" in verdict.reason


@pytest.mark.parametrize(("fault", "rule", "column", "hours", "words"), [
    (scaled(1.8, 32, "temp_c", "feels_like_c"), "unit", "temp_c", 24, "degrees Fahrenheit"),
    (scaled(1.8, 32, "temp_c"), "unit", "temp_c", 24, "degrees Fahrenheit"),
    (scaled(0.01, 0, "humidity_pct"), "unit", "humidity_pct", 24, "multiply by 100"),
    (set_to("humidity_pct", 0.0), "range", "humidity_pct", 24, "sensor is dead"),
    (set_to("temp_c", 5.0), "frozen", "temp_c", 24, "not one other value all day"),
    (set_to("feels_like_c", 45.0, slice(3, 6)), "range", "feels_like_c", 3, "is normal for the month"),
    (set_to("temp_c", 51.0, slice(2)), "schema", "temp_c", 2, "allowed: -40 to 50 °C"),
    (set_to("temp_c", np.inf, slice(1)), "schema", "temp_c", 1, "inf"),
    (set_to("windspeed_kmh", -1.0, slice(1)), "schema", "windspeed_kmh", 1, "allowed: 0 to 200 km/h"),
    (set_to("humidity_pct", 100.5, slice(1)), "schema", "humidity_pct", 1, "allowed: 0 to 100 %"),
    (set_to("weather", "sunny", slice(2)), "schema", "weather", 2, "allowed: clear, mist"),
    (set_to("demand", -3, slice(1)), "schema", "demand", 1, "allowed: 0 to any"),
    (set_to("demand", 9999, slice(4)), "sum", "demand", 4, "9999 against"),
    (set_to("casual", -1.0, slice(1)), "schema", "casual", 1, "allowed: 0 to any"),
    (set_to("temp_c", np.nan, slice(3)), "nulls", "temp_c", 3, "missing in 3 of 24 hours"),
    (lambda f: pd.concat([f, f.iloc[:2]]), "duplicates", "timestamp", 2, "occur more than once"),
    (lambda f: f.iloc[:20], "completeness", "", 4, "Only 20 of 24 hours"),
    (lambda f: f.drop(index=range(8, 14)), "completeness", "", 6, "Only 18 of 24 hours"),
    (lambda f: f.assign(timestamp=f["timestamp"] + pd.Timedelta(days=800)), "future", "timestamp", 24, "in the future"),
    (lambda f: f.assign(timestamp=f["timestamp"] - pd.Timedelta(days=9000)), "past", "timestamp", 24, "far in the"),
    (lambda f: f.drop(columns="weather"), "schema", "", 24, "column 'weather' is missing"),
    (lambda f: f.assign(season=1), "schema", "", 24, "unknown column 'season'"),
    (lambda f: f.assign(temp_c="warm"), "schema", "", 24, "'warm' is not a number"),
    (lambda f: f.iloc[:0], "empty", "", 0, "no rows"),
])
def test_each_fault_is_found_by_its_rule(
    day: pd.DataFrame, limits: ValidationLimits, fault: Fault, rule: str, column: str, hours: int, words: str
) -> None:
    verdict = validate(fault(day), limits, NOW)
    assert not verdict.passed
    failure = next(f for f in verdict.failures if f.rule == rule and f.column == column)
    assert failure.hours == hours
    assert words in failure.detail
    assert failure.detail in verdict.reason


def test_one_cause_is_named_once(day: pd.DataFrame, limits: ValidationLimits) -> None:
    verdict = validate(scaled(1.8, 32, "temp_c", "feels_like_c")(day), limits, NOW)
    assert [(f.rule, f.column) for f in verdict.failures] == [("unit", "temp_c"), ("unit", "feels_like_c")]
    assert verdict.rules == ("unit",)


def test_every_broken_cell_is_reported_not_only_the_first(day: pd.DataFrame, limits: ValidationLimits) -> None:
    broken = set_to("temp_c", 70.0, slice(2))(set_to("weather", "hail", slice(3))(day))
    assert {f.column for f in validate(broken, limits, NOW).failures} == {"temp_c", "weather"}


def test_a_day_with_two_holes_passes_without_those_rows(day: pd.DataFrame, limits: ValidationLimits) -> None:
    verdict = validate(set_to("temp_c", np.nan, slice(2))(day), limits, NOW)
    assert (verdict.passed, verdict.dropped, verdict.rows) == (True, 2, 24)
    assert "2 with a missing value left out" in verdict.reason


def test_one_bad_reading_is_tolerated_and_two_are_not(day: pd.DataFrame, limits: ValidationLimits) -> None:
    assert validate(set_to("temp_c", 49.0, slice(1))(day), limits, NOW).rules == ()
    assert validate(set_to("temp_c", 49.0, slice(2))(day), limits, NOW).rules == ("range",)


def test_rows_of_another_day_are_strangers(day: pd.DataFrame, limits: ValidationLimits) -> None:
    assert validate(day, limits, NOW, day=date(2012, 1, 18)).passed
    verdict = validate(day, limits, NOW, day=date(2012, 1, 19))
    assert verdict.rules == ("wrong_day",)
    assert "first 2012-01-18 00:00:00" in verdict.reason


def test_a_day_that_is_not_over_is_in_the_future(day: pd.DataFrame, limits: ValidationLimits) -> None:
    noon = datetime(2012, 1, 18, 12)
    failure = next(f for f in validate(day, limits, noon).failures if f.rule == "future")
    assert failure.hours == 10


def test_without_history_only_the_contract_holds(day: pd.DataFrame) -> None:
    assert validate(day, None, NOW).passed
    assert validate(set_to("temp_c", 45.0, slice(9))(day), None, NOW).passed
    assert validate(set_to("temp_c", 51.0, slice(2))(day), None, NOW).rules == ("schema",)


def test_a_frame_of_history_and_its_limits_judge_alike(day: pd.DataFrame, year_2011: pd.DataFrame) -> None:
    hot = set_to("temp_c", 45.0, slice(3))(day)
    assert validate(hot, year_2011, NOW) == validate(hot, learn_limits(year_2011), NOW)


def test_a_run_is_counted_across_days(history: pd.DataFrame, limits: ValidationLimits) -> None:
    start = datetime(2012, 1, 17, 14)
    stuck = history[history["timestamp"].between("2012-01-17", "2012-01-18 18:00")].reset_index(drop=True)
    stuck.loc[stuck["timestamp"] >= start, "temp_c"] = 8.0
    (_, first), (_, second) = days_of(stuck)
    assert validate_values(first, limits, NOW).passed
    lenient = ValidationPolicy(min_hours=15)
    assert validate_values(second, limits, NOW, lenient).rules == ("frozen",)  # 19 h, one value all "day"
    two_values = second.copy()
    two_values.loc[two_values.index[-1], "temp_c"] = 7.0
    assert validate_values(two_values, limits, NOW, lenient).passed
    assert validate_values(two_values, extend_limits(limits, first), NOW, lenient).rules == ("frozen",)  # 10 + 18 h


@pytest.mark.parametrize(("weather", "days_to_detect"), [("mist", 2), ("light_precip", 2), ("clear", 7)])
def test_frozen_weather_is_found(
    days_2012: list[tuple[date, pd.DataFrame]], limits: ValidationLimits, weather: str, days_to_detect: int
) -> None:
    for start in (20, 120, 250):
        seen, found = limits, 0
        for number, (_, rows) in enumerate(days_2012[start : start + 8], start=1):
            frozen = rows.assign(weather=weather)
            if "frozen_category" in validate_values(frozen, seen, NOW).rules:
                found = number
                break
            seen = extend_limits(seen, frozen)
        assert 0 < found <= days_to_detect


def test_rules_do_not_cry_wolf_in_2012(
    days_2012: list[tuple[date, pd.DataFrame]], limits: ValidationLimits
) -> None:
    """All 366 days against 2011 and what was accepted since: the real incidents and one warm December day."""
    seen, refused = limits, {}
    for day, rows in days_2012:
        verdict = validate_values(rows, seen, NOW, day=day)
        if verdict.passed:
            seen = extend_limits(seen, rows)
        else:
            refused[day] = verdict.rules
    assert set(REAL_INCIDENTS_2012) <= set(refused)
    ordinary = {day: rules for day, rules in refused.items() if day not in REAL_INCIDENTS_2012}
    assert ordinary == {date(2012, 12, 3): ("range",)}


def test_rules_do_not_cry_wolf_while_the_first_history_grows(year_2011: pd.DataFrame) -> None:
    seen, refused = ValidationLimits(), set()
    for day, rows in days_of(year_2011):
        if validate_values(rows, seen, NOW, day=day).passed:
            seen = extend_limits(seen, rows)
        else:
            refused.add(day)
    assert refused == set(REAL_INCIDENTS_2011)


@pytest.mark.parametrize(("fault", "least"), [
    (scaled(1.8, 32, "temp_c", "feels_like_c"), 1.0),
    (lambda f: f.assign(temp_c=f["temp_c"].iloc[0]), 1.0),
    (set_to("humidity_pct", 0.0), 1.0),
    (lambda f: f[~f["timestamp"].dt.hour.between(8, 13)].reset_index(drop=True), 1.0),
    (lambda f: f[np.random.default_rng(f["demand"].sum()).random(len(f)) > 0.3].reset_index(drop=True), 0.9),
])
def test_a_sensor_fault_is_found_on_any_day_of_the_year(
    days_2012: list[tuple[date, pd.DataFrame]], limits: ValidationLimits, fault: Fault, least: float
) -> None:
    whole = [rows for _, rows in days_2012[::7] if len(rows) >= 21]
    caught = [not validate_values(fault(rows), limits, NOW).passed for rows in whole]
    assert np.mean(caught) >= least


def test_limits_survive_json(limits: ValidationLimits) -> None:
    document = json.loads(json.dumps(limits.to_dict()))
    assert ValidationLimits.from_dict(document) == limits
    assert ValidationLimits.from_dict({}) == ValidationLimits()
    assert ValidationLimits.from_dict(ValidationLimits().to_dict()) == ValidationLimits()


@given(cuts=st.lists(st.integers(min_value=0, max_value=1400), max_size=6))
@settings(max_examples=25, deadline=None)
def test_learning_in_pieces_equals_learning_at_once(year_2011: pd.DataFrame, cuts: list[int]) -> None:
    frame = year_2011.iloc[:1400]
    edges = [0, *sorted(cuts), 1400]
    pieces = ValidationLimits()
    for a, b in zip(edges, edges[1:], strict=False):
        pieces = extend_limits(pieces, frame.iloc[a:b].reset_index(drop=True))
    assert pieces == learn_limits(frame)


def test_a_backfilled_day_widens_ranges_but_closes_no_run(year_2011: pd.DataFrame) -> None:
    later = learn_limits(year_2011.iloc[24:72].reset_index(drop=True))
    both = extend_limits(later, year_2011.iloc[:24])
    assert (both.rows, both.start, both.end) == (later.rows + 24, datetime(2011, 1, 1), later.end)
    assert (both.runs, both.tails) == (later.runs, later.tails)
    assert both.ranges["temp_c"][1].high >= later.ranges["temp_c"][1].high


def test_a_dead_sensor_in_history_does_not_widen_its_limits(year_2011: pd.DataFrame, limits: ValidationLimits) -> None:
    assert year_2011["humidity_pct"].min() == 0.0
    assert limits.ranges["humidity_pct"][3].low > 1.0


def test_ranges_are_monthly_only_for_temperature_and_wider_while_young(
    limits: ValidationLimits, year_2011: pd.DataFrame
) -> None:
    january, july = (allowed_range(limits, "temp_c", month, POLICY) for month in (1, 7))
    assert january.high < 22 < july.high
    assert allowed_range(limits, "windspeed_kmh", 1, POLICY) == allowed_range(limits, "windspeed_kmh", 7, POLICY)
    young = learn_limits(year_2011.iloc[:500])
    assert allowed_range(young, "temp_c", 1, POLICY).high > january.high
    assert allowed_range(young, "temp_c", 7, POLICY).hours == 0
    assert (allowed_range(young, "temp_c", 7, POLICY).low, allowed_range(young, "temp_c", 7, POLICY).high) == (-40, 50)


def served(history: pd.DataFrame, until: datetime, days: int = 7) -> pd.DataFrame:
    window = history[(history["timestamp"] > until - timedelta(days=days)) & (history["timestamp"] <= until)]
    return window.drop(columns=["demand", "casual", "registered", "is_holiday"]).reset_index(drop=True)


def test_served_inputs_of_a_quiet_week_pass(history: pd.DataFrame, limits: ValidationLimits) -> None:
    until = datetime(2012, 5, 15, 9)
    frame = served(history, until)
    assert validate_inputs(frame, limits, until).passed
    doubled = pd.concat([frame.assign(temp_c=99.0), frame])  # an older answer for the same hour does not count
    assert validate_inputs(doubled, limits, until).passed


@pytest.mark.parametrize(("fault", "hours", "rule"), [
    (scaled(1.8, 32, "temp_c", "feels_like_c"), 8, "unit"),
    (set_to("humidity_pct", 0.0), 2, "range"),
    (set_to("temp_c", 12.0), 27, "frozen"),
    (set_to("temp_c", np.nan), 3, "nulls"),
    (set_to("weather", "hail"), 1, "schema"),
    (set_to("temp_c", 51.0), 1, "schema"),
    (lambda f: f.iloc[::2], 9, "completeness"),
])
def test_served_inputs_show_a_fault_within_hours_and_forget_it_a_day_after(
    history: pd.DataFrame, limits: ValidationLimits, fault: Fault, hours: int, rule: str
) -> None:
    begin = datetime(2012, 5, 15, 9)
    until = begin + timedelta(hours=hours - 1)
    frame = served(history, until)
    broken = pd.concat([frame[frame["timestamp"] < begin], fault(frame[frame["timestamp"] >= begin])])
    verdict = validate_inputs(broken, limits, until)
    assert rule in verdict.rules
    clean = served(history, until + timedelta(hours=24), days=1)
    later = pd.concat([broken, clean])
    assert validate_inputs(later, limits, until + timedelta(hours=24)).rules == ()


def test_served_inputs_need_not_be_complete_when_clients_ask_rarely(
    history: pd.DataFrame, limits: ValidationLimits
) -> None:
    until = datetime(2012, 5, 15, 9)
    sparse = served(history, until).iloc[::3]
    assert validate_inputs(sparse, limits, until).rules == ("completeness",)
    assert validate_inputs(sparse, limits, until, complete=False).passed


def test_served_inputs_may_lie_ahead_as_far_as_a_forecast(history: pd.DataFrame, limits: ValidationLimits) -> None:
    until = datetime(2012, 5, 15, 9)
    frame = served(history, until)
    assert validate_inputs(frame, limits, until - timedelta(hours=48)).passed
    assert "future" in validate_inputs(frame, limits, until - timedelta(hours=100)).rules


def test_no_served_inputs_are_a_failure_not_silence(limits: ValidationLimits) -> None:
    nothing = pd.DataFrame({"timestamp": [], "temp_c": []})
    assert validate_inputs(nothing, limits, NOW).rules == ("empty",)


def test_hours_ahead_are_not_missed_yet(history: pd.DataFrame) -> None:
    now = datetime(2012, 5, 9, 6)
    limits = learn_limits(history[history["timestamp"] < datetime(2012, 5, 1)])
    week = history[history["timestamp"].between(datetime(2012, 5, 2), datetime(2012, 5, 9, 23))]
    lonely = history[history["timestamp"] == datetime(2012, 5, 11, 5)]
    asked = pd.concat([week, lonely], ignore_index=True)
    gap = asked[~asked["timestamp"].between(datetime(2012, 5, 8, 12), datetime(2012, 5, 8, 20))]

    assert validate_inputs(asked, limits, now).passed
    assert validate_inputs(gap, limits, now).rules == ("completeness",)


def test_a_first_forecast_of_tomorrow_misses_nothing(history: pd.DataFrame) -> None:
    limits = learn_limits(history[history["timestamp"] < datetime(2012, 5, 1)])
    tomorrow = history[history["timestamp"].between(datetime(2012, 5, 10), datetime(2012, 5, 10, 5))]

    assert validate_inputs(tomorrow, limits, datetime(2012, 5, 9, 6)).passed


def test_the_range_that_is_named_is_that_of_the_first_bad_hour(
    history: pd.DataFrame, limits: ValidationLimits
) -> None:
    until = datetime(2012, 4, 1, 8)
    frame = served(history, until)
    frame.loc[frame["timestamp"].between("2012-03-31 12:00", "2012-03-31 17:00"), "feels_like_c"] = -25.0
    failure = next(found for found in validate_inputs(frame, limits, until).failures if found.column == "feels_like_c")

    march, april = (allowed_range(limits, "feels_like_c", month, ValidationPolicy()) for month in (3, 4))
    assert march != april
    assert f"where {march.low:.1f} to {march.high:.1f} is normal" in failure.detail


def test_every_rule_is_shown_as_zero_while_it_holds_unless_it_only_judges_delivered_days() -> None:
    """An alert rule sees a metric return to zero only if it is there: a new rule belongs to one list."""
    only_delivered = {"clock", "duplicates", "sum", "wrong_day"}
    core = Path(rules.__file__).parent
    named = {
        name.value
        for path in core.glob("*.py") for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Failure" and call.args
        for name in ast.walk(call.args[0]) if isinstance(name, ast.Constant) and isinstance(name.value, str)
    } - {"weather"}  # what a rule's name is chosen by
    assert {"empty", "unit", "clock"} < named
    assert {*DQ_RULES} - {"refused_day"} == named - only_delivered
