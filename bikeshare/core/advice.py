"""What the state of the loop means for a person: how it looks, and what to do. Pure."""

from dataclasses import dataclass

from bikeshare.core.health import HealthPolicy
from bikeshare.core.monitor_memory import State


@dataclass(frozen=True)
class Advice:
    """A state in words; `kind` is a class of the style sheet."""

    kind: str
    headline: str
    action: str


ADVICE: dict[State, Advice] = {
    State.HEALTHY: Advice("ok", "The loop is healthy", "Nothing to do."),
    State.WATCH: Advice(
        "warn", "The loop is watching closely", "Read the newest card. Nothing is needed unless it stays like this."
    ),
    State.BAD_DATA: Advice(
        "hold", "Data are broken; retraining is on hold",
        "Repair the feed and deliver the refused days again; `bikeshare data status` lists them.",
    ),
    State.DRIFT: Advice(
        "warn", "The forecast has decayed", "A guard holds the retrain back; the newest card names it and until when."
    ),
    State.RETRAINING: Advice("retrain", "A retrain is under way", "Nothing to do; the champion serves meanwhile."),
    State.COOLDOWN: Advice(
        "message", "The loop rests after a run", "Nothing to do; judging goes on, retraining waits."
    ),
    State.ESCALATED: Advice(
        "bad", "Retraining does not help: a person is needed",
        "Look for a cause outside the model (feed, calendar, service area), or return to another version under Models.",
    ),
}
"""Every state of the loop; a test compares the keys."""

NOT_STARTED = Advice(
    "none", "The loop has not looked yet", "Start it with `bikeshare monitor run`, or play the demo: `make up`."
)


def advise(state: str | None, hours_ago: float = 0.0) -> Advice:
    """Advice for a state that was recorded so long ago; None before the first decision.

    A monitor that has stopped says nothing: beyond `HealthPolicy.monitor_hours` its last word is no longer true.
    """
    if state is None:
        return NOT_STARTED
    if hours_ago > HealthPolicy().monitor_hours:
        return Advice(
            "bad", f"The monitor has been silent for {hours_ago:.0f} h",
            "What it said last may be wrong by now. Let it look: `bikeshare monitor run`; on a cluster see why the "
            "CronJob does not run: `make cluster-status`.",
        )
    return ADVICE[State(state)]
