"""The monitor's weekly summary: one page per ISO week in the store, written once."""

from contextlib import suppress
from datetime import date, datetime, time, timedelta

from bikeshare.core.weekly import SHOWN_DAYS, Week, due_week, week_name, weekly_page
from bikeshare.errors import BikeshareError
from bikeshare.ports import Ports
from bikeshare.steps.look_back import chapters, look_back
from bikeshare.steps.loop_cards import decision_cards, merge_cards, run_cards


def summary_key(monday: date) -> str:
    """Store key of a week's summary."""
    return f"reports/weekly/{week_name(monday)}.html"


def write_weekly(ports: Ports, judged: date | None, now: datetime) -> str | None:
    """Write the summary of the newest week that can be told, if the monitor looked in it; its key when written.

    A summary explains; one that cannot be written now is written by a later look.

    Args:
        ports: Records and store are used.
        judged: Newest day whose answers met their truth.
        now: Naive local time.
    """
    monday = due_week(judged, now)
    key = summary_key(monday)
    with suppress(BikeshareError):
        if ports.store.info(key) is None and (week := read_week(ports, monday)) is not None:
            ports.store.put(key, weekly_page(week).encode())
            return key
    return None


def read_week(ports: Ports, monday: date) -> Week | None:
    """Everything the summary tells, None when the monitor did not look in that week."""
    start, end = datetime.combine(monday, time()), datetime.combine(monday, time()) + timedelta(days=7)
    first = end - timedelta(days=SHOWN_DAYS)
    recent = [record for record in ports.records.decisions(first) if record.decided_at < end]
    looks = [record for record in recent if record.decided_at >= start]
    if not looks:
        return None
    runs = run_cards(ports.store, [intent for intent in ports.records.intents(start) if intent.created_at < end])
    days = [first.date() + timedelta(days=offset) for offset in range(SHOWN_DAYS)]
    return Week(
        monday, look_back(ports.records, days, None), chapters(days, recent), merge_cards(decision_cards(looks), runs),
        max(looks, key=lambda record: record.decided_at).model_version,
    )
