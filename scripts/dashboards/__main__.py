"""Write every dashboard; a test fails when a written one is stale. Helm embeds the files as they are."""

import json
import sys
from pathlib import Path

from scripts.dashboards.grafana import render
from scripts.dashboards.loop import LOOP
from scripts.dashboards.model import MODEL
from scripts.dashboards.service import SERVICE

FOLDER = Path(__file__).resolve().parents[2] / "charts" / "bikeshare" / "dashboards"


def documents() -> dict[str, str]:
    """File name -> JSON text."""
    return {
        f"{dashboard.uid.removeprefix('bikeshare-')}.json": json.dumps(render(dashboard), indent=2) + "\n"
        for dashboard in (SERVICE, MODEL, LOOP)
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {FOLDER / name}\n")
