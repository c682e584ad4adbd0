"""The virtual clock is a file that several processes read."""

from datetime import datetime
from pathlib import Path

import pytest

from bikeshare.adapters.clock import FileClock, SystemClock
from bikeshare.errors import ConfigurationError, Unavailable


def test_the_file_clock_tells_what_was_set(tmp_path: Path) -> None:
    clock = FileClock(tmp_path / "deep" / "clock.txt")
    for moment in (datetime(2012, 1, 2, 3), datetime(2011, 12, 31, 23, 59, 59)):
        clock.set(moment)
        assert FileClock(tmp_path / "deep" / "clock.txt").now() == moment
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["clock.txt"]


@pytest.mark.parametrize("text", ["", "noon", "2012-01-02T03:00:00+00:00"])
def test_a_file_without_a_naive_time_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clock.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"clock\.txt"):
        FileClock(path).now()


def test_an_absent_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot read the clock file"):
        FileClock(tmp_path / "none").now()


def test_the_system_clock_is_naive_and_goes_forward() -> None:
    first = SystemClock().now()
    assert first.tzinfo is None
    assert SystemClock().now() >= first
