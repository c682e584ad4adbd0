"""Landing and ingest: idempotent, repaired after every kind of interruption, nothing half-written is read."""

import json
from datetime import date, datetime, timedelta

import pandas as pd
import pytest

from bikeshare.core.alerts import Alert
from bikeshare.core.limits import learn_limits
from bikeshare.core.observations import read_parquet, to_parquet
from bikeshare.core.scenarios import clock_shift
from bikeshare.errors import BatchRejected, Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import Receipt
from bikeshare.steps import ingest
from bikeshare.steps.ingest import load_limits, pending, process_new, release
from bikeshare.steps.landing import land, quarantine_key, raw_key
from bikeshare.steps.quarantine import REASON, quarantined
from tests.fakes.records import MemoryRecords
from tests.fakes.store import MemoryStore

NOW = datetime(2013, 1, 1)
BAD = date(2012, 3, 7)


class Inbox:
    """Collects alerts; can be away."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.away = False

    def send(self, alert: Alert) -> Receipt:
        if self.away:
            raise Unavailable("chat is away")
        self.alerts.append(alert)
        return Receipt(True, "sent")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def records(history: pd.DataFrame) -> MemoryRecords:
    """Two months of accepted history before the days under test."""
    filled = MemoryRecords()
    filled.upsert_observations(history[history["timestamp"].between("2012-01-01", "2012-03-04 23:00")])
    return filled


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def week(history: pd.DataFrame) -> pd.DataFrame:
    return history[history["timestamp"].between("2012-03-05", "2012-03-10 23:00")].reset_index(drop=True)


@pytest.mark.parametrize("text", [False, True])
def test_a_missing_count_and_times_as_text_are_no_wrong_clock(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, history: pd.DataFrame, text: bool
) -> None:
    day = history[history["timestamp"].between("2012-03-05", "2012-03-05 23:00")].reset_index(drop=True)
    day.loc[9, "demand"] = float("nan")
    if text:
        day["timestamp"] = day["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    store.put(raw_key(date(2012, 3, 5)), to_parquet(day))

    result = process_new(store, records, inbox, NOW)

    assert result.quarantined_days == (), result.verdicts
    assert result.rows == len(day) - 1


def test_every_waiting_day_is_held_against_the_usual_day_before_it(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, history: pd.DataFrame
) -> None:
    late = clock_shift(history, datetime(2012, 3, 4), datetime(2012, 3, 7), 4)
    land(store, late[late["timestamp"].between("2012-03-06", "2012-03-06 23:00")])
    land(store, history[history["timestamp"].between("2011-01-05", "2011-01-05 23:00")])

    result = process_new(store, records, inbox, NOW)

    assert result.accepted_days == (date(2011, 1, 5),)
    assert result.quarantined_days == (date(2012, 3, 6),)
    assert result.verdicts[date(2012, 3, 6)].rules == ("clock",)


def in_fahrenheit(frame: pd.DataFrame, day: date) -> pd.DataFrame:
    frame = frame.copy()
    rows = frame["timestamp"].dt.date == day
    for column in ("temp_c", "feels_like_c"):
        frame.loc[rows, column] = frame.loc[rows, column] * 1.8 + 32
    return frame


def stored_days(records: MemoryRecords) -> set[date]:
    return set(records.observations(datetime(2012, 3, 5))["timestamp"].dt.date)


def test_landing_writes_one_object_per_day_and_nothing_twice(store: MemoryStore, week: pd.DataFrame) -> None:
    keys = land(store, week)
    assert list(keys) == [f"raw/date=2012-03-{day:02d}/observations.parquet" for day in range(5, 11)]
    pd.testing.assert_frame_equal(
        pd.concat([read_parquet(store.get(key)) for key in keys], ignore_index=True), week
    )
    assert land(store, week) == []
    changed = week.copy()
    changed.loc[30, "demand"] += 1
    assert list(land(store, changed)) == [keys[1]]


def test_landing_refuses_what_is_not_observations(store: MemoryStore, week: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="'demand' is missing"):
        land(store, week.drop(columns="demand"))
    assert store.objects == {}


@pytest.mark.parametrize("key", [
    "raw/observations.parquet", "raw/date=2012-02-31/observations.parquet", "quarantine/README.txt",
])
def test_what_others_put_into_the_store_stops_nothing(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame, key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    land(store, week)
    store.put(key, b"not ours")

    assert len(process_new(store, records, inbox, NOW).accepted_days) == 6
    assert store.get(key) == b"not ours"
    assert repr(key) in caplog.text


def test_good_days_become_records_once(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame
) -> None:
    land(store, week)
    result = process_new(store, records, inbox, NOW)
    assert len(result.accepted_days) == 6
    assert (result.quarantined_days, result.rows) == ((), len(week))
    assert all(verdict.passed for verdict in result.verdicts.values())
    pd.testing.assert_frame_equal(records.observations(datetime(2012, 3, 5)), week)
    again = process_new(store, records, inbox, NOW)
    assert (again.accepted_days, again.rows, again.reason) == ((), 0, "no new day has landed")
    assert inbox.alerts == []
    assert land(store, week) == []
    assert pending(store, records) == []


def test_a_bad_day_goes_to_quarantine_with_reason_and_alert_and_the_others_go_on(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame
) -> None:
    land(store, in_fahrenheit(week, BAD))
    delivered = store.get(raw_key(BAD))
    result = process_new(store, records, inbox, NOW)
    assert result.quarantined_days == (BAD,)
    assert len(result.accepted_days) == 5
    assert BAD not in stored_days(records)
    assert store.info(raw_key(BAD)) is None
    assert store.get(quarantine_key(BAD)) == delivered
    note = json.loads(store.get(quarantine_key(BAD, REASON)))
    assert note["rules"] == ["unit"]
    assert "Fahrenheit" in note["reason"]
    assert [entry["day"] for entry in quarantined(store)] == ["2012-03-07"]
    (alert,) = inbox.alerts
    assert (alert.kind, alert.incident) == ("data_rejected", "data:2012-03-07")
    assert alert.reason == note["reason"]
    assert alert.command == "bikeshare data release 2012-03-07"
    assert len(alert.title) <= 120
    process_new(store, records, inbox, NOW)
    assert len(inbox.alerts) == 1


def test_a_missed_day_is_backfilled_and_a_corrected_day_replaces_its_rows(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    missed = week["timestamp"].dt.date == date(2012, 3, 6)
    land(store, week[~missed])
    process_new(store, records, None, NOW)
    assert date(2012, 3, 6) not in stored_days(records)
    corrected = week.copy()
    corrected.loc[0, ["casual", "demand"]] += 5
    land(store, corrected)
    result = process_new(store, records, None, NOW)
    assert result.accepted_days == (date(2012, 3, 5), date(2012, 3, 6))
    pd.testing.assert_frame_equal(records.observations(datetime(2012, 3, 5)), corrected)


def test_a_day_repaired_while_people_are_told_is_not_deleted(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(store, in_fahrenheit(week, BAD))

    def repair(alert: Alert) -> Receipt:
        land(store, week)
        return Receipt(True, "sent")

    monkeypatch.setattr(inbox, "send", repair)
    process_new(store, records, inbox, NOW)
    result = process_new(store, records, inbox, NOW)

    assert result.accepted_days == (BAD,)
    assert BAD in stored_days(records)


def test_a_day_delivered_again_after_repair_leaves_quarantine(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame
) -> None:
    land(store, in_fahrenheit(week, BAD))
    process_new(store, records, inbox, NOW)
    land(store, week)
    result = process_new(store, records, inbox, NOW)
    assert result.accepted_days == (BAD,)
    assert quarantined(store) == []
    assert store.list("quarantine/") == []
    pd.testing.assert_frame_equal(records.observations(datetime(2012, 3, 5)), week)


def test_release_judges_again_and_keeps_what_is_still_bad(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame
) -> None:
    land(store, in_fahrenheit(week, BAD))
    process_new(store, records, inbox, NOW)
    with pytest.raises(BatchRejected, match="stays in quarantine"):
        release(store, records, BAD, NOW)
    assert BAD not in stored_days(records)
    repaired = week[week["timestamp"].dt.date == BAD]
    store.put(quarantine_key(BAD), to_parquet(repaired))
    result = release(store, records, BAD, NOW)
    assert (result.accepted_days, result.rows) == ((BAD,), 24)
    assert store.list("quarantine/") == []
    assert pending(store, records) == []
    assert BAD in stored_days(records)
    with pytest.raises(NotFound, match="not in quarantine"):
        release(store, records, BAD, NOW)


def test_a_real_shutdown_can_be_released_by_force_and_teaches_the_limits_nothing(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    shut = week[(week["timestamp"].dt.date != BAD) | (week["timestamp"].dt.hour > 15)]
    land(store, shut)
    process_new(store, records, None, NOW)
    before = load_limits(records)
    with pytest.raises(BatchRejected, match="--force"):
        release(store, records, BAD, NOW)
    result = release(store, records, BAD, NOW, force=True)
    assert result.rows == 8
    assert load_limits(records) == before
    assert process_new(store, records, None, NOW).reason == "no new day has landed"


def test_force_cannot_release_what_breaks_the_contract(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    broken = week.copy()
    broken.loc[broken["timestamp"].dt.date == BAD, "weather"] = "hail"
    land(store, broken)
    process_new(store, records, None, NOW)
    with pytest.raises(BatchRejected, match="'hail'") as caught:
        release(store, records, BAD, NOW, force=True)
    assert "--force" not in str(caught.value)
    assert BAD not in stored_days(records)


@pytest.mark.parametrize(("data", "rule"), [
    (b"", "unreadable"), (b"PAR1half", "unreadable"), (None, "unreadable"),
])
def test_an_unreadable_object_is_refused_not_a_crash(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame, data: bytes | None, rule: str
) -> None:
    land(store, week)
    store.put(raw_key(BAD), store.get(raw_key(BAD))[:-20] if data is None else data)
    result = process_new(store, records, inbox, NOW)
    assert result.quarantined_days == (BAD,)
    assert result.verdicts[BAD].rules == (rule,)
    assert len(result.accepted_days) == 5
    with pytest.raises(BatchRejected):
        release(store, records, BAD, NOW, force=True)


def test_rows_of_another_day_or_doubled_rows_are_refused(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    one = week[week["timestamp"].dt.date == BAD]
    store.put(raw_key(BAD), to_parquet(pd.concat([one, one.iloc[:3]])))
    store.put(raw_key(date(2012, 3, 8)), to_parquet(one))
    verdicts = process_new(store, records, None, NOW).verdicts
    assert verdicts[BAD].rules == ("duplicates",)
    assert verdicts[date(2012, 3, 8)].rules == ("wrong_day",)
    assert stored_days(records) == set()


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@pytest.mark.parametrize("place", [
    ("put", quarantine_key(BAD)), ("put", quarantine_key(BAD, REASON)), ("delete", raw_key(BAD)),
])
def test_a_kill_anywhere_in_quarantine_is_repaired_by_the_next_pass(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame, place: tuple[str, str]
) -> None:
    land(store, in_fahrenheit(week, BAD))

    def kill(operation: str, key: str) -> None:
        if (operation, key) == place:
            raise Killed

    store.fail = kill
    with pytest.raises(Killed):
        process_new(store, records, inbox, NOW)
    store.fail = None
    assert store.info(raw_key(BAD)) is not None
    assert BAD not in stored_days(records)
    quarantined(store)  # readable at every moment
    process_new(store, records, inbox, NOW)
    assert store.info(raw_key(BAD)) is None
    assert "Fahrenheit" in quarantined(store)[0]["reason"]
    assert len(stored_days(records)) == 5
    assert len({alert.key for alert in inbox.alerts}) == 1


def test_a_kill_between_records_and_manifest_is_repaired(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(store, week)

    def kill(*_: object) -> int:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(records, "save_state", kill)
        with pytest.raises(Killed):
            process_new(store, records, None, NOW)
    assert len(pending(store, records)) == 6
    result = process_new(store, records, None, NOW)
    assert len(result.accepted_days) == 6
    pd.testing.assert_frame_equal(records.observations(datetime(2012, 3, 5)), week)


def test_a_store_away_while_landing_leaves_whole_days_only(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    writes: list[str] = []

    def fail(operation: str, key: str) -> None:
        if operation == "put":
            writes.append(key)
            if len(writes) == 3:
                raise Unavailable("gone")

    store.fail = fail
    with pytest.raises(Unavailable):
        land(store, week)
    store.fail = None
    assert len(store.objects) == 2
    assert len(process_new(store, records, None, NOW).accepted_days) == 2
    assert len(land(store, week)) == 4
    assert len(process_new(store, records, None, NOW).accepted_days) == 4


def test_records_away_leave_every_day_pending(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame
) -> None:
    land(store, in_fahrenheit(week, BAD))
    records.away = True
    with pytest.raises(Unavailable):
        process_new(store, records, inbox, NOW)
    records.away = False
    assert len(pending(store, records)) == 6
    assert inbox.alerts == []
    assert len(process_new(store, records, inbox, NOW).accepted_days) == 5


def test_an_alert_that_cannot_be_sent_is_sent_by_a_later_pass(
    store: MemoryStore, records: MemoryRecords, inbox: Inbox, week: pd.DataFrame
) -> None:
    land(store, in_fahrenheit(week, BAD))
    inbox.away = True
    result = process_new(store, records, inbox, NOW)
    assert (result.quarantined_days, result.unreported_days) == ((BAD,), (BAD,))
    assert "1 alerts wait" in result.reason
    assert quarantined(store)[0]["day"] == "2012-03-07"
    inbox.away = False
    assert process_new(store, records, inbox, NOW).unreported_days == ()
    assert len(inbox.alerts) == 1
    assert store.info(raw_key(BAD)) is None


def test_a_day_moved_by_another_process_meanwhile_is_skipped(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    land(store, week)

    def vanish(operation: str, key: str) -> None:
        if operation == "get" and key == raw_key(BAD):
            store.objects.pop(key, None)

    store.fail = vanish
    result = process_new(store, records, None, NOW)
    assert BAD not in result.verdicts
    assert len(result.accepted_days) == 5


def test_two_passes_at_once_lose_no_day_of_the_manifest(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(store, week)
    save = records.save_state
    rivals = []

    def save_after_a_rival(name: str, value: dict[str, object], revision: int) -> int:
        if not rivals:
            rivals.append(1)
            save(name, {"manifest": {"2012-03-01": "rival"}, "limits": {}}, revision)
            raise Conflict("somebody else wrote first")
        return save(name, value, revision)

    monkeypatch.setattr(records, "save_state", save_after_a_rival)
    process_new(store, records, None, NOW)
    manifest = records.load_state(ingest.STATE)[0]["manifest"]
    assert set(manifest) == {"2012-03-01"} | {f"2012-03-{day:02d}" for day in range(5, 11)}


def test_a_day_delivered_again_with_fewer_hours_loses_the_others(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    land(store, week)
    process_new(store, records, None, NOW)
    land(store, week[week["timestamp"] != "2012-03-07 04:00:00"])
    assert process_new(store, records, None, NOW).accepted_days == (BAD,)
    kept = records.observations(datetime(2012, 3, 5))
    assert len(kept) == len(week) - 1
    assert datetime(2012, 3, 7, 4) not in set(kept["timestamp"])


def test_limits_grow_with_accepted_days_exactly_as_if_learned_at_once(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    for _, rows in week.groupby(week["timestamp"].dt.date):
        land(store, rows)
        process_new(store, records, None, NOW)
    assert load_limits(records) == learn_limits(records.observations())


def test_a_clock_that_stays_wrong_stays_refused_until_it_is_right_again(history: pd.DataFrame) -> None:
    spring = history[history["timestamp"].between("2012-03-01", "2012-06-10 23:00")].reset_index(drop=True)
    wrong = (datetime(2012, 4, 20), datetime(2012, 6, 4))
    fed = clock_shift(spring, *wrong, 4)

    daily_store, daily = MemoryStore(), MemoryRecords()
    refused = []
    for _, rows in fed.groupby(fed["timestamp"].dt.date):
        land(daily_store, rows)
        refused += process_new(daily_store, daily, None, NOW).quarantined_days
    at_once_store = MemoryStore()
    land(at_once_store, fed)
    at_once = process_new(at_once_store, MemoryRecords(), None, NOW)

    assert refused == [day.date() for day in pd.date_range(*wrong, inclusive="left")]
    assert list(at_once.quarantined_days) == refused, "how an import is cut makes no difference"


def test_weeks_without_an_accepted_day_do_not_make_the_usual_day_unknown(history: pd.DataFrame) -> None:
    store, records = MemoryStore(), MemoryRecords()
    records.upsert_observations(history[history["timestamp"].between("2012-01-01", "2012-03-04 23:00")])
    day = datetime(2012, 5, 9)
    late = clock_shift(history, day, day + timedelta(days=1), 4)
    land(store, late[late["timestamp"].dt.date == day.date()])
    assert process_new(store, records, None, NOW).verdicts[day.date()].rules == ("clock",)


def test_many_days_are_judged_in_chunks_with_progress(history: pd.DataFrame, store: MemoryStore) -> None:
    records = MemoryRecords()
    quarter = history[history["timestamp"].between("2012-04-01", "2012-06-05 23:00")]
    land(store, quarter)
    seen: list[tuple[int, int]] = []
    result = process_new(store, records, None, NOW, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(31, 66), (62, 66), (66, 66)]
    assert (len(result.accepted_days), result.quarantined_days) == (66, ())
    assert load_limits(records) == learn_limits(records.observations())


def test_one_broken_day_in_a_chunk_does_not_blame_the_others(
    history: pd.DataFrame, store: MemoryStore
) -> None:
    records = MemoryRecords()
    month = history[history["timestamp"].between("2012-04-01", "2012-04-20 23:00")].copy()
    month.loc[month["timestamp"].dt.date == date(2012, 4, 9), "humidity_pct"] = 140.0
    land(store, month)
    result = process_new(store, records, None, NOW)
    assert result.quarantined_days == (date(2012, 4, 9),)
    assert result.verdicts[date(2012, 4, 9)].rules == ("schema",)
    assert len(result.accepted_days) == 19


def test_a_day_of_tomorrow_waits_in_quarantine_not_in_the_records(
    store: MemoryStore, records: MemoryRecords, week: pd.DataFrame
) -> None:
    land(store, week)
    result = process_new(store, records, None, datetime(2012, 3, 10, 12))
    assert result.quarantined_days == (date(2012, 3, 10),)
    assert result.verdicts[date(2012, 3, 10)].rules == ("future",)
    assert records.latest_observation() == datetime(2012, 3, 10) - timedelta(hours=1)
