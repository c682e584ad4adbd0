"""The gate: may a challenger replace the Champion? Pure; the answer is a checklist with a reason.

The *recipe* is judged, not the shipped fit: the challenger that would serve has seen every row, so no row can
judge it. The same recipe, trained up to `EvaluationPlan.test_start`, answers the rows after it; the Champion answers
the same rows, which it never saw either; so does the best naive rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from bikeshare.core.evaluation import Scores

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GatePolicy:
    """Limits of the gate.

    Attributes:
        holdout_days: Test days when there is no Champion, and the most test days otherwise. Four weeks hold every
            weekday four times.
        min_rows: Fewest test hours for a paired comparison. Five days: a single odd day is then at most a fifth.
        min_adapted_rows: The same after a changed world: two days judge, so that the rest can be learned.
        test_share: Share of the hours the Champion never saw that judge; the recipe learns from the rest, so that
            a retrain after a change is judged on whether it learned the change.
        max_mae_ratio: Challenger MAE over Champion MAE. 2 %: below it two forests cannot be told apart in weeks.
        max_naive_ratio: Challenger MAE over the naive rule's; the Champion's own ratio if that is worse, as
            refusing a better model could not bring the naive rule back.
        max_slice_ratio: The same against the Champion within a slice of `full_slice_rows` rows or more; the excess over
            1 widens by the square root for fewer: one weekend of 48 h scatters by more than 10 %.
        full_slice_rows: One week.
        widest_slice_ratio: The limit never grows beyond this.
        slice_ratios: Slices with their own limit: holidays and rain are rare, a wide limit still stops a collapse.
        max_first_slice_ratio: Slice limit against the naive rule when there is no Champion.
        judged_slices: Slices that can refuse; the others (night, where errors are a few bikes, and working days,
            which are most of the rows) are reported.
        min_slice_rows: Slices with fewer test hours are reported, not judged.
        slice_rows: Slices with their own minimum: holidays differ, one alone says nothing.
        max_bias: Largest |sum(prediction - demand) / sum(demand)| over `bias_rows` rows. Weekly biases of the recipe
            scatter by 0.14 in the worst quarter of the record; fewer rows are allowed more, by the square root.
            If the Champion is further off on the same rows, its value.
        bias_rows: Four weeks.
        widest_bias: The limit never grows beyond this.
        max_backtest_ratio: WAPE over the Champion's own backtest WAPE, used when no fair paired rows exist.
        max_row_ms: CPU milliseconds of one hour in the serving path. What is promised; 0.016 was measured on a quiet
            machine.
        max_row_ratio: A version over `max_row_ms` still passes if it costs at most this many times the Champion's row,
            timed in turns in the same minute: a busy machine is not a slow model.
        max_first_row_ms: The same when there is no Champion to be timed beside: more than a busy machine costs, less
            than forests that do not run in their compiled form (4.7 measured).
        max_artifact_mb: Size of the artifact directory, compressed as shipped, in 10^6 bytes.
        bootstrap_rounds: Resamples of the paired block bootstrap.
        confidence: Two-sided confidence of its interval.
    """

    holdout_days: int = 28
    min_rows: int = 120
    min_adapted_rows: int = 48
    test_share: float = 1 / 3
    max_mae_ratio: float = 1.02
    max_naive_ratio: float = 1.0
    max_slice_ratio: float = 1.10
    full_slice_rows: int = 168
    widest_slice_ratio: float = 1.5
    slice_ratios: Mapping[str, float] = field(default_factory=lambda: {"holiday": 1.25, "rain": 1.20})
    max_first_slice_ratio: float = 1.10
    judged_slices: tuple[str, ...] = ("rush_hour", "weekend", "holiday", "clear", "rain")
    min_slice_rows: int = 24
    slice_rows: Mapping[str, int] = field(default_factory=lambda: {"holiday": 48})
    max_bias: float = 0.12
    bias_rows: int = 672
    widest_bias: float = 0.25
    max_backtest_ratio: float = 1.25
    max_row_ms: float = 0.5
    max_row_ratio: float = 1.25
    max_first_row_ms: float = 2.0
    max_artifact_mb: float = 15.0
    bootstrap_rounds: int = 1000
    confidence: float = 0.95


@dataclass(frozen=True)
class EvaluationPlan:
    """Which rows judge: test_start <= timestamp < test_end.

    Attributes:
        paired: Whether the Champion has never seen them, so that both may be compared row by row.
    """

    test_start: datetime
    test_end: datetime
    paired: bool
    reason: str


def plan_evaluation(
    data_start: datetime,
    data_end: datetime,
    champion_end: datetime | None,
    adapt_since: datetime | None,
    policy: GatePolicy,
) -> EvaluationPlan:
    """Choose the rows that judge, newest last, never rows the Champion was trained on if it can be helped.

    Fresh hours are those after the Champion's training window. The newest third of them judges (at least `min_rows`
    hours, `min_adapted_rows` after a changed world, at most the hold-out), so the recipe may learn from the older
    part: after a changed world that is the only way to see whether retraining helps. With `adapt_since`, fresh hours
    start there: hours of the old world can neither show that the change was learned nor be held against a recipe
    that learned it.
    Without enough fresh hours the hold-out judges, and the Champion is represented by its own backtest.

    Args:
        data_start: First hour of the training data.
        data_end: End of the data, exclusive.
        champion_end: End of the Champion's training window, exclusive; None when there is no Champion.
        adapt_since: Start of the changed world, if the monitor reported one.
        policy: The gate's limits.
    """
    hours = min(policy.holdout_days * 24, max(24, int((data_end - data_start) / timedelta(hours=1) / 4)))
    fallback = data_end - timedelta(hours=hours)
    if champion_end is None:
        return EvaluationPlan(fallback, data_end, False, f"first version: judged on the newest {hours} hours")
    starts = [start for start in (adapt_since, champion_end) if start is not None and start >= champion_end]
    for start in starts:
        fresh_hours = int((data_end - start) / timedelta(hours=1))
        if fresh_hours >= policy.min_rows:
            fewest = policy.min_adapted_rows if start == adapt_since else policy.min_rows
            judged = min(max(int(fresh_hours * policy.test_share), fewest), hours)
            test_start = data_end - timedelta(hours=judged)
            return EvaluationPlan(
                test_start, data_end, True,
                f"judged on the newest {judged} of {fresh_hours} hours that the champion never saw",
            )
    fresh_hours = max(0, int((data_end - champion_end) / timedelta(hours=1)))
    return EvaluationPlan(
        fallback, data_end, False,
        f"only {fresh_hours} fresh hours (fewer than {policy.min_rows}): the champion has seen the newest {hours} "
        "hours, so its own backtest stands for it",
    )


@dataclass(frozen=True)
class Contender:
    """How one candidate did on the test rows: overall and per slice."""

    overall: Scores
    slices: Mapping[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class PairedDifference:
    """Challenger MAE minus Champion MAE (bikes/h) with a block-bootstrap interval; below zero is better."""

    difference: float
    low: float
    high: float
    blocks: int
    block_days: int


@dataclass(frozen=True)
class Check:
    """One line of the checklist; `informative` lines never refuse."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str
    informative: bool = False


