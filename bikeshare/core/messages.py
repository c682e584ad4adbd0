"""Alerts as Slack's Block Kit and as plain text. Pure; `problems` says what Slack would refuse."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from bikeshare.core.alerts import Alert

MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_FIELDS = 10
MAX_ELEMENTS = 10
MAX_TEXT = 40_000

SYMBOLS = {
    "data_rejected": ":no_entry:", "held": ":hand:", "step": ":warning:", "drift": ":chart_with_downwards_trend:",
    "age": ":hourglass:", "labels_late": ":mailbox_with_no_mail:", "retrained": ":white_check_mark:",
    "refused": ":no_entry_sign:", "rolled_back": ":leftwards_arrow_with_hook:", "recovered": ":green_heart:",
    "escalated": ":rotating_light:", "pipeline_failed": ":x:",
}

SURE = "how sure"
"""Tag of an alert that says how certain the verdict is."""


def blocks(alert: Alert, environment: str = "") -> list[dict[str, Any]]:
    """What moved, how sure, what the system did, error before and after, where to click, what to run."""
    found: list[dict[str, Any]] = [
        {"type": "header", "text": {
            "type": "plain_text", "text": _cut(f"{SYMBOLS[alert.kind]} {alert.title}", MAX_HEADER), "emoji": True,
        }},
    ]
    if alert.moved:
        lines = [f"• *{escape(name)}*: {escape(sentence)}" for name, sentence in alert.moved[:3]]
        found.append(_section("*What moved*\n" + "\n".join(lines)))
    if alert.reason != alert.title:
        found.append(_section(f"*Why*\n{escape(alert.reason)}"))
    if SURE in alert.tags:
        found.append(_section(f"*How sure*\n{escape(alert.tags[SURE])}"))
    found.append(_section(f"*What the system did*\n{escape(alert.action)}"))
    if alert.before_after:
        found.append({"type": "section", "fields": [
            {"type": "mrkdwn", "text": _cut(f"*{escape(name)}*\n{escape(before)} → {escape(after)}", MAX_FIELD)}
            for name, before, after in alert.before_after[:MAX_FIELDS]
        ]})
    if alert.links:
        found.append(_section(" · ".join(_link(label, target) for label, target in alert.links)))
    if alert.command:
        found.append(_section(f"*You may run*\n```{escape(alert.command)}```"))
    context = [f"{alert.at:%Y-%m-%d %H:%M}", f"incident {alert.incident}"]
    if environment:
        context.insert(0, environment)
    context += [f"{name}: {value}" for name, value in alert.tags.items() if name != SURE]
    found.append({"type": "context", "elements": [
        {"type": "mrkdwn", "text": _cut(escape(text), MAX_FIELD)} for text in context[:MAX_ELEMENTS]
    ]})
    return found


def plain_text(alert: Alert) -> str:
    """The notification line and the console form."""
    why = [f"  why: {alert.reason}"] if alert.reason != alert.title else []
    lines = [alert.title, *why, f"  did: {alert.action}"]
    lines += [f"  moved: {name}: {sentence}" for name, sentence in alert.moved]
    lines += [f"  {name}: {before} -> {after}" for name, before, after in alert.before_after]
    lines += [f"  {label}: {target}" for label, target in alert.links]
    if alert.command:
        lines.append(f"  run: {alert.command}")
    return _cut("\n".join(lines), MAX_TEXT)


def to_document(alert: Alert) -> dict[str, Any]:
    """A JSON document; `from_document` restores the alert."""
    return {**asdict(alert), "at": alert.at.isoformat()}


def from_document(document: Mapping[str, Any]) -> Alert:
    """The inverse of `to_document`, also after a round trip through JSON."""
    def tuples(name: str) -> tuple[Any, ...]:
        return tuple(tuple(item) for item in document[name])

    return Alert(**{
        **document, "at": datetime.fromisoformat(document["at"]), "moved": tuples("moved"),
        "before_after": tuples("before_after"), "links": tuples("links"), "tags": dict(document["tags"]),
    })


def problems(payload: Mapping[str, Any]) -> list[str]:
    """What Slack would refuse in a message; empty when it is well formed."""
    found = []
    text, kit = payload.get("text"), payload.get("blocks")
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
        found.append(f"text must be a string of 1 to {MAX_TEXT} characters")
    if kit is None:
        return found
    if not isinstance(kit, Sequence) or isinstance(kit, str) or not 0 < len(kit) <= MAX_BLOCKS:
        return [*found, f"blocks must be a list of 1 to {MAX_BLOCKS}"]
    for place, block in enumerate(kit):
        found += [f"blocks[{place}]: {problem}" for problem in _block_problems(block)]
    return found


def _block_problems(block: Any) -> list[str]:
    if not isinstance(block, Mapping):
        return ["not an object"]
    kind = block.get("type")
    if kind == "header":
        return _text_problems(block.get("text"), MAX_HEADER, {"plain_text"})
    if kind == "section":
        if "text" not in block and "fields" not in block:
            return ["a section needs text or fields"]
        found = _text_problems(block["text"], MAX_SECTION, {"mrkdwn", "plain_text"}) if "text" in block else []
        return found + _list_problems(block, "fields", MAX_FIELDS)
    if kind == "context":
        return _list_problems(block, "elements", MAX_ELEMENTS) if block.get("elements") else ["no elements"]
    return [] if kind == "divider" else [f"unknown type {kind!r}"]


def _list_problems(block: Mapping[str, Any], name: str, most: int) -> list[str]:
    items = block.get(name, [])
    if len(items) > most:
        return [f"{len(items)} {name}, at most {most}"]
    return [problem for item in items for problem in _text_problems(item, MAX_FIELD, {"mrkdwn", "plain_text"})]


def _text_problems(text: Any, most: int, kinds: set[str]) -> list[str]:
    if not isinstance(text, Mapping) or text.get("type") not in kinds:
        return [f"text must be one of {sorted(kinds)}"]
    content = text.get("text")
    if not isinstance(content, str) or not 0 < len(content) <= most:
        return [f"text must have 1 to {most} characters"]
    return []


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, MAX_SECTION)}}


def _link(label: str, target: str) -> str:
    if target.startswith(("http://", "https://")):
        return f"<{target}|{escape(label)}>"
    return f"{escape(label)}: `{escape(target)}`"


def escape(text: str) -> str:
    """Without Slack's markup: `<!channel>` in a column's name must call nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
