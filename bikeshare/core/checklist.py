"""A version as people see it: the gate's checklist and errors by slice, read back from its tags. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

_PREFIX = "gate_"
_SLICE = "slice_"
_PAIR = re.compile(r"MAE (?P<ours>[\d.]+) against (?P<other>[\d.]+) of the (?P<against>[\w ]+), (?P<rows>\d+) rows")


@dataclass(frozen=True)
class Line:
    """One check of the gate: `verdict` is passed, failed or info."""

    name: str
    verdict: str
    detail: str


@dataclass(frozen=True)
class SliceError:
    """MAE of the challenger and of what it was compared with on one slice, bikes per hour."""

    name: str
    ours: float
    other: float
    against: str
    rows: int
    verdict: str


def checklist(tags: Mapping[str, str]) -> list[Line]:
    """Every check in the tags; failed ones first, then in the order of their names."""
    lines = []
    for tag, text in tags.items():
        if not tag.startswith(_PREFIX) or tag == "gate_reason":
            continue
        verdict, _, detail = text.partition(": ")
        lines.append(Line(tag.removeprefix(_PREFIX), verdict, detail))
    order = {"failed": 0, "passed": 1, "info": 2}
    return sorted(lines, key=lambda line: (order.get(line.verdict, 3), line.name.startswith(_SLICE), line.name))


def slice_errors(tags: Mapping[str, str]) -> list[SliceError]:
    """Errors by slice, worst ratio first; a check that is not a comparison is left out."""
    found = []
    for line in checklist(tags):
        match = _PAIR.search(line.detail)
        if line.name.startswith(_SLICE) and match:
            name = line.name.removeprefix(_SLICE).replace("_", " ")
            found.append(SliceError(
                name, float(match["ours"]), float(match["other"]), match["against"], int(match["rows"]), line.verdict
            ))
    return sorted(found, key=lambda item: item.ours / item.other if item.other else 0.0, reverse=True)


OCCASIONS = {"manual": "A person asked for it.", "schedule": "The schedule asked for it."}
"""Reason of a run -> sentence; every other reason is a sentence of the monitor's."""


def occasion(tags: Mapping[str, str]) -> str:
    """Why the version was trained, as a sentence; empty when nobody wrote it down."""
    reason = tags.get("reason", "")
    return OCCASIONS.get(reason, reason)


def trained_on(tags: Mapping[str, str]) -> str:
    """First and last day of the training window, e.g. `1 Jan 2011 to 2 Feb 2012`; empty when not known."""
    try:
        first, after = (datetime.fromisoformat(tags[f"window_{end}"]) for end in ("start", "end"))
    except (KeyError, ValueError):
        return ""
    last = after - timedelta(hours=1)
    return f"{first.day} {first:%b %Y} to {last.day} {last:%b %Y}"


def standing(tags: Mapping[str, str], aliases: tuple[str, ...]) -> tuple[str, str]:
    """What a version is, as (word, style class): its alias, or what became of it."""
    for alias, kind in (("champion", "ok"), ("previous", "message"), ("challenger", "retrain")):
        if alias in aliases:
            return alias, kind
    if tags.get("rejected") == "true" or tags.get("gate") == "refused":
        return "refused", "bad"
    if tags.get("rollout") == "rolled_back":
        return "rolled back", "warn"
    if tags.get("rollout") == "serving":
        return "served before", "none"
    return (tags.get("rollout") or tags.get("status") or "registered").replace("_", " "), "none"
