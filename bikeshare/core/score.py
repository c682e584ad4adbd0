"""The ML Test Score: 28 questions about readiness for production, each answered by evidence or not at all.

After Breck et al., "The ML Test Score" (IEEE Big Data 2017). An item gives 1 point when it is checked automatically
and repeatedly, 0.5 when it was done by hand and written down, 0 otherwise; the score is that of the weakest section.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Section = Literal["data", "model", "infrastructure", "monitoring"]

BANDS = (
    (5.0, "exceptional"), (3.0, "strong, fit for critical use"), (2.0, "reasonable"), (1.0, "a first pass"),
    (0.0, "serious holes"),
)
"""A score above the number earns the words; 0 is a research toy."""


@dataclass(frozen=True)
class Item:
    """One question and what is claimed for it.

    Attributes:
        key: Section and number, as in the paper.
        question: In our words.
        points: Claimed: 1 automated and repeated, 0.5 by hand and written down, 0 not done.
        evidence: Test ids (`file::function`) and files; all must exist, or the claim is worth nothing.
        note: What is missing for a full point.
    """

    key: str
    question: str
    points: float
    evidence: tuple[str, ...] = ()
    note: str = ""

    @property
    def section(self) -> Section:
        """The section of its key."""
        section: Section = self.key.rpartition("-")[0]  # type: ignore[assignment]
        return section


@dataclass(frozen=True)
class Judged:
    """An item with the points its evidence is worth, and why."""

    item: Item
    points: float
    reason: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """Every item judged, and the sums."""

    items: tuple[Judged, ...]

    @property
    def sections(self) -> dict[str, float]:
        """Points of each section, in the order of the items."""
        sums: dict[str, float] = {}
        for judged in self.items:
            sums[judged.item.section] = sums.get(judged.item.section, 0.0) + judged.points
        return sums

    @property
    def final(self) -> float:
        """Points of the weakest section."""
        return min(self.sections.values(), default=0.0)

    @property
    def band(self) -> str:
        """What the final score means, in words."""
        return next((words for above, words in BANDS if self.final > above), "a research toy")

    def to_dict(self) -> dict[str, Any]:
        """A JSON document."""
        return {
            "final": self.final, "band": self.band, "sections": self.sections,
            "items": [
                {"key": judged.item.key, "question": judged.item.question, "points": judged.points,
                 "reason": judged.reason, "evidence": list(judged.item.evidence), "missing": list(judged.missing)}
                for judged in self.items
            ],
        }


def judge(items: Sequence[Item], found: Collection[str]) -> Score:
    """Give each item the points its evidence is worth.

    Args:
        items: Questions and claims.
        found: Every test id and file that exists.
    """
    return Score(tuple(_judge(item, found) for item in items))


def _judge(item: Item, found: Collection[str]) -> Judged:
    missing = tuple(name for name in item.evidence if name not in found)
    if missing:
        return Judged(item, 0.0, f"{len(missing)} of {len(item.evidence)} pieces of evidence do not exist", missing)
    if item.points and not item.evidence:
        return Judged(item, 0.0, "a claim without evidence")
    return Judged(item, item.points, item.note or ("automated" if item.points == 1 else "not done"))
