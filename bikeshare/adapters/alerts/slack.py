"""Slack through slack_sdk: an incoming webhook, or a bot token that can thread."""

from typing import Any

from bikeshare.adapters.alerts.book import AlertBook, Refused, Undelivered
from bikeshare.core.alerts import Alert
from bikeshare.core.messages import blocks, escape, plain_text
from bikeshare.errors import ConfigurationError
from bikeshare.ports import Receipt, Records

_TIMEOUT_SECONDS = 5
_RETRIES = 2

_NO_SUCH_THREAD = frozenset({"thread_not_found", "invalid_thread_ts"})
"""Another notifier, or another channel, opened the thread: `chat.postMessage`, errors."""

_BAD_MESSAGE = frozenset({
    "invalid_arguments", "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text",
})
"""Errors of `chat.postMessage` that concern this one message; all others concern the bot, its channel or Slack."""

_BAD_PAYLOAD = frozenset({
    "invalid_blocks", "invalid_payload", "missing_text_or_fallback_or_attachments", "no_text", "too_many_attachments",
})
"""What a webhook answers with 400 to this one message; other words concern the webhook."""


class SlackNotifier:
    """`bikeshare.ports.Notifier` on Slack.

    What Slack does not take is kept in the outbox: an alert is late then, never lost, and whoever sends it goes on.

    Args:
        records: Memory of what was said.
        webhook_url: Incoming webhook; used when there is no bot token. Webhooks cannot thread.
        bot_token: Token with `chat:write`.
        channel: Channel id for the bot.
        api_url: Web API base, another one in tests.
        environment: Shown in every message.
    """

    def __init__(
        self, records: Records, *, webhook_url: str = "", bot_token: str = "", channel: str = "",
        api_url: str = "https://slack.com/api/", environment: str = "",
    ) -> None:
        if not webhook_url and not (bot_token and channel):
            raise ConfigurationError("Slack needs SLACK_WEBHOOK_URL, or SLACK_BOT_TOKEN and SLACK_CHANNEL")
        self._webhook_url = webhook_url
        self._bot_token = bot_token
        self._channel = channel
        self._api_url = api_url if api_url.endswith("/") else api_url + "/"
        self._environment = environment
        self._book = AlertBook(records, self._carry)

    def send(self, alert: Alert) -> Receipt:
        """Deliver once per key and 24 h, in the thread of the incident; see `AlertBook`."""
        return self._book.send(alert)

    def deliver_pending(self) -> int:
        """Send what waits in the outbox."""
        return self._book.deliver_pending()

    def _carry(self, alert: Alert, thread: str | None) -> str | None:
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            if self._bot_token:
                return self._post(alert, thread)
            self._call_webhook(alert)
            return None
        except SlackApiError as error:
            code, name = getattr(error.response, "status_code", 200), error.response.get("error", "unknown")
            if name in _BAD_MESSAGE:
                raise Refused(f"Slack refused the message ({name})") from error
            raise Undelivered(
                f"Slack does not answer (HTTP {code})" if code >= 500
                else f"Slack refused the message ({name})"
            ) from error
        except (SlackClientError, OSError, ValueError) as error:
            raise Undelivered(f"Slack does not answer ({type(error).__name__})") from error

    def _post(self, alert: Alert, thread: str | None) -> str:
        from slack_sdk import WebClient
        from slack_sdk.errors import SlackApiError

        client = WebClient(
            token=self._bot_token, base_url=self._api_url, timeout=_TIMEOUT_SECONDS, retry_handlers=_retries()
        )
        text, content = escape(plain_text(alert)), blocks(alert, self._environment)
        try:
            answer = client.chat_postMessage(channel=self._channel, text=text, blocks=content, thread_ts=thread)
        except SlackApiError as error:
            if thread is None or error.response.get("error") not in _NO_SUCH_THREAD:
                raise
            thread = None
            answer = client.chat_postMessage(channel=self._channel, text=text, blocks=content)
        return thread or str(answer["ts"])

    def _call_webhook(self, alert: Alert) -> None:
        from slack_sdk import WebhookClient

        client = WebhookClient(self._webhook_url, timeout=_TIMEOUT_SECONDS, retry_handlers=_retries())
        answer = client.send(text=escape(plain_text(alert)), blocks=blocks(alert, self._environment))
        if answer.status_code != 200:
            kind = Refused if answer.status_code == 400 and answer.body.strip() in _BAD_PAYLOAD else Undelivered
            raise kind(f"Slack refused the message (HTTP {answer.status_code} {answer.body[:80]})")


def _retries() -> list[Any]:
    from slack_sdk.http_retry.builtin_handlers import (
        ConnectionErrorRetryHandler,
        RateLimitErrorRetryHandler,
        ServerErrorRetryHandler,
    )

    return [
        ConnectionErrorRetryHandler(max_retry_count=_RETRIES), RateLimitErrorRetryHandler(max_retry_count=_RETRIES),
        ServerErrorRetryHandler(max_retry_count=_RETRIES),
    ]
