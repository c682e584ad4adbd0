"""From rows of panels to Grafana's JSON: places, ids, colours and links follow from a panel's few fields."""

from dataclasses import dataclass, field
from typing import Any

GRID = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "#8e8e8e"


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the name of its series."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Unique within its dashboard.
        queries: What it shows.
        about: One sentence for the reader.
        kind: Grafana's panel type.
        unit: Grafana's unit.
        width: Columns of the grid, of 24.
        height: Rows of the grid.
        steps: Colours from a value on: (None, colour) first.
        alerts: Alerts about this panel; their runbooks are linked.
        limits: Legends drawn as dashed lines.
        style: `line`, `stack` or `bars`.
        extra: Merged into the panel.
    """

    title: str
    queries: tuple[Query, ...]
    about: str
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float | None, str], ...] = ()
    alerts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    style: str = "line"
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dashboard:
    """One dashboard: rows of panels under a heading."""

    uid: str
    title: str
    about: str
    since: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


ANNOTATIONS = (
    ("Roll-outs", BLUE, "count by (version) (bikeshare_model_info)"
     " unless count by (version) (bikeshare_model_info offset 5m)", "version {{version}} begins to serve"),
    ("Retrains", "purple", "sum by (reason) (increase(bikeshare_retrain_requested_total[5m])) > 0",
     "retrain requested: {{reason}}"),
)
"""Marked on every dashboard: name, colour, expression, text."""


def stat(title: str, expr: str, about: str, unit: str = "short", legend: str = "", **options: Any) -> Panel:
    """A number; with a legend, the name of the series that are there."""
    shown = {"options": {"textMode": "name"}} if legend else {}
    options["extra"] = _merge(shown, options.get("extra", {}))
    return Panel(title, (Query(expr, legend),), about, "stat", unit, **{"width": 4, "height": 4, **options})


def decimals(count: int) -> dict[str, Any]:
    """`extra` of a panel that shows this many decimals."""
    return {"fieldConfig": {"defaults": {"decimals": count}}}


def coloured(colours: dict[str, str]) -> dict[str, Any]:
    """`extra` of a panel whose series have fixed colours."""
    return {"fieldConfig": {"overrides": [
        {"matcher": {"id": "byName", "options": name},
         "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]}
        for name, colour in colours.items()
    ]}}


def render(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana's JSON."""
    panels: list[dict[str, Any]] = []
    top = 0
    for heading, row in dashboard.rows:
        panels.append({
            "id": len(panels) + 1, "type": "row", "title": heading, "collapsed": False, "panels": [],
            "gridPos": {"h": 1, "w": GRID, "x": 0, "y": top},
        })
        top, left, tallest = top + 1, 0, 0
        for panel in row:
            if left + panel.width > GRID:
                top, left, tallest = top + tallest, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            panels.append(_panel(panel, len(panels) + 1, place))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return {
        "uid": dashboard.uid, "title": dashboard.title, "description": dashboard.about, "tags": ["bikeshare"],
        "schemaVersion": 39, "version": 1, "editable": False, "graphTooltip": 1, "refresh": "30s",
        "timezone": "browser", "time": {"from": dashboard.since, "to": "now"},
        "annotations": {"list": [_annotation(*item) for item in ANNOTATIONS]},
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0,
             "refresh": 1, "includeAll": False, "multi": False, "regex": "", "options": [], "current": {}},
            {"name": "runbooks", "type": "constant", "query": "docs/runbooks", "hide": 2, "skipUrlSync": True,
             "current": {"value": "docs/runbooks", "text": "docs/runbooks"},
             "options": [{"value": "docs/runbooks", "text": "docs/runbooks", "selected": True}]},
        ]},
        "links": [
            {"title": "bikeshare", "type": "dashboards", "tags": ["bikeshare"], "asDropdown": False,
             "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link"},
            {"title": "Runbooks", "type": "link", "url": "${runbooks}", "icon": "doc", "targetBlank": True,
             "tags": [], "asDropdown": False, "includeVars": False, "keepTime": False},
        ],
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    instant = panel.kind in ("stat", "table", "bargauge")
    made: dict[str, Any] = {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.about, "gridPos": place,
        "datasource": DATASOURCE,
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "expr": query.expr,
             "legendFormat": query.legend or "__auto", "instant": instant, "range": not instant,
             "format": "table" if panel.kind == "table" else "time_series"}
            for place, query in enumerate(panel.queries)
        ],
        "links": [
            {"title": f"Runbook: {name}", "url": f"${{runbooks}}/{name}.md", "targetBlank": True}
            for name in panel.alerts
        ],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": _thresholds(panel), "custom": {}, "noValue": "no data"},
            "overrides": [_dashed(legend) for legend in panel.limits],
        },
        "options": {},
    }
    defaults = made["fieldConfig"]["defaults"]
    if panel.kind == "stat":
        made["options"] = {
            "colorMode": "value" if panel.steps else "none", "graphMode": "none", "textMode": "auto",
            "justifyMode": "auto", "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    if panel.kind == "timeseries":
        bars = panel.style == "bars"
        defaults["custom"] = {
            "drawStyle": "bars" if bars else "line", "lineWidth": 1 if bars else 2,
            "fillOpacity": 60 if bars else 25 if panel.style == "stack" else 0, "showPoints": "auto",
            "spanNulls": 7_200_000, "stacking": {"mode": "none" if panel.style == "line" else "normal", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }
        if panel.unit != "none":
            defaults["min"] = 0
        made["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return _merge(made, panel.extra)


def _thresholds(panel: Panel) -> dict[str, Any]:
    steps = panel.steps or ((None, BLUE if panel.kind != "stat" else "text"),)
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def _dashed(legend: str) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": legend}, "properties": [
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
        {"id": "custom.fillOpacity", "value": 0},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": GREY}},
    ]}


def _annotation(name: str, colour: str, expr: str, text: str) -> dict[str, Any]:
    return {
        "name": name, "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": colour, "expr": expr,
        "step": "60s", "titleFormat": text, "textFormat": "", "tagKeys": "", "useValueForTime": False,
    }


def _merge(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
