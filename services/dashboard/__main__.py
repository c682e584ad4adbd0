"""`python -m services.dashboard`: Streamlit with the project's look and nothing that phones home."""

import argparse
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from bikeshare.errors import BikeshareError
from bikeshare.settings import Settings, load_settings

LIGHT = {
    "primaryColor": "#0b6e4f", "backgroundColor": "#fbfbf9", "secondaryBackgroundColor": "#f1f3f0",
    "textColor": "#1c2430", "borderColor": "#dfe2e6",
}
DARK = {
    "primaryColor": "#3fbf8f", "backgroundColor": "#12161c", "secondaryBackgroundColor": "#1a2029",
    "textColor": "#e7eaee", "borderColor": "#2a323d",
}
"""The colours of `bikeshare/core/look.css` for what Streamlit draws itself; a test compares them."""


def options(host: str, port: int) -> dict[str, Any]:
    """Streamlit's options, by name with dots as underscores."""
    return {
        "server_address": host,
        "server_port": port,
        "server_headless": True,
        "server_showEmailPrompt": False,
        "server_fileWatcherType": "none",
        "server_runOnSave": False,
        "runner_magicEnabled": False,
        # A weather plan has 48 rows; nothing else is uploaded.
        "server_maxUploadSize": 1,
        "browser_gatherUsageStats": False,
        "client_toolbarMode": "minimal",
        # Causes are for the log; pages say what to do.
        "client_showErrorDetails": "none",
        "client_showErrorLinks": False,
        "theme_font": "system-ui, sans-serif",
        "theme_baseRadius": "8px",
        "theme_showWidgetBorder": True,
        **{f"theme_light_{name}": value for name, value in LIGHT.items()},
        **{f"theme_dark_{name}": value for name, value in DARK.items()},
    }


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    from streamlit.web import bootstrap

    script = str(Path(__file__).with_name("app.py"))
    chosen = options(host, port)
    threading.Thread(target=_warm, args=(settings,), daemon=True).start()
    bootstrap.load_config_options(flag_options=chosen)
    bootstrap.run(script, False, [], chosen)


def main() -> None:
    """The door of the container."""
    settings = load_settings()
    parser = argparse.ArgumentParser(prog="python -m services.dashboard", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=settings.dashboard_port)
    given = parser.parse_args()
    serve(settings, given.host, given.port)


def _warm(settings: Settings) -> None:
    """Import the registry's client, which takes seconds, before the first visitor needs it."""
    from bikeshare.bootstrap import wire_registry

    with suppress(BikeshareError):
        wire_registry(settings).version_of("champion")


if __name__ == "__main__":
    main()
