"""The inbox of the demo: Block Kit as people see it, escaped, replies below what they answer."""

import re
from datetime import datetime

import pytest

from bikeshare.core.alerts import Alert
from bikeshare.core.messages import SYMBOLS, blocks, plain_text
from bikeshare.simulation.inbox_page import EMOJI, Message, inbox_page, markup


def message(ts: str, title: str, thread: str = "") -> Message:
    alert = Alert(
        "drift", title, "i", title, "7-day WAPE <40 %> & rising", "A run was started.", datetime(2012, 2, 4, 6),
        moved=(("wape", "38.4%"),), before_after=(("WAPE, 7 days", "38.4%", "22.5%"),),
        links=(("dashboard", "http://127.0.0.1:8501"), ("report", "file:///r.html")), command="bikeshare registry list",
    )
    return Message(ts, "C", thread, plain_text(alert), blocks(alert, "demo"))


def test_everything_that_slack_would_show_is_there() -> None:
    page = inbox_page([message("1", "The forecast has decayed")])

    for part in (
        "<h2>📉 The forecast has decayed</h2>", "<b>wape</b>: 38.4%", "7-day WAPE &lt;40 %&gt; &amp; rising",
        "38.4% → 22.5%", '<a href="http://127.0.0.1:8501">dashboard</a>', "<code>file:///r.html</code>",
        "<pre>bikeshare registry list</pre>", "demo · 2012-02-04 06:00",
    ):
        assert part in page, part


def test_a_reply_stands_below_what_it_answers() -> None:
    page = inbox_page([message("1", "first"), message("2", "second"), message("3", "answer", thread="1")])

    assert re.findall(r"<h2>📉 (\w+)</h2>", page) == ["first", "answer", "second"]
    assert page.count('class="said reply"') == 1
    assert "2 threads, 1 reply below" in page


def test_a_message_without_blocks_is_its_text_and_an_empty_inbox_says_so() -> None:
    plain = inbox_page([Message("1", "webhook", "", "a <b>bold</b> claim\nand more")])

    assert "a &lt;b&gt;bold&lt;/b&gt; claim<br>and more" in plain
    assert "Nobody was told anything yet" in inbox_page([])


@pytest.mark.parametrize(("text", "shown"), [
    ("*bold* and `x*y*`", "<b>bold</b> and <code>x*y*</code>"),
    ("```a\nb```", "<pre>a\nb</pre>"),
    ("&lt;http://x|y&gt;", "&lt;http://x|y&gt;"),
    ('<http://x/?a="&b|go>', '<a href="http://x/?a=&quot;&amp;b">go</a>'),
    ("<script>", "&lt;script&gt;"),
    ("<javascript:alert(1)|x>", "&lt;javascript:alert(1)|x&gt;"),
    ("at 06:00:00, :nobody:", "at 06:00:00, :nobody:"),
])
def test_markup(text: str, shown: str) -> None:
    assert markup(text) == shown


def test_every_sign_of_an_alert_can_be_drawn() -> None:
    assert {f":{name}:" for name in EMOJI} == set(SYMBOLS.values())
