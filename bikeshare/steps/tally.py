"""The tally of ended runs in the records: the exit task of any run writes it, the monitor publishes it."""

from collections.abc import Callable
from datetime import datetime

from bikeshare.core.tally import Tally, count_end, hand_on
from bikeshare.errors import Conflict
from bikeshare.ports import Records

STATE = "runs"
_ATTEMPTS = 5


def note_end(records: Records, run_key: str, result: str, at: datetime) -> None:
    """Count the end of a run, once however often it is noted."""
    _change(records, lambda tally: count_end(tally, run_key, result, at))


def take_news(records: Records) -> Tally:
    """The tally with what was not handed on yet (`news`), which counts as handed on from now."""
    return _change(records, hand_on)


def _change(records: Records, change: Callable[[Tally], Tally]) -> Tally:
    """Change the tally; the one before the change. Conflict when others keep writing."""
    for attempt in range(1, _ATTEMPTS + 1):
        document, revision = records.load_state(STATE)
        before = Tally.from_dict(document)
        after = change(before)
        if after == before:
            return before
        try:
            records.save_state(STATE, after.to_dict(), revision)
        except Conflict:
            if attempt == _ATTEMPTS:
                raise
            continue
        return before
    raise AssertionError("the loop returns or raises")
