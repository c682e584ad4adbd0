"""What we tell people: one alert, independent of the chat system that carries it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

AlertKind = Literal[
    "data_rejected",  # a batch went to quarantine; nothing was trained
    "held",  # live inputs are broken; retraining is on hold
    "step",  # a sudden step: a human should look before anything retrains
    "drift",  # decay confirmed; a retrain was requested
    "age",  # the champion reached its maximum age; a retrain was requested
    "labels_late",  # ground truth is missing: decay cannot be judged
    "retrained",  # a challenger became champion
    "refused",  # the gate refused a challenger
    "rolled_back",  # a canary failed or somebody rolled back
    "recovered",  # the condition that opened the incident is over
    "escalated",  # retraining does not help: a human is needed
    "pipeline_failed",  # a run ended in failure
]


@dataclass(frozen=True)
class Alert:
    """One message to people.

    Attributes:
        kind: What happened.
        key: De-duplication key: the same key is not sent twice within 24 h.
        incident: Thread key: all alerts of one incident share a thread.
        title: At most 120 characters, a full sentence.
        reason: Why, unchanged from the decision.
        action: What the system did, one sentence.
        moved: Up to three (name, sentence with numbers) pairs, the largest first.
        before_after: (name, before, after) triples, e.g. WAPE before and after a retrain.
        links: (label, URL or path) pairs: report, run, dashboard.
        command: What a human may run now, e.g. the rollback command.
        at: When, in the clock of the caller.
    """

    kind: AlertKind
    key: str
    incident: str
    title: str
    reason: str
    action: str
    at: datetime
    moved: tuple[tuple[str, str], ...] = ()
    before_after: tuple[tuple[str, str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    command: str = ""
    tags: dict[str, str] = field(default_factory=dict)
