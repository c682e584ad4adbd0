"""The judgement of a batch, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """One broken rule: what was seen, the limit, and what to do (all in `detail`).

    Attributes:
        rule: Short stable name, used as a metric label.
        column: Column concerned, empty for the batch as a whole.
        detail: A full sentence.
        hours: Number of hours affected.
        value: The value seen.
        limit: The limit it broke.
    """

    rule: str
    column: str
    detail: str
    hours: int
    value: str = ""
    limit: str = ""


@dataclass(frozen=True)
class Verdict:
    """The judgement of one batch; `reason` goes unchanged to log, alert and quarantine note.

    Attributes:
        passed: Whether the batch may be used.
        rows: Rows that arrived.
        failures: Broken rules.
        reason: Sentences for people.
        dropped: Rows left out because a value was missing.
    """

    passed: bool
    rows: int
    failures: tuple[Failure, ...]
    reason: str
    dropped: int = 0

    @property
    def rules(self) -> tuple[str, ...]:
        """The broken rules, sorted, each once."""
        return tuple(sorted({failure.rule for failure in self.failures}))


def verdict(rows: int, failures: list[Failure], dropped: int = 0) -> Verdict:
    """Passed when nothing failed; the reason names at most five failures."""
    if not failures:
        note = f", {dropped} with a missing value left out" if dropped else ""
        return Verdict(True, rows, (), f"{rows} rows passed every rule{note}", dropped)
    more = f" And {len(failures) - 5} more failures." if len(failures) > 5 else ""
    return Verdict(False, rows, tuple(failures), " ".join(f.detail for f in failures[:5]) + more, dropped)
