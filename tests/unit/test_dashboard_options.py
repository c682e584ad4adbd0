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
