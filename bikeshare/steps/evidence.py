"""Evidence: what is new since the last look, measured against the champion's reference. Reads little, keeps less."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from bikeshare.core.drift import (
    DayScore,
    DriftPolicy,
    Limits,
    Performance,
    estimate_onset,
    judge_decay,
    judge_step,
    limits_from,
    measure,
    score_days,
)
from bikeshare.core.ledger import INPUTS, Ledger
from bikeshare.core.monitor_facts import Evidence, Finding
from bikeshare.core.profiles import CATEGORIES, NUMERIC, PREDICTION, week_of_year
from bikeshare.core.sketches import ColumnScore, Sketch, score_columns
from bikeshare.core.validation import ValidationPolicy, validate_inputs
from bikeshare.ports import Ports, Records
from bikeshare.steps.quarantine import holding
from bikeshare.steps.reference import Reference

LABEL_DELAY = timedelta(hours=24)
OVERLAP = timedelta(hours=1)
"""A look reads predictions since a little before the last one: the log is written in batches."""

FIRST_LOOK = timedelta(days=8)
WINDOW = timedelta(days=7)


@dataclass(frozen=True)
class Look:
    """One look: the evidence that is judged, and the numbers that are only shown.

    Attributes:
        evidence: What the policy sees.
        ledger: What the next look starts from.
        performance: Live error over the window, None without labels.
        limits: Limits learned from the backtest, None without one.
        sketch: Served inputs of the last 7 days; None when no new day was judged.
        scores: Distances of the served inputs from the reference, informational.
        naive_mae: MAE of the same hour one week earlier over the window.
        new_predictions: Rows served since the last look.
    """

    evidence: Evidence
    ledger: Ledger
    performance: Performance | None
    limits: Limits | None
    sketch: Sketch | None = None
    scores: tuple[ColumnScore, ...] = ()
    naive_mae: float | None = None
    new_predictions: int = 0


def catch_up(records: Records, ledger: Ledger, now: datetime) -> tuple[Ledger, int]:
    """Read the predictions since the last look into the ledger; also their number."""
    since = ledger.looked_at - OVERLAP if ledger.looked_at else now - FIRST_LOOK
    batches = records.iter_predictions(
        since, now + timedelta(minutes=1), by="predicted_at", columns=[*INPUTS, "predicted_at", "model_version"]
    )
    return ledger.with_inputs(batches)


def newest_check_day(records: Records, ledger: Ledger, now: datetime) -> tuple[date | None, float | None]:
    """The newest labelled day that was not judged yet, and the age of the newest label in hours."""
    latest = records.latest_observation()
    if latest is None:
        return None, None
    lag = (now - latest) / timedelta(hours=1)
    day = min((now - LABEL_DELAY).date() - timedelta(days=1), latest.date())
    return (day if ledger.judged is None or day > ledger.judged else None), lag


def gather(
    ports: Ports, reference: Reference | None, ledger: Ledger, now: datetime, *,
    check_day: date | None, lag_hours: float | None, new_predictions: int, retired: str | None,
    drift: DriftPolicy, validation: ValidationPolicy,
) -> Look:
    """Measure everything that the policy needs.

    Args:
        ports: Records and store are read.
        reference: The champion's; None before the first training.
        ledger: Caught up with the predictions.
        now: Naive local time.
        check_day: Newest labelled day to judge, None when there is none.
        lag_hours: Age of the newest label.
        new_predictions: Rows served since the last look.
        retired: Version whose errors are not held against the champion.
        drift: Limits of decay and step.
        validation: Rules for served inputs.
    """
    problems, spoiled = _data_problems(ports, reference, ledger, now, new_predictions, validation)
    ledger = replace(ledger, spoiled=tuple(sorted({*ledger.spoiled, *spoiled})))
    if reference is None:
        evidence = Evidence(None, data_problems=problems, labels_lag_hours=lag_hours)
        return Look(evidence, replace(ledger, looked_at=now), None, None, new_predictions=new_predictions)
    limits = limits_from(reference.backtest, drift)
    if check_day is not None:
        first = ledger.first_to_judge(check_day, drift.window_days)
        ledger = ledger.with_days(_scores(ports.records, first, check_day, retired), first, check_day)
    days = ledger.usable_days()
    last = ledger.judged or (now - LABEL_DELAY).date()
    performance = measure(days, last, drift.window_days)
    decay = judge_decay(performance, limits, drift)
    step = judge_step(days, last, limits, drift) if check_day is not None else None
    alarming = any(finding.exceeded for finding in decay) or (step is not None and step.exceeded)
    sketch, naive = None, None
    scores: tuple[ColumnScore, ...] = ()
    if check_day is not None and reference.profile:
        sketch = sketch_window(ports.records, reference, now)
        scores = score_columns(sketch, reference.profile, _week(now))
        naive = naive_mae(ports.records, last, drift.window_days)
    return Look(
        Evidence(
            model_version=reference.version,
            champion_age_days=(now - reference.window[1]) / timedelta(days=1) if reference.window else None,
            reference_known=not reference.problem,
            data_problems=problems,
            labels_lag_hours=lag_hours,
            check_day=check_day,
            decay=decay,
            step=step,
            onset=estimate_onset(days, last, limits) if limits is not None and alarming else None,
            wape=performance.wape if performance else None,
            log_bias=performance.log_bias - limits.bias_mu if performance and limits else None,
        ),
        replace(ledger, looked_at=now), performance, limits, sketch, scores, naive, new_predictions,
    )


def sketch_window(records: Records, reference: Reference, now: datetime) -> Sketch:
    """Stream what was served for the last 7 days and the next day into the reference's bins."""
    sketch = Sketch(reference.profile, prediction="demand", seed=int(now.timestamp()) // 3600)
    for batch in records.iter_predictions(
        now - WINDOW, now + timedelta(days=1), by="timestamp", columns=list(sketch.columns)
    ):
        sketch.add(batch)
    return sketch


def naive_mae(records: Records, last: date, length_days: int) -> float | None:
    """MAE of "as in the same hour one week earlier" over the window that ends with a day."""
    end = datetime.combine(last + timedelta(days=1), datetime.min.time())
    frame = records.observations(end - timedelta(days=length_days + 7), end)
    truth = frame.set_index("timestamp")["demand"].astype("float64")
    earlier = truth.copy()
    earlier.index = earlier.index + pd.Timedelta(days=7)
    errors = (truth - earlier).dropna().abs().to_numpy()
    return float(np.mean(errors)) if len(errors) else None


def training_frame(records: Records, reference: Reference, rows: int) -> pd.DataFrame:
    """The training window as the report's reference: inputs, and demand in the place of the prediction."""
    start, end = reference.window or (None, None)
    frame = records.observations(start, end).rename(columns={"demand": PREDICTION})[[*NUMERIC, *CATEGORIES]]
    return frame if len(frame) <= rows else frame.sample(rows, random_state=0).reset_index(drop=True)


def _scores(records: Records, first: date, last: date, retired: str | None) -> tuple[DayScore, ...]:
    labelled = records.labelled(
        datetime.combine(first, datetime.min.time()), datetime.combine(last + timedelta(days=1), datetime.min.time())
    )
    if retired is not None:
        labelled = labelled[labelled["model_version"] != retired]
    return score_days(labelled.reset_index(drop=True))


def _data_problems(
    ports: Ports, reference: Reference | None, ledger: Ledger, now: datetime,
    new_predictions: int, policy: ValidationPolicy,
) -> tuple[tuple[Finding, ...], tuple[date, ...]]:
    """Broken live inputs and newly refused recent days; also the days whose served inputs are broken."""
    problems: list[Finding] = []
    spoiled: tuple[date, ...] = ()
    inputs = ledger.inputs()
    if reference is not None and new_predictions and len(inputs):
        verdict = validate_inputs(inputs, reference.limits, now, policy, complete=_usually_complete(inputs, now))
        problems += [_finding(failure.rule, f"Served inputs: {failure.detail}") for failure in verdict.failures]
        if verdict.failures:
            newest = inputs["timestamp"].iloc[-1]
            window = inputs["timestamp"][inputs["timestamp"] > newest - pd.Timedelta(hours=24)]
            spoiled = tuple(sorted(set(window.dt.date)))
    for note in holding(ports.store, now, ledger.looked_at or now - LABEL_DELAY):
        problems.append(_finding("refused_day", f"Observations of {note['day']} were refused: {note['reason']}"))
    return tuple(problems), spoiled


def _usually_complete(inputs: pd.DataFrame, now: datetime) -> bool:
    """Whether clients asked for nearly every hour of the two days before the newest 24 hours that are not ahead."""
    newest = min(inputs["timestamp"].iloc[-1], pd.Timestamp(now))
    before = inputs["timestamp"][inputs["timestamp"] <= newest - pd.Timedelta(hours=24)]
    return int((before > newest - pd.Timedelta(hours=72)).sum()) >= 42


def _finding(rule: str, sentence: str) -> Finding:
    return Finding(rule, 1.0, 0.0, True, sentence)


def _week(now: datetime) -> int:
    return int(week_of_year(pd.Series([pd.Timestamp(now) - WINDOW / 2]))[0])
