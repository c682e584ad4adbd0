"""The local Slack of the demo is the Slack of the tests."""

from bikeshare.simulation.inbox_page import Message
from bikeshare.simulation.slack_inbox import SlackInbox

__all__ = ["Message", "SlackInbox"]
