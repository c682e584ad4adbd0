"""Alerts to people: Slack, or the console with the same memory."""

from bikeshare.adapters.alerts.console import ConsoleNotifier
from bikeshare.adapters.alerts.slack import SlackNotifier

__all__ = ["ConsoleNotifier", "SlackNotifier"]
