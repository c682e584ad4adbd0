r"""One logged prediction as one line of text: what PostgreSQL's COPY reads, made once and never decoded on its way.

The fields of `bikeshare.ports.PredictionRow` in their order, separated by tabs, ended by a newline, UTF-8. Text
escapes backslash, tab, newline and carriage return with a backslash; nothing is `\N`; times are ISO 8601; a float
is the shortest text that reads back as the same float. Raw tabs and newlines only ever separate, so that a line cut
short is known by its number of tabs.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

TABS = 19
"""Separators of a whole line."""

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_is_special = re.compile(r"[\\\t\n\r]").search
_escaped = re.compile(r"\\[\\tnr]")
_hour = lru_cache(maxsize=4_096)(datetime.isoformat)


def line_of(
    request_id: str, position: int, predicted_at: datetime, model_version: str, timestamp: datetime, temp_c: float,
    feels_like_c: float, humidity_pct: float, windspeed_kmh: float, weather: str, is_holiday: bool,
    features_hash: str, demand: float, lower_80: float, upper_80: float, lower_95: float, upper_95: float, source: str,
    degraded: bool, level_age_hours: float | None,
) -> str:
    """The line of one prediction.

    It runs for every answer and holds the interpreter meanwhile: pydantic's writer makes the same shortest text of
    a float in a seventh of `repr`'s time.
    """
    if _is_special(f"{request_id}{model_version}{weather}{features_hash}{source}"):
        request_id, model_version, weather, features_hash, source = map(
            _escape, (request_id, model_version, weather, features_hash, source)
        )
    inputs, outputs = to_json(
        ((temp_c, feels_like_c, humidity_pct, windspeed_kmh), (demand, lower_80, upper_80, lower_95, upper_95)),
        fallback=float,
    ).decode()[2:-2].replace(",", "\t").split("]\t[")
    age = "\\N" if level_age_hours is None else to_json(level_age_hours, fallback=float).decode()
    return (
        f"{request_id}\t{position}\t{predicted_at.isoformat()}\t{model_version}\t{_hour(timestamp)}\t{inputs}\t"
        f"{weather}\t{'t' if is_holiday else 'f'}\t{features_hash}\t{outputs}\t{source}\t{'t' if degraded else 'f'}"
        f"\t{age}\n"
    )


def encode(text: str) -> bytes:
    """Lines as bytes; what UTF-8 cannot say becomes a question mark."""
    return text.encode("utf-8", "replace")


def fields_of(line: bytes) -> tuple[Any, ...]:
    """The values of a line, with or without its newline; ValueError when it is not a whole line."""
    texts = line.removesuffix(b"\n").decode().split("\t")
    if len(texts) != TABS + 1:
        raise ValueError(f"a prediction has {TABS + 1} fields, this line {len(texts)}: it was cut")
    return tuple([read(text) for read, text in zip(_READERS, texts, strict=True)])


def is_whole(line: bytes) -> bool:
    """Whether a line was written to its end."""
    return line.endswith(b"\n") and line.count(b"\t") == TABS


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _plain(text: str) -> str:
    return _escaped.sub(lambda found: _UNESCAPES[found[0]], text) if "\\" in text else text


def _flag(text: str) -> bool:
    if text not in ("t", "f"):
        raise ValueError(f"{text!r} is neither t nor f")
    return text == "t"


def _age(text: str) -> float | None:
    return None if text == "\\N" else float(text)


_time = datetime.fromisoformat
_READERS: tuple[Callable[[str], Any], ...] = (
    _plain, int, _time, _plain, _time, float, float, float, float, _plain, _flag, _plain,
    float, float, float, float, float, _plain, _flag, _age,
)
