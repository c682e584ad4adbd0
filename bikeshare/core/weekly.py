"""The week in one page: how good the answers were, what the loop did, what changed. Pure; self-contained HTML."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import pandas as pd

from bikeshare.core.charts import figure_html, legend
from bikeshare.core.diary import Diary
from bikeshare.core.evaluation import Scores, coverage, score
from bikeshare.core.timeline import Card, card_html, condense, document, facts_html, kind_label, loop_chart
from bikeshare.core.track_record import hours_figure

PATIENCE = timedelta(days=4)
"""Truth of a Sunday lands on Tuesday; when it has not by Friday, the week is told without it."""

SHOWN_DAYS = 28
"""Days on the chart: the week and the three before it."""


@dataclass(frozen=True)
class Week:
    """Everything the page tells.

    Attributes:
        monday: First day.
        diary: Hours of the last four weeks, this one included.
        chapters: Name of each of their days.
        cards: What happened in the week, oldest first.
        champion: Version at its end.
    """

    monday: date
    diary: Diary
    chapters: dict[date, str]
    cards: Sequence[Card]
    champion: str | None


def week_name(monday: date) -> str:
    """ISO year and week, e.g. 2012-W05."""
    year, number, _ = monday.isocalendar()
    return f"{year}-W{number:02d}"


def due_week(judged: date | None, now: datetime) -> date:
    """Monday of the newest week that can be told: its Sunday is judged, or nobody waits for it any longer.

    Args:
        judged: Newest day whose answers met their truth.
        now: Naive local time.
    """
    monday = now.date() - timedelta(days=now.weekday())
    last = monday - timedelta(days=7)
    told = judged is not None and judged >= monday - timedelta(days=1)
    late = now >= datetime.combine(monday, time()) + PATIENCE
    return last if told or late else last - timedelta(days=7)


def headline(week: Week) -> str:
    """The week in a sentence or two."""
    now, before = scores_of(week, 0), scores_of(week, 1)
    counts = Counter(card.kind for card in week.cards)
    happened = [
        f"{counts[kind]} {kind_label(kind)}"
        for kind in ("hold", "alert", "retrain", "rollout", "refused") if counts[kind]
    ]
    first = "A quiet week." if not happened else f"What happened: {', '.join(happened)}."
    if now.rows == 0:
        return f"{first} No answer has met its truth."
    trend = ""
    if before.rows:
        ratio = now.wape / before.wape if before.wape else 1.0
        word = "better than" if ratio < 0.98 else "worse than" if ratio > 1.02 else "like"
        trend = f", {word} the week before ({before.wape:.1%})"
    return f"{first} WAPE {now.wape:.1%}{trend}."


def scores_of(week: Week, weeks_back: int) -> Scores:
    """Scores of what was served in the week, or in one before it."""
    rows = _hours(week, weeks_back)
    return score(rows["demand"], rows["served"])


def weekly_page(week: Week) -> str:
    """The page."""
    rows = _hours(week, 0)
    now = score(rows["demand"], rows["served"])
    naive = score(rows["demand"], rows["naive"])
    looks = sum(card.kind in ("none", "alert", "hold", "retrain") for card in week.cards)
    facts = [("looks of the monitor", str(looks)), ("champion", f"v{week.champion}" if week.champion else "none")]
    if now.rows:
        inside = coverage(rows["demand"], rows["lower_80"], rows["upper_80"])
        facts = [
            ("WAPE served", f"{now.wape:.1%}"), ("MAE, bikes/h", f"{now.mae:.1f}"), ("bias", f"{now.bias:+.1%}"),
            ("WAPE naive rule", f"{naive.wape:.1%}"), ("inside the 80% interval", f"{inside:.0%}"),
            ("hours with truth", f"{now.rows} of 168"), *facts,
        ]
    hourly = hours_figure(rows)
    listed = condense(list(reversed(week.cards)))
    cards = "".join(card_html(card) for card in listed) or '<p class="empty">The monitor did not look.</p>'
    sunday = week.monday + timedelta(days=6)
    return document(
        f"bikeshare: week {week_name(week.monday)}",
        f"{week.monday:%d %b} to {sunday:%d %b %Y}. {headline(week)}",
        facts_html(facts)
        + f'<div class="panel"><div class="heading">Predicted against actual, bikes per hour</div>'
        f'{figure_html(hourly, "No answer has met its truth.")}<div class="caption">{legend(hourly)}</div></div>'
        f'<div class="panel"><div class="heading">Four weeks</div>'
        f"{loop_chart(week.diary.days(week.chapters), week.cards)}</div>"
        f'<section class="cards">{cards}</section>'
        "<footer><p>Written by the monitor once the truth of the week was in.</p></footer>",
    )


def _hours(week: Week, weeks_back: int) -> pd.DataFrame:
    start = datetime.combine(week.monday - timedelta(days=7 * weeks_back), time())
    hours = week.diary.hours
    return hours[(hours["timestamp"] >= start) & (hours["timestamp"] < start + timedelta(days=7))]
