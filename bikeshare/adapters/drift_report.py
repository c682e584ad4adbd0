"""Evidently explains: a plain comparison with training data, with our calibrated verdict on top of the page.

Evidently crashes on an all-empty column, an empty frame, a missing column or an infinite value, so frames are checked
first. Its methods are pinned: the defaults change with the number of reference rows.
"""

import html
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.errors import DataError

THRESHOLD = 0.1
DRIFT_SHARE = 0.5
MIN_ROWS = 24


class EvidentlyReporter:
    """`bikeshare.ports.DriftReporter`; Evidently (0.3 GB, seconds of CPU) is imported only when a report is due."""

    def write(
        self, current: pd.DataFrame, reference: pd.DataFrame, directory: Path, *, title: str, verdict: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Write `report.html` and `report.json`; see the port.

        Args:
            current: Sample of what was served; numeric columns and text categories.
            reference: The same columns of the training window.
            directory: Where the two files go.
            title: Heading of the page.
            verdict: Our own verdict: state, reason, findings.

        Returns:
            `columns` (name -> distance), `drifted` (names over the default threshold), `share`, `dropped` (columns
            that could not be compared, with the reason).

        Raises:
            DataError: no column can be compared, or Evidently fails on the frames.
        """
        frames, numeric, categories, dropped = _comparable(current, reference)
        try:
            page, raw = _run(*frames, numeric, categories, title)
        except Exception as error:  # Evidently raises whatever its dependencies raise
            raise DataError(f"Evidently could not compare the frames: {type(error).__name__}: {error}") from error
        result = {**raw, "dropped": dropped}
        directory.mkdir(parents=True, exist_ok=True)
        document = {"title": title, "verdict": dict(verdict), "evidently": result}
        (directory / "report.json").write_text(json.dumps(document, indent=1, default=str), encoding="utf-8")
        summary = _summary(title, verdict, result)
        (directory / "report.html").write_text(_insert(page, summary), encoding="utf-8")
        return result


def _comparable(
    current: pd.DataFrame, reference: pd.DataFrame
) -> tuple[tuple[pd.DataFrame, pd.DataFrame], list[str], list[str], dict[str, str]]:
    """Columns that Evidently survives, as clean frames; and why the others were left out."""
    dropped: dict[str, str] = {}
    cleaned: list[dict[str, pd.Series]] = [{}, {}]
    numeric: list[str] = []
    categories: list[str] = []
    for name in reference.columns:
        if name not in current:
            dropped[str(name)] = "not served"
            continue
        is_number = pd.api.types.is_numeric_dtype(reference[name]) and not pd.api.types.is_bool_dtype(reference[name])
        pair = [_clean(frame[name], is_number) for frame in (current, reference)]
        if min(len(values) for values in pair) < MIN_ROWS:
            dropped[str(name)] = f"fewer than {MIN_ROWS} usable values"
            continue
        (numeric if is_number else categories).append(str(name))
        for columns, values in zip(cleaned, pair, strict=True):
            columns[str(name)] = values.reset_index(drop=True)
    if not numeric and not categories:
        raise DataError(f"no column can be compared: {dropped or 'there are no columns'}")
    frames = pd.DataFrame(cleaned[0]), pd.DataFrame(cleaned[1])
    return frames, numeric, categories, dropped


def _clean(values: pd.Series, is_number: bool) -> pd.Series:
    if is_number:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64").replace([np.inf, -np.inf], np.nan)
        return numbers.dropna()
    return values.dropna().astype(str)


def _run(
    current: pd.DataFrame, reference: pd.DataFrame, numeric: list[str], categories: list[str], title: str
) -> tuple[str, dict[str, Any]]:
    os.environ.setdefault("DO_NOT_TRACK", "1")  # read by Evidently at import
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categories)
    preset = DataDriftPreset(
        columns=[*numeric, *categories], drift_share=DRIFT_SHARE, num_method="wasserstein", num_threshold=THRESHOLD,
        cat_method="jensenshannon", cat_threshold=THRESHOLD,
    )
    snapshot = Report([preset], include_tests=True, metadata={"title": title}).run(
        Dataset.from_pandas(current, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    document = json.loads(snapshot.json())
    columns = {
        metric["config"]["column"]: float(metric["value"])
        for metric in document["metrics"] if "column" in metric.get("config", {})
    }
    drifted = sorted(name for name, value in columns.items() if value >= THRESHOLD)
    share = len(drifted) / len(columns) if columns else 0.0
    return snapshot.get_html_str(as_iframe=False), {"columns": columns, "drifted": drifted, "share": share}


_OVER, _WITHIN = "<td><b class='over'>over</b></td>", "<td><b class='within'>within</b></td>"
_STYLE = """
#bikeshare-verdict{font:15px/1.5 system-ui,sans-serif;color:#1c2430;background:#fff;max-width:1100px;margin:24px auto;
  padding:20px 24px;border:1px solid #dfe2e6;border-left:5px solid #1862b8;border-radius:10px}
#bikeshare-verdict h1{font-size:22px;margin:0 0 8px}
#bikeshare-verdict p,#bikeshare-verdict summary,#bikeshare-verdict th{color:#5b6675}
#bikeshare-verdict p.reason{color:#1c2430;font-size:16px}
#bikeshare-verdict table{border-collapse:collapse;margin:12px 0}
#bikeshare-verdict th,#bikeshare-verdict td{padding:6px 18px 6px 0;border-bottom:1px solid #dfe2e6;text-align:left}
#bikeshare-verdict th{font-weight:400}
#bikeshare-verdict .number{text-align:right}
#bikeshare-verdict b.action,#bikeshare-verdict b.over,#bikeshare-verdict b.within{font-size:13px;padding:2px 10px;
  border-radius:99px;margin-right:10px}
