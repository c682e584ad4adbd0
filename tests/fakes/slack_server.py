"""The local Slack of the demo is the Slack of the tests."""

from bikeshare.simulation.slack_inbox import Message, SlackInbox

__all__ = ["Message", "SlackInbox"]
