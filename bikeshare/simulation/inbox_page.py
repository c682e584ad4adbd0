"""What people would read in Slack, as a page: Block Kit drawn in the project's look, replies below what opened them."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bikeshare.core.timeline import document

EMOJI = {
    "no_entry": "⛔", "hand": "✋", "warning": "⚠️", "chart_with_downwards_trend": "📉", "hourglass": "⌛",
    "mailbox_with_no_mail": "📭", "white_check_mark": "✅", "no_entry_sign": "🚫", "leftwards_arrow_with_hook": "↩️",
    "green_heart": "💚", "rotating_light": "🚨", "x": "❌",
}
"""Slack's names of what alerts begin with; a test compares them with `bikeshare.core.messages.SYMBOLS`."""

MARKUP = re.compile(r"```(?P<fence>.+?)```|`(?P<code>[^`]+)`|<(?P<url>https?://[^|>]+)\|(?P<label>[^>]*)>"
                    r"|\*(?P<bold>[^*\n]+)\*|:(?P<emoji>[a-z_]+):|(?P<line>\n)", re.DOTALL)

STYLE = """
main{max-width:820px}
.thread{padding:4px 20px}
.said{padding:14px 0}
.said h2{font-size:17px;line-height:1.35;margin:0 0 6px}
.said p{margin:0 0 8px}
.said .pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:0 20px}
.said code{background:var(--band);border-radius:4px;padding:1px 5px;font-size:.92em;overflow-wrap:anywhere}
.said pre{background:var(--band);border-radius:6px;padding:8px 10px;margin:4px 0;white-space:pre-wrap}
.said a{color:var(--retrain)}
.said footer{margin:0}
.reply{margin-left:4px;padding-left:18px;border-left:3px solid var(--line)}
"""


@dataclass(frozen=True)
class Message:
    """One received message; `thread` is the `ts` of the one it answers, empty for one that opens a thread."""

    ts: str
    channel: str
    thread: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)


def inbox_page(messages: Sequence[Message]) -> str:
    """The inbox as one HTML document, newest thread last."""
    opened = [message for message in messages if not message.thread]
    threads = "".join(
        f'<div class="panel thread">{_said(first)}'
        f'{"".join(_said(reply, "reply") for reply in messages if reply.thread == first.ts)}</div>'
        for first in opened
    )
    replies = len(messages) - len(opened)
    subtitle = (
        f"{_count(len(opened), 'thread')}, {_count(replies, 'reply', 'replies')} below what they answer. "
        "Nothing left this machine."
    )
    return document("Mock Slack inbox", subtitle if messages else "Nobody was told anything yet.",
                    f"<style>{STYLE}</style>{threads}")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _said(message: Message, kind: str = "") -> str:
    body = "".join(_block(block) for block in message.blocks) or f"<p>{markup(html.escape(message.text))}</p>"
    return f'<article class="said {kind}">{body}</article>'


def _block(block: Mapping[str, Any]) -> str:
    if block["type"] == "header":
        return f'<h2>{markup(html.escape(block["text"]["text"], quote=False))}</h2>'
    if block["type"] == "context":
        return f'<footer>{" · ".join(markup(item["text"]) for item in block["elements"])}</footer>'
    if block["type"] == "divider":
        return "<hr>"
    text = f'<p>{markup(block["text"]["text"])}</p>' if "text" in block else ""
    pairs = "".join(f'<p>{markup(item["text"])}</p>' for item in block.get("fields", ()))
    return text + (f'<div class="pairs">{pairs}</div>' if pairs else "")


def markup(text: str) -> str:
    """Slack's mrkdwn as HTML; what is not markup is escaped."""
    parts, end = [], 0
    for found in MARKUP.finditer(text):
        parts += [_plain(text[end : found.start()]), _marked(found)]
        end = found.end()
    return "".join([*parts, _plain(text[end:])])


def _marked(found: re.Match[str]) -> str:
    kind, inside = str(found.lastgroup), str(found[str(found.lastgroup)])
    if kind == "label":
        return f'<a href="{_plain(found["url"])}">{_plain(inside)}</a>'
    if kind == "emoji":
        return EMOJI.get(inside, f":{inside}:")
    if kind == "line":
        return "<br>"
    tag = {"fence": "pre", "code": "code", "bold": "b"}[kind]
    return f"<{tag}>{_plain(inside)}</{tag}>"


def _plain(text: str) -> str:
    """Slack escapes `&`, `<` and `>` only; an attribute needs quotes escaped, too."""
    return html.escape(html.unescape(text))
