"""The model card: what a person must know before trusting a version. Pure text (Markdown)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from bikeshare.core.contract import NEVER_FEATURES
from bikeshare.core.drift import DriftPolicy, limits_from
from bikeshare.core.evaluation import Scores
from bikeshare.core.features import HISTORY, STATELESS, Feature

_FEWEST_ROWS = 24
_WEAK_RATIO = 1.1


@dataclass(frozen=True)
class CardFacts:
    """What the card states; numbers are measured on rows the judged recipe never saw.

    Attributes:
        reason: Why the run was started.
        run_key: Name of the run.
        window: First hour of the training data and the first hour after it.
        rows: Training rows.
        data_hash: Hash of the training data.
        git_revision: Source revision.
        library_version: Version of `bikeshare`.
        trees: Trees per forest.
        adapt_since: Start of the changed world the training was weighted to, if any.
        test_reason: Which rows judged, and why those.
        overall: Scores on them.
        slices: Scores per slice.
        naive: Scores of the best naive rule on them.
        backtest: The weekly series.
        importance: Columns feature, importance, forest.
        inside: Promised share of an interval -> share of the judged hours that were inside.
        test_score: Section of the ML Test Score -> points of the source; empty where its tests are not at hand.
    """

    reason: str
    run_key: str
    window: tuple[datetime, datetime]
    rows: int
    data_hash: str
    git_revision: str
    library_version: str
    trees: int
    adapt_since: datetime | None
    test_reason: str
    overall: Scores
    slices: Mapping[str, Scores]
    naive: Scores
    backtest: Mapping[str, Any]
    importance: pd.DataFrame
    inside: Mapping[float, float] = field(default_factory=dict)
    test_score: Mapping[str, float] = field(default_factory=dict)


def model_card(facts: CardFacts) -> str:
    """Write the card."""
    start, end = facts.window
    adapted = "" if facts.adapt_since is None else (
        f" Rows since {facts.adapt_since:%Y-%m-%d %H:00} carry more weight: the monitor reported a changed world."
    )
    saved = 1 - facts.overall.mae / facts.naive.mae if facts.naive.mae else 0.0
    lines = [
        "# Model card",
        "",
        f"Hourly bike demand, {start:%Y-%m-%d} to {end - timedelta(hours=1):%Y-%m-%d} ({facts.rows:,} hours). Made by "
        f"run `{facts.run_key}` because: {facts.reason.rstrip('.')}.{adapted}",
        "",
        "## Use",
        "",
        "Forecasts the rentals that start in an hour, up to 48 h ahead, from the weather forecast and demand that "
        "is at least 24 h old. Not for single stations, other cities without retraining, or weather outside the "
        "training data's range: the answer then stays at the nearest situation seen.",
        "",
        "## How good",
        "",
        f"{facts.test_reason[:1].upper()}{facts.test_reason[1:]}. {saved:.0%} below the naive rule's MAE.",
        "",
        "| rows | MAE | WAPE | RMSE | RMSLE | bias |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        _row(f"all ({facts.overall.rows})", facts.overall),
        _row("naive rule, same rows", facts.naive),
        *(_row(f"{name.replace('_', ' ')} ({scores.rows})", scores) for name, scores in facts.slices.items()
          if scores.rows),
        "",
        _backtest_line(facts.backtest),
        *_intervals(facts.inside),
        "",
        "## Weak where",
        "",
        *_weaknesses(facts),
        "",
        "## Watched by",
        "",
        _limits(facts.backtest),
        "",
        "## How",
        "",
        f"Two random forests of {facts.trees} trees (with and without recent demand) learn the shape of demand; a "
        "level follows its growth daily. Answers fall back to the forest without history, then to the level in the "
        "artifact, and say so. Most used inputs: " + ", ".join(_top(facts.importance)) + ".",
        "",
        f"Inputs of both forests: {_names(STATELESS)}.",
        "",
        f"Of the second one also: {_names(HISTORY)}.",
        "",
        "Never inputs: " + ", ".join(f"`{name}`" for name in NEVER_FEATURES) + " of the predicted hour or of the 24 h "
        "before it.",
        "",
        "## Tested",
        "",
        _test_score(facts.test_score),
        "",
        "## From",
        "",
        f"Data `{facts.data_hash}`, source `{facts.git_revision}`, library `{facts.library_version}`.",
        "",
    ]
    return "\n".join(lines)


def _intervals(inside: Mapping[float, float]) -> list[str]:
    found = [f"{promised:.0%} interval: {seen:.0%}" for promised, seen in inside.items() if seen == seen]
    return ["", f"Hours inside the {', inside the '.join(found)}."] if found else []


def _weaknesses(facts: CardFacts) -> list[str]:
    """Slices with a worse WAPE than all rows together, and what no row can show."""
    weak = sorted(
        ((scores.wape, name, scores) for name, scores in facts.slices.items()
         if scores.rows >= _FEWEST_ROWS and scores.wape > _WEAK_RATIO * facts.overall.wape), reverse=True,
    )
    lines = [
        f"- {name.replace('_', ' ')}: WAPE {wape:.1%}, {wape / facts.overall.wape:.1f} times that of all rows "
        f"({scores.rows} hours)" for wape, name, scores in weak
    ]
    thin = [name.replace("_", " ") for name, scores in facts.slices.items() if scores.rows < _FEWEST_ROWS]
    if thin:
        lines.append(f"- {', '.join(thin)}: fewer than {_FEWEST_ROWS} judged hours, so nearly unknown")
    return [
        *lines,
        "- one-off events (races, parades, strikes): nothing in the inputs announces them",
        "- a changed daily rhythm: the level cannot follow it, only a retrain can",
    ]


def _limits(backtest: Mapping[str, Any]) -> str:
    limits = limits_from(backtest, DriftPolicy())
    if limits is None:
        return "No backtest, so no limits: the monitor judges data quality and age only."
    return ("At the default policy the monitor calls it decayed when the 7-day WAPE of what was served is over "
            f"{limits.wape:.1%}, or the bias is {limits.bias:.0%} away from the backtest's, on 2 of 3 daily checks.")


def _test_score(sections: Mapping[str, float]) -> str:
    if not sections:
        return "Where this was made the tests are not at hand; `bikeshare score` in a checkout judges its source."
    points = ", ".join(f"{section} {value:g}" for section, value in sections.items())
    return (f"ML Test Score of the source, points of 7: {points}; the weakest counts, {min(sections.values()):g}. "
            "`bikeshare score` names the test behind each point.")


def _names(features: Sequence[Feature]) -> str:
    return ", ".join(f"`{feature.name}`" for feature in features)


def _row(name: str, scores: Scores) -> str:
    return (f"| {name} | {scores.mae:.1f} | {scores.wape:.1%} | {scores.rmse:.1f} | {scores.rmsle:.3f} "
            f"| {scores.bias:+.1%} |")


def _backtest_line(backtest: Mapping[str, Any]) -> str:
    weeks = backtest.get("n_weeks", 0)
    if not weeks:
        return "No whole week could be backtested."
    return (f"Over {weeks} backtested weeks: WAPE {backtest['wape']:.1%} (median week {backtest['wape_p50']:.1%}, "
            f"bad week {backtest['wape_p90']:.1%}).")


def _top(importance: pd.DataFrame, count: int = 6) -> list[str]:
    mean = importance.groupby("feature", sort=False)["importance"].sum().sort_values(ascending=False)
    return [f"`{name}`" for name in mean.index[:count]]