@dataclass(frozen=True)
class Promotion:
    """What the gate decided, with every check it made."""

    accepted: bool
    reason: str
    checks: tuple[Check, ...]


def decide_promotion(
    challenger: Contender,
    champion: Contender | None,
    naive: Contender,
    *,
    policy: GatePolicy,
    champion_backtest_wape: float | None = None,
    artifact_mb: float | None = None,
    row_ms: float | None = None,
    champion_row_ms: float | None = None,
    paired: PairedDifference | None = None,
    plan_reason: str = "",
) -> Promotion:
    """Compare on the same rows and answer with a checklist.

    Args:
        challenger: The recipe's scores.
        champion: The Champion's on the same rows, None when it has seen them or there is none.
        naive: The best naive rule's.
        policy: Limits.
        champion_backtest_wape: The Champion's backtest, judged only when `champion` is None.
        artifact_mb: Size of the shipped artifact, 10^6 bytes.
        row_ms: CPU milliseconds of one row in the serving path.
        champion_row_ms: The Champion's, timed in turns with `row_ms`; None when there is none.
        paired: Bootstrap of the difference; informative.
        plan_reason: Why these rows judge; repeated in the reason.
    """
    ours = challenger.overall
    naive_limit = policy.max_naive_ratio
    if champion is not None:
        naive_limit = max(naive_limit, _ratio(champion.overall.mae, naive.overall.mae))
    checks = [_ratio_check("naive", ours.mae, naive.overall.mae, naive_limit, "naive rule", ours.rows)]
    if champion is not None:
        checks.append(
            _ratio_check("champion", ours.mae, champion.overall.mae, policy.max_mae_ratio, "champion", ours.rows)
        )
    elif champion_backtest_wape is not None:
        ratio = _ratio(ours.wape, champion_backtest_wape)
        checks.append(Check(
            "champion_backtest", ratio <= policy.max_backtest_ratio, ratio, policy.max_backtest_ratio,
            f"WAPE {ours.wape:.1%} against the champion's backtest {champion_backtest_wape:.1%}",
        ))
    checks.extend(_slice_checks(challenger, champion, naive, policy))
    widened = policy.max_bias * float(np.sqrt(policy.bias_rows / max(1, ours.rows)))
    allowed = max(
        policy.max_bias, min(widened, policy.widest_bias), 0.0 if champion is None else abs(champion.overall.bias)
    )
    checks.append(Check("bias", abs(ours.bias) <= allowed, ours.bias, allowed, f"{ours.bias:+.1%} of all rentals"))
    if artifact_mb is not None:
        checks.append(Check("size", artifact_mb <= policy.max_artifact_mb, artifact_mb, policy.max_artifact_mb,
                            f"{artifact_mb:.1f} MB"))
    if row_ms is not None:
        checks.append(_latency_check(row_ms, champion_row_ms, policy))
    if paired is not None:
        checks.append(Check(
            "bootstrap", True, paired.difference, 0.0,
            f"MAE difference to the champion {paired.difference:+.2f} ({paired.low:+.2f} to {paired.high:+.2f}) "
            f"bikes/h, {paired.blocks} blocks of {paired.block_days} day{'' if paired.block_days == 1 else 's'}",
            informative=True,
        ))
    failed = [check for check in checks if not check.passed]
    rows = f"{ours.rows} rows; {plan_reason}" if plan_reason else f"{ours.rows} rows"
    if failed:
        found = "; ".join(f"{check.name}: {check.detail} (limit {check.limit:g})" for check in failed)
        return Promotion(False, f"refused by {len(failed)} of {len(checks)} checks: {found} [{rows}]", tuple(checks))
    against = "the naive rule" if champion is None else "the champion and the naive rule"
    return Promotion(True, f"MAE {ours.mae:.1f}, WAPE {ours.wape:.1%}: passes all {len(checks)} checks "
                           f"against {against} [{rows}]", tuple(checks))


