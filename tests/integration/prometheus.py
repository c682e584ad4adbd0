"""A real Prometheus and a real Pushgateway as processes of a test."""

import contextlib
import json
import math
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.integration.predictor.world import answers, free_port, wait_until


@contextlib.contextmanager
def _process(command: list[str], log: Path, probe: str) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        def up() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            return answers(probe)

        wait_until(up, 60, probe)
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def pushgateway(binaries: Path, folder: Path) -> Iterator[str]:
    """A Pushgateway; yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(binaries / "prometheus-pushgateway"), f"--web.listen-address=127.0.0.1:{port}"]
    with _process(command, folder / "pushgateway.log", f"{url}/-/ready"):
        yield url


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus that began at `since`."""

    url: str
    since: float

    def ask(self, path: str, **parameters: Any) -> Any:
        """The `data` of an API call; AssertionError with Prometheus' own words when it refuses."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def series(self, expression: str, *, instant: bool, step: float = 1.0) -> list[list[float]]:
        """Finite values of every series of an expression: now, or since the beginning."""
        if instant:
            result = self.ask("query", query=expression)["result"]
            rows = [[item["value"]] for item in result]
        else:
            result = self.ask("query_range", query=expression, start=self.since, end=time.time(), step=step)["result"]
            rows = [item["values"] for item in result]
        values = [[float(value) for _, value in row] for row in rows]
        return [finite for row in values if (finite := [value for value in row if math.isfinite(value)])]

    def value(self, expression: str) -> float | None:
        """The only value of an expression, None while there is none."""
        rows = self.series(expression, instant=True)
        return rows[0][0] if rows else None


@contextlib.contextmanager
def prometheus(
    binaries: Path, folder: Path, targets: dict[str, str], *, rules: Sequence[Path] = (), honor: Sequence[str] = ()
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `targets` (job -> host:port) and evaluates `rules` every second."""
    port = free_port()
    (folder / "prometheus.yml").write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {"job_name": job, "honor_labels": job in honor, "static_configs": [{"targets": [target]}]}
            for job, target in targets.items()
        ],
    }))
    url = f"http://127.0.0.1:{port}"
    command = [
        str(binaries / "prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
    ]
    began = time.time()
    with _process(command, folder / "prometheus.log", f"{url}/-/ready"):
        yield Prometheus(url, began)
