"""A notifier in memory, with the same rules as Slack."""

from datetime import datetime, timedelta

from bikeshare.core.alerts import Alert
from bikeshare.ports import Receipt


class MemoryNotifier:
    """`bikeshare.ports.Notifier`; set `away` to let alerts wait in the outbox."""

    def __init__(self) -> None:
        self.sent: list[Alert] = []
        self.threads: dict[str, str] = {}
        self.outbox: list[Alert] = []
        self.away = False
        self._said: dict[str, tuple[datetime, str]] = {}

    def send(self, alert: Alert) -> Receipt:
        thread = self.threads.get(alert.incident)
        earlier = self._said.get(alert.key)
        if earlier is not None and abs(alert.at - earlier[0]) < timedelta(hours=24):
            return Receipt(False, f"the same alert was sent at {earlier[0].isoformat()}", thread)
        if any(waiting.key == alert.key for waiting in self.outbox):
            return Receipt(False, "the same alert waits in the outbox", thread)
        if self.away:
            self.outbox.append(alert)
            return Receipt(False, "away; kept in the outbox", thread)
        self.deliver_pending()
        return Receipt(True, "sent", self._carry(alert))

    def deliver_pending(self) -> int:
        if self.away:
            return 0
        waiting, self.outbox = self.outbox, []
        for alert in waiting:
            self._carry(alert)
        return len(waiting)

    def kinds(self) -> list[str]:
        """Kinds of all sent alerts, oldest first."""
        return [alert.kind for alert in self.sent]

    def _carry(self, alert: Alert) -> str:
        if alert.kind == "recovered":
            self._said = {key: said for key, said in self._said.items() if said[1] != alert.incident}
        self._said[alert.key] = (alert.at, alert.incident)
        self.sent.append(alert)
        return self.threads.setdefault(alert.incident, f"thread-{len(self.threads) + 1}")
