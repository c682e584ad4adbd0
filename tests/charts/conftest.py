"""The charts with their local dependency built, in a copy: tests leave the checkout as it is."""

import shutil
from pathlib import Path

import pytest

from tests.charts.helm import CHARTS, run


@pytest.fixture(scope="session")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of charts/ in which every chart can be rendered; `Chart.lock` must fit `Chart.yaml` for that."""
    copy = tmp_path_factory.mktemp("charts") / "charts"
    shutil.copytree(CHARTS, copy, ignore=shutil.ignore_patterns("*.tgz"))
    for chart in ("platform", "bikeshare"):
        run("helm", "dependency", "build", copy / chart)
    return copy