def paired_bootstrap(
    timestamps: npt.NDArray[np.datetime64],
    challenger_error: Floats,
    champion_error: Floats,
    *,
    policy: GatePolicy,
    seed: int,
) -> PairedDifference | None:
    """Interval of the difference of mean absolute errors, resampling whole days (whole weeks from eight weeks on).

    Neighbouring hours err together, so hours must not be resampled one by one. None with fewer than three blocks.

    Args:
        timestamps: Hours, shape (n,).
        challenger_error: Absolute errors of the challenger, shape (n,), bikes/h.
        champion_error: Absolute errors of the Champion on the same hours.
        policy: Rounds and confidence.
        seed: Same seed, same interval.
    """
    if len(timestamps) == 0:
        return None
    days = timestamps.astype("datetime64[D]").astype(np.int64)
    span_days = int(days.max() - days.min()) + 1
    block_days = 7 if span_days >= 56 else 1
    _, block = np.unique((days - days.min()) // block_days, return_inverse=True)
    blocks = int(block.max()) + 1
    if blocks < 3:
        return None
    difference = np.bincount(block, weights=challenger_error - champion_error, minlength=blocks)
    hours = np.bincount(block, minlength=blocks)
    drawn = np.random.default_rng(seed).integers(0, blocks, size=(policy.bootstrap_rounds, blocks))
    means = difference[drawn].sum(axis=1) / hours[drawn].sum(axis=1)
    tail = (1 - policy.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return PairedDifference(float(difference.sum() / hours.sum()), float(low), float(high), blocks, block_days)


def _ratio(value: float, reference: float) -> float:
    if reference > 0:
        return value / reference
    return 1.0 if value <= 0 else float("inf")


def _ratio_check(name: str, mae: float, reference: float, limit: float, against: str, rows: int) -> Check:
    ratio = _ratio(mae, reference)
    detail = f"MAE {mae:.1f} against {reference:.1f} of the {against}, {rows} rows"
    return Check(name, ratio <= limit, ratio, limit, detail)


def _latency_check(row_ms: float, champion_row_ms: float | None, policy: GatePolicy) -> Check:
    limit, against = policy.max_first_row_ms, ""
    if champion_row_ms is not None:
        limit = max(policy.max_row_ms, champion_row_ms * policy.max_row_ratio)
        against = f", {champion_row_ms:.3f} ms of the champion"
    return Check("latency", row_ms <= limit, row_ms, limit, f"{row_ms:.3f} ms of CPU per row{against}")


def _slice_checks(
    challenger: Contender, champion: Contender | None, naive: Contender, policy: GatePolicy
) -> list[Check]:
    reference, against = (naive, "naive rule") if champion is None else (champion, "champion")
    checks = []
    for name, scores in challenger.slices.items():
        other = reference.slices.get(name)
        if other is None or scores.rows == 0:
            continue
        if champion is None:
            limit = max(policy.max_first_slice_ratio, policy.slice_ratios.get(name, 0.0))
        else:
            limit = policy.slice_ratios.get(name, policy.max_slice_ratio)
        thin = max(1.0, float(np.sqrt(policy.full_slice_rows / scores.rows)))
        limit = max(limit, min(1 + (limit - 1) * thin, policy.widest_slice_ratio))
        check = _ratio_check(f"slice_{name}", scores.mae, other.mae, limit, against, scores.rows)
        needed = policy.slice_rows.get(name, policy.min_slice_rows)
        if name not in policy.judged_slices:
            check = replace(check, passed=True, informative=True)
        elif scores.rows < needed:
            detail = f"{check.detail}: fewer than {needed}, not judged"
            check = replace(check, passed=True, informative=True, detail=detail)
        checks.append(check)
    return checks
