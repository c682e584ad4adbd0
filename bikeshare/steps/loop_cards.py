"""What the loop did, as cards: decisions of the monitor and ends of runs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from bikeshare.core.checklist import occasion
from bikeshare.core.timeline import Card, Evidence
from bikeshare.ports import DecisionRecord, ModelVersion, ObjectStore, RunIntent
from bikeshare.steps.outcome import Outcome, read_outcome

MEASURED = {"bias": "7-day bias, distance from the backtest's", "wape": "7-day WAPE", "step": "48-hour step"}
"""Findings that are shares; every other finding is a data rule that fired."""

TITLES = {
    "none": "Quiet", "alert": "People were told", "hold": "Retraining is on hold", "retrain": "A retrain was requested",
}

NOTHING_DONE = {
    "watch": "Watching closely", "cooldown": "Resting after a run", "retraining": "Waiting for a run",
    "drift": "Decay, held back by a guard",
}
"""State -> title of a look that did nothing, where it was not simply quiet."""

ENDINGS = {
    "promoted": ("rollout", "Version {version} became champion"),
    "refused": ("refused", "The gate refused version {version}"),
    "rolled_back": ("refused", "Version {version} failed its roll-out"),
    "failed": ("refused", "Run {run_key} failed"),
    "abandoned": ("refused", "Run {run_key} never started"),
    "skipped": ("message", "Run {run_key} had nothing to compare yet"),
}
"""Result of a run -> kind and title of its card."""

Links = Callable[[DecisionRecord], Sequence[tuple[str, str]]]


def report_link(record: DecisionRecord) -> Sequence[tuple[str, str]]:
    """The report where the monitor put it."""
    return (("report", record.report_url),) if record.report_url else ()


def decision_cards(decisions: Sequence[DecisionRecord], links: Links = report_link) -> list[Card]:
    """The monitor's decisions as cards, oldest first."""
    return [
        Card(
            at=record.decided_at,
            kind=record.action,
            title=_title(record),
            reason=record.reason,
            state=record.state,
            evidence=evidence_rows(record.evidence),
            links=tuple(links(record)),
        )
        for record in sorted(decisions, key=lambda record: record.decided_at)
    ]


def _title(record: DecisionRecord) -> str:
    plain = TITLES.get(record.action, record.action)
    return NOTHING_DONE.get(record.state, plain) if record.action == "none" else plain


def evidence_rows(evidence: Mapping[str, Any]) -> tuple[Evidence, ...]:
    """The numbers of a decision against their limits, each once."""
    rows: dict[str, Evidence] = {}
    for finding in evidence.get("findings", ()):
        name, fired = finding["name"], bool(finding["exceeded"])
        if name in MEASURED:
            rows[name] = Evidence(MEASURED[name], f"{finding['value']:.1%}", f"{finding['limit']:.1%}", fired)
        else:
            rows[name] = Evidence(f"data rule: {name}", "broken", "", fired)
    return tuple(rows.values())


def run_cards(
    store: ObjectStore, intents: Sequence[RunIntent], model_link: Callable[[str], str] | None = None
) -> list[Card]:
    """Promised runs as cards, oldest first: how they ended, or that they have not.

    Args:
        store: Holds the outcomes; one small object is read per run.
        intents: Runs to show.
        model_link: Version -> address of its model card, None for no link.
    """
    cards = []
    for intent in sorted(intents, key=lambda intent: intent.created_at):
        outcome = read_outcome(store, intent.run_key)
        if outcome is not None:
            cards.append(_ended(intent, outcome, model_link))
        else:
            cards.append(_open(intent) if intent.outcome is None else _closed(intent, intent.outcome))
    return cards


def _open(intent: RunIntent) -> Card:
    started = "is training" if intent.run_id else "was promised and has not started"
    return Card(intent.created_at, "message", f"Run {intent.run_key} {started}", intent.reason)


def _closed(intent: RunIntent, outcome: str) -> Card:
    """A run that left no outcome object: it was lost or never began, and the monitor closed its promise."""
    kind, title = ENDINGS.get(outcome, ENDINGS["failed"])
    return Card(
        intent.finished_at or intent.created_at, kind, title.format(version="?", run_key=intent.run_key),
        f"It left no account of its end. It was requested because: {intent.reason}",
        evidence=(Evidence("run", intent.run_key),),
    )


def _ended(intent: RunIntent, outcome: Outcome, model_link: Callable[[str], str] | None) -> Card:
    kind, title = ENDINGS[outcome.result]
    rows = [
        Evidence("champion's WAPE on the judged hours", f"{outcome.wape_before:.1%}")
        if outcome.wape_before is not None else None,
        Evidence("challenger's, same hours", f"{outcome.wape_after:.1%}") if outcome.wape_after is not None else None,
        Evidence("run", intent.run_key),
    ]
    links = (("model card", model_link(outcome.version)),) if model_link and outcome.version else ()
    return Card(
        outcome.finished_at, kind, title.format(version=outcome.version or "?", run_key=intent.run_key),
        outcome.reason, evidence=tuple(row for row in rows if row is not None), links=links,
    )


def version_cards(
    versions: Sequence[ModelVersion], since: datetime, told: Collection[str],
    model_link: Callable[[str], str] | None = None,
) -> list[Card]:
    """What only the registry knows: versions of runs that nobody promised (the schedule's), and roll-backs.

    Args:
        versions: All versions with their tags.
        since: Oldest moment to show.
        told: Keys of the runs that have cards already.
        model_link: Version -> address of its model card, None for no link.
    """
    cards = []
    for item in versions:
        links = (("model card", model_link(item.version)),) if model_link else ()
        made, back = _moment(item.tags.get("trained_at")), _moment(item.tags.get("rolled_back_at"))
        gate = item.tags.get("gate")
        if made is not None and made >= since and gate is not None and item.tags.get("run_key") not in told:
            accepted = gate == "accepted" and item.tags.get("rejected") != "true"
            kind, title = ENDINGS["promoted" if accepted else "refused" if gate == "refused" else "rolled_back"]
            cards.append(Card(
                made, kind, title.format(version=item.version),
                item.tags.get("gate_reason", ""), links=links,
                evidence=(Evidence("run", item.tags.get("run_key", "")), Evidence("why", occasion(item.tags))),
            ))
        if back is not None and back >= since:
            cards.append(Card(
                back, "alert", f"Version {item.version} was rolled back", item.tags.get("rollout_reason", ""),
                links=links,
            ))
    return cards


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def merge_cards(*groups: Sequence[Card]) -> list[Card]:
    """All cards in the order of time."""
    return sorted((card for group in groups for card in group), key=lambda card: card.at)
