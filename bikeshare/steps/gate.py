"""The gate: decide on an evaluation, and write the checklist where people look."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pandas as pd

from bikeshare.core.alerts import Alert
from bikeshare.core.promotion import Check, GatePolicy, Promotion, decide_promotion
from bikeshare.errors import DataError
from bikeshare.ports import ModelRegistry, Notifier, ObjectStore
from bikeshare.steps.evaluate import Evaluation
from bikeshare.steps.outcome import Outcome, write_outcome

TABLE = "gate.json"
"""The checklist as a table in the MLflow run."""

_TAG_CHARACTERS = 4000
"""MLflow cuts a tag of a model version at 5,000."""


def judge(evaluation: Evaluation, policy: GatePolicy) -> Promotion:
    """Decide on everything that was measured."""
    return decide_promotion(
        evaluation.challenger, evaluation.champion, evaluation.naive, policy=policy,
        champion_backtest_wape=evaluation.champion_backtest_wape, artifact_mb=evaluation.artifact_mb,
        row_ms=evaluation.row_ms, champion_row_ms=evaluation.champion_row_ms, paired=evaluation.paired,
        plan_reason=evaluation.plan_reason,
    )


def write_checklist(path: Path, promotion: Promotion, evaluation: Evaluation) -> None:
    """Keep the decision as JSON for the tasks after the gate."""
    champion = evaluation.champion
    path.write_text(json.dumps({
        **asdict(promotion), "champion": evaluation.champion_version,
        "wape_after": evaluation.challenger.overall.wape,
        "wape_before": None if champion is None else champion.overall.wape,
    }, indent=2))


def read_checklist(path: Path) -> tuple[Promotion, float | None, float | None]:
    """The decision, the Champion's WAPE (None if not comparable) and the challenger's."""
    try:
        document = json.loads(path.read_text())
        checks = tuple(Check(**check) for check in document["checks"])
        promotion = Promotion(document["accepted"], document["reason"], checks)
        return promotion, document["wape_before"], document["wape_after"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not a gate checklist ({error}): run the evaluation again") from error


def checklist_markdown(promotion: Promotion) -> str:
    """The checklist for people."""
    verdict = "Accepted" if promotion.accepted else "Refused"
    lines = [f"# {verdict}", "", f"{promotion.reason}", "", "| check | result | evidence |", "| --- | --- | --- |"]
    for check in promotion.checks:
        result = "info" if check.informative else ("passed" if check.passed else "**failed**")
        lines.append(f"| {check.name} | {result} | {check.detail} (limit {check.limit:g}) |")
    return "\n".join([*lines, ""])


def record_gate(registry: ModelRegistry, version: str, promotion: Promotion) -> None:
    """Write the checklist as tags of the version and as a table and metrics of its run."""
    tags = {"gate": "accepted" if promotion.accepted else "refused", "gate_reason": promotion.reason[:_TAG_CHARACTERS]}
    for check in promotion.checks:
        mark = "info" if check.informative else ("passed" if check.passed else "failed")
        tags[f"gate_{check.name}"] = f"{mark}: {check.detail}"[:_TAG_CHARACTERS]
    registry.tag(version, tags)
    registry.log_to_run(
        registry.get(version).run_id,
        metrics={f"gate_{check.name}": check.value for check in promotion.checks if abs(check.value) < float("inf")},
        table=(TABLE, pd.DataFrame([asdict(check) for check in promotion.checks])),
    )


def refuse(
    registry: ModelRegistry, store: ObjectStore, notifier: Notifier, *, version: str, checklist: Path, run_key: str,
    incident: str, now: datetime,
) -> Outcome:
    """Mark a challenger rejected, tell people, end the run; the Champion is untouched."""
    promotion, before, after = read_checklist(checklist)
    record_gate(registry, version, promotion)
    reason = promotion.reason[:_TAG_CHARACTERS]
    registry.tag(version, {"status": "rejected", "rejected": "true", "rejected_reason": reason})
    if registry.version_of("challenger") == version:
        registry.delete_alias("challenger")
    champion = registry.version_of("champion")
    failed = [check for check in promotion.checks if not check.passed]
    notifier.send(Alert(
        kind="refused", key=f"refused:{version}", incident=incident or f"run:{run_key}",
        title=f"Version {version} was refused by the gate"[:120], reason=promotion.reason,
        action=("No version serves yet." if champion is None else f"Champion {champion} keeps serving."), at=now,
        moved=tuple((check.name, f"{check.detail} (limit {check.limit:g})") for check in failed[:3]),
        before_after=() if before is None or after is None else (("WAPE", f"{before:.1%}", f"{after:.1%}"),),
        command=f"bikeshare registry show {version}",
    ))
    outcome = Outcome(run_key, "refused", promotion.reason, now, version, champion, before, after)
    write_outcome(store, outcome)
    return outcome
