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
    path = Path(*name.split("."))
    for candidate in _places():
        if (candidate / path).is_dir() or (candidate / path.with_suffix(".py")).is_file():
            if str(candidate) not in sys.path:
                sys.path.insert(0, str(candidate))
            return importlib.import_module(name)
    raise ConfigurationError(
        f"`{name}` is neither here nor beside the library ({', '.join(map(str, _places()))}): run from a checkout "
        "of bikeshare"
    )


def checkout() -> Path:
    """The folder that holds `services/` and `pipelines/`: where child processes must start."""
    for candidate in _places():
        if (candidate / "services" / "predictor").is_dir() and (candidate / "pipelines" / "local.py").is_file():
            return candidate
    raise ConfigurationError(
        f"no checkout of bikeshare in {' or '.join(map(str, _places()))}: change into one"
    )


def _places() -> tuple[Path, ...]:
    """Where a checkout may be; other people have a folder `services/`, too, so its name alone says nothing."""
    return Path.cwd(), Path(__file__).resolve().parents[2]
