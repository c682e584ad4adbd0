"""Images built by `make test-images` and the servers around them; everything is real and speaks TCP."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bikeshare.adapters.git import revision
from tests.images.containers import Docker

IMAGES = ("pipeline", "predictor", "monitor", "dashboard", "mlflow")


STARTS: dict[str, str] = {}
"""Image -> how long it took to do its work from `docker run` on; what docs/images.md states."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how long images took to start: a measurement, not a judgement."""
    for image, said in STARTS.items():
        terminalreporter.write_line(f"start of {image}: {said}")


@pytest.fixture(scope="session")
def docker(root: Path) -> Iterator[Docker]:
    """The daemon of this machine; containers of the tests are removed at the end."""
    client = subprocess.run([root / "hack" / "docker.sh", "client"], capture_output=True, text=True, check=True)
    made = Docker(client.stdout.strip())
    yield made
    made.clean()


@pytest.fixture(scope="session")
def images(docker: Docker, root: Path) -> dict[str, str]:
    """Name -> tag of the images; they must be of this very checkout."""
    prefix, tag = os.environ.get("IMAGE_PREFIX", "bikeshare/"), os.environ.get("IMAGE_TAG", "dev")
    found = {name: f"{prefix}{name}:{tag}" for name in IMAGES}
    for image in found.values():
        built = docker.inspect(image)["Config"]["Labels"]["org.opencontainers.image.revision"]
        assert built == revision(root), f"{image} is of another revision: `make test-images` builds the images first"
    return found
