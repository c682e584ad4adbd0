"""One contract for Slack (bot and webhook, over real HTTP), the console and the fake."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bikeshare.adapters.alerts import ConsoleNotifier, SlackNotifier
from bikeshare.core.alerts import Alert
from bikeshare.errors import ConfigurationError
from tests.fakes.notifier import MemoryNotifier
from tests.fakes.records import MemoryRecords
from tests.fakes.slack_server import SlackInbox

AT = datetime(2012, 5, 14, 6)


def alert(key: str = "drift:1", **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "kind": "drift", "key": key, "incident": "run:1", "title": f"About {key}",
        "reason": "7-day bias +30 % & rising",
        "action": "A run was started.", "at": AT, "moved": (("bias", "+30 %"),), **changes,
    }
    return Alert(**fields)


@dataclass
class Carrier:
    notifier: Any
    titles: Any
    away: Any


@pytest.fixture(params=["bot", "webhook", "console", "memory"])
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Carrier]:
    records = MemoryRecords()
    if request.param == "memory":
        fake = MemoryNotifier()
        yield Carrier(fake, lambda: [sent.title for sent in fake.sent], lambda gone: setattr(fake, "away", gone))
    elif request.param == "console":
        path = tmp_path / "alerts.jsonl"

        def turn(gone: bool) -> None:
            if gone:
                path.mkdir()
            else:
                path.rmdir()

        def lines() -> list[str]:
            return [json.loads(line)["title"] for line in path.read_text().splitlines()] if path.is_file() else []

        yield Carrier(ConsoleNotifier(records, path), lines, turn)
    else:
        with SlackInbox() as slack:
            notifier = (
                SlackNotifier(records, bot_token="xoxb-1", channel="C1", api_url=slack.api_url)
                if request.param == "bot" else SlackNotifier(records, webhook_url=slack.webhook_url)
            )

            def fail(gone: bool) -> None:
                slack._failures.clear()
                if gone:
                    slack.fail(503, times=50)

            yield Carrier(notifier, lambda: [m.text.splitlines()[0] for m in slack.messages], fail)
            assert slack.refused == []


def test_an_alert_is_said_once_a_day(carrier: Carrier) -> None:
    assert carrier.notifier.send(alert()).sent
    repeated = carrier.notifier.send(alert(at=AT + timedelta(hours=23)))
    assert not repeated.sent
    assert "2012-05-14T06:00:00" in repeated.reason
    assert carrier.notifier.send(alert("drift:2")).sent
    assert carrier.notifier.send(alert(at=AT + timedelta(hours=24), title="Still")).sent

    assert carrier.titles() == ["About drift:1", "About drift:2", "Still"]


def test_a_relapse_after_a_recovery_is_told_at_once(carrier: Carrier) -> None:
    carrier.notifier.send(alert())
    carrier.notifier.send(alert("recovered:1", kind="recovered", at=AT + timedelta(hours=1)))

    assert carrier.notifier.send(alert(at=AT + timedelta(hours=2))).sent
    assert len(carrier.titles()) == 3


def test_a_recovery_of_another_incident_changes_nothing(carrier: Carrier) -> None:
    carrier.notifier.send(alert())
    carrier.notifier.send(alert("recovered:2", kind="recovered", incident="run:2"))

    assert not carrier.notifier.send(alert(at=AT + timedelta(hours=2))).sent


def test_an_alert_waits_while_the_carrier_is_away_and_is_not_lost(carrier: Carrier) -> None:
    carrier.away(True)
    kept = carrier.notifier.send(alert())
    twice = carrier.notifier.send(alert())
    assert not kept.sent
    assert "outbox" in kept.reason
    assert "waits in the outbox" in twice.reason
    assert carrier.notifier.deliver_pending() == 0
    assert carrier.titles() == []

    carrier.away(False)
    assert carrier.notifier.deliver_pending() == 1
    assert carrier.notifier.deliver_pending() == 0
    assert carrier.titles() == ["About drift:1"]
    assert not carrier.notifier.send(alert()).sent


def test_the_next_alert_carries_what_waited_and_people_read_in_order(carrier: Carrier) -> None:
    carrier.away(True)
    carrier.notifier.send(alert())
    carrier.away(False)

    assert carrier.notifier.send(alert("other", incident="run:2")).sent
    assert carrier.titles() == ["About drift:1", "About other"]
    assert carrier.notifier.deliver_pending() == 0


def test_alerts_of_an_incident_share_a_thread() -> None:
    with SlackInbox() as slack:
        notifier = SlackNotifier(MemoryRecords(), bot_token="xoxb-1", channel="C1", api_url=slack.api_url)
        opened = notifier.send(alert())
        notifier.send(alert("drift:2"))
        notifier.send(alert("other", incident="run:2"))

        assert [message.thread for message in slack.messages] == ["", opened.thread, ""]
        assert slack.messages[0].ts == opened.thread


def test_another_process_remembers_what_was_said() -> None:
    records = MemoryRecords()
    with SlackInbox() as slack:
        for _ in range(2):
            SlackNotifier(records, bot_token="xoxb-1", channel="C1", api_url=slack.api_url).send(alert())

        assert len(slack.messages) == 1


def test_a_short_failure_is_retried() -> None:
    with SlackInbox() as slack:
        slack.fail(503, times=1)
        sent = SlackNotifier(MemoryRecords(), bot_token="xoxb-1", channel="C1", api_url=slack.api_url).send(alert())

        assert sent.sent
        assert slack.requests == 2


def test_a_wrong_token_keeps_the_alert_and_names_no_secret() -> None:
    with SlackInbox() as slack:
        notifier = SlackNotifier(MemoryRecords(), bot_token="secret-token", channel="C1", api_url=slack.api_url)
        kept = notifier.send(alert())

        assert not kept.sent
        assert "invalid_auth" in kept.reason
        assert "secret-token" not in kept.reason


def slack_notifier(records: MemoryRecords, slack: SlackInbox, way: str) -> SlackNotifier:
    if way == "bot":
        return SlackNotifier(records, bot_token="xoxb-1", channel="C1", api_url=slack.api_url)
    return SlackNotifier(records, webhook_url=slack.webhook_url)


@pytest.mark.parametrize("way", ["bot", "webhook"])
def test_an_alert_that_slack_will_never_take_holds_back_no_other(way: str, caplog: pytest.LogCaptureFixture) -> None:
    with SlackInbox() as slack:
        notifier = slack_notifier(MemoryRecords(), slack, way)
        slack.fail(503, times=50)
        for key in ("drift:1", "drift:2"):
            notifier.send(alert(key))
        slack.recover()
        slack.unwanted = {"About drift:1", "About drift:3"}

        refused = notifier.send(alert("drift:3"))

        assert [message.text.splitlines()[0] for message in slack.messages] == ["About drift:2"]
        assert not refused.sent
        assert "Slack refused the message" in refused.reason
        assert notifier.send(alert("drift:4")).sent
        assert notifier.deliver_pending() == 0
    assert [record.args[0] for record in caplog.records if record.name == "bikeshare.alerts"] == ["drift:1", "drift:3"]


@pytest.mark.parametrize("way", ["bot", "webhook"])
def test_a_name_in_the_data_calls_nobody(way: str) -> None:
    with SlackInbox() as slack:
        slack_notifier(MemoryRecords(), slack, way).send(alert(reason="column '<!channel>' is unknown"))

        assert "<!channel>" not in slack.messages[0].text
        assert "&lt;!channel&gt;" in slack.messages[0].text


def test_a_thread_that_slack_does_not_know_is_opened_anew(tmp_path: Path) -> None:
    records = MemoryRecords()
    ConsoleNotifier(records, tmp_path / "alerts.jsonl").send(alert())
    with SlackInbox() as slack:
        notifier = slack_notifier(records, slack, "bot")
        opened = notifier.send(alert("drift:2"))
        notifier.send(alert("drift:3"))

        assert [message.thread for message in slack.messages] == ["", slack.messages[0].ts]
        assert opened.thread == slack.messages[0].ts


def test_slack_that_is_not_there_keeps_the_alert() -> None:
    with SlackInbox() as slack:
        webhook = slack.webhook_url
    kept = SlackNotifier(MemoryRecords(), webhook_url=webhook).send(alert())

    assert not kept.sent
    assert "does not answer" in kept.reason
    assert "secret" not in kept.reason


def test_slack_without_credentials_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="SLACK_WEBHOOK_URL"):
        SlackNotifier(MemoryRecords(), bot_token="xoxb-1")


def test_the_inbox_shows_what_people_would_read() -> None:
    import urllib.request

    with SlackInbox() as slack:
        SlackNotifier(MemoryRecords(), webhook_url=slack.webhook_url).send(alert(title="Broken <b>"))
        with urllib.request.urlopen(slack.url) as answer:
            page = answer.read().decode()

    assert "Broken &lt;b&gt;" in page
