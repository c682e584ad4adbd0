"""What the monitor keeps between looks: the newest inputs of each hour, days of scores, and nothing more."""

import json
from datetime import date, datetime, timedelta

import pandas as pd

from bikeshare.core.contract import WEATHER_NUMBERS
from bikeshare.core.drift import DayScore
from bikeshare.core.ledger import INPUTS, KEPT_DAYS, KEPT_HOURS, Ledger

START = datetime(2012, 5, 1)


def served(hours: int, *, start: datetime = START, temp: float = 10.0, made: datetime = START, version: str = "1",
           ) -> pd.DataFrame:
    timestamps = pd.date_range(start, periods=hours, freq="h")
    return pd.DataFrame({
        "timestamp": timestamps, **dict.fromkeys(WEATHER_NUMBERS, temp), "weather": "mist",
        "predicted_at": pd.Timestamp(made), "model_version": version,
    })


def score(day: date, wape: float = 0.1) -> DayScore:
    return DayScore(day, 24, 100.0, 100.0, 100 * wape, 20, 23, 0)


def test_days_that_arrive_late_together_are_all_judged() -> None:
    newest = date(2012, 3, 17)
    judged = date(2012, 3, 1)

    def first(ledger: Ledger, newest: date = newest) -> date:
        return ledger.first_to_judge(newest, 7)

    assert first(Ledger()) == newest - timedelta(days=KEPT_DAYS - 1)
    assert first(Ledger().with_days([score(judged)], judged, judged)) == judged
    yesterday = newest - timedelta(days=1)
    assert first(Ledger().with_days([score(yesterday)], yesterday, yesterday)) == date(2012, 3, 10)
    assert first(Ledger().with_days([score(judged)], judged, judged), date(2012, 6, 1)) == (
        date(2012, 6, 1) - timedelta(days=KEPT_DAYS - 1)
    )


def test_of_several_predictions_of_an_hour_the_newest_counts_in_any_order() -> None:
    old = served(3, temp=1.0, made=START - timedelta(days=1))
    new = served(3, temp=2.0, made=START)
    for batches in ([old, new], [new, old], [pd.concat([new, old], ignore_index=True)]):
        ledger, rows = Ledger().with_inputs(batches)

        assert rows == 6
        assert list(ledger.inputs()["temp_c"]) == [2.0, 2.0, 2.0]


def test_the_newest_prediction_says_which_version_serves() -> None:
    first = served(3, made=START, version="1")
    second = served(3, made=START + timedelta(hours=1), version="2")

    assert Ledger().with_inputs([second, first])[0].served == "2"
    assert Ledger(served="7").with_inputs([])[0].served == "7"
    assert Ledger().with_inputs([served(0)]) == (Ledger(), 0)


def test_only_the_last_hours_and_days_are_kept() -> None:
    ledger, rows = Ledger().with_inputs([served(1000)])
    last = START + timedelta(hours=999)
    days = [score(date(2012, 5, 1) + timedelta(days=n)) for n in range(90)]
    grown = ledger.with_days(days[:50], date(2012, 5, 1), days[49].day).with_days(days[50:], days[50].day, days[-1].day)

    assert rows == 1000
    assert len(ledger.hours) == KEPT_HOURS
    assert max(ledger.hours) == last
    assert list(grown.days) == [day.day for day in days[-KEPT_DAYS:]]
    assert grown.judged == days[-1].day


def test_days_that_are_read_again_replace_what_was_known() -> None:
    known = Ledger().with_days([score(date(2012, 5, n)) for n in (1, 2, 3)], date(2012, 5, 1), date(2012, 5, 3))
    again = known.with_days([score(date(2012, 5, 3), wape=0.5)], date(2012, 5, 2), date(2012, 5, 4))

    assert sorted(again.days) == [date(2012, 5, 1), date(2012, 5, 3)], "a day that has no rows any more is gone"
    assert again.days[date(2012, 5, 3)].abs_error == 50


def test_spoiled_days_do_not_count() -> None:
    ledger = Ledger(spoiled=(date(2012, 5, 2),)).with_days(
        [score(date(2012, 5, n)) for n in (1, 2, 3)], date(2012, 5, 1), date(2012, 5, 3)
    )

    assert [day.day.day for day in ledger.usable_days()] == [1, 3]


def test_the_ledger_survives_json() -> None:
    ledger, _ = Ledger(looked_at=START, spoiled=(date(2012, 5, 2),)).with_inputs([served(30)])
    ledger = ledger.with_days([score(date(2012, 5, 1))], date(2012, 5, 1), date(2012, 5, 1))
    again = Ledger.from_dict(json.loads(json.dumps(ledger.to_dict())))

    assert again == ledger
    assert Ledger.from_dict({}) == Ledger()
    assert list(again.inputs().columns) == list(INPUTS)
    pd.testing.assert_frame_equal(again.inputs(), ledger.inputs())
