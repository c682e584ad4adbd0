"""Count served rows into the bins of a reference profile, and keep a uniform sample: memory does not grow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.profiles import (
    BINS,
    CATEGORIES,
    NUMERIC,
    OTHER,
    PREDICTION,
    bin_counts,
    coarsen,
    decile_counts,
    jensen_shannon,
    population_stability,
    season_counts,
    season_distance,
    wasserstein,
)

SAMPLE_ROWS = 20_000
"""Bounds the sampling error of a distribution function by 0.014 over 12 columns at 99 %."""

RAW_LIMIT = 0.1
"""Evidently's default threshold of W1 and Jensen-Shannon."""


@dataclass(frozen=True)
class ColumnScore:
    """One distance of one column; `limit` is None where none was learned."""

    column: str
    method: str
    value: float
    limit: float | None


class Sketch:
    """Histograms and a sample of any number of rows.

    Attributes:
        rows: Rows counted.
        counts: Bins per numeric column.
        categories: Counts per class and column, unknown classes under `OTHER`.
        missing: Missing or infinite values per column.

    Args:
        profile: Reference profile that fixes the bins.
        prediction: Column that holds the prediction (`demand` in the prediction log).
        seed: Of the sample.
        sample_rows: Size of the sample; 0 keeps none.
    """

    def __init__(
        self, profile: Mapping[str, Any], *, prediction: str = PREDICTION, seed: int = 0, sample_rows: int = SAMPLE_ROWS
    ) -> None:
        self.rows = 0
        self.counts = {name: np.zeros(BINS, dtype=np.int64) for name in NUMERIC}
        self.categories = {name: dict.fromkeys((*classes, OTHER), 0) for name, classes in CATEGORIES.items()}
        self.missing = dict.fromkeys((*NUMERIC, *CATEGORIES), 0)
        self._numeric = profile["numeric"]
        self._source = {name: prediction if name == PREDICTION else name for name in (*NUMERIC, *CATEGORIES)}
        self._random = np.random.default_rng(seed)
        self._wanted = sample_rows
        self._kept: list[tuple[np.ndarray, pd.DataFrame]] = []
        self._held = 0
        self._bar = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns a batch must have."""
        return tuple(self._source.values())

    def add(self, batch: Any) -> None:
        """Count a batch: a DataFrame, or an Arrow RecordBatch (anything with `column` and `take`)."""
        rows = len(batch) if isinstance(batch, pd.DataFrame) else int(batch.num_rows)
        if rows == 0:
            return
        self.rows += rows
        for name in NUMERIC:
            values = _numbers(batch, self._source[name])
            finite = np.isfinite(values)
            known = int(finite.sum())
            self.missing[name] += rows - known
            column = self._numeric[name]
            chosen = values if known == rows else values[finite]
            self.counts[name] += bin_counts(chosen, column["low"], column["high"], BINS)
        for name in CATEGORIES:
            total = 0
            for label, count in _classes(batch, self._source[name]):
                self.categories[name][label if label in self.categories[name] else OTHER] += count
                total += count
            self.missing[name] += rows - total
        if self._wanted:
            self._sample(batch, rows)

    def merge(self, other: "Sketch") -> None:
        """Add the counts and the sample of another sketch on the same profile."""
        self.rows += other.rows
        for name in NUMERIC:
            self.counts[name] += other.counts[name]
        for name, classes in other.categories.items():
            for label, count in classes.items():
                self.categories[name][label] += count
        for name, count in other.missing.items():
            self.missing[name] += count
        self._kept.extend(other._kept)
        self._held += other._held
        self._shrink()

    def sample(self) -> pd.DataFrame:
        """At most `sample_rows` rows, each as likely as any other; the prediction is called `prediction`."""
        self._shrink()
        if not self._kept:
            return pd.DataFrame({name: [] for name in self._source})
        frame = pd.concat([rows for _, rows in self._kept], ignore_index=True)
        return frame.rename(columns={source: name for name, source in self._source.items()})

    def _sample(self, batch: Any, rows: int) -> None:
        keys = self._random.random(rows)
        chosen = np.flatnonzero(keys < self._bar)
        if not len(chosen):
            return
        if isinstance(batch, pd.DataFrame):
            taken = batch.loc[:, list(self.columns)].iloc[chosen]
        else:
            taken = batch.select(list(self.columns)).take(chosen).to_pandas()
        self._kept.append((keys[chosen], taken))
        self._held += len(chosen)
        if self._held > 2 * self._wanted:
            self._shrink()

    def _shrink(self) -> None:
        """Keep the rows with the smallest random keys."""
        if self._held <= self._wanted:
            return
        keys = np.concatenate([keys for keys, _ in self._kept])
        frame = pd.concat([rows for _, rows in self._kept], ignore_index=True)
        smallest = np.argpartition(keys, self._wanted - 1)[: self._wanted]
        smallest.sort()
        self._kept = [(keys[smallest], frame.iloc[smallest].reset_index(drop=True))]
        self._held = self._wanted
        self._bar = float(keys[smallest].max())


def sketch_batches(profile: Mapping[str, Any], batches: Iterable[Any], **options: Any) -> Sketch:
    """One sketch of a stream of batches; see `Sketch` for the options."""
    sketch = Sketch(profile, **options)
    for batch in batches:
        sketch.add(batch)
    return sketch


def score_columns(sketch: Sketch, profile: Mapping[str, Any], week: int) -> tuple[ColumnScore, ...]:
    """Every distance of every column: against all of training, and against the same season of training.

    Args:
        sketch: Served rows.
        profile: The reference.
        week: Week of the year (0..52) in the middle of the served window.
    """
    if sketch.rows == 0:
        return ()
    scores = []
    for name in NUMERIC:
        column, counts = profile["numeric"][name], sketch.counts[name]
        reference = np.asarray(column["counts"], dtype=np.int64)
        if not counts.sum() or not reference.sum():
            continue
        width = (column["high"] - column["low"]) / BINS
        scores += [
            ColumnScore(name, "w1", wasserstein(reference, counts, width, column["std"]), RAW_LIMIT),
            ColumnScore(name, "psi", population_stability(*decile_counts(counts, reference)), 0.25),
        ]
        scores += _season(name, coarsen(counts), profile, week)
    for name, classes in CATEGORIES.items():
        labels = (*classes, OTHER)
        counts = np.array([sketch.categories[name][label] for label in labels])
        reference = np.array([profile["categories"][name][label] for label in labels])
        if not counts.sum() or not reference.sum():
            continue
        scores += [
            ColumnScore(name, "js", jensen_shannon(reference, counts), RAW_LIMIT),
            ColumnScore(name, "psi", population_stability(reference, counts), 0.25),
        ]
        scores += _season(name, counts, profile, week)
    return tuple(scores)


def raw_drift_share(scores: Iterable[ColumnScore]) -> float | None:
    """Share of columns over Evidently's default threshold; None without columns."""
    raw = [score.value >= RAW_LIMIT for score in scores if score.method in ("w1", "js")]
    return sum(raw) / len(raw) if raw else None


def season_drift(scores: Iterable[ColumnScore]) -> tuple[ColumnScore, ...]:
    """Columns over their learned, season-matched limit, the furthest first."""
    over = [s for s in scores if s.method == "season" and s.limit is not None and s.value > s.limit]
    return tuple(sorted(over, key=lambda s: s.value / (s.limit or 1.0), reverse=True))


def _season(name: str, counts: np.ndarray, profile: Mapping[str, Any], week: int) -> list[ColumnScore]:
    reference = season_counts(profile, name, week)
    if reference is None:
        return []
    value = season_distance(counts, reference, profile["numeric"].get(name))
    return [ColumnScore(name, "season", value, profile["limits"].get(name))]


def _numbers(batch: Any, name: str) -> np.ndarray:
    if isinstance(batch, pd.DataFrame):
        return np.asarray(batch[name].to_numpy(dtype="float64"))
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), dtype="float64")


def _classes(batch: Any, name: str) -> Iterable[tuple[str, int]]:
    if isinstance(batch, pd.DataFrame):
        counted = batch[name].value_counts()
        return [(str(label), int(count)) for label, count in counted.items()]
    return [
        (item["values"], item["counts"]) for item in batch.column(name).value_counts().to_pylist()
        if item["values"] is not None
    ]
