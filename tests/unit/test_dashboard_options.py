"""The dashboard's process: nothing phones home, colours agree with the style sheet, styles exist."""

import re
from pathlib import Path

import pytest

from bikeshare.core.advice import ADVICE, NOT_STARTED
from bikeshare.core.timeline import asset
from services.dashboard.__main__ import DARK, LIGHT, options

DASHBOARD = Path(__file__).parents[2] / "services" / "dashboard"

NAMES = {
    "primaryColor": "ours", "backgroundColor": "bg", "secondaryBackgroundColor": None, "textColor": "ink",
    "borderColor": "line",
}


def colours(dark: bool) -> dict[str, str]:
    """Custom properties of the style sheet."""
    light, _, rest = asset("look.css").partition("@media (prefers-color-scheme:dark)")
    block = rest.split("\n}")[0] if dark else light
    return dict(re.findall(r"--([a-z]+):(#[0-9a-f]+)", block))


@pytest.mark.parametrize(("chosen", "dark"), [(LIGHT, False), (DARK, True)])
def test_what_streamlit_draws_has_the_colours_of_the_style_sheet(chosen, dark) -> None:
    sheet = colours(dark)

    assert set(chosen) == set(NAMES)
    for option, name in NAMES.items():
        if name is not None:
            assert chosen[option] == sheet[name], option


def test_both_modes_define_the_same_colours() -> None:
    assert set(colours(dark=True)) == set(colours(dark=False))


def luminance(colour: str) -> float:
    """WCAG 2: relative luminance of #rgb or #rrggbb."""
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def tinted(colour: str, ground: str, share: float) -> str:
    """`color-mix(in srgb, colour share, ground)`, as the pill of the style sheet."""
    full = ["".join(digit * 2 for digit in text[1:]) if len(text) == 4 else text[1:] for text in (colour, ground)]
    pairs = [(int(full[0][place : place + 2], 16), int(full[1][place : place + 2], 16)) for place in (0, 2, 4)]
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in pairs)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#fff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


GROUNDS = ("bg", "card", "line", "band", "shadow")


@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_of_text_can_be_read(dark) -> None:
    """WCAG AA, 4.5 : 1, on the page, on a card, and as a pill on its own tint."""
    sheet = colours(dark)
    share = int(re.findall(r"color-mix\(in srgb,var\(--kind,var\(--none\)\) (\d+)%", asset("look.css"))[0]) / 100
    weak = {
        (name, ground): round(ratio, 2) for name, colour in sheet.items() if name not in GROUNDS
        for ground, behind in (
            ("page", sheet["bg"]), ("card", sheet["card"]), ("pill", tinted(colour, sheet["card"], share)),
        )
        if (ratio := contrast(colour, behind)) < 4.5
    }

    assert len(sheet) > len(GROUNDS)
    assert weak == {}


def test_every_option_is_one_of_streamlits() -> None:
    from streamlit import config

    known = {name.replace(".", "_") for name in config._config_options_template}

    assert set(options("127.0.0.1", 8501)) <= known


def test_nothing_phones_home_and_nothing_is_developed_in_production() -> None:
    chosen = options("0.0.0.0", 9)

    assert chosen["browser_gatherUsageStats"] is False
    assert chosen["client_toolbarMode"] == "minimal"
    assert chosen["client_showErrorDetails"] == "none"
    assert (chosen["server_address"], chosen["server_port"]) == ("0.0.0.0", 9)


def test_every_kind_has_a_colour() -> None:
    sheet = asset("look.css")
    kinds = {advice.kind for advice in [*ADVICE.values(), NOT_STARTED]}
    kinds |= {"none", "alert", "hold", "retrain", "rollout", "message", "refused", "warn", "ours", "frozen", "naive"}

    assert [kind for kind in kinds if not re.search(rf"\.{kind}[,\s]", sheet)] == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in [*DASHBOARD.rglob("*.py"), *DASHBOARD.glob("*.css"), *DASHBOARD.glob("*.svg")]:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", text), path.name