#bikeshare-verdict b.action{background:#dde8f6;color:#1862b8}
#bikeshare-verdict b.over{background:#f1e7cd;color:#7d5900}
#bikeshare-verdict b.within{background:#d9ebe3;color:#0b6e4f}
"""
"""Evidently's page has styles of its own and no variables of ours; the colours are those of `core/look.css`."""


def _summary(title: str, verdict: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(str(item['name']))}</td><td class='number'>{item['value']:.3g}</td>"
        f"<td class='number'>{item['limit']:.3g}</td>{_OVER if item['exceeded'] else _WITHIN}"
        f"<td>{html.escape(str(item['sentence']))}</td></tr>"
        for item in verdict.get("findings", ())
    )
    table = (
        "<table><tr><th>quantity</th><th class='number'>seen</th><th class='number'>limit</th><th></th>"
        f"<th></th></tr>{rows}</table>" if rows else ""
    )
    scores = "".join(
        f"<tr><td>{html.escape(str(item['column']))}</td><td>{html.escape(str(item['method']))}</td>"
        f"<td>{item['value']:.3f}</td><td>{'-' if item['limit'] is None else format(item['limit'], '.3f')}</td></tr>"
        for item in verdict.get("scores", ())
    )
    appendix = (
        "<details><summary>Distances of the served inputs from training (w1, js, psi: all of it; season: the same "
        "weeks, limit learned from training itself)</summary><table><tr><th>column</th><th>method</th>"
        f"<th>distance</th><th>limit</th></tr>{scores}</table></details>" if scores else ""
    )
    share = (
        f"Below: Evidently's plain comparison with all of training ({len(raw['drifted'])} of {len(raw['columns'])} "
        "columns over its default threshold). On hourly bike demand it is nearly always over: weather differs "
        "between weeks. It explains; the quantities above decide."
    )
    return (
        f"<style>{_STYLE}</style><section id='bikeshare-verdict'><h1>{html.escape(title)}</h1>"
        f"<p><b class='action'>{html.escape(str(verdict.get('action', '')))}</b>"
        f"<span>{html.escape(str(verdict.get('state', '')))}</span></p>"
        f"<p class='reason'>{html.escape(str(verdict.get('reason', '')))}</p>{table}{appendix}"
        f"<p>{share}</p></section>"
    )


def _insert(page: str, block: str) -> str:
    """Put the block at the start of the body."""
    start = page.find("<body")
    if start < 0:
        return block + page
    end = page.index(">", start) + 1
    return page[:end] + block + page[end:]
