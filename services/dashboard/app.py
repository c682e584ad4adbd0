"""The dashboard's script: Streamlit runs it from top to bottom for every interaction of every visitor."""

import streamlit as st

from services.dashboard import frame
from services.dashboard.views import drift, forecast, health, loop, models, quality
from services.dashboard.world import world

# Title, address and function of every page; the first one is home.
PAGES = (
    ("Loop", "", loop.show),
    ("Forecast", "forecast", forecast.show),
    ("Models", "models", models.show),
    ("Drift", "drift", drift.show),
    ("Live quality", "quality", quality.show),
    ("Health", "health", health.show),
)

frame.begin()
chosen = st.navigation(
    [st.Page(show, title=title, url_path=path, default=not path) for title, path, show in PAGES], position="top"
)
frame.header(world())
with frame.guard("This page", "Reload once the cause is mended; the other pages may still work."):
    chosen.run()
