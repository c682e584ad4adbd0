"""Alerts as Block Kit: golden files, limits, and what Slack would refuse."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bikeshare.core.alerts import Alert, AlertKind
from bikeshare.core.messages import SURE, SYMBOLS, blocks, from_document, plain_text, problems, to_document

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "slack"

DRIFT = Alert(
    kind="drift", key="drift:v3-2012W20-drift", incident="run:v3-2012W20-drift",
    title="The forecast has decayed; a retrain was requested",
    reason="Decay confirmed on 2 of the last 3 daily checks: 7-day bias +30.2% (backtest +0.9%, limits -8.7% and "
           "+11.5%).",
    action="A training run was requested; the champion serves until a better version has passed the gate.",
    at=datetime(2012, 5, 14, 6),
    moved=(("bias", "7-day bias +30.2% (backtest +0.9%, limits -8.7% and +11.5%)."),
           ("wape", "7-day WAPE 31.0% (limit 15.0%, backtest 12.0%).")),
    links=(("report", "https://store.example/reports/1.html"), ("run", "file:///runs/1"),
           ("dashboard", "http://127.0.0.1:8501")),
    command="bikeshare registry rollback",
    tags={SURE: "2 of the last 3 daily checks were over a limit"},
)
RECOVERED = Alert(
    kind="recovered", key="recovered:v3-2012W20-drift", incident="run:v3-2012W20-drift",
    title="The retrain helped: the error is back within limits",
    reason="The retrain helped: the error is back within limits", action="Normal operation goes on.",
    at=datetime(2012, 5, 19, 6),
    before_after=(("WAPE, 7 days", "31.0%", "12.4%"), ("bias against the backtest's, 7 days", "+29.0%", "-2.0%")),
)
HELD = Alert(
    kind="held", key="held:3:unit", incident="data:2012-05-14",
    title="Live data are broken: unit; retraining is on hold",
    reason="Data are broken (unit): temp_c looks like degrees Fahrenheit: 71.2 where 8 to 30 °C is normal for the "
           "month.",
    action="Retraining is on hold; the champion keeps serving.", at=datetime(2012, 5, 14, 6),
    moved=(("unit", "temp_c looks like degrees Fahrenheit."),),
)

RETRAINED = Alert(
    kind="retrained", key="retrained:4", incident="run:v3-2012W20-drift", title="Version 4 replaced 3 as champion",
    reason="Requested because: Decay confirmed on 2 of the last 3 daily checks: 7-day bias +30.2% (backtest "
           "+0.9%, limits -8.7% and +11.5%). Gate: MAE 41.3, WAPE 13.1%: passes all 12 checks against the champion and "
           "the naive rule [240 rows; judged on the newest 240 of 336 hours that the champion never saw].",
    action="Version 4 passed the gate and the live checks and takes all traffic.", at=datetime(2012, 5, 14, 6, 20),
    before_after=(("WAPE, same unseen rows", "30.4%", "13.1%"),), command="bikeshare registry rollback",
)
REFUSED = Alert(
    kind="refused", key="refused:5", incident="run:v4-2012W22-schedule", title="Version 5 was refused by the gate",
    reason="refused by 1 of 12 checks: champion: MAE 44.2 against 41.3 of the champion, 336 rows (limit 1.02) "
           "[336 rows; judged on the newest 336 of 504 hours that the champion never saw]",
    action="Champion 4 keeps serving.",
    at=datetime(2012, 5, 28, 3, 40),
    moved=(("champion", "MAE 44.2 against 41.3 of the champion, 336 rows (limit 1.02)"),),
    before_after=(("WAPE", "13.2%", "14.1%"),), command="bikeshare registry show 5",
)
ROLLED_BACK = Alert(
    kind="rolled_back", key="rollout_refused:6", incident="rollout:6",
    title="Version 6 failed its checks and was not rolled out.",
    reason="latency: p95 312.4 ms over 200 probes (limit 250 ms)",
    action="The canary was removed, the aliases were not touched; version 4 keeps serving.",
    at=datetime(2012, 6, 4, 3, 45),
    moved=(("latency", "p95 312.4 ms over 200 probes (limit 250 ms)"),),
    command="bikeshare registry list",
)
PIPELINE_FAILED = Alert(
    kind="pipeline_failed", key="pipeline_failed:v4-2012W24-age", incident="run:v4-2012W24-age",
    title="Training run v4-2012W24-age failed",
    reason="The champion's newest training hour is 49 days old: the object store did not answer: connection refused",
    action="Champion 4 keeps serving.", at=datetime(2012, 6, 11, 6, 2),
    command="bikeshare pipeline status v4-2012W24-age",
)
AGREED = (DRIFT, HELD, RETRAINED, REFUSED, ROLLED_BACK, RECOVERED, PIPELINE_FAILED)


@pytest.mark.parametrize(("name", "alert"), [(alert.kind, alert) for alert in AGREED])
def test_messages_look_as_agreed(name: str, alert: Alert) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))

    assert {"text": plain_text(alert), "blocks": blocks(alert, "embedded")} == expected
    assert problems(expected) == []


def test_every_agreed_message_has_a_golden_file_and_no_file_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == sorted(alert.kind for alert in AGREED)


def test_every_kind_has_its_sign() -> None:
    assert set(SYMBOLS) == set(get_args(AlertKind))


def test_a_reason_that_only_repeats_the_title_is_left_out() -> None:
    said = [json.dumps([blocks(alert), plain_text(alert)]) for alert in (RECOVERED, DRIFT)]

    assert ["Why" in text for text in said] == [False, True]
    assert ["why: " in text for text in said] == [False, True]


@given(st.text(min_size=1, max_size=5000), st.integers(0, 30))
def test_no_alert_breaks_slacks_limits(text: str, many: int) -> None:
    alert = replace(
        DRIFT, title=text, reason=text, action=text, command=text, moved=((text, text),) * many,
        before_after=((text, text, text),) * many, tags={f"t{number}": text for number in range(many)},
        links=((text, "http://x"),) * many,
    )

    assert problems({"text": "x", "blocks": blocks(alert, text)}) == []


def test_markup_of_others_is_escaped() -> None:
    kit = json.dumps(blocks(replace(HELD, reason="8 °C & <less>")))

    assert "&lt;less&gt;" in kit
    assert "&amp;" in kit
    assert "<less>" not in kit


def test_alerts_survive_json() -> None:
    for alert in AGREED:
        assert from_document(json.loads(json.dumps(to_document(alert)))) == alert


@pytest.mark.parametrize(("payload", "word"), [
    ({}, "text"),
    ({"text": ""}, "text"),
    ({"text": "x", "blocks": []}, "blocks"),
    ({"text": "x", "blocks": [{"type": "divider"}] * 51}, "blocks"),
    ({"text": "x", "blocks": ["no"]}, "not an object"),
    ({"text": "x", "blocks": [{"type": "carousel"}]}, "unknown type"),
    ({"text": "x", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}, "plain_text"),
    ({"text": "x", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}, "150"),
    ({"text": "x", "blocks": [{"type": "section"}]}, "text or fields"),
    ({"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]}, "3000"),
    ({"text": "x", "blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}]}, "at most 10"),
    ({"text": "x", "blocks": [{"type": "context", "elements": []}]}, "no elements"),
])
def test_what_slack_would_refuse_is_named(payload: dict, word: str) -> None:
    assert word in " ".join(problems(payload))
    assert problems({"text": "x", "blocks": [{"type": "divider"}]}) == []
