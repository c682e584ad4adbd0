"""docs/capacity.md calculates what charts/bikeshare/values.yaml says."""

import math
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "capacity.md").read_text()
NUMBERS = {name: int(value) for name, value in re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)}
VALUES = yaml.safe_load((ROOT / "charts" / "bikeshare" / "values.yaml").read_text())


def up_to_128(mib: int) -> int:
    return math.ceil(mib / 128) * 128


def test_the_calculation_is_right() -> None:
    pod = NUMBERS["answers_per_core"] * NUMBERS["cpu_request_millicores"] * NUMBERS["hpa_percent"] / 100_000
    needed = up_to_128(NUMBERS["resident_mib"] + NUMBERS["queue_mib"])

    assert (pod, needed, needed + 128) == (
        NUMBERS["keda_requests_per_second"], NUMBERS["memory_request_mib"], NUMBERS["memory_limit_mib"],
    )


def test_the_chart_has_these_numbers() -> None:
    resources, scaling = VALUES["predictor"]["resources"], VALUES["autoscaling"]

    assert resources == {
        "requests": {"cpu": f"{NUMBERS['cpu_request_millicores']}m", "memory": f"{NUMBERS['memory_request_mib']}Mi"},
        "limits": {"memory": f"{NUMBERS['memory_limit_mib']}Mi"},
    }
    assert (scaling["cpuPercent"], scaling["requestsPerSecond"]) == (
        NUMBERS["hpa_percent"], NUMBERS["keda_requests_per_second"],
    )


@pytest.mark.parametrize("rate", [100, 10_000, 1_000_000])
def test_pods_and_nodes(rate: int) -> None:
    pods = math.ceil(rate / NUMBERS["keda_requests_per_second"])
    per_node = 3_500 // NUMBERS["cpu_request_millicores"]

    assert f"| {rate:,} | {pods:,} | {math.ceil(pods / per_node)} |" in PAGE
