"""CLI doors, one file per topic; each holds a Typer `app` and imports its work lazily."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from bikeshare.errors import ConfigurationError


def room(name: str) -> ModuleType:
    """Import a module of a room that is never installed (`services.…`, `pipelines.…`).

    The rooms lie beside the library in a checkout and in every image; the console script does not have
    them on its path.
    """
    root = Path(__file__).resolve().parents[2]
    for candidate in (Path.cwd(), root):
        if (candidate / name.split(".")[0]).is_dir():
            if str(candidate) not in sys.path:
                sys.path.insert(0, str(candidate))
            return importlib.import_module(name)
    raise ConfigurationError(
        f"`{name}` is neither in {Path.cwd()} nor beside the library in {root}: run from a checkout of bikeshare"
    )


def checkout() -> Path:
    """The folder that holds `services/` and `pipelines/`: where child processes must start."""
    root = Path(__file__).resolve().parents[2]
    for candidate in (Path.cwd(), root):
        if (candidate / "services").is_dir() and (candidate / "pipelines").is_dir():
            return candidate
    raise ConfigurationError(f"no checkout of bikeshare in {Path.cwd()} or {root}: change into one")
