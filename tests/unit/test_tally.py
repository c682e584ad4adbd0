"""Runs that ended are counted once, and the row of refusals is what an on-call person would count."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bikeshare.core.retraining import GUARDS
from bikeshare.core.tally import RESULTS, Tally, count_end, hand_on
from bikeshare.errors import Conflict
from bikeshare.steps.tally import STATE, note_end, take_news
from tests.fakes.records import MemoryRecords

NOW = datetime(2012, 5, 14, 6)


def counted(*results: str) -> Tally:
    tally = Tally()
    for number, result in enumerate(results):
        tally = count_end(tally, f"run-{number}", result, NOW + timedelta(hours=number))
    return tally


@pytest.mark.parametrize(("results", "row"), [
    ((), 0), (("refused",), 1), (("refused", "refused"), 2), (("refused", "promoted"), 0),
    (("promoted", "refused", "failed", "rolled_back", "abandoned", "skipped", "refused"), 2),
])
def test_a_row_of_refusals_ends_with_a_promotion_only(results: tuple[str, ...], row: int) -> None:
    assert counted(*results).refused_in_a_row == row


def test_success_is_a_judged_model() -> None:
    assert counted("failed", "rolled_back", "skipped").last_success is None
    assert counted("promoted", "failed").last_success == NOW
    assert counted("promoted", "refused").last_success == NOW + timedelta(hours=1)


def test_a_run_is_counted_once_and_an_unknown_end_is_refused() -> None:
    tally = counted("refused")

    assert count_end(tally, "run-0", "promoted", NOW) == tally
    with pytest.raises(ValueError, match="'gone'"):
        count_end(tally, "run-1", "gone", NOW)


def test_news_are_what_was_not_handed_on() -> None:
    first = counted("refused", "promoted")
    later = count_end(hand_on(first), "run-9", "refused", NOW)

    assert first.news == {"refused": 1, "promoted": 1}
    assert hand_on(first).news == {}
    assert later.news == {"refused": 1}


def test_the_tally_survives_json_and_forgets_old_keys_only() -> None:
    tally = counted(*["refused"] * 250)

    assert Tally.from_dict(tally.to_dict()) == tally
    assert Tally.from_dict({}) == Tally()
    assert (len(tally.keys), tally.keys[-1], tally.totals) == (200, "run-249", {"refused": 250})


def test_two_processes_count_into_one_tally() -> None:
    records = MemoryRecords()
    note_end(records, "a", "promoted", NOW)
    note_end(records, "a", "promoted", NOW)
    note_end(records, "b", "refused", NOW)

    assert take_news(records).news == {"promoted": 1, "refused": 1}
    assert take_news(records).news == {}
    assert records.load_state(STATE)[1] == 3


class Contested(MemoryRecords):
    """Another process writes just before each of our first writes."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def save_state(self, name: str, value: object, revision: int) -> int:
        if self.left:
            self.left -= 1
            other = count_end(Tally.from_dict(self.load_state(name)[0]), f"other-{self.left}", "failed", NOW)
            super().save_state(name, other.to_dict(), revision)
        return super().save_state(name, value, revision)  # type: ignore[arg-type]


def test_a_write_on_top_of_anothers_is_done_again() -> None:
    records = Contested(2)
    note_end(records, "mine", "promoted", NOW)

    assert take_news(records).totals == {"failed": 2, "promoted": 1}


def test_endless_contention_is_told() -> None:
    with pytest.raises(Conflict):
        note_end(Contested(99), "mine", "promoted", NOW)


def test_every_guard_of_the_policy_is_published_from_the_start(root: Path) -> None:
    """A name that is missing would first appear with the value 1, which `increase()` cannot see."""
    policy = (root / "bikeshare" / "core" / "retraining.py").read_text(encoding="utf-8")
    named = set(re.findall(r'suppressed="(\w+)"', policy)) | set(re.findall(r'return "(\w+)", \(?f"', policy))
    named |= set(re.findall(r'\("(\w+_budget)", \d', policy))

    assert named == set(GUARDS)


def test_every_end_of_a_run_has_a_count(root: Path) -> None:
    facts = (root / "bikeshare" / "core" / "monitor_facts.py").read_text(encoding="utf-8")
    states = re.search(r"RunState = Literal\[(.+)\]", facts)
    assert states is not None

    assert set(re.findall(r'"(\w+)"', states[1])) - {"promised", "running"} == set(RESULTS)
